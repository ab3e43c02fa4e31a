"""CIFAR-10 as torchvision stores it: 50,000 pictures to train on and 10,000 to test with, 32 x 32 pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from channels.checks import complaint
from channels.runtime.cache import cache_folder
from channels.runtime.writing import whole_file
from linksim.images.picture_file import ImageError, read_image
from linksim.images.sets import Crop, ImageSet, StoredAt

__all__ = ["Cifar10Images"]

_SIDE = 32
_HEAD = b"P6 32 32 255\n"
_BYTES = len(_HEAD) + 3 * _SIDE**2  # of a picture in the pack


class Cifar10Images(ImageSet):
    """Pictures of CIFAR-10 by their place in torchvision's data set: "test/00000", ...

    They are unpacked once into a file of the cache (154 or 31 MB, a PPM of each behind the other), which
    trainings read, too.

    Args:
        folder: that holds ``cifar-10-batches-py``.
        split: "train" or "test".
        crop: of every picture.
        limit: the first so many.

    Raises:
        ImageError: the data set is not there, or not as published (MD5 of every file).
    """

    def __init__(
        self,
        folder: Path,
        split: Literal["train", "test"],
        crop: Crop | None = None,
        limit: int | None = None,
    ) -> None:
        self._pack = _packed(folder, split)
        count = self._pack.stat().st_size // _BYTES
        names = [f"{split}/{i:05d}" for i in range(count)][:limit]
        super().__init__(names, crop or Crop(), "none", f"CIFAR-10 ({split}) in {folder}")

    def stored(self, name: str) -> StoredAt:
        return StoredAt(self._pack, int(name.rpartition("/")[2]) * _BYTES, _BYTES)

    def read(self, name: str) -> Tensor:
        place = self.stored(name)
        try:
            with place.path.open("rb") as file:
                file.seek(place.offset)
                return read_image(file.read(_BYTES), name)
        except OSError as problem:
            got = f"{place.path}: {problem.strerror}"
            raise ImageError(
                complaint(f"image {name}", "cannot be read", got, "the file as it was")
            ) from None


def _packed(folder: Path, split: str) -> Path:
    """The pack of a split, made of the data set if it is not there yet.

    Raises:
        ImageError: no data set, or no room for the pack.
    """
    from torchvision.datasets import CIFAR10

    published = CIFAR10.train_list if split == "train" else CIFAR10.test_list
    digest = hashlib.sha256(repr(published).encode()).hexdigest()[:8]
    path = cache_folder("cifar10") / f"{split}-{digest}.ppm"
    if path.is_file() and path.stat().st_size:
        return path
    try:
        found: Any = CIFAR10(str(folder), train=split == "train", download=False)
    except (RuntimeError, OSError, ValueError) as problem:
        cure = (
            'Get it once (170 MB): python -c "from torchvision.datasets import CIFAR10; '
            f"CIFAR10('{folder}', download=True)\", or name its folder with --set images.path=/where/it/is."
        )
        got, expected = f"{folder.absolute()} ({problem})", "a folder with cifar-10-batches-py, as published"
        raise ImageError(complaint("images.path", "no CIFAR-10", got, expected, cure)) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("wb") as file:
            for pixels in found.data:
                file.write(_HEAD + pixels.tobytes())
    except OSError as problem:
        got = f"{path}: {problem.strerror}"
        cure = "Set LINKSIM_CACHE to a folder with room."
        raise ImageError(complaint("images.path", "cannot be unpacked", got, "room for it", cure)) from None
    return path
