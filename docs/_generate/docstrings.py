"""Docstrings of the project as reStructuredText: signs of formulas are signs, not markup."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["escaped", "process", "without_type"]

_KEPT = re.compile(r"``.*?``|:[\w:]+:`[^`]*`|`[^`]+`_?")


def escaped(line: str) -> str:
    """A line whose bars and asterisks of formulas are escaped, outside of what is code."""
    bullet = re.match(r"\s*\* ", line)
    parts, end = [], 0
    if bullet:
        parts, end = [bullet[0]], bullet.end()
    for found in _KEPT.finditer(line, end):
        parts += [_signs(line[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*parts, _signs(line[end:])])


def _signs(text: str) -> str:
    return re.sub(r"(?<!\\)([|*])", r"\\\1", text)


def process(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Event ``autodoc-process-docstring``."""
    code = False
    for index, line in enumerate(lines):
        if line.strip():
            if not line.startswith(" "):
                code = False
            if not code and not line.lstrip().startswith((">>>", "...")):
                lines[index] = escaped(line)
            code = code or line.rstrip().endswith("::")


def without_type(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Event ``autodoc-process-docstring``, before napoleon, which takes what stands before a colon of a property for a type."""
    if what in ("property", "attribute") and lines:
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ", 1)
