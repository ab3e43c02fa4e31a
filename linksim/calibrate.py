"""Link adaptation, measured: block error rate of every MCS on a channel, and PSNR of a codec against its
rate.

The measurement has its own seeds and training pictures. Its result is a frozen file that scenarios read;
nothing in a test run ever changes the choice of the MCS.

May import: numpy, torch, linksim.{build, runner, scenario, images, digital, metrics}, channels.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.arithmetic import abs_squared
from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.seeding import item_seed
from channels.types import Draw
from channels.units import snr_db_to_no
from linksim import __version__
from linksim.build import make_search
from linksim.build_channel import build_channel, calibration_key, refused_as_input, try_channel
from linksim.digital.link_adaptation import Calibration, ChannelCalibration, McsCurve, QualityCurve
from linksim.digital.mcs import ALL_MCS, Mcs
from linksim.digital.qam import Qam
from linksim.digital.quality_search import QualitySearch, Wish
from linksim.digital.transport import DEFAULT_ITERATIONS, TransportBlock
from linksim.images import ImageSet, image_digest
from linksim.metrics.distortion import psnr
from linksim.runner import Plan
from linksim.scenario import SchemeSpec, SeparationSpec, channel_name

__all__ = ["FORMAT", "calibrate", "measure_channel", "measure_quality", "merge"]

FORMAT = "linksim-mcs-2"
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


class _Frames:
    """Random payloads over one channel with draws that are the same at every SNR and for every MCS."""

    def __init__(self, channel: ChannelOperator, num_uses: int, num_frames: int, seed: int) -> None:
        self.channel, self.num_uses, self.seed = channel, num_uses, seed
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
        return self.channel.average_snr_db(draw, torch.zeros((), dtype=torch.float64)).reshape(-1)

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

    def succeed(self, block: TransportBlock, qam: Qam, snr_db: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each frame is decoded at its own SNR [frames]; nan leaves a frame out (True)."""
        result = np.ones(len(self.seeds), np.bool_)
        for chunk in range(0, len(self.seeds), _CHUNK):
            part = slice(chunk, chunk + _CHUNK)
            wanted = np.isfinite(snr_db[part])
            if wanted.any():
                result[part] = self._chunk(block, qam, snr_db[part], wanted, chunk)
        return result

    def _chunk(
        self,
        block: TransportBlock,
        qam: Qam,
        snr_db: NDArray[np.float64],
        wanted: NDArray[np.bool_],
        chunk: int,
    ) -> NDArray[np.bool_]:
        rows = np.flatnonzero(wanted)
        seeds = [self.seeds[chunk + i] for i in rows]
        payload = np.stack(
            [np.random.default_rng(s).integers(0, 2, block.size, dtype=np.uint8) for s in seeds]
        )
        symbols = qam.modulate(block.encode(payload))
        with torch.no_grad():
            draw = self._draw(chunk).select(torch.from_numpy(rows))
            snr = (torch.from_numpy(snr_db[rows]) - self._above(draw)).float()
            x_hat, no_eff = equalize(self.channel(symbols, snr, seeds, draw), "zf")
            decoded = block.decode(qam.demodulate(x_hat, no_eff))
        good = np.ones(len(wanted), np.bool_)
        good[rows] = decoded.ok & (decoded.bits == payload).all(axis=1)
        return good


def measure_channel(
    channel: ChannelOperator,
    key: dict[str, object],
    num_uses: int,
    *,
    num_frames: int = 200,
    seed: int = 1,
    table: Sequence[Mcs] = ALL_MCS,
    command: str = "",
    report: Report = lambda line: None,
) -> ChannelCalibration:
    """Lowest SNR on a grid of 0.25 dB at which each of ``num_frames`` frames decodes, for every MCS.

    Fade and noise of a frame are the same at every SNR and for every MCS (scaled), so a frame decodes from
    its threshold upwards; the search starts a little above the capacity of its fade. The block error rate at
    an SNR is the share of frames with a higher threshold.

    Args:
        channel: operator.
        key: its specification, see :func:`linksim.build.calibration_key`.
        num_uses: uses of a transport block.
        num_frames: frames.
        seed: of payloads and draws.
        table: MCS in rising efficiency.
        command: what asked for the measurement, for the record.
        report: called with a line per MCS.
    """
    frames = _Frames(channel, num_uses, num_frames, seed)
    grid = np.array(SNR_GRID_DB)
    capacity = frames.capacity(grid)
    curves = []
    for mcs in sorted(table, key=lambda m: m.efficiency):
        block, qam = TransportBlock(num_uses, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
        guess = (capacity < mcs.efficiency).sum(axis=1) + _GAP
        level = _thresholds(partial(frames.succeed, block, qam), guess, grid)
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


def _thresholds(
    succeed: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    guess: NDArray[np.int64],
    grid: NDArray[np.float64],
) -> NDArray[np.int64]:
    """First grid index at which each frame decodes (len(grid): at none), searched from a guess upwards while
    it fails and downwards while it succeeds, so that the guess costs time only. What fails at the guess is
    tried at the last point next: with a floor of the error rate, many frames decode nowhere.
    """
    top = len(grid)
    low, high = np.full(len(guess), -1), np.full(len(guess), top)  # highest failure, lowest success
    probe = np.clip(guess, 0, top - 1)
    good = succeed(grid[probe])
    high, low = np.where(good, probe, high), np.where(good, low, probe)
    hopeless = ~good & ~succeed(np.where(good, np.nan, grid[top - 1]))
    low = np.where(hopeless, top - 1, low)
    probe = np.where(high < top, high - 1, low + 1)
    while (open_ := high - low > 1).any():
        good = succeed(np.where(open_, grid[np.clip(probe, 0, top - 1)], np.nan))
        high, low = np.where(open_ & good, probe, high), np.where(open_ & ~good, probe, low)
        probe = np.where(high < top, high - 1, low + 1)
    return high


def _curve(mcs: Mcs, level: NDArray[np.int64], grid: NDArray[np.float64]) -> McsCurve:
    first = max(int(level.min()) - 1, 0)
    last = min(int(level.max()) + 1, len(grid))
    points = range(first, last)
    errors = [int((level > i).sum()) for i in points]
    return McsCurve.counted(mcs, [float(grid[i]) for i in points], errors, [len(level)] * len(points))


def measure_quality(search: QualitySearch, pictures: Sequence[torch.Tensor], images: str) -> QualityCurve:
    """Mean PSNR of the best stream within a rate, for a grid of rates; a picture that does not fit is grey.

    Args:
        search: codec.
        pictures: [3, H, W] uint8 each.
        images: what they are, for the record.
    """
    originals = [p.float()[None] / 255 for p in pictures]
    pixels = [p.permute(1, 2, 0).contiguous().numpy() for p in pictures]
    digests = [image_digest(p) for p in pictures]
    grey = [float(psnr(torch.full_like(x, 128 / 255), x)) for x in originals]
    means = []
    for rate in BITS_PER_PIXEL:
        room = [int(rate * rgb.shape[0] * rgb.shape[1] / 8) for rgb in pixels]
        fits = search.best_of([Wish(*wish) for wish in zip(pixels, digests, room, strict=True)])
        values = list(grey)
        for i, fit in enumerate(fits):
            if fit is not None:
                shown = torch.from_numpy(search.decode(fit.stream, pixels[i].shape[:2]))
                shown = shown.permute(2, 0, 1).float()[None] / 255
                values[i] = min(100.0, float(psnr(shown, originals[i])))
        means.append(round(float(np.mean(values)), 4))
    return QualityCurve(
        codec=search.name,
        images=images,
        bits_per_pixel=BITS_PER_PIXEL,
        psnr_db=tuple(means),
        failure_psnr_db=round(float(np.mean(grey)), 4),
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
        workers: processes that code pictures.
        report: called with lines of progress.

    Yields:
        The table after each measurement, to be saved at once.
    """
    command = (
        f"linksim {__version__}: linksim calibrate {plan.scenario.name} --frames {num_frames} --seed {seed}"
    )
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
        budgets = sorted(plan.budget(variant, name) for name in plan.images)
        num_uses = budgets[len(budgets) // 2]
        for spec in variant.scenario.channels:
            key = calibration_key(spec)
            what = f"{channel_name(spec)} {dict(variant.values)}: {num_uses} uses, {num_frames} frames"
            known = table.measured(key, num_uses, num_frames, seed) if table is not None else ()
            missing = [m for m in ALL_MCS if m not in {c.scheme for c in known}]
            with refused_as_input(f"channels.{channel_name(spec)}"):
                channel = build_channel(spec, torch.device("cpu"))
                try_channel(channel, num_uses)
            report(f"{what}, {len(missing)} MCS to measure")
            for first in range(0, len(missing), _SAVED_TOGETHER):
                new = measure_channel(
                    channel,
                    key,
                    num_uses,
                    num_frames=num_frames,
                    seed=seed,
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


def search_of(scheme: SchemeSpec, workers: int = 1) -> QualitySearch | None:
    """The quality search of a scheme whose MCS is chosen by the quality of its source codec."""
    if not isinstance(scheme, SeparationSpec) or scheme.mcs != "adaptive":
        return None
    return make_search(scheme.source, workers) if scheme.policy == "best_quality" else None
