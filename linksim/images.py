"""Reading pictures, sets of pictures, crops, and the step between [0, 1] floats and 8-bit values.

May import: torch, numpy, PIL, channels.checks.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from channels.checks import complaint

__all__ = [
    "Crop",
    "FolderImages",
    "ImageError",
    "ImageSet",
    "SkimageImages",
    "TarImages",
    "image_digest",
    "read_image",
    "round_to_uint8",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
MIN_SIDE = 32  # four-fold reduced coding and MS-SSIM windows need at least this

ConvertMode = Literal["none", "rgb"]


class ImageError(ValueError):
    """A picture or a set of pictures that cannot be used."""


def read_image(source: Path | bytes, name: str, convert: ConvertMode = "none") -> Tensor:
    """Decode a picture.

    Args:
        source: file or its bytes.
        name: for messages.
        convert: "none" accepts 8-bit RGB only; "rgb" also takes grey, palette and alpha pictures (grey is
            repeated, alpha is dropped).

    Returns:
        [3, H, W] uint8.

    Raises:
        ImageError: not a picture, truncated, not RGB, or smaller than 32 pixels.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            picture.load()
            mode, size = picture.mode, picture.size
            pixels = np.array(picture if mode == "RGB" else picture.convert("RGB"))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as problem:
        message = complaint(
            f"image {name}", "cannot be decoded", problem, "a complete picture file", "Replace it."
        )
        raise ImageError(message) from None
    if mode != "RGB" and (convert == "none" or mode.startswith(("I", "F"))):
        cure = "Convert it, or set images.convert: rgb (grey is repeated, alpha dropped)."
        raise ImageError(complaint(f"image {name}", "wrong pixel format", f"mode {mode}", "8-bit RGB", cure))
    if min(size) < MIN_SIDE:
        got = f"{size[1]} x {size[0]} pixels"
        raise ImageError(complaint(f"image {name}", "too small", got, f"sides of at least {MIN_SIDE}"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


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
        top, left = (rows - height) // 2, (cols - width) // 2
        return image[:, top : top + height, left : left + width].contiguous()


class ImageSet(ABC):
    """Pictures by name, in a fixed order, read when asked for."""

    def __init__(self, names: Sequence[str], crop: Crop, convert: ConvertMode) -> None:
        self.names = tuple(names)
        self.crop = crop
        self.convert: ConvertMode = convert

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> Tensor:
        """[3, H, W] uint8 of a picture, cropped."""
        return self.crop(self._read(name), name)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, self[name]) for name in self.names)

    @abstractmethod
    def _read(self, name: str) -> Tensor: ...


class FolderImages(ImageSet):
    """All pictures of a folder, sorted by name; sub-folders are not entered.

    Raises:
        ImageError: no such folder, or no picture in it.
    """

    def __init__(
        self, path: Path, crop: Crop | None = None, convert: ConvertMode = "none", limit: int | None = None
    ) -> None:
        if not path.is_dir():
            cure = "Relative paths start at the current folder; use --set images.path=/where/they/are."
            raise ImageError(
                complaint("images.path", "no such folder", path.absolute(), "a folder of pictures", cure)
            )
        files = sorted(p.name for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            expected = "at least one of " + ", ".join("*" + s for s in SUFFIXES)
            raise ImageError(complaint("images.path", "no picture in the folder", path.absolute(), expected))
        self.path = path
        super().__init__(files[:limit], crop or Crop(), convert)

    def _read(self, name: str) -> Tensor:
        return read_image(self.path / name, name, self.convert)


class TarImages(ImageSet):
    """All pictures in one or more tar files, sorted by file and name. Members are read, never extracted.

    Raises:
        ImageError: a tar file that is missing or broken, two pictures of one name, or no picture in them.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        crop: Crop | None = None,
        convert: ConvertMode = "none",
        limit: int | None = None,
    ) -> None:
        self._where: dict[str, tuple[Path, int, int]] = {}
        for path in paths:
            self._scan(path)
        if not self._where:
            raise ImageError(
                complaint("images.paths", "no picture", [str(p) for p in paths], "tar files of pictures")
            )
        super().__init__(list(self._where)[:limit], crop or Crop(), convert)

    def _scan(self, path: Path) -> None:
        try:
            with tarfile.open(path, "r:") as archive:
                members = [
                    m for m in archive.getmembers() if m.isfile() and m.name.lower().endswith(SUFFIXES)
                ]
        except (OSError, tarfile.TarError) as problem:
            expected = "an uncompressed tar file of pictures"
            raise ImageError(
                complaint("images.paths", "cannot be read", f"{path}: {problem}", expected)
            ) from None
        for member in sorted(members, key=lambda m: m.name):
            name = f"{path.stem}/{member.name}"
            if name in self._where:
                got = f"{name} in {self._where[name][0]} and {path}"
                cure = "Rename one of the files."
                raise ImageError(complaint("images.paths", "one name twice", got, "different names", cure))
            self._where[name] = (path, member.offset_data, member.size)

    def _read(self, name: str) -> Tensor:
        path, offset, size = self._where[name]
        with path.open("rb") as file:
            file.seek(offset)
            return read_image(file.read(size), name, self.convert)


class SkimageImages(ImageSet):
    """Photographs that ship inside scikit-image, so that a first run needs no download.

    Raises:
        ImageError: a name that scikit-image does not ship.
    """

    FILES: ClassVar[dict[str, str]] = {
        "astronaut": "astronaut.png",
        "coffee": "coffee.png",
        "chelsea": "chelsea.png",
        "rocket": "rocket.jpg",
        "motorcycle": "motorcycle_left.png",
    }

    def __init__(self, names: Sequence[str], crop: Crop | None = None) -> None:
        unknown = [n for n in names if n not in self.FILES]
        if unknown:
            raise ImageError(complaint("images.names", "unknown photograph", unknown, sorted(self.FILES)))
        super().__init__(names, crop or Crop(), "none")

    def _read(self, name: str) -> Tensor:
        import skimage  # the import takes a while and only this kind needs it

        return read_image(Path(skimage.__file__).parent / "data" / self.FILES[name], name)
