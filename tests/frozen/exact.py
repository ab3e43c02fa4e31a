"""Comparison to the byte of two states of the project on one machine: tables, records, pictures, weights.

Numbers differ between processors in their last digits, so that these files belong to a machine and are not stored
in the repository.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from tests.frozen import runs, trainings
from tests.frozen.scenarios import CASES


def write(target: Path, only: str = "*") -> list[str]:
    """Run all cases, slow ones too, and keep their files in a folder; returns what failed, a line each."""
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, make in _makers(runs.workplace(Path(temporary))):
            if fnmatch(name, only):
                try:
                    make(target / name)
                except RuntimeError as problem:
                    failed.append(str(problem))
    return failed


def _makers(folder: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Name of every case and training, and what runs it and keeps its files."""
    for case in CASES:
        yield case.name, lambda target, case=case: runs.keep(runs.simulate(case, folder), target)
    for part in trainings.TRAININGS:
        yield (
            f"train/{part.name}",
            lambda target, part=part: trainings.keep(trainings.train(part, folder), target),
        )


def compare(target: Path, only: str = "*") -> list[str]:
    """Run all cases again; returns what failed and the files that differ from those kept, a line each."""
    with tempfile.TemporaryDirectory() as temporary:
        lines = write(Path(temporary), only)
        new = _files(Path(temporary))
        old = {name: path for name, path in _files(target).items() if fnmatch(name.parent.as_posix(), only)}
        for name in sorted({*old, *new}):
            if name not in new:
                lines.append(f"{name}: not made any more")
            elif name not in old:
                lines.append(f"{name}: was not there")
            elif old[name].read_bytes() != new[name].read_bytes():
                lines.append(f"{name}: differs")
        return lines


def _files(folder: Path) -> dict[Path, Path]:
    return {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
