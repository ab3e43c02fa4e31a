"""QR codes on labels over photographs: pictures whose payload is known, for decoders of codes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from channels.checks import complaint
from linksim.images.drawn import DrawnImages, on_photograph
from linksim.images.sets import ImageError
from linksim.images.truth import CodeTruth

__all__ = ["Correction", "QrCodes"]

Correction = Literal["L", "M", "Q", "H"]
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # of the alphanumeric mode of ISO/IEC 18004
_MOST_TURN_DEG = 12.0


class QrCodes(DrawnImages):
    """Photographs with a label that carries a QR code (ISO/IEC 18004) of random letters and digits.

    The label, a white square with the code and its quiet zone of four modules, is turned by up to 12 degrees
    and lies at a random place.

    Args:
        count: of pictures.
        size: height and width [pixels].
        characters: of a payload.
        correction: level of the code's own error correction, from L (7% of its codewords) to H (30%).
        module_px: side of a module, the square dot of the code [pixels].
        seed: see :class:`DrawnImages`.

    Raises:
        ImageError: a payload that no code holds, or a code that is larger than the picture.
    """

    def __init__(
        self,
        count: int,
        size: tuple[int, int],
        characters: int,
        correction: Correction,
        module_px: int,
        seed: int,
    ) -> None:
        super().__init__("code", count, size, seed)
        self.characters, self.correction, self.module_px = characters, correction, module_px
        side = self._turned(self._code("A" * characters), _MOST_TURN_DEG)[0].height
        if side > min(size):
            got = f"{side} pixels of a label that is turned, in {size[0]} x {size[1]}"
            cure = "Use a larger size, a smaller module_px or fewer characters."
            raise ImageError(complaint("images", "code larger than the picture", got, "less", cure))

    def draw(self, rng: np.random.Generator) -> tuple[Image.Image, CodeTruth]:
        """See :class:`DrawnImages`."""
        height, width = self.size
        picture = on_photograph(height, width, rng)
        payload = "".join(_ALPHABET[int(i)] for i in rng.integers(len(_ALPHABET), size=self.characters))
        label, shape = self._turned(self._code(payload), float(rng.uniform(-_MOST_TURN_DEG, _MOST_TURN_DEG)))
        left, top = (int(rng.integers(n + 1)) for n in (width - label.width, height - label.height))
        picture.paste(label, (left, top), shape)
        return picture, CodeTruth(payload)

    def _code(self, payload: str) -> Image.Image:
        """The code with its quiet zone, 8-bit grey."""
        import zxingcpp

        try:
            code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode, ec_level=self.correction)
        except ValueError as problem:
            got = f"{len(payload)} with correction: {self.correction} ({problem})"
            said = complaint("images.characters", "too many", got, "what a code holds", "Use fewer.")
            raise ImageError(said) from None
        return Image.fromarray(np.array(code.to_image(scale=self.module_px, add_quiet_zones=True)))

    @staticmethod
    def _turned(code: Image.Image, degrees: float) -> tuple[Image.Image, Image.Image]:
        """A label turned, RGB, and where it is opaque, 8-bit grey."""
        label, shape = code.convert("RGB"), Image.new("L", code.size, 255)
        how = Image.Resampling.BICUBIC
        return label.rotate(degrees, how, expand=True), shape.rotate(degrees, how, expand=True)
