"""Limits on digital schemes. May import: torch, channels.types."""

from __future__ import annotations

import torch
from torch import Tensor

from channels.types import Csi

__all__ = ["capacity_bits"]


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
