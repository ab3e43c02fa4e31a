"""Paired differences: what changes when one thing changes, on the same pictures, fades and noise.

Fades and noise of a picture and a trial are the same for every scheme, channel and swept value of a run, as
far as these draw alike. The spread between pictures, which is most of the width of an interval, cancels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from channels.checks import complaint
from linksim.results.records import Record, UnitKey
from linksim.results.statistics import Row, bootstrap_interval, error_interval, resample_seed
from linksim.results.store import RunFolderError
from linksim.scenario.comparison import references

__all__ = ["differences", "reference_of"]

Reference = tuple[str, Any] | Mapping[str, str]
"""What differs and its value at the reference, or a scheme by that which is compared with it."""


def reference_of(
    name: str | Mapping[str, str], scenario: Mapping[str, Any], channels: Iterable[str], where: str
) -> Reference:
    """What a name stands for.

    Args:
        name: of a scheme or channel, or ``PATH=VALUE``; or a scheme by that which is compared with it.
        scenario: as run.json holds it.
        channels: names in the results.
        where: the name was said, for a message.

    Raises:
        RunFolderError: not in the run.
    """
    schemes = [s["name"] for s in scenario["schemes"]]
    if not isinstance(name, str):
        unknown = [n for pair in name.items() for n in pair if n not in schemes]
        if unknown:
            raise RunFolderError(
                complaint(where, "no such scheme", unknown[0], f"one of {', '.join(schemes)}")
            )
        return name
    known = references(schemes, channels, scenario["sweep"]["fields"])
    if name not in known:
        expected = f"one of {', '.join(known)}" if known else "a run of more than one scheme or channel"
        raise RunFolderError(complaint(where, "nothing to compare with", name, expected))
    return known[name]


def _counterpart(key: UnitKey, reference: Reference) -> UnitKey | None:
    """The unit that another is compared with; None for one that is not compared."""
    if not isinstance(reference, tuple):
        other = reference.get(key.scheme)
        return None if other is None else replace(key, scheme=other)
    what, value = reference
    if what in ("scheme", "channel"):
        found = replace(key, **{what: value})
    else:
        found = replace(key, point=tuple((n, value if n == what else v) for n, v in key.point))
    return None if found == key else found


def _is_reference(key: UnitKey, reference: Reference) -> bool:
    return isinstance(reference, tuple) or key.scheme in reference.values()


def _value(record: Record, metric: str) -> float | None:
    if metric in record.values:
        return record.values[metric]
    errors, trials = record.counts.get(metric, (0, 0))
    return errors / trials if trials else None


def differences(
    records: Iterable[Record],
    metric: str,
    reference: Reference,
    confidence: float,
    resamples: int,
    *,
    with_reference: bool = False,
    is_share: bool = False,
) -> list[Row]:
    """Rows like those of :func:`linksim.results.statistics.summarise`, of differences to a reference.

    The mean is over pictures of the mean over trials, its interval a bootstrap over pictures. Where no
    picture differs in a share, or no frame in a rate, it is the limit that none of so many leaves, to both
    sides: an interval of width zero would say that nothing ever differs.

    Args:
        records: of a run.
        metric: of single pictures or transmissions.
        reference: from :func:`reference_of`.
        confidence: e.g. 0.95.
        resamples: bootstrap samples.
        with_reference: include the reference itself, whose differences are 0, always.
        is_share: the metric is a share of what a picture holds (``MetricInfo.is_share``).
    """
    units = sorted({r.key: r for r in records}.values(), key=lambda r: r.key.order)
    by_key = {r.key: r for r in units}
    groups: dict[Any, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    members: dict[Any, list[Record]] = defaultdict(list)
    references: set[Any] = set()
    for record in units:
        key = record.key
        counterpart = _counterpart(key, reference)
        itself = counterpart is None and with_reference and _is_reference(key, reference)
        other = record if itself else by_key.get(counterpart) if counterpart else None
        value, base = (_value(r, metric) if r else None for r in (record, other))
        if value is not None and base is not None:
            place = (key.channel, key.scheme, key.point, key.snr_db)
            groups[place][key.image].append(value - base)
            members[place].append(record)
            if itself:
                references.add(place)
    if groups.keys() == references:
        return []
    found = []
    for place, by_image in groups.items():
        row = _row(members[place], by_image, metric, confidence, resamples)
        is_rate = metric in members[place][0].counts
        if place not in references and (is_rate or is_share):
            row = _limited(row, by_image, len(members[place]) if is_rate else len(by_image), confidence)
        found.append(row)
    return found


def _limited(row: Row, by_image: Mapping[str, Sequence[float]], units: int, confidence: float) -> Row:
    """A row of differences that are between -1 and 1; where all are 0, with the limits that so many leave."""
    if any(any(values) for values in by_image.values()):
        return replace(row, ci_low=max(row.ci_low, -1.0), ci_high=min(row.ci_high, 1.0))  # nan stays first
    _, most = error_interval(0, units, confidence)
    return replace(row, ci_low=-most, ci_high=most)


def _row(
    members: Sequence[Record],
    by_image: Mapping[str, Sequence[float]],
    metric: str,
    confidence: float,
    resamples: int,
) -> Row:
    key = members[0].key
    values = [np.array(v) for v in by_image.values()]
    seed = resample_seed(key.channel, key.scheme, key.point, key.snr_db, metric, "difference")
    low, high = bootstrap_interval(values, confidence, resamples, seed)
    lost = sum(r.state != "ok" for r in members)
    return Row(
        key.channel,
        key.scheme,
        key.snr_db,
        metric,
        key.point,
        float(np.mean([v.mean() for v in values])),
        low,
        high,
        num_images=len(values),
        num_trials=len({r.key.trial for r in members}),
        num_failures=lost,
        mean_ok=math.nan,
        cbr_data=float(np.mean([r.cbr_data for r in members])),
        cbr_total=float(np.mean([r.cbr_total for r in members])),
        num_arrived=len(members) - lost,
    )
