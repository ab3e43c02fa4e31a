"""Runs of one scenario, made in parts, as one run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channels.checks import complaint, in_words
from linksim.files.writing import whole_file, whole_folder
from linksim.results.failures import failures, first_failures, write_index
from linksim.results.records import Record, UnitKey
from linksim.results.set_statistics import write_csv
from linksim.results.stopping import asked_for, extent
from linksim.results.store import ResultStore, RunFolderError
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario
from linksim.scenario.sweeps import count_units, validated

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
    for store, header in zip(stores[1:], headers[1:], strict=True):
        _check_part(store, header, parts[0], headers[0])
    images = {name: facts for header in headers for name, facts in header["images"].items()}
    scenario = _scenario(parts[0], headers[0])
    records = _union(stores)
    asked = count_units(scenario, len(images))
    if len(records) > asked:
        got = f"{len(records)} units"
        raise RunFolderError(
            complaint("merge", "units of no run", got, f"at most the {asked} of the scenario")
        )
    header = {k: v for k, v in headers[0].items() if k != "shard"} | {"images": images, "num_units": asked}
    for block in ("files", "tools"):
        header[block] = {k: v for one in headers for k, v in one[block].items()}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        cure = "Use another --out; nothing was written."
        raise RunFolderError(complaint(str(out), "not empty", "other files", "a new or empty folder", cure))
    try:
        with whole_folder(out.absolute()) as partial:
            merged = ResultStore(partial)
            merged.open(header)
            merged.append(sorted(records.values(), key=lambda r: r.key.order))
            merged.close()
            for store in stores:
                for kept in (store.images, store.failures, store.features):
                    _copy_missing(kept, partial / kept.name)
            lost = {f.record.key: f for store in stores for f in failures(store)}
            if lost:
                write_index(merged, first_failures(lost.values()), out)
            write_csv(merged, scenario.model_dump(mode="json"))
    except OSError as problem:
        raise RunFolderError(
            complaint(str(out), "cannot be written", in_words(problem), "a folder")
        ) from None
    done, most = extent(asked_for(list(records.values()), header), header)
    return Merged(out, len(records), most - done)


def _check_part(store: ResultStore, header: dict[str, Any], first: Path, its: dict[str, Any]) -> None:
    """Refuse a part that is not of the same run as the first one."""
    store.compare(header, its, f"part of another run than {first}")
    cure = "Run it again with all metrics, or leave it out."
    for what, facts in (
        ("measured", [sorted(side["metrics"]) for side in (header, its)]),
        ("swept in the order", [list(side["scenario"]["sweep"]["fields"]) for side in (header, its)]),
    ):
        if facts[0] != facts[1]:
            raise RunFolderError(
                complaint(str(store.folder), what, facts[0], f"{facts[1]}, as {first}", cure)
            )


def _scenario(folder: Path, header: dict[str, Any]) -> Scenario:
    try:
        return validated(Scenario, header["scenario"], str(folder))
    except ScenarioError as problem:
        raise RunFolderError(str(problem)) from None


def _union(stores: Sequence[ResultStore]) -> dict[UnitKey, Record]:
    """Records of all parts, each once. Networks give the same to six digits beside other pictures.

    Raises:
        RunFolderError: a unit that two parts have with other results.
    """
    found: dict[UnitKey, Record] = {}
    for store in stores:
        for record in store.stored_records():
            known = found.setdefault(record.key, record)
            if not known.agrees(record):
                key = record.key
                unit = f"{key.channel}, {key.scheme}, {key.snr_db:g} dB, image {key.image}, trial {key.trial}"
                where, got = f"{store.folder}: unit ({unit})", "other results than in another part"
                raise RunFolderError(complaint(where, "differs", got, "the same", "Leave out one of them."))
    return found


def _copy_missing(source: Path, target: Path) -> None:
    """Copy files that are not there yet; those of the same name are the same."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and not path.is_symlink() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(place) as partial:
                shutil.copyfile(path, partial)
