"""Horizontal axes of a page: what may be shown over what, and where the dial can stand."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from linksim.report.curves import Curve, axis_label, axis_of, ratio_text, swept_text, variant_texts
from linksim.report.interactive.names import Index, Names, number, swept_key, swept_values
from linksim.report.runs import Run, default_x
from linksim.results.records import Point

__all__ = ["Stops", "axis_names", "described_axis"]


def axis_names(runs: Sequence[Run]) -> list[str]:
    """What curves may be drawn over: the natural axis of the first run, then what else all runs sweep."""
    first = default_x(runs[0].header)
    sweeps = [run.header["scenario"]["sweep"] for run in runs]
    found = [first] if _swept_by_all(first, sweeps) else ["snr_db"]
    if any(len(sweep["snr_db"] or ()) > 1 for sweep in sweeps):
        found.append("snr_db")
    for path, values in sweeps[0]["fields"].items():
        if len(values) > 1 and _swept_by_all(path, sweeps):
            found.append("cbr_total" if path.endswith("data_ratio") else path)
    return list(dict.fromkeys(found))


def _swept_by_all(x: str, sweeps: Sequence[dict[str, Any]]) -> bool:
    if x == "snr_db":
        return True
    if x.startswith("cbr"):
        return all(_ratio_path(sweep["fields"]) for sweep in sweeps)
    return all(x in sweep["fields"] for sweep in sweeps)


def _ratio_path(fields: dict[str, Any]) -> str:
    return next((path for path in fields if path.endswith("data_ratio")), "")


class Stops:
    """Where the dial can stand on an axis: the swept values, in their order.

    Args:
        x: the axis.
        runs: of the page.
        names: of its places.
    """

    def __init__(self, x: str, runs: Sequence[Run], names: Names) -> None:
        self._path = _ratio_path(runs[0].header["scenario"]["sweep"]["fields"]) if x.startswith("cbr") else x
        if x == "snr_db":
            self._index: Index[Any] = Index(sorted({snr for _, snr in names.places.values}))
            self.texts = [f"{snr:g} dB" for snr in self._index.values]
        else:
            self._index = Index(swept_key(value) for value in swept_values(runs, self._path))
            self.texts = [_value_text(self._path, value) for value in swept_values(runs, self._path)]

    def of(self, point: Point, snr_db: float) -> int | None:
        """The stop of a place; None of one of a run that sweeps something else."""
        if self._path == "snr_db":
            return self._index.get(snr_db)
        return next((self._index.get(swept_key(value)) for name, value in point if name == self._path), None)


def _value_text(path: str, value: float | int | str) -> str:
    if path.endswith("ratio"):
        try:
            return ratio_text(float(Fraction(value)))
        except ValueError:
            return str(value)
    return swept_text(path, value)


def described_axis(
    x: str, runs: Sequence[Run], names: Names, lines: Sequence[Curve], variants: Index[Any]
) -> dict[str, Any]:
    """An axis for the page.

    Args:
        x: its name.
        runs: of the page.
        names: of the page.
        lines: all curves over the axis, of every metric.
        variants: what else is swept, in the order of the curves; those of ``lines`` are in it.
    """
    axis, stops = axis_of(lines, x), Stops(x, runs, names)
    variant_of: dict[int, int] = {}
    for line in lines:
        for row in line.rows:
            variant_of.setdefault(names.place(row), variants(line.variant))
    many_snr = len({snr for _, snr in names.places.values}) > 1
    return {
        "x": x,
        "label": axis_label(x),
        "scale": axis.scale,
        "linear_to": axis.linear_to,
        "ticks": [number(v) for v in axis.ticks],
        "tick_labels": list(axis.labels),
        "stops": stops.texts,
        "stop": [stops.of(*place) for place in names.places.values],
        "variants": [", ".join(variant_texts(v, many_snr)) for v in variants.values],
        "variant": [variant_of.get(i, 0) for i in range(len(names.places.values))],
    }
