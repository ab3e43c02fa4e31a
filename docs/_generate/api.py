"""API reference: the door (names of ``linksim``), and modules that programs use as they are."""

from __future__ import annotations

import inspect
from importlib import import_module

import linksim

__all__ = ["MODULES", "pages"]

# What stands behind the door, by where a name comes from; the first prefix that fits.
_GROUPS = {
    "Run, check, read": ("linksim.api.simulation", "linksim.api.checking", "linksim.api.run", "linksim.scenario.schema"),
    "Errors": ("error",),
    "Bases of kinds": ("linksim.kinds", "channels.kinds", "channels.hardware", "linksim.source", "linksim.metrics", "linksim.images", "linksim.files"),
    "A link": ("linksim.link", "linksim.schemes", "linksim.build", "channels.types", "channels.base"),
}  # fmt: skip
MODULES = {
    "api-channels": (
        "Channels",
        "Operators, what they return, and what equalises it. `channels` needs no part of `linksim`.",
        (
            *("channels.types", "channels.base", "channels.equalization", "channels.units", "channels.seeding"),
            *("channels.link_budget", "channels.flat.awgn", "channels.flat.fading", "channels.flat.interleaving"),
            *("channels.ofdm.grid", "channels.ofdm.link", "channels.ofdm.time", "channels.antennas.transmission"),
        ),
    ),
    "api-models": (
        "Delay models",
        "What is behind OFDM.",
        (
            *("channels.models.base", "channels.models.tdl", "channels.models.cdl", "channels.models.cell"),
            *("channels.models.panel", "channels.models.recorded", "channels.models.recording"),
            *("channels.raytraced.scene", "channels.raytraced.model"),
        ),
    ),
    "api-hardware": (
        "Impairments",
        "Imperfect radios, and what receivers know of them.",
        tuple(
            f"channels.hardware.{name}"
            for name in ("impairment", "amplifier", "oscillator", "converter", "interferer", "signal_quality")
        ),
    ),
    "api-coding": (
        "Separation chain",
        "Pictures to bytes to symbols, without any network.",
        (
            *("linksim.source.codec", "linksim.source.bpg", "linksim.source.quality_search", "linksim.coding.transport"),
            *("linksim.coding.ldpc", "linksim.coding.qam", "linksim.coding.demapper", "linksim.coding.mcs"),
            *("linksim.coding.link_adaptation", "linksim.coding.bounds", "linksim.schemes.separation"),
        ),
    ),
    "api-schemes": (
        "Schemes and networks",
        "Transmitter and receiver of every scheme, as plain objects.",
        (
            *("linksim.schemes.base", "linksim.schemes.jscc", "linksim.schemes.latent_diffusion", "linksim.schemes.bound"),
            *("linksim.jscc.layout", "linksim.jscc.lean", "linksim.jscc.dial.codec", "linksim.jscc.linear_analog"),
            *("linksim.diffusion.sampler",),
        ),
    ),
    "api-metrics": (
        "Metrics and statistics",
        "Measures of pictures, links and sets, and the intervals of what they give.",
        (
            *("linksim.metrics.base", "linksim.metrics.info", "linksim.metrics.distortion", "linksim.metrics.perceptual"),
            *("linksim.metrics.similarity", "linksim.metrics.spectrum", "linksim.metrics.niqe", "linksim.metrics.errors"),
            *("linksim.metrics.transmission", "linksim.results.statistics", "linksim.results.paired"),
        ),
    ),
}  # fmt: skip


def pages() -> dict[str, str]:
    """Markdown by the name of the page."""
    made = {"api": _door()}
    for name, (title, lead, modules) in MODULES.items():
        parts = [f"# {title}", "", lead, ""]
        for module in modules:
            parts += [f"## {module}", "", *_module(module)]
        made[name] = "\n".join(parts)
    return made


def _rst(*lines: str) -> list[str]:
    return ["```{eval-rst}", *lines, "```", ""]


def _module(name: str) -> list[str]:
    """A module with what it lists in ``__all__``; what it takes from elsewhere, or what the door has, is there."""
    module = import_module(name)
    own = [n for n in getattr(module, "__all__", []) if _is_from(name, n)]
    at_door = [n for n in own if getattr(linksim, n, None) is getattr(module, n)]
    left = [n for n in own if n not in at_door]
    lines = _rst(
        f".. automodule:: {name}",
        *([f"   :members: {', '.join(left)}", "   :show-inheritance:"] if left else []),
    )
    if at_door:
        named = ", ".join(f"[`linksim.{n}`](#linksim.{n})" for n in at_door)
        lines += [f"At the door: {named}.", ""]
    return lines


def _is_from(module: str, name: str) -> bool:
    thing = getattr(import_module(module), name)
    return getattr(thing, "__module__", module).startswith(module)


def _door() -> str:
    parts = [
        "# The door: `import linksim`", "",
        "`import linksim` loads nothing; each name below is loaded when it is first used. How they work together is in",
        "[From Python](../../python.md).", "",
    ]  # fmt: skip
    left = [name for name in dir(linksim) if not name.startswith("_") and _is_named(name)]
    for title, places in _GROUPS.items():
        parts += [f"## {title}", ""]
        for name in [n for n in left if _fits(getattr(linksim, n), places)]:
            left.remove(name)
            parts += _entry(name, getattr(linksim, name))
    parts += ["## Types of fields", "", *_type("PathName")]
    left.remove("PathName")
    assert not left, f"names of linksim without a place in the reference: {left}"
    return "\n".join(parts)


def _is_named(name: str) -> bool:
    thing = getattr(linksim, name)
    return not inspect.ismodule(thing) and name not in ("TYPE_CHECKING", "Any")


def _type(name: str) -> list[str]:
    """A type of fields: what stands above it in its module."""
    return [f"`linksim.{name}`: type of a field that names a file or a folder. A relative path begins beside the scenario file, "
            "else in the working directory ([`linksim.place`](#linksim.place)); its digest is part of a run.", ""]  # fmt: skip


def _fits(thing: object, places: tuple[str, ...]) -> bool:
    is_error = isinstance(thing, tuple) or (inspect.isclass(thing) and issubclass(thing, Exception))
    return (
        is_error
        if places == ("error",)
        else not is_error and getattr(thing, "__module__", "").startswith(places)
    )


def _entry(name: str, thing: object) -> list[str]:
    if isinstance(thing, tuple):
        listed = ", ".join(f"`{error.__name__}`" for error in thing)
        return [f"`linksim.{name}`: all errors of bad input, as a tuple for `except`: {listed}.", ""]
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return _rst(f".. autoexception:: linksim.{name}")
    if inspect.isclass(thing):
        return _rst(f".. autoclass:: linksim.{name}", "   :members:", "   :show-inheritance:")
    return _rst(f".. autofunction:: linksim.{name}")
