"""Records of a run and the folder that keeps them: append-only, safe to kill at any time."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from channels.checks import complaint, in_words
from linksim.files.names import file_name
from linksim.files.writing import LockedElsewhere, lock, remove_leftovers, write_whole
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.results.format import StoredHeader, first_problem
from linksim.results.records import (
    Record,
    UnfitRecord,
    UnitKey,
    check_named,
    line_of,
    side_info_uses,
)
from linksim.results.stopping import asked_for
from linksim.scenario.errors import ScenarioError

__all__ = [
    "FORMER",
    "Record",
    "ResultStore",
    "RunFolderError",
    "UnfitRecord",
    "UnitKey",
    "file_name",
    "original_file",
    "panel_file",
    "side_info_uses",
]

log = logging.getLogger("linksim.results.store")

Grow = Callable[[dict[str, Any], dict[str, Any]], int | None]  # units that are kept; None: the same scenario
_BLOCK = 1 << 16  # bytes that are read at a time from the end of the records
FORMER = "former"  # what is not asked for any more: run folders by number


class RunFolderError(ScenarioError):
    """A run folder that cannot be used."""


class ResultStore:
    """A run folder: run.json, records.jsonl, results.csv, figures/, images/, failures/, features/,
    report.html.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header_path = folder / "run.json"
        self.records_path = folder / "records.jsonl"
        self.csv_path = folder / "results.csv"
        self.figures = folder / "figures"
        self.images = folder / "images"
        self.failures = folder / "failures"
        aside = folder.parent.name == FORMER and folder.name.isdigit()
        self.features = (folder.parent.parent if aside else folder) / "features"
        self._file: BinaryIO | None = None

    # ------------------------------------------------------------------------------------ writing

    def open(self, header: dict[str, Any], grow: Grow | None = None) -> None:
        """Create the folder, or open it to resume. Nothing is written before the folder is locked.

        Args:
            header: contents of run.json.
            grow: called with the old and the new header, to make what is there fit another scenario; without
                it that is refused.

        Raises:
            RunFolderError: the folder belongs to another scenario, other images or other weights, holds other
                files, cannot be written, or is in use by another process.
        """
        if not self.header_path.exists():
            self._refuse_strangers()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self.records_path.open("ab", buffering=0)  # what was not written is not tried again
        except OSError as problem:
            got = in_words(problem)
            raise RunFolderError(
                complaint(str(self.folder), "cannot be written", got, "a folder", "Use another --out.")
            ) from None
        try:
            self._lock(file)
            remove_leftovers(self.folder)
            if not self.header_path.exists() and self.records_path.stat().st_size:
                got, expected = "records.jsonl alone", "run.json beside it"
                cure = "Put it back, or use another --out. Nothing was overwritten."
                raise RunFolderError(complaint(str(self.folder), "records of no run", got, expected, cure))
            self._file = file
            if self.header_path.exists():
                header = self._resumed(self.header(), header, grow)
            write_whole(self.header_path, json.dumps(header, indent=1) + "\n")
            self._drop_torn_line()
        except BaseException:
            self._file = None
            file.close()
            raise

    def _resumed(self, old: dict[str, Any], new: dict[str, Any], grow: Grow | None) -> dict[str, Any]:
        """The header of a folder that is resumed: statistics and panel may be others than before, and with
        ``grow`` what is asked for; an older version may have said less of the rest.
        """
        self._compare(old, new, grows=grow is not None)
        kept = None if grow is None else grow(old, new)
        if kept is None:
            return {**old, **{k: new[k] for k in ("scenario", "metrics", "trained_on")}}
        made = ("versions", "commit", "device", "machine", "started")  # with which what is kept was made
        return {**new, **{k: old[k] for k in made if kept and k in old}}

    def _lock(self, file: BinaryIO) -> None:
        try:
            lock(file, self.folder)
        except LockedElsewhere as problem:
            cure = "Wait for it, or use another --out."
            raise RunFolderError(
                complaint(str(self.folder), "in use", problem, "no other process", cure)
            ) from None

    def _refuse_strangers(self) -> None:
        own = {self.records_path.name}  # of a first start, killed
        try:
            found = self.folder.iterdir() if self.folder.exists() else ()
            strangers = any(
                p.name not in own and not p.name.startswith(f".{self.header_path.name}.") for p in found
            )
        except NotADirectoryError:
            strangers = True
        except OSError:
            strangers = False  # mkdir says what is wrong
        if strangers:
            cure = "Use another --out; nothing was written."
            expected = "a new or empty folder, or a run folder"
            raise RunFolderError(
                complaint(str(self.folder), "not a run folder", "other files", expected, cure)
            )

    def compare(self, own: dict[str, Any], other: dict[str, Any], what: str) -> None:
        """Refuse a run that is not of the same scenario as another one, or made with other things.

        Args:
            own: run.json of this folder.
            other: that of the other one.
            what: is wrong with another scenario.

        Raises:
            RunFolderError: names what differs.
        """
        if own["scenario_hash"] != other["scenario_hash"]:
            got, expected = (f"{side['name']} (hash {side['scenario_hash']})" for side in (own, other))
            self._refuse(what, got, expected)
        self._compare(own, other, grows=True)

    def _compare(self, old: dict[str, Any], new: dict[str, Any], *, grows: bool) -> None:
        """Refuse to add units that would not be like those in the folder; ``grows``: what only one of both
        has is compared with nothing.
        """
        self._compare_kinds(old.get("kinds", {}), new.get("kinds", {}), grows=grows)
        if old["scenario_hash"] != new["scenario_hash"] and not grows:
            got, expected = (f"{side['name']} (hash {side['scenario_hash']})" for side in (old, new))
            self._refuse("folder of another scenario", got, expected)
        if set(old["images"]) != set(new["images"]) and not grows:
            got, expected = f"{len(old['images'])} images", f"{len(new['images'])} images"
            self._refuse("made with other images", got, expected, "Give the same --limit, or another --out.")
        for name, facts in new["images"].items():
            if old["images"].get(name, facts) != facts:
                self._refuse("made with other images", f"{name} {old['images'][name]}", f"{facts}")
        for key, what in (
            ("files", "made with other weights, tables or recordings"),
            ("metrics", "made with other metrics"),
            ("tools", "made with other codecs or in another precision"),
        ):
            before, now = (_deciding(side[key]) for side in (old, new))
            changed = {k for k in _compared(before, now, grows) if before.get(k) != now.get(k)}
            if changed:
                name = sorted(changed)[0]
                got, expected = (f"{name}: {side.get(name, 'none')}" for side in (before, now))
                self._refuse(what, got, expected)
        for key in ("versions", "commit", "device"):
            if old.get(key) != new.get(key):
                log.warning("%s: resumed with another %s than it was started with", self.folder, key)

    def _compare_kinds(self, before: dict[str, str], now: dict[str, str], *, grows: bool) -> None:
        """Code of other people that changed since."""
        for name in sorted(_compared(before, now, grows)):
            if before.get(name) != now.get(name):
                got, expected = (side.get(name, "none") for side in (before, now))
                self._refuse(f"made with another {name}", got, expected)

    def _refuse(self, what: str, got: str, expected: str, cure: str = "Use another --out.") -> NoReturn:
        raise RunFolderError(
            complaint(str(self.folder), what, got, expected, f"{cure} Nothing was overwritten.")
        )

    def _drop_torn_line(self) -> None:
        """Cut off what a killed process left after the last newline. Only under the lock."""
        with self.records_path.open("rb+") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - _BLOCK)
                file.seek(start)
                found = file.read(end - start).rfind(b"\n") + 1
                end = start + found
                if found:
                    break
            if end < size:
                file.truncate(end)

    def append(self, records: Sequence[Record]) -> None:
        """Write records, flushed to the disk.

        Raises:
            UnfitRecord: a record that could not be read again; none of them is written.
        """
        assert self._file is not None, "open() first"
        data = memoryview("".join(line_of(record) + "\n" for record in records).encode())
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, str(self.records_path)) from problem

    def rewrite(self, records: Sequence[Record]) -> None:
        """Put other records in the place of all; not in one step: whoever calls keeps a copy."""
        assert self._file is not None, "open() first"
        self._file.truncate(0)
        self.append(records)

    def close(self) -> None:
        """Release the folder."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # ------------------------------------------------------------------------------------ reading

    def header(self) -> dict[str, Any]:
        """Contents of run.json.

        Raises:
            RunFolderError: missing or broken.
        """
        try:
            text = self.header_path.read_bytes()
        except OSError:
            got = self.folder.absolute()
            cure = "Make one with linksim simulate."
            raise RunFolderError(
                complaint("run folder", "no run.json", got, "a folder of a run", cure)
            ) from None
        try:
            StoredHeader.model_validate_json(text, strict=True)
            header: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError) as problem:
            where, said = str(self.header_path), first_problem(problem)
            raise RunFolderError(complaint(where, "broken", said, "the JSON of a run")) from None
        return header

    def metrics(self) -> dict[str, MetricInfo]:
        """Facts of the metrics of the run, by name.

        Raises:
            RunFolderError: no run, or a broken one.
        """
        facts = self.header()["metrics"]
        return {name: read_facts(name, of) for name, of in facts.items()}

    def records(self) -> Iterator[Record]:
        """Those of :meth:`stored_records` that the scenario asks for: with a stopping rule not the trials
        beyond the end of a point.
        """
        stored = self.stored_records()
        header = self.header() if self.header_path.exists() else {"scenario": {}}
        stops = header["scenario"].get("stop") is not None
        yield from asked_for(list(stored), header) if stops else stored

    def stored_records(self) -> Iterator[Record]:
        """Every record, in the order of writing; a torn last line is skipped.

        Raises:
            RunFolderError: a broken line before the last.
        """
        if not self.records_path.exists():
            return
        known = self._what_is_known()
        with self.records_path.open("rb") as file:  # a line at a time: there may be many
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    record = Record.from_json(line[:-1])
                    check_named(record, known)
                except ValueError as problem:
                    where = f"{self.records_path} line {number}"
                    cure = "Remove the line; its unit is then run again."
                    got = first_problem(problem)
                    raise RunFolderError(complaint(where, "broken record", got, "a record", cure)) from None
                yield record

    def _what_is_known(self) -> dict[str, Any] | None:
        """Schemes, images and swept values of the header; None without one."""
        if not self.header_path.exists():
            return None
        header = self.header()
        schemes = {scheme["name"] for scheme in header["scenario"]["schemes"]}
        return {
            "schemes": schemes,
            "images": header["images"],
            "swept": header["scenario"]["sweep"]["fields"],
            "metrics": set(header["metrics"]),
        }

    def done(self) -> set[UnitKey]:
        """Units that have a record."""
        return {record.key for record in self.records()}


def _compared(before: Mapping[str, object], now: Mapping[str, object], grows: bool) -> set[str]:
    """Names of both; of either, where a folder does not grow."""
    return {*before} & {*now} if grows else {*before, *now}


def _deciding(block: dict[str, Any]) -> dict[str, Any]:
    """What decides values: of a metric its reference, not its label; of a file or tool all."""
    return {k: v.get("reference", v) if isinstance(v, dict) else v for k, v in block.items()}


def panel_file(store: ResultStore, key: UnitKey) -> Path:
    """Where the picture of a unit is kept."""
    folder = file_name(key.channel, key.scheme, *(f"{name}={value}" for name, value in key.point))
    return store.images / folder / f"{file_name(key.image)}_{key.snr_db:g}dB.png"


def original_file(store: ResultStore, image: str) -> Path:
    """Where the original of an image is kept."""
    return store.images / "original" / f"{file_name(image)}.png"
