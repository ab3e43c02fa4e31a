"""Sets of pictures, crops, and the step between [0, 1] floats and 8-bit values."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
from torch import Tensor

from channels.checks import complaint
from channels.runtime.moved import names_moved
from linksim.images.picture_file import MIN_SIDE, ConvertMode, ImageError, read_image
from linksim.images.truth import Truth

__all__ = [
    "Crop",
    "ImageError",
    "ImageSet",
    "NoImages",
    "SkimageImages",
    "StoredAt",
    "decoding_threads",
    "for_all",
    "image_digest",
    "read_all",
    "read_image",
    "round_to_uint8",
]


def round_to_uint8(image: Tensor) -> Tensor:
    """8-bit values of a [0, 1] picture of any shape: clip, scale, round half to even."""
    return (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)


def image_digest(image: Tensor) -> str:
    """SHA-256 of the pixels [3, H, W] uint8 and their size, 16 hex digits."""
    head = "x".join(str(s) for s in image.shape).encode()
    return hashlib.sha256(head + image.contiguous().numpy().tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Crop:
    """Centre crop of a picture.

    Args:
        height, width: target size, or None for the whole side.
        multiple_of: sides are cut down to multiples of this.
    """

    height: int | None = None
    width: int | None = None
    multiple_of: int = 1

    def __call__(self, image: Tensor, name: str) -> Tensor:
        """Centre crop of [3, H, W].

        Raises:
            ImageError: the picture is smaller than the crop, or less than 32 pixels are left of a side.
        """
        rows, cols = image.shape[1:]
        height, width = self.size(rows, cols, name)
        top, left = (rows - height) // 2, (cols - width) // 2
        return image[:, top : top + height, left : left + width].contiguous()

    def size(self, rows: int, cols: int, name: str) -> tuple[int, int]:
        """Height and width that are left of a picture.

        Raises:
            ImageError: see above.
        """
        target = (self.height or rows, self.width or cols)
        if target[0] > rows or target[1] > cols:
            got = f"{rows} x {cols} pixels"
            expected = f"at least {target[0]} x {target[1]} (images.crop)"
            raise ImageError(
                complaint(f"image {name}", "smaller than the crop", got, expected, "Use a smaller crop.")
            )
        height, width = (side - side % self.multiple_of for side in target)
        if min(height, width) < MIN_SIDE:
            got = f"{height} x {width} pixels of {rows} x {cols}"
            expected = f"sides of at least {MIN_SIDE}"
            cure = "Change images.crop and images.multiple_of, or use larger pictures."
            raise ImageError(complaint(f"image {name}", "too small after the crop", got, expected, cure))
        return height, width


@dataclass(frozen=True)
class StoredAt:
    """Where the bytes of a picture lie.

    Args:
        path: file.
        offset: of the first byte.
        length: in bytes; None to the end of the file.
    """

    path: Path
    offset: int = 0
    length: int | None = None


class ImageSet(ABC):
    """Pictures by name, in a fixed order, read when asked for.

    Args:
        names: of the pictures.
        crop: of every picture.
        convert: see :func:`linksim.images.picture_file.read_image`.
        origin: where they are, for people.
    """

    def __init__(self, names: Sequence[str], crop: Crop, convert: ConvertMode, origin: str) -> None:
        self.names = tuple(names)
        self.origin = origin
        self.crop = crop
        self.convert: ConvertMode = convert

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Tensor:
        """[3, H, W] uint8 of a picture, cropped."""
        return self.crop(self.read(name), name)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, self[name]) for name in self.names)

    @abstractmethod
    def read(self, name: str) -> Tensor:
        """[3, H, W] uint8 of a picture, whole."""

    def truth(self, name: str) -> Truth | None:
        """What a picture is known to say, for tasks; None of a set that does not know."""
        return None

    def stored(self, name: str) -> StoredAt:
        """Where a picture lies, for trainings, which read files.

        Raises:
            ImageError: a set without files.
        """
        got = f"{type(self).__name__}, which has none"
        raise ImageError(complaint("images", "no files", got, "pictures in files, such as kind: folder"))


_LISTED = 20  # problems that are listed
_TOGETHER = 4096  # pictures whose names wait for a thread
T = TypeVar("T")
log = logging.getLogger("linksim.images.sets")


def decoding_threads() -> int:
    """How many pictures are decoded at once: one for each core, 16 at most."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def for_all(names: Sequence[str], work: Callable[[str], T]) -> list[T]:
    """``work`` done on every picture, in threads: decoding leaves Python's lock.

    Args:
        names: of the pictures.
        work: with the name of one.

    Raises:
        ImageError: lists what is wrong with each that cannot be used.
    """

    def tried(name: str) -> T | ImageError:
        try:
            return work(name)
        except ImageError as problem:
            return problem

    done: list[T] = []
    problems: list[ImageError] = []
    with ThreadPoolExecutor(decoding_threads()) as pool:
        for first in range(0, len(names), _TOGETHER):
            for result in pool.map(tried, names[first : first + _TOGETHER]):
                if isinstance(result, ImageError):
                    problems.append(result)
                else:
                    done.append(result)
    if problems:
        more = len(problems) - _LISTED
        rest = [f"images: {more} more such pictures."] if more > 0 else []
        raise ImageError("\n".join([*map(str, problems[:_LISTED]), *rest]))
    return done


def read_all(images: ImageSet, names: Sequence[str]) -> dict[str, Tensor]:
    """Pictures by name.

    Raises:
        ImageError: lists what is wrong with each that cannot be used.
    """
    return dict(zip(names, for_all(names, images.__getitem__), strict=True))


class SkimageImages(ImageSet):
    """Pictures that ship inside scikit-image, so that a first run needs no download: six photographs, one of
    them grey (camera), and a telescope's view of galaxies, a retina, and tissue under a microscope (ihc).

    Raises:
        ImageError: a name that scikit-image does not ship.
    """

    FILES: ClassVar[dict[str, str]] = {
        "astronaut": "astronaut.png",
        "coffee": "coffee.png",
        "chelsea": "chelsea.png",
        "rocket": "rocket.jpg",
        "motorcycle": "motorcycle_left.png",
        "camera": "camera.png",
        "hubble": "hubble_deep_field.jpg",
        "retina": "retina.jpg",
        "ihc": "ihc.png",
    }

    def __init__(self, names: Sequence[str], crop: Crop | None = None) -> None:
        unknown = [n for n in names if n not in self.FILES]
        if unknown:
            raise ImageError(complaint("images.names", "unknown photograph", unknown, sorted(self.FILES)))
        super().__init__(names, crop or Crop(), "rgb", "scikit-image")

    def stored(self, name: str) -> StoredAt:
        import skimage  # the import takes a while and only this kind needs it

        return StoredAt(Path(skimage.__file__).parent / "data" / self.FILES[name])

    def read(self, name: str) -> Tensor:
        return read_image(self.stored(name).path, name, self.convert)


class NoImages(ImageSet):
    """Frames of random bits in the place of pictures: one of no pixels, [3, 0, 0], which trials repeat."""

    def __init__(self) -> None:
        super().__init__(("none",), Crop(), "none", "random bits")

    def __getitem__(self, name: str) -> Tensor:
        """[3, 0, 0] uint8."""
        return self.read(name)

    def read(self, name: str) -> Tensor:
        return torch.zeros(3, 0, 0, dtype=torch.uint8)


if not TYPE_CHECKING:  # a checker would take it for any name
    __getattr__ = names_moved(
        __name__, dict.fromkeys(("FolderImages", "TarImages"), "linksim.images.folders")
    )
