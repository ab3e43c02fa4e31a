"""Records of a run and the folder that keeps them: append-only, safe to kill at any time.

May import: standard library, channels.checks, linksim.scenario_io.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from channels.checks import complaint
from linksim.scenario_io import ScenarioError

__all__ = [
    "Record",
    "ResultStore",
    "RunFolderError",
    "UnitKey",
    "original_file",
    "panel_file",
    "side_info_uses",
]

Point = tuple[tuple[str, float | int | str], ...]

# Side information is taken to be sent at the most robust rate of TS 38.214 table 5.1.3.1-1: QPSK, 120/1024.
_SIDE_INFO_BITS_PER_USE = 2 * 120 / 1024


class RunFolderError(ScenarioError):
    """A run folder that cannot be used."""


def side_info_uses(bits: int) -> int:
    """Channel uses charged for side information of ``bits`` bits.

    Example:
        >>> side_info_uses(0), side_info_uses(32)
        (0, 137)
    """
    return -int(-bits // _SIDE_INFO_BITS_PER_USE)


@dataclass(frozen=True, order=True)
class UnitKey:
    """One image through one scheme and channel at one swept point, once.

    Args:
        channel, scheme: names.
        point: swept values beside SNR, in scenario order.
        snr_db: SNR [dB].
        image: name.
        trial: repetition, from 0.
    """

    channel: str
    scheme: str
    point: Point
    snr_db: float
    image: str
    trial: int


@dataclass(frozen=True)
class Record:
    """What came out of one unit.

    Args:
        key: which unit.
        seed: seed of its channel draw.
        state: "ok" or the kind of failure.
        values: image metrics.
        counts: (errors, trials) of error metrics.
        data_uses, pilot_uses, guard_uses: channel uses.
        side_info_bits: bits beside the symbols.
        source_values: 3·H·W.
        seconds: time of the link and the receiver, shared evenly by a batch.
        info: facts of the transmitter (MCS, QP, bytes).
    """

    key: UnitKey
    seed: int
    state: str
    values: dict[str, float]
    counts: dict[str, tuple[int, int]]
    data_uses: int
    pilot_uses: int
    guard_uses: int
    side_info_bits: int
    source_values: int
    seconds: float
    info: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def cbr_data(self) -> float:
        """Data uses over 3·H·W."""
        return self.data_uses / self.source_values

    @property
    def cbr_total(self) -> float:
        """All uses, side information included, over 3·H·W."""
        extra = self.pilot_uses + self.guard_uses + side_info_uses(self.side_info_bits)
        return (self.data_uses + extra) / self.source_values

    def to_json(self) -> str:
        """One line."""
        data = asdict(self)
        data["key"]["point"] = [list(pair) for pair in self.key.point]
        return json.dumps(data, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(line)
        key = data.pop("key")
        key["point"] = tuple((name, value) for name, value in key["point"])
        data["counts"] = {k: (int(e), int(t)) for k, (e, t) in data["counts"].items()}
        return cls(key=UnitKey(**key), **data)


class ResultStore:
    """A run folder: run.json, records.jsonl, results.csv, figures/, images/, report.html.

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
        self._file: IO[str] | None = None

    # ------------------------------------------------------------------------------------ writing

    def open(self, header: dict[str, Any]) -> None:
        """Create the folder, or open it to resume.

        Raises:
            RunFolderError: the folder belongs to another scenario or other images, holds other files, or is
                in use by another process.
        """
        if self.header_path.exists():
            self._compare(self.header(), header)
        else:
            self._refuse_strangers()
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = self.header_path.with_suffix(".partial")
            partial.write_text(json.dumps(header, indent=1) + "\n")
            partial.replace(self.header_path)
        self._drop_torn_line()
        self._file = self.records_path.open("a", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            cure = "Wait for it, or use another --out."
            got = "a lock on records.jsonl"
            raise RunFolderError(
                complaint(str(self.folder), "in use", got, "no other process", cure)
            ) from None

    def _refuse_strangers(self) -> None:
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            cure = "Use another --out; nothing was written."
            expected = "a new or empty folder, or a run folder"
            raise RunFolderError(
                complaint(str(self.folder), "not a run folder", "other files", expected, cure)
            )

    def _compare(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        for key, what in (
            ("scenario_hash", "folder of another scenario"),
            ("images", "made with other images"),
        ):
            if old.get(key) != new.get(key):
                got = old.get("name") if key == "scenario_hash" else "other pixels"
                cure = "Use another --out; nothing was overwritten."
                expected = f"{new['name']} (hash {new['scenario_hash']})"
                raise RunFolderError(complaint(str(self.folder), what, f"{got}", expected, cure))

    def _drop_torn_line(self) -> None:
        """Cut off what a killed process left after the last newline."""
        if not self.records_path.exists():
            return
        with self.records_path.open("rb+") as file:
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)

    def append(self, records: Sequence[Record]) -> None:
        """Write records, flushed to the disk."""
        assert self._file is not None, "open() first"
        self._file.write("".join(record.to_json() + "\n" for record in records))
        self._file.flush()
        os.fsync(self._file.fileno())

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
            header: dict[str, Any] = json.loads(self.header_path.read_text(encoding="utf-8"))
        except OSError:
            got = self.folder.absolute()
            cure = "Make one with linksim simulate."
            raise RunFolderError(
                complaint("run folder", "no run.json", got, "a folder of a run", cure)
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as problem:
            raise RunFolderError(
                complaint(str(self.header_path), "broken", problem, "the JSON of a run")
            ) from None
        return header

    def records(self) -> Iterator[Record]:
        """Every record, in the order of writing; a torn last line is skipped.

        Raises:
            RunFolderError: a broken line before the last.
        """
        if not self.records_path.exists():
            return
        lines = self.records_path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines[:-1], start=1):
            try:
                yield Record.from_json(line)
            except (ValueError, TypeError, KeyError) as problem:
                where = f"{self.records_path} line {number}"
                cure = "Remove the line; its unit is then run again."
                raise RunFolderError(complaint(where, "broken record", problem, "a record", cure)) from None

    def done(self) -> set[UnitKey]:
        """Units that have a record."""
        return {record.key for record in self.records()}


def panel_file(store: ResultStore, key: UnitKey) -> Path:
    """Where the picture of a unit is kept."""
    parts = [key.channel, key.scheme, *(f"{name}={value}" for name, value in key.point)]
    folder = "_".join(p.replace("/", "-").replace(" ", "-") for p in parts)
    return store.images / folder / f"{Path(key.image).stem}_{key.snr_db:g}dB.png"


def original_file(store: ResultStore, image: str) -> Path:
    """Where the original of an image is kept."""
    return store.images / "original" / f"{Path(image).stem}.png"
