"""Which of two schemes is better at a point, where the interval of their paired difference says so: two of
one run, or of two runs where everything else is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from linksim.metrics.info import MetricInfo
from linksim.report.interactive.differing import (
    Difference,
    changed_fields,
    channel_blocks,
    same_pictures,
    text_of,
)
from linksim.report.interactive.names import scheme_name
from linksim.report.runs import Run, bound_names, step_names
from linksim.results.paired import differences, reference_of
from linksim.results.records import Record
from linksim.results.statistics import Row

__all__ = ["PAIRS", "Across", "Compared", "across", "compared", "compared_with", "rivals_of"]

PAIRS = 28  # of schemes that are compared with each other; of more all are compared with one


@dataclass(frozen=True)
class Compared:
    """Signs of differences: 1 better, -1 worse, 0 undecided.

    Args:
        values: by (channel, scheme, swept values, SNR) and the other scheme.
        differences: their means and intervals, of one of the two directions.
    """

    values: dict[tuple[Any, str], int]
    differences: dict[tuple[Any, str], Row] = field(default_factory=dict)

    def of(self, row: Row, other: str) -> int | None:
        """How the scheme of a row stands to another at its point; None where they were not compared."""
        return self.values.get(((row.channel, row.scheme, row.point, row.snr_db), other))

    def difference(self, row: Row, other: str) -> Row | None:
        """By how much; None where they were not compared in this direction."""
        return self.differences.get(((row.channel, row.scheme, row.point, row.snr_db), other))

    def any_of(self, rows: Iterable[Row], others: Iterable[str]) -> bool:
        """Whether one of some rows was compared with one of some schemes."""
        names = list(others)
        return any(self.of(row, other) is not None for row in rows for other in names)


def compared(run: Run, info: MetricInfo, pairs: Sequence[tuple[str, str]]) -> Compared:
    """Compare pairs of schemes at every point that both have.

    Args:
        run: whose records.
        info: the metric; of sets of pictures, or without a direction, nothing is compared.
        pairs: names of schemes.

    Raises:
        RunFolderError: records that cannot be read.
    """
    if info.scope == "set" or info.higher_is_better is None:
        return Compared({})
    statistics = run.header["scenario"]["statistics"]
    return _signs(run.records, info, pairs, statistics["confidence"], statistics["resamples"])


def _signs(
    records: Iterable[Record],
    info: MetricInfo,
    pairs: Sequence[tuple[str, str]],
    level: float,
    resamples: int,
) -> Compared:
    by_scheme: dict[str, list[Record]] = {}
    for record in records:
        by_scheme.setdefault(record.key.scheme, []).append(record)
    found = Compared({})
    for one, other in pairs:
        both = [*by_scheme.get(one, ()), *by_scheme.get(other, ())]
        against = ("scheme", other)
        for row in differences(both, info.name, against, level, resamples, is_share=info.is_share):
            sign = _sign(row) * (1 if info.higher_is_better else -1)
            found.values[(row.channel, one, row.point, row.snr_db), other] = sign
            found.values[(row.channel, other, row.point, row.snr_db), one] = -sign
            found.differences[(row.channel, one, row.point, row.snr_db), other] = row
    return found


def compared_with(run: Run, info: MetricInfo, against: str) -> Compared:
    """Compare everything with a channel or a swept value, by the name that ``statistics.against`` has for it;
    the reference itself is compared with nothing.

    Args:
        run: whose records.
        info: the metric; see :func:`compared`.
        against: the name.

    Raises:
        RunFolderError: nothing of that name in the run, or records that cannot be read.
    """
    if info.scope == "set" or info.higher_is_better is None:
        return Compared({})
    scenario = run.header["scenario"]
    reference = reference_of(
        against, scenario, dict.fromkeys(r.channel for r in run.rows), "statistics.against"
    )
    level, resamples = scenario["statistics"]["confidence"], scenario["statistics"]["resamples"]
    rows = differences(run.records, info.name, reference, level, resamples, is_share=info.is_share)
    direction = 1 if info.higher_is_better else -1
    return Compared({((r.channel, r.scheme, r.point, r.snr_db), against): direction * _sign(r) for r in rows})


_LEAST = 6  # one-sided outcomes that a sign test at 5% needs


def _sign(row: Row) -> int:
    """0 also without an interval, of exactly equal values, and where so few units differ that all of them
    going one way may be chance: of rates of blocks and pictures the difference is a number of such units.
    """
    units, counted = row.num_images * row.num_trials, row.metric.startswith(("bler", "outage"))
    differing = abs(row.mean) * units if counted else units
    if round(differing, 6) < _LEAST and (counted or row.ci_low == row.ci_high):
        return 0
    return 1 if row.ci_low > 0 else -1 if row.ci_high < 0 else 0


# ------------------------------------------------------------------------------------------- across runs


@dataclass
class Across:
    """How runs stand to each other.

    Args:
        signs: who is better where, by names of schemes that tell the runs apart.
        rivals: by the name of a scheme those of other runs that it is compared with.
        level: confidence of the intervals.
        notes: what the pairs of two runs rest on, a sentence for each two.
        refused: why results are not compared, a sentence each.
    """

    signs: Compared = field(default_factory=lambda: Compared({}))
    rivals: dict[str, list[str]] = field(default_factory=dict)
    level: float = 0.0
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def rivals_of(run: Run) -> list[str]:
    """Schemes of a run that are compared with others: no limits, no fixed MCS of several, with results."""
    others = {*bound_names(run.header), *step_names(run.header)}
    there = {row.scheme for row in run.rows}
    names = [s["name"] for s in run.header["scenario"]["schemes"]]
    return [name for name in names if name in there and name not in others]


def across(runs: Sequence[Run], info: MetricInfo) -> Across:
    """Compare schemes of runs with each other, by picture and trial, where pictures, measure, channel,
    bandwidth, swept values and SNR are the same; otherwise say which field differs.

    A scheme is compared with that of its name in another run; where there is none, with those that have no
    namesake either. Of many runs all are compared with the first.

    Args:
        runs: from :func:`linksim.report.runs.load_runs`, two or more.
        info: the metric: of single pictures, with a direction.

    Raises:
        RunFolderError: records that cannot be read.
    """
    statistics = [run.header["scenario"]["statistics"] for run in runs]
    found = Across(level=max(s["confidence"] for s in statistics))
    resamples = max(s["resamples"] for s in statistics)
    twos = list(combinations(runs, 2))
    if sum(len(_pairs_of(one, other)) for one, other in twos) > PAIRS:
        twos = [(runs[0], run) for run in runs[1:]]
    for one, other in twos:
        pairs, channels = _pairs_of(one, other), _fair_channels(one, other, info, found.refused)
        pictures = set(same_pictures(one, other))
        records = [
            replace(record, key=replace(record.key, scheme=scheme_name(run, record.key.scheme)))
            for run in (one, other)
            for record in run.records
            if record.key.channel in channels and record.key.image in pictures
        ]
        signs = _signs(records, info, pairs, found.level, resamples)
        found.signs.values.update(signs.values)
        found.signs.differences.update(signs.differences)
        if not signs.values:
            if channels:
                found.refused.append(_nothing_in_pairs(one, other, channels))
            continue
        for mine, its in pairs:
            found.rivals.setdefault(mine, []).append(its)
        same = all(row.mean == row.ci_low == row.ci_high == 0 for row in signs.differences.values())
        text = f" {info.title} is the same in every pair." if same else ""
        found.notes.append(_resting_on(one, other, records, len(pictures)) + text)
    return found


def _pairs_of(one: Run, other: Run) -> list[tuple[str, str]]:
    """Who of the later run is compared with whom of the earlier one, by names on the page."""
    own, its = rivals_of(other), rivals_of(one)
    alone = [name for name in its if name not in own] or its
    pairs = [(mine, name) for mine in own for name in ([mine] if mine in its else alone)]
    return [(scheme_name(other, mine), scheme_name(one, name)) for mine, name in pairs]


def _fair_channels(one: Run, other: Run, info: MetricInfo, refused: list[str]) -> set[str]:
    """Channels on which two runs can be compared; of the others ``refused`` says why."""
    names = f"{other.name} and {one.name}"
    lacking = [run.name for run in (other, one) if info.name not in run.header["metrics"]]
    if lacking:
        refused.append(f"{names}: {info.title} was not measured in {' and '.join(lacking)}.")
        return set()
    if not same_pictures(one, other):
        refused.append(f"{names}: no picture of both, by name, size and pixels (pictures).")
        return set()
    changed = _changed_everywhere((other, one), info)
    if changed:
        refused.append(f"{names}: {_told(changed, (other, one))}.")
        return set()
    blocks = [channel_blocks(run) for run in (other, one)]
    results = [dict.fromkeys(row.channel for row in run.rows) for run in (other, one)]
    fair = set()
    for channel in dict.fromkeys([*results[0], *results[1]]):
        missing = [run.name for run, of in zip((other, one), results, strict=True) if channel not in of]
        if missing:
            refused.append(f"{names} on {channel}: no results in {missing[0]}.")
            continue
        changed = _changed_of_channel(channel, [block.get(channel, {}) for block in blocks], (other, one))
        if changed:
            refused.append(f"{names} on {channel}: {_told(changed, (other, one))}.")
        else:
            fair.add(channel)
    return fair


def _changed_everywhere(runs: Sequence[Run], info: MetricInfo) -> list[Difference]:
    """Fields that decide about all results, and differ: of the measure, the bandwidth and what is swept."""
    scenarios = [run.header["scenario"] for run in runs]
    measured = [run.header["metrics"][info.name] for run in runs]
    sweeps = [dict.fromkeys(scenario["sweep"]["fields"], "swept") for scenario in scenarios]
    return [
        *changed_fields(f"metrics.{info.name}", [{"reference": m["reference"]} for m in measured]),
        *changed_fields("bandwidth", [scenario.get("bandwidth") for scenario in scenarios], _swept(runs)),
        *changed_fields("sweep.fields", sweeps),
    ]


def _changed_of_channel(channel: str, blocks: Sequence[Any], runs: Sequence[Run]) -> list[Difference]:
    """Fields of a channel that differ, and files that it names with other contents."""
    path = f"channels.{channel}"
    decides = {f"{path}.{p.removeprefix('channel.')}" for p in _swept(runs) if p.startswith("channel.")}
    changed = changed_fields(path, blocks, {*_swept(runs), *decides})
    named, files = json.dumps(blocks[0]), [run.header["files"] for run in runs]
    read = [{name: digest for name, digest in of.items() if name in named} for of in files]
    return changed + changed_fields("files", read)


def _swept(runs: Sequence[Run]) -> set[str]:
    """Paths of swept fields, channels by their names: of these every point has a value of its own."""
    found = set()
    for run in runs:
        names = [str(block.get("name")) for block in run.header["scenario"]["channels"]]
        for path in run.header["scenario"]["sweep"]["fields"]:
            head, _, rest = path.partition(".")
            place, _, last = rest.partition(".")
            numbered = head == "channels" and place.isdigit() and int(place) < len(names)
            found.add(f"channels.{names[int(place)]}.{last}" if numbered else path)
    return found


def _told(changed: Sequence[Difference], runs: Sequence[Run]) -> str:
    """The first fields with their values, and how many there are beside them."""
    texts = [
        f"{d.field} is {' and '.join(f'{v} in {run.name}' for v, run in zip(d.values, runs, strict=True))}"
        for d in changed[:2]
    ]
    rest = len(changed) - len(texts)
    more = f" ({rest} more field{'s' if rest > 1 else ''}, see below)" if rest else ""
    return "; ".join(texts) + more


def _nothing_in_pairs(one: Run, other: Run, channels: set[str]) -> str:
    names = f"{other.name} and {one.name}"
    places = [{(r.point, r.snr_db) for r in run.rows if r.channel in channels} for run in (other, one)]
    if places[0] & places[1]:
        return f"{names}: no schemes with values in both."
    if {point for point, _ in places[0]} & {point for point, _ in places[1]}:
        snrs = [sorted({snr for _, snr in of}) for of in places]
        changed = Difference("sweep.snr_db", tuple(text_of(values) for values in snrs))
        return f"{names}: no SNR of both, {_told([changed], (other, one))}."
    return f"{names}: sweep.fields have no values that are in both."


def _resting_on(one: Run, other: Run, records: Sequence[Record], pictures: int) -> str:
    """How far two runs are in pairs: pictures, fades and noise."""
    names, most = f"{other.name} and {one.name}", max(len(run.header["images"]) for run in (one, other))
    seeds: dict[Any, set[int]] = {}
    for record in records:
        key = record.key
        seeds.setdefault((key.channel, key.image, key.trial), set()).add(record.seed)
    same = "pictures, fades and noise" if all(len(s) == 1 for s in seeds.values()) else "pictures"
    said = f"{names}: paired by {same}"
    if same == "pictures":
        said += ", fades and noise are others (seed)"
    return said + (f", on the {pictures} of {most} pictures that both have." if pictures < most else ".")
