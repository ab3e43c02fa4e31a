"""Uncoded bit error rates against closed form, on AWGN and on Rayleigh fading with perfect CSI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from linksim.coding.qam import Qam

NUM_SYMBOLS = 60_000

# Gray-mapped QAM as a sum of c·Q(sqrt(k·SNR)); Proakis & Salehi, "Digital Communications", 5th ed., sec. 4.3.
TERMS = {2: [(1.0, 1.0)], 4: [(3 / 4, 1 / 5), (2 / 4, 9 / 5), (-1 / 4, 25 / 5)]}


def awgn_ber(order: int, snr: float) -> float:
    return sum(c * norm.sf(math.sqrt(k * snr)) for c, k in TERMS[order])


def rayleigh_ber(order: int, snr: float) -> float:
    """E[Q(sqrt(k·snr·|h|²))] = (1 - sqrt(a / (1 + a))) / 2 with a = k·snr/2."""
    return sum(c * 0.5 * (1 - math.sqrt((k * snr / 2) / (1 + k * snr / 2))) for c, k in TERMS[order])


def measured_errors(channel: ChannelOperator, order: int, snr_db: float) -> tuple[int, int]:
    bits = np.random.default_rng(order).integers(0, 2, (1, NUM_SYMBOLS * order), dtype=np.uint8)
    qam = Qam(order)
    received = channel(qam.modulate(bits), torch.tensor([snr_db]), [20_000 + order])
    return int((qam.decide(equalize(received, "zf")[0]) != bits).sum()), bits.size


def check_ber(channel: ChannelOperator, order: int, snr_db: float, expected: float, samples: int) -> None:
    """4 sigma of a binomial with ``samples`` independent trials."""
    errors, trials = measured_errors(channel, order, snr_db)
    assert abs(errors / trials - expected) < 4 * math.sqrt(expected * (1 - expected) / samples)


@pytest.mark.parametrize("snr_db", [2.0, 6.0, 9.0])
@pytest.mark.parametrize("order", [2, 4])
def test_awgn_ber_equals_closed_form(order, snr_db):
    expected = awgn_ber(order, 10 ** (snr_db / 10))
    check_ber(AwgnChannel(), order, snr_db, expected, samples=NUM_SYMBOLS * order)


@pytest.mark.parametrize("snr_db", [5.0, 15.0])
@pytest.mark.parametrize("order", [2, 4])
def test_rayleigh_ber_equals_closed_form(order, snr_db):
    """One fade per symbol; the bits of a symbol share it, so symbols count as samples."""
    expected = rayleigh_ber(order, 10 ** (snr_db / 10))
    check_ber(FlatFadingChannel(coherence_symbols=1), order, snr_db, expected, samples=NUM_SYMBOLS)


def test_reference_point_of_uncoded_qpsk():
    """Uncoded QPSK at Eb/N0 = 5.0 dB (Es/N0 is 3.01 dB more): 5.969e-3 in a printed simulation."""
    assert awgn_ber(2, 2 * 10**0.5) == pytest.approx(5.969e-3, rel=5e-3)


class DoubleNoise(AwgnChannel):
    def propagate(self, x, draw, no):
        return super().propagate(x, draw, 2 * no)


class NoNoise(AwgnChannel):
    def propagate(self, x, draw, no):
        return x.clone()


class NoPhase(FlatFadingChannel):
    """Fading of the modulus only: a common mistake, invisible to a coherent receiver but not to this one."""

    def propagate(self, x, draw, no):
        magnitude = draw.h.abs().to(draw.h.dtype)
        return super().propagate(x, type(draw)(magnitude, draw.noise, draw.pilot_noise), no)


class NormalisedFading(FlatFadingChannel):
    """Every fade scaled to |h| = 1, as Sionna's normalize_channel does on block fading."""

    def draw(self, num_symbols, seeds):
        draw = super().draw(num_symbols, seeds)
        return type(draw)(draw.h / draw.h.abs(), draw.noise, draw.pilot_noise)


@pytest.mark.parametrize("mutant", [DoubleNoise, NoNoise])
def test_awgn_check_fails_on(mutant):
    with pytest.raises(AssertionError):
        check_ber(mutant(), 4, 6.0, awgn_ber(4, 10**0.6), samples=NUM_SYMBOLS * 4)


@pytest.mark.parametrize("mutant", [NoPhase, NormalisedFading])
def test_rayleigh_check_fails_on(mutant):
    with pytest.raises(AssertionError):
        check_ber(mutant(coherence_symbols=1), 4, 15.0, rayleigh_ber(4, 10**1.5), samples=NUM_SYMBOLS)


def test_flat_noise_variance_after_equalising_a_fade_costs_coded_errors():
    """The mistake of dropping no_eff: the LLRs of deep fades are as confident as those of good symbols."""
    channel, order = FlatFadingChannel(coherence_symbols=1), 4
    bits = np.random.default_rng(3).integers(0, 2, (1, NUM_SYMBOLS * order), dtype=np.uint8)
    qam = Qam(order)
    x_hat, no_eff = equalize(channel(qam.modulate(bits), torch.tensor([12.0]), [5]), "zf")
    flat = torch.full_like(no_eff, 10**-1.2)

    def information(llr: np.ndarray) -> float:
        """Mean mutual information 1 - E log2(1 + exp(-L)) of a bit with its own LLR."""
        signed = np.where(bits, -llr, llr).astype(np.float64)
        return float(1 - np.logaddexp(0, -signed).mean() / math.log(2))

    assert information(qam.demodulate(x_hat, no_eff)) > 0.6
    assert information(qam.demodulate(x_hat, flat)) < 0.5


@pytest.mark.parametrize("order", [6, 8])
def test_counted_expression_of_larger_qam_is_met_at_low_snr(order):
    """64- and 256-QAM at 4 dB against the expression of benchmarks/plot_ber_vs_snr.py, N = bits, 4 sigma."""
    from benchmarks.plot_ber_vs_snr import theory

    check_ber(AwgnChannel(), order, 4.0, theory(order, 10**0.4, "awgn"), samples=NUM_SYMBOLS * order)


@pytest.mark.parametrize("order", [2, 4])
def test_counted_expression_equals_the_textbook(order):
    from benchmarks.plot_ber_vs_snr import theory

    for snr in (0.5, 3.0, 20.0):
        assert theory(order, snr, "awgn") == pytest.approx(awgn_ber(order, snr), rel=1e-9)
        assert theory(order, snr, "rayleigh") == pytest.approx(rayleigh_ber(order, snr), rel=1e-9)
