"""Imperfect hardware against closed forms: AM/AM, Bussgang, inter-carrier interference, image rejection, SNR.

What is linear is measured exactly, by sending every subcarrier alone; there tolerances are rounding. The rest
states the number of independent samples and the spread of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import erfc
from scipy.stats import kstest, norm

from channels import seeding
from channels.hardware.amplifier import Clipping, RappAmplifier
from channels.hardware.converter import IqImbalance, Quantization
from channels.hardware.impairment import FrontEnd, Impairment
from channels.hardware.interferer import NarrowbandInterferer
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise, TimingOffset
from channels.hardware.signal_quality import evm, papr_db
from channels.ofdm.waveform import OfdmWaveform

POWER = 0.7
F, CP = 64, 8
SPACING_HZ = 15e3
EMPTY = torch.empty(1, 0, dtype=torch.float64)


def ratio(x_db: float) -> float:
    return 10 ** (x_db / 10)


def qpsk(*shape: int, seed: int = 0) -> torch.Tensor:
    bits = torch.randint(0, 2, (2, *shape), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    return torch.complex(bits[0], bits[1]).to(torch.complex128) / 2**0.5


def gaussian(length: int, seed: int = 0) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return POWER**0.5 * torch.randn(1, 1, length, generator=gen, dtype=torch.complex128)


def state_of(
    impairment: Impairment, images: int, samples: int, rate_hz: float, antennas: int = 1
) -> torch.Tensor:
    gen = torch.Generator().manual_seed(77)
    return torch.stack([impairment.draw(antennas, samples, rate_hz, gen) for _ in range(images)])


# Amplifiers: amplitude curves, and Bussgang's decomposition for Gaussian signals


def rapp_curve(r: np.ndarray | float, backoff_db: float, p: float) -> np.ndarray | float:
    a = (POWER * ratio(backoff_db)) ** 0.5
    return r / (1 + (r / a) ** (2 * p)) ** (1 / (2 * p))


def clipping_curve(r: float, papr: float) -> float:
    return min(r, (POWER * ratio(papr)) ** 0.5)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 2.6])
def test_rapp_amplitude_follows_the_curve_and_keeps_the_phase(p):
    r = torch.logspace(-3, 2, 200, dtype=torch.float64)
    x = torch.polar(r, 17 * r)[None, None]
    y = RappAmplifier(6.0, smoothness=p).apply(x, EMPTY, 1.0, POWER)
    np.testing.assert_allclose(y[0, 0].abs(), rapp_curve(r.numpy(), 6.0, p), rtol=1e-12)
    assert float((y / x).imag.abs().max()) < 1e-12
    assert float(y.abs().max()) <= (POWER * ratio(6.0)) ** 0.5 * (1 + 1e-12)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_rapp_loses_one_decibel_where_it_should(p):
    """(r/a)^2p = 10^(p/10) - 1 makes the gain -1 dB."""
    r = (POWER * ratio(4.0)) ** 0.5 * (10 ** (p / 10) - 1) ** (1 / (2 * p))
    y = RappAmplifier(4.0, smoothness=p).apply(torch.full((1, 1, 1), r + 0j), EMPTY, 1.0, POWER)
    assert 20 * math.log10(float(y.abs()) / r) == pytest.approx(-1.0, abs=1e-6)


def test_clipping_ends_the_envelope_and_nothing_else():
    x = gaussian(5000)
    y = Clipping(4.0).apply(x, EMPTY, 1.0, POWER)
    limit = POWER * ratio(4.0)
    below = x.abs().square() <= limit
    assert torch.equal(y[below], x[below])
    torch.testing.assert_close(y[~below].abs().square(), torch.full_like(y[~below].real, limit))
    assert float((y / x).imag.abs().max()) < 1e-12
    assert 0.05 < float((~below).double().mean()) < 0.15  # exp(-2.51) = 0.081
    assert float(papr_db(y)) < 4.0 + 10 * math.log10(1 / (1 - math.exp(-ratio(4.0)))) + 0.1
    assert float(papr_db(x)) > 8.0


def average(f: Callable[[float], float], kink: float) -> float:
    """E f(|x|) of a Gaussian signal: |x| is Rayleigh, E|x|² = POWER."""
    top = 8 * POWER**0.5
    weighted = lambda r: f(r) * 2 * r / POWER * math.exp(-r * r / POWER)  # noqa: E731
    return quad(weighted, 0, kink, limit=200)[0] + quad(weighted, kink, max(top, kink), limit=200)[0]


def bussgang(curve: Callable[[float], float], kink: float) -> tuple[float, float]:
    alpha = average(lambda r: curve(r) * r, kink) / POWER
    return alpha, average(lambda r: curve(r) ** 2, kink) - alpha**2 * POWER


def measured_bussgang(amplifier: Impairment, num_samples: int, seed: int) -> tuple[complex, float]:
    """α = E[y x*] / E|x|² and E|d|² = E|y|² - |α|² E|x|² of white Gaussian noise x, y = αx + d."""
    gen = seeding.generator(seed)
    x = math.sqrt(POWER) * seeding.complex_normal((1, 1, num_samples), gen, torch.complex128)
    front_end = FrontEnd([amplifier])
    y = front_end.apply(x, front_end.draw(1, num_samples, 1e6, gen)[None], 1e6, POWER)
    mean_power = float(x.abs().square().mean())
    alpha = complex((y * x.conj()).mean()) / mean_power
    return alpha, float(y.abs().square().mean()) - abs(alpha) ** 2 * mean_power


def check_bussgang(amplifier: Impairment, curve: Callable[[float], float], kink: float) -> None:
    """Both numbers from N = 2^18 samples within 5 sigma: the spread of one sample of d x*/P, d = y - αx, for
    α; that of |d|² for its power (the estimate of α adds the order 1/N). Both by integrals over the Rayleigh
    law."""
    n = 1 << 18
    alpha, power = bussgang(curve, kink)
    got_alpha, got_power = measured_bussgang(amplifier, n, seed=5)
    sigma_alpha = average(lambda r: ((curve(r) - alpha * r) * r) ** 2, kink) ** 0.5 / POWER
    assert abs(got_alpha - alpha) < 5 * sigma_alpha / n**0.5
    fourth = average(lambda r: (curve(r) - alpha * r) ** 4, kink)
    assert abs(got_power - power) < 5 * ((fourth - power**2) / n) ** 0.5


@pytest.mark.parametrize("papr", [0.0, 3.0, 6.0])
def test_clipping_scales_and_distorts_as_bussgang_says(papr):
    """α = 1 - e^-γ² + (√π/2)γ erfc γ, and output power P(1 - e^-γ²), γ² the clipping ratio."""
    limit = (POWER * ratio(papr)) ** 0.5
    alpha, power = bussgang(lambda r: clipping_curve(r, papr), limit)
    gamma = ratio(papr) ** 0.5
    closed = 1 - math.exp(-(gamma**2)) + math.pi**0.5 / 2 * gamma * erfc(gamma)
    assert alpha == pytest.approx(closed, rel=1e-9)
    assert power == pytest.approx(POWER * (1 - math.exp(-(gamma**2)) - closed**2), rel=1e-7)
    check_bussgang(Clipping(papr), lambda r: clipping_curve(r, papr), limit)


@pytest.mark.parametrize(("backoff_db", "p"), [(3.0, 2.0), (6.0, 3.0)])
def test_rapp_scales_and_distorts_as_bussgang_says(backoff_db, p):
    kink = (POWER * ratio(backoff_db)) ** 0.5
    check_bussgang(
        RappAmplifier(backoff_db, smoothness=p), lambda r: float(rapp_curve(r, backoff_db, p)), kink
    )


def test_bussgang_check_sees_a_tenth_of_a_decibel():
    with pytest.raises(AssertionError):
        check_bussgang(Clipping(3.1), lambda r: clipping_curve(r, 3.0), (POWER * ratio(3.0)) ** 0.5)
    with pytest.raises(AssertionError):
        check_bussgang(RappAmplifier(3.0, smoothness=2.1), lambda r: float(rapp_curve(r, 3.0, 2.0)), 1.0)


# Frequency, timing and phase: what one subcarrier does to the others


def responses(impairment: Impairment, waveform: OfdmWaveform, symbols: int = 1) -> torch.Tensor:
    """[T·F sent, T, F received]: every resource element sent alone, exactly."""
    alone = torch.eye(symbols * F, dtype=torch.complex128).view(-1, 1, symbols, F)
    samples = waveform.modulate(alone)
    rate_hz = waveform.sample_rate_hz(SPACING_HZ)
    return waveform.demodulate(impairment.apply(samples, EMPTY, rate_hz, 1.0))[:, 0]


def dirichlet(epsilon: float, q: int) -> float:
    """Amplitude that a carrier off by ε spacings keeps on its own FFT bin."""
    return math.sin(math.pi * epsilon) / (q * F * math.sin(math.pi * epsilon / (q * F)))


@pytest.mark.parametrize("q", [1, 4])
@pytest.mark.parametrize("epsilon", [0.02, 0.1, -0.4, 1.0])
def test_frequency_offset_leaks_as_the_dirichlet_kernel(epsilon, q):
    """Element (t, l) sent, (t, k) received: kernel at l - k + ε, phase of the middle of the window of symbol t."""
    waveform = OfdmWaveform(F, CP, q)
    got = responses(CarrierFrequencyOffset(epsilon * SPACING_HZ), waveform, symbols=2)
    got = got.view(2, F, 2, F).numpy()
    length, k = waveform.fft_length, np.arange(F)
    offset = k[:, None] - k[None, :] + epsilon
    with np.errstate(invalid="ignore"):
        kernel = np.sin(np.pi * offset) / (length * np.sin(np.pi * offset / length))
    kernel[np.isclose(offset, 0)] = 1.0
    for t in range(2):
        start = t * waveform.symbol_length + waveform.prefix_length
        phase = 2 * np.pi * epsilon * start / length + np.pi * offset * (length - 1) / length
        np.testing.assert_allclose(got[t, :, t], kernel * np.exp(1j * phase), rtol=0, atol=1e-10)
        assert np.abs(got[t, :, 1 - t]).max() < 1e-12


def check_offset_error(epsilon: float, assumed: float) -> None:
    """Error after one tap for all: EVM² = (1 - S²)/S², critically sampled, where no power leaves the grid.

    N = 64·4·64 resource elements. For a small offset the interference is the signal weighted by a ramp over
    the symbol, of effective number 5/9 of its samples: 5·sqrt(9/5/N) of the power. One tap from all the elements
    takes off less than 1/N.
    """
    waveform, x = OfdmWaveform(F, CP), qpsk(64, 1, 4, F)
    rate_hz = waveform.sample_rate_hz(SPACING_HZ)
    impairment = CarrierFrequencyOffset(epsilon * SPACING_HZ)
    y = waveform.demodulate(impairment.apply(waveform.modulate(x), EMPTY, rate_hz, 1.0))
    common = (y * x.conj()).mean((0, 1, 3), keepdim=True)  # of a symbol
    error = float(evm(y / common, x).square().mean())
    s = dirichlet(assumed, 1)
    assert abs(error / ((1 - s**2) / s**2) - 1) < 5 * (9 / 5 / x.numel()) ** 0.5


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 0.3])
def test_frequency_offset_makes_the_error_of_the_formula(epsilon):
    check_offset_error(epsilon, epsilon)
    assert dirichlet(epsilon, 1) == pytest.approx(np.sinc(epsilon), rel=1e-3)
    with pytest.raises(AssertionError):
        check_offset_error(1.06 * epsilon, epsilon)


@pytest.mark.parametrize("q", [1, 4])
def test_early_window_within_the_prefix_turns_subcarriers_only(q):
    waveform = OfdmWaveform(F, CP, q)
    for early in (1, CP * q):
        offset = TimingOffset(-early / waveform.sample_rate_hz(SPACING_HZ))
        got = responses(offset, waveform, symbols=2)
        k = torch.arange(F) - F // 2
        ramp = torch.polar(torch.ones(F).double(), -2 * math.pi * k.double() * early / (q * F))
        assert torch.allclose(got.view(2 * F, -1), torch.diag(ramp.repeat(2)), atol=1e-13)


def check_spill(offset_samples: int, lost: int, *, early: bool) -> None:
    """Per unit power on every element of two symbols, an element keeps (1 - δ)² and hears 1 - (1 - δ)², of
    which δ from the neighbouring symbol; δ = lost/F. Seen at the symbol that has the neighbour."""
    waveform = OfdmWaveform(F, CP)
    got = responses(TimingOffset(offset_samples / waveform.sample_rate_hz(SPACING_HZ)), waveform, symbols=2)
    power = got.view(2, F, 2, F).abs().square()
    mine, other = (1, 0) if early else (0, 1)
    delta = lost / F
    wanted = power[mine, :, mine].diagonal()
    from_neighbour = power[other, :, mine].sum(0)
    spilled = power[mine, :, mine].sum(0) - wanted + from_neighbour
    assert torch.allclose(wanted, torch.full_like(wanted, (1 - delta) ** 2), atol=1e-12)
    assert torch.allclose(from_neighbour, torch.full_like(wanted, delta), atol=1e-12)
    assert torch.allclose(spilled, torch.full_like(wanted, 1 - (1 - delta) ** 2), atol=1e-12)


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_window_beyond_the_prefix_spills_onto_other_elements(lost):
    """A late window takes in the next symbol at once, an early one the last symbol after the prefix. The whole
    window of a late one must lie within the next symbol's prefix and body."""
    check_spill(lost, lost, early=False)
    check_spill(-CP - lost, lost, early=True)


def test_spill_check_sees_one_sample():
    with pytest.raises(AssertionError):
        check_spill(6, 5, early=False)


def test_fraction_of_a_sample_is_a_phase_ramp():
    """Early by 16.37 samples, half the prefix at four times the rate: the steps between symbols ring, by less
    the farther away, and below -45 dB in the middle of the band."""
    waveform, x = OfdmWaveform(F, CP, 4), qpsk(8, 1, 6, F)
    rate_hz, early = waveform.sample_rate_hz(SPACING_HZ), 16.37
    y = waveform.demodulate(TimingOffset(-early / rate_hz).apply(waveform.modulate(x), EMPTY, rate_hz, 1.0))
    k = torch.arange(F).double() - F // 2
    ramp = torch.polar(torch.ones(F).double(), -2 * math.pi * k * early / (4 * F))
    error = (y - x * ramp).abs().square().mean((0, 1, 2))
    assert float(error[8:-8].max()) < ratio(-45)
    assert float((y - x).abs().square().mean()) > 0.5


def wiener_loss(linewidth_hz: float, rate_hz: float, length: int) -> float:
    """1 - E|1/N Σ e^jφ|², the double sum of E e^j(φm - φn) = exp(-πβ|m - n|/f_s)."""
    lag = np.arange(1, length)
    decay = np.exp(-np.pi * linewidth_hz * lag / rate_hz)
    return 1 - (length + 2 * ((length - lag) * decay).sum()) / length**2


def loop_loss(linewidth_hz: float, loop_hz: float, rate_hz: float, length: int) -> float:
    """The same for a loop: E e^j(φm - φn) = exp(-σ²(1 - exp(-2π f_L |m - n| / f_s))), σ² = β / 2f_L."""
    lag, variance = np.arange(1, length), linewidth_hz / (2 * loop_hz)
    decay = np.exp(-variance * -np.expm1(-2 * np.pi * loop_hz * lag / rate_hz))
    return 1 - (length + 2 * ((length - lag) * decay).sum()) / length**2


def interference(noise: PhaseNoise, images: int, symbols: int) -> np.ndarray:
    """Share of the power of a lone carrier at DC that leaves it, per OFDM symbol [images, symbols]."""
    waveform = OfdmWaveform(F, CP)
    rate_hz = waveform.sample_rate_hz(SPACING_HZ)
    carrier = torch.zeros(images, 1, symbols, F, dtype=torch.complex128)
    carrier[..., F // 2] = 1.0
    samples = waveform.modulate(carrier)
    state = state_of(noise, images, samples.shape[-1], rate_hz)
    power = waveform.demodulate(noise.apply(samples, state, rate_hz, 1.0)).abs().square()
    np.testing.assert_allclose(power.sum(-1), 1.0, rtol=1e-12)
    return (power.sum(-1) - power[..., F // 2])[:, 0].numpy()


def check_interference(noise: PhaseNoise, images: int, symbols: int, expected: float) -> None:
    """Mean over independent symbols within five of their standard errors (as sampled, a few per cent)."""
    leaked = interference(noise, images, symbols)
    assert abs(leaked.mean() - expected) < 5 * leaked.std() / leaked.size**0.5


@pytest.mark.parametrize("linewidth_per_spacing", [1e-3, 1e-2, 0.2])
def test_phase_noise_leaks_as_its_linewidth_says(linewidth_per_spacing):
    """Increments of a Wiener process are independent, so are N = 800·14 symbols. A tenth more or less of
    linewidth is seen (spread of one symbol about 1, 5/sqrt(N) = 5%)."""
    beta, rate_hz = linewidth_per_spacing * SPACING_HZ, F * SPACING_HZ
    expected = wiener_loss(beta, rate_hz, F)
    check_interference(PhaseNoise(beta), 800, 14, expected)
    if linewidth_per_spacing < 0.1:  # ∫∫ πβ|t - s| = πβT/3
        assert expected == pytest.approx(math.pi * linewidth_per_spacing / 3, rel=2 * linewidth_per_spacing)
    for wrong in (0.85, 1.15):
        with pytest.raises(AssertionError):
            check_interference(PhaseNoise(wrong * beta), 800, 14, expected)


@pytest.mark.parametrize("loop_hz", [1e3, 3e4])
def test_phase_noise_in_a_loop_leaks_as_the_loop_says(loop_hz):
    """One symbol per image: N = 6000 independent ones."""
    beta, rate_hz = 0.02 * SPACING_HZ, F * SPACING_HZ
    check_interference(
        PhaseNoise(beta, loop_bandwidth_hz=loop_hz), 6000, 1, loop_loss(beta, loop_hz, rate_hz, F)
    )
    assert loop_loss(beta, 1.0, rate_hz, F) == pytest.approx(wiener_loss(beta, rate_hz, F), rel=1e-3)
    with pytest.raises(AssertionError):
        check_interference(
            PhaseNoise(beta, loop_bandwidth_hz=2 * loop_hz + 3e4),
            6000,
            1,
            loop_loss(beta, loop_hz, rate_hz, F),
        )


def test_phase_spreads_without_a_loop_and_settles_in_one():
    """Variance over N = 4000 draws, a chi-square: 5·sqrt(2/N) relative, at sample 0, 10 and 500."""
    beta, loop_hz, rate_hz = 100.0, 2e3, 3e5
    free = state_of(PhaseNoise(beta), 4000, 501, rate_hz)
    assert bool((free[:, 0] == 0).all())
    assert not torch.equal(free[0], free[1])
    locked = state_of(PhaseNoise(beta, loop_bandwidth_hz=loop_hz), 4000, 501, rate_hz)
    for n in (0, 10, 500):
        variance = 2 * math.pi * beta * n / rate_hz
        assert abs(float(free[:, n].square().mean()) - variance) <= 5 * (2 / 4000) ** 0.5 * variance
        settled = float(locked[:, n].square().mean()) / (beta / (2 * loop_hz))
        assert abs(settled - 1) < 5 * (2 / 4000) ** 0.5
    correlation = float((locked[:, 0] * locked[:, 50]).mean()) / (beta / (2 * loop_hz))
    assert abs(correlation - math.exp(-2 * math.pi * loop_hz * 50 / rate_hz)) < 5 * (2 / 4000) ** 0.5


# Mixers, converters, interferers


@pytest.mark.parametrize("side", ["transmitter", "receiver"])
@pytest.mark.parametrize(("gain_db", "phase_deg"), [(0.5, 0.0), (0.0, 3.0), (-1.0, 7.0), (2.0, -20.0)])
def test_iq_imbalance_rejects_the_image_by_the_formula(gain_db, phase_deg, side):
    """(1 + 2g cosφ + g²) / (1 - 2g cosφ + g²) between a subcarrier and its mirror; y = K1 x + K2 x*."""
    impairment, waveform = IqImbalance(gain_db, phase_deg, side=side), OfdmWaveform(F, CP, 2)
    x = torch.zeros(1, 1, 1, F, dtype=torch.complex128)
    x[..., F // 2 + 5] = 1.0
    rate_hz = waveform.sample_rate_hz(SPACING_HZ)
    y = waveform.demodulate(impairment.apply(waveform.modulate(x), EMPTY, rate_hz, 1.0))[0, 0, 0]
    g, phi = 10 ** (gain_db / 20), math.radians(phase_deg)
    wanted, image = float(y[F // 2 + 5].abs().square()), float(y[F // 2 - 5].abs().square())
    expected = (1 + 2 * g * math.cos(phi) + g**2) / (1 - 2 * g * math.cos(phi) + g**2)
    assert wanted / image == pytest.approx(expected, rel=1e-9)
    assert wanted + image == pytest.approx(1.0, rel=1e-12)
    scale = ((1 + g**2) / 2) ** 0.5
    turn = 1 if side == "transmitter" else -1
    k1, k2 = (1 + g * np.exp(turn * 1j * phi)) / 2 / scale, (1 - g * np.exp(1j * phi)) / 2 / scale
    z = gaussian(50)
    ours = impairment.apply(z, EMPTY, rate_hz, POWER)
    assert torch.allclose(ours, k1 * z + k2 * z.conj(), rtol=1e-12)


def quantizer_errors(bits: int, clip_db: float) -> tuple[float, float]:
    """E e² and E e⁴ of a standard normal variable, cell by cell."""
    full = 10 ** (clip_db / 20)
    edges = np.linspace(-full, full, 2**bits + 1)
    points = (edges[1:] + edges[:-1]) / 2
    edges[[0, -1]] = -12, 12
    moments = [
        sum(quad(lambda v, c=c, m=m: (v - c) ** m * norm.pdf(v), a, b)[0] for a, b, c in zip(edges, edges[1:], points, strict=False))
        for m in (2, 4)
    ]  # fmt: skip
    return moments[0], moments[1]


def check_quantizer(impairment: Quantization, bits: int, clip_db: float) -> None:
    """2N = 2^18 real samples: 5 sigma of e² by the integral. The gain control measures the power to 1/sqrt(N),
    which moves full scale by half of that, and E e² by about as much: another sqrt(1/2^18)/√2."""
    x = gaussian(1 << 17, seed=3)
    second, fourth = quantizer_errors(bits, clip_db)
    y = impairment.apply(x, EMPTY, 1.0, POWER)
    measured = float((y - x).abs().square().mean() / x.abs().square().mean())
    sigma = ((fourth - second**2) / 2**18) ** 0.5
    assert abs(measured - second) < 5 * (sigma + second / 2**9.5)


@pytest.mark.parametrize(("bits", "clip_db"), [(1, 6.0), (2, 9.0), (4, 11.0), (6, 12.0), (8, 14.0)])
def test_quantization_noise_of_a_gaussian_signal_is_the_integral(bits, clip_db):
    check_quantizer(Quantization(bits, clip_db), bits, clip_db)
    with pytest.raises(AssertionError):
        check_quantizer(Quantization(bits, clip_db + 0.3), bits, clip_db)


def test_one_bit_at_its_best_leaves_one_minus_two_over_pi():
    """Max (1960): levels at ±sqrt(2/π), that is full scale 2·sqrt(2/π) = 4.06 dB, leave 1 - 2/π."""
    clip_db = 20 * math.log10(2 * (2 / math.pi) ** 0.5)
    assert quantizer_errors(1, clip_db)[0] == pytest.approx(1 - 2 / math.pi, rel=1e-6)


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_a_uniform_signal_gains_six_decibels_per_bit(bits):
    """Full scale is √3 rms: SNR 2^2b. e² is that of a uniform error, spread sqrt(4/5): over 2N = 2^18 samples
    5·sqrt(4/5/2^18) = 0.9%; and the gain control moves full scale by as little again: 0.06 dB."""
    gen = torch.Generator().manual_seed(2)
    parts = torch.rand(2, 1, 1, 1 << 17, generator=gen, dtype=torch.float64) * 2 - 1
    x = torch.complex(parts[0], parts[1])
    y = Quantization(bits, clip_db=10 * math.log10(3)).apply(x, EMPTY, 1.0, 2 / 3)
    snr_db = -20 * math.log10(float(evm(y, x)))
    assert snr_db == pytest.approx(20 * math.log10(2) * bits, abs=0.06)


def test_interferer_has_its_power_on_its_subcarrier():
    waveform, antennas = OfdmWaveform(F, CP, 4), 2
    rate_hz, tone = waveform.sample_rate_hz(SPACING_HZ), NarrowbandInterferer(7.0, 9 * SPACING_HZ)
    x = waveform.modulate(POWER**0.5 * qpsk(3, antennas, 4, F))
    added = tone.apply(x, state_of(tone, 3, x.shape[-1], rate_hz, antennas), rate_hz, POWER) - x
    np.testing.assert_allclose(added.abs().square(), POWER * ratio(-7.0), rtol=1e-10)
    heard = waveform.demodulate(added).abs().square()
    np.testing.assert_allclose(heard[..., F // 2 + 9], F * POWER * ratio(-7.0), rtol=1e-10)
    heard[..., F // 2 + 9] = 0
    assert float(heard.max()) < 1e-20


def test_phases_of_interferers_are_uniform_and_apart():
    """Kolmogorov-Smirnov, N = 2000, false alarm 1e-6; correlation of two antennas 5/sqrt(N)."""
    tone = NarrowbandInterferer(0.0, 1e3)
    state = state_of(tone, 2000, 1, 1e6, antennas=2)
    turns = tone.apply(torch.zeros(2000, 2, 1, dtype=torch.complex128), state, 1e6, 1.0)[..., 0]
    limit = math.sqrt(-math.log(0.5e-6) / (2 * 2000))
    for antenna in (0, 1):
        assert kstest(turns[:, antenna].angle() / (2 * math.pi) + 0.5, "uniform").statistic < limit
    assert float((turns[:, 0] * turns[:, 1].conj()).mean().abs()) < 5 / 2000**0.5


# Peaks of OFDM


@pytest.fixture(scope="module")
def peaks_db() -> dict[int, torch.Tensor]:
    """PAPR of 10000 OFDM symbols of 128 subcarriers at the critical rate and at four times that."""
    x = qpsk(10000, 1, 1, 128, seed=1).to(torch.complex64)
    return {q: papr_db(OfdmWaveform(128, 0, q).modulate(x)) for q in (1, 4)}


def check_peaks(peaks: torch.Tensor, threshold_db: float, independent: float) -> None:
    """P(PAPR > γ) = 1 - (1 - e^-γ)^independent. Four standard errors of N symbols, and 10% for the law itself,
    an approximation for many subcarriers."""
    p = 1 - (1 - math.exp(-ratio(threshold_db))) ** independent
    measured = float((peaks > threshold_db).double().mean())
    assert abs(measured - p) < 4 * (p * (1 - p) / len(peaks)) ** 0.5 + 0.1 * p


@pytest.mark.parametrize("threshold_db", [7.5, 9.0])
def test_peaks_of_ofdm_follow_the_extreme_value_law(threshold_db, peaks_db):
    """F independent Gaussian samples at the critical rate; 2.8 F is the fit of van Nee & de Wild ("Reducing the
    Peak-to-Average Power Ratio of OFDM", VTC 1998) for the peaks between them."""
    check_peaks(peaks_db[1], threshold_db, 128)
    check_peaks(peaks_db[4], threshold_db, 2.8 * 128)
    with pytest.raises(AssertionError):
        check_peaks(peaks_db[4], threshold_db, 128)
    with pytest.raises(AssertionError):
        check_peaks(peaks_db[1], threshold_db, 2.8 * 128)
