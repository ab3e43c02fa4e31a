"""What receivers are told against what happens, and what decodes against bounds, over all kinds of channels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import pytest
import torch

from channels.antennas.transmission import Precoding, Transmission
from channels.base import ChannelOperator
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.flat.hardware import SingleCarrierChannel
from channels.flat.interleaving import InterleavedChannel
from channels.hardware.amplifier import Clipping, RappAmplifier
from channels.hardware.converter import IqImbalance, Quantization
from channels.hardware.impairment import Impairment
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise
from channels.models.base import DelayModel
from channels.models.cdl import CdlModel
from channels.models.cell import CellModel
from channels.models.panel import Panel
from channels.models.recorded import RecordedModel
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel
from channels.types import Csi
from linksim.coding.bounds import capacity_bits, normal_approximation_bits
from linksim.coding.mcs import ALL_MCS, MCS_TABLE_1, Mcs
from linksim.scenario.files import scenario_dir
from tests.contracts.frames import decoded

SNRS_DB = (-5.0, 5.0, 15.0, 30.0)
GRID = {
    "num_subcarriers": 24,
    "num_ofdm_symbols": 7,
}  # 120 data elements of a slot with pilots in two symbols
ANTENNAS: dict[str, tuple[int, int, dict, int]] = {
    "1x1": (1, 1, {"pilots": Pilots((1, 5))}, 1),
    "1x4": (4, 1, {"pilots": Pilots((1, 5))}, 1),
    "2x2": (2, 2, {"pilots": Pilots((1, 5), 2), "transmission": Transmission("multiplexing")}, 2),
    "2x2-cover-code": (
        2, 2, {"pilots": Pilots((1, 5), 2, ports=(0, 1)), "transmission": Transmission("multiplexing")}, 2,
    ),
}  # fmt: skip
MODELS: dict[str, Callable[[int, int], DelayModel]] = {
    "tdl-c": lambda rx, tx: TdlModel(
        "C", delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=10.0, num_rx_antennas=rx, num_tx_antennas=tx
    ),
    "tdl-c-correlated": lambda rx, tx: TdlModel(
        "C", delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=10.0, num_rx_antennas=rx, num_tx_antennas=tx,
        rx_correlation=0.8, tx_correlation=0.8,
    ),
    "tdl-d": lambda rx, tx: TdlModel(
        "D", delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=10.0, num_rx_antennas=rx, num_tx_antennas=tx
    ),
    "cdl-d": lambda rx, tx: CdlModel(
        "D", delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=10.0,
        transmitter=Panel(columns=tx), receiver=Panel(columns=rx),
    ),
}  # fmt: skip


def qpsk(frames: int, uses: int) -> torch.Tensor:
    signs = torch.randint(0, 2, (2, frames, uses), generator=torch.Generator().manual_seed(5)) * 2.0 - 1
    return torch.complex(signs[0], signs[1]) / 2**0.5


def told_over_actual(channel: ChannelOperator, snr_db: float, frames: int, uses: int) -> float:
    """Mean told variance over the mean of |y - h·x|²."""
    x = qpsk(frames, uses)
    received = channel(x, torch.full((frames,), snr_db), range(frames))
    error = (received.y - received.csi.h * x).abs().square().mean()
    return float((received.csi.no + received.csi.err_var).expand(x.shape).mean() / error)


@pytest.mark.parametrize("csi", ["ls", "lmmse"])
@pytest.mark.parametrize("antennas", ANTENNAS)
@pytest.mark.parametrize("model", MODELS)
def test_estimated_gains_are_told_with_the_error_that_they_have(model, antennas, csi):
    """E|y - h_hat·x|² is told within .9 to 1.1 from -5 to 30 dB: 200 slots, independent, each with an error of several
    degrees of freedom: 3% of spread. Told the estimate itself, LS with four antennas was told .48 of it at -5 dB."""
    rx, tx, arguments, streams = ANTENNAS[antennas]
    channel = OfdmChannel(MODELS[model](rx, tx), csi=csi, **GRID, **arguments)
    ratios = [told_over_actual(channel, snr_db, 200, 120 * streams) for snr_db in SNRS_DB]
    assert all(0.9 < ratio < 1.1 for ratio in ratios), ratios


@pytest.mark.parametrize("pilots", [1, 4])
@pytest.mark.parametrize("k_factor_db", [None, 3.0])
def test_estimated_gains_of_blocks_are_told_with_the_error_that_they_have(k_factor_db, pilots):
    """The same on block fading, 100 frames of 12 blocks: 1200 gains, 5 sigma 14% of what the estimate makes of it, a
    third of all at most."""
    channel = FlatFadingChannel(
        coherence_symbols=10, k_factor_db=k_factor_db, csi="ls", pilots_per_block=pilots
    )
    for snr_db in SNRS_DB:
        assert 0.9 < told_over_actual(channel, snr_db, 100, 120) < 1.1


@cache
def _cell() -> CellModel:
    return CellModel(
        "umi", carrier_hz=3.5e9, speed_mps=3.0, receiver=Panel(columns=2), transmitter=Panel(columns=2)
    )


@pytest.mark.parametrize(
    ("transmission", "snr_db"),
    [
        pytest.param(
            t, s, marks=() if (t, s) in (("multiplexing", -5.0), ("multiplexing", 30.0)) else pytest.mark.slow
        )
        for t in ("multiplexing", "alamouti")
        for s in SNRS_DB
    ],
)
def test_cells_are_told_right_on_average_over_drops(transmission, snr_db):
    """Two antennas at both ends, LS, 200 drops: statistics are means over drops, of which some have a line of sight
    that all of it comes from: within .85 to 1.15."""
    channel = OfdmChannel(
        _cell(),
        csi="ls",
        gain_control=True,
        pilots=Pilots((1, 5), 2),
        transmission=Transmission(transmission),
        **GRID,
    )
    streams = 2 if transmission == "multiplexing" else 1
    assert 0.85 < told_over_actual(channel, snr_db, 200, 120 * streams) < 1.15


# ------------------------------------------------------------------------------------------------- bounds

FRAMES, DRAWS, USES = 2000, 50, 768
_CHOSEN: list[Mcs] = [
    *(mcs for mcs in ALL_MCS if (mcs.table, mcs.index) in ((3, 0), (3, 3), (2, 21), (2, 27))),
    *(MCS_TABLE_1[i] for i in (1, 4, 9, 13, 16, 20, 24, 28)),
]
_RADIO: tuple[Impairment, ...] = (
    RappAmplifier(3.0), IqImbalance(0.5, 2.0), PhaseNoise(20.0), CarrierFrequencyOffset(50.0), Quantization(5),
)  # fmt: skip


def _plain(inner: Callable[[], ChannelOperator], *hardware: Impairment) -> Callable[[], ChannelOperator]:
    return lambda: SingleCarrierChannel(inner(), hardware, symbol_rate_hz=1e6)


def _grid(model: Callable[[], DelayModel], kind=OfdmChannel, **arguments) -> Callable[[], ChannelOperator]:
    return lambda: kind(model(), impairments=arguments.pop("impairments", _RADIO), **arguments)


def _tdl(profile: str = "C", speed: float = 3.0, rx: int = 1, tx: int = 1) -> Callable[[], DelayModel]:
    return lambda: TdlModel(
        profile,
        delay_spread_s=100e-9,
        carrier_hz=3.5e9,
        speed_mps=speed,
        num_rx_antennas=rx,
        num_tx_antennas=tx,
    )


_BLOCKS = {"coherence_symbols": 96}
FAMILIES: dict[str, Callable[[], ChannelOperator]] = {
    "awgn-amplifier": _plain(AwgnChannel, RappAmplifier(0.0)),
    "awgn-oscillator": _plain(AwgnChannel, CarrierFrequencyOffset(30.0), PhaseNoise(20.0)),
    "rayleigh-clipping": _plain(FlatFadingChannel, Clipping(3.0)),
    "rayleigh-blocks-converter": _plain(lambda: FlatFadingChannel(**_BLOCKS), Quantization(3)),
    "rayleigh-ls-mixers": _plain(
        lambda: FlatFadingChannel(**_BLOCKS, csi="ls", pilots_per_block=4),
        IqImbalance(1.0, 5.0, "transmitter"), IqImbalance(1.0, 5.0),
    ),
    "rician-interleaved-clipping": lambda: InterleavedChannel(
        _plain(lambda: FlatFadingChannel(**_BLOCKS, k_factor_db=6.0), Clipping(0.0))()
    ),
    "tdl-perfect": _grid(_tdl(), csi="perfect"),
    "tdl-ls-clipping": _grid(_tdl("A"), csi="ls", impairments=(Clipping(0.0),)),
    "tdl-lmmse-mixer": _grid(_tdl("B"), csi="lmmse", impairments=(IqImbalance(1.0, 5.0),)),
    "tdl-1x4-ls": _grid(_tdl(rx=4), csi="ls"),
    "tdl-2x2-perfect": _grid(
        _tdl(rx=2, tx=2), csi="perfect", transmission=Transmission("multiplexing"), pilots=Pilots(comb=2)
    ),
    "tdl-2x2-lmmse-cover-code": _grid(
        _tdl(rx=2, tx=2), csi="lmmse", transmission=Transmission("multiplexing"),
        pilots=Pilots(comb=2, ports=(0, 1)),
    ),
    "tdl-svd-perfect": _grid(_tdl(rx=2, tx=4), csi="perfect", transmission=Transmission("svd", 1, Precoding(subband=1))),
    "time-tdl-ls": _grid(_tdl(speed=30.0), TimeDomainOfdmChannel, csi="ls"),
    "cdl-perfect": _grid(
        lambda: CdlModel("D", delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=10.0, receiver=Panel(columns=4)),
        csi="perfect",
    ),
    "umi-perfect": _grid(
        _cell, csi="perfect", gain_control=True, transmission=Transmission("alamouti"), pilots=Pilots(comb=2)
    ),
    "recorded-perfect": _grid(
        lambda: RecordedModel(scenario_dir() / "data" / "street-canyon.npz", phases="paths"), csi="perfect", gain_control=True
    ),
}  # fmt: skip


def bound_bits(channel: ChannelOperator, draw, snr_db: float) -> torch.Tensor:
    return capacity_bits(channel.limits(draw, torch.full((DRAWS, 1), 10 ** (-snr_db / 10))))


def critical_snrs_db(channel: ChannelOperator, draw, bits: int, count: int) -> list[float]:
    """SNRs at which the bound of the median frame is from a little above to a little below ``bits``, at most 40 dB."""
    grid = [1.0 * s for s in range(-16, 41, 2)]
    median = [float(bound_bits(channel, draw, s).median()) for s in grid]
    centre = next((s for s, have in zip(grid, median, strict=True) if have >= bits), 40.0)
    return [min(centre + 3 * k - 1, 40.0) for k in range(count)]


def exceeding(
    channel: ChannelOperator, limit: Callable[..., torch.Tensor] = bound_bits
) -> tuple[int, int, int]:
    """Frames sent, decoded, and decoded above their bound: 50 fades, each with many MCS and SNRs around what it
    carries."""
    draw = channel.draw(USES, range(DRAWS))
    per_mcs = -(-FRAMES // (DRAWS * len(_CHOSEN)))
    sent, home, above = 0, 0, 0
    for mcs in _CHOSEN:
        _, block = decoded(channel, mcs, USES, 40.0, range(1))
        for snr_db in critical_snrs_db(channel, draw, block.size, per_mcs):
            ok, _ = decoded(channel, mcs, USES, snr_db, range(DRAWS), draw)
            sent, home = sent + DRAWS, home + int(ok.sum())
            above += int((ok & (limit(channel, draw, snr_db) < block.size)).sum())
    return sent, home, above


_LONG = (
    "tdl-perfect",
    "tdl-lmmse-mixer",
    "tdl-1x4-ls",
    "tdl-2x2-perfect",
    "tdl-2x2-lmmse-cover-code",
    "tdl-svd-perfect",
    "umi-perfect",
    "cdl-perfect",
    "recorded-perfect",
    "time-tdl-ls",
)  # half a minute each


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.slow) if f in _LONG else f for f in FAMILIES]
)
def test_nothing_decodes_above_its_bound(family):
    """2,000 frames of 768 uses over imperfect radios, from QPSK at 30/1024 to 256QAM at 948/1024, near what they carry:
    hundreds decode, none whose bound is below its payload (codes of this length need .15 bit per use more than
    capacity, eight deviations of what noise does to a frame)."""
    sent, home, above = exceeding(FAMILIES[family]())
    assert sent >= FRAMES
    assert home > 100
    assert above == 0


def test_a_bound_with_constant_distortion_is_exceeded():
    """The mistake of counting the mean distortion of faded symbols, and that of Gaussian ones for a constellation that
    passes a limiter whole: dozens of frames above it."""

    def constant(channel: ChannelOperator, draw, snr_db: float) -> torch.Tensor:
        true = channel.limits(draw, torch.full((DRAWS, 1), 10 ** (-snr_db / 10)))
        added = channel.hardware.with_symbol  # type: ignore[attr-defined]
        return capacity_bits(Csi(true.h, true.no + added, true.err_var))

    assert exceeding(FAMILIES["rayleigh-clipping"](), constant)[2] > 20


@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_keep_their_order(family):
    """For every frame: finite blocklength below capacity, both rising with the SNR, and hardware never helps."""
    channel = FAMILIES[family]()
    draw = channel.draw(96, range(10))
    rates = []
    for snr_db in (0.0, 10.0, 20.0, 40.0):
        no = torch.full((10, 1), 10 ** (-snr_db / 10))
        csi = channel.limits(draw, no)
        whole, finite = capacity_bits(csi), normal_approximation_bits(csi, 1e-3)
        assert bool((finite <= whole).all())
        rates.append(whole)
    assert all(bool((low <= high + 1e-6).all()) for low, high in itertools.pairwise(rates))
