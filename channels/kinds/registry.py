"""The registry of kinds: what a scenario may name is one class in one file, built in or not.

A class says by a decorator what it is called: ``@kind("impairment", "clipping")``. Built-in kinds are found
by reading, not importing, the files of a few packages; kinds of other people come in by the entry points
``linksim.kinds`` of an installed package, by a file that the command line names, or by a call of
:func:`register`. A scenario file alone never makes anything be executed.
"""

from __future__ import annotations

import contextvars
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from channels.checks import complaint
from channels.kinds.provenance import Origin, code_digest, files_digest, package_files

__all__ = [
    "FAMILIES",
    "ORIGIN",
    "REGISTRY",
    "Family",
    "Kind",
    "KindError",
    "add_family",
    "find",
    "foreign",
    "generation",
    "kind",
    "kind_of",
    "kinds",
    "names",
    "register",
    "unregister",
]

_T = TypeVar("_T")
_DECORATED = re.compile(r'^@kind\(\s*"(\w+)",\s*"([^"]+)"', re.MULTILINE)


class KindError(ValueError):
    """A kind that cannot be used: unknown, half written, named twice, or in a file that does not load."""


@dataclass(frozen=True)
class Family:
    """Kinds of one sort.

    Args:
        name: how it is called in :func:`kind`.
        what: in words, with its article.
        packages: where built-in kinds are.
        prepare: "module:function" that gets name and class and gives the class that is registered; raises
            KindError for what is half written.
    """

    name: str
    what: str
    packages: tuple[str, ...]
    prepare: str = ""


FAMILIES: dict[str, Family] = {}


def add_family(family: Family) -> None:
    """Make a family known."""
    FAMILIES[family.name] = family


add_family(
    Family(
        "impairment",
        "an impairment",
        tuple(f"channels.hardware.{name}" for name in ("amplifier", "oscillator", "converter", "interferer")),
        "channels.hardware.impairment:checked_impairment",
    )
)


@dataclass(frozen=True)
class Kind:
    """A kind.

    Args:
        family: of :data:`FAMILIES`.
        name: in scenarios.
        target: class or function.
        bound: arguments that are set for this name.
        origin: None of what is built in.
        source: the class as it was written, from which the target was made.
    """

    family: str
    name: str
    target: Any
    bound: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    source: Any = None

    @property
    def make(self) -> Callable[..., Any]:
        """The target with what is bound."""
        return functools.partial(self.target, **self.bound) if self.bound else self.target

    @property
    def summary(self) -> str:
        """First line of its documentation."""
        text = getattr(self.target, "__doc__", None) or ""
        return text.strip().splitlines()[0] if text.strip() else ""


@dataclass
class _Registry:
    """What is known so far; ``generation`` counts changes that descriptions must follow."""

    known: dict[tuple[str, str], Kind] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # entry point: why it did not load
    files: dict[Path, tuple[Path, ...]] = field(default_factory=dict)  # of --with, with what they import
    installed: bool = False
    generation: int = 0


REGISTRY = _Registry()
# Of a file or package that is being imported: where its kinds come from.
ORIGIN: contextvars.ContextVar[Origin | None] = contextvars.ContextVar("origin", default=None)


def generation() -> int:
    """A number that grows whenever a kind that is not built in comes or goes."""
    return REGISTRY.generation


# ------------------------------------------------------------------------------------------- registering


def kind(family: str, name: str, /, **bound: Any) -> Callable[[_T], _T]:
    """Decorator: the class (or function) below is a kind.

    Args:
        family: of :data:`FAMILIES`: "channel", "delay_model", "impairment", "estimator", "scheme", "network",
            "source_codec", "sampler", "metric" or "images".
        name: in scenarios.
        bound: arguments of the class that this name sets.

    Raises:
        KindError: an unknown family, a name that is taken, a class that lacks something; the message says
            what.

    Example:
        >>> @kind("impairment", "doc_example")
        ... class Example: ...
        Traceback (most recent call last):
        channels.kinds.registry.KindError: impairment doc_example: no impairment, got Example, expected ...
    """

    def decorate(target: _T) -> _T:
        return register(family, name, target, **bound)

    return decorate


def register(family: str, name: str, target: _T, /, **bound: Any) -> _T:
    """Make a kind known; arguments, errors as of :func:`kind`.

    Returns:
        What is registered: the class itself, or one made of it that knows its name.
    """
    family_ = _family(family)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+.-]*", name):
        got = repr(name)
        raise KindError(complaint(f"{family}: name", "not allowed", got, "letters, digits and _ + . -"))
    origin = _origin(target)
    _refuse_taken(family, name, target, origin)
    made = _attribute(family_.prepare)(name, target, bound) if family_.prepare else target
    REGISTRY.known[family, name] = Kind(family, name, made, bound, origin, target)
    if origin is not None:
        REGISTRY.generation += 1
    return made


def _family(name: str) -> Family:
    found = FAMILIES.get(name)
    if found is None:
        alone = "scheme" not in FAMILIES
        cure = " Import linksim.kinds: channels alone knows no other families." if alone else ""
        raise KindError(_unknown("family of kinds", name, FAMILIES) + cure)
    return found


def _refuse_taken(family: str, name: str, target: Any, origin: Origin | None) -> None:
    """A name is free, or that of the same class, executed anew: a cell of a notebook, a reload."""
    before = REGISTRY.known.get((family, name))
    by = None
    if origin is not None and name in _built_in(family):
        by = "the one that is built in"
    elif before is not None and before.origin is not None:
        same_file = origin is not None and ORIGIN.get() is not None and before.origin == origin
        alike = all(
            getattr(before.source, n, 0) == getattr(target, n, 1) for n in ("__module__", "__qualname__")
        )
        if same_file or not alike:
            by = f"that of {before.origin.source}"
    if by is not None:
        got = f"another {family} of this name, beside {by}"
        raise KindError(complaint(f"{family} {name}", "named twice", got, "a name that is free"))


def unregister(family: str, name: str) -> None:
    """Forget a kind that is not built in (for notebooks and tests).

    Raises:
        KindError: no such kind, or a built-in one.
    """
    found = REGISTRY.known.get((family, name))
    if found is None or found.origin is None:
        raise KindError(
            _unknown(f"{family} to forget", name, [k.name for k in foreign() if k.family == family])
        )
    del REGISTRY.known[family, name]
    REGISTRY.generation += 1


def _origin(target: Any) -> Origin | None:
    """None of what is built in."""
    module = getattr(target, "__module__", "") or ""
    if module.split(".")[0] in {p.split(".")[0] for f in FAMILIES.values() for p in f.packages}:
        return None
    given = ORIGIN.get()
    if given is not None:
        return given
    source = getattr(sys.modules.get(module), "__file__", None)
    if source and Path(source).is_file():
        return Origin(Path(source).name, files_digest(package_files(module)), str(source))
    return Origin("session", code_digest(target))


def _attribute(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


# ----------------------------------------------------------------------------------------------- finding


@functools.cache
def _built_in(family: str) -> dict[str, str]:
    """Module of every built-in kind of a family by its name; nothing is imported."""
    found: dict[str, str] = {}
    for package in _family(family).packages:
        for module, path in _sources(package):
            for of, name in _DECORATED.findall(path.read_text(encoding="utf-8")):
                if of == family:
                    found[name] = module
    return found


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """Modules of a package, or the one module that it is, with their files."""
    root = Path(__file__).resolve().parents[2].joinpath(*package.split("."))
    if root.is_dir():
        for path in sorted(root.glob("*.py")):
            yield f"{package}.{path.stem}" if path.stem != "__init__" else package, path
    elif root.with_suffix(".py").is_file():
        yield package, root.with_suffix(".py")


def names(family: str) -> list[str]:
    """Names of the kinds of a family that are known now, built-in ones first, in the order of their files.
    Those of installed packages are known after :func:`load_installed`.

    Raises:
        KindError: no such family.
    """
    known = [k.name for k in REGISTRY.known.values() if k.family == family]
    return list(dict.fromkeys([*_built_in(family), *known]))


def find(family: str, name: str) -> Kind:
    """A kind by its name; its file is imported if it is not yet.

    Raises:
        KindError: no such family or kind; the message names near ones, and packages that did not load.
    """
    found = REGISTRY.known.get((family, name))
    if found is None and name in _built_in(family):
        importlib.import_module(_built_in(family)[name])
        found = REGISTRY.known.get((family, name))
    if found is None:
        from channels.kinds.loading import load_installed

        load_installed()
        found = REGISTRY.known.get((family, name))
    if found is None:
        raise KindError(_unknown(family, name, names(family)) + _of_failures())
    return found


def kinds(family: str) -> list[Kind]:
    """All kinds of a family, in the order of :func:`names`."""
    return [find(family, name) for name in names(family)]


def foreign() -> list[Kind]:
    """All kinds that are not built in."""
    from channels.kinds.loading import load_installed

    load_installed()
    return [found for found in REGISTRY.known.values() if found.origin is not None]


def _unknown(what: str, got: str, known: Any) -> str:
    close = difflib.get_close_matches(got, list(known), n=1)
    cure = f"Did you mean {close[0]}?" if close else ""
    return complaint(what, "unknown", repr(got), f"one of {', '.join(known)}", cure)


def _of_failures() -> str:
    return "".join(f" Not loaded: {name} ({why})." for name, why in REGISTRY.failed.items())


def kind_of(target: type) -> Kind | None:
    """The kind that a class was registered as; None if it was not."""
    return next((found for found in REGISTRY.known.values() if found.target is target), None)
