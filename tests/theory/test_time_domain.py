"""The waveform sample by sample against one multiplication per resource element."""

from __future__ import annotations

import math

import pytest
import torch

from channels.antennas.transmission import Transmission
from channels.hardware.oscillator import TimingOffset
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.interference import interference_power
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel
from linksim.jscc.layout import SymbolLayout

SEEDS = [3, 8, 21, 34, 55, 89]
USES = 1536  # two whole slots
NO_NOISE = 1e-12
SPACING_HZ, SUBCARRIERS = 15e3, 64


def _model(speed: float = 0.0, spread: float = 300e-9, antennas: int = 1) -> TdlModel:
    return TdlModel(
        "C",
        delay_spread_s=spread,
        carrier_hz=3.5e9,
        speed_mps=speed,
        num_rx_antennas=antennas,
        num_tx_antennas=antennas,
        precision="double",
    )


def _received(kind, prefix: int, **arguments):
    """Noise-free grids, the gains, and the sent symbols."""
    model, seeds = arguments.pop("model", _model()), arguments.pop("seeds", SEEDS)
    arguments = {"pilots": Pilots((2, 11)), "csi": "perfect", **arguments}
    channel = kind(
        model,
        num_subcarriers=SUBCARRIERS,
        subcarrier_spacing_hz=SPACING_HZ,
        cyclic_prefix_length=prefix,
        precision="double",
        **arguments,
    )
    gen = torch.Generator().manual_seed(1)
    x = SymbolLayout.normalize(torch.randn(len(SEEDS), USES, generator=gen, dtype=torch.complex128))
    draw = channel.draw(USES, seeds)
    no = torch.full((len(SEEDS), 1), NO_NOISE, dtype=torch.float64)
    if kind is OfdmChannel:  # the mean interference is not what is compared
        channel.interference = 0.0
    return channel, draw, channel.propagate(x, draw, no), x


def _error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def _sufficient() -> int:
    longest = float(_model().delays_s.max()) * SPACING_HZ * SUBCARRIERS
    return math.ceil(longest) + 3  # three samples for the interpolation of delays


@pytest.mark.parametrize("antennas", [1, 2])
def test_both_waveforms_agree_to_a_thousandth_with_a_sufficient_prefix(antennas):
    spatial = (
        {} if antennas == 1 else {"transmission": Transmission("multiplexing"), "pilots": Pilots((2, 11), 2)}
    )
    results = []
    for kind in (OfdmChannel, TimeDomainOfdmChannel):
        _, draw, grid, _ = _received(kind, _sufficient(), model=_model(antennas=antennas), **spatial)
        results.append((grid, draw.h))
    (frequency, h), (time, h_time) = results
    assert _error(time, frequency) < 1e-3
    assert _error(h_time, h) < 1e-3


def _spilled(prefix: int, model: TdlModel, seeds: list[int] = SEEDS) -> float:
    """Mean power that is neither h·x nor noise."""
    channel, draw, grid, x = _received(TimeDomainOfdmChannel, prefix, model=model, seeds=seeds)
    received = channel.observe(grid, draw, torch.full((len(SEEDS), 1), NO_NOISE, dtype=torch.float64))
    return float((received.y - received.csi.h * x).abs().square().mean())


def test_a_short_prefix_makes_interference_where_the_long_one_made_none():
    """TDL-C of 2000 ns, whose last path comes 16.6 samples late: the shorter the prefix the more, none with 20
    samples. Of what the frequency domain counts with one and a half samples less (half the interpolation
    filter), within a factor of two: 6 x 2 slots."""
    model = _model(spread=2000e-9)
    short, longer, enough = (_spilled(prefix, model) for prefix in (4, 9, 20))
    assert short > 2 * longer > 100 * enough
    counted = interference_power(model, 1 / SPACING_HZ, 7.5 / (SPACING_HZ * SUBCARRIERS))
    assert 0.5 < longer / counted < 2.0


def test_doppler_within_a_symbol_makes_the_interference_that_the_frequency_domain_counts():
    """At 200 m/s, 2333 Hz over 15 kHz: (2π f_d T)²/24 = 4% of the power, less 4% of it, which falls outside of
    the 64 subcarriers. 8 x 6 images; groups of six have a standard deviation of 23%: 4 sigma are 0.33."""
    model = _model(speed=200.0)
    counted = interference_power(model, 1 / SPACING_HZ, 1.0)
    assert 0.03 < counted < 0.05
    groups = [_spilled(_sufficient(), model, [100 * k + i for i in range(6)]) for k in range(8)]
    assert abs(sum(groups) / len(groups) / counted - 0.96) < 0.33


@pytest.mark.parametrize(("offset_samples", "spills"), [(-1.0, False), (4.0, True)])
def test_a_window_within_the_prefix_only_turns_phases_and_a_late_one_takes_the_next_symbol(
    offset_samples, spills
):
    offset_s = offset_samples / (SPACING_HZ * SUBCARRIERS)
    prefix = _sufficient() + 2
    channel, draw, grid, _ = _received(
        TimeDomainOfdmChannel, prefix, impairments=(TimingOffset(offset_s),), csi="ls"
    )
    received = channel.observe(grid, draw, torch.full((len(SEEDS), 1), NO_NOISE, dtype=torch.float64))
    carrier = torch.arange(SUBCARRIERS, dtype=torch.float64) - SUBCARRIERS // 2
    turn = torch.polar(
        torch.ones(SUBCARRIERS, dtype=torch.float64), 2 * math.pi * carrier * SPACING_HZ * offset_s
    )
    _, _, punctual, _ = _received(TimeDomainOfdmChannel, prefix)
    error = _error(grid, punctual * turn)
    assert (error > 0.05) if spills else (error < 2e-3), error
    assert bool(torch.isfinite(received.y.abs()).all())


def test_gradient_reaches_the_symbols_through_the_samples():
    channel, draw, _, x = _received(TimeDomainOfdmChannel, 5)
    x = x.requires_grad_()
    y = channel.propagate(x, draw, torch.full((len(SEEDS), 1), 0.1, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(y.abs().square().sum(), x)
    assert float(gradient.abs().min()) > 0
