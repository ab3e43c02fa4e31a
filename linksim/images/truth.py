"""What a picture is known to say: the truth that tasks are judged by, of sets that draw their pictures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CodeTruth", "Line", "TextTruth", "Truth"]


@dataclass(frozen=True)
class Truth:
    """Base of all truths; each is sent to other processes with its picture."""


@dataclass(frozen=True)
class Line:
    """A line of text on a picture.

    Args:
        text: as it is written.
        left, top, right, bottom: box of what it is written on [pixels from the upper left corner].
    """

    text: str
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class TextTruth(Truth):
    """Lines of text on a picture, at least one.

    Args:
        lines: each at its place; none lies on another.
    """

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class CodeTruth(Truth):
    """A code on a picture.

    Args:
        payload: what it says.
    """

    payload: str
