"""Pictures that are drawn with a known content over photographs, each a function of a seed and its number."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from linksim.images.picture_file import ImageError
from linksim.images.sets import Crop, ImageSet, SkimageImages
from linksim.images.truth import Truth

__all__ = ["Colour", "DrawnImages", "contrast", "on_photograph"]

Colour = tuple[int, int, int]
_PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle")


def on_photograph(height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """A random cut-out of a photograph that ships with scikit-image, [height, width] pixels of RGB.

    Photographs that are too small are enlarged until they cover it.
    """
    names = _PHOTOGRAPHS
    path = SkimageImages(names).stored(names[int(rng.integers(len(names)))]).path
    photo = _photograph(path)
    scale = max(width / photo.width, height / photo.height, 0.6)
    photo = photo.resize(
        (max(width, round(photo.width * scale)), max(height, round(photo.height * scale))),
        Image.Resampling.LANCZOS,
    )
    left, top = (int(rng.integers(n + 1)) for n in (photo.width - width, photo.height - height))
    return photo.crop((left, top, left + width, top + height))


@lru_cache(maxsize=len(_PHOTOGRAPHS))
def _photograph(path: Path) -> Image.Image:
    with Image.open(path, formats=("PNG", "JPEG")) as file:
        return file.convert("RGB")


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio of two sRGB colours, 1 to 21.

    Source: W3C, "Web Content Accessibility Guidelines 2.1", definitions of relative luminance and contrast
    ratio.

    Example:
        >>> round(contrast((255, 255, 255), (0, 0, 0)))
        21
    """
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    parts = np.asarray(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


class DrawnImages(ImageSet):
    """Pictures that are drawn when they are read: the same pixels and the same truth at every reading.

    Args:
        stem: names are this and a number from 1.
        count: of pictures.
        size: height and width [pixels].
        seed: of all that is random; every picture has a generator of its own, so that more of them leave
            the first ones as they are.
    """

    def __init__(self, stem: str, count: int, size: tuple[int, int], seed: int) -> None:
        names = [f"{stem}-{number:04d}" for number in range(1, count + 1)]
        super().__init__(names, Crop(), "rgb", f"drawn, seed {seed}")
        self.size, self.seed = size, seed

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[Image.Image, Truth]:
        """A picture of ``size``, RGB, and what it says."""

    def _drawn(self, name: str) -> tuple[Image.Image, Truth]:
        if name not in self.names:
            raise ImageError(f"images: no picture {name}, expected one of {', '.join(self.names)}.")
        return self.draw(np.random.default_rng([self.seed, self.names.index(name)]))

    def read(self, name: str) -> Tensor:
        """[3, H, W] uint8."""
        return torch.from_numpy(np.array(self._drawn(name)[0])).permute(2, 0, 1).contiguous()

    def truth(self, name: str) -> Truth:
        """See :class:`ImageSet`."""
        return self._drawn(name)[1]
