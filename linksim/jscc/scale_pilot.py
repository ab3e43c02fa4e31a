"""The scale of a picture, told in the frame: a known checkerboard on the weakest channel that is sent.

A frame is sent with unit power, so the receiver does not know by what its latent values were divided. A
constant amplitude that is added before that division tells it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["checkerboard", "estimate_log_scale", "remove_pilot"]

_PRIOR_DEVIATION = 0.4  # of the log of the scale over photographs
_FLOOR = 1e-6  # of a sum of squares: where nothing arrives nothing is known
_FURTHEST = math.log(8.0)


def checkerboard(rows: int, cols: int) -> Tensor:
    """[rows, cols] of +1 and -1: neighbours resemble each other, so next to nothing of a picture looks so."""
    y, x = torch.arange(rows)[:, None], torch.arange(cols)
    return (1 - 2 * ((y + x) % 2)).float()


def estimate_log_scale(
    values: Tensor, reliability: Tensor, log_amplitude: Tensor, log_mean: Tensor
) -> tuple[Tensor, Tensor]:
    """Log of what the latent values of a frame were divided by.

    Args:
        values: [B, h, w] r(x + n), the LMMSE estimates of the channel that has the pilot.
        reliability: [B, h, w] r in [0, 1].
        log_amplitude: [] log of the pilot's amplitude before the division.
        log_mean: [] mean of the log of the scale over photographs, which is returned where nothing arrived.

    Returns:
        [B] the log, and [B] its weight against the mean, 0 to 1.
    """
    board = checkerboard(values.shape[1], values.shape[2]).to(values)
    total = reliability.sum((1, 2)).clamp_min(1e-6)
    amplitude = (values * board).sum((1, 2)) / total
    # What is left are noise and the picture's own values: their power says how well the mean is known.
    left = values * board - reliability * amplitude[:, None, None]
    expected = (log_amplitude - log_mean).exp()
    error = (left.square().sum((1, 2)) + _FLOOR) / (total * expected).square()
    weight = _PRIOR_DEVIATION**2 / (_PRIOR_DEVIATION**2 + error)
    ratio = (amplitude / expected).clamp(math.exp(-_FURTHEST), math.exp(_FURTHEST))
    return log_mean - weight * ratio.log(), weight


def remove_pilot(latent: Tensor, reliability: Tensor, channel: int, amplitude: Tensor) -> Tensor:
    """Latent values [B, c, h, w] without the pilot of an amplitude [B] on one channel."""
    board = checkerboard(latent.shape[2], latent.shape[3]).to(latent)
    pilot = amplitude[:, None, None] * board * reliability[:, channel]
    parts = [latent[:, :channel], (latent[:, channel] - pilot)[:, None], latent[:, channel + 1 :]]
    return torch.cat(parts, dim=1)
