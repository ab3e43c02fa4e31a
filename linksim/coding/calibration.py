"""The table of link adaptation: measured block error rates, and quality of source codecs over rate."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from channels.checks import complaint
from linksim.coding.mcs import MCS_TABLES, Mcs
from linksim.files.writing import write_whole

__all__ = [
    "Calibration",
    "CalibrationError",
    "ChannelCalibration",
    "McsCurve",
    "QualityCurve",
    "too_few_blocks",
]


class CalibrationError(ValueError):
    """A link-adaptation table that is missing, broken or made for something else."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class McsCurve(_Frozen):
    """Measured transport block errors of one MCS, in rising SNR; index and table are those of
    :data:`linksim.coding.mcs.ALL_MCS`.

    Args:
        first_db: lowest Es/N0 [dB].
        step_db: from point to point [dB].
        errors: lost blocks at each SNR.
        num_blocks: blocks at each SNR.
    """

    mcs: int
    table: int = 1
    first_db: float
    step_db: float
    errors: tuple[int, ...]
    num_blocks: int

    @classmethod
    def counted(cls, mcs: Mcs, snr_db: Sequence[float], errors: Sequence[int], num_blocks: int) -> McsCurve:
        """A curve over SNRs that are evenly spaced."""
        step_db = snr_db[1] - snr_db[0] if len(snr_db) > 1 else 1.0
        return cls(
            mcs=mcs.index,
            table=mcs.table,
            first_db=snr_db[0],
            step_db=step_db,
            errors=tuple(errors),
            num_blocks=num_blocks,
        )

    @model_validator(mode="before")
    @classmethod
    def _of_an_old_table(cls, data: Any) -> Any:
        """A table once held every SNR, and the interval at each."""
        if not isinstance(data, dict) or "snr_db" not in data:
            return data
        points, blocks = data["snr_db"], set(data["blocks"])
        steps = {round(b - a, 6) for a, b in itertools.pairwise(points)} or {1.0}
        if len(steps) > 1 or len(blocks) != 1:
            raise ValueError("snr_db: not evenly spaced, or not as many blocks at every point")
        named = {"first_db": points[0], "step_db": steps.pop(), "num_blocks": blocks.pop()}
        return {k: v for k, v in data.items() if k not in ("snr_db", "blocks", "low", "high")} | named

    @property
    def scheme(self) -> Mcs:
        """The MCS."""
        return MCS_TABLES[self.table][self.mcs]

    @property
    def snr_db(self) -> NDArray[np.floating[Any]]:
        """Es/N0 of the points [dB]."""
        return self.first_db + self.step_db * np.arange(len(self.errors), dtype=np.float64)

    @property
    def limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """95% Clopper-Pearson limits of the block error rate at every point."""
        from scipy.stats import beta  # half a second of loading, for those who calibrate

        e, n = np.array(self.errors), self.num_blocks
        low = np.where(e > 0, beta.ppf(0.025, np.maximum(e, 1), n - e + 1), 0.0)
        high = np.where(e < n, beta.ppf(0.975, e + 1, np.maximum(n - e, 1)), 1.0)
        return low, high

    def bler(self, snr_db: float) -> float:
        """Block error rate at an SNR: interpolated between measured points in the logit domain.

        Below the first point 1, above the last point its value. Each point is (errors + 1/2) / (blocks + 1).
        """
        if snr_db < self.first_db:
            return 1.0
        p = (np.array(self.errors) + 0.5) / (self.num_blocks + 1)
        p = np.minimum.accumulate(p)
        logit = np.log(p / (1 - p))
        return float(1 / (1 + np.exp(-np.interp(snr_db, self.snr_db, logit))))


class ChannelCalibration(_Frozen):
    """All MCS on one channel.

    Args:
        channel: specification of the channel as the scenario has it, without its name.
        num_uses: channel uses of a transport block.
        seed: seed of the measurement.
        command: what measured it.
        decoder: LDPC decoder and its iterations.
        curves: one per MCS.
    """

    channel: dict[str, object]
    num_uses: int
    seed: int
    command: str
    decoder: str
    curves: tuple[McsCurve, ...]


class QualityCurve(_Frozen):
    """Mean quality of a source codec against bits per pixel, over a set of calibration pictures.

    Args:
        codec: name of the search (codec, resolutions, measure).
        images: what they are.
        measure: metric of the values; "psnr" [dB].
        higher_is_better: its direction.
        bits_per_pixel: rates.
        values: means at the rates.
        failure: mean of failed pictures.
    """

    codec: str
    images: str
    measure: str = "psnr"
    higher_is_better: bool = True
    bits_per_pixel: tuple[float, ...]
    values: tuple[float, ...]
    failure: float

    @model_validator(mode="before")
    @classmethod
    def _of_an_old_table(cls, data: Any) -> Any:
        """A table once knew PSNR only."""
        if not isinstance(data, dict) or "psnr_db" not in data:
            return data
        named = {"values": data["psnr_db"], "failure": data["failure_psnr_db"]}
        return {k: v for k, v in data.items() if k not in ("psnr_db", "failure_psnr_db")} | named

    def value(self, bits_per_pixel: float) -> float:
        """Mean at a rate; below the first point, that of a failed picture."""
        if bits_per_pixel < self.bits_per_pixel[0]:
            return self.failure
        return float(np.interp(math.log(bits_per_pixel), np.log(self.bits_per_pixel), self.values))

    def expected(self, bits_per_pixel: float, block_error: float) -> float:
        """Mean at a rate of which a share is lost, the more the better."""
        mean = (1 - block_error) * self.value(bits_per_pixel) + block_error * self.failure
        return mean if self.higher_is_better else -mean


class Calibration(_Frozen):
    """The frozen link-adaptation table: which MCS promises the best picture at an SNR.

    Made by ``linksim calibrate`` on training pictures and its own noise, never on the noise of a test.
    """

    format: str
    versions: dict[str, str]
    channels: tuple[ChannelCalibration, ...]
    quality: tuple[QualityCurve, ...]
    unfinished: tuple[ChannelCalibration, ...] = ()  # of an interrupted calibration, not used by schemes

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

    def renamed(self, name: Callable[[dict[str, object]], dict[str, object]]) -> Calibration:
        """The table with other names of its channels, such as the present ones of those in an old table."""

        def each(stored: tuple[ChannelCalibration, ...]) -> tuple[ChannelCalibration, ...]:
            return tuple(c.model_copy(update={"channel": name(c.channel)}) for c in stored)

        return self.model_copy(update={"channels": each(self.channels), "unfinished": each(self.unfinished)})

    def save(self, path: Path) -> None:
        """Write the table in one step: the file is whole or the one before."""
        write_whole(path, json.dumps(self.model_dump(mode="json"), separators=(",", ":")) + "\n")

    def measured(
        self, channel: dict[str, object], num_uses: int, num_blocks: int, seed: int
    ) -> tuple[McsCurve, ...]:
        """Curves of a channel at this block length with at least so many blocks, of this seed."""
        found = {
            curve.scheme: curve
            for c in (*self.channels, *self.unfinished)
            if c.channel == channel and c.num_uses == num_uses and c.seed == seed
            for curve in c.curves
            if curve.num_blocks >= num_blocks
        }
        return tuple(found.values())

    def lengths(self, channel: dict[str, object]) -> tuple[ChannelCalibration, ...]:
        """All measurements of a channel, one per block length.

        Raises:
            CalibrationError: the channel was not measured.
        """
        found = tuple(c for c in self.channels if c.channel == channel)
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
        return found

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


_ENOUGH_BLOCKS = 30


def too_few_blocks(num_blocks: int, target_bler: float | None = None) -> str:
    """What so many blocks per MCS cannot tell, in words; empty if they are enough.

    Without any error in n blocks the block error rate may still be 3/n (95%), so 30 are needed to tell 0.1. A
    table takes (errors + 1/2) / (blocks + 1) for the rate, which must be able to fall to a target.

    Args:
        num_blocks: per MCS.
        target_bler: that an MCS must keep.

    Example:
        >>> too_few_blocks(2)
        '2 frames per MCS, which tell no block error rate below 1 (95%); at least 30 are needed to tell 0.1'
    """
    if target_bler is not None and 0.5 / (num_blocks + 1) > target_bler:
        least = math.ceil(0.5 / target_bler - 1)
        return (
            f"{num_blocks} frames per MCS, with which none can keep a block error rate of {target_bler:g}; "
            f"at least {least} are needed"
        )
    if num_blocks < _ENOUGH_BLOCKS:
        told = min(1.0, 3 / num_blocks)
        return (
            f"{num_blocks} frames per MCS, which tell no block error rate below {told:.2g} (95%); "
            f"at least {_ENOUGH_BLOCKS} are needed to tell 0.1"
        )
    return ""
