"""What a set of training pictures consists of, and whether it is still the one that a training began with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL.ContainerIO import ContainerIO

from channels.checks import complaint
from linksim.images.picture_file import read_size
from linksim.images.sets import ImageError, ImageSet, StoredAt, for_all

__all__ = ["Listed", "changes", "read_stored", "split", "survey", "written"]

_PIECE = 1 << 14  # bytes that are read at the begin, in the middle and at the end of a file


@dataclass(frozen=True)
class Listed:
    """A picture of a set.

    Args:
        name: in the set.
        length: of its file [bytes].
        digest: of its file, 16 hex digits; of one above 48 KiB that of its length and of 16 KiB each at the
            begin, in the middle and at the end. When it was written does not matter.
        rows, cols: of its pixels after ``images.crop`` and ``images.multiple_of``.
    """

    name: str
    length: int
    digest: str
    rows: int
    cols: int

    @property
    def pixel_bytes(self) -> int:
        """What it takes in memory, as uint8."""
        return 3 * self.rows * self.cols


def survey(images: ImageSet) -> tuple[Listed, ...]:
    """Every picture of a set, without decoding any: headers and a digest, in threads.

    Raises:
        ImageError: lists what is wrong with each that cannot be used, as far as headers tell.
    """

    def listed(name: str) -> Listed:
        place = images.stored(name)
        try:
            with place.path.open("rb") as file:
                length = place.length
                if length is None:
                    length = os.fstat(file.fileno()).st_size
                digest = _digest(file, place.offset, length)
                within: Any = ContainerIO(file, place.offset, length) if place.length is not None else file
                within.seek(0)
                rows, cols = read_size(within, name, images.convert)
        except OSError as problem:
            raise _unreadable(place, name, problem) from None
        return Listed(name, length, digest, *images.crop.size(rows, cols, name))

    return tuple(for_all(images.names, listed))


def read_stored(place: StoredAt, name: str) -> bytes:
    """The bytes of a picture.

    Raises:
        ImageError: they cannot be read.
    """
    try:
        with place.path.open("rb") as file:
            file.seek(place.offset)
            return file.read(-1 if place.length is None else place.length)
    except OSError as problem:
        raise _unreadable(place, name, problem) from None


def _unreadable(place: StoredAt, name: str, problem: OSError) -> ImageError:
    got, expected = f"{place.path}: {problem.strerror}", "the file as it was"
    return ImageError(complaint(f"image {name}", "cannot be read", got, expected))


def _digest(file: Any, offset: int, length: int) -> str:
    found = hashlib.blake2b(str(length).encode(), digest_size=8)
    pieces = [0, (length - _PIECE) // 2, length - _PIECE] if length > 3 * _PIECE else [0]
    for begin in pieces:
        file.seek(offset + begin)
        found.update(file.read(_PIECE if len(pieces) > 1 else length))
    return found.hexdigest()


def split(listed: Sequence[Listed], seed: int, held_out: int) -> tuple[list[Listed], list[Listed]]:
    """Pictures that are held out of a training, and those that it sees.

    The order is drawn by the files, not by their places in the list: of a set with a few more or fewer, or
    with other names, nearly the same are held out, so that learning curves can be compared.
    """

    def drawn(one: Listed) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{seed} {one.digest} {one.length}".encode(), digest_size=8).digest(), one.name

    order = sorted(listed, key=drawn)
    return order[:held_out], order[held_out:]


def written(listed: Sequence[Listed]) -> str:
    """The list as a text, a line per picture: digest, length, name."""
    return "".join(f"{one.digest} {one.length} {one.name}\n" for one in listed)


def changes(before: str, listed: Sequence[Listed]) -> str:
    """What is different from a list that was :func:`written`, in words; empty if nothing is.

    Raises:
        ValueError: the text is no such list.

    Example:
        >>> one, two = Listed("a.png", 9, "00", 32, 32), Listed("a.png", 9, "01", 32, 32)
        >>> changes(written([one]), [two]), changes(written([one]), [one])
        ('1 changed (a.png)', '')
    """
    if before == written(listed):
        return ""
    old = {}
    for line in before.splitlines():
        digest, length, name = line.split(" ", 2)
        old[name] = (digest, int(length))
    new = {one.name: (one.digest, one.length) for one in listed}
    kinds = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    found = ", ".join(f"{len(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names)
    return found or "the same pictures in another order"


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}, ..."
