"""OFDM samples: the inverse, the power, the noise, and Sionna's modulator."""

from __future__ import annotations

import pytest
import torch

from channels.ofdm.waveform import OfdmWaveform
from channels.runtime.sionna_seeding import sionna_rng  # noqa: F401 (fences the first import of Sionna)

from sionna.phy.ofdm import OFDMDemodulator, OFDMModulator


def grid(
    batch: int, antennas: int, symbols: int, carriers: int, dtype: torch.dtype = torch.complex128
) -> torch.Tensor:
    gen = torch.Generator().manual_seed(3)
    return torch.randn(batch, antennas, symbols, carriers, generator=gen, dtype=dtype)


WAVEFORMS = {
    "critical": OfdmWaveform(64, 5),
    "no-prefix": OfdmWaveform(16, 0, 2),
    "oversampled": OfdmWaveform(72, 6, oversampling=4),
    "odd": OfdmWaveform(15, 15, 3),
}


@pytest.mark.parametrize("name", WAVEFORMS)
def test_demodulation_inverts_modulation(name):
    waveform = WAVEFORMS[name]
    for dtype, atol in ((torch.complex128, 1e-13), (torch.complex64, 3e-6)):
        x = grid(2, 3, 4, waveform.num_subcarriers, dtype)
        samples = waveform.modulate(x)
        assert samples.shape == (2, 3, 4 * waveform.symbol_length)
        assert float((waveform.demodulate(samples) - x).abs().max()) < atol


@pytest.mark.parametrize("name", WAVEFORMS)
def test_samples_have_the_power_of_the_grid(name):
    """Exactly over the body of a symbol; the prefix copies a part of it."""
    waveform = WAVEFORMS[name]
    x = grid(2, 2, 3, waveform.num_subcarriers)
    body = waveform.modulate(x).unflatten(-1, (3, -1))[..., waveform.prefix_length :]
    assert torch.allclose(body.abs().square().mean(-1), x.abs().square().mean(-1), rtol=1e-12)


def test_samples_equal_those_of_sionna():
    x = grid(2, 1, 3, 64)
    theirs = OFDMModulator(5, precision="double", device="cpu")(x)
    samples = WAVEFORMS["critical"].modulate(x)
    torch.testing.assert_close(samples, theirs, rtol=0, atol=1e-13)
    demodulate = OFDMDemodulator(64, 0, 5, precision="double", device="cpu")
    ours = WAVEFORMS["critical"].demodulate(samples)
    torch.testing.assert_close(ours, demodulate(samples), rtol=0, atol=1e-13)


def test_oversampling_interpolates_the_critical_samples():
    x = grid(1, 1, 1, 64)
    fine = OfdmWaveform(64, 5, 4).modulate(x)
    assert torch.allclose(fine[..., ::4], OfdmWaveform(64, 5).modulate(x), atol=1e-13)


def test_subcarriers_stand_around_dc():
    """A lone subcarrier k turns k - F/2 times in a symbol."""
    for carriers, k in ((8, 4), (8, 0), (8, 7), (9, 4), (9, 0)):
        waveform = OfdmWaveform(carriers, 2, 3)
        x = torch.zeros(1, 1, 1, carriers, dtype=torch.complex128)
        x[..., k] = carriers**0.5
        n = torch.arange(-waveform.prefix_length, waveform.fft_length)
        turn = 2 * torch.pi * (k - carriers // 2) * n.double() / waveform.fft_length
        expected = torch.polar(torch.ones_like(turn), turn)
        assert torch.allclose(waveform.modulate(x)[0, 0], expected, atol=1e-13)


@pytest.mark.parametrize("q", [1, 4])
def test_noise_of_q_times_no_per_sample_is_no_per_element(q):
    """N = 2·100·64 independent elements; |w|² has the standard deviation no: 5/sqrt(N)."""
    waveform, no = OfdmWaveform(64, 5, q), 0.3
    gen = torch.Generator().manual_seed(8)
    white = torch.randn(1, 2, 100 * waveform.symbol_length, generator=gen, dtype=torch.complex128)
    noise = waveform.demodulate((no * q) ** 0.5 * white)
    assert abs(float(noise.abs().square().mean()) / no - 1) < 5 / noise.numel() ** 0.5


def test_gradients_are_those_of_finite_differences():
    waveform = OfdmWaveform(4, 1, 2)
    x = grid(1, 1, 2, 4).requires_grad_()
    assert torch.autograd.gradcheck(waveform.modulate, (x,))
    samples = waveform.modulate(x.detach()).requires_grad_()
    assert torch.autograd.gradcheck(waveform.demodulate, (samples,))


@pytest.mark.parametrize("name", WAVEFORMS)
def test_no_bit_depends_on_batch_mates(name):
    waveform = WAVEFORMS[name]
    x = grid(8, 2, 3, waveform.num_subcarriers, torch.complex64)
    samples = waveform.modulate(x)
    for part in (slice(0, 3), slice(3, 8), slice(7, 8)):
        assert torch.equal(samples[part], waveform.modulate(x[part]))
        assert torch.equal(waveform.demodulate(samples)[part], waveform.demodulate(samples[part]))


def test_wrong_arguments_are_named():
    waveform = OfdmWaveform(8, 2)
    assert waveform.sample_rate_hz(15e3) == 120e3
    with pytest.raises(ValueError, match="num_subcarriers"):
        OfdmWaveform(1, 0)
    with pytest.raises(ValueError, match="cyclic_prefix_length: too long"):
        OfdmWaveform(8, 9)
    with pytest.raises(ValueError, match="oversampling"):
        OfdmWaveform(8, 2, 0)
    with pytest.raises(ValueError, match="grid: wrong shape"):
        waveform.modulate(grid(1, 1, 2, 9))
    with pytest.raises(ValueError, match="samples: wrong shape"):
        waveform.demodulate(torch.zeros(1, 1, 11, dtype=torch.complex64))
