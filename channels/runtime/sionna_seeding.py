"""A fence around Sionna and its generator. The first import of Sionna reseeds PyTorch's generators and costs
time: it happens here, when a block of Sionna is first used, with their state saved and restored.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from channels.runtime.deferred_compilation import compilation_deferred
from channels.runtime.triton_loading import load_triton

__all__ = ["sionna_device", "sionna_generator", "sionna_phy", "sionna_rng", "sionna_uniform"]

_PHY = "sionna.phy"
_LOADING = threading.Lock()


def sionna_phy() -> Any:
    """The module ``sionna.phy``, loaded at the first call. Whatever stands around that call, a seed or a mode
    of PyTorch, neither changes what is loaded nor is changed by it.
    """
    with _LOADING:
        if _PHY not in sys.modules:
            load_triton()
            modes = torch.inference_mode(False), torch.device("cpu")
            with torch.random.fork_rng(), modes[0], modes[1], compilation_deferred():
                importlib.import_module(_PHY)
    return sys.modules[_PHY]


@contextmanager
def sionna_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Run Sionna blocks with their generator seeded, and put its former state back afterwards.

    Touches ``sionna.phy.config.torch_rng(device)`` only: PyTorch's global generators stay as they are.
    """
    gen = sionna_phy().config.torch_rng(sionna_device(device))
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
    generator: torch.Generator = sionna_phy().config.torch_rng("cpu")
    return generator


def sionna_uniform(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Numbers between 0 and 1 of a shape from :func:`sionna_generator`."""
    return torch.rand(tuple(shape), generator=sionna_generator(), dtype=dtype)


def sionna_device(device: torch.device) -> str:
    """Sionna's name of a device: "cpu" or "cuda:<index>"."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0}"
    return device.type
