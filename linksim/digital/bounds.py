"""Limits on digital schemes. May import: torch, scipy, channels.{types, checks}."""

from __future__ import annotations

import math

import torch
from scipy.stats import norm
from torch import Tensor

from channels.checks import check_range
from channels.types import Csi

__all__ = ["capacity_bits", "normal_approximation_bits"]


def capacity_bits(csi: Csi) -> Tensor:
    """Information that n uses of the channel can carry: the sum of log2(1 + gamma) over the uses, in bits.

    With true gains this is the mutual information of Gaussian symbols of equal power given the whole channel
    beforehand: more than any scheme with equal power per use can decode from this realisation.

    Args:
        csi: h [B, n], no [B, 1] or [B, n].

    Returns:
        [B] float64, bits per image.

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 5.4.3.
    """
    return torch.log2(1 + csi.gamma.double()).sum(-1)


def normal_approximation_bits(csi: Csi, block_error: float) -> Tensor:
    """Information that n uses can carry at a block error rate: the normal approximation.

    log2 M = Σ C_i - sqrt(Σ V_i)·Q^-1(ε) + log2(n)/2 with the dispersion of complex Gaussian noise,
    V = (1 - 1/(1 + gamma)²)·log2(e)². For n of some hundred uses and more the best known codes come within
    a few bits of it; it is an approximation, not a bound, and below capacity for every ε < 1/2 of interest.

    Args:
        csi: h [B, n], no [B, 1] or [B, n]; the gains are known at both ends.
        block_error: ε, between 0 and 1/2.

    Returns:
        [B] float64, bits per image, not below 0.

    Raises:
        ValueError: ε out of range.

    Source: Polyanskiy, Poor & Verdú, "Channel Coding Rate in the Finite Blocklength Regime", IEEE Trans. Inf.
        Theory 56 (2010), theorem 54; for parallel channels their section IV.C.
    """
    check_range("block_error", block_error, 1e-12, 0.5)
    gamma = csi.gamma.double()
    dispersion = (1 - (1 + gamma).pow(-2)).sum(-1) * math.log2(math.e) ** 2
    capacity = capacity_bits(csi)
    bits = capacity - dispersion.sqrt() * float(norm.isf(block_error)) + 0.5 * math.log2(gamma.shape[-1])
    return torch.minimum(bits.clamp_min(0.0), capacity)
