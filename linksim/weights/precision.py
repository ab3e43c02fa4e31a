"""Which number format a network runs in."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

__all__ = ["Precision", "bfloat16_gain", "resolve_precision"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]
_REPEATS = 3
_WORTH = 1.25  # gain from which half the bits are taken
log = logging.getLogger("linksim.weights.precision")


def resolve_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The format of a name; "auto" is bfloat16 where a convolution is faster in it, else float32.

    On a CPU this is measured (some tens of milliseconds, once): without instructions for it bfloat16 is
    emulated, up to 50 times slower than float32. Who asks for it all the same is told so.
    """
    if name == "auto":
        return torch.bfloat16 if bfloat16_gain(device.type) > _WORTH else torch.float32
    if name == "bfloat16" and bfloat16_gain(device.type) < 1:
        slower = 1 / bfloat16_gain(device.type)
        log.warning(
            "precision: bfloat16 is %.1f times slower than float32 on this device, which emulates it; "
            "precision: auto takes what is faster",
            slower,
        )
    dtype: torch.dtype = getattr(torch, name)
    return dtype


@lru_cache(maxsize=4)
def bfloat16_gain(kind: str) -> float:
    """How many times faster than in float32 a convolution is in bfloat16 on a device of a kind."""
    if kind == "cuda":
        return 2.0 if torch.cuda.is_bf16_supported(including_emulation=False) else 0.5
    return _convolution_seconds(torch.float32) / _convolution_seconds(torch.bfloat16)


@torch.no_grad()
def _convolution_seconds(dtype: torch.dtype) -> float:
    layer = nn.Conv2d(128, 128, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
    x = torch.zeros(2, 128, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(_REPEATS):
        started = time.perf_counter()
        layer(x)
        best = min(best, time.perf_counter() - started)
    return best
