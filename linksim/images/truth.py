"""What a picture is known to say: the truth that tasks are judged by, of sets that draw their pictures."""

from __future__ import annotations

from dataclasses import dataclass

from channels.checks import complaint, shown

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
        lines: each at its place, with a character at least; none lies on another.

    Raises:
        ValueError: no line, or one without a character: nothing could be read wrong there.
    """

    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        texts = [line.text for line in self.lines]
        if not texts or not all(map(str.strip, texts)):
            raise ValueError(
                complaint("TextTruth.lines", "no text", shown(texts), "characters in each of them")
            )


@dataclass(frozen=True)
class CodeTruth(Truth):
    """A code on a picture.

    Args:
        payload: what it says.
    """

    payload: str
