"""Sets of pictures, crops, and the step between [0, 1] floats and 8-bit values."""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from channels.checks import complaint
from linksim.images.picture_file import (
    FORMATS,
    HEAD_BYTES,
    MIN_SIDE,
    ConvertMode,
    ImageError,
    is_picture,
    read_image,
)

__all__ = [
    "Crop",
    "FolderImages",
    "ImageError",
    "ImageSet",
    "SkimageImages",
    "StoredAt",
    "TarImages",
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

    def stored(self, name: str) -> StoredAt:
        """Where a picture lies, for trainings, which read files.

        Raises:
            ImageError: a set without files.
        """
        got = f"{type(self).__name__}, which has none"
        raise ImageError(complaint("images", "no files", got, "pictures in files, such as kind: folder"))


_SHOWN = 3  # names in a message about many files
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


def _text_name(name: str) -> str:
    r"""A name that any encoding can show: bytes that are no UTF-8 as \xff, and so control characters."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


class _Skipped:
    """What lies beside the pictures, said once."""

    def __init__(self, field: str, where: str) -> None:
        self.field, self.where = field, where
        self.names: list[str] = []

    def __str__(self) -> str:
        shown = ", ".join(_text_name(name) for name in self.names[:_SHOWN])
        more = f" and {len(self.names) - _SHOWN} more" if len(self.names) > _SHOWN else ""
        files = (
            "1 file that is no picture" if len(self.names) == 1 else f"{len(self.names)} files that are none"
        )
        return f"{files} of {', '.join(FORMATS)} ({shown}{more})"

    def say(self) -> None:
        """Into the log, if there are some."""
        if self.names:
            log.warning("%s: %s: left out %s", self.field, self.where, self)


def _distinct(field: str, found: Sequence[tuple[str, str]]) -> None:
    """Refuse two files of one name."""
    seen: dict[str, str] = {}
    for name, where in found:
        if name in seen:
            got = f"{name} in {seen[name]} and {where}"
            raise ImageError(
                complaint(field, "one name twice", got, "different names", "Rename one of the files.")
            )
        seen[name] = where


class FolderImages(ImageSet):
    """All pictures of a folder and of its sub-folders, sorted by path, which is their name ("cat/1.png").

    What is a picture is decided by the content of a file, not by its name. Hidden files (dot files, __MACOSX)
    are not looked at; what else is no picture is left out, which is logged. Links are followed.

    Args:
        path: folder.
        crop: of every picture.
        convert: see :func:`linksim.images.picture_file.read_image`.
        limit: the first so many.

    Raises:
        ImageError: no such folder, or no picture in it.
    """

    def __init__(
        self, path: Path, crop: Crop | None = None, convert: ConvertMode = "none", limit: int | None = None
    ) -> None:
        if not path.is_dir():
            expected = "a folder of pictures"
            raise ImageError(complaint("images.path", "no such folder", path.absolute(), expected))
        skipped = _Skipped("images.path", str(path))
        self._where: dict[str, Path] = {}
        found = []
        for relative in _files_below(path):
            if len(self._where) == limit:
                break
            file = path / relative
            if not _has_picture(file):
                skipped.names.append(relative)
                continue
            name = _text_name(relative)
            found.append((name, str(file)))
            self._where[name] = file
        _distinct("images.path", found)
        if not self._where:
            got = f"{path.absolute()}" + (f" with {skipped}" if skipped.names else "")
            expected = f"at least one of {', '.join(FORMATS)}"
            raise ImageError(complaint("images.path", "no picture in the folder", got, expected))
        skipped.say()
        super().__init__(list(self._where), crop or Crop(), convert, str(path.absolute()))

    def stored(self, name: str) -> StoredAt:
        return StoredAt(self._where[name])

    def read(self, name: str) -> Tensor:
        return read_image(self._where[name], name, self.convert)


def _files_below(root: Path) -> list[str]:
    """Relative POSIX paths of all files that are not hidden, sorted; a circle of links is walked once."""
    found, walked = [], set()

    def unreadable(problem: OSError) -> None:
        expected = "a folder that can be read"
        raise ImageError(
            complaint("images.path", "cannot be read", f"{problem.filename}: {problem.strerror}", expected)
        )

    for folder, folders, files in os.walk(root, followlinks=True, onerror=unreadable):
        place = Path(folder).stat()
        if (place.st_dev, place.st_ino) in walked:
            folders.clear()
            continue
        walked.add((place.st_dev, place.st_ino))
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        below = Path(folder).relative_to(root)
        found += [(below / name).as_posix() for name in files if not _is_hidden(name)]
    return sorted(found)


def _has_picture(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return is_picture(opened.read(HEAD_BYTES))
    except OSError as problem:
        got = f"{_text_name(str(file))}: {problem.strerror}"
        raise ImageError(complaint("images.path", "cannot be read", got, "a file that can be read")) from None


class TarImages(ImageSet):
    """All pictures in one or more tar files, sorted by file and name. Members are read, never extracted.

    The rule is that of :class:`FolderImages`; links lead to the member that they name.

    Args:
        paths: uncompressed tar files.
        crop: of every picture.
        convert: see :func:`linksim.images.picture_file.read_image`.
        limit: the first so many.

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
        skipped = _Skipped("images.paths", ", ".join(path.name for path in paths))
        found: list[tuple[str, str]] = []
        for path in paths:
            self._scan(path, found, skipped)
        _distinct("images.paths", found)
        if not self._where:
            got = ", ".join(str(p) for p in paths) + (f" with {skipped}" if skipped.names else "")
            raise ImageError(complaint("images.paths", "no picture", got, "tar files of pictures"))
        skipped.say()
        origin = ", ".join(str(path.absolute()) for path in paths)
        super().__init__(list(self._where)[:limit], crop or Crop(), convert, origin)

    def _scan(self, path: Path, found: list[tuple[str, str]], skipped: _Skipped) -> None:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                for member, data_at, length in _members(file, size):
                    file.seek(data_at)
                    if length < 0 or not is_picture(file.read(min(length, HEAD_BYTES))):
                        skipped.names.append(member)
                        continue
                    name = f"{_text_name(path.stem)}/{_text_name(member)}"
                    found.append((name, str(path)))
                    self._where[name] = (path, data_at, length)
        except (OSError, ValueError, tarfile.TarError, RecursionError, OverflowError) as problem:
            expected = "an uncompressed tar file of pictures"
            got = f"{path}: {problem}"
            raise ImageError(complaint("images.paths", "cannot be read", got, expected)) from None

    def stored(self, name: str) -> StoredAt:
        return StoredAt(*self._where[name])

    def read(self, name: str) -> Tensor:
        path, offset, size = self._where[name]
        try:
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as problem:
            got = f"{path}: {problem.strerror}"
            raise ImageError(
                complaint(f"image {name}", "cannot be read", got, "the tar file as it was")
            ) from None
        return read_image(data, name, self.convert)


def _members(file: Any, size: int) -> Iterator[tuple[str, int, int]]:
    """Name, place and length of every member with contents, sorted by name; length -1 of what has none that
    can be read in place: sparse files, links to nowhere, devices.
    """
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        members = [
            m for m in archive.getmembers() if not m.isdir() and not _is_hidden(m.name.removeprefix("./"))
        ]
        by_name = {posixpath.normpath(m.name): m for m in archive.getmembers()}
    for member in sorted(members, key=lambda m: m.name):
        target = _resolved(member, by_name)
        if target is None or target.issparse() or not target.isfile():
            yield member.name, 0, -1
        elif target.size < 0 or target.offset_data + target.size > size:
            raise tarfile.ReadError(f"member {_text_name(member.name)} ends behind the end of the file")
        else:
            yield member.name, target.offset_data, target.size


def _resolved(member: tarfile.TarInfo, by_name: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The member that a hard or symbolic link leads to, itself if it is none; None if it is not there."""
    target: tarfile.TarInfo | None = member
    for _ in range(8):
        if target is None or not (target.islnk() or target.issym()):
            return target
        folder = posixpath.dirname(target.name) if target.issym() else ""
        target = by_name.get(posixpath.normpath(posixpath.join(folder, target.linkname)))
    return None


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
