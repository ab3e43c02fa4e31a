"""OFDM grids as complex baseband samples and back, with oversampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from channels import checks

__all__ = ["OfdmWaveform"]


class OfdmWaveform:
    r"""OFDM with cyclic prefix at q times the critical sampling rate.

    An OFDM symbol is s_n = √(1/F) Σ_k x_k exp(j2π(k - ⌊F/2⌋)n / (qF)), n = 0 … qF - 1, after a copy of its
    last q·cp samples: subcarrier ⌊F/2⌋ is DC, as in Sionna, and the mean power of the samples is the mean
    |x|² of the grid, whatever q. The sample rate is q·F·Δf.

    White noise of variance no·q per sample is noise of variance ``no`` per element of the demodulated grid:
    the receiver's FFT keeps F of qF bins.

    No result depends on the batch an image stands in.

    Args:
        num_subcarriers: F.
        cyclic_prefix_length: cp, in samples of the critical rate F·Δf.
        oversampling: q, a whole number.

    Raises:
        ValueError: arguments out of range.

    Source: Sionna 2.2 ``OFDMModulator``, ``OFDMDemodulator`` (q = 1, the same samples).

    Example:
        >>> waveform = OfdmWaveform(64, 5, oversampling=4)
        >>> waveform.modulate(torch.ones(1, 1, 14, 64, dtype=torch.complex64)).shape
        torch.Size([1, 1, 3864])
    """

    def __init__(self, num_subcarriers: int, cyclic_prefix_length: int, oversampling: int = 1) -> None:
        checks.check_at_least("OfdmWaveform: num_subcarriers", num_subcarriers, 2)
        checks.check_at_least("OfdmWaveform: cyclic_prefix_length", cyclic_prefix_length, 0)
        checks.check_at_least("OfdmWaveform: oversampling", oversampling, 1)
        if cyclic_prefix_length > num_subcarriers:
            got, expected = cyclic_prefix_length, f"at most {num_subcarriers}, the FFT size"
            raise ValueError(
                checks.complaint("OfdmWaveform: cyclic_prefix_length", "too long", got, expected)
            )
        self.num_subcarriers = num_subcarriers
        self.oversampling = oversampling
        self.fft_length = oversampling * num_subcarriers
        self.prefix_length = oversampling * cyclic_prefix_length
        self._num_above = num_subcarriers - num_subcarriers // 2  # DC and what is above it

    @property
    def symbol_length(self) -> int:
        """Samples of an OFDM symbol with its prefix, q·(F + cp)."""
        return self.fft_length + self.prefix_length

    def sample_rate_hz(self, subcarrier_spacing_hz: float) -> float:
        """q·F·Δf [Hz]."""
        return self.fft_length * subcarrier_spacing_hz

    def modulate(self, grid: Tensor) -> Tensor:
        """Samples of a grid.

        Args:
            grid: [B, A, T, F] complex (images, antennas, OFDM symbols, subcarriers).

        Returns:
            [B, A, T·q·(F + cp)] complex, of the mean power of the grid.
        """
        if grid.dim() != 4 or grid.shape[-1] != self.num_subcarriers:
            expected = f"[B, A, T, {self.num_subcarriers}]"
            raise ValueError(
                checks.complaint("OfdmWaveform: grid", "wrong shape", list(grid.shape), expected)
            )
        above, below = grid[..., -self._num_above :], grid[..., : -self._num_above]
        unused = grid.new_zeros(*grid.shape[:-1], self.fft_length - self.num_subcarriers)
        spectrum = torch.cat([above, unused, below], dim=-1) * math.sqrt(self.oversampling)
        # by image: a single long transform is spread over threads and rounds otherwise than several
        body = torch.stack([torch.fft.ifft(image, norm="ortho") for image in spectrum])
        return torch.cat([body[..., self.fft_length - self.prefix_length :], body], dim=-1).flatten(2)

    def demodulate(self, samples: Tensor) -> Tensor:
        """Grid of received samples, the inverse of :meth:`modulate`.

        Args:
            samples: [B, A, T·q·(F + cp)] complex.

        Returns:
            [B, A, T, F] complex.
        """
        if samples.dim() != 3 or samples.shape[-1] % self.symbol_length:
            expected = f"[B, A, a multiple of {self.symbol_length}]"
            raise ValueError(
                checks.complaint("OfdmWaveform: samples", "wrong shape", list(samples.shape), expected)
            )
        body = samples.unflatten(-1, (-1, self.symbol_length))[..., self.prefix_length :]
        spectrum = torch.stack([torch.fft.fft(image, norm="ortho") for image in body])
        num_below = self.num_subcarriers - self._num_above
        below = spectrum[..., self.fft_length - num_below :]
        return torch.cat([below, spectrum[..., : self._num_above]], dim=-1) / math.sqrt(self.oversampling)
