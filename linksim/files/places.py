"""Where paths lead: of scenarios beside the file that says them, else in the working directory."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from channels.runtime.cache import expanded

__all__ = ["PathText", "looked_at", "place", "scenario_dir", "variable_folder"]

log = logging.getLogger("linksim.files.places")


class PathText(str):
    """A path as a scenario file says it, and the folder of that file: relative paths begin there.

    Args:
        text: as written; equality, hash and JSON are those of this text.
        folder: of the file; None of the command line and of Python.
    """

    folder: Path | None

    def __new__(cls, text: str, folder: Path | None = None) -> PathText:
        made = super().__new__(cls, text)
        made.folder = folder
        return made


def place(text: str) -> Path:
    """The path that a text of a scenario means.

    A relative one is looked for beside the scenario file that says it, then in the working directory. Texts
    of the command line and of Python begin in the working directory.

    Raises:
        FolderError: ``~user`` of nobody.
    """
    here = expanded("path", text)
    beside = _beside(text)
    if beside is None or not beside.exists():
        return here
    if here.exists() and not here.samefile(beside):
        log.warning(
            "%s: there are two, %s is used (beside the scenario file), not %s (in the working directory)",
            *(text, beside, here.absolute()),
        )
    else:
        log.info("%s: found at %s, beside the scenario file", text, beside)
    return beside


def looked_at(text: str) -> str:
    """Where :func:`place` looked, for messages about what is not there."""
    beside, here = _beside(text), expanded("path", text).absolute()
    if beside is None or beside.absolute() == here:
        return str(here)
    return f"{beside.absolute()} (beside the scenario file) and {here} (in the working directory)"


def _beside(text: str) -> Path | None:
    path = expanded("path", text)
    folder = text.folder if isinstance(text, PathText) else None
    return None if folder is None or path.is_absolute() else folder / path


def variable_folder(name: str) -> Path | None:
    """The folder that an environment variable names, or None.

    Raises:
        FolderError: ``~user`` of nobody.
    """
    value = os.environ.get(name)
    return expanded(name, value) if value else None


def scenario_dir() -> Path:
    """Folder of the scenario files that come with linksim (installed, or in the repository)."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "scenarios"
    return installed if installed.is_dir() else package.parent / "scenarios"
