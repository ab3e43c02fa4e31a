"""What the page shows, as one JSON: metrics, rows of results, curves over every axis, channel uses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from linksim.metrics.info import MetricInfo
from linksim.report.curves import Curve, step_points
from linksim.report.drawing import telling_limits
from linksim.report.interactive.axes import axis_names, described_axis
from linksim.report.interactive.names import Index, Names, number, scheme_name
from linksim.report.ledger import CATEGORIES, ledger
from linksim.report.lines import NoPairs, difference_rows, figure_lines, gathered, interval_text
from linksim.report.runs import Run, bound_names, default_x, metric_info, trained_schemes
from linksim.results.statistics import Row

__all__ = ["LARGEST", "metric_names", "page_data"]

LARGEST = 1_200_000  # characters of curves, beyond which the page has those over its first axis only


@dataclass(frozen=True)
class _Shown:
    """A metric, or its paired differences, as the page shows it."""

    key: str
    info: MetricInfo
    rows: list[Row]
    trained: list[str]
    confidence: float | None
    lines: dict[str, list[Curve]]
    against: str = ""


def metric_names(runs: Sequence[Run]) -> list[str]:
    """Metrics that have results, in the order of the scenarios; shares of outage behind it."""
    there = dict.fromkeys(row.metric for run in runs for row in run.rows)
    found: dict[str, None] = {}
    for run in runs:
        names = run.header["scenario"].get("metrics")  # readers rely on nothing of it
        asked = Index[str](n for n in (names if isinstance(names, list) else ()) if isinstance(n, str))
        for name in sorted(run.header["metrics"], key=lambda name: _place(name, asked)):
            found |= dict.fromkeys(n for n in there if n == name or (name == "outage" and _is_cause(n)))
    return list(found)


def _place(name: str, asked: Index[str]) -> int:
    """Where the scenario asks for a metric; what it calls lpips may be lpips_alex in the results."""
    whole = (asked.get(word) for word in (name, name.partition("_")[0]))
    return next((place for place in whole if place is not None), len(asked.values))


def _is_cause(name: str) -> bool:
    return name.startswith("outage_")


def page_data(runs: Sequence[Run], names: Names) -> dict[str, Any]:
    """Everything that the curves and tables of a page show.

    Args:
        runs: from :func:`linksim.report.runs.load_runs`.
        names: of the page; derived schemes are added.

    Returns:
        What the scripts in ``assets`` read; sums of units, pictures and texts are elsewhere.

    Raises:
        RunFolderError: records that cannot be read.
    """
    axes = axis_names(runs)
    shown = [_metric(runs, name, axes) for name in metric_names(runs)]
    shown += [found for run in runs for found in _differences(run, len(runs) > 1, axes)]
    data = _assembled(runs, names, shown, axes)
    if len(axes) > 1 and len(json.dumps(data["curves"])) > LARGEST:
        data = _assembled(runs, names, shown, axes[:1])
    return data


def _metric(runs: Sequence[Run], name: str, axes: Sequence[str]) -> _Shown:
    by_axis = {x: gathered(runs, name, x) for x in axes}
    found = by_axis[axes[0]]
    lines = {x: of.lines(x) for x, of in by_axis.items()}
    return _Shown(name, found.info, found.rows, found.trained, found.confidence, lines)


def _differences(run: Run, several: bool, axes: Sequence[str]) -> list[_Shown]:
    """Paired differences that the scenario asks for; of several runs on one page none."""
    statistics = run.header["scenario"]["statistics"]
    if several or not statistics.get("against"):
        return []
    found = []
    for name in metric_names([run]):
        info = metric_info([run.header], name)
        if name not in run.header["metrics"] or info.scope != "image":
            continue
        try:
            pairs = difference_rows(run, name)
        except NoPairs:
            continue
        plain, trained = replace(info, is_rate=False), trained_schemes(run.header, info)
        lines = {
            x: figure_lines(pairs.rows, plain, x, bound_names(run.header), trained=trained) for x in axes
        }
        level = statistics["confidence"]
        found.append(_Shown(f"{name}_difference", plain, pairs.rows, trained, level, lines, pairs.against))
    return found


def _assembled(
    runs: Sequence[Run], names: Names, shown: Sequence[_Shown], axes: Sequence[str]
) -> dict[str, Any]:
    curves: dict[str, dict[str, Any]] = {}
    rows: dict[str, Any] = {}
    variants: dict[str, Index[Any]] = {x: Index() for x in axes}
    for one in shown:
        places = Index[tuple[Any, ...]](_key(row, names) for row in one.rows if row.metric == one.info.name)
        own = {_key(row, names): row for row in one.rows if row.metric == one.info.name}
        rows[one.key] = [_row(own[key], key, names) for key in places.values]
        curves[one.key] = {
            x: [_curve(line, one, x, names, places, variants[x]) for line in one.lines[x]] for x in axes
        }
    every = {x: [line for one in shown for line in one.lines[x]] for x in axes}
    return {
        "metrics": [_described(one, names) for one in shown],
        "axes": [described_axis(x, runs, names, every[x], variants[x]) for x in axes],
        "first_axis": default_x(runs[0].header),
        "rows": rows,
        "curves": curves,
        "ledger": _ledger(runs, names),
        **names.described(),
    }


def _described(one: _Shown, names: Names) -> dict[str, Any]:
    info, difference = one.info, f", difference to {one.against}" if one.against else ""
    return {
        "key": one.key,
        "name": info.name,
        "title": info.title + difference,
        "axis": info.axis + difference,
        "unit": "" if info.unit == "1" else info.unit,
        "better": info.better,
        "higher": info.higher_is_better,
        "is_rate": info.is_rate,
        "of_sets": info.scope == "set",
        "against": one.against,
        "trained": [names.schemes(scheme) for scheme in one.trained],
        "note": interval_text(one.rows, info, one.confidence),
    }


def _key(row: Row, names: Names) -> tuple[int, int, int]:
    return names.channels(row.channel), names.schemes(row.scheme), names.place(row)


def _row(row: Row, key: tuple[int, int, int], names: Names) -> list[Any]:
    """[channel, scheme, place, mean, low, high, pictures, trials, arrived, lost, mean without lost ones, data
    and total ratio, causes, and with a stopping rule what ended the point].
    """
    numbers = [number(v) for v in (row.mean, row.ci_low, row.ci_high)]
    counts = [row.num_images, row.num_trials, row.num_arrived, row.num_failures]
    ratios = [number(v) for v in (row.mean_ok, row.cbr_data, row.cbr_total)]
    causes = [[names.states(cause), n] for cause, n in row.causes]
    return [*key, *numbers, *counts, *ratios, causes, *([row.stopped_by] if row.stopped_by else [])]


def _curve(
    line: Curve, one: _Shown, x: str, names: Names, places: Index[Any], variants: Index[Any]
) -> dict[str, Any]:
    kind = "step" if line.is_step else "theory" if line.is_theory else "line"
    found: dict[str, Any] = {
        "c": names.channels(line.channel),
        "s": names.schemes(line.scheme),
        "v": variants(line.variant),
        "label": line.label,
        "kind": "bound" if line.is_bound else kind,
        "x": [number(v) for v in line.x],
    }
    if line.is_theory or not line.rows:
        return found | {"y": [number(v) for v in line.mean]}
    found["rows"] = [places(_key(row, names)) for row in line.rows]
    if line.lost.any():
        found["lost"] = [int(v) for v in line.lost]
    if line.upper_bound.any():
        found["limits"] = _limits(line, one.lines[x])
    if line.is_step:
        xs, ys = step_points(line, x)
        if not one.info.is_rate:
            ys[np.isin(xs, line.x[line.lost])] = np.nan  # no line to where nothing arrives
        found["path"] = [[number(v) for v in xs], [number(v) for v in ys]]
    return found


def _limits(line: Curve, lines: Sequence[Curve]) -> list[int]:
    """0 of what was seen, 1 of an upper limit that says something, 2 of one that does not, 3 of a bound."""
    if line.is_bound:
        return [3 * int(v) for v in line.upper_bound]
    telling = telling_limits(line, [c for c in lines if c.channel == line.channel and not c.is_theory])
    return [int(v) for v in line.upper_bound + np.asarray(line.upper_bound & ~telling, int)]


def _ledger(runs: Sequence[Run], names: Names) -> dict[str, Any]:
    """Mean channel uses by what they are spent on; over 3·H·W where there are pictures."""
    entries = []
    of_pictures = True
    for run in runs:
        for entry in ledger(run.records):
            of_pictures &= entry.has_picture
            key = [
                names.channels(entry.channel),
                names.schemes(scheme_name(run, entry.scheme)),
                names.places((entry.point, entry.snr_db)),
            ]
            shares = [number(entry.shares[category]) for category in CATEGORIES]
            entries.append([*key, shares, number(entry.outage)])
    return {"categories": list(CATEGORIES), "entries": entries, "of_pictures": of_pictures}
