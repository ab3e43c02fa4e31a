"""Sizes in which pictures are coded, and the last streams and pictures at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Memory", "reduced", "resize", "size_byte"]

Rgb = NDArray[np.uint8]


def resize(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    """A picture in (H, W) pixels, Lanczos."""
    if rgb.shape[:2] == size:
        return rgb
    return np.array(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def reduced(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """(H, W) divided by ``resolution``, rounded up."""
    return -(-size[0] // resolution), -(-size[1] // resolution)


def size_byte(size: tuple[int, int], resolution: int) -> bytes:
    """What a receiver needs beside the size of the coded picture to know that of the whole one: the logarithm
    of ``resolution`` (2 bits), and what rounding added to either side (3 bits each).
    """
    added = [side * resolution - whole for side, whole in zip(reduced(size, resolution), size, strict=True)]
    return bytes([resolution.bit_length() - 1 << 6 | added[0] << 3 | added[1]])


class Memory:
    """The last values, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._values: OrderedDict[Hashable, bytes | Rgb | Tensor] = OrderedDict()

    def get(self, key: Hashable) -> bytes | Rgb | Tensor | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Hashable, value: bytes | Rgb | Tensor) -> None:
        if key not in self._values:
            self._held += _size(value)
        self._values[key] = value
        while self._held > self._limit and len(self._values) > 1:
            self._held -= _size(self._values.popitem(last=False)[1])


def _size(value: bytes | Rgb | Tensor) -> int:
    return len(value) if isinstance(value, bytes) else value.nbytes
