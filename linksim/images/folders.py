"""Pictures in folders and in tar files."""

from __future__ import annotations

import logging
import os
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from channels.checks import complaint
from linksim.images.picture_file import FORMATS, HEAD_BYTES, ConvertMode, ImageError, is_picture, read_image
from linksim.images.sets import Crop, ImageSet, StoredAt

__all__ = ["FolderImages", "TarImages"]

log = logging.getLogger("linksim.images.sets")
_SHOWN = 3  # names in a message about many files


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
