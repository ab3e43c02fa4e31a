"""Randomness as an argument: hashed seeds, one generator per image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "complex_normal",
    "derived_seed",
    "fill_normal",
    "generator",
    "item_seed",
    "real_normal",
    "uniform",
]


def item_seed(run_seed: int, image_id: str, trial: int, purpose: str) -> int:
    """A 63-bit seed that depends on every argument and on nothing else.

    The SNR is not an argument: the same fades and noise directions recur at every SNR and for every
    scheme (common random numbers), so curves are comparable with few images.

    Args:
        run_seed: seed of the scenario.
        image_id: name of the image.
        trial: repetition, from 0.
        purpose: what the seed is for ("channel", "sampler", ...).

    Returns:
        A whole number in [0, 2**63).

    Example:
        >>> item_seed(1, "kodim01", 0, "channel") == item_seed(1, "kodim01", 0, "channel")
        True
        >>> item_seed(1, "kodim01", 0, "channel") == item_seed(1, "kodim01", 1, "channel")
        False
    """
    text = f"{run_seed}\x1f{image_id}\x1f{trial}\x1f{purpose}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def derived_seed(seed: int, purpose: str) -> int:
    """Another seed for another purpose of the same item, so that two generators never run in step."""
    return item_seed(seed, "", 0, purpose)


def generator(seed: int) -> torch.Generator:
    """A CPU generator with this seed. Draws are made on the CPU, so they do not depend on the device."""
    return torch.Generator(device="cpu").manual_seed(seed)


def uniform(seed: int) -> float:
    """One number between 0 and 1 for a seed."""
    return float(torch.rand((), generator=generator(seed), dtype=torch.float64))


def complex_normal(shape: Sequence[int], gen: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Circular complex normal samples CN(0, 1), E|w|² = 1.

    Args:
        shape: shape of the result.
        gen: CPU generator to draw from.
        dtype: torch.complex64 or torch.complex128.
    """
    return torch.randn(tuple(shape), generator=gen, dtype=dtype)


def real_normal(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal samples of a shape from a seed, float32 on the CPU."""
    return torch.randn(tuple(shape), generator=generator(seed))


def fill_normal(out: Tensor, seeds: Sequence[int]) -> None:
    """Overwrite every row of a complex tensor [B, ...] with CN(0, 1) samples, each from its own seed."""
    gen = torch.Generator(device="cpu")
    for row, seed in zip(torch.view_as_real(out).unbind(), seeds, strict=True):
        row.normal_(0.0, math.sqrt(0.5), generator=gen.manual_seed(seed))
