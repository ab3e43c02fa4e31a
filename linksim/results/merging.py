"""Runs of one scenario, made in parts, as one run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from channels.checks import complaint
from linksim.files.writing import whole_file
from linksim.results.records import Record, UnitKey
from linksim.results.set_statistics import write_csv
from linksim.results.store import ResultStore, RunFolderError
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario
from linksim.scenario.sweeps import validated, variants

__all__ = ["Merged", "merge"]


@dataclass(frozen=True)
class Merged:
    """A merged run.

    Args:
        folder: where it is.
        units: that the parts had.
        missing: that no part had; ``linksim simulate`` in the folder runs them.
    """

    folder: Path
    units: int
    missing: int


def merge(parts: Sequence[Path], out: Path) -> Merged:
    """Put the units of run folders into a new one: shards, or runs of other pictures of the same set.

    Args:
        parts: run folders of the same scenario.
        out: new or empty folder.

    Raises:
        RunFolderError: runs that do not belong together, or units that differ between them. The new folder
            then is not there.
    """
    stores = [ResultStore(part) for part in parts]
    headers = [store.header() for store in stores]
    for part, header in zip(parts[1:], headers[1:], strict=True):
        ResultStore(part).compare(header, headers[0], f"part of another run than {parts[0]}")
    images = {name: facts for header in headers for name, facts in header["images"].items()}
    scenario = _scenario(parts[0], headers[0])
    asked = _num_units(scenario, headers[0], len(images))
    header = {k: v for k, v in headers[0].items() if k != "shard"} | {"images": images, "num_units": asked}
    for block in ("files", "tools", "unavailable"):
        header[block] = {k: v for one in headers for k, v in one[block].items()}
    records = _union(stores)
    merged = ResultStore(out)
    if merged.header_path.exists():
        cure = "Use another --out; nothing was written."
        raise RunFolderError(complaint(str(out), "a run already", "run.json", "a new folder", cure))
    merged.open(header)
    try:
        merged.append(sorted(records.values(), key=lambda r: r.key.order))
    finally:
        merged.close()
    for store in stores:
        for kept in (store.images, store.features):
            _copy_missing(kept, out / kept.name)
    write_csv(merged, scenario.model_dump(mode="json"))
    return Merged(out, len(records), asked - len(records))


def _scenario(folder: Path, header: dict[str, Any]) -> Scenario:
    try:
        return validated(Scenario, header["scenario"], str(folder))
    except ScenarioError as problem:
        raise RunFolderError(str(problem)) from None


def _num_units(scenario: Scenario, header: dict[str, Any], num_images: int) -> int:
    """Units of the whole scenario."""
    points = len(scenario.channels) * len(scenario.sweep.snr_db or (None,)) * len(list(variants(scenario)))
    return points * len(header["scenario"]["schemes"]) * scenario.sweep.trials * num_images


def _union(stores: Sequence[ResultStore]) -> dict[UnitKey, Record]:
    """Records of all parts, each once.

    Raises:
        RunFolderError: a unit that two parts have with other results.
    """
    found: dict[UnitKey, Record] = {}
    for store in stores:
        for record in store.records():
            known = found.setdefault(record.key, record)
            if replace(known, seconds=record.seconds) != record:
                key = record.key
                unit = f"{key.channel}, {key.scheme}, {key.snr_db:g} dB, image {key.image}, trial {key.trial}"
                where, got = f"{store.folder}: unit ({unit})", "other results than in another part"
                raise RunFolderError(complaint(where, "differs", got, "the same", "Leave out one of them."))
    return found


def _copy_missing(source: Path, target: Path) -> None:
    """Copy files that are not there yet; those of the same name are the same."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(place) as partial:
                shutil.copyfile(path, partial)
