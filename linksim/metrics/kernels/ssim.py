"""SSIM of pictures on CPUs: one pass over a picture, a row at a time, which stays in the cache.

Windows are Gaussian, 11 x 11, and lie inside the picture. :mod:`linksim.metrics.distortion` has the
definition, differentiable, on any device; results agree to rounding in double precision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from linksim.files.compiled import VECTORISED, compiled

__all__ = ["halved", "original_means", "similarity"]

Floats = NDArray[np.float64]
_SIDE = 11
_U = np.uintp  # numba adds no test for negative indices then


def original_means(x: Floats, taps: Floats) -> Floats:
    """Window means of originals and of their squares.

    Args:
        x: [P, H, W] planes.
        taps: [11] of the window in either direction; symmetric, sum 1.

    Returns:
        [P, 2, H - 10, W - 10].
    """
    planes, height, width = x.shape
    means = np.empty((planes, 2, height - _SIDE + 1, width - _SIDE + 1))
    for plane, out in zip(x, means, strict=True):
        _means(plane, taps, out)
    return means


def similarity(x_hat: Floats, x: Floats, means: Floats, taps: Floats, c1: float, c2: float) -> Floats:
    """Mean SSIM and mean contrast-structure term of reconstructions.

    Args:
        x_hat, x: [P, H, W] planes of reconstructions and originals.
        means: of ``x``, by :func:`original_means`.
        taps: as there.
        c1, c2: stabilising constants of luminance and contrast.

    Returns:
        [P, 2]: SSIM, and its contrast-structure factor, each the mean over windows.
    """
    out = np.empty((len(x), 2))
    for p in range(len(x)):
        out[p] = _similarity(x_hat[p], x[p], means[p], taps, c1, c2)
    return out


def halved(x: Floats) -> Floats:
    """Means of 2 x 2 pixels of planes [P, H, W]; an odd side has zeros around, which count."""
    planes, height, width = x.shape
    out = np.empty((planes, (height + 1) // 2, (width + 1) // 2))
    if height % 2 or width % 2:
        odd = ((0, 0), (height % 2, height % 2), (width % 2, width % 2))
        x = np.pad(x, odd)
    for plane, half in zip(x, out, strict=True):
        _halve(plane, half)
    return out


@compiled(**VECTORISED)
def _halve(x: Floats, out: Floats) -> None:
    for y in range(len(out)):
        upper, lower, row = x[2 * y], x[2 * y + 1], out[y]
        for i in range(_U(len(row))):
            j = _U(2) * _U(i)
            row[_U(i)] = 0.25 * (upper[j] + upper[j + _U(1)] + lower[j] + lower[j + _U(1)])


@compiled(**VECTORISED)
def _across(row: Floats, w: Floats, out: Floats) -> None:
    """Window sums along a row."""
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for i in range(_U(len(out))):
        x = _U(i)
        total = w0 * (row[x] + row[x + _U(10)]) + w1 * (row[x + _U(1)] + row[x + _U(9)])
        total += w2 * (row[x + _U(2)] + row[x + _U(8)]) + w3 * (row[x + _U(3)] + row[x + _U(7)])
        out[x] = total + w4 * (row[x + _U(4)] + row[x + _U(6)]) + w5 * row[x + _U(5)]


@compiled(**VECTORISED)
def _pair(upper: Floats, lower: Floats, weight: float, out: Floats) -> None:
    """Add two rows at the same distance from the middle of the window."""
    for i in range(_U(len(out))):
        out[_U(i)] += weight * (upper[_U(i)] + lower[_U(i)])


@compiled(**VECTORISED)
def _down(ring: Floats, newest: int, w: Floats, out: Floats) -> None:
    """Window sums over the eleven rows of ``ring``, of which ``newest`` came last."""
    middle = ring[(newest + 6) % _SIDE]
    for i in range(_U(len(out))):
        out[_U(i)] = w[5] * middle[_U(i)]
    for k in range(5):
        _pair(ring[(newest + 1 + k) % _SIDE], ring[(newest - k) % _SIDE], w[k], out)


@compiled(**VECTORISED)
def _product(a: Floats, b: Floats, out: Floats) -> None:
    for i in range(_U(len(out))):
        out[_U(i)] = a[_U(i)] * b[_U(i)]


@compiled(**VECTORISED)
def _means(x: Floats, w: Floats, out: Floats) -> None:
    """Of a plane [H, W], into [2, H - 10, W - 10]."""
    height, width = x.shape
    ring = np.empty((2, _SIDE, width - _SIDE + 1))
    square = np.empty(width)
    for y in range(height):
        newest = y % _SIDE
        _product(x[y], x[y], square)
        _across(x[y], w, ring[0, newest])
        _across(square, w, ring[1, newest])
        if y >= _SIDE - 1:
            _down(ring[0], newest, w, out[0, y - _SIDE + 1])
            _down(ring[1], newest, w, out[1, y - _SIDE + 1])


@compiled(**VECTORISED)
def _row_sums(row: Floats, mean: Floats, square: Floats, c1: float, c2: float) -> tuple[float, float]:
    """SSIM and contrast-structure term summed over windows of a row: means of a reconstruction, of its square
    and of its product with the original [3, n], means of the original and of its square [n].
    """
    full, contrast = 0.0, 0.0
    mean_hat, square_hat, product = row[0], row[1], row[2]
    for i in range(_U(len(mean))):
        x = _U(i)
        powers, both = mean_hat[x] * mean_hat[x] + mean[x] * mean[x], mean_hat[x] * mean[x]
        term = (2 * (product[x] - both) + c2) / (square_hat[x] + square[x] - powers + c2)
        contrast += term
        full += term * (2 * both + c1) / (powers + c1)
    return full, contrast


@compiled(**VECTORISED)
def _similarity(
    x_hat: Floats, x: Floats, means: Floats, w: Floats, c1: float, c2: float
) -> tuple[float, float]:
    """Means over the windows of one plane."""
    height, width = x.shape
    rows, columns = height - _SIDE + 1, width - _SIDE + 1
    ring, row = np.empty((3, _SIDE, columns)), np.empty((3, columns))
    square, product = np.empty(width), np.empty(width)
    full, contrast = 0.0, 0.0
    for y in range(height):
        newest = y % _SIDE
        _product(x_hat[y], x_hat[y], square)
        _product(x_hat[y], x[y], product)
        _across(x_hat[y], w, ring[0, newest])
        _across(square, w, ring[1, newest])
        _across(product, w, ring[2, newest])
        first = y - _SIDE + 1
        if first >= 0:
            for kind in range(3):
                _down(ring[kind], newest, w, row[kind])
            sums = _row_sums(row, means[0, first], means[1, first], c1, c2)
            full += sums[0]
            contrast += sums[1]
    return full / (rows * columns), contrast / (rows * columns)
