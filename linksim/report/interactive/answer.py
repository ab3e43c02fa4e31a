"""The answer of a run in a sentence per scheme, no more of it than intervals bear.

A scheme is called better than another at a point where the interval of the paired difference, on the same
pictures, fades and noise, leaves out 0. Points and pairs are not corrected for their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby

from linksim.metrics.info import MetricInfo
from linksim.report.curves import Curve, swept_text, variant_texts
from linksim.report.interactive.axes import axis_names
from linksim.report.interactive.comparing import (
    PAIRS,
    Compared,
    across,
    compared,
    compared_with,
    rivals_of,
)
from linksim.report.interactive.data import metric_names
from linksim.report.interactive.names import scheme_name
from linksim.report.lines import TRAINED, gathered
from linksim.report.runs import Run, default_x, metric_info, step_names, trained_schemes
from linksim.results.statistics import Row

__all__ = ["Answer", "Answers", "Comparison", "answers", "comparison"]

_FEW = 4  # places (channels, swept values) that a sentence goes through one by one


@dataclass(frozen=True)
class Answer:
    """What a run says of a scheme.

    Args:
        scheme: its name.
        parts: a sentence about it, in clauses: one, or one per channel and swept value.
        trained: whether its training had the measure as a loss.
    """

    scheme: str
    parts: tuple[str, ...]
    trained: bool = False

    @property
    def text(self) -> str:
        """The whole sentence."""
        return "; ".join(self.parts)


@dataclass(frozen=True)
class Answers:
    """What a run says of its schemes.

    Args:
        lead: of which metric, and what the sentences rest on.
        schemes: a sentence each, in the order of the scenario.
    """

    lead: str
    schemes: tuple[Answer, ...]


def answers(run: Run) -> Answers:
    """Sentences about the first metric of a run, over its natural axis.

    Args:
        run: from :func:`linksim.report.runs.load_runs`.

    Raises:
        RunFolderError: records that cannot be read.
    """
    x, metric = default_x(run.header), metric_names([run])[0]
    found = gathered([replace(run, name="")], metric, x)
    lines = [line for line in found.lines(x) if not line.is_theory]
    steps = set(step_names(run.header))
    names = list(dict.fromkeys(line.scheme for line in lines if line.scheme not in steps))
    rivals = [n for n in rivals_of(run) if n in names]
    pairs = _pairs(rivals, run.header["scenario"]["statistics"].get("against"))
    signs, others = compared(run, found.info, pairs), list(rivals)
    against = run.header["scenario"]["statistics"].get("against")
    if isinstance(against, str) and against not in names and against not in steps:
        signs = Compared(signs.values | compared_with(run, found.info, against).values)
        others.append(against)
    teller = _Teller(found.info, x, signs, others, len({r.snr_db for r in run.rows}) > 1)
    told = [
        Answer(name, teller.sentence([c for c in lines if c.scheme == name]), name in found.trained)
        for name in names
    ]
    level = f"{100 * run.header['scenario']['statistics']['confidence']:g}%"
    lead = f"{found.info.title}, {found.info.better}; in brackets {level} intervals."
    if signs.values and found.info.higher_is_better is not None:
        lead += (
            f" Better and worse are said where the {level} interval of the paired difference (same pictures, "
            "fades and noise) leaves out 0, at each point by itself."
        )
    if found.trained:
        lead += f" {TRAINED} trained on this measure: no evidence of quality."
    return Answers(lead, tuple(told))


@dataclass(frozen=True)
class Comparison:
    """What runs say of each other.

    Args:
        lead: of which metric, and when two results are compared.
        schemes: a sentence each, by names that tell the runs apart.
        notes: what pairs of two runs rest on.
        refused: what is not compared, and which field differs.
    """

    lead: str
    schemes: tuple[Answer, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def comparison(runs: Sequence[Run]) -> Comparison:
    """Sentences about the first metric that can be compared across runs, over the axis of the first run.

    Args:
        runs: from :func:`linksim.report.runs.load_runs`, two or more.

    Raises:
        RunFolderError: records that cannot be read.
    """
    infos = [metric_info([run.header for run in runs], name) for name in metric_names(runs)]
    usable = [i for i in infos if i.scope == "image" and i.higher_is_better is not None]
    common = [i for i in usable if all(i.name in run.header["metrics"] for run in runs)]
    if not usable:
        return Comparison("Nothing is compared: no measure has a direction and a value of each picture.", ())
    info, x = (common or usable)[0], axis_names(runs)[0]
    both = across(runs, info)
    lines = [line for line in gathered(runs, info.name, x).lines(x) if line.scheme in both.rivals]
    level = f"{100 * both.level:g}%"
    lead = (
        f"{info.title}, {info.better}. Runs are compared where pictures, measure, channel, bandwidth, swept "
        f"values and SNR are the same; in brackets {level} intervals of the paired difference. Better and "
        "worse are said where it leaves out 0, at each point by itself."
    )
    told, channels = [], {row.channel for run in runs for row in run.rows}
    trained = {scheme_name(run, n) for run in runs for n in trained_schemes(run.header, info)}
    many_snr = len({row.snr_db for run in runs for row in run.rows}) > 1
    for name, rivals in both.rivals.items():
        own = [c for c in lines if c.scheme == name and both.signs.any_of(c.rows, rivals)]
        if not own:
            continue
        parts = _AcrossTeller(info, x, both.signs, rivals, many_snr).sentence(own, several=len(channels) > 1)
        told.append(Answer(name, parts, name in trained))
    if trained & set(both.rivals):
        lead += f" {TRAINED} trained on this measure: no evidence of quality."
    return Comparison(lead, tuple(told), tuple(both.notes), tuple(both.refused))


def _pairs(rivals: Sequence[str], against: object) -> list[tuple[str, str]]:
    """Who is compared with whom: everybody, or of many everybody with one."""
    pairs = list(combinations(rivals, 2))
    if len(pairs) <= PAIRS:
        return pairs
    one = against if isinstance(against, str) and against in rivals else rivals[0]
    return [(other, one) for other in rivals if other != one]


@dataclass(frozen=True)
class _Teller:
    """Makes sentences of curves of one metric.

    Args:
        info: the metric.
        x: the axis.
        signs: who is better where.
        rivals: what is compared with, in its order: schemes, and what the scenario asks for.
        many_snr: whether several SNRs were run.
    """

    info: MetricInfo
    x: str
    signs: Compared
    rivals: Sequence[str]
    many_snr: bool

    def sentence(self, curves: Sequence[Curve], *, several: bool = False) -> tuple[str, ...]:
        """About a scheme, from all of its curves; ``several``: it has others, that nothing is said of."""
        first, several = curves[0], several or len(curves) > 1
        if len(curves) > _FEW:
            parts = [self._in_all(curves)]
        else:
            parts = [f"{self._where(c, several)}{self._of(c)}" for c in curves]
        note = " (a limit, no scheme)" if first.is_bound else ""
        if not first.rows:
            note = " (the best of the fixed schemes at each point, chosen on these results)"
        return (*parts[:-1], f"{parts[-1]}{note}.")

    def _where(self, curve: Curve, several: bool) -> str:
        texts = [curve.channel, *variant_texts(curve.variant, self.many_snr)]
        return f"on {', '.join(texts)}: " if several else ""

    def _of(self, curve: Curve) -> str:
        said = [self._level(curve)]
        said += filter(None, [self._lost(curve.rows)])
        said += self._against_others(curve)
        return ", ".join(said)

    def _level(self, curve: Curve) -> str:
        points = [i for i in range(len(curve.x)) if math.isfinite(curve.mean[i])]
        if not points:
            return "no value"
        low = min(points, key=lambda i: curve.mean[i])
        high = max(points, key=lambda i: curve.mean[i])
        if len(points) == 1:
            return self._value(curve, low)
        if curve.mean[low] == curve.mean[high]:
            return f"{self._value(curve, low)} at every point"
        ends = (f"{self._value(curve, i)} at {self._place(curve, i)}" for i in (low, high))
        return "from {} to {}".format(*ends)

    def _value(self, curve: Curve, i: int) -> str:
        if curve.upper_bound[i]:
            return f"none seen (below {self._number(curve.high[i])})"
        unit = "" if self.info.unit == "1" else f" {self.info.unit}"
        text = self._number(curve.mean[i]) + unit
        if math.isnan(curve.low[i]):
            return text
        return f"{text} ({self._number(curve.low[i])} to {self._number(curve.high[i])})"

    def _number(self, value: float) -> str:
        return f"{value:.2f}" if self.info.unit == "dB" else f"{value:.3g}"

    def _place(self, curve: Curve, i: int) -> str:
        if curve.ticks:
            return curve.ticks[int(curve.x[i])]
        return f"{curve.x[i]:g} dB" if self.x == "snr_db" else _x_text(self.x, float(curve.x[i]))

    def _lost(self, rows: Iterable[Row]) -> str:
        shares = [r.num_failures / (r.num_failures + r.num_arrived) for r in rows]
        if not shares or not max(shares) or self.info.is_rate:  # a rate of errors says it
            return ""
        worst = f"{100 * max(shares):.3g}% of the pictures lost"
        return worst if len(shares) == 1 else f"up to {worst}"

    def _against_others(self, curve: Curve) -> list[str]:
        """Comparisons, those that read alike together."""
        by_text: dict[str, list[str]] = {}
        for other in self.rivals:
            text = self._against(curve, other)
            if text:
                by_text.setdefault(text, []).append(other)
        return [text.replace("{}", _listed(others), 1) for text, others in by_text.items()]

    def _against(self, curve: Curve, other: str) -> str:
        """How a scheme stands to another, which is ``{}`` in it; "" where they were not compared."""
        states = [(i, self.signs.of(row, other)) for i, row in enumerate(curve.rows)]
        known = [(self._place(curve, i), sign) for i, sign in states if sign is not None]
        return _pattern(known, ordered=not curve.ticks, whole=len(known) == len(states)) if known else ""

    def _in_all(self, curves: Sequence[Curve]) -> str:
        """Of many places only the range, and how often another scheme is better or worse."""
        means = [float(v) for c in curves for v in c.mean if math.isfinite(v)]
        unit = "" if self.info.unit == "1" else f" {self.info.unit}"
        said = f"from {self._number(min(means))} to {self._number(max(means))}{unit} over {len(means)} points"
        parts = [said, *filter(None, [self._lost(r for c in curves for r in c.rows)])]
        for other in self.rivals:
            signs = [self.signs.of(row, other) for c in curves for row in c.rows]
            known = [s for s in signs if s is not None]
            if known:
                better, worse = known.count(1), known.count(-1)
                counted = f"better than {other} at {better} and worse at {worse} of {len(known)} points"
                parts.append(counted)
        return ", ".join(parts)


class _AcrossTeller(_Teller):
    """Of how schemes of different runs stand to each other only, and by how much."""

    def _of(self, curve: Curve) -> str:
        told = []
        for other in self.rivals:
            text = self._against(curve, other)
            if text:
                told.append(self._told(text.replace("{}", other, 1), curve, other))
        return "; ".join(told)

    def _told(self, text: str, curve: Curve, other: str) -> str:
        found = [self.signs.difference(row, other) for row in curve.rows]
        if all(row.mean == row.ci_low == row.ci_high == 0 for row in found if row is not None):
            return f"as {other}, the same in every pair"
        return f"{text}, {self._by_how_much(curve, other)}"

    def _by_how_much(self, curve: Curve, other: str) -> str:
        found = [(i, self.signs.difference(row, other)) for i, row in enumerate(curve.rows)]
        known = [(i, row) for i, row in found if row is not None]
        low, high = (end(known, key=lambda pair: pair[1].mean) for end in (min, max))
        if self._number(low[1].mean) == self._number(high[1].mean):
            bottom, top = min(row.ci_low for _, row in known), max(row.ci_high for _, row in known)
            hull = replace(low[1], ci_low=bottom, ci_high=top)
            return f"difference {self._signed(hull)}" + (" at every point" if len(known) > 1 else "")
        ends = (f"{self._signed(row)} at {self._place(curve, i)}" for i, row in (low, high))
        return "difference from {} to {}".format(*ends)

    def _signed(self, row: Row) -> str:
        """A difference with its sign and interval."""
        mean, low, high = (
            f"{'+' if value > 0 else ''}{self._number(value)}"
            for value in (row.mean, row.ci_low, row.ci_high)
        )
        unit = "" if self.info.unit == "1" else f" {self.info.unit}"
        return f"{mean}{unit}" + ("" if math.isnan(row.ci_low) else f" ({low} to {high})")


def _x_text(x: str, value: float) -> str:
    return f"1/{1 / value:.3g}" if x.startswith("cbr") and value else swept_text(x, value)


_WORDS = {1: "better", -1: "worse", 0: "undecided"}


def _pattern(known: Sequence[tuple[str, int]], *, ordered: bool, whole: bool) -> str:
    """How a scheme stands to another along an axis; the other is ``{}``."""
    signs = [sign for _, sign in known]
    one = len(known) == 1
    if len(set(signs)) == 1 and signs[0] == 0:
        return "not told apart from {}" + ("" if one else " at any point")
    if len(set(signs)) == 1:
        where = "" if one else " at every point" if whole else " wherever both were run"
        return f"{_WORDS[signs[0]]} than {{}}{where}"
    spans: dict[int, list[str]] = {}
    for sign, members in groupby(known, key=lambda pair: pair[1]):
        texts = [text for text, _ in members]
        spans.setdefault(sign, []).append(texts[0] if len(texts) == 1 else _span(texts[0], texts[-1], "to"))
    parts = [f"{_WORDS[sign]} at {' and '.join(spans[sign])}" for sign in (1, -1, 0) if sign in spans]
    decided = [(text, sign) for text, sign in known if sign]
    crossings = [
        _span(decided[i][0], decided[i + 1][0], "and")
        for i in range(1, len(decided) - 2)  # by two points on either side: one alone may be chance
        if [sign for _, sign in decided[i - 1 : i + 3]] in ([1, 1, -1, -1], [-1, -1, 1, 1])
    ]
    cross = f" (they cross between {', and between '.join(crossings)})" if ordered and crossings else ""
    return f"against {{}} {', '.join(parts)}{cross}"


def _span(first: str, last: str, word: str) -> str:
    """Two places, the unit once.

    Example:
        >>> _span("5 dB", "15 dB", "to"), _span("ls", "lmmse", "to")
        ('5 to 15 dB', 'ls to lmmse')
    """
    return f"{first.removesuffix(' dB') if last.endswith(' dB') else first} {word} {last}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
