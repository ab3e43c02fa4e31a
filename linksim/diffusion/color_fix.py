"""Colour correction: what a generated picture takes over from the initial reconstruction."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ColorFix", "adain", "fix_color", "wavelet"]

ColorFix = Literal["wavelet", "adain", "none"]
LEVELS = 5


def _blur(image: Tensor, radius: int) -> Tensor:
    """3x3 binomial kernel with dilation ``radius``, replicated edges."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=image.dtype, device=image.device)
    channels = image.shape[1]
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    return F.conv2d(padded, kernel, groups=channels, dilation=radius)


def _low(image: Tensor) -> Tensor:
    for level in range(LEVELS):
        image = _blur(image, 2**level)
    return image


def wavelet(sample: Tensor, reference: Tensor) -> Tensor:
    """High frequencies of the sample with the low ones of the reference: à-trous wavelet, five levels.

    Args:
        sample, reference: [B, 3, H, W], any range.

    Source: Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution" (StableSR), 2023,
        sec. 3.3.
    """
    return sample - _low(sample) + _low(reference)


def adain(sample: Tensor, reference: Tensor, eps: float = 1e-5) -> Tensor:
    """The sample with the mean and standard deviation of every channel of the reference.

    Args:
        sample, reference: [B, 3, H, W].
        eps: added to variances.

    Source: Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization",
        ICCV 2017.
    """

    def moments(image: Tensor) -> tuple[Tensor, Tensor]:
        variance = image.var((2, 3), keepdim=True) + eps
        return image.mean((2, 3), keepdim=True), variance.sqrt()

    (mean, std), (mean_reference, std_reference) = moments(sample), moments(reference)
    return (sample - mean) / std * std_reference + mean_reference


def fix_color(sample: Tensor, reference: Tensor, kind: ColorFix) -> Tensor:
    """Colour correction by name; "none" returns the sample."""
    if kind == "wavelet":
        return wavelet(sample, reference)
    return adain(sample, reference) if kind == "adain" else sample
