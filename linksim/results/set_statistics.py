"""Rows of results.csv: those of single pictures, and of metrics of sets, clustered by picture."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from channels.checks import complaint
from linksim.files.writing import write_whole
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.metrics.set_distances import DISTANCES
from linksim.results.feature_files import FeatureFiles
from linksim.results.records import Point, Record
from linksim.results.statistics import (
    Interval,
    Row,
    fates,
    in_scenario_order,
    resample_seed,
    summarise,
    to_csv,
)
from linksim.results.stopping import Ended, PlaceKey, ends, rule_of
from linksim.results.store import ResultStore, RunFolderError

__all__ = ["bca_interval", "run_rows", "set_rows", "write_csv"]

_LEAST_PICTURES = 3  # of an interval


def run_rows(store: ResultStore, header: Mapping[str, Any]) -> list[Row]:
    """All rows of a run folder in the order of its scenario, with the statistics that it asks for.

    Args:
        store: run folder.
        header: its run.json; its scenario may be a newer one with other statistics.

    Raises:
        RunFolderError: broken records, or features that are missing.
    """
    scenario = header["scenario"]
    confidence, resamples = scenario["statistics"]["confidence"], scenario["statistics"]["resamples"]
    records = list(store.records())
    infos = [read_facts(name, facts) for name, facts in header["metrics"].items()]
    shares = {info.name for info in infos if info.is_share}
    rows = summarise(records, confidence, resamples, shares)
    of_sets = [info for info in infos if info.scope == "set"]
    if of_sets:
        files = {name: FeatureFiles(store.features, name) for name in {i.features for i in of_sets}}
        originals = {name: facts[-1] for name, facts in header["images"].items()}
        for info in of_sets:
            if info.distance not in DISTANCES:
                where, known = f"{store.header_path} metrics.{info.name}", ", ".join(DISTANCES)
                raise RunFolderError(complaint(where, "unknown distance", info.distance, f"one of {known}"))
            rows += set_rows(records, info, files[info.features], originals, confidence, resamples)
        rows.sort(key=_summary_order)
    rule = rule_of(header)
    if rule is not None:
        found = ends(records, rule)
        rows = [replace(row, stopped_by=_stopped_by(row, found)) for row in rows]
    return in_scenario_order(rows, scenario)


def _stopped_by(row: Row, found: Mapping[PlaceKey, Ended]) -> str:
    """What ended the point of a row."""
    ended = found.get((row.channel, row.scheme, row.point, row.snr_db))
    return "unfinished" if ended is None else ended.reason


def write_csv(store: ResultStore, scenario: dict[str, Any]) -> None:
    """Write results.csv of a run folder in one step, with the statistics of a scenario (a dump)."""
    write_whole(store.csv_path, to_csv(run_rows(store, {**store.header(), "scenario": scenario})))


def _summary_order(row: Row) -> tuple[object, ...]:
    """That of :func:`linksim.results.statistics.summarise`."""
    point = tuple((name, isinstance(v, str), v) for name, v in row.point)
    return (row.channel, row.scheme, point, row.snr_db, row.metric)


def set_rows(
    records: Iterable[Record],
    info: MetricInfo,
    files: FeatureFiles,
    originals: Mapping[str, str],
    confidence: float,
    resamples: int,
) -> list[Row]:
    """Rows of a metric of sets: one per channel, scheme, swept point and SNR.

    The value is the mean over trials of the distance between what was shown of all pictures in that trial
    and their originals; its interval is the BCa bootstrap interval over pictures, which carry their trials
    with them. It is always that of all pictures of the run: trials that lack one, of a run that is not
    complete, are left out.

    Args:
        records: units; their order does not matter.
        info: the metric.
        files: features of shown pictures and originals.
        originals: digest of every original by the picture's name.
        confidence: e.g. 0.95.
        resamples: bootstrap samples.
    """
    groups: dict[tuple[str, str, Point, float], dict[int, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in sorted({r.key: r for r in records}.values(), key=lambda r: r.key.order):
        key = record.key
        groups[key.channel, key.scheme, key.point, key.snr_db][key.trial].append(record)
    rows = []
    for names, trials in groups.items():
        whole = [units for units in trials.values() if len(units) == len(originals)]
        if whole:
            weights = picture_weights(len(originals), resamples, resample_seed(*names, info.name))
            values = np.mean([_distances(units, info, files, originals, weights) for units in whole], 0)
            rows.append(_row([r for units in whole for r in units], info, values, confidence))
    return rows


def picture_weights(num_images: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """[1 + images + resamples, images]: every picture once; all but one; how often resamples hold each."""
    draws = np.random.default_rng(seed).integers(0, num_images, (resamples, num_images))
    counts = np.stack([(draws == i).sum(1) for i in range(num_images)], 1)
    once = np.ones((1, num_images), np.int64)
    return np.vstack([once, once - np.eye(num_images, dtype=np.int64), counts])


def _distances(
    units: Sequence[Record],
    info: MetricInfo,
    files: FeatureFiles,
    originals: Mapping[str, str],
    weights: NDArray[np.int64],
) -> NDArray[np.float64]:
    """[R] distances of one trial, whose units are sorted by picture, for weights [R, images]."""
    shown, own = [r.shown for r in units], [originals[r.key.image] for r in units]
    return DISTANCES[info.distance].values(
        files.within(info.distance, shown),
        files.within(info.distance, own),
        files.between(info.distance, shown, own),
        weights,
    )


def bca_interval(
    value: float, left_out: NDArray[np.float64], resampled: NDArray[np.float64], confidence: float
) -> Interval:
    """Bias-corrected and accelerated bootstrap interval.

    Args:
        value: the estimate.
        left_out: the estimate without one picture each.
        resampled: of resamples; those without a value (nan: a single picture again and again) are left out.
        confidence: e.g. 0.95.

    Returns:
        (low, high); nan of fewer than three pictures, whose resamples say nothing, or where there are too
        few to leave one out.

    Source: Efron, "Better bootstrap confidence intervals", 1987.
    """
    resampled = resampled[np.isfinite(resampled)]
    if len(left_out) < _LEAST_PICTURES or not np.isfinite(left_out).all() or len(resampled) == 0:
        return math.nan, math.nan
    few = 1 / (len(resampled) + 1)
    below = np.mean(resampled < value) + np.mean(resampled == value) / 2
    bias = ndtri(np.clip(below, few, 1 - few))
    influence = left_out.mean() - left_out
    spread = np.sum(influence**2)
    acceleration = np.sum(influence**3) / (6 * spread**1.5) if spread else 0.0
    normal = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    low, high = np.quantile(resampled, ndtr(bias + normal / (1 - acceleration * normal)))
    return float(low), float(high)


def _row(members: Sequence[Record], info: MetricInfo, values: NDArray[np.float64], confidence: float) -> Row:
    """The row of a value, its values without one picture, and its resamples."""
    key, num_images = members[0].key, len({r.key.image for r in members})
    low, high = bca_interval(
        float(values[0]), values[1 : 1 + num_images], values[1 + num_images :], confidence
    )
    low = np.maximum(low, DISTANCES[info.distance].least)  # nan stays
    return Row(
        key.channel,
        key.scheme,
        key.snr_db,
        info.name,
        key.point,
        float(values[0]),
        float(low),
        high,
        num_images=num_images,
        num_trials=len({r.key.trial for r in members}),
        mean_ok=math.nan,
        cbr_data=float(np.mean([r.cbr_data for r in members])),
        cbr_total=float(np.mean([r.cbr_total for r in members])),
        **fates(members),
    )
