"""Features of shown and original pictures in a run folder, and the sums over them that distances need.

A file belongs to the pixels of one picture, whatever unit showed it: a digital link shows the same picture at
many points. Files are written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import complaint
from linksim.files.writing import partial_path, whole_file, write_whole
from linksim.metrics.set_distances import DISTANCES
from linksim.results.store import ResultStore, RunFolderError

__all__ = ["FeatureFiles", "FolderFeatures", "RememberedFeatures", "drop_features_of_others"]

log = logging.getLogger("linksim.results.feature_files")
Arrays = dict[str, NDArray[np.float64]]
_MADE = "made.json"  # with what


def drop_features_of_others(store: ResultStore, header: Mapping[str, Any]) -> None:
    """Remove features that were made with another network or by other code than a run has now: a metric may
    leave a scenario and come back as another one. Pictures are then sent again.

    Args:
        store: run folder.
        header: of the run.
    """
    for name, facts in header["metrics"].items():
        if facts["scope"] != "set":
            continue
        folder = store.features / facts["features"]
        code = header.get("kinds", {}).get(f"metric {name}", "")
        made = {"reference": facts.get("network") or facts["reference"], "kind": code}
        unnamed = {"reference": facts["reference"], "kind": code}  # of versions before networks had names
        path = folder / _MADE
        try:
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else made
        except (OSError, ValueError):
            before = None
        if before not in (made, unnamed):
            log.warning("%s: features of another %s are removed, pictures are sent again", folder, name)
            gone = partial_path(folder)  # a kill leaves all of it, or none under its name
            folder.rename(gone)
            shutil.rmtree(gone)
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(made) + "\n")


class FeatureFiles:
    """One kind of features in the folder ``features`` of a run.

    Args:
        folder: ``ResultStore.features``.
        name: ``MetricInfo.features``.
    """

    def __init__(self, folder: Path, name: str) -> None:
        if not re.fullmatch(r"[a-z0-9_]{1,60}", name):
            raise RunFolderError(complaint("features", "no name of features", name, "letters, digits and _"))
        self.folder = folder / name
        self._sums: dict[str, Arrays] = {}

    def path(self, digest: str) -> Path:
        """File of the picture with this digest.

        Raises:
            RunFolderError: no digest of a picture, as in records of versions without it.
        """
        if not re.fullmatch(r"[0-9a-f]{16}", digest):
            got = digest or "none"
            raise RunFolderError(complaint("shown", "no digest of a picture", got, "16 hexadecimal digits"))
        return self.folder / f"{digest}.npy"

    def keep(self, digest: str, features: Callable[[], NDArray[np.float16]]) -> None:
        """Compute and write the features of a picture, unless they are there."""
        if not self.path(digest).exists():
            found = features()
            _write_whole(self.path(digest), lambda file: np.save(file, found))

    def read(self, digest: str) -> NDArray[np.float16]:
        """[n, d] of a picture.

        Raises:
            RunFolderError: no such file, or a broken one.
        """
        path = self.path(digest)
        try:
            found: NDArray[np.float16] = np.load(path)
            if found.ndim != 2 or not np.isfinite(found).all():
                raise ValueError(f"an array of {found.ndim} dimensions, or with values that are not finite")
        except (OSError, ValueError, EOFError) as problem:
            cure = "Remove it; linksim simulate makes it again."
            raise RunFolderError(complaint(str(path), "no features", problem, "an array", cure)) from None
        return found

    def within(self, distance: str, digests: Sequence[str]) -> Arrays:
        """``SetDistance.within`` of pictures, from a file if they were asked for before."""
        key = _key(distance, digests)
        return self._once(key, lambda: DISTANCES[distance].within(self._groups(digests)))

    def between(self, distance: str, digests: Sequence[str], others: Sequence[str]) -> Arrays:
        """``SetDistance.between`` of two collections, from a file if they were asked for before."""
        key = _key(distance, digests, others)
        return self._once(
            key, lambda: DISTANCES[distance].between(self._groups(digests), self._groups(others))
        )

    def _groups(self, digests: Sequence[str]) -> list[NDArray[np.float16]]:
        groups = [self.read(digest) for digest in digests]
        widths = {group.shape[1] for group in groups}
        if len(widths) > 1:
            raise RunFolderError(complaint(str(self.folder), "features of two kinds", sorted(widths), "one"))
        return groups

    def _once(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        if key not in self._sums:
            path = self.folder / "sums" / f"{key}.npz"
            found = _read_sums(path)
            if found is None:
                found = compute()
                try:
                    arrays: dict[str, Any] = dict(found)
                    _write_whole(path, lambda file: np.savez(file, **arrays))
                except OSError as problem:  # a folder that may only be read is still drawn
                    log.warning("%s: cannot be written: %s", path, problem)
            self._sums[key] = found
        return self._sums[key]


class FolderFeatures:
    """Which features a run has, as its folder says: for processes that see it.

    Args:
        store: run folder.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store

    def __call__(self, name: str, digest: str) -> bool:
        return FeatureFiles(self._store.features, name).path(digest).exists()

    def known(self, names: Iterable[str]) -> frozenset[tuple[str, str]]:
        """Names and digests of all that are there."""
        folders = {name: FeatureFiles(self._store.features, name).folder for name in names}
        return frozenset(
            (name, path.stem) for name, folder in folders.items() for path in folder.glob("*.npy")
        )


class RememberedFeatures:
    """Which features a run has, for a process that does not see its folder: those that it was told of, and
    those that it was asked for and thus has made.

    Args:
        known: see :meth:`FolderFeatures.known`.
    """

    def __init__(self, known: Iterable[tuple[str, str]]) -> None:
        self._known = set(known)

    def __call__(self, name: str, digest: str) -> bool:
        found = (name, digest) in self._known
        self._known.add((name, digest))
        return found


def _key(distance: str, *collections: Sequence[str]) -> str:
    text = "|".join([distance, *(" ".join(digests) for digests in collections)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_sums(path: Path) -> Arrays | None:
    """Sums of a file; None if there is none, or none that can be read: they are then made again."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as problem:
        log.warning("%s: broken (%s), made again", path, problem)
        return None


def _write_whole(path: Path, write: Callable[[Any], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
