"""Arrays that take seconds to compute, kept in the user's cache between processes."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from channels.runtime.cache import cache_folder
from channels.runtime.extras import package_version
from channels.runtime.writing import remove_leftovers, whole_file

__all__ = ["Arrays", "kept_arrays"]

Arrays: TypeAlias = dict[str, NDArray[Any]]
_LARGEST = 1 << 25  # bytes of an entry that is kept


def kept_arrays(
    kind: str,
    sources: Sequence[Path],
    arguments: object,
    compute: Callable[[], Arrays],
    *,
    keep: bool = True,
) -> Arrays:
    """Arrays of an earlier process, bit for bit, else computed now and kept.

    What cannot be read or is damaged is computed again, and what cannot be written or is larger than 32 MiB
    is not kept: only time is lost.

    Args:
        kind: folder within the cache.
        sources: files that ``compute`` is in: what another version of them computed is not used.
        arguments: whatever ``compute`` depends on, with a repr that says it all; the versions of Sionna,
            PyTorch and NumPy are added.
        compute: makes the arrays, the same each time.
        keep: False: what is computed now is not kept.
    """
    versions = [package_version(name) for name in ("sionna", "torch", "numpy")]
    digest = hashlib.sha256(repr((arguments, versions)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    path = cache_folder(kind) / f"{digest.hexdigest()[:32]}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    arrays = compute()
    if keep and sum(array.nbytes for array in arrays.values()) <= _LARGEST:
        with contextlib.suppress(OSError):
            _write(path, arrays)
    return arrays


def _read(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
