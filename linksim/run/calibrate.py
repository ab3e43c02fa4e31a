"""Link adaptation, measured: block error rate of every MCS on a channel, and PSNR of a codec against its
rate.

The measurement has its own seeds and training pictures. Its result is a frozen file that scenarios read;
nothing in a test run ever changes the choice of the MCS.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence

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
from linksim import __version__
from linksim.build.channels import (
    build_channel,
    calibration_key,
    refused_as_input,
    sent_over,
    try_channel,
)
from linksim.build.objects import make_search
from linksim.coding.calibration import (
    Calibration,
    ChannelCalibration,
    McsCurve,
    QualityCurve,
    too_few_blocks,
)
from linksim.coding.mcs import ALL_MCS, Mcs
from linksim.coding.qam import Qam
from linksim.coding.transport import DEFAULT_ITERATIONS, TransportBlock
from linksim.images.sets import ImageSet, image_digest
from linksim.metrics.selection import Selection
from linksim.run.runner import Plan
from linksim.scenario.schema import ChannelBase, Scenario, SchemeSpec, SeparationSpec, channel_name
from linksim.schemes.base import CsitKind
from linksim.source.quality_search import QualitySearch, Wish

__all__ = ["FORMAT", "calibrate", "links", "measure_channel", "measure_quality", "merge"]

FORMAT = "linksim-mcs-3"
SNR_GRID_DB = tuple(float(v) for v in np.arange(-20.0, 45.25, 0.25))
BITS_PER_PIXEL = (
    0.001,
    0.0015,
    0.0023,
    0.0035,
    0.005,
    0.007,
    *map(float, np.geomspace(0.01, 3.0, 25).round(5)),
)
_CHUNK = 16
_SAVED_TOGETHER = 15  # MCS, which an interrupted calibration does not measure again
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
        key: its specification, see :func:`linksim.build.objects.calibration_key`.
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


def measure_quality(search: QualitySearch, pictures: Sequence[torch.Tensor], images: str) -> QualityCurve:
    """Mean quality of the best stream within a rate, for a grid of rates; what does not fit is grey.

    Args:
        search: codec; quality is what it selects by.
        pictures: [3, H, W] uint8 each.
        images: what they are, for the record.
    """
    measure = search.measure or Selection("psnr")
    originals = [p.permute(1, 2, 0).contiguous().numpy() for p in pictures]
    digests = [image_digest(p) for p in pictures]
    grey = [measure(np.full_like(rgb, 128), rgb) for rgb in originals]
    means = []
    for rate in BITS_PER_PIXEL:
        room = [int(rate * rgb.shape[0] * rgb.shape[1] / 8) for rgb in originals]
        fits = search.best_of([Wish(*wish) for wish in zip(originals, digests, room, strict=True)])
        values = list(grey)
        for i, fit in enumerate(fits):
            if fit is not None:
                values[i] = measure(search.decode(fit.stream, originals[i].shape[:2]), originals[i])
        means.append(round(float(np.mean(values)), 4))
    return QualityCurve(
        codec=search.name,
        images=images,
        measure=measure.name,
        higher_is_better=measure.higher_is_better,
        bits_per_pixel=BITS_PER_PIXEL,
        values=tuple(means),
        failure=round(float(np.mean(grey)), 4),
    )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("sionna", "torch", "av", "numba")}


def merge(
    old: Calibration | None,
    channels: Sequence[ChannelCalibration],
    quality: Sequence[QualityCurve],
    unfinished: Sequence[ChannelCalibration] = (),
) -> Calibration:
    """A table with new measurements in place of old ones of the same channel and length, or codec.

    Unfinished ones, with some of their MCS only, are kept beside them and replace nothing.
    """

    def others(
        stored: Iterable[ChannelCalibration], new: Sequence[ChannelCalibration]
    ) -> Iterator[ChannelCalibration]:
        replaced = {(repr(sorted(c.channel.items())), c.num_uses) for c in new}
        for c in stored:
            if (repr(sorted(c.channel.items())), c.num_uses) not in replaced:
                yield c

    names = {q.codec for q in quality}
    kept = [q for q in (old.quality if old else ()) if q.codec not in names]
    return Calibration(
        format=FORMAT,
        versions=_versions(),
        channels=(*others(old.channels if old else (), channels), *channels),
        quality=(*kept, *quality),
        unfinished=(*others(old.unfinished if old else (), (*channels, *unfinished)), *unfinished),
    )


def calibrate(
    plan: Plan,
    table: Calibration | None,
    *,
    num_frames: int,
    pictures: ImageSet | None,
    num_pictures: int,
    seed: int = 1,
    every: int = 1,
    workers: int = 1,
    report: Report = lambda line: None,
) -> Iterator[Calibration]:
    """Measure every channel of a scenario and, with calibration pictures, every source codec of it.

    Curves that the table already holds for a channel at the same block length with as many frames and the
    same seed are kept.

    Args:
        plan: scenario with its images, whose median number of uses is the block length.
        table: to extend, or None.
        num_frames: transport blocks per MCS.
        pictures: calibration pictures for the quality curves; None keeps those of the table.
        num_pictures: how many of them, evenly spaced.
        seed: of payloads, fades and noise; another than that of any test.
        every: measure every so many-th MCS in rising efficiency; fewer steps to choose from, in less time.
        workers: processes that code pictures.
        report: called with lines of progress.

    Yields:
        The table after each measurement, to be saved at once.
    """
    command = (
        f"linksim {__version__}: linksim calibrate {plan.scenario.name} --frames {num_frames} --seed {seed}"
    )
    if every > 1:
        command += f" --every {every}"
    if pictures is not None:
        names = pictures.names[:: max(1, len(pictures) // num_pictures)][:num_pictures]
        chosen = [pictures[name] for name in names]
        found = (search_of(scheme, workers) for scheme in plan.scenario.schemes)
        searches = {search.name: search for search in found if search is not None}
        for name, search in searches.items():
            report(f"quality of {name} over {len(names)} pictures")
            curve = measure_quality(search, chosen, f"{len(names)} training pictures")
            table = merge(table, [], [curve])
            yield table
    for variant in plan.variants:
        num_uses = plan.median_budget(variant)
        for spec, scheme, key in links(variant.scenario):
            what = f"{channel_name(spec)} {dict(variant.values)}: {num_uses} uses, {num_frames} frames"
            known = table.measured(key, num_uses, num_frames, seed) if table is not None else ()
            missing = [m for m in ALL_MCS[::every] if m not in {c.scheme for c in known}]
            with refused_as_input(f"channels.{channel_name(spec)}"):
                channel = sent_over(scheme, spec, build_channel(spec, torch.device("cpu")))
                try_channel(channel, num_uses)
            report(f"{what}, {len(missing)} MCS to measure")
            few = too_few_blocks(num_frames)
            if missing and few:
                report(f"warning: {few}")
            for first in range(0, len(missing), _SAVED_TOGETHER):
                new = measure_channel(
                    channel,
                    key,
                    num_uses,
                    num_frames=num_frames,
                    seed=seed,
                    csit=scheme.csit,
                    table=missing[first : first + _SAVED_TOGETHER],
                    command=command,
                    report=report,
                )
                known = tuple(sorted((*known, *new.curves), key=lambda c: c.scheme.efficiency))
                part = [new.model_copy(update={"curves": known})]
                done = first + _SAVED_TOGETHER >= len(missing)
                table = merge(table, part, []) if done else merge(table, [], [], part)
                yield table
    if table is not None:
        yield table


def links(scenario: Scenario) -> list[tuple[ChannelBase, SeparationSpec, dict[str, object]]]:
    """Every channel of a scenario with a separation scheme and their key in a table, once for each way in
    which adaptive schemes use it; without any such scheme, as one would by default.
    """
    adaptive = [s for s in scenario.schemes if isinstance(s, SeparationSpec) and s.adapts]
    found: dict[str, tuple[ChannelBase, SeparationSpec, dict[str, object]]] = {}
    for channel in scenario.channels:
        for scheme in adaptive or [SeparationSpec(kind="separation", name="any")]:
            key = calibration_key(channel, scheme)
            found.setdefault(repr(key), (channel, scheme, key))
    return list(found.values())


def search_of(scheme: SchemeSpec, workers: int = 1) -> QualitySearch | None:
    """The quality search of a scheme whose MCS is chosen by the quality of its source codec."""
    if not isinstance(scheme, SeparationSpec) or not scheme.adapts:
        return None
    return make_search(scheme.source, workers) if scheme.policy == "best_quality" else None
