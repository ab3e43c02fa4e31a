"""Records of units: what a run writes of every picture, trial and point."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pydantic import ValidationError

from channels.checks import complaint, shown
from linksim.results.format import StoredRecord
from linksim.scenario.errors import RunError

__all__ = ["Point", "Record", "UnfitRecord", "UnitKey", "check_named", "line_of", "side_info_uses"]

Point = tuple[tuple[str, float | int | str], ...]

# Side information is taken to be sent at the most robust rate of TS 38.214 table 5.1.3.1-1: QPSK, 120/1024.
_SIDE_INFO_BITS_PER_USE = 2 * 120 / 1024


def side_info_uses(bits: int) -> int:
    """Channel uses charged for side information of ``bits`` bits.

    Example:
        >>> side_info_uses(0), side_info_uses(32)
        (0, 137)
    """
    return -int(-bits // _SIDE_INFO_BITS_PER_USE)


@dataclass(frozen=True, slots=True)  # there are many
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

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: numbers before texts where a swept field has both."""
        point = tuple((name, isinstance(v, str), v) for name, v in self.point)
        return (self.channel, self.scheme, point, self.snr_db, self.image, self.trial)


def _alike(one: object, other: object) -> bool:
    """Equal, or fractions that differ by less than a millionth."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 * max(abs(one), abs(other))
    return one == other


@dataclass(frozen=True, slots=True)
class Record:
    """What came out of one unit.

    Args:
        key: which unit.
        seed: seed of its channel draw.
        state: "ok" or the kind of failure.
        values: image metrics.
        counts: (errors, trials) of error metrics.
        data_uses, pilot_uses, guard_uses: channel uses, of all transmissions.
        transmissions: first one included.
        side_info_bits: bits beside the symbols.
        source_values: 3·H·W; 0 without a picture.
        seconds: time of the link and the receiver, shared evenly by a batch.
        independent_bits: bit errors are independent of each other (nothing coded, nothing faded).
        info: facts of the transmitter (MCS, QP, bytes).
        shown: digest of the picture that was shown; "" in runs of older versions.
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
    independent_bits: bool = False
    transmissions: int = 1
    info: dict[str, float | int | str] = field(default_factory=dict)
    shown: str = ""

    @property
    def cbr_data(self) -> float:
        """Data uses over 3·H·W; nan without a picture."""
        return self.data_uses / self.source_values if self.source_values else math.nan

    @property
    def cbr_total(self) -> float:
        """All uses, side information included, over 3·H·W; nan without a picture."""
        extra = self.pilot_uses + self.guard_uses + side_info_uses(self.side_info_bits)
        return (self.data_uses + extra) / self.source_values if self.source_values else math.nan

    def restricted(self, metrics: Collection[str]) -> Record:
        """Without values of other metrics."""
        values = {k: v for k, v in self.values.items() if k in metrics}
        counts = {k: v for k, v in self.counts.items() if k in metrics}
        return replace(self, values=values, counts=counts)

    def differences(self, other: Record) -> list[str]:
        """Fields in which another record of the unit differs, with both values. Metrics and facts that are
        fractions are compared to six digits: networks sum in another order beside other pictures. The time
        that it took is not compared.
        """
        mine, its = ({f.name: getattr(side, f.name) for f in fields(self)} for side in (self, other))
        strict = [name for name in mine if name not in ("seconds", "shown", "values", "info")]
        found = [(name, mine[name], its[name]) for name in strict if mine[name] != its[name]]
        for block in ("values", "info"):
            one, two = mine[block], its[block]
            names = sorted({*one, *two})
            found += [(n, one.get(n), two.get(n)) for n in names if not _alike(one.get(n), two.get(n))]
        return [f"{name} {before!r}, now {now!r}" for name, before, now in found]

    def agrees(self, other: Record) -> bool:
        """Whether another record of the unit says the same, see :meth:`differences`."""
        return not self.differences(other)

    def to_json(self) -> str:
        """One line."""
        data = asdict(self)
        data["key"]["point"] = [list(pair) for pair in self.key.point]
        return json.dumps(data, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> Record:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: another thing.
        """
        stored = dict(StoredRecord.model_validate_json(line, strict=True))
        return cls(key=UnitKey(**dict(stored.pop("key"))), **stored)


class UnfitRecord(RunError):
    """A record that no reader would take: nothing of its batch was written."""

    def __init__(self, record: Record, problem: str) -> None:
        key = record.key
        where = f"{key.channel}, {key.scheme}, {key.snr_db:g} dB, image {key.image}, trial {key.trial}"
        super().__init__(f"unit ({where}) failed: {problem}")


def line_of(record: Record) -> str:
    """A record as a line that can be read again.

    Raises:
        UnfitRecord: one that cannot, with the scheme or metric that made it so.
    """
    for name, value in record.info.items():
        if type(value) not in (bool, int, float, str) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            got = f"{shown(value)} ({type(value).__name__})"
            cure = "Use float(...), int(...) or .item()."
            expected = "a finite number or a text"
            raise UnfitRecord(
                record, complaint(f"scheme {record.key.scheme}: info.{name}", "unfit", got, expected, cure)
            )
    try:
        line = record.to_json()
        Record.from_json(line)
    except ValidationError as problem:
        error = problem.errors(include_url=False)[0]
        place = [str(part) for part in error["loc"]]
        of_metric = len(place) > 1 and place[0] in ("counts", "values")
        where = f"metric {place[1]}" if of_metric else f"scheme {record.key.scheme}: {'.'.join(place)}"
        if not place:  # more errors than trials
            where = f"metric {str(error['msg']).removeprefix('Value error, ').split()[0]}"
        expected = str(error["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
        said = complaint(where, "unfit for a record", shown(error["input"]), expected)
        raise UnfitRecord(record, said) from None
    except (TypeError, ValueError) as problem:
        where = f"scheme {record.key.scheme}, or a metric"
        said = complaint(where, "unfit for a record", problem, "numbers and texts")
        raise UnfitRecord(record, said) from None
    return line


def check_named(record: Record, known: dict[str, Any] | None) -> None:
    """Raise ValueError for a scheme, picture, metric or swept value that the run does not have."""
    if known is None:
        return
    key = record.key
    if key.scheme not in known["schemes"]:
        raise ValueError(f"scheme {key.scheme}, which is not in run.json")
    if key.image not in known["images"]:
        raise ValueError(f"image {key.image}, which is not in run.json")
    strange = sorted({*record.values, *record.counts} - known["metrics"])
    if strange:
        raise ValueError(f"metric {strange[0]}, which is not in run.json")
    names = [name for name, _ in key.point]
    if sorted(names) != sorted(known["swept"]) or any(v not in known["swept"][n] for n, v in key.point):
        raise ValueError(f"swept values {dict(key.point)}, which are not in run.json")
