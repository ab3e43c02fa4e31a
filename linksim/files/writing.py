"""Files and folders that are whole or not there, written under a name of their own first."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from channels.runtime.writing import partial_path, remove_leftovers, whole_file

__all__ = [
    "LockedElsewhere",
    "lock",
    "partial_path",
    "remove_leftovers",
    "whole_file",
    "whole_folder",
    "write_whole",
]

log = logging.getLogger("linksim.files.writing")


class LockedElsewhere(Exception):
    """Another process holds the lock."""


def lock(file: BinaryIO, folder: Path) -> None:
    """Lock an open file until it is closed, or the process ends; where the file system has no locks, say so.

    Args:
        file: to lock.
        folder: that it stands for.

    Raises:
        LockedElsewhere: another process has it, or another open file of this one.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise LockedElsewhere(f"a lock on {Path(file.name).name}") from None
        said = "%s: this file system has no locks (%s): let no other process write here"
        log.warning(said, folder, problem.strerror)


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file in one step; texts as UTF-8.

    Raises:
        OSError: it cannot be written; a former file is as it was.
    """
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(data.encode("utf-8") if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write to; behind the block it has its own name, in place of a former folder of that name.

    Raises:
        OSError: it cannot be written; a former folder is as it was.
    """
    remove_leftovers(path.parent)
    partial, former = partial_path(path), partial_path(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        _give_usual_mode(partial)
        if path.exists():
            path.replace(former)
        partial.replace(path)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if former.exists() and not path.exists():
            former.replace(path)


def _give_usual_mode(folder: Path) -> None:
    """Give all files below a folder the rights that the umask leaves to new files."""
    probe = partial_path(folder / "probe")
    probe.touch(exist_ok=False)
    mode = probe.stat().st_mode
    probe.unlink()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)
