"""Side information of SwinJSCC as bits: the scale of a picture, and which of its channels are sent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["SCALE_BITS", "packed", "quantised_scale", "subset_bits", "unpacked"]

SCALE_BITS = 16
_LOWEST, _OCTAVES = -24.0, 48.0  # log2 of the scale
_STEP = _OCTAVES / 2**SCALE_BITS


def _index(scale: Tensor) -> Tensor:
    """[B] number of the step of a scale on a logarithmic grid."""
    log = scale.double().clamp_min(2.0**_LOWEST).log2()
    return ((log - _LOWEST) / _STEP).round().long().clamp(0, 2**SCALE_BITS - 1)


def _scale(index: Tensor) -> Tensor:
    return torch.pow(2.0, _LOWEST + index.double() * _STEP).float()


def quantised_scale(scale: Tensor) -> Tensor:
    """Scales [B] as 16 bits tell them: off by at most 0.026%."""
    return _scale(_index(scale)).to(scale)


def subset_bits(whole: int, part: int) -> int:
    """Bits that say which ``part`` of ``whole`` things are meant.

    Example:
        >>> subset_bits(320, 96), subset_bits(320, 320)
        (278, 0)
    """
    return (math.comb(whole, part) - 1).bit_length()


def _subset_number(chosen: Sequence[int]) -> int:
    """Number of a subset, given in rising order, among all subsets of its size.

    Source: Cover, "Enumerative Source Encoding", IEEE Trans. Inf. Theory 19 (1973).
    """
    return sum(math.comb(index, rank) for rank, index in enumerate(chosen, 1))


def _subset(number: int, whole: int, part: int) -> list[int]:
    """The subset of a number, in rising order; inverse of :func:`_subset_number`."""
    found, index = [], whole - 1
    for rank in range(part, 0, -1):
        while math.comb(index, rank) > number:
            index -= 1
        number -= math.comb(index, rank)
        found.append(index)
        index -= 1
    return found[::-1]


def packed(scale: Tensor, chosen: Tensor, whole: int) -> Tensor:
    """Side information as bytes.

    Args:
        scale: [B] what the latents were divided by.
        chosen: [B, c] channels that are sent, in rising order.
        whole: channels that there are.

    Returns:
        [B, bytes] uint8, on the CPU; the bits are :data:`SCALE_BITS` plus :func:`subset_bits`.
    """
    part = chosen.shape[1]
    size = (SCALE_BITS + subset_bits(whole, part) + 7) // 8
    rows = []
    for index, subset in zip(_index(scale).tolist(), chosen.tolist(), strict=True):
        number = index + (_subset_number(subset) << SCALE_BITS)
        rows.append(list(number.to_bytes(size, "little")))
    return torch.tensor(rows, dtype=torch.uint8).reshape(len(chosen), size)


def unpacked(told: Tensor, whole: int, part: int) -> tuple[Tensor, Tensor]:
    """Scales [B] and channels [B, part] of :func:`packed` bytes."""
    numbers = [int.from_bytes(bytes(row), "little") for row in told.tolist()]
    scale = _scale(torch.tensor([number % 2**SCALE_BITS for number in numbers]))
    chosen = [_subset(number >> SCALE_BITS, whole, part) for number in numbers]
    return scale, torch.tensor(chosen, dtype=torch.long).reshape(len(numbers), part)
