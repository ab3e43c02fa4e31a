"""The table of single pictures: every unit of the runs, as many as a page can hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from linksim.report.interactive.names import Names, number, scheme_name
from linksim.report.runs import Run
from linksim.results.records import Record

__all__ = ["page_units"]

Unit = tuple[str, Record]  # with the name of its scheme on the page


def page_units(runs: Sequence[Run], names: Names, largest: int) -> dict[str, Any]:
    """Units by columns; of more than ``largest`` characters the first trials, or the first pictures only, and
    ``left_out`` says so.

    Args:
        runs: of the page.
        names: of the page.
        largest: size of what it may be.

    Raises:
        RunFolderError: records that cannot be read.
    """
    units: list[Unit] = []
    for run in runs:
        units += [(scheme_name(run, record.key.scheme), record) for record in run.records]
    units.sort(key=lambda unit: _order(unit, names))
    metrics = list(dict.fromkeys(name for run in runs for name in run.header["metrics"]))
    whole = _columns(units, metrics, names)
    size = len(json.dumps(whole, separators=(",", ":")))
    if size <= largest:
        return whole | {"left_out": ""}
    kept, what = _fewer(units, names, int(0.9 * largest * len(units) / size))
    text = f"{what} are listed here, {len(kept)} of {len(units)} units: records.jsonl has all."
    return _columns(kept, metrics, names) | {"left_out": text}


def _order(unit: Unit, names: Names) -> tuple[int, ...]:
    scheme, key = unit[0], unit[1].key
    return (
        names.channels(key.channel),
        names.schemes(scheme),
        names.place(key),
        names.images(key.image),
        key.trial,
    )


def _fewer(units: Sequence[Unit], names: Names, allowed: int) -> tuple[list[Unit], str]:
    """At most so many units: whole trials of all pictures, else whole pictures."""
    trials = sorted({record.key.trial for _, record in units})
    while len(trials) > 1:
        trials = trials[: (len(trials) + 1) // 2]
        kept = [unit for unit in units if unit[1].key.trial in trials]
        if len(kept) <= allowed:
            return kept, f"Trials 0 to {trials[-1]} only"
    images = names.images.values
    while True:
        images = images[: len(images) // 2]
        kept = [u for u in units if u[1].key.trial in trials[:1] and u[1].key.image in images]
        if len(kept) <= allowed:
            return kept, f"The first {len(images)} pictures in one trial only"


def _columns(units: Sequence[Unit], metrics: Sequence[str], names: Names) -> dict[str, Any]:
    records = [record for _, record in units]
    measured = [m for m in metrics if any(m in r.values or m in r.counts for r in records)]
    facts = dict.fromkeys(name for r in records for name in r.info)
    return {
        "channel": [names.channels(r.key.channel) for r in records],
        "scheme": [names.schemes(scheme) for scheme, _ in units],
        "place": [names.place(r.key) for r in records],
        "image": [names.images(r.key.image) for r in records],
        "trial": [r.key.trial for r in records],
        "state": [names.states(r.state) for r in records],
        "values": {name: [_value(r, name) for r in records] for name in measured},
        "info": {name: [_fact(r.info.get(name)) for r in records] for name in facts},
    }


def _value(record: Record, metric: str) -> float | int | None:
    if metric in record.values:
        return number(record.values[metric])
    errors, trials = record.counts.get(metric, (0, 0))
    return number(errors / trials) if trials else None


def _fact(value: float | int | str | None) -> float | int | str | None:
    return number(value) if isinstance(value, float) else value
