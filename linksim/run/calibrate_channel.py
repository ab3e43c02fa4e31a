"""Thresholds of every MCS on a channel: the lowest SNR at which each of many transport blocks arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.arithmetic import abs_squared
from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.seeding import item_seed
from channels.types import Draw, Received
from channels.units import snr_db_to_no
from linksim.coding.calibration import (
    ChannelCalibration,
    McsCurve,
)
from linksim.coding.mcs import ALL_MCS, Mcs
from linksim.coding.qam import Qam
from linksim.coding.transport import DEFAULT_ITERATIONS, TransportBlock
from linksim.schemes.base import CsitKind

__all__ = ["DECODER", "Frames", "measure_channel", "thresholds_of"]

SNR_GRID_DB = tuple(float(v) for v in np.arange(-20.0, 45.25, 0.25))
_CHUNK = 16
_STREAM_POINTS = 23  # SNRs of a capacity curve that is interpolated
_NO_POWER = 1e-30
_CAPACITY_USES, _GAP = 256, 5  # a code of this length is a decibel or so from capacity
DECODER = f"layered, {DEFAULT_ITERATIONS} iterations"
Report = Callable[[str], None]


class Frames:
    """Random payloads over one channel with draws that are the same at every SNR and for every MCS."""

    def __init__(
        self,
        channel: ChannelOperator,
        num_uses: int,
        num_frames: int,
        seed: int,
        csit: CsitKind = "average_snr",
    ) -> None:
        self.channel, self.num_uses, self.seed, self.csit = channel, num_uses, seed, csit
        self.seeds = [item_seed(seed, f"frame {i}", 0, "calibration") for i in range(num_frames)]
        self._draws: dict[int, Draw] = {}

    def _draw(self, chunk: int) -> Draw:
        if chunk not in self._draws:
            self._draws[chunk] = self.channel.draw(self.num_uses, self.seeds[chunk : chunk + _CHUNK])
        return self._draws[chunk]

    def _above(self, draw: Draw) -> Tensor:
        """By how much the SNR that a transmitter is told lies above ``snr_db`` [dB], [B] or [1] float64: a
        table is read at what the transmitter is told.
        """
        zero = torch.zeros((), dtype=torch.float64)
        if self.csit == "instantaneous_snr":
            return self.channel.instantaneous_snr_db(draw, zero).reshape(-1)
        return zero.reshape(-1)

    def capacity(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bits per use that the fade of every frame carries at every SNR of a grid, [frames, grid]: where to
        look for thresholds first.
        """
        rows = []
        snr = torch.from_numpy(grid)[None, :, None]
        step = max(1, self.num_uses // _CAPACITY_USES)
        for chunk in range(0, len(self.seeds), _CHUNK):
            draw = self._draw(chunk)
            if self.channel.gain_depends_on_noise:
                rows.append(self._capacity_of_streams(draw, grid, step))
                continue
            one = torch.ones(1, 1, dtype=self.channel.dtype)
            power, along, noise = self._limits(draw, one, step)
            slope = self.channel.noise_variance(2 * one, draw).double()[:, None] - noise
            no = noise + slope * (snr_db_to_no(snr - self._above(draw)[:, None, None]) - 1)
            rows.append(torch.log2(1 + power / (no + along * power)).mean(-1).numpy())
        return np.concatenate(rows)

    def _limits(self, draw: Draw, no: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """|h|² of some uses, the variance of errors along the gain over it, and that of the noise, [B, 1, m]
        in double precision.
        """
        csi = self.channel.limits(draw, no)
        power = abs_squared(csi.h[:, ::step]).double()
        along = csi.err_var.expand(csi.h.shape)[:, ::step].double() / power.clamp_min(_NO_POWER)
        return power[:, None], along[:, None], csi.no.double()[:, None]

    def _capacity_of_streams(self, draw: Draw, grid: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        """The same where every SNR has gains of its own; interpolated between some of them."""
        coarse = np.linspace(grid[0], grid[-1], _STREAM_POINTS)
        columns = []
        for snr_db in coarse.tolist():
            no = snr_db_to_no(snr_db - self._above(draw)).to(self.channel.dtype)[:, None]
            power, along, noise = self._limits(draw, no, step)
            columns.append(torch.log2(1 + power / (noise + along * power)).mean((1, 2)).numpy())
        return np.stack([np.interp(grid, coarse, row) for row in np.stack(columns, 1)])

    def sent(self, block: TransportBlock, qam: Qam) -> _Sent:
        """The frames as one MCS sends them."""
        return _Sent(self, block, qam)

    def received(self, symbols: Tensor, rows: NDArray[np.int64], snr_db: NDArray[np.float64]) -> Received:
        """Some frames of one chunk of draws, each at its own SNR as the transmitter is told it."""
        chunk = int(rows[0]) // _CHUNK * _CHUNK
        draw = self._draw(chunk).select(torch.from_numpy(rows - chunk))
        snr = (torch.from_numpy(snr_db) - self._above(draw)).float()
        return self.channel(symbols, snr, [self.seeds[i] for i in rows], draw)


class _Sent:
    """Random payloads, coded once by one MCS."""

    def __init__(self, frames: Frames, block: TransportBlock, qam: Qam) -> None:
        self._frames, self._block, self._qam = frames, block, qam
        payloads = [np.random.default_rng(s).integers(0, 2, block.size, dtype=np.uint8) for s in frames.seeds]
        self._payload = np.stack(payloads)
        parts = [self._payload[i : i + _CHUNK] for i in range(0, len(payloads), _CHUNK)]
        self._symbols = torch.cat([qam.modulate(block.encode(part)) for part in parts])

    def succeed(self, snr_db: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each frame is decoded at its own SNR [frames]; nan leaves a frame out (True)."""
        result = np.ones(len(self._payload), np.bool_)
        for chunk in range(0, len(result), _CHUNK):
            rows = chunk + np.flatnonzero(np.isfinite(snr_db[chunk : chunk + _CHUNK]))
            if len(rows):
                result[rows] = self._decoded(rows, snr_db[rows])
        return result

    def _decoded(self, rows: NDArray[np.int64], snr_db: NDArray[np.float64]) -> NDArray[np.bool_]:
        with torch.no_grad():
            x_hat, no_eff = equalize(self._frames.received(self._symbols[rows], rows, snr_db), "zf")
            decoded = self._block.decode(self._qam.demodulate(x_hat, no_eff))
        right: NDArray[np.bool_] = decoded.ok & (decoded.bits == self._payload[rows]).all(axis=1)
        return right


def measure_channel(
    channel: ChannelOperator,
    key: dict[str, object],
    num_uses: int,
    *,
    num_frames: int = 200,
    seed: int = 1,
    csit: CsitKind = "average_snr",
    table: Sequence[Mcs] = ALL_MCS,
    command: str = "",
    report: Report = lambda line: None,
) -> ChannelCalibration:
    """Lowest SNR on a grid of 0.25 dB at which each of ``num_frames`` frames decodes, for every MCS.

    Fade and noise of a frame are the same at every SNR and for every MCS (scaled), so a frame decodes from
    its threshold upwards; the search starts as far above the capacity of its fade as the threshold of the MCS
    before was. The block error rate at an SNR is the share of frames with a higher threshold.

    Args:
        channel: operator.
        key: its specification, see :func:`linksim.build.channels.calibration_key`.
        num_uses: uses of a transport block.
        num_frames: frames.
        seed: of payloads and draws.
        csit: which SNR the thresholds are those of, as the transmitter is told it: the average over draws,
            or that of each frame ("instantaneous_snr").
        table: MCS in rising efficiency.
        command: what asked for the measurement, for the record.
        report: called with a line per MCS.
    """
    frames = Frames(channel, num_uses, num_frames, seed, csit)
    grid = np.array(SNR_GRID_DB)
    capacity = frames.capacity(grid)
    gap = np.full(num_frames, _GAP)
    curves = []
    for mcs in sorted(table, key=lambda m: m.efficiency):
        block, qam = TransportBlock(num_uses, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
        crossing = (capacity < mcs.efficiency).sum(axis=1)
        level = thresholds_of(frames.sent(block, qam).succeed, crossing + gap, grid)
        gap = level - crossing
        curves.append(_curve(mcs, level, grid))
        median = grid[min(int(np.median(level)), len(grid) - 1)]
        report(f"table {mcs.table} MCS {mcs.index}: median threshold {median:g} dB")
    return ChannelCalibration(
        channel=key,
        num_uses=num_uses,
        seed=seed,
        command=command,
        decoder=DECODER,
        curves=tuple(curves),
    )


def thresholds_of(
    succeed: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    guess: NDArray[np.int64],
    grid: NDArray[np.float64],
) -> NDArray[np.int64]:
    """First grid index at which each frame decodes (len(grid): at none), searched from a guess upwards while
    it fails and downwards while it succeeds, in growing steps, then between the two, so that the guess costs
    time only. What fails at the guess is tried at the last point next: with a floor of the error rate, many
    frames decode nowhere.
    """
    top = len(grid)
    low, high = np.full(len(guess), -1), np.full(len(guess), top)  # highest failure, lowest success
    probe = np.clip(guess, 0, top - 1)
    good = succeed(grid[probe])
    high, low = np.where(good, probe, high), np.where(good, low, probe)
    hopeless = ~good & ~succeed(np.where(good, np.nan, grid[top - 1]))
    low = np.where(hopeless, top - 1, low)
    step = 1
    while (open_ := high - low > 1).any():
        between = (low >= 0) & (high < top)
        beyond = np.where(high < top, np.maximum(high - step, 0), np.minimum(low + step, top - 1))
        probe = np.where(between, (low + high) // 2, beyond)
        good = succeed(np.where(open_, grid[np.clip(probe, 0, top - 1)], np.nan))
        high, low = np.where(open_ & good, probe, high), np.where(open_ & ~good, probe, low)
        step *= 2
    return high


def _curve(mcs: Mcs, level: NDArray[np.int64], grid: NDArray[np.float64]) -> McsCurve:
    first = max(int(level.min()) - 1, 0)
    last = min(int(level.max()) + 1, len(grid))
    points = range(first, last)
    errors = [int((level > i).sum()) for i in points]
    return McsCurve.counted(mcs, [float(grid[i]) for i in points], errors, len(level))
