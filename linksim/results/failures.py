"""Units that did not arrive, kept to be looked at: what was shown, the record, and how to see what happened.

``failures/`` of a run folder holds a picture for each and failures.jsonl: of every channel and scheme the
first so many in the order of the work, which does not depend on who computed them.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channels.checks import complaint
from linksim.files.names import file_name
from linksim.files.writing import write_whole
from linksim.results.records import Record, UnitKey
from linksim.results.store import ResultStore, RunFolderError

__all__ = ["INDEX", "Failure", "failure_file", "failures", "first_failures", "unit_text", "write_index"]

INDEX = "failures.jsonl"


@dataclass(frozen=True)
class Failure:
    """A unit that did not arrive.

    Args:
        order: place in the work of the whole run: batch, and unit of it.
        most: how many of its channel and scheme were to be kept.
        record: of it.
    """

    order: tuple[int, int]
    most: int
    record: Record


def first_failures(found: Iterable[Failure]) -> list[Failure]:
    """Of every channel and scheme the first ones, as many as were to be kept; in the order of the work."""
    groups: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in sorted(found, key=_place):
        group = groups[failure.record.key.channel, failure.record.key.scheme]
        if len(group) < failure.most:
            group.append(failure)
    return sorted((f for group in groups.values() for f in group), key=_place)


def _place(failure: Failure) -> tuple[object, ...]:
    """Runs of other pictures have work of their own: units of one place are in the order of their names."""
    return (failure.order, failure.record.key.order)


def failure_file(store: ResultStore, record: Record) -> Path:
    """Where the picture of a unit is kept."""
    key = record.key
    swept = (f"{name}={value}" for name, value in key.point)
    unit = (
        key.channel,
        key.scheme,
        *swept,
        f"{key.snr_db:g}dB",
        key.image,
        f"trial{key.trial}",
        record.state,
    )
    return store.failures / f"{file_name(*unit)}.png"


def unit_text(key: UnitKey) -> str:
    """A unit as ``linksim replay`` takes it."""
    pairs = [("channel", key.channel), ("scheme", key.scheme), *key.point]
    pairs += [("snr_db", f"{key.snr_db:.17g}"), ("image", key.image), ("trial", key.trial)]
    return ",".join(f"{name}={value}" for name, value in pairs)


def write_index(store: ResultStore, found: Sequence[Failure], folder: Path) -> None:
    """Write failures.jsonl, and remove pictures that are in it no more.

    Args:
        store: run folder.
        found: that are kept, in their order.
        folder: the run folder, as commands name it.
    """
    lines = []
    for failure in found:
        words = ["linksim", "replay", str(folder), unit_text(failure.record.key)]
        entry = {
            "picture": failure_file(store, failure.record).name if failure.record.source_values else None,
            "command": shlex.join(words),
            "order": list(failure.order),
            "most": failure.most,
            "record": json.loads(failure.record.to_json()),
        }
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    store.failures.mkdir(parents=True, exist_ok=True)
    write_whole(store.failures / INDEX, "".join(lines))
    named = {failure_file(store, failure.record) for failure in found}
    for path in store.failures.glob("*.png"):
        if path not in named:
            path.unlink()


def failures(store: ResultStore) -> list[Failure]:
    """What failures.jsonl holds; nothing where there is none.

    Raises:
        RunFolderError: a broken line.
    """
    path = store.failures / INDEX
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(_failure(json.loads(line)))
        except (ValueError, KeyError, TypeError) as problem:
            cure = "Remove the folder; linksim simulate --keep-failures makes it again."
            where = f"{path} line {number}"
            raise RunFolderError(complaint(where, "broken", problem, "a failure", cure)) from None
    return found


def _failure(entry: dict[str, Any]) -> Failure:
    batch, unit = (int(number) for number in entry["order"])
    return Failure((batch, unit), int(entry["most"]), Record.from_json(json.dumps(entry["record"])))
