"""Files that are whole or not there, written under a name of their own first."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["partial_path", "remove_leftovers", "whole_file"]

_ENDING = ".partial"
_OLD_S = 3600.0


def partial_path(path: Path) -> Path:
    """A name beside a file that no other process uses; short, whatever the file's own."""
    return path.with_name(f".{path.name[:60]}.{os.getpid()}.{secrets.token_hex(4)}{_ENDING}")


def remove_leftovers(folder: Path, pattern: str = f".*{_ENDING}") -> None:
    """Remove what killed processes left in a folder, once nobody has written to it for an hour."""
    for path in folder.glob(pattern):
        parts = [path, *path.rglob("*")]
        if max(part.lstat().st_mtime for part in parts) > time.time() - _OLD_S:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to; behind the block the file has its own name, with the rights that the umask leaves.

    Raises:
        OSError: it cannot be written.
    """
    partial = partial_path(path)
    try:
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # libraries that write under a name of their own make files for the user alone
        partial.replace(path)
    except OSError as problem:
        if problem.errno is None:
            raise
        raise OSError(problem.errno, problem.strerror, str(path)) from problem
    finally:
        partial.unlink(missing_ok=True)
