"""Streams that several antennas receive as scalar channels: detection, and Alamouti's code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from channels.antennas.detection import detect
from channels.arithmetic import abs_squared, multiply_conj, scale

__all__ = ["Gains", "separate"]

_TINY = 1e-20


@dataclass(frozen=True)
class Gains:
    """Gains of the streams at the data elements, as known.

    Args:
        h: [B, S, R, L, D] complex.
        variance: [B, 1, R, D] float, of their errors, summed over the streams; or [B, 1, R, 1].
        turning: [B, 1, D] float, variance of the error that a common phase makes, over the power of the gain;
            or [B, 1, 1].
        distorted: the same of distortion along the gain, at data and at pilots.
    """

    h: Tensor
    variance: Tensor
    turning: Tensor
    distorted: Tensor


def separate(
    y: Tensor, gains: Gains, variance: Tensor, *, paired: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Streams that arrive together, one symbol after the other.

    Args:
        y: [B, S, R, D] complex, received at the data elements.
        gains: as known.
        variance: [B, 1, R, D] float, of noise and errors.
        paired: two elements carry two symbols in Alamouti's code.

    Returns:
        Received and gain [B, S, L·D], mean error variance over the antennas and error along the gain [B, 1 or
        S, L·D].
    """
    y, h, variance = y.movedim(2, 0), gains.h.movedim((2, 3), (0, 1)), variance.movedim(2, 0)
    error, along = gains.variance.mean(2), gains.turning + gains.distorted
    if paired:
        turned, kept = _pair_shares(h)
        error, turning, distorted = map(_of_pairs, (error, gains.turning, gains.distorted))
        along = turning * turned + distorted * kept
        y, h, variance = _paired(y, h, variance)
    mean = variance.mean(0)
    white = variance.rsqrt()
    y = scale(y, white.expand(y.shape))
    h = scale(h, white[:, None].expand(h.shape))
    z, a = detect(y, h, torch.ones_like(mean))
    root = mean.sqrt()
    z = scale(z, root.expand(z.shape)).movedim(0, -1).flatten(-2)
    a = (a * root).movedim(0, -1).flatten(-2)
    error, along = (_of_streams(value, h.shape[1]) for value in (error, along))
    return z, torch.complex(a, torch.zeros_like(a)), error, along


def _pair_shares(h: Tensor) -> tuple[Tensor, Tensor]:
    """Alamouti's code over gains h [R, 2, B, S, D] against errors along the gains: the shares [B, S, D/2]
    that are left of a common phase and of independent distortion of the two antennas.

    With A = ‖h_1‖², B = ‖h_2‖² and c = h_1^H h_2 a symbol has the gain A + B; a phase that turns both
    elements leaves j(A - B) of it and 2jc of the other symbol, distortion A, B and twice c.
    """
    h = h[..., 0 : h.shape[-1] // 2 * 2 : 2]
    first, second = abs_squared(h).sum(0)
    across = abs_squared(torch.stack([multiply_conj(b, a) for a, b in h]).sum(0))
    total = (first + second).square().clamp_min(_TINY)
    return ((first - second).square() + 4 * across) / total, (
        first.square() + second.square() + 2 * across
    ) / total


def _paired(y: Tensor, h: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two elements with Alamouti's code as one with twice the antennas: the second one conjugated.

    Args:
        y: [R, B, S, D]; h: [R, 2, B, S, D]; variance: [R, B, 1, D] or [R, B, 1, 1].
    """
    even = y.shape[-1] // 2 * 2
    first, second = y[..., 0:even:2], y[..., 1:even:2].conj().resolve_conj()
    h_first, h_second = h[..., 0:even:2], h[..., 1:even:2].conj().resolve_conj()
    crossed = torch.stack([h_second[:, 1], -h_second[:, 0]], 1)
    halves = (variance, variance)
    if variance.shape[-1] > 1:
        halves = variance[..., 0:even:2], variance[..., 1:even:2]
    return torch.cat([first, second]), torch.cat([h_first, crossed]), torch.cat(halves)


def _of_pairs(values: Tensor) -> Tensor:
    """Mean of two neighbours [..., D]."""
    even = values.shape[-1] // 2 * 2
    return (values[..., 0:even:2] + values[..., 1:even:2]) / 2 if values.shape[-1] > 1 else values


def _of_streams(values: Tensor, streams: int) -> Tensor:
    """Values of elements [..., D] for the symbols of their streams [..., L·D]."""
    return values.repeat_interleave(streams, -1) if values.shape[-1] > 1 else values
