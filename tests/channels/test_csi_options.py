"""What a receiver measures, assumes and is told: noise, statistics, reference signals, hardware."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.special import j0

from channels.antennas.transmission import Precoding, Transmission
from channels.flat.fading import FlatFadingChannel
from channels.flat.interleaving import InterleavedChannel, permutation
from channels.hardware.interferer import NarrowbandInterferer
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise, TimingOffset
from channels.models.base import ExponentialCovariance, RobustCovariance
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel

from sionna.phy import SPEED_OF_LIGHT

SEEDS = [101 * i + 7 for i in range(40)]
USES = 768  # a slot of the default grid


def _model(spread: float = 300e-9, speed: float = 1.0, **antennas) -> TdlModel:
    return TdlModel(
        "C", delay_spread_s=spread, carrier_hz=3.5e9, speed_mps=speed, precision="double", **antennas
    )


def _channel(model: TdlModel | None = None, **arguments) -> OfdmChannel:
    return OfdmChannel(model or _model(), precision="double", **arguments)


def _symbols(uses: int = USES) -> torch.Tensor:
    gen = torch.Generator().manual_seed(5)
    signs = torch.randint(0, 2, (2, len(SEEDS), uses), generator=gen).double() * 2 - 1
    return torch.complex(signs[0], signs[1]) / 2**0.5


def _send(channel, snr_db: float, uses: int = USES):
    return channel(_symbols(uses), torch.full((len(SEEDS),), snr_db, dtype=torch.float64), SEEDS)


@pytest.mark.parametrize("snr_db", [0.0, 15.0, 30.0])
def test_measured_noise_is_that_of_the_channel(snr_db):
    """40 slots of 128 pilots: relative standard deviation sqrt(2.5 / 5120) = 2.2%, 4 sigma are 9%; at 30 dB
    what the channel's own curvature leaves adds a few percent."""
    measured = _send(_channel(noise="estimated"), snr_db).csi.no
    true = 10 ** (-snr_db / 10) + _channel().interference
    assert float(measured.mean()) == pytest.approx(true, rel=0.12)
    assert float(measured.std()) > 0.02 * true, "a measurement, one per image"


def test_measured_noise_holds_an_interferer_that_nobody_told_of():
    """A tone 10 dB below the signal on one of 64 subcarriers: second differences of three pilots see it."""
    tone = NarrowbandInterferer(10.0, 60e3)
    quiet = _send(_channel(noise="estimated"), 20.0).csi.no
    disturbed = _send(_channel(noise="estimated", impairments=(tone,)), 20.0).csi.no
    told = _send(_channel(impairments=(tone,)), 20.0).csi.no
    assert float(disturbed.mean()) > 3 * float(quiet.mean())
    assert float(told.mean()) == pytest.approx(0.01, rel=0.1), "the receiver is told nothing"


def _estimate_error(snr_db: float = 0.0, **arguments) -> float:
    channel = _channel(**arguments)
    h = channel.gain(channel.draw(USES, SEEDS), torch.full((len(SEEDS), 1), 1.0, dtype=torch.float64))
    return float((_send(channel, snr_db).csi.h - h).abs().square().mean())


def test_a_boost_of_three_decibels_halves_the_error_of_least_squares():
    """At 20 dB over a nearly flat channel the error is noise: 40 slots of 64 pilots, 4 sigma are 8%."""
    flat = {"model": _model(10e-9, 0.0), "snr_db": 20.0}
    plain, boosted = (_estimate_error(pilots=Pilots((2, 11), 2, db), **flat) for db in (0.0, 3.0103))
    assert boosted / plain == pytest.approx(0.5, rel=0.08)


def test_lmmse_loses_by_a_wrong_delay_spread_and_says_so_in_its_own_error():
    """The error that an estimator states follows from what it assumes; the true one does not. Matched, both
    agree within 15% (40 slots)."""
    wrong = ExponentialCovariance(delay_spread_s=5e-9, carrier_hz=3.5e9, speed_mps=1.0)
    matched, mismatched = _estimate_error(csi="lmmse"), _estimate_error(csi="lmmse", assumed=wrong)
    assert mismatched > 1.3 * matched
    stated = _send(_channel(csi="lmmse", assumed=wrong), 0.0).csi.err_var
    assert float(stated.mean()) < 0.7 * mismatched
    stated = _send(_channel(csi="lmmse"), 0.0).csi.err_var
    assert float(stated.mean()) == pytest.approx(matched, rel=0.15)


def test_lmmse_filters_that_are_kept_are_those_of_the_noise():
    """One operator at two SNRs in turn gives what two operators give."""
    one = _channel(csi="lmmse")
    for snr_db in (0.0, 20.0, 0.0):
        assert torch.equal(_send(one, snr_db).csi.h, _send(_channel(csi="lmmse"), snr_db).csi.h)


def test_precoded_gain_has_the_power_that_estimators_count_with():
    """Four transmit antennas, one stream: the mean power of its gain is above that of one antenna by most of
    6 dB, within 15% of what was measured on other draws (40 against 64)."""
    channel = _channel(
        _model(30e-9, num_tx_antennas=4),
        transmission=Transmission("svd", 1, Precoding()),
        pilots=Pilots((2, 11)),
    )
    h = channel.gain(channel.draw(USES, SEEDS), torch.ones(len(SEEDS), 1, dtype=torch.float64))
    (counted,) = channel.receiver.statistics.powers[0].tolist()
    assert 2.0 < counted < 4.0
    assert float(h.abs().square().mean()) == pytest.approx(counted, rel=0.2)


def test_interleaving_spreads_a_fade_over_the_whole_frame():
    """Of 48 symbols that one fade meets in order, interleaved ones meet every one of the 16 fades' blocks but
    a few; both ends agree on the order, which is a permutation."""
    inner = FlatFadingChannel(coherence_symbols=48, precision="double")
    order, inverse = permutation(USES)
    assert torch.equal(order.sort().values, torch.arange(USES))
    assert torch.equal(order[inverse], torch.arange(USES))
    plain, spread = _send(inner, 20.0), _send(InterleavedChannel(inner), 20.0)
    assert plain.csi.h[0, :48].abs().unique().numel() == 1
    assert spread.csi.h[0, :48].abs().unique().numel() > 10
    assert torch.equal(spread.csi.h[0].abs().sort().values, plain.csi.h[0].abs().sort().values)


# ------------------------------------------------------------------------------------ robust, two ports of NR

_TWO_PORTS = {"pilots": Pilots((2, 11), 2, ports=(0, 1)), "transmission": Transmission("multiplexing")}


def _nr(profile: str, doppler_hz: float, spacing_hz: float, layers: int, **arguments) -> OfdmChannel:
    """120 subcarriers, DM-RS in symbols 2 and 11, two receive antennas; robust LMMSE with measured noise."""
    model = TdlModel(
        profile,
        carrier_hz=3.5e9,
        speed_mps=doppler_hz / 3.5e9 * SPEED_OF_LIGHT,
        num_rx_antennas=2,
        num_tx_antennas=layers,
    )
    usual = {"csi": "lmmse", "assumed": "robust", "noise": "estimated", "pilots": Pilots((2, 11), 2, 3.0)}
    grid = {"num_subcarriers": 120, "subcarrier_spacing_hz": spacing_hz}
    return OfdmChannel(model, **grid, **{**usual, **(_TWO_PORTS if layers == 2 else {}), **arguments})


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("profile", ["A30", "B100", "C300"])
@pytest.mark.parametrize("snr_db", [0.0, 15.0, 30.0])
def test_a_robust_receiver_measures_the_noise_whatever_the_profile(snr_db, profile, layers):
    """24 images of 240 or 480 pilots, half of whose modes count: standard deviation sqrt(2/5760) = 2%; within 8%, of
    which 3% are what the longest profile leaves at 30 dB. Second differences, which the curvature of the assumed
    exponential profile is taken off, measure .6 of it at 15 dB and two layers over TDL-C300."""
    channel = _nr(profile, 10.0, 30e3, layers)
    measured = float(_random_qpsk(channel, snr_db).csi.no.mean())
    assert measured == pytest.approx(10 ** (-snr_db / 10) + channel.interference, rel=0.08)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("profile", "doppler_hz"), [("A30", 10.0), ("B100", 400.0), ("C300", 100.0)])
@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 15.0])
def test_robust_statistics_tell_the_error_of_channels_that_they_do_not_know(
    snr_db, profile, doppler_hz, layers
):
    """At 30 kHz, 48 images: told over actual |y - h·x|² within .85 to 1.15, known noise or not."""
    ratio = told_over_actual(_nr(profile, doppler_hz, 30e3, layers), snr_db)
    assert 0.85 < ratio < 1.15


def test_robust_statistics_follow_from_the_subcarrier_spacing():
    """1 / (1 + j2π·τ·Δf) with τ an eighth of the prefix 144/2048/Δf, whatever Δf is; J0 up to Δf/75."""
    for spacing_hz in (15e3, 30e3, 120e3):
        covariance = RobustCovariance(spacing_hz)
        expected = 1 / (1 + 2j * math.pi * 144 / 2048 / 8)
        assert complex(covariance.frequency_covariance(2, spacing_hz)[1, 0]) == pytest.approx(expected)
        symbol_s = (1 + 144 / 2048) / spacing_hz
        assert float(covariance.time_covariance(2, symbol_s)[1, 0].real) == pytest.approx(
            j0(2 * math.pi / 75 * (1 + 144 / 2048))
        )
    with pytest.raises(ValueError, match="assumed: unknown choice, got 'sturdy'"):
        _channel(csi="lmmse", assumed="sturdy")


def test_two_ports_are_estimated_as_well_as_two_combs():
    """LMMSE knows that both gains are smooth: 48 images at 10 dB, the same noise, error variances within 3%; the pairs
    that LS averages have half the noise and a little of the other stream."""
    told = {}
    for csi in ("ls", "lmmse"):
        for ports in ((0, 2), (0, 1)):
            pilots = Pilots((2, 11), 2, ports=ports)
            channel = _nr("C300", 100.0, 15e3, 2, pilots=pilots, csi=csi, assumed=None, noise="known")
            told[csi, ports] = float(_random_qpsk(channel, 10.0).csi.err_var.mean())
    assert told["lmmse", (0, 1)] == pytest.approx(told["lmmse", (0, 2)], rel=0.03)
    assert told["lmmse", (0, 1)] < 0.7 * told["ls", (0, 1)] < 0.7 * 0.8 * told["ls", (0, 2)]


def _random_qpsk(channel: OfdmChannel, snr_db: float, images: int = 24):
    slot = channel.uses(1).pilot
    uses = next(n for n in itertools.count(1) if channel.uses(n + 1).pilot > slot)  # symbols of a slot
    gen = torch.Generator().manual_seed(5)
    signs = torch.randint(0, 2, (2, images, uses), generator=gen) * 2.0 - 1
    return channel(torch.complex(*signs) / 2**0.5, torch.full((images,), snr_db), range(images))


# ------------------------------------------------------------------------------- what is told, and what happens


def told_over_actual(channel: OfdmChannel, snr_db: float = 40.0, images: int = 48) -> float:
    """Mean of no + err_var over mean |y - h_hat·x|² of QPSK, over all images."""
    gen = torch.Generator().manual_seed(5)
    signs = torch.randint(0, 2, (2, images, 768), generator=gen) * 2.0 - 1
    x = torch.complex(signs[0], signs[1]) / 2**0.5
    received = channel(x, torch.full((images,), snr_db), range(images))
    error = (received.y - received.csi.h * x).abs().square().mean()
    return float((received.csi.no + received.csi.err_var).expand(x.shape).mean() / error)


@pytest.mark.parametrize("csi", ["ls", "lmmse"])
@pytest.mark.parametrize(
    ("fault", "worst"),
    [
        (TimingOffset(-1e-6), 1.1),
        (TimingOffset(-3e-6), 1.1),
        (CarrierFrequencyOffset(50.0), 1.2),
        (CarrierFrequencyOffset(50.0, uniform=True), 1.2),
        (PhaseNoise(5.0), 1.4),
        (PhaseNoise(50.0, loop_bandwidth_hz=1e3), 1.4),
        (PhaseNoise(2e3, loop_bandwidth_hz=2e4), 1.5),
        (PhaseNoise(2e4, loop_bandwidth_hz=1e6), 1.5),
    ],
    ids=str,
)
def test_estimators_know_how_offsets_and_phase_noise_turn_the_gains(csi, fault, worst):
    """48 images at 40 dB over TDL-A, 100 ns. An estimator that takes the gains for still tells LMMSE a
    ten-thousandth of the error at an early window of 3 us, and a quarter of it under slow phase noise; one that
    counts what turns within a symbol twice tells three to five times the error under fast phase noise."""
    model = TdlModel("A", delay_spread_s=100e-9, carrier_hz=3.5e9)
    ratio = told_over_actual(OfdmChannel(model, csi=csi, impairments=[fault]))
    assert 1 / worst < ratio < worst


@pytest.mark.parametrize("kind", [OfdmChannel, TimeDomainOfdmChannel])
def test_precoding_gains_interference_too(kind):
    """One stream from four antennas at 140 m/s, 48 images: what Doppler spills grows with the power that arrives,
    so that without it the receiver is told half of what happens."""
    model = TdlModel("A", delay_spread_s=30e-9, carrier_hz=3.5e9, speed_mps=140.0, num_tx_antennas=4)
    beam = Transmission("svd", 1, Precoding())
    ratio = told_over_actual(kind(model, csi="perfect", transmission=beam))
    assert 0.85 < ratio < 1.15
