"""Randomness as an argument: hashed seeds, one generator per image, and a fence around Sionna's generator.

May import: torch, sionna, channels.triton_loading. Import ``sionna.phy`` only after this module (it is
imported here, with PyTorch's global generators saved and restored, because the first import of Sionna reseeds
them).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from channels.triton_loading import load_triton

load_triton()
with torch.random.fork_rng():
    import sionna.phy

__all__ = [
    "complex_normal",
    "derived_seed",
    "fill_normal",
    "generator",
    "item_seed",
    "real_normal",
    "sionna_device",
    "sionna_generator",
    "sionna_rng",
    "sionna_uniform",
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


@contextmanager
def sionna_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run Sionna blocks with their generator seeded, and put its former state back afterwards.

    Touches ``sionna.phy.config.torch_rng(device)`` only: PyTorch's global generators stay as they are.
    """
    gen = sionna.phy.config.torch_rng(sionna_device(device))
    state = gen.get_state()
    gen.manual_seed(seed)
    try:
        yield
    finally:
        gen.set_state(state)


def sionna_generator() -> torch.Generator:
    """The CPU generator that Sionna blocks draw from: what a channel model takes its randomness from, so that
    :func:`sionna_rng` decides all of it.
    """
    return sionna.phy.config.torch_rng("cpu")


def sionna_uniform(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Numbers between 0 and 1 of a shape from :func:`sionna_generator`."""
    return torch.rand(tuple(shape), generator=sionna_generator(), dtype=dtype)


def sionna_device(device: torch.device) -> str:
    """Sionna's name of a device: "cpu" or "cuda:<index>"."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0}"
    return device.type
