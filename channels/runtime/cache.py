"""Where results are kept that are expensive to make again."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from channels.checks import complaint

__all__ = ["CACHE_VARIABLE", "FolderError", "cache_folder", "expanded"]

CACHE_VARIABLE = "LINKSIM_CACHE"


class FolderError(ValueError):
    """A path that leads nowhere."""


def expanded(field: str, text: str) -> Path:
    """A path with ``~`` and ``~user`` replaced, in the encoding of the file system, whatever the locale says.

    Raises:
        FolderError: ``~user`` of nobody, or characters that no path has.
    """
    try:
        encoded = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise FolderError(complaint(field, "no path", repr(text), "text without NUL and half characters"))
    try:
        return Path(os.fsdecode(encoded)).expanduser()
    except RuntimeError:
        expected = "~ or ~user with a home folder on this machine"
        got = text.partition("/")[0]
        raise FolderError(complaint(field, "no such home folder", got, expected)) from None


def cache_folder(name: str) -> Path:
    """$LINKSIM_CACHE/name, else linksim/name in the user's cache folder; without a home a temporary folder.

    Raises:
        FolderError: the variable begins with ``~user`` of nobody.
    """
    base = os.environ.get(CACHE_VARIABLE)
    if base:
        return expanded(CACHE_VARIABLE, base) / name
    own = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(own) if own else Path.home() / ".cache") / "linksim" / name
    except RuntimeError:  # nobody's home
        return _temporary() / name


@cache
def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="linksim-cache-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
