"""Modulation and coding schemes of TS 38.214 and the frozen table that picks one per SNR.

May import: numpy, pydantic, channels.checks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from channels.checks import complaint

__all__ = [
    "ALL_MCS",
    "MCS_TABLES",
    "MCS_TABLE_1",
    "Calibration",
    "CalibrationError",
    "ChannelCalibration",
    "Mcs",
    "McsCurve",
    "QualityCurve",
]


@dataclass(frozen=True)
class Mcs:
    """One modulation and coding scheme.

    Args:
        index: row of the table.
        bits_per_symbol: Q_m.
        rate: target code rate R.
        table: 1, 2 or 3: table 5.1.3.1-1, -2 or -3.
    """

    index: int
    bits_per_symbol: int
    rate: float
    table: int = 1

    @property
    def efficiency(self) -> float:
        """Information bits per channel use."""
        return self.bits_per_symbol * self.rate


# TS 38.214 V18 table 5.1.3.1-1 (64QAM): (Q_m, R x 1024) of indices 0 to 28.
_TABLE_1 = (
    *((2, r) for r in (120, 157, 193, 251, 308, 379, 449, 526, 602, 679)),
    *((4, r) for r in (340, 378, 434, 490, 553, 616, 658)),
    *((6, r) for r in (438, 466, 517, 567, 616, 666, 719, 772, 822, 873, 910, 948)),
)
# Table 5.1.3.1-2 (256QAM): indices 0 to 27.
_TABLE_2 = (
    *((2, r) for r in (120, 193, 308, 449, 602)),
    *((4, r) for r in (378, 434, 490, 553, 616, 658)),
    *((6, r) for r in (466, 517, 567, 616, 666, 719, 772, 822, 873)),
    *((8, r) for r in (682.5, 711, 754, 797, 841, 885, 916.5, 948)),
)
# Table 5.1.3.1-3 (64QAM, low spectral efficiency): indices 0 to 28.
_TABLE_3 = (
    *((2, r) for r in (30, 40, 50, 64, 78, 99, 120, 157, 193, 251, 308, 379, 449, 526, 602)),
    *((4, r) for r in (340, 378, 434, 490, 553, 616)),
    *((6, r) for r in (438, 466, 517, 567, 616, 666, 719, 772)),
)
MCS_TABLES: dict[int, tuple[Mcs, ...]] = {
    number: tuple(Mcs(i, q, r / 1024, number) for i, (q, r) in enumerate(rows))
    for number, rows in ((1, _TABLE_1), (2, _TABLE_2), (3, _TABLE_3))
}
MCS_TABLE_1 = MCS_TABLES[1]


def _distinct() -> tuple[Mcs, ...]:
    found: dict[tuple[int, float], Mcs] = {}
    for number in (1, 3, 2):
        for mcs in MCS_TABLES[number]:
            found.setdefault((mcs.bits_per_symbol, mcs.rate), mcs)
    return tuple(sorted(found.values(), key=lambda m: m.efficiency))


# Every pair of modulation and rate once, by the first of tables 1, 3, 2 that has it, in rising efficiency.
ALL_MCS: tuple[Mcs, ...] = _distinct()


def in_table(mcs: Mcs, number: int) -> bool:
    """Whether a table has this modulation and rate."""
    return any((m.bits_per_symbol, m.rate) == (mcs.bits_per_symbol, mcs.rate) for m in MCS_TABLES[number])


class CalibrationError(ValueError):
    """A link-adaptation table that is missing, broken or made for something else."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class McsCurve(_Frozen):
    """Measured transport block errors of one MCS (index and table as in :data:`ALL_MCS`): SNR [dB], errors
    and blocks, in rising SNR.
    """

    mcs: int
    table: int = 1
    snr_db: tuple[float, ...]
    errors: tuple[int, ...]
    blocks: tuple[int, ...]

    @property
    def scheme(self) -> Mcs:
        """The MCS."""
        return MCS_TABLES[self.table][self.mcs]

    def bler(self, snr_db: float) -> float:
        """Block error rate at an SNR: interpolated between measured points in the logit domain.

        Below the first point 1, above the last point its value. Each point is (errors + 1/2) / (blocks + 1).
        """
        if snr_db < self.snr_db[0]:
            return 1.0
        p = (np.array(self.errors) + 0.5) / (np.array(self.blocks) + 1)
        p = np.minimum.accumulate(p)
        logit = np.log(p / (1 - p))
        return float(1 / (1 + np.exp(-np.interp(snr_db, self.snr_db, logit))))


class ChannelCalibration(_Frozen):
    """All MCS on one channel.

    Args:
        channel: specification of the channel as the scenario has it, without its name.
        num_uses: channel uses of a transport block.
        seed: seed of the measurement.
        curves: one per MCS.
    """

    channel: dict[str, object]
    num_uses: int
    seed: int
    curves: tuple[McsCurve, ...]


class QualityCurve(_Frozen):
    """Mean PSNR [dB] of a source codec against bits per pixel, over a set of calibration pictures."""

    codec: str
    images: str
    bits_per_pixel: tuple[float, ...]
    psnr_db: tuple[float, ...]
    failure_psnr_db: float

    def psnr(self, bits_per_pixel: float) -> float:
        """Mean PSNR [dB] at a rate; below the first point, that of a failed picture."""
        if bits_per_pixel < self.bits_per_pixel[0]:
            return self.failure_psnr_db
        return float(np.interp(math.log(bits_per_pixel), np.log(self.bits_per_pixel), self.psnr_db))


class Calibration(_Frozen):
    """The frozen link-adaptation table: which MCS promises the best picture at an SNR.

    Made by ``linksim calibrate`` on training pictures and its own noise, never on the noise of a test.
    """

    format: str
    made_with: str
    versions: dict[str, str]
    channels: tuple[ChannelCalibration, ...]
    quality: tuple[QualityCurve, ...]

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a table.

        Raises:
            CalibrationError: missing or broken.
        """
        if not path.is_file():
            cure = "Make one with linksim calibrate."
            raise CalibrationError(
                complaint("calibration", "no such file", path.absolute(), "a JSON file", cure)
            )
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as problem:
            first = str(problem)
            if isinstance(problem, ValidationError):
                error = problem.errors(include_url=False)[0]
                first = f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
            expected = "a table of linksim calibrate"
            raise CalibrationError(complaint(f"calibration {path}", "broken", first, expected)) from None

    def save(self, path: Path) -> None:
        """Write the table."""
        path.write_text(json.dumps(self.model_dump(mode="json"), separators=(",", ":")) + "\n")

    def measured(self, channel: dict[str, object], num_uses: int, num_blocks: int) -> tuple[McsCurve, ...]:
        """Curves of a channel at this block length with at least so many blocks."""
        return tuple(
            curve
            for c in self.channels
            if c.channel == channel and c.num_uses == num_uses
            for curve in c.curves
            if curve.blocks[0] >= num_blocks
        )

    def channel(self, channel: dict[str, object], num_uses: int) -> ChannelCalibration:
        """The measurement for a channel, at the block length closest to ``num_uses``.

        Raises:
            CalibrationError: the channel was not measured.
        """
        found = [c for c in self.channels if c.channel == channel]
        if not found:
            raise CalibrationError(
                complaint(
                    "mcs",
                    "adaptive, but the link-adaptation table has no such channel",
                    json.dumps(channel, sort_keys=True),
                    "a measured channel",
                    "Run linksim calibrate SCENARIO --out table.json and set calibration: table.json, "
                    "or set a fixed mcs.",
                )
            )
        return min(found, key=lambda c: abs(math.log(c.num_uses / num_uses)))

    def quality_of(self, codec: str) -> QualityCurve:
        """The quality curve of a source codec.

        Raises:
            CalibrationError: not measured.
        """
        for curve in self.quality:
            if curve.codec == codec:
                return curve
        known = [c.codec for c in self.quality]
        cure = "Run linksim calibrate with --quality-images, or set a fixed mcs."
        raise CalibrationError(
            complaint("source", "no quality curve in the link-adaptation table", codec, known, cure)
        )


def best_mcs(
    channel: ChannelCalibration,
    quality: QualityCurve,
    snr_db: float,
    bits_per_pixel: Callable[[Mcs], float],
    table: int | None = None,
) -> Mcs:
    """The MCS with the highest expected PSNR at an SNR: (1 - p)·Q(rate) + p·Q(failure).

    Args:
        channel: measured block error rates p.
        quality: Q over bits per pixel.
        snr_db: average SNR [dB] that the transmitter was told.
        bits_per_pixel: what an MCS leaves for the stream of a picture, bits per pixel.
        table: choose from this table of TS 38.214 only.
    """

    def expected(curve: McsCurve) -> float:
        p = curve.bler(snr_db)
        rate = max(bits_per_pixel(curve.scheme), 1e-9)
        return (1 - p) * quality.psnr(rate) + p * quality.failure_psnr_db

    allowed = [c for c in channel.curves if table is None or in_table(c.scheme, table)]
    return max(allowed, key=expected).scheme
