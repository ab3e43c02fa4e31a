"""When a point has been run often enough: a rule that is asked after every chunk of trials, in their order.

Whether a point is done is a function of its records alone, so neither the number of processes nor the order
in which they finish decides about it. Records beyond the end of a point (made under another rule) are kept
and not read.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linksim.results.records import Point, Record, UnitKey

_LEAST_TRIALS = 30  # before an interval over trials decides: few of them have no spread by chance

__all__ = ["Ended", "PlaceKey", "Rule", "Tally", "asked_for", "ends", "extent", "place_of", "rule_of"]

Curve = tuple[str, str, Point]  # channel, scheme, swept values
PlaceKey = tuple[str, str, Point, float]  # and the SNR [dB]


def place_of(key: UnitKey) -> PlaceKey:
    """The point that a unit belongs to."""
    return key.channel, key.scheme, key.point, key.snr_db


@dataclass(frozen=True)
class Rule:
    """When a point is done.

    Args:
        chunk: trials after which it is asked, again and again.
        max_trials: most trials of a point.
        metric: that decides.
        confidence: of intervals.
        images: pictures of the run.
        block_errors: as many blocks of all pictures together were wrong (metric bler).
        relative_ci: half the interval is at most this share of the value.
        absolute_ci: half the interval is at most this, in the unit of the metric.
        seconds: the units of the point took so long, all together [s].
        end_below: SNRs above one whose rate is below this, its upper limit included, are not run.
    """

    chunk: int
    max_trials: int
    metric: str
    confidence: float
    images: int
    block_errors: int | None = None
    relative_ci: float | None = None
    absolute_ci: float | None = None
    seconds: float | None = None
    end_below: float | None = None


def rule_of(header: Mapping[str, Any]) -> Rule | None:
    """The rule of a run, of its run.json; None: every point has the trials of the sweep."""
    scenario = header["scenario"]
    stop = scenario.get("stop")
    if stop is None:
        return None
    given = {
        name: stop.get(name)
        for name in ("block_errors", "relative_ci", "absolute_ci", "seconds", "end_below")
    }
    return Rule(
        chunk=scenario["sweep"]["trials"],
        max_trials=stop["max_trials"],
        metric="lpips_alex" if stop["metric"] == "lpips" else stop["metric"],
        confidence=scenario["statistics"]["confidence"],
        images=len(header["images"]),
        **given,
    )


@dataclass(frozen=True)
class Ended:
    """The end of a point.

    Args:
        trials: that count.
        reason: "block_errors", "relative_ci", "absolute_ci", "seconds" or "max_trials"; "end_below" of a
            point that is not run, because the rate at a lower SNR is low enough.
        value: of the metric that decides, nan where there is none.
        high: upper end of its interval.
    """

    trials: int
    reason: str
    value: float = math.nan
    high: float = field(default=math.inf, compare=False)


@dataclass
class Tally:
    """What a rule has to know of the units of one point, per trial; grows by records in any order."""

    rule: Rule
    _units: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _sums: dict[int, list[float]] = field(default_factory=dict)  # value, weight, block errors, seconds
    _is_rate: bool = False
    _complete: int = 0
    _asked: int = -1  # complete trials when the rule was asked last
    _ended: Ended | None = None

    def add(self, record: Record) -> None:
        """Count a unit."""
        trial, metric = record.key.trial, self.rule.metric
        self._units[trial] += 1
        value, weight = 0.0, 0.0
        if metric in record.counts:
            value, weight = record.counts[metric]
            self._is_rate = True
        elif metric in record.values:
            value, weight = record.values[metric], 1.0
        wrong = record.counts.get("bler", (0, 0))[0]
        sums = self._sums.setdefault(trial, [0.0] * 4)
        for i, more in enumerate((value, weight, wrong, record.seconds)):
            sums[i] += more

    def complete(self) -> int:
        """Trials of which all pictures are there, from the first on without a gap."""
        while self._units.get(self._complete, 0) >= self.rule.images:
            self._complete += 1
        return self._complete

    def ended(self) -> Ended | None:
        """The end of the point; None: it goes on."""
        complete = self.complete()
        if self._ended is None and complete != self._asked:
            self._asked, self._ended = complete, self._first_end()
        return self._ended

    def _first_end(self) -> Ended | None:
        """The first bound of a chunk at which a rule holds."""
        rule, complete = self.rule, min(self.complete(), self.rule.max_trials)
        bounds = [*range(rule.chunk, rule.max_trials, rule.chunk), rule.max_trials]
        bounds = [bound for bound in bounds if bound <= complete]
        if not bounds:
            return None
        sums = np.array([self._sums[trial] for trial in range(bounds[-1])])
        at = np.array(bounds) - 1
        value, half, high = _intervals(sums[:, 0], sums[:, 1], at, rule.confidence, is_rate=self._is_rate)
        known = at + 1 >= _LEAST_TRIALS
        wrong, seconds = sums[:, 2].cumsum()[at], sums[:, 3].cumsum()[at]
        never = np.full(len(at), -np.inf)
        reasons = {
            "block_errors": wrong >= (rule.block_errors or math.inf),
            "relative_ci": known
            & (half <= (never if rule.relative_ci is None else rule.relative_ci * np.abs(value))),
            "absolute_ci": known & (half <= (never if rule.absolute_ci is None else rule.absolute_ci)),
            "seconds": seconds >= (rule.seconds or math.inf),
            "max_trials": at + 1 >= rule.max_trials,
        }
        for i, bound in enumerate(bounds):
            for reason, met in reasons.items():
                if met[i]:
                    return Ended(bound, reason, float(value[i]), float(high[i]))
        return None


def _intervals(
    values: np.ndarray, weights: np.ndarray, at: np.ndarray, confidence: float, *, is_rate: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Σ values / Σ weights over the trials up to and with each of some, half its interval, and the upper end
    of it: Student's t with the linearised standard error over trials, each one independent draw for the
    pictures at hand. Of a rate it is at least what as many independent events would have, and without an
    error, or without a success, what n of them in a row leave (see
    :func:`linksim.results.statistics.error_interval`). nan and inf where nothing is known.

    Source: Davison & Hinkley, "Bootstrap Methods and their Application", 1997, sec. 2.7.2.
    """
    from scipy.special import stdtrit

    count = at + 1.0
    sums = [np.cumsum(column)[at] for column in (values, weights, values**2, values * weights, weights**2)]
    total, weight, vv, vw, ww = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        value = total / weight
        squares = np.maximum(vv - 2 * value * vw + value**2 * ww, 0)
        error = np.sqrt(squares / (count - 1) / count) / (weight / count)
        if is_rate:
            error = np.maximum(error, np.sqrt(value * (1 - value) / weight))
        half = stdtrit(count - 1, (1 + confidence) / 2) * error
    half[~np.isfinite(half)] = np.inf  # one trial, or a scheme without the metric
    if is_rate:
        left = 1 - (1 - confidence) ** (1 / count)
        half = np.where((total == 0) | (total == weight), np.maximum(left, np.where(count > 1, 0, 1)), half)
    return value, half, value + half


def ends(records: Iterable[Record], rule: Rule, snr_db: Sequence[float] = ()) -> dict[PlaceKey, Ended]:
    """Points that are done, or not to be run.

    Args:
        records: of a run.
        rule: of the run.
        snr_db: of its sweep; points of a curve beyond its end have a place in the result, too.
    """
    tallies: dict[PlaceKey, Tally] = {}
    for record in records:
        tallies.setdefault(place_of(record.key), Tally(rule)).add(record)
    found = {place: ended for place, tally in tallies.items() if (ended := tally.ended()) is not None}
    return (
        found if rule.end_below is None else _cut(found, rule.end_below, {*snr_db, *(p[3] for p in tallies)})
    )


def _cut(found: dict[PlaceKey, Ended], below: float, levels: Iterable[float]) -> dict[PlaceKey, Ended]:
    """Ends of points, with those above the first one of each curve whose rate is low enough."""
    first: dict[Curve, float] = {}
    for (channel, scheme, point, snr_db), ended in found.items():
        if ended.high < below:
            curve = channel, scheme, point
            first[curve] = min(snr_db, first.get(curve, math.inf))
    result = dict(found)
    for curve, low in first.items():
        value = found[(*curve, low)].value
        result |= {(*curve, level): Ended(0, "end_below", value) for level in levels if level > low}
    return result


def asked_for(records: Sequence[Record], header: Mapping[str, Any]) -> Sequence[Record]:
    """Records without those beyond the ends of their points."""
    rule = rule_of(header)
    if rule is None:
        return records
    found = ends(records, rule)
    most = {place: ended.trials for place, ended in found.items()}
    return [r for r in records if r.key.trial < most.get(place_of(r.key), rule.max_trials)]


def extent(records: Sequence[Record], header: Mapping[str, Any]) -> tuple[int, int]:
    """Units of a run that are done, and those that it may have at most in the end."""
    rule, most = rule_of(header), int(header["num_units"])
    done = len({r.key for r in records})
    if rule is None:
        return done, most
    found = ends(records, rule, header["scenario"]["sweep"]["snr_db"] or ())
    return done, most - sum((rule.max_trials - ended.trials) * rule.images for ended in found.values())
