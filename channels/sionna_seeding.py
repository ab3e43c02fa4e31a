"""A fence around Sionna's generator. The first import of Sionna reseeds PyTorch's generators and costs
seconds: it happens here, with their state saved and restored, and only where a block of Sionna is used.

May import: torch, sionna, channels.triton_loading. Import ``sionna.phy`` only after this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from channels.triton_loading import load_triton

load_triton()
with torch.random.fork_rng():
    import sionna.phy

__all__ = ["sionna_device", "sionna_generator", "sionna_rng", "sionna_uniform"]


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
