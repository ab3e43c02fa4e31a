"""Capacity and the normal approximation against numbers that can be computed otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import exp1

from channels.types import Csi
from linksim.coding.bounds import (
    block_error_probability,
    capacity_bits,
    ergodic_bits,
    normal_approximation_bits,
    outage_bits,
)


def awgn(snr_db: float, num_uses: int) -> Csi:
    no = torch.tensor([[10 ** (-snr_db / 10)]])
    return Csi(torch.ones(1, num_uses, dtype=torch.complex64), no, torch.zeros_like(no))


def test_capacity_of_awgn_and_of_a_known_fade():
    assert float(capacity_bits(awgn(10.0, 100))) == pytest.approx(100 * math.log2(11), rel=1e-6)
    h = torch.tensor([[1 + 0j, 0j, 2j]])
    csi = Csi(h, torch.tensor([[1.0]]), torch.zeros(1, 1))
    assert float(capacity_bits(csi)) == pytest.approx(1 + 0 + math.log2(5), rel=1e-6)


def test_protocol_budgets_of_a_kodak_picture():
    """Bytes of 768 x 512 pixels at CBR 1/384, 1/96 and 1/24 and 1, 7 and 13 dB, from the table of the protocol."""
    table = {(384, 1): 451, (384, 7): 994, (384, 13): 1685, (96, 1): 1806, (96, 13): 6742, (24, 7): 15900}
    for (ratio, snr_db), expected in table.items():
        assert float(capacity_bits(awgn(snr_db, 3 * 768 * 512 // ratio)) / 8) == pytest.approx(
            expected, abs=1
        )


@pytest.mark.parametrize(("snr_db", "num_uses", "block_error"), [(0.0, 500, 1e-3), (12.0, 2000, 1e-6)])
def test_normal_approximation_is_the_quantile_of_the_information_density(snr_db, num_uses, block_error):
    """Information density of Gaussian inputs of equal power (shell codewords) on complex AWGN: per use
    ln(1+γ) + (1 - ...)/..., whose mean and variance over 200,000 uses must be C and V (4 sigma of the variance:
    2%)."""
    gamma, count = 10 ** (snr_db / 10), 200_000
    rng = np.random.default_rng(1)
    w = (rng.normal(size=count) + 1j * rng.normal(size=count)) / math.sqrt(2)
    x = math.sqrt(gamma)
    density = math.log(1 + gamma) + np.abs(x + w) ** 2 / (1 + gamma) - np.abs(w) ** 2
    mean, variance = density.mean() / math.log(2), density.var() / math.log(2) ** 2
    assert mean == pytest.approx(math.log2(1 + gamma), rel=0.01)
    bits = float(normal_approximation_bits(awgn(snr_db, num_uses), block_error))
    back_off = num_uses * math.log2(1 + gamma) + 0.5 * math.log2(num_uses) - bits
    quantile = {1e-3: 3.0902, 1e-6: 4.7534}[block_error]
    assert back_off == pytest.approx(math.sqrt(num_uses * variance) * quantile, rel=0.02)


def test_normal_approximation_is_below_capacity_and_closes_in():
    shares = []
    for num_uses in (200, 2000, 20000):
        csi = awgn(5.0, num_uses)
        shares.append(float(normal_approximation_bits(csi, 1e-3) / capacity_bits(csi)))
    assert shares == sorted(shares)
    assert 0.8 < shares[0] < 0.95
    assert 0.985 < shares[2] < 1
    assert float(normal_approximation_bits(awgn(-10.0, 64), 1e-6)) == 0
    with pytest.raises(ValueError, match="block_error"):
        normal_approximation_bits(awgn(5.0, 100), 0.7)


def rayleigh_powers(frames: int = 200_000) -> torch.Tensor:
    """|h|² of frames with one Rayleigh fade each."""
    return torch.from_numpy(np.random.default_rng(2).exponential(size=(frames, 1)))


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_ergodic_capacity_of_rayleigh_fading(snr_db):
    """E log2(1 + snr·|h|²) = e^(1/snr)·E1(1/snr)/ln 2; 200,000 fades, 4 sigma with Var C < 5 bits²."""
    snr = 10 ** (snr_db / 10)
    expected = math.exp(1 / snr) * exp1(1 / snr) / math.log(2)
    measured = ergodic_bits(rayleigh_powers(), 1 / snr, 1000) / 1000
    assert abs(measured - expected) < 4 * math.sqrt(5 / 200_000)
    assert measured < math.log2(1 + snr), "Jensen"


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5])
def test_outage_capacity_of_rayleigh_fading(probability):
    """log2(1 - snr·ln(1 - ε)): 200,000 fades, so ε itself is met within 4·sqrt(ε(1-ε)/N)."""
    snr, powers = 10.0, rayleigh_powers()
    rate = outage_bits(powers, 1 / snr, 1, probability)
    met = 1 - math.exp(-(2**rate - 1) / snr)
    assert abs(met - probability) < 4 * math.sqrt(probability * (1 - probability) / 200_000)


def test_finite_blocklength_outage_is_quasi_static_outage_and_awgn_in_the_limits():
    """Without fading: the normal approximation. With slow fading: within 1% of the outage capacity at n =
    100,000 (Yang et al. 2014: dispersion vanishes), and below it at n = 200.
    """
    one = torch.ones(1, 1)
    expected = float(normal_approximation_bits(awgn(5.0, 500), 1e-3))
    assert outage_bits(one, 10**-0.5, 500, 1e-3, finite_blocklength=True) == pytest.approx(expected, rel=1e-6)
    assert ergodic_bits(one, 10**-0.5, 500, 1e-3) == pytest.approx(expected, rel=1e-6)
    powers = rayleigh_powers(20_000)
    for num_uses, tolerance in ((200, 0.2), (100_000, 0.01)):
        capacity = outage_bits(powers, 0.1, num_uses, 0.05)
        finite = outage_bits(powers, 0.1, num_uses, 0.05, finite_blocklength=True)
        assert finite == pytest.approx(capacity, rel=tolerance)


@pytest.mark.parametrize("num_uses", [100, 200, 1000])
@pytest.mark.parametrize("probability", [0.01, 0.1])
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_finite_blocklength_is_never_above_the_capacity_of_the_same_fades(num_uses, probability, snr_db):
    """Slow Rayleigh fading, the same 2,000 fades in both, so without tolerance. At 10 dB, ε = .01 and n = 1000 the
    normal approximation alone says 115 bits, the outage capacity 110."""
    no, powers = 10 ** (-snr_db / 10), rayleigh_powers(2_000)
    capacity = outage_bits(powers, no, num_uses, probability)
    finite = outage_bits(powers, no, num_uses, probability, finite_blocklength=True)
    assert 0 <= finite <= capacity
    assert ergodic_bits(powers, no, num_uses, probability) <= ergodic_bits(powers, no, num_uses)
    csi = Csi(
        powers.sqrt().to(torch.complex64).expand(-1, num_uses)[:50],
        torch.full((50, 1), no),
        torch.zeros(50, 1),
    )
    assert bool((normal_approximation_bits(csi, probability) <= capacity_bits(csi)).all())


def test_block_error_probability_inverts_the_normal_approximation():
    csi = awgn(7.0, 800)
    for epsilon in (1e-4, 1e-2, 0.3):
        bits = float(normal_approximation_bits(csi, epsilon))
        assert float(block_error_probability(csi, bits)) == pytest.approx(epsilon, rel=1e-6)
