"""What the command line prints, whatever is in the names that it shows."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import unicodedata
from pathlib import Path
from typing import TextIO

__all__ = ["LineFormatter", "check_writable", "emit", "finite", "full_disk", "printable", "say", "say_json"]

_LONGEST_LINE = 4000  # characters of a line of a message


def printable(text: str) -> str:
    """A text that a terminal can be shown: control characters, and what no encoding has, are escaped."""
    lines = []
    for line in text.split("\n"):
        cut = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}... ({len(line)} characters)"
        lines.append("".join(c if _is_plain(c) else c.encode("unicode_escape").decode() for c in cut))
    return "\n".join(lines)


def _is_plain(character: str) -> bool:
    """No control character (but the tab), no half of a surrogate, no turn of the direction of writing."""
    return character == "\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def say(text: object, *, file: TextIO | None = None) -> None:
    """Print a message, whatever is in the names that it shows."""
    print(printable(str(text)), file=file, flush=file is not None)


def say_json(value: object) -> None:
    """Print one JSON value: ASCII, numbers that are not finite as null."""
    emit(json.dumps(finite(value), indent=1, allow_nan=False))


def emit(text: str) -> None:
    """Print a text for programs, whole."""
    print(text)


def finite(value: object) -> object:
    """A value that JSON has: null for nan and infinities, texts for what is neither number nor text."""
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


class LineFormatter(logging.Formatter):
    """Log lines as :func:`say` prints."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def full_disk(problem: BaseException | None) -> str:
    """The message for a disk that is full, whatever library found it so; empty for other problems."""
    chain = []
    while problem is not None:
        chain.append(problem)
        problem = problem.__cause__
    for part in chain:
        if isinstance(part, OSError) and part.errno in _FULL:
            where, got = part.filename or "a file", part.strerror
            return f"{where}: cannot be written, got {got}, expected room on the disk. Make room."
    for part in chain:  # PyTorch and safetensors have exceptions of their own
        said = str(part)
        if any(os.strerror(number) in said for number in _FULL):
            got = said.splitlines()[0]
            return f"a file cannot be written, got {got}, expected room on the disk. Make room."
    return ""


def check_writable(path: Path, option: str) -> None:
    """Refuse an output file that cannot be written before hours are spent on its contents."""
    from linksim.scenario.errors import ScenarioError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as problem:
        from channels.checks import complaint, in_words

        raise ScenarioError(
            complaint(
                f"{option} {path}", "cannot be written", problem.strerror or in_words(problem), "a file"
            )
        ) from None
