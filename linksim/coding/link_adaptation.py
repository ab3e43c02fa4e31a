"""Link adaptation: the frozen, measured table, and the policies that pick an MCS by it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from channels.checks import complaint
from linksim.coding.mcs import MCS_TABLES, Mcs, in_table
from linksim.coding.qam_rate import needed_snr_db
from linksim.files.writing import write_whole

__all__ = [
    "MOST_RATE",
    "AdaptiveMcs",
    "Calibration",
    "CalibrationError",
    "ChannelCalibration",
    "McsCurve",
    "QualityCurve",
    "sent_rate",
    "too_few_blocks",
]


class CalibrationError(ValueError):
    """A link-adaptation table that is missing, broken or made for something else."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class McsCurve(_Frozen):
    """Measured transport block errors of one MCS (index and table as in :data:`ALL_MCS`), in rising SNR.

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


_SAME_LENGTH = 0.01


def _length(channel: ChannelCalibration) -> int:
    return channel.num_uses


# Beyond this rate, CRCs included, receivers of NR need not decode (TS 38.214 V18, sec. 5.1.3).
MOST_RATE = 0.95


@lru_cache(maxsize=65536)
def sent_rate(mcs: Mcs, num_uses: int) -> float:
    """Code rate that a block really has: payload and CRCs over coded bits. The steps of transport block sizes
    make it another one than the table's, the more so the shorter the block.
    """
    from linksim.coding.transport import TransportBlock  # needs Sionna

    block = TransportBlock(num_uses, mcs.bits_per_symbol, mcs.rate)
    return (block.size + block.crc_bits) / block.num_coded_bits


@lru_cache(maxsize=65536)
def _loss_db(mcs: Mcs, num_uses: int, reference: int) -> float:
    """What a block needs more than one of ``reference`` uses of this MCS [dB], at 10% block errors on AWGN,
    each at the rate that it really has; not below 0, inf for what no receiver decodes.
    """

    def needed(uses: int) -> float:
        bits = math.ceil(sent_rate(mcs, uses) * uses * mcs.bits_per_symbol - 1e-6)
        return needed_snr_db(bits, uses, mcs.bits_per_symbol)

    if sent_rate(mcs, num_uses) > MOST_RATE:
        return math.inf
    loss = needed(num_uses) - needed(reference)
    return loss if loss > 0 else 0.0  # both inf: not told apart


@dataclass(frozen=True)
class AdaptiveMcs:
    """Link adaptation by a frozen table.

    Policies:

    * "best_quality": the MCS with the best expected quality, (1 - p)·Q(rate) + p·Q(failure), in PSNR or
      whatever the picture codec is to be best in;
    * "target_bler": the MCS of highest efficiency whose block error rate is at most ``target_bler``, as
      radios do it (TS 38.214 sec. 5.2.2.1 has 0.1 and 0.00001); the most robust one where none is.

    The threshold of a code moves with the block length, among long blocks by up to 0.3 dB and not
    steadily: the lifting size and the number of fillers decide. At a length that was measured (within 1%)
    its own rates count, at others the worst of the lengths around it (a third to three times, and the
    next ones). Curves are moved by what a shorter block, and the higher rate that rounding to a transport
    block size may give it, cost on AWGN by the normal approximation for QAM; never down. Below the shortest
    length blocks lose more than that, so measure what matters. An MCS whose rate exceeds 0.95 at a length is
    not chosen.

    Args:
        lengths: measured block error rates p of one channel, by block length.
        quality: Q over bits per pixel; None is enough for "target_bler".
        table: choose from this table of TS 38.214 only.
        policy: see above.
        target_bler: of the policy of that name.
    """

    lengths: tuple[ChannelCalibration, ...]
    quality: QualityCurve | None
    table: int | None = None
    policy: Literal["best_quality", "target_bler"] = "best_quality"
    target_bler: float = 0.1

    @property
    def candidates(self) -> list[Mcs]:
        """The MCS that may be chosen."""
        found = (curve.scheme for channel in self.lengths for curve in channel.curves)
        return [m for m in dict.fromkeys(found) if self.table is None or in_table(m, self.table)]

    def block_error_rates(self, snr_db: float, num_uses: int) -> dict[Mcs, float]:
        """P of every MCS that may be chosen, at an average SNR [dB] and a block length."""
        rates: dict[Mcs, float] = {}
        for channel in self._near(num_uses):
            for curve in channel.curves:
                mcs = curve.scheme
                if self.table is not None and not in_table(mcs, self.table):
                    continue
                loss_db = _loss_db(mcs, num_uses, channel.num_uses)
                rates[mcs] = max(rates.get(mcs, 0.0), curve.bler(snr_db - loss_db))
        return rates

    def _near(self, num_uses: int) -> tuple[ChannelCalibration, ...]:
        """The measurement at this length, or those at lengths around it."""
        own = [c for c in self.lengths if abs(c.num_uses / num_uses - 1) <= _SAME_LENGTH]
        if own:
            return tuple(own)
        shorter = [c for c in self.lengths if c.num_uses < num_uses]
        longer = [c for c in self.lengths if c.num_uses > num_uses]
        nearest = [max(shorter, key=_length)] if shorter else []
        nearest += [min(longer, key=_length)] if longer else []
        around = [c for c in self.lengths if 1 / 3 <= c.num_uses / num_uses <= 3 and c not in nearest]
        return (*nearest, *around) if shorter else tuple(nearest)

    def choose(
        self,
        snr_db: float,
        num_uses: int,
        bits_per_pixel: Callable[[Mcs], float],
        usable: Callable[[Mcs], bool] = lambda mcs: True,
    ) -> Mcs:
        """The MCS for an average SNR [dB] that the transmitter was told.

        Args:
            snr_db: average SNR [dB].
            num_uses: channel uses of the transport block.
            bits_per_pixel: what an MCS leaves for the stream of a picture, bits per pixel.
            usable: which MCS the scheme can send; at least one.
        """
        rates = {m: p for m, p in self.block_error_rates(snr_db, num_uses).items() if usable(m)}
        if self.policy == "target_bler":
            good = [mcs for mcs, p in rates.items() if p <= self.target_bler]
            return max(good, key=_efficiency) if good else min(rates, key=_efficiency)
        quality = self.quality
        assert quality is not None, "best_quality needs a quality curve"
        return max(rates, key=lambda mcs: quality.expected(max(bits_per_pixel(mcs), 1e-9), rates[mcs]))


def _efficiency(mcs: Mcs) -> float:
    return mcs.efficiency
