"""Signs with words, prices and codes over photographs: pictures whose text is known, for readers of text."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from linksim.images.drawn import Colour, DrawnImages, contrast, on_photograph
from linksim.images.truth import Line, TextTruth

__all__ = ["TextPanels"]

# Letters and digits that look alike in some fonts (O and 0, I and 1, ...) are in no code: who mistakes them
# is not wrong about the picture.
_LETTERS, _DIGITS = "ACEFHJKLMNPRTUVWXY", "234679"
_WORDS = (
    *("airport", "bakery", "bicycle", "bridge", "castle", "central", "chapel", "corner"),
    *("danger", "delivery", "elevator", "entrance", "express", "ferry", "garden", "ground"),
    *("harbour", "hospital", "island", "journey", "kitchen", "library", "market", "museum"),
    *("narrow", "north", "office", "orange", "parking", "platform", "private", "quarter"),
    *("railway", "reserved", "school", "south", "station", "summer", "theatre", "ticket"),
    *("tunnel", "upper", "valley", "village", "visitor", "water", "weather", "window"),
    *("winter", "yellow"),
)
_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf")  # ship with Matplotlib
_LEAST_CONTRAST = 4.5  # WCAG 2.1, level AA


class TextPanels(DrawnImages):
    """Photographs with signs on them, one line of text on each.

    A line is one or two words, a price, or a code of letters and digits that no knowledge of language
    completes; fonts, heights of letters, colours and places are random, with a contrast of at least 4.5.

    Args:
        count: of pictures.
        size: height and width [pixels].
        lines: on every picture.
        letter_px: smallest and largest size of the font [pixels].
        seed: see :class:`DrawnImages`.
    """

    def __init__(
        self, count: int, size: tuple[int, int], lines: int, letter_px: tuple[int, int], seed: int
    ) -> None:
        super().__init__("panel", count, size, seed)
        self.lines, self.letter_px = lines, letter_px

    def draw(self, rng: np.random.Generator) -> tuple[Image.Image, TextTruth]:
        """See :class:`DrawnImages`."""
        height, width = self.size
        picture = on_photograph(height, width, rng)
        pen = ImageDraw.Draw(picture)
        band = height // self.lines
        found = tuple(self._sign(pen, rng, number * band, band, width) for number in range(self.lines))
        return picture, TextTruth(found)

    def _sign(
        self, pen: ImageDraw.ImageDraw, rng: np.random.Generator, top: int, band: int, width: int
    ) -> Line:
        """Draw a sign in a band of the picture from row ``top`` on; what it says."""
        text, font_file = _text(rng), _FONTS[int(rng.integers(len(_FONTS)))]
        low, high = self.letter_px
        wanted = int(rng.integers(low, min(high, int(0.7 * band)) + 1)) if high > low else low
        font, (wide, tall) = _fitting(font_file, text, wanted, width)
        edge = max(4, wanted // 4)
        wide, tall = min(width, wide + 2 * edge), min(band, tall + edge)
        left = int(rng.integers(width - wide + 1))
        upper = top + int(rng.integers(band - tall + 1))
        paper, ink = _colours(rng)
        box = (left, upper, left + wide - 1, upper + tall - 1)
        pen.rounded_rectangle(box, radius=edge // 2, fill=paper, outline=ink)
        middle = (left + wide / 2, upper + tall / 2)
        pen.text(middle, text, font=font, fill=ink, anchor="mm")
        return Line(text, *box)


def _text(rng: np.random.Generator) -> str:
    def some(of: str, count: int) -> str:
        return "".join(of[int(i)] for i in rng.integers(len(of), size=count))

    sort = int(rng.integers(4))
    if sort == 0:
        return f"{some(_LETTERS, 2)}-{some(_DIGITS, 4)}"
    if sort == 1:
        return f"{some(_DIGITS, 2)}.{some(_DIGITS, 2)}"
    words = [_WORDS[int(i)] for i in rng.choice(len(_WORDS), size=sort - 1, replace=False)]
    text = " ".join(words)
    return text.title() if rng.integers(2) else text.upper()


def _fitting(
    font_file: str, text: str, wanted: int, width: int
) -> tuple[ImageFont.FreeTypeFont, tuple[int, int]]:
    """A font of the wanted size, or of the largest one in which a text is at most 0.85 of the width; the
    size of the text in it [pixels].
    """
    size = wanted
    while True:
        font = _font(font_file, size)
        left, top, right, bottom = font.getbbox(text, anchor="ls")
        if right - left <= 0.85 * width or size <= 8:
            return font, (round(right - left), round(bottom - top))
        size -= 1


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib as mpl

    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / file, size)


def _colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Of a sign and what is written on it."""
    while True:
        red, green, blue, *ink = (int(v) for v in rng.integers(256, size=6))
        paper = (red, green, blue)
        if contrast(paper, (ink[0], ink[1], ink[2])) >= _LEAST_CONTRAST:
            return paper, (ink[0], ink[1], ink[2])
