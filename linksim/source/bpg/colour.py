"""Colour and chroma of BPG, as the reference computes them, bit for bit."""

from __future__ import annotations

import numpy as np

from linksim.source.bpg.container import BT601, BT709, BT2020, RGB, YCGCO, BpgHeader
from linksim.source.hevc import Chroma, Picture, coding_block

__all__ = ["to_rgb", "to_ycc"]

_LUMA_WEIGHTS = {BT601: (0.299, 0.114), BT709: (0.2126, 0.0722), BT2020: (0.2627, 0.0593)}
_DOWN = np.array([2, -4, -8, 17, 57, 57, 17, -8, -4, 2], np.int64)  # sum 128, between two samples
_UP = np.array([-1, 4, -10, 57, 18, -6, 2], np.int64)  # sum 64, a quarter sample after the centre
_HALF = np.array([-1, 4, -11, 40, 40, -11, 4, -1], np.int64)  # sum 64, between two samples
_SAME = np.array([64], np.int64)


def _filter(x: np.ndarray, taps: np.ndarray, before: int, axis: int) -> np.ndarray:
    """Correlate along an axis with replicated edges: out[i] = sum_k taps[k]·x[i + k - before]."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (before, len(taps) - 1 - before)
    wide = np.pad(x, pad, mode="edge")
    size = x.shape[axis]
    parts = (tap * np.take(wide, np.arange(k, k + size), axis=axis) for k, tap in enumerate(taps))
    return sum(parts, np.zeros_like(x))


def _upsample_axis(x: np.ndarray, axis: int, length: int, *, aligned: bool = False) -> np.ndarray:
    """Twice as many samples, each a quarter sample beside an old one (aligned: every second is one), times
    64.
    """
    even = _filter(x, _SAME, 0, axis) if aligned else _filter(x, _UP[::-1], 3, axis)
    odd = _filter(x, _HALF, 3, axis) if aligned else _filter(x, _UP, 3, axis)
    both = np.stack([even, odd], axis=axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    return np.take(both.reshape(shape), np.arange(length), axis=axis)


def _upsample(plane: np.ndarray, height: int, width: int, header: BpgHeader) -> np.ndarray:
    """Chroma to full size; of 4:2:0 rows first, with 14-bit values in between."""
    samples, depth, shift = plane.astype(np.int64), header.depth, 6
    if header.chroma == "420":
        samples = _upsample_axis(samples, 0, height)
        samples = (samples + ((1 << (depth - 8)) >> 1)) >> (depth - 8)
        shift = 20 - depth
    wide = _upsample_axis(samples, 1, width, aligned=header.aligned)
    return np.clip((wide + (1 << (shift - 1))) >> shift, 0, (1 << depth) - 1)


def to_rgb(picture: Picture, header: BpgHeader) -> np.ndarray:
    """[H, W, 3] uint8 of a decoded picture."""
    height, width, depth = header.height, header.width, header.depth
    luma = picture.planes[0][:height, :width].astype(np.int64)
    shift = 30 - 8
    scale = 255.0 * (1 << shift)
    full = float((1 << depth) - 1)
    scale_y = scale / (219 << (depth - 8)) if header.limited_range else scale / full
    scale_c = scale / (224 << (depth - 8)) if header.limited_range else scale / full
    one = round(scale_y)
    offset = (1 << (shift - 1)) - ((16 << (depth - 8)) * one if header.limited_range else 0)
    y = luma * one + offset
    if header.chroma == "400":
        return np.repeat(np.clip(y >> shift, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    chroma = []
    for plane in picture.planes[1:]:
        if header.chroma in ("420", "422"):
            rows = (height + 1) // 2 if header.chroma == "420" else height
            chroma.append(_upsample(plane[:rows, : (width + 1) // 2], height, width, header))
        else:
            chroma.append(plane[:height, :width].astype(np.int64))
    return _matrix(y, chroma[0], chroma[1], header, scale_c, shift)


def _matrix(
    y: np.ndarray, u: np.ndarray, v: np.ndarray, header: BpgHeader, scale_c: float, shift: int
) -> np.ndarray:
    centre = 1 << (header.depth - 1)
    if header.colour_space == RGB:
        one, offset = round(scale_c), 1 << (shift - 1)
        planes = [v * one + offset, y, u * one + offset]  # G is in the luma plane, B and R behind it
    elif header.colour_space == YCGCO:
        cg, co = (u - centre) * round(scale_c), (v - centre) * round(scale_c)
        planes = [y - cg + co, y + cg, y - cg - co]
    else:
        k_r, k_b = _LUMA_WEIGHTS[header.colour_space]
        k_g = 1 - k_r - k_b
        cb, cr = u - centre, v - centre
        planes = [
            y + round(2 * (1 - k_r) * scale_c) * cr,
            y
            - round(2 * k_b * (1 - k_b) / k_g * scale_c) * cb
            - round(2 * k_r * (1 - k_r) / k_g * scale_c) * cr,
            y + round(2 * (1 - k_b) * scale_c) * cb,
        ]
    return np.clip(np.stack(planes, axis=2) >> shift, 0, 255).astype(np.uint8)


def to_ycc(rgb: np.ndarray, chroma: Chroma) -> Picture:
    """8-bit BT.601 full range in integers, chroma decimated, edges replicated to whole coding blocks."""
    shift = 31 - 8
    k_r, k_b = _LUMA_WEIGHTS[BT601]
    k_g = 1 - k_r - k_b
    matrix = [
        (k_r, k_g, k_b),
        (-0.5 * k_r / (1 - k_b), -0.5 * k_g / (1 - k_b), 0.5),
        (0.5, -0.5 * k_g / (1 - k_r), -0.5 * k_b / (1 - k_r)),
    ]
    weights = np.array([[round(v * (1 << shift)) for v in row] for row in matrix], np.int64)
    values = rgb.astype(np.int64) @ weights.T + (1 << (shift - 1))
    centre = np.array([0, 128, 128], np.int64)
    planes = [np.clip((values[:, :, i] >> shift) + centre[i], 0, 255) for i in range(3)]
    if chroma != "444":
        planes[1:] = [_decimate(plane, both=chroma == "420") for plane in planes[1:]]
    rows, columns = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}[chroma]
    block = coding_block(rgb.shape[0], rgb.shape[1])
    height, width = (-(-side // block) * block for side in rgb.shape[:2])
    sizes = [(height, width)] + [(height // rows, width // columns)] * 2
    out = []
    for plane, (rows_, cols_) in zip(planes, sizes, strict=True):
        pad = ((0, rows_ - plane.shape[0]), (0, cols_ - plane.shape[1]))
        out.append(np.pad(plane, pad, mode="edge").astype(np.uint8))
    return Picture(tuple(out), chroma, 8)


def _decimate(plane: np.ndarray, *, both: bool = True) -> np.ndarray:
    """Full-size chroma to half in both directions (columns with 14-bit values in between, then rows), or in
    columns alone.
    """
    wide = _filter(plane, _DOWN, 4, 1)[:, ::2]
    if not both:
        return np.clip((wide + (1 << 6)) >> 7, 0, 255)
    small = _filter(wide, _DOWN, 4, 0)[::2]
    return np.clip((small + (1 << 13)) >> 14, 0, 255)
