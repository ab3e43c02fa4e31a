"""Every channel operator, in small: a new operator adds one line here and gets the whole contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from channels.antennas.transmission import Precoding, Transmission
from channels.base import ChannelOperator, Precision
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.flat.hardware import SingleCarrierChannel
from channels.flat.interleaving import InterleavedChannel
from channels.hardware.amplifier import Clipping, RappAmplifier
from channels.hardware.converter import IqImbalance, Quantization
from channels.hardware.interferer import NarrowbandInterferer
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise, TimingOffset
from channels.models.base import DelayModel, ExponentialCovariance
from channels.models.cdl import CdlModel
from channels.models.cell import CellModel
from channels.models.panel import Panel
from channels.models.recorded import RecordedModel
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel
from linksim.scenario.files import scenario_dir


@dataclass(frozen=True)
class Case:
    """An operator under test.

    Args:
        make: constructor.
        estimated: CSI comes from pilots.
        fades: gains vary from draw to draw.
        scalar: y = h·x + w with the true h of ``gain`` whatever the receiver knows; not so where several
            antennas are combined with estimated gains, streams are detected together, or the true gain is
            followed only on average (impairments, time domain).
        linear: complex-linear in the symbols.
        distorted: hardware makes an error along the gain, that is told also with perfect CSI.
        smooth: differentiable everywhere (no converter).
        known_noise: the receiver is told the noise variance.
        symbols_per_use: streams of a resource element.
        mean_tolerance: of E|h|² = 1, for models normalised by a sample of their own.
        mean_draws: draws that E|h|² is averaged over.
    """

    make: Callable[[Precision], ChannelOperator]
    estimated: bool
    fades: bool = True
    scalar: bool = True
    linear: bool = True
    distorted: bool = False
    smooth: bool = True
    known_noise: bool = True
    symbols_per_use: int = 1
    mean_tolerance: float = 0.0
    mean_draws: int = 1000


def _flat(**arguments) -> Callable[[Precision], ChannelOperator]:
    return lambda precision: FlatFadingChannel(precision=precision, **arguments)


GRID: dict[str, Any] = {
    "num_subcarriers": 24,
    "num_ofdm_symbols": 6,
    "pilots": Pilots((1, 4)),
    "subcarrier_spacing_hz": 15e3,
}


def _over(make_model: Callable[[Precision], DelayModel], kind=OfdmChannel, **arguments):
    return lambda precision: kind(make_model(precision), precision=precision, **{**GRID, **arguments})


def _tdl(profile: str, speed: float = 3.0, rx: int = 1, tx: int = 1, correlation: float = 0.0):
    spread = 100e-9 if len(profile) == 1 else None
    return lambda precision: TdlModel(
        profile,
        delay_spread_s=spread,
        carrier_hz=3.5e9,
        speed_mps=speed,
        num_rx_antennas=rx,
        num_tx_antennas=tx,
        rx_correlation=correlation,
        tx_correlation=correlation,
        precision=precision,
    )


def _ofdm(profile: str, speed: float = 3.0, **arguments) -> Callable[[Precision], ChannelOperator]:
    return _over(_tdl(profile, speed), **arguments)


def _cdl(profile: str, **panels) -> Callable[[Precision], DelayModel]:
    return lambda precision: CdlModel(
        profile, delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=3.0, precision=precision, **panels
    )


def _cell(cell: str, **arguments) -> Callable[[Precision], DelayModel]:
    return lambda precision: CellModel(
        cell, carrier_hz=3.5e9, speed_mps=3.0, precision=precision, **arguments
    )


def _recorded(**arguments) -> Callable[[Precision], DelayModel]:
    """Ray-traced places of a street canyon, which come with linksim."""
    file = scenario_dir() / "data" / "street-canyon.npz"
    return lambda precision: RecordedModel(file, phases="paths", precision=precision, **arguments)


def _hardware(*impairments, inner=AwgnChannel, **arguments) -> Callable[[Precision], ChannelOperator]:
    return lambda precision: SingleCarrierChannel(
        inner(precision=precision, **arguments), impairments, symbol_rate_hz=1e6
    )


_COMB2, _COMB4 = Pilots((1, 4), comb=2), Pilots((1, 4), comb=4)
_COVERED = Pilots((1, 4), comb=2, ports=(0, 1))
_ALAMOUTI, _LAYERS = Transmission("alamouti"), Transmission("multiplexing")
_PAIR = {"rx": 2, "tx": 2}
_MMSE_ASSUMED = ExponentialCovariance(delay_spread_s=50e-9, carrier_hz=3.5e9, speed_mps=10.0)
_LONG_PREFIX = {"cyclic_prefix_length": 6}

OPERATORS: dict[str, Case] = {
    "awgn": Case(lambda precision: AwgnChannel(precision=precision), estimated=False, fades=False),
    "rayleigh": Case(_flat(), estimated=False),
    "rayleigh-blocks": Case(_flat(coherence_symbols=20), estimated=False),
    "rayleigh-ls": Case(_flat(coherence_symbols=20, csi="ls", pilots_per_block=2), estimated=True),
    "rayleigh-lmmse": Case(_flat(coherence_symbols=20, csi="lmmse", pilots_per_block=1), estimated=True),
    "rician": Case(_flat(coherence_symbols=20, k_factor_db=3.0), estimated=False),
    "rayleigh-interleaved": Case(
        lambda precision: InterleavedChannel(FlatFadingChannel(coherence_symbols=20, precision=precision)),
        estimated=False,
    ),
    "ofdm-tdla-perfect": Case(_ofdm("A", csi="perfect"), estimated=False),
    "ofdm-tdlb-perfect-no-pilots": Case(_ofdm("B", csi="perfect", pilots=Pilots(())), estimated=False),
    "ofdm-tdlc-ls": Case(_ofdm("C", csi="ls"), estimated=True),
    "ofdm-tdlc-ls-interleaved": Case(
        lambda precision: InterleavedChannel(_ofdm("C", csi="ls")(precision)), estimated=True
    ),
    "ofdm-tdlc-ls-nearest": Case(_ofdm("C", csi="ls", interpolation="nearest"), estimated=True),
    "ofdm-tdlb100-ls": Case(_ofdm("B100", csi="ls"), estimated=True),
    "ofdm-tdlc-lmmse": Case(_ofdm("C", csi="lmmse"), estimated=True),
    "ofdm-tdld-guards": Case(
        _ofdm("D", 30.0, csi="ls", guard_subcarriers=(2, 3), dc_null=True), estimated=True
    ),
    "ofdm-tdle-lmmse-guards": Case(
        _ofdm("E", csi="lmmse", guard_subcarriers=(2, 3), dc_null=True), estimated=True
    ),
    # channel state information
    "ofdm-tdla-dmrs-boosted": Case(_ofdm("A", csi="ls", pilots=Pilots((1, 4), 2, 3.0)), estimated=True),
    "ofdm-tdlc-lmmse-mismatched": Case(_ofdm("C", csi="lmmse", assumed=_MMSE_ASSUMED), estimated=True),
    "ofdm-tdlc-ls-noise-estimated": Case(
        _ofdm("C", csi="ls", noise="estimated"), estimated=True, known_noise=False
    ),
    "ofdm-tdlc-lmmse-robust": Case(
        _ofdm("C", csi="lmmse", noise="estimated", assumed="robust"), estimated=True, known_noise=False
    ),
    # antennas
    "ofdm-tdlc-1x2-perfect": Case(_over(_tdl("C", rx=2), csi="perfect"), estimated=False),
    "ofdm-tdlc-1x4-ls": Case(_over(_tdl("C", rx=4), csi="ls"), estimated=True, scalar=False),
    "ofdm-tdlc-1x2-lmmse-correlated": Case(
        _over(_tdl("C", rx=2, correlation=0.7), csi="lmmse"), estimated=True, scalar=False
    ),
    "ofdm-tdla-alamouti-2x1-perfect": Case(
        _over(_tdl("A", tx=2), csi="perfect", transmission=_ALAMOUTI, pilots=_COMB2),
        estimated=False,
        scalar=False,
    ),
    "ofdm-tdla-alamouti-2x2-ls": Case(
        _over(_tdl("A", **_PAIR), csi="ls", transmission=_ALAMOUTI, pilots=_COMB2),
        estimated=True,
        scalar=False,
    ),
    "ofdm-tdlc-2x2-perfect": Case(
        _over(_tdl("C", **_PAIR), csi="perfect", transmission=_LAYERS, pilots=_COMB2),
        estimated=False,
        scalar=False,
        symbols_per_use=2,
    ),
    "ofdm-tdlc-2x2-ls": Case(
        _over(_tdl("C", **_PAIR), csi="ls", transmission=_LAYERS, pilots=_COMB2),
        estimated=True,
        scalar=False,
        symbols_per_use=2,
    ),
    "ofdm-tdlc-2x2-ls-cover-code": Case(
        _over(_tdl("C", **_PAIR), csi="ls", transmission=_LAYERS, pilots=_COVERED),
        estimated=True,
        scalar=False,
        symbols_per_use=2,
    ),
    "ofdm-tdlc-2x2-lmmse-cover-code": Case(
        _over(_tdl("C", **_PAIR), csi="lmmse", transmission=_LAYERS, pilots=_COVERED),
        estimated=True,
        scalar=False,
        symbols_per_use=2,
    ),
    "ofdm-tdlb-4x4-lmmse": Case(
        _over(_tdl("B", rx=4, tx=4), csi="lmmse", transmission=_LAYERS, pilots=_COMB4),
        estimated=True,
        scalar=False,
        symbols_per_use=4,
    ),
    "ofdm-tdlc-svd-4x2-perfect": Case(
        _over(
            _tdl("C", rx=2, tx=4),
            csi="perfect",
            pilots=_COMB2,
            transmission=Transmission("svd", 2, Precoding(subband=1)),
        ),
        estimated=False,
        scalar=False,
        symbols_per_use=2,
    ),
    "ofdm-tdla-svd-4x2-outdated-ls": Case(
        _over(
            _tdl("A", 30.0, rx=2, tx=4),
            csi="ls",
            transmission=Transmission("svd", 1, Precoding("quantised", bits=3, delay_slots=2)),
        ),
        estimated=True,
        scalar=False,
    ),
    # channel models
    "ofdm-cdlc-2x2-ls": Case(
        _over(
            _cdl("C", transmitter=Panel(columns=2), receiver=Panel(columns=2)),
            csi="ls",
            transmission=_LAYERS,
            pilots=_COMB2,
        ),
        estimated=True,
        scalar=False,
        symbols_per_use=2,
        mean_tolerance=0.05,
        mean_draws=400,
    ),
    "ofdm-cdld-dual-perfect": Case(
        _over(_cdl("D", receiver=Panel(polarization="dual")), csi="perfect"),
        estimated=False,
        mean_tolerance=0.05,
        mean_draws=400,
    ),
    "ofdm-umi-ls": Case(
        _over(_cell("umi"), csi="ls", gain_control=True),
        estimated=True,
        known_noise=False,
        mean_tolerance=0.1,
        mean_draws=200,
    ),
    "ofdm-uma-lmmse": Case(
        _over(_cell("uma", shadowing=True), csi="lmmse", gain_control=True),
        estimated=True,
        known_noise=False,
        mean_tolerance=0.3,
        mean_draws=200,
    ),
    "ofdm-rma-perfect": Case(
        _over(_cell("rma"), csi="perfect", gain_control=True),
        estimated=False,
        known_noise=False,
        mean_tolerance=0.1,
        mean_draws=200,
    ),
    "ofdm-inh-1x2-ls": Case(
        _over(_cell("inh", receiver=Panel(columns=2)), csi="ls"),
        estimated=True,
        scalar=False,
        mean_tolerance=0.1,
        mean_draws=200,
    ),
    "ofdm-tdlc-gain-control-ls": Case(
        _ofdm("C", csi="ls", gain_control=True, report_delay_slots=2), estimated=True, known_noise=False
    ),
    "ofdm-tdlc-gain-control-noise-estimated": Case(
        _ofdm("C", csi="lmmse", noise="estimated", gain_control=True), estimated=True, known_noise=False
    ),
    "ofdm-recorded-ls": Case(_over(_recorded(normalize="each", speed_mps=3.0), csi="ls"), estimated=True),
    "ofdm-recorded-perfect": Case(_over(_recorded(normalize="each"), csi="perfect"), estimated=False),
    "time-recorded-lmmse": Case(
        _over(_recorded(), TimeDomainOfdmChannel, csi="lmmse", gain_control=True, **_LONG_PREFIX),
        estimated=True,
        scalar=False,
        mean_tolerance=0.3,
    ),
    # sample by sample
    "time-tdlc-ls": Case(
        _over(_tdl("C"), TimeDomainOfdmChannel, csi="ls", **_LONG_PREFIX), estimated=True, scalar=False
    ),
    "time-tdla-perfect": Case(
        _over(_tdl("A"), TimeDomainOfdmChannel, csi="perfect", **_LONG_PREFIX), estimated=False, scalar=False
    ),
    "time-tdlc-2x2-ls": Case(
        _over(
            _tdl("C", **_PAIR),
            TimeDomainOfdmChannel,
            csi="ls",
            transmission=_LAYERS,
            pilots=_COMB2,
            **_LONG_PREFIX,
        ),
        estimated=True,
        scalar=False,
        symbols_per_use=2,
    ),
    # imperfect radios
    "awgn-rapp": Case(
        _hardware(RappAmplifier(3.0)),
        estimated=False,
        fades=False,
        scalar=False,
        linear=False,
        distorted=True,
    ),
    "awgn-cfo-phase-noise": Case(
        _hardware(CarrierFrequencyOffset(10.0), PhaseNoise(5.0, loop_bandwidth_hz=1e3)),
        estimated=False,
        fades=False,
        scalar=False,
        distorted=True,
    ),
    "rayleigh-clipping-adc": Case(
        _hardware(Clipping(5.0), Quantization(6), inner=FlatFadingChannel, coherence_symbols=20),
        estimated=False,
        scalar=False,
        linear=False,
        distorted=True,
        smooth=False,
    ),
    "rayleigh-ls-iq": Case(
        _hardware(
            IqImbalance(1.0, 3.0), inner=FlatFadingChannel, coherence_symbols=20, csi="ls", pilots_per_block=2
        ),
        estimated=True,
        scalar=False,
        linear=False,
    ),
    "ofdm-tdlc-1x2-perfect-radio": Case(
        _over(
            _tdl("C", rx=2),
            csi="perfect",
            impairments=(
                Clipping(3.0),
                PhaseNoise(20.0),
                CarrierFrequencyOffset(100.0),
                IqImbalance(0.5, 2.0),
            ),
        ),
        estimated=False,
        scalar=False,
        linear=False,
        distorted=True,
    ),
    "ofdm-tdlc-ls-cfo-phase-noise-timing": Case(
        _ofdm(
            "C",
            csi="ls",
            impairments=(CarrierFrequencyOffset(100.0), PhaseNoise(20.0), TimingOffset(-1e-7)),
        ),
        estimated=True,
        scalar=False,
    ),
    "ofdm-tdlc-ls-interferer": Case(
        _ofdm("C", csi="ls", impairments=(NarrowbandInterferer(20.0, 30e3),)), estimated=True, scalar=False
    ),
    "ofdm-tdlc-ls-amplifier": Case(
        _ofdm("C", csi="ls", impairments=(Clipping(7.0), RappAmplifier(6.0), IqImbalance(0.5, 2.0))),
        estimated=True,
        scalar=False,
        linear=False,
    ),
    "time-tdlc-ls-radio": Case(
        _over(
            _tdl("C"),
            TimeDomainOfdmChannel,
            csi="ls",
            impairments=(RappAmplifier(8.0), CarrierFrequencyOffset(100.0), Quantization(8)),
            **_LONG_PREFIX,
        ),
        estimated=True,
        scalar=False,
        linear=False,
        smooth=False,
    ),
}
