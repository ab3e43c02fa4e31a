"""Which number format a network runs in. May import: torch, channels.checks."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

__all__ = ["Precision", "resolve_precision"]

Precision = Literal["auto", "float32", "bfloat16", "float16"]
_REPEATS = 3


def resolve_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The format of a name; "auto" is bfloat16 where a convolution is faster in it, else float32.

    On a CPU this is measured (some tens of milliseconds, once): without instructions for it bfloat16 is
    emulated, up to 50 times slower than float32.
    """
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    return torch.bfloat16 if _bfloat16_is_faster(device.type) else torch.float32


@lru_cache(maxsize=4)
def _bfloat16_is_faster(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    seconds = {dtype: _convolution_seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return seconds[torch.bfloat16] < 0.8 * seconds[torch.float32]


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
