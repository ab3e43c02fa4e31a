"""Distances between feature maps on CPUs, as LPIPS weighs them: one pass over pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from linksim.files.compiled import VECTORISED, compiled

__all__ = ["unit_length", "unit_length_distance"]

Floats = NDArray[np.float32]
# A product that is not rounded before a subtraction would leave a distance between equal maps.
_ROUNDED = {**VECTORISED, "fastmath": VECTORISED["fastmath"] - {"contract"}}
_TINY = np.float32(1e-10)  # as lpips.normalize_tensor


def unit_length(features: Floats) -> Floats:
    """Features [B, N, C] to unit length at every pixel, f / (|f| + 1e-10) as ``lpips.normalize_tensor``."""
    pixels = features.reshape(-1, features.shape[2])
    out = np.empty_like(pixels)
    _scale(pixels, _factors(pixels), out)
    return out.reshape(features.shape)


def unit_length_distance(features: Floats, originals: Floats, weights: Floats) -> NDArray[np.float64]:
    """Mean over pixels of Σ_c w_c·(f_c / (|f| + 1e-10) - o_c)²; 0 of equal maps.

    Args:
        features: [B, N, C] of N pixels.
        originals: [B, N, C], by :func:`unit_length`.
        weights: [C].

    Returns:
        [B].
    """
    out = np.empty(len(features))
    for b in range(len(features)):
        out[b] = _sum(features[b], _factors(features[b]), originals[b], weights) / features.shape[1]
    return out


@compiled(**VECTORISED)
def _squares(row: Floats) -> np.float32:
    total = np.float32(0.0)
    for c in range(np.uintp(len(row))):
        total += row[np.uintp(c)] * row[np.uintp(c)]
    return total


@compiled(**VECTORISED)
def _factors(features: Floats) -> Floats:
    """Of every pixel; one piece of code for both sides, whose sums are rounded alike."""
    factors = np.empty(len(features), np.float32)
    for pixel in range(len(features)):
        factors[pixel] = np.float32(1.0) / (np.sqrt(_squares(features[pixel])) + _TINY)
    return factors


@compiled(**_ROUNDED)
def _scale(features: Floats, factors: Floats, out: Floats) -> None:
    for pixel in range(len(features)):
        factor, row, scaled = factors[pixel], features[pixel], out[pixel]
        for c in range(np.uintp(len(row))):
            scaled[np.uintp(c)] = row[np.uintp(c)] * factor


@compiled(**_ROUNDED)
def _weighted(row: Floats, factor: np.float32, original: Floats, weights: Floats) -> np.float32:
    total = np.float32(0.0)
    for c in range(np.uintp(len(row))):
        difference = row[np.uintp(c)] * factor - original[np.uintp(c)]
        total += weights[np.uintp(c)] * difference * difference
    return total


@compiled(**VECTORISED)
def _sum(features: Floats, factors: Floats, originals: Floats, weights: Floats) -> float:
    total = 0.0
    for pixel in range(len(features)):
        total += _weighted(features[pixel], factors[pixel], originals[pixel], weights)
    return total
