"""Coded streams on disk, shared by runs and processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from channels.runtime.cache import cache_folder
from channels.runtime.writing import remove_leftovers, whole_file

__all__ = ["StreamCache"]

_DIGEST_BYTES = 16


class StreamCache:
    """One file per entry: a digest of key and data, then the data. A damaged or swapped one is absent.

    Safe under concurrent readers and writers: an entry appears whole, by renaming a file with a name of its
    own, and two writers of one key write the same bytes.

    Args:
        folder: None = $LINKSIM_CACHE/streams, else linksim/streams in the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder("streams") if folder is None else folder
        self._cleared: set[Path] = set()  # sub-folders without leftovers of killed writers

    @staticmethod
    def key(*parts: object) -> str:
        """Name of an entry: a hash of everything that it depends on."""
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:40]

    def path(self, key: str) -> Path:
        """File of an entry, which may not exist."""
        return self.folder / key[:2] / key

    def get(self, key: str) -> bytes | None:
        """Data of a key, or None."""
        try:
            stored = self.path(key).read_bytes()
        except OSError:
            return None
        digest, data = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return data if digest == self._digest(key, data) else None

    def put(self, key: str, data: bytes) -> None:
        """Store an entry; a cache that cannot be written is done without."""
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent not in self._cleared:
                self._cleared.add(path.parent)
                remove_leftovers(path.parent, "*.partial")
            with whole_file(path) as partial:
                partial.write_bytes(self._digest(key, data) + data)
        except OSError:
            return

    @staticmethod
    def _digest(key: str, data: bytes) -> bytes:
        return hashlib.sha256(key.encode() + data).digest()[:_DIGEST_BYTES]
