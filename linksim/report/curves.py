"""Lines of figures, from rows of results: which points belong together, what is said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from linksim.metrics.info import MetricInfo
from linksim.results.statistics import Row
from linksim.results.store import RunFolderError

__all__ = [
    "BEST_OF_STEPS",
    "Axis",
    "Curve",
    "axis_label",
    "axis_of",
    "best_of",
    "connected",
    "curves",
    "step_points",
    "swept_text",
    "variant_texts",
]

BEST_OF_STEPS = "best fixed MCS"  # of several, and no scheme of the scenario
UNITS = {"db": "dB", "dbm": "dBm", "hz": "Hz", "s": "s", "m": "m", "mps": "m/s", "deg": "°", "k": "K"}


def _no_numbers() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Args:
        channel, scheme: names.
        label: for the legend, with the bandwidth ratio.
        is_bound: drawn dotted and black.
        variant: the other swept values.
        x, mean, low, high: values; low and high nan without an interval.
        ticks: labels of x = 0, 1, ... where x is no number.
        upper_bound: true where zero errors were seen: only ``high`` means something.
        is_step: one of many fixed schemes, drawn thin.
        arrived: share of the pictures that arrived; empty where nobody counted.
        is_theory: a closed form, not a result.
        rows: that the points are of; empty of what no result stands for (the best of several curves).
        run: whose scheme it is, which the name of the scheme then begins with; "" where there is but one run.
    """

    channel: str
    scheme: str
    label: str
    is_bound: bool
    variant: tuple[Any, ...]
    ticks: tuple[str, ...]
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    upper_bound: np.ndarray
    is_step: bool = False
    arrived: np.ndarray = field(default_factory=_no_numbers)
    is_theory: bool = False
    rows: tuple[Row, ...] = ()
    run: str = ""

    @property
    def own_scheme(self) -> str:
        """Name of the scheme in its run: schemes of one name in several runs have one colour."""
        return self.scheme.removeprefix(f"{self.run} ") if self.run else self.scheme

    @property
    def lost(self) -> np.ndarray:
        """Where not one picture arrived: the mean is that of grey pictures."""
        return self.arrived == 0 if len(self.arrived) else np.zeros(len(self.x), bool)

    @property
    def mostly_there(self) -> np.ndarray:
        """Where at least half of the pictures arrived."""
        return self.arrived >= 0.5 if len(self.arrived) else np.ones(len(self.x), bool)


# --------------------------------------------------------------------------------------------- texts


def ratio_text(value: float) -> str:
    """A bandwidth ratio as people write it.

    Example:
        >>> ratio_text(1 / 96), ratio_text(1 / 72.86), ratio_text(1 / 1536)
        ('1/96', '1/72.9', '1/1536')
    """
    if not value:
        return "0"  # of a record that says so
    inverse = 1 / value
    return f"1/{inverse:.3g}" if inverse < 1000 else f"1/{inverse:.0f}"


def _ratio_text_of(values: Iterable[float]) -> str:
    """The ratio where all are alike, else "": a mean of them would be nobody's."""
    texts = {ratio_text(value) for value in values}
    return texts.pop() if len(texts) == 1 else ""


def _bandwidth_text(members: Sequence[Row]) -> str:
    """What is the same at every point; "" where nothing is, and without pictures."""
    if any(math.isnan(r.cbr_data) for r in members):
        return ""
    data, total = (_ratio_text_of(getattr(r, c) for r in members) for c in ("cbr_data", "cbr_total"))
    if data and total:
        return f" (CBR {data}" + (f", {total} in all)" if total != data else ")")
    return f" (CBR {data} of data)" if data else f" (CBR {total} in all)" if total else ""


def swept_text(name: str, value: float | int | str) -> str:
    """The last word of a path says it for numbers (speed_mps 30), two for choices (csi.kind ls)."""
    words = name.split(".")
    if isinstance(value, bool):
        value = str(value).lower()
    return f"{'.'.join(words[-2:])} {value}" if isinstance(value, str) else f"{words[-1]} {value:g}"


def variant_texts(variant: Sequence[tuple[str, Any]], many_snr: bool) -> list[str]:
    """What tells a curve from others of its scheme; the SNR only where there are several."""
    texts = [f"SNR {v:g} dB" if name == "snr_db" else swept_text(name, v) for name, v in variant]
    return texts if many_snr else [text for text in texts if not text.startswith("SNR")]


def axis_label(x: str) -> str:
    """What an axis shows, with its unit: an SNR, a bandwidth ratio, or a swept field by its path."""
    names = {
        "snr_db": "SNR = Es/N0 per data use [dB]",
        "cbr_data": "channel bandwidth ratio, data uses / (3·H·W)",
        "cbr_total": "channel bandwidth ratio, all uses / (3·H·W)",
    }
    if x in names:
        return names[x]
    *path, last = x.split(".")
    words = [*path[-1:], last] if last == "kind" else last.split("_")
    unit = UNITS.get(words[-1]) if len(words) > 1 else None
    return " ".join(words if unit is None else [*words[:-1], f"[{unit}]"])


# ---------------------------------------------------------------------------------------------- axis

_FEW_TICKS = 12
_WIDE = 10.0


@dataclass(frozen=True)
class Axis:
    """A horizontal axis.

    Args:
        scale: "linear", "log", or "symlog" (logarithmic from ``linear_to`` on, for values from 0).
        linear_to: see there.
        ticks: where they stand; empty: wherever they are round.
        labels: of the ticks.
    """

    scale: str = "linear"
    linear_to: float = 1.0
    ticks: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


def axis_of(lines: Sequence[Curve], x: str) -> Axis:
    """The axis that shows all values of ``x``: logarithmic where they were chosen so (a decade and more, more
    evenly spaced as logarithms), with a tick at every value of a few.
    """
    texts = lines[0].ticks
    if texts:
        return Axis(ticks=tuple(float(i) for i in range(len(texts))), labels=texts)
    own = lines
    if x.startswith("cbr") and len(lines[0].x) > 1:  # every scheme has a total of its own
        own = lines[:1]
    values = sorted({float(v) for line in own for v in line.x})
    text = ratio_text if x.startswith("cbr") or x.endswith("ratio") else "{:g}".format
    few = len(values) <= _FEW_TICKS
    ticks: dict[str, Any] = {"ticks": tuple(values), "labels": tuple(text(v) for v in values)} if few else {}
    positive = [v for v in values if v > 0]
    if x.rsplit("_", maxsplit=1)[-1] in ("db", "dbm") or not _as_logarithms(positive) or values[0] < 0:
        return Axis(**ticks)
    return Axis("log" if len(positive) == len(values) else "symlog", positive[0], **ticks)


def _as_logarithms(values: Sequence[float]) -> bool:
    """Whether sorted positive values are more evenly spaced as logarithms."""
    if len(values) < 3 or values[-1] < _WIDE * values[0]:
        return False

    def widest(v: np.ndarray) -> float:
        return float(np.diff(v).max() / (v[-1] - v[0]))

    return widest(np.log(values)) < widest(np.array(values))


# -------------------------------------------------------------------------------------------- curves


def _swept_value(row: Row, x: str) -> float | int | str:
    if x in ("snr_db", "cbr_data", "cbr_total"):
        return float(getattr(row, x))
    for name, value in row.point:
        if name == x:
            return value
    known = ["snr_db", "cbr_data", "cbr_total", *(name for name, _ in row.point)]
    raise RunFolderError(f"--x {x}: got a field that was not swept, expected one of {', '.join(known)}.")


def _positions(rows: Sequence[Row], x: str) -> tuple[dict[float | int | str, float], tuple[str, ...]]:
    """Where every value of ``x`` stands on the axis: numbers and ratios at their value, other texts side by
    side in the order of the scenario, with tick labels.
    """
    values = list(dict.fromkeys(_swept_value(row, x) for row in rows))
    if any(isinstance(v, bool) for v in values):
        return {v: float(i) for i, v in enumerate(values)}, tuple(str(v).lower() for v in values)
    try:
        return {v: float(Fraction(v)) for v in values}, ()
    except ValueError:
        return {v: float(i) for i, v in enumerate(values)}, tuple(str(v) for v in values)


def _groups(rows: Sequence[Row], x: str) -> dict[tuple[str, str, Any], list[Row]]:
    """Rows of one line each, by channel, scheme and everything swept but ``x``."""
    points: dict[tuple[str, Any], set[float]] = {}
    for row in rows:
        points.setdefault((row.channel, row.point), set()).add(row.snr_db)
    derived = all(len(snrs) == 1 for snrs in points.values())  # from a link budget: no parameter of its own
    groups: dict[tuple[str, str, Any], list[Row]] = {}
    for row in rows:
        other = tuple(
            p for p in row.point if p[0] != x and not (x.startswith("cbr") and "data_ratio" in p[0])
        )
        if x != "snr_db" and not derived:
            other = (*other, ("snr_db", row.snr_db))
        groups.setdefault((row.channel, row.scheme, other), []).append(row)
    return groups


def curves(
    rows: Sequence[Row], info: MetricInfo, x: str, bounds: Iterable[str] = (), steps: Iterable[str] = ()
) -> list[Curve]:
    """Lines of a figure: one per channel, scheme and value of everything swept but ``x``.

    Args:
        rows: of results.
        info: the metric that is shown.
        x: "snr_db", "cbr_data", "cbr_total", or the path of a swept field.
        bounds: names of schemes that are limits.
        steps: names of schemes that are drawn thin.

    Raises:
        RunFolderError: no such metric in the rows, or ``x`` not swept.
    """
    chosen = [r for r in rows if r.metric == info.name]
    if not chosen:
        known = ", ".join(sorted({r.metric for r in rows}))
        raise RunFolderError(f"--metric {info.name}: got no such metric in the run, expected one of {known}.")
    places, ticks = _positions(chosen, x)
    many_snr = len({r.snr_db for r in chosen}) > 1
    result = []
    for (channel, scheme, other), members in _groups(chosen, x).items():
        members.sort(key=lambda r: places[_swept_value(r, x)])
        label = ", ".join([scheme, *variant_texts(other, many_snr)])
        label += "" if x.startswith("cbr") else _bandwidth_text(members)
        mean, low, high = (np.array([getattr(r, n) for r in members]) for n in ("mean", "ci_low", "ci_high"))
        result.append(
            Curve(
                channel,
                scheme,
                label,
                scheme in set(bounds),
                other,
                ticks,
                np.array([places[_swept_value(r, x)] for r in members]),
                *(mean, low, high),
                np.asarray((mean == 0) & info.is_rate),
                scheme in set(steps),
                np.array([_share_arrived(r) for r in members]),
                rows=tuple(members),
            )
        )
    return result


def _share_arrived(row: Row) -> float:
    seen = row.num_arrived + row.num_failures
    return row.num_arrived / seen if seen else 1.0


def best_of(lines: Sequence[Curve], info: MetricInfo) -> Curve:
    """The best of several curves at every x that all of them have, without an interval: of what was not run
    nobody knows whether it would have been better.

    It is chosen after the fact, on the very results that it shows, among these schemes alone: no scheme, and
    no limit of one that may choose among more.
    """
    places = sorted(set.intersection(*({float(x) for x in line.x} for line in lines)))
    best, arrived, limits = [], [], []
    for x in places:
        values: dict[float, float] = {}
        unseen = [line.high[line.x == x][0] for line in lines if line.upper_bound[line.x == x][0]]
        limits.append(min(unseen, default=np.nan))
        for line in lines:
            at = int(np.flatnonzero(line.x == x)[0])
            share = float(line.arrived[at]) if len(line.arrived) else 1.0
            value = float(line.mean[at])
            values[value] = max(share, values.get(value, 0.0))
        best.append(info.best(list(values)))
        arrived.append(values[best[-1]])
    nothing = np.full(len(places), np.nan)
    return replace(
        lines[0],
        scheme=BEST_OF_STEPS,
        label=f"best of these {len(lines)} fixed MCS at each point, chosen on these results",
        is_bound=False,
        is_step=False,
        x=np.array(places),
        mean=np.array(best),
        low=nothing,
        high=np.array(limits),
        upper_bound=np.isfinite(limits),
        arrived=np.array(arrived),
        rows=(),
    )


def connected(line: Curve, *, is_rate: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, mean, low, high of a line, nan where it is broken: no value was seen, or a picture arrived at one of
    two neighbours only. Between these nobody measured, and where none arrived the mean is that of grey.
    """
    values = [np.where(line.upper_bound, np.nan, v) for v in (line.mean, line.low, line.high)]
    lost = np.zeros(len(line.x), bool) if is_rate else line.lost
    gaps = np.flatnonzero(lost[1:] | lost[:-1]) + 1
    x, mean, low, high = (np.insert(v.astype(float), gaps, np.nan) for v in (line.x, *values))
    return x, mean, low, high


_NEAR_DB = 1.0
_SLOPE = 0.1  # a difference in the share of pictures that arrive that makes a slope


def step_points(line: Curve, x: str) -> tuple[np.ndarray, np.ndarray]:
    """Points (x, mean) of a step: where nothing arrives it is left out, and nothing is drawn between points
    of which one loses many more pictures than the other (nan), unless they are neighbours within 1 dB. A
    threshold is half a decibel wide, and where it lies between points far apart nobody measured.
    """
    some = ~line.lost
    jump, near = np.zeros((2, len(line.x)), bool)  # from the point before
    if len(line.arrived):
        jump[1:] = np.abs(np.diff(line.arrived)) > _SLOPE
    near[1:] = np.diff(line.x) <= (_NEAR_DB if x == "snr_db" else 0)
    kept = some.copy()
    kept[:-1] |= some[1:] & near[1:]  # the foot of a step
    kept[1:] |= some[:-1] & near[1:]
    xs: list[float] = []
    means: list[float] = []
    for i in np.flatnonzero(kept):
        if xs and ((jump[i] and not near[i]) or not kept[i - 1]):
            xs.append(np.nan)
            means.append(np.nan)
        xs.append(line.x[i])
        means.append(line.mean[i])
    return np.array(xs), np.array(means)
