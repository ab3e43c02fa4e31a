"""Which of two schemes is better at a point, where the interval of their paired difference says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from linksim.metrics.info import MetricInfo
from linksim.report.runs import Run
from linksim.results.paired import differences, reference_of
from linksim.results.statistics import Row

__all__ = ["Compared", "compared", "compared_with"]


@dataclass(frozen=True)
class Compared:
    """Signs of differences: 1 better, -1 worse, 0 undecided.

    Args:
        values: by (channel, scheme, swept values, SNR) and the other scheme.
    """

    values: dict[tuple[Any, str], int]

    def of(self, row: Row, other: str) -> int | None:
        """How the scheme of a row stands to another at its point; None where they were not compared."""
        return self.values.get(((row.channel, row.scheme, row.point, row.snr_db), other))


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
    level, resamples = statistics["confidence"], statistics["resamples"]
    by_scheme: dict[str, list[Any]] = {}
    for record in run.records:
        by_scheme.setdefault(record.key.scheme, []).append(record)
    found: dict[tuple[Any, str], int] = {}
    for one, other in pairs:
        both = [*by_scheme.get(one, ()), *by_scheme.get(other, ())]
        against = ("scheme", other)
        for row in differences(both, info.name, against, level, resamples, is_share=info.is_share):
            sign = _sign(row) * (1 if info.higher_is_better else -1)
            found[(row.channel, one, row.point, row.snr_db), other] = sign
            found[(row.channel, other, row.point, row.snr_db), one] = -sign
    return Compared(found)


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
