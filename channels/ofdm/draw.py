"""Randomness of an OFDM link, and the power of its gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.arithmetic import abs_squared
from channels.types import Draw

__all__ = ["OfdmDraw", "frame_power", "mean_power", "stacked"]

_LEAST_POWER = 1e-20


@dataclass(frozen=True)
class OfdmDraw(Draw):
    """Randomness of an OFDM link."""

    h: Tensor  # [B, S, R, A, T, F] complex, gain between pairs of antennas
    noise: Tensor  # [B, S, R, T, F] complex, CN(0, 1)
    num_symbols: int
    precoder: Tensor | None = None  # [B, S, A, L, F] complex
    sender: Tensor | None = None  # [B, K] float, randomness of the transmitter's hardware
    receiver: Tensor | None = None  # [B, K'] float, of the receiver's
    air: Tensor | None = None  # [B, ...] complex, what the waveform meets beside h
    reported: Tensor | None = None  # [B, 1] float, mean power that an old report of the frame is of
    spilled: Tensor | None = None  # [B, 1] float, interference of places with delays of their own


def frame_power(draw: Draw) -> Tensor:
    """Mean power of the gains of every image over grid and antennas, [B, 1] float, above 0: a blocked place
    counts as one 200 dB below the ensemble.
    """
    assert isinstance(draw, OfdmDraw)
    return mean_power(draw.h)


def mean_power(h: Tensor) -> Tensor:
    """Mean power of gains [B, ...], [B, 1] float, above 0."""
    return abs_squared(h).flatten(1).mean(1)[:, None].clamp_min(_LEAST_POWER)


def stacked(rows: Sequence[Tensor]) -> Tensor:
    """Stack, with zeros behind the last dimension of the shorter ones."""
    longest = max(row.shape[-1] for row in rows)
    return torch.stack([torch.nn.functional.pad(row, (0, longest - row.shape[-1])) for row in rows])
