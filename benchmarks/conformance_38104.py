"""PUSCH throughput against the minimum requirements of TS 38.104 (transform precoding disabled).

Tables 8.2.1.2-1 and -4 to -6: three reference channels (one modulation, code rate, fading profile and Doppler
shift each), one or two layers from as many antennas, two or four receive antennas; HARQ with four
transmissions; gains, and by default the noise variance, estimated from the demodulation reference signal. The
page docs/conformance.md has the definitions, the results, and what differs from the test of the standard.

Prints one JSON line per case, estimator and knowledge of the noise: ``snr_db``, at which the throughput is
70% of the maximum, with its interval ``ci_db``; ``required_db``; ``margin_db``, what is left of it;
``throughput`` at the requirement with its interval ``ci``; ``slots`` that count, ``runs``, ``wrong`` (blocks
whose CRC held for other bits than were sent), and the ``curve``. Intervals: 95%, bootstrap over runs.

    python benchmarks/conformance_38104.py [--blocks 1200] [--estimator ls lmmse] [--noise estimated known]
        [--band "10 MHz / 30 kHz" ...] [--channel TDLB100-400 ...] [--size 1x2 1x4 2x2 2x4] [--gap 10]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from channels.antennas.transmission import Transmission
from channels.equalization import equalize
from channels.models.tdl import TdlModel, TdlProfile
from channels.ofdm.draw import OfdmDraw
from channels.ofdm.grid import Pilots, dmrs_symbols
from channels.ofdm.link import OfdmChannel
from channels.ofdm.receiver import OfdmCsi
from channels.seeding import item_seed
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock
from linksim.results.statistics import bootstrap_interval, error_interval
from linksim.schemes.separation import Harq

from sionna.phy import SPEED_OF_LIGHT

CARRIER_HZ = 3.5e9
# DM-RS type 1, one symbol and one additional position, two CDM groups without data: a layer has every second
# subcarrier, at 3 dB above its data. Two layers, which have half of the power each, are ports 0 and 1.
DMRS = {
    1: Pilots(dmrs_symbols(1), comb=2, boost_db=3.0, ports=(0,)),
    2: Pilots(dmrs_symbols(1), comb=2, ports=(0, 1)),
}
HARQ = Harq(4)
TARGET = 0.7
PERIOD_S = (
    5e-3  # of the default TDD patterns: 3 down, 1 special, 1 up at 15 kHz, 7 down, 1 special, 2 up at 30
)
WARM_UP = 4  # slots of a run before it counts: the process need not start with a new block
COUNTED = 8
RUNS_AT_ONCE = 25
PILOT_RUNS = 25
HALF_STEP_DB = 0.5
USUAL_MARGIN_DB = 3.0  # where the search begins
RESAMPLES = 2000

Estimator = Literal["perfect", "ls", "lmmse", "lmmse-robust"]
Noise = Literal["known", "estimated"]


@dataclass(frozen=True)
class Band:
    """Channel bandwidth, subcarrier spacing, and the table of TS 38.104 with its requirements."""

    name: str
    spacing_hz: float
    num_blocks: int
    table: str

    @property
    def num_subcarriers(self) -> int:
        """All of them carry data."""
        return 12 * self.num_blocks


@dataclass(frozen=True)
class Case:
    """One line of a table: band, name of the channel, modulation, code rate, layers (and as many transmit
    antennas), receive antennas, requirement.
    """

    band: Band
    channel: str
    profile: TdlProfile
    doppler_hz: float
    bits_per_symbol: int
    rate_1024: int
    layers: int
    antennas: int
    required_db: float

    @property
    def size(self) -> str:
        """Antennas, e.g. 1x4."""
        return f"{self.layers}x{self.antennas}"

    @property
    def symbols(self) -> int:
        """Data symbols of a slot, those of all layers."""
        elements = (14 - len(DMRS[self.layers].symbols)) * self.band.num_subcarriers
        return self.layers * elements

    @property
    def gap(self) -> int:
        """Slots from one transmission to the next: one period of the default TDD pattern."""
        return round(PERIOD_S * self.band.spacing_hz / 15)


_CHANNELS: dict[str, tuple[str, TdlProfile, float, int, int]] = {
    "B": ("TDLB100-400", "B100", 400.0, 2, 193),
    "C": ("TDLC300-100", "C300", 100.0, 4, 658),
    "A": ("TDLA30-10", "A30", 10.0, 6, 567),
}
_SIZES = ((1, 2), (1, 4), (2, 2), (2, 4))
# Per band the requirements [dB] at 1x2, 1x4, 2x2 and 2x4. Two layers have none with 64QAM.
_REQUIRED: dict[Band, dict[str, tuple[float, ...]]] = {
    Band("5 MHz / 15 kHz", 15e3, 25, "8.2.1.2-1"): {
        "B": (-2.3, -5.8, 1.0, -2.3),
        "C": (10.1, 6.2, 18.2, 11.0),
        "A": (12.3, 8.8),
    },
    Band("10 MHz / 30 kHz", 30e3, 24, "8.2.1.2-4"): {
        "B": (-2.3, -5.6, 1.3, -2.2),
        "C": (10.2, 6.4, 18.4, 11.2),
        "A": (12.8, 8.6),
    },
    Band("20 MHz / 30 kHz", 30e3, 51, "8.2.1.2-5"): {
        "B": (-2.9, -6.0, 1.3, -2.2),
        "C": (10.2, 6.4, 18.1, 11.3),
        "A": (12.5, 8.6),
    },
    Band("40 MHz / 30 kHz", 30e3, 106, "8.2.1.2-6"): {
        "B": (-2.5, -5.8, 1.3, -2.3),
        "C": (10.0, 6.3, 19.5, 11.3),
        "A": (12.4, 8.5),
    },
}
CASES = tuple(
    Case(band, *_CHANNELS[letter], *size, required)
    for band, channels in _REQUIRED.items()
    for letter, levels in channels.items()
    for size, required in zip(_SIZES, levels, strict=False)
)


class SpacedSlots:
    """A channel model of which only every ``gap``-th slot is seen: slots in between pass unused.

    Args:
        model: fading process.
        gap: distance of the slots of an image, in slots.
        num_ofdm_symbols: of a slot.
    """

    def __init__(self, model: TdlModel, gap: int, num_ofdm_symbols: int = 14) -> None:
        self._model, self._gap, self._length = model, gap, num_ofdm_symbols

    def __getattr__(self, name: str) -> object:  # statistics are those of the process
        return getattr(self._model, name)

    def __call__(
        self, batch_size: int, num_time_steps: int, sampling_frequency: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See :class:`channels.models.base.DelayModel`."""
        slots = num_time_steps // self._length
        steps = ((slots - 1) * self._gap + 1) * self._length
        gains, delays = self._model(batch_size, steps, sampling_frequency)
        seen = torch.arange(slots)[:, None] * (self._gap * self._length) + torch.arange(self._length)
        return gains[..., seen.flatten()], delays


class Link:
    """One HARQ process over one fading process per run: a new block as soon as the last one is delivered, or
    lost after four transmissions.

    Args:
        case: what is sent over what.
        estimator: of the gains; "perfect" knows them, "lmmse-robust" knows no more of the channel than the
            subcarrier spacing.
        noise: whether the receiver knows the noise variance or estimates it in every slot.
        gap: slots from one transmission of the process to the next; None: as of the case.
    """

    def __init__(
        self, case: Case, estimator: Estimator, noise: Noise = "estimated", gap: int | None = None
    ) -> None:
        model = TdlModel(
            case.profile,
            carrier_hz=CARRIER_HZ,
            speed_mps=case.doppler_hz / CARRIER_HZ * SPEED_OF_LIGHT,
            num_rx_antennas=case.antennas,
            num_tx_antennas=case.layers,
        )
        csi: dict[Estimator, OfdmCsi] = {"perfect": "perfect", "ls": "ls"}
        self.channel = OfdmChannel(
            SpacedSlots(model, gap or case.gap),
            num_subcarriers=case.band.num_subcarriers,
            subcarrier_spacing_hz=case.band.spacing_hz,
            pilots=DMRS[case.layers],
            transmission=Transmission("single" if case.layers == 1 else "multiplexing"),
            csi=csi.get(estimator, "lmmse"),
            assumed="robust" if estimator == "lmmse-robust" else None,
            noise=noise,
        )
        self.case = case
        self.block = TransportBlock(case.symbols, case.bits_per_symbol, case.rate_1024 / 1024)
        self._qam = Qam(case.bits_per_symbol)
        self._one_filter = noise == "known"
        self.wrong = 0

    def delivered(self, first_run: int, num_runs: int, snrs_db: Sequence[float]) -> NDArray[np.bool_]:
        """Whether a slot brought a block home: [SNRs, runs, COUNTED]. Fades, noise and payloads of a run are
        the same at every SNR, for every estimator, and in every call.
        """
        parts = []
        for begin in range(first_run, first_run + num_runs, RUNS_AT_ONCE):
            runs = range(begin, min(begin + RUNS_AT_ONCE, first_run + num_runs))
            seeds = self.seeds(runs)
            draw = self.channel.draw(self.case.symbols * (WARM_UP + COUNTED), seeds)
            assert isinstance(draw, OfdmDraw)
            parts.append(np.stack([self._process(draw, seeds, snr_db) for snr_db in snrs_db]))
        return np.concatenate(parts, axis=1)

    def seeds(self, runs: Sequence[int]) -> list[int]:
        """Of fades, noise and payloads."""
        return [item_seed(38104, self.case.channel, run, f"{self.case.antennas}") for run in runs]

    def _process(self, draw: OfdmDraw, seeds: Sequence[int], snr_db: float) -> NDArray[np.bool_]:
        """[runs, COUNTED] at one SNR."""
        count, slots = draw.h.shape[:2]
        payloads = [
            np.random.default_rng(seed).integers(0, 2, (slots, self.block.size), np.uint8) for seed in seeds
        ]
        payload = np.zeros((count, self.block.size), np.uint8)
        coded = np.zeros((len(HARQ.rvs), count, self.block.num_coded_bits), np.uint8)
        soft = np.zeros(coded.shape, np.float32)
        attempt = np.zeros(count, np.int64)
        delivered = np.zeros((count, slots), np.bool_)
        for slot in range(slots):
            new = np.flatnonzero(attempt == 0)
            if len(new):
                payload[new] = np.stack([payloads[run][slot] for run in new])
                coded[:, new] = self.block.encode(payload[new], HARQ.rvs)
            rows = np.arange(count)
            soft[attempt, rows] = self._send(coded[attempt, rows], draw, slot, seeds, snr_db)
            ok = self._decode(soft, attempt, payload)
            delivered[:, slot] = ok
            attempt = np.where(ok, 0, (attempt + 1) % len(HARQ.rvs))
        return delivered[:, WARM_UP:]

    def _send(
        self, bits: NDArray[np.uint8], draw: OfdmDraw, slot: int, seeds: Sequence[int], snr_db: float
    ) -> NDArray[np.float32]:
        """LLRs [runs, G] of what one slot of every run received."""
        x, h, noise = self._qam.modulate(bits), draw.h[:, slot, None], draw.noise[:, slot, None]
        if self._one_filter:  # runs as slots of one image: LMMSE filters are made once
            x, h, noise = x.view(1, -1), h.transpose(0, 1), noise.transpose(0, 1)
        part = replace(draw, h=h, noise=noise, num_symbols=x.shape[1])
        received = self.channel(x, torch.full((len(x),), snr_db), seeds[: len(x)], part)
        return self._qam.demodulate(*equalize(received, "zf")).reshape(bits.shape)

    def _decode(
        self, soft: NDArray[np.float32], attempt: NDArray[np.int64], payload: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """[runs] whether the CRC holds, and truly, for all transmissions of the block so far."""
        ok = np.zeros(len(attempt), np.bool_)
        for sent in np.unique(attempt) + 1:
            rows = np.flatnonzero(attempt == sent - 1)
            result = self.block.decode(soft[:sent, rows], rvs=HARQ.rvs[:sent])
            right = (result.bits == payload[rows]).all(axis=1)
            self.wrong += int((result.ok & ~right).sum())
            ok[rows] = result.ok & right
        return ok


def interval(delivered: NDArray[np.bool_]) -> tuple[float, float]:
    """95% interval of the throughput of runs [runs, slots]: bootstrap over runs; without a loss, as many
    independent trials as there are runs.
    """
    if delivered.all():
        return 1 - error_interval(0, len(delivered), 0.95)[1], 1.0
    low, high = bootstrap_interval(list(delivered.astype(np.float64)), 0.95, RESAMPLES, seed=1)
    return max(low, 0.0), min(high, 1.0)


def crossing(snrs_db: Sequence[float], curve: NDArray[np.float64]) -> float:
    """SNR [dB] at which the line through two points of throughput meets the target."""
    (low, high), (start, end) = snrs_db, curve
    return float(low + (high - low) * (TARGET - start) / (end - start))


def crossing_interval(snrs_db: Sequence[float], delivered: NDArray[np.bool_]) -> tuple[float, float]:
    """95% interval of the crossing: bootstrap over the runs of [2 SNRs, runs, slots]."""
    means = delivered.mean(axis=2)
    picks = np.random.default_rng(1).integers(0, means.shape[1], (RESAMPLES, means.shape[1]))
    found = [crossing(snrs_db, means[:, pick].mean(axis=1)) for pick in picks]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def _around(link: Link, runs: int) -> tuple[float, float]:
    """Two SNRs [dB] about the crossing, which is found with some of the runs first."""

    @lru_cache
    def throughput(snr_db: float) -> float:
        return float(link.delivered(0, min(runs, PILOT_RUNS), [snr_db]).mean())

    above = link.case.required_db - USUAL_MARGIN_DB
    while throughput(above) < TARGET:
        above += 1
    while throughput(above - 1) >= TARGET:
        above -= 1
    centre = crossing((above - 1, above), np.array([throughput(above - 1), throughput(above)]))
    return round(centre - HALF_STEP_DB, 2), round(centre + HALF_STEP_DB, 2)


def measure(
    case: Case, estimator: Estimator, noise: Noise, blocks: int, gap: int | None
) -> dict[str, object]:
    """One line of the output; ``blocks`` is the number of slots that count at each SNR."""
    link, runs = Link(case, estimator, noise, gap), -(-blocks // COUNTED)
    snrs_db = _around(link, runs)
    link.wrong = 0
    points = [*snrs_db, case.required_db]
    delivered = link.delivered(0, runs, points)
    curve = delivered[:-1].mean(axis=(1, 2))
    snr_db = crossing(snrs_db, curve)
    return {
        "band": case.band.name,
        "table": case.band.table,
        "channel": case.channel,
        "bits_per_symbol": case.bits_per_symbol,
        "rate": f"{case.rate_1024}/1024",
        "antennas": case.size,
        "estimator": estimator,
        "noise": noise,
        "gap": gap or case.gap,
        "snr_db": round(snr_db, 2),
        "ci_db": [round(v, 2) for v in crossing_interval(snrs_db, delivered[:-1])],
        "required_db": case.required_db,
        "margin_db": round(case.required_db - snr_db, 2),
        "throughput": round(float(delivered[-1].mean()), 3),
        "ci": [round(v, 3) for v in interval(delivered[-1])],
        "slots": runs * COUNTED,
        "runs": runs,
        "wrong": link.wrong,
        "curve": dict(zip(snrs_db, curve.round(3).tolist(), strict=True)),
    }


def _chosen(args: argparse.Namespace) -> Iterator[tuple[Case, Estimator, Noise]]:
    for case in CASES:
        if case.band.name in args.band and case.channel in args.channel and case.size in args.size:
            for estimator in args.estimator:
                for noise in args.noise:
                    yield case, estimator, noise


def main() -> int:
    """Measure every case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = tuple(dict.fromkeys(case.channel for case in CASES))
    bands = tuple(dict.fromkeys(case.band.name for case in CASES))
    kinds = get_args(Estimator)
    parser.add_argument("--blocks", type=int, default=1200, help="slots that count, at each SNR")
    parser.add_argument("--estimator", nargs="+", choices=kinds, default=["ls", "lmmse"])
    parser.add_argument("--noise", nargs="+", choices=("estimated", "known"), default=["estimated"])
    parser.add_argument("--channel", nargs="+", choices=names, default=names)
    sizes = tuple(dict.fromkeys(case.size for case in CASES))
    parser.add_argument("--size", nargs="+", choices=sizes, default=sizes, help="layers x receive antennas")
    parser.add_argument("--band", nargs="+", choices=bands, default=bands)
    parser.add_argument("--gap", type=int, help="slots between transmissions of a process; none: 5 ms")
    args = parser.parse_args()
    for case, estimator, noise in _chosen(args):
        print(json.dumps(measure(case, estimator, noise, args.blocks, args.gap)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
