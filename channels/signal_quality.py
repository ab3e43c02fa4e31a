"""What became of a signal: distortion, error vectors, peaks.

May import: torch, channels.{units, seeding, impairments}.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from channels import seeding, units
from channels.impairments import FrontEnd

__all__ = ["distortion", "evm", "papr_db", "residual_power"]


def distortion(
    front_end: FrontEnd, *, sample_rate_hz: float, power: float, num_samples: int = 1 << 16, seed: int
) -> tuple[complex, float]:
    """Bussgang's two numbers of a front end for a Gaussian signal: y = α·x + d with d uncorrelated with x.

    For memoryless impairments. White noise stands for the signal, as OFDM with many subcarriers.

    Args:
        front_end: of either side.
        sample_rate_hz: of the samples [Hz].
        power: mean |x|², linear.
        num_samples: of the estimate; its relative error is of the order 1/√num_samples.
        seed: of the signal and of the front end.

    Returns:
        α = E[y x*] / E|x|², and E|d|² = E|y|² - |α|² E|x|², linear.

    Source: Bussgang, "Crosscorrelation Functions of Amplitude-Distorted Gaussian Signals", MIT RLE report 216
        (1952); Demir & Björnson, "The Bussgang Decomposition of Nonlinear Systems", IEEE Signal Process. Mag.
        38 (2021).

    Example:
        >>> distortion(FrontEnd([]), sample_rate_hz=1e6, power=2.0, seed=1)[0]
        (1+0j)
    """
    gen = seeding.generator(seed)
    x = math.sqrt(power) * seeding.complex_normal((1, 1, num_samples), gen, torch.complex128)
    state = front_end.draw(1, num_samples, sample_rate_hz, gen)[None]
    with torch.no_grad():
        y = front_end.apply(x, state, sample_rate_hz, power)
    mean_power = float(x.abs().square().mean())
    alpha = complex((y * x.conj()).mean()) / mean_power
    return alpha, max(float(y.abs().square().mean()) - abs(alpha) ** 2 * mean_power, 0.0)


def papr_db(samples: Tensor) -> Tensor:
    """Peak-to-average power ratio [dB]: the largest |s|² of an image over the mean of the same antenna.

    Args:
        samples: [B, A, N] complex.

    Returns:
        [B] float.

    Example:
        >>> papr_db(torch.tensor([[[1.0, 1.0, 1.0, 3.0]]]) + 0j)
        tensor([4.7712])
    """
    power = _squared(samples)
    return units.linear_to_db((power.amax(-1) / power.mean(-1)).amax(-1))


def evm(x_hat: Tensor, x: Tensor) -> Tensor:
    """Error vector magnitude, √(Σ|x_hat - x|² / Σ|x|²) of every image, linear.

    Args:
        x_hat: [B, ...] complex, received.
        x: same shape, sent.

    Returns:
        [B] float.

    Example:
        >>> evm(torch.tensor([[1.1 + 0j, -1.0]]), torch.tensor([[1.0 + 0j, -1.0]]))
        tensor([0.0707])
    """
    return (_squared(x_hat - x).flatten(1).sum(1) / _squared(x).flatten(1).sum(1)).sqrt()


def residual_power(got: Tensor, wanted: Tensor) -> Tensor:
    """|got - g·wanted|², g the complex gain that fits each vector of the last dimension best.

    Args:
        got: [..., n] complex.
        wanted: same shape, what was sent.

    Returns:
        [..., n] float, linear power: what is left when gain and phase common to the vector are taken off.
    """
    energy = _squared(wanted).sum(-1, keepdim=True).clamp_min(1e-12)
    gain = (got * wanted.conj()).sum(-1, keepdim=True) / energy
    return _squared(got - gain * wanted)


def _squared(samples: Tensor) -> Tensor:
    """|s|², float."""
    return samples.real.square() + samples.imag.square()
