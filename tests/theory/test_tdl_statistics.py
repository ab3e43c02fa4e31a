"""TDL channels against the tables of TR 38.901 and against Rayleigh fading."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import j0
from scipy.stats import kstest, rice

from channels.models.base import exponential_correlation
from channels.models.tdl import TdlModel
from channels.runtime.sionna_seeding import sionna_rng

from sionna.phy.channel.tr38901 import TDL
from sionna.phy.ofdm import tdl_freq_cov_mat

NUM_DRAWS = 3000
DELAY_SPREAD_S = 100e-9
CARRIER_HZ = 3.5e9

# TR 38.901, tables 7.7.2-1 to 7.7.2-5: normalised delay and power [dB] of every tap.
TABLES = {
    "A": (
        "0 -13.4 0.3819 0 0.4025 -2.2 0.5868 -4 0.4610 -6 0.5375 -8.2 0.6708 -9.9 "
        "0.5750 -10.5 0.7618 -7.5 1.5375 -15.9 1.8978 -6.6 2.2242 -16.7 2.1718 -12.4 2.4942 -15.2 "
        "2.5119 -10.8 3.0582 -11.3 4.0810 -12.7 4.4579 -16.2 4.5695 -18.3 4.7966 -18.9 5.0066 -16.6 "
        "5.3043 -19.9 9.6586 -29.7"
    ),
    "B": (
        "0 0 0.1072 -2.2 0.2155 -4 0.2095 -3.2 0.2870 -9.8 0.2986 -1.2 0.3752 -3.4 "
        "0.5055 -5.2 0.3681 -7.6 0.3697 -3 0.5700 -8.9 0.5283 -9 1.1021 -4.8 1.2756 -5.7 "
        "1.5474 -7.5 1.7842 -1.9 2.0169 -7.6 2.8294 -12.2 3.0219 -9.8 3.6187 -11.4 4.1067 -14.9 "
        "4.2790 -9.2 4.7834 -11.3"
    ),
    "C": (
        "0 -4.4 0.2099 -1.2 0.2219 -3.5 0.2329 -5.2 0.2176 -2.5 0.6366 0 0.6448 -2.2 "
        "0.6560 -3.9 0.6584 -7.4 0.7935 -7.1 0.8213 -10.7 0.9336 -11.1 1.2285 -5.1 1.3083 -6.8 "
        "2.1704 -8.7 2.7105 -13.2 4.2589 -13.9 4.6003 -13.9 5.4902 -15.8 5.6077 -17.1 6.3065 -16 "
        "6.6374 -15.7 7.0427 -21.6 8.6523 -22.8"
    ),
    "D": (
        "0 -13.5 0.035 -18.8 0.612 -21 1.363 -22.8 1.405 -17.9 1.804 -20.1 2.596 -21.9 1.775 -22.9 "
        "4.042 -27.8 7.937 -23.6 9.424 -24.8 9.708 -30 12.525 -27.7"
    ),
    "E": (
        "0 -22.03 0.5133 -15.8 0.5440 -18.1 0.5630 -19.8 0.5440 -22.9 0.7112 -22.4 1.9092 -18.6 "
        "1.9293 -20.8 1.9589 -22.6 2.6426 -22.3 3.7136 -25.6 5.4524 -20.2 12.0034 -29.8 20.6519 -29.2"
    ),
}
LINE_OF_SIGHT_DB = {"D": -0.2, "E": -0.03}  # on top of the first tap
K_DB = {"D": 13.3, "E": 22.0}  # of the first tap
SPEEDS_MPS = {3.0: 1e3, 30.0: 14e3, 120.0: 14e3}  # and rates [Hz] at which 40 steps show several zeros of J0
NUM_SINUSOIDS = 20  # a tap's law is within 0.01 of Gaussian (Kolmogorov-Smirnov)

# TS 38.101-4, annex B.2.1: delay [ns] and power [dB] of every tap.
FIXED = {
    "A30": "0 -15.5 10 0 15 -5.1 20 -5.1 25 -9.6 50 -8.2 65 -13.1 75 -11.5 105 -11.0 135 -16.2 150 -16.6 290 -26.2",
    "B100": "0 0 10 -2.2 20 -.6 30 -.6 35 -.3 45 -1.2 55 -5.9 120 -2.2 170 -.8 245 -6.3 330 -7.5 480 -7.1",
    "C300": "0 -6.9 65 0 70 -7.7 190 -2.5 195 -2.4 200 -9.9 240 -8.0 325 -6.6 520 -7.1 1045 -13 1510 -14.2 2595 -16",
}


def table(profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Delays [s] and powers (linear, sum 1) by rising delay."""
    values = np.array({**TABLES, **FIXED}[profile].split(), float).reshape(-1, 2)
    values = values[np.argsort(values[:, 0], kind="stable")]
    powers = 10 ** (values[:, 1] / 10)
    powers[0] += 10 ** (LINE_OF_SIGHT_DB[profile] / 10) if profile in LINE_OF_SIGHT_DB else 0.0
    unit = 1e-9 if profile in FIXED else DELAY_SPREAD_S
    return values[:, 0] * unit, powers / powers.sum()


def tdl(profile: str, speed: float = 0.0, **arguments) -> TdlModel:
    spread = DELAY_SPREAD_S if profile in TABLES else None
    return TdlModel(profile, delay_spread_s=spread, carrier_hz=CARRIER_HZ, speed_mps=speed, **arguments)


def draws(
    profile: str, time_steps: int = 1, speed: float = 0.0, rate_hz: float = 14e3
) -> tuple[np.ndarray, np.ndarray]:
    """Gains [draws, taps, time] and delays [taps], by rising delay."""
    with sionna_rng(2024, torch.device("cpu")):
        gains, delays = tdl(profile, speed)(NUM_DRAWS, time_steps, rate_hz)
    delays = delays[0, 0, 0].numpy()
    order = np.argsort(delays, kind="stable")
    return gains[:, 0, 0, 0, 0].numpy()[:, order], delays[order]


def check_powers(gains: np.ndarray, powers: np.ndarray) -> None:
    """Var |a|² <= P² for a sum of sinusoids, so 4.5 sigma (about 70 taps are tested) is 4.5·P /
    sqrt(draws)."""
    measured = (np.abs(gains[:, :, 0]) ** 2).mean(axis=0)
    assert np.all(np.abs(measured - powers) < 4.5 * powers / math.sqrt(len(gains)))


def check_rayleigh(gains: np.ndarray, powers: np.ndarray) -> None:
    """Kolmogorov-Smirnov distance of every tap's power from the exponential law.

    At N draws the distance exceeds sqrt(-ln(α/2) / (2N)) with probability α; α = 1e-6 covers all taps.
    """
    limit = math.sqrt(-math.log(0.5e-6) / (2 * len(gains))) + 0.01
    for tap, power in enumerate(powers):
        distance = kstest(np.abs(gains[:, tap, 0]) ** 2 / power, "expon").statistic
        assert distance < limit, f"tap {tap}: {distance}"


def check_phase(gains: np.ndarray) -> None:
    """Uniform phase, same test."""
    limit = math.sqrt(-math.log(0.5e-6) / (2 * len(gains)))
    for tap in range(gains.shape[1]):
        phase = np.angle(gains[:, tap, 0]) / (2 * math.pi) + 0.5
        assert kstest(phase, "uniform").statistic < limit


def check_rice(first: np.ndarray, k_db: float) -> None:
    """Of a first tap [draws]: the law of its amplitude against Rice's (same test), and Var |a|² / (E|a|²)²
    against (2K + 1 - 1/M) / (1 + K)² of M sinusoids and one more, the sharper one: 5 sigma, from the sample
    by the delta method.
    """
    k = 10 ** (k_db / 10)
    power = np.abs(first) ** 2
    mean, count = power.mean(), len(power)
    limit = math.sqrt(-math.log(0.5e-6) / (2 * count)) + 0.01
    law = rice(math.sqrt(2 * k), scale=math.sqrt(0.5 / (1 + k)))
    assert kstest(np.abs(first) / math.sqrt(mean), law.cdf).statistic < limit
    spread = power.var() / mean**2
    influence = ((power - mean) ** 2 - power.var()) / mean**2 - 2 * spread * (power - mean) / mean
    expected = (2 * k + 1 - 1 / NUM_SINUSOIDS) / (1 + k) ** 2
    assert abs(spread - expected) < 5 * influence.std() / math.sqrt(count), (spread, expected)


@pytest.mark.parametrize("profile", [*TABLES, *FIXED])
def test_tap_delays_and_powers_equal_the_table(profile):
    gains, delays = draws(profile)
    expected_delays, powers = table(profile)
    np.testing.assert_allclose(delays, expected_delays, rtol=1e-4, atol=1e-14)
    check_powers(gains, powers)


@pytest.mark.parametrize("profile", TABLES)
def test_delay_spread_is_the_requested_one(profile):
    """Of the mean powers; the table of profile D has 0.994 of it."""
    model = tdl(profile)
    powers, delays = model.mean_powers.double(), model.delays_s.double()
    mean = (powers * delays).sum()
    spread = float((powers * (delays - mean).square()).sum().sqrt())
    assert abs(spread / DELAY_SPREAD_S - (0.9937 if profile == "D" else 1.0)) < 5e-4
    assert abs(float(powers.sum()) - 1) < 1e-6


@pytest.mark.parametrize("profile", ["D", "E"])
def test_first_tap_with_line_of_sight_is_rician(profile):
    """3000 draws; the line of sight has a phase of its own in every draw."""
    gains, _ = draws(profile)
    check_rice(gains[:, 0, 0], K_DB[profile])
    check_phase(gains[:, :1])
    powers = table(profile)[1]
    check_rayleigh(gains[:, 1:], powers[1:])
    check_phase(gains[:, 1:])


@pytest.mark.parametrize("profile", ["A", "B", "C", *FIXED])
def test_taps_are_rayleigh_with_uniform_phase(profile):
    gains, _ = draws(profile)
    check_rayleigh(gains, table(profile)[1])
    check_phase(gains)


def maximum_doppler_hz(speed: float) -> float:
    return speed / 299792458.0 * CARRIER_HZ


@pytest.mark.parametrize("speed", SPEEDS_MPS)
def test_doppler_autocorrelation_is_bessel(speed):
    """E[a(0)* a(t)] / P = J0(2π f_d t) over all taps: N = 3000 x 23 independent pairs, 5 sigma."""
    gains, _ = draws("A", time_steps=40, speed=speed, rate_hz=SPEEDS_MPS[speed])
    powers = table("A")[1]
    time_s = np.arange(40) / SPEEDS_MPS[speed]
    correlation = (gains[:, :, :1].conj() * gains / powers[None, :, None]).mean(axis=(0, 1)).real
    tolerance = 5 / math.sqrt(NUM_DRAWS * 23)
    expected = j0(2 * math.pi * maximum_doppler_hz(speed) * time_s)
    assert np.abs(correlation - expected).max() < tolerance
    for wrong in (0.8, 1.25):
        assert (
            np.abs(correlation - j0(2 * math.pi * wrong * maximum_doppler_hz(speed) * time_s)).max()
            > tolerance
        )


@pytest.mark.parametrize("profile", ["D", "E"])
def test_line_of_sight_has_seven_tenths_of_the_maximum_doppler_shift(profile):
    """E[h(t) h(0)*] over 3000 draws of all taps, 5 sigma of their product, against closed form: the spectral
    line of TR 38.901, sec. 7.7.2; and :meth:`TdlModel.time_covariance` against it to rounding."""
    gains, _ = draws(profile, time_steps=40, speed=30.0)
    product = (gains * gains[:, :, :1].conj()).sum(1)
    turn = 2 * math.pi * maximum_doppler_hz(30.0) * np.arange(40) / 14e3
    powers = 10 ** (np.array(TABLES[profile].split(), float)[1::2] / 10)
    line = 10 ** (LINE_OF_SIGHT_DB[profile] / 10) / (10 ** (LINE_OF_SIGHT_DB[profile] / 10) + powers.sum())

    def expected(shift: float) -> np.ndarray:
        return line * np.exp(1j * shift * turn) + (1 - line) * j0(turn)

    tolerance = 5 * product.std(0).max() / math.sqrt(NUM_DRAWS)
    assert np.abs(product.mean(0) - expected(0.7)).max() < tolerance
    assert np.abs(product.mean(0) - expected(0.75)).max() > tolerance
    assert np.abs(product.mean(0) - expected(-0.7)).max() > tolerance
    covariance = tdl(profile, 30.0).time_covariance(40, 1 / 14e3)[:, 0].numpy()
    np.testing.assert_allclose(covariance, expected(0.7), atol=1e-9)


@pytest.mark.parametrize(("precision", "tolerance"), [("single", 3e-5), ("double", 1e-10)])
@pytest.mark.parametrize("profile", ["A", "B", "C", "D", "E", "A30", "B100", "C60", "C300"])
def test_gains_are_those_of_sionna(profile, precision, tolerance):
    """Numbers drawn in the same order; two antennas by three, correlated where there is no line of sight, 50
    steps at 30 m/s. In single precision Sionna's phases are rounded."""
    correlation = 0.0 if profile in LINE_OF_SIGHT_DB else 0.6
    arguments = {"num_rx_antennas": 2, "num_tx_antennas": 3, "precision": precision}
    ours = tdl(profile, 30.0, rx_correlation=correlation, tx_correlation=correlation, **arguments)
    matrices = [exponential_correlation(count, correlation) for count in (2, 3)]
    spread = {"delay_spread": DELAY_SPREAD_S} if profile in TABLES else {}
    antennas = {"num_rx_ant": 2, "num_tx_ant": 3, "rx_corr_mat": matrices[0], "tx_corr_mat": matrices[1]}
    motion = {"carrier_frequency": CARRIER_HZ, "min_speed": 30.0, "max_speed": 30.0}
    theirs = TDL(profile, **spread, **motion, **antennas, precision=precision, device="cpu")
    results = []
    for model in (ours, theirs):
        with sionna_rng(12, torch.device("cpu")):
            results.append(model(3, 50, 14e3))
    for mine, other in zip(*results, strict=True):
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        torch.testing.assert_close(mine, other, rtol=0.0, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("profile", ["A", "D"])
def test_correlated_antennas_have_unit_mean_power_with_a_line_of_sight_too(profile):
    """3000 draws, 5 sigma of the sample for every pair."""
    arguments = {"num_rx_antennas": 2, "num_tx_antennas": 2, "rx_correlation": 0.7, "tx_correlation": 0.7}
    with sionna_rng(5, torch.device("cpu")):
        gains, _ = tdl(profile, **arguments)(NUM_DRAWS, 1, 1.0)
    power = gains[:, 0, :, 0, :, :, 0].abs().square().sum(-1)
    assert bool(((power.mean(0) - 1).abs() < 5 * power.std(0) / math.sqrt(NUM_DRAWS)).all())


def test_at_rest_all_steps_are_the_first():
    """Drawn once then; the numbers are those of a receiver that hardly moves."""
    still, moving = draws("C", time_steps=3), draws("C", time_steps=3, speed=1e-9)
    np.testing.assert_allclose(still[0], moving[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("profile", ["A", "C", "D", "E"])
def test_frequency_covariance_equals_sionnas(profile):
    model = TdlModel(profile, delay_spread_s=300e-9, carrier_hz=3.5e9)
    theirs = tdl_freq_cov_mat(profile, 15e3, 48, 300e-9, precision="double", device="cpu")
    torch.testing.assert_close(model.frequency_covariance(48, 15e3), theirs, rtol=1e-5, atol=1e-6)


def test_covariances_of_a_fixed_profile_are_those_of_its_draws():
    """E[H(f) H*(0)] over 3000 draws, 5 sigma, from the taps themselves."""
    gains, delays = draws("C300")
    steps = np.arange(32)
    response = (gains[:, None, :, 0] * np.exp(-2j * np.pi * 15e3 * steps[:, None] * delays)).sum(-1)
    measured = (response * response[:, :1].conj()).mean(0)
    model = TdlModel("C300", carrier_hz=3.5e9)
    expected = model.frequency_covariance(32, 15e3)[:, 0].numpy()
    assert np.abs(measured - expected).max() < 5 / math.sqrt(NUM_DRAWS)
    assert model.time_covariance(14, 71e-6).shape == (14, 14)


@pytest.mark.parametrize(
    ("profile", "spread", "message"), [("A", None, "missing"), ("A30", 1e-7, "has its own")]
)
def test_delay_spread_goes_with_the_profile(profile, spread, message):
    with pytest.raises(ValueError, match=message):
        TdlModel(profile, delay_spread_s=spread, carrier_hz=3.5e9)


def test_checks_fail_when_the_effect_is_removed():
    gains, _ = draws("C")
    powers = table("C")[1]
    with pytest.raises(AssertionError):
        check_powers(1.2**0.5 * gains, powers)
    with pytest.raises(AssertionError):
        check_powers(gains, np.roll(powers, 1))
    constant = gains / np.abs(gains) * np.sqrt(powers)[None, :, None]
    check_powers(constant, powers)
    with pytest.raises(AssertionError):
        check_rayleigh(constant, powers)
    with pytest.raises(AssertionError):
        check_phase(np.abs(gains))
    first = draws("D")[0][:, 0, 0]
    for wrong in (first / np.abs(first), first + gains[:, 0, 0]):
        with pytest.raises(AssertionError):
            check_rice(wrong, K_DB["D"])
    with pytest.raises(AssertionError):
        check_rice(first, K_DB["D"] + 1)
