"""Pictures of the demo: those that come with scikit-image, and what people drop, bounded in size."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from channels.checks import complaint
from linksim.images.picture_file import ImageError, is_picture, read_image, read_size
from linksim.images.sets import Crop, SkimageImages

__all__ = ["LONGEST_SIDE", "MAX_BYTES", "DemoPicture", "bundled_picture", "own_picture"]

LONGEST_SIDE = 768  # pixels; what is larger is scaled down, so that an answer takes about a second
MAX_BYTES = 20_000_000  # of a file
MAX_PIXELS = 40_000_000  # of a file, before it is scaled
_MULTIPLE = 16


@dataclass(frozen=True)
class DemoPicture:
    """A picture to be sent.

    Args:
        name: in records; seeds of noise and fading depend on it.
        pixels: [3, H, W] uint8, sides multiples of 16.
        note: what was done to it, for people; empty for nothing.
        images: block ``images`` of a scenario with it.
    """

    name: str
    pixels: Tensor
    note: str = ""
    images: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height [pixels]."""
        return int(self.pixels.shape[2]), int(self.pixels.shape[1])


def bundled_picture(name: str) -> DemoPicture:
    """A photograph that ships with scikit-image.

    Raises:
        ImageError: no such photograph.
    """
    pixels = SkimageImages([name], Crop(multiple_of=_MULTIPLE))[name]
    return DemoPicture(name, pixels, images={"kind": "skimage", "names": [name], "multiple_of": _MULTIPLE})


def own_picture(path: Path) -> DemoPicture:
    """A picture file: scaled so that no side is longer than 768 pixels, cut to multiples of 16.

    Raises:
        ImageError: no picture, or one that is too large or too small.
    """
    name = path.name
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            got, expected = f"{size / 1e6:.0f} MB", f"at most {MAX_BYTES / 1e6:.0f} MB"
            raise ImageError(complaint(f"image {name}", "too large", got, expected, "Use a smaller file."))
        data = path.read_bytes()
    except OSError as problem:
        got = problem.strerror or str(problem)
        raise ImageError(complaint(f"image {name}", "cannot be read", got, "a picture file")) from None
    if not is_picture(data[:32]):
        expected = "a picture (PNG, JPEG, WEBP, BMP, TIFF, PPM)"
        raise ImageError(complaint(f"image {name}", "no picture", "another file", expected))
    with path.open("rb") as file:
        height, width = read_size(file, name, "rgb")
    if height * width > MAX_PIXELS:
        got, expected = f"{width} x {height} pixels", f"at most {MAX_PIXELS // 1_000_000} million"
        raise ImageError(complaint(f"image {name}", "too large", got, expected, "Use a smaller picture."))
    pixels = read_image(data, name, "rgb")
    scaled = _scaled(pixels)
    cut = Crop(multiple_of=_MULTIPLE)(scaled, name)
    notes = []
    if scaled.shape != pixels.shape:
        notes.append(f"scaled from {width} x {height} to {scaled.shape[2]} x {scaled.shape[1]}")
    if cut.shape != scaled.shape:
        notes.append(f"cut to {cut.shape[2]} x {cut.shape[1]}")
    block = {"kind": "folder", "path": os.fspath(path.parent), "multiple_of": _MULTIPLE, "convert": "rgb"}
    return DemoPicture(name, cut, ", ".join(notes), block)


def _scaled(pixels: Tensor) -> Tensor:
    """[3, H, W] with no side longer than :data:`LONGEST_SIDE`, by Lanczos."""
    height, width = pixels.shape[1:]
    longest = max(height, width)
    if longest <= LONGEST_SIDE:
        return pixels
    new_width, new_height = (max(1, round(side * LONGEST_SIDE / longest)) for side in (width, height))
    whole = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    picture = whole.resize((new_width, new_height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
