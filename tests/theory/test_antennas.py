"""Several antennas against closed forms: capacity, combining, diversity, precoding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from channels.antennas.transmission import Precoding, Transmission
from channels.equalization import equalize
from channels.models.cdl import CdlModel
from channels.models.panel import Panel
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from linksim.coding.qam import Qam

FRAMES = 1500
SEEDS = [7919 * i + 1 for i in range(FRAMES)]
# one OFDM symbol of two subcarriers: every image is one fade
GRID = {"num_subcarriers": 2, "num_ofdm_symbols": 2, "pilots": Pilots((0,), 2), "csi": "perfect"}


def _flat(rx: int, tx: int, **arguments) -> OfdmChannel:
    """Independent Rayleigh fades: all taps of the profile at once."""
    model = TdlModel(
        "A", delay_spread_s=0.0, carrier_hz=3.5e9, num_rx_antennas=rx, num_tx_antennas=tx, precision="double"
    )
    return OfdmChannel(model, precision="double", **{**GRID, **arguments})


def _telatar(antennas: int, snr: float) -> float:
    """Ergodic capacity of independent n x n Rayleigh fading, equal powers, in bits per use.

    Source: Telatar, Eur. Trans. Telecommun. 10 (1999), theorem 2.
    """

    def density(value: float) -> float:
        return sum(float(special.eval_laguerre(k, value)) ** 2 for k in range(antennas)) * math.exp(-value)

    return integrate.quad(lambda v: math.log2(1 + snr * v / antennas) * density(v), 0, 80, limit=200)[0]


def _no(channel: OfdmChannel, snr_db: float) -> torch.Tensor:
    return torch.full((FRAMES, 1), 10 ** (-snr_db / 10), dtype=channel.dtype)


@pytest.mark.parametrize("antennas", [2, 4])
@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_capacity_of_independent_rayleigh_is_telatars(antennas, snr_db):
    """1500 fades; the standard deviation of log det over fades is taken from the sample: 4 sigma."""
    channel = _flat(
        antennas,
        antennas,
        transmission=Transmission("multiplexing"),
        pilots=Pilots((0,), 4),
        num_subcarriers=4,
    )
    h = channel.draw(1, SEEDS).h[:, 0, :, :, 0, 0]
    snr = 10 ** (snr_db / 10)
    gram = torch.eye(antennas) + snr / antennas * h @ h.mH
    bits = torch.linalg.slogdet(gram).logabsdet / math.log(2)
    expected = _telatar(antennas, snr)
    assert abs(float(bits.mean()) - expected) < 4 * float(bits.std()) / FRAMES**0.5
    assert abs(float(bits.mean()) - antennas * math.log2(1 + snr)) > 0.2  # not that of parallel AWGN


def test_svd_with_perfect_knowledge_reaches_the_mutual_information_and_detection_alone_does_not():
    """Sum of log2(1 + SINR) over the streams of every fade against log det: equal along the directions of the
    channel, less with a stream per antenna (LMMSE without successive cancellation)."""
    no = 10 ** (-1.0)
    along = Transmission("svd", 2, Precoding(subband=1))
    svd, plain = _flat(2, 2, transmission=along), _flat(2, 2, transmission=Transmission("multiplexing"))
    draw = plain.draw(4, SEEDS)
    h = draw.h[:, 0, :, :, 1, 0]
    full = torch.linalg.slogdet(torch.eye(2) + h @ h.mH / (2 * no)).logabsdet / math.log(2)

    def reached(channel: OfdmChannel) -> torch.Tensor:
        gain = channel.gain(channel.draw(4, SEEDS), _no(channel, 10.0))
        noise = channel.noise_variance(_no(channel, 10.0))
        return torch.log2(1 + gain.abs().square() / noise)[:, :2].sum(1)

    assert torch.allclose(reached(svd), full, rtol=2e-3)
    assert bool((reached(plain) <= full + 1e-6).all())
    assert float((full - reached(plain)).mean()) > 0.3


@pytest.mark.parametrize("antennas", [2, 4])
def test_combined_power_is_gamma_distributed(antennas):
    """Σ|h|² over N independent Rayleigh antennas is Gamma(N, 1): Kolmogorov-Smirnov over 1500 fades."""
    channel = _flat(antennas, 1, pilots=Pilots((0,)))
    power = channel.gain(channel.draw(1, SEEDS), _no(channel, 10.0))[:, 0].abs().square()
    assert stats.kstest(power.numpy(), stats.gamma(antennas).cdf).pvalue > 1e-4
    assert stats.kstest(power.numpy(), stats.gamma(antennas - 1).cdf).pvalue < 1e-10


def _qpsk_error_rate(branches: int, snr: float) -> float:
    """QPSK over Rayleigh branches of mean SNR per bit ``snr`` each, maximum-ratio combined (Proakis 14.4-15)."""
    mu = math.sqrt(snr / (1 + snr))
    return ((1 - mu) / 2) ** branches * sum(
        math.comb(branches - 1 + k, k) * ((1 + mu) / 2) ** k for k in range(branches)
    )


@pytest.mark.parametrize(
    ("rx", "tx", "branches", "share"), [(1, 1, 1, 1.0), (2, 1, 2, 1.0), (1, 2, 2, 0.5), (2, 2, 4, 0.5)]
)
def test_error_rate_of_diversity_follows_the_closed_form(rx, tx, branches, share):
    """Combining and Alamouti (half the power per antenna) at 6 dB: 1500 fades x 4 bits; N is the number of
    fades."""
    transmission = Transmission("alamouti") if tx == 2 else Transmission()
    channel = _flat(rx, tx, transmission=transmission)
    qam = Qam(2, torch.device("cpu"))
    bits = np.random.default_rng(1).integers(0, 2, (FRAMES, 4), dtype=np.uint8)
    x = qam.modulate(bits)
    received = channel(x, torch.full((FRAMES,), 6.0), SEEDS)
    x_hat, no_eff = equalize(received, "zf")
    decided = (qam.demodulate(x_hat.to(torch.complex64), no_eff.float()) > 0).reshape(FRAMES, 4)
    rates = [float((decided != bits).mean()), float(((~decided) != bits).mean())]
    expected = _qpsk_error_rate(branches, share * 10**0.6 / 2)
    rate = min(rates)  # the sign of the LLR is a convention
    assert abs(rate - expected) < 4 * (expected * (1 - expected) / FRAMES) ** 0.5, (rate, expected)


def test_precoding_gains_less_when_the_transmitter_knows_less():
    """Mean beamforming gain of one stream over 4 x 1 antennas at 1500 fades: perfect Σ|h|² = 4; 4 bits reach
    between a random direction (1) and that; with a report of 4 slots ago at 30 m/s (Doppler period of 2.9 ms)
    nearly nothing is left."""

    def gain(speed: float, **precoding) -> float:
        model = TdlModel("A", delay_spread_s=0.0, carrier_hz=3.5e9, speed_mps=speed, num_tx_antennas=4)
        channel = OfdmChannel(model, transmission=Transmission("svd", 1, Precoding(**precoding)), **GRID)
        h = channel.gain(channel.draw(1, SEEDS), torch.full((FRAMES, 1), 0.1))
        return float(h[:, 0].abs().square().mean())

    perfect, quantised = gain(0.0), gain(0.0, csit="quantised", bits=4)
    late = gain(30.0, delay_slots=20)
    tolerance = 4 * 2 / FRAMES**0.5
    assert abs(perfect - 4) < tolerance
    assert 2.2 < quantised < 3.4
    assert 0.8 < late < 1.5


def test_spatial_correlation_is_exponential():
    """E[h_i h_j*] = 0.7^|i-j| of four receive antennas: 4 sigma of 1500 fades."""
    model = TdlModel("A", delay_spread_s=0.0, carrier_hz=3.5e9, num_rx_antennas=4, rx_correlation=0.7)
    channel = OfdmChannel(model, **{**GRID, "pilots": Pilots((0,))})
    h = channel.draw(1, SEEDS).h[:, 0, :, 0, 0, 0]
    covariance = (h[:, :, None] * h[:, None, :].conj()).mean(0)
    place = torch.arange(4)
    expected = 0.7 ** (place[:, None] - place[None, :]).abs().float()
    assert float((covariance - expected).abs().max()) < 4 / FRAMES**0.5


def test_close_antennas_of_a_clustered_channel_are_correlated():
    """CDL-E has a line of sight: neighbours half a wavelength apart see nearly the same fade; CDL-A does not."""

    def correlation(profile: str) -> float:
        model = CdlModel(profile, delay_spread_s=0.0, carrier_hz=3.5e9, receiver=Panel(columns=2))
        channel = OfdmChannel(model, **{**GRID, "pilots": Pilots((0,))})
        h = channel.draw(1, SEEDS[:500]).h[:, 0, :, 0, 0, 0]
        power = h.abs().square().mean(0)
        return float((h[:, 0] * h[:, 1].conj()).mean().abs() / (power[0] * power[1]).sqrt())

    assert correlation("E") > 0.85
    assert correlation("A") < 0.6
