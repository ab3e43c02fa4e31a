"""Every channel operator, in small: a new operator adds one line here and gets the whole contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from channels.awgn import AwgnChannel
from channels.base import ChannelOperator, Precision
from channels.delay_models import TdlModel
from channels.flat_fading import FlatFadingChannel
from channels.ofdm import OfdmChannel


@dataclass(frozen=True)
class Case:
    """An operator under test.

    Args:
        make: constructor.
        estimated: CSI comes from pilots.
        fades: gains vary from draw to draw.
    """

    make: Callable[[Precision], ChannelOperator]
    estimated: bool
    fades: bool = True


def _flat(**arguments) -> Callable[[Precision], ChannelOperator]:
    return lambda precision: FlatFadingChannel(precision=precision, **arguments)


def _ofdm(profile: str, speed: float = 3.0, **arguments) -> Callable[[Precision], ChannelOperator]:
    def make(precision: Precision) -> ChannelOperator:
        spread = 100e-9 if len(profile) == 1 else None
        model = TdlModel(
            profile, delay_spread_s=spread, carrier_hz=3.5e9, speed_mps=speed, precision=precision
        )
        grid = {"num_subcarriers": 24, "num_ofdm_symbols": 6, "pilot_symbols": (1, 4), **arguments}
        return OfdmChannel(model, precision=precision, **grid)

    return make


OPERATORS: dict[str, Case] = {
    "awgn": Case(lambda precision: AwgnChannel(precision=precision), estimated=False, fades=False),
    "rayleigh": Case(_flat(), estimated=False),
    "rayleigh-blocks": Case(_flat(coherence_symbols=20), estimated=False),
    "rayleigh-ls": Case(_flat(coherence_symbols=20, csi="ls", pilots_per_block=2), estimated=True),
    "rayleigh-lmmse": Case(_flat(coherence_symbols=20, csi="lmmse", pilots_per_block=1), estimated=True),
    "rician": Case(_flat(coherence_symbols=20, k_factor_db=3.0), estimated=False),
    "ofdm-tdla-perfect": Case(_ofdm("A", csi="perfect"), estimated=False),
    "ofdm-tdlb-perfect-no-pilots": Case(_ofdm("B", csi="perfect", pilot_symbols=()), estimated=False),
    "ofdm-tdlc-ls": Case(_ofdm("C", csi="ls"), estimated=True),
    "ofdm-tdlc-ls-nearest": Case(_ofdm("C", csi="ls", interpolation="nearest"), estimated=True),
    "ofdm-tdlb100-ls": Case(_ofdm("B100", csi="ls"), estimated=True),
    "ofdm-tdlc-lmmse": Case(_ofdm("C", csi="lmmse"), estimated=True),
    "ofdm-tdld-guards": Case(
        _ofdm("D", 30.0, csi="ls", guard_subcarriers=(2, 3), dc_null=True), estimated=True
    ),
    "ofdm-tdle-lmmse-guards": Case(
        _ofdm("E", csi="lmmse", guard_subcarriers=(2, 3), dc_null=True), estimated=True
    ),
}
