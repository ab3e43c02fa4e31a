"""linksim list: what there is, for people or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from linksim.cli.output import say, say_json

__all__ = ["list_things"]

Things = list[dict[str, Any]]


def list_things(args: argparse.Namespace) -> int:
    """Print what ``args.what`` names; the exit code."""
    from linksim.kinds import load_installed

    load_installed()
    found, show = _WHAT[args.what]
    things = found()
    if args.json:
        say_json({args.what: things})
    else:
        show(things)
    return 0


def _kinds(*families: str) -> Things:
    """Kinds of some families; ``origin`` of those that are not built in."""
    from linksim.kinds import find, names

    return [
        {
            "family": family,
            "name": name,
            "summary": find(family, name).summary,
            "origin": getattr(find(family, name).origin, "text", None),
        }
        for family in families
        for name in names(family)
    ]


def _all_kinds() -> Things:
    from channels.kinds import FAMILIES

    return _kinds(*FAMILIES)


def _say_kinds(things: Things, titles: dict[str, str] | None = None) -> None:
    """Lines of kinds, with a title above each family; ``titles``: other ones, empty for none."""
    family = ""
    for thing in things:
        if thing["family"] != family:
            family = thing["family"]
            title = f"{family}:" if titles is None else titles[family]
            if title:
                say(title)
        origin = f" ({thing['origin']})" if thing["origin"] else ""
        say(f"{thing['name']:16} {thing['summary']}{origin}")


def _scenarios() -> Things:
    from linksim.files.places import scenario_dir
    from linksim.scenario.files import load_any
    from linksim.scenario.schema import Scenario

    found = []
    for path in sorted(scenario_dir().rglob("*.yaml")):
        if path.parent.name != "base":
            place = path.relative_to(scenario_dir()).with_suffix("")
            scenario = load_any(str(path))
            kind = "evaluation" if isinstance(scenario, Scenario) else "training"
            found.append({"name": str(place), "kind": kind, "question": scenario.question, "file": str(path)})
    return found


def _say_scenarios(things: Things) -> None:
    for thing in things:
        say(f"{thing['name']:28} {thing['question']}")


def _models() -> Things:
    from linksim.weights import zoo

    found = []
    for name, model in zoo.BUNDLED_MODELS.items():
        file = zoo.asset(zoo.BUNDLED_FILES[name])
        found.append(
            {
                "name": name,
                "kind": model.kind,
                "bytes": file.stat().st_size if file.is_file() else None,
                "what": model.what,
                "data_ratio": list(model.ratios),
                "snr_db": list(model.snr_db),
                "seconds": model.seconds,
            }
        )
    return found


def _say_models(things: Things) -> None:
    for thing in things:
        size = "missing here" if thing["bytes"] is None else f"{thing['bytes'] / 1e6:.0f} MB"
        low, high = thing["snr_db"]
        say(f"{thing['name']:16} kind: {thing['kind']:16} {size}, {thing['what']}")
        say(f"{'':16} data_ratio {', '.join(thing['data_ratio'])}; trained at {low:g} to {high:g} dB")
        say(f"{'':16} about {thing['seconds']:g} s for 768 x 512 pixels on two cores")


def _metrics() -> Things:
    from linksim.kinds import names
    from linksim.weights.needs import state

    return [{"name": name, "weights": state(name)} for name in names("metric")]


def _say_metrics(things: Things) -> None:
    for thing in things:
        say(f"{thing['name']:22} {thing['weights']}".rstrip())


def _say_channels(things: Things) -> None:
    titles = {"delay_model": "\nmodel: of ofdm", "impairment": "\nimpairments: of every channel"}
    _say_kinds(things, {"channel": "", **titles})


def _say_schemes(things: Things) -> None:
    _say_kinds(things, {"scheme": ""})


_WHAT: dict[str, tuple[Callable[[], Things], Callable[[Things], None]]] = {
    "channels": (lambda: _kinds("channel", "delay_model", "impairment"), _say_channels),
    "schemes": (lambda: _kinds("scheme"), _say_schemes),
    "metrics": (_metrics, _say_metrics),
    "models": (_models, _say_models),
    "scenarios": (_scenarios, _say_scenarios),
    "kinds": (_all_kinds, _say_kinds),
}
