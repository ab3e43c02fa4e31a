"""What the head of a picture file says of its pixels."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image

__all__ = ["TIFF_PHOTOMETRIC", "StoredPixels", "png_chunks", "png_head", "stored_pixels"]


@dataclass(frozen=True)
class StoredPixels:
    """How a file stores its pixels, whatever Pillow makes of it.

    Args:
        colours: "RGB", "grey", "palette", "CMYK", ...
        bits: per value.
        alpha: with transparency.
        refusal: why it cannot become 8-bit RGB; empty if it can.
    """

    colours: str
    bits: int = 8
    alpha: bool = False
    refusal: str = ""

    def __str__(self) -> str:
        return f"{self.bits}-bit {self.colours}" + (" with alpha" if self.alpha else "")

    @property
    def is_plain(self) -> bool:
        return self == StoredPixels("RGB")


_HDR = "values of high dynamic range need a tone map"
_LAB = "Lab has no conversion here"
_COLOURS = {"1": "black and white", "L": "grey", "P": "palette"}


def stored_pixels(picture: Image.Image, data: bytes) -> StoredPixels:
    """What the file says of its pixels."""
    readers = {"PNG": _stored_png, "TIFF": _stored_tiff, "PPM": _stored_ppm}
    if picture.format in readers:
        return readers[picture.format](picture, data)
    mode = picture.mode
    base = mode.rstrip("Aa") if mode != "CMYK" else mode
    return StoredPixels(_COLOURS.get(base, base), 1 if mode == "1" else 8, base != mode)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Chunks in front of the pixels."""
    at = 8
    while at + 8 <= len(data):
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if kind == b"IDAT":
            return
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


_TURNING = (b"eXIf", b"tEXtRaw profile type", b"zTXtRaw profile type", b"iTXtXML:com.adobe.xmp")


def png_head(file: Any) -> tuple[bytes, bool]:
    """All that a PNG file has in front of its pixels, and whether an orientation may stand behind them."""
    file.seek(8)
    end, late = 0, False
    while len(head := file.read(8)) == 8:
        (length,), kind = struct.unpack_from(">I", head), head[4:]
        begin = file.tell()
        if kind == b"IDAT":
            end = end or begin
        elif end:
            late = late or (kind + file.read(min(length, 20))).startswith(_TURNING)
        file.seek(begin + length + 4)
    file.seek(0)
    return file.read(end), late


_PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey", 6: "RGB"}
_PQ, _HLG = 16, 18  # transfer characteristics of ITU-T H.273


def _stored_png(picture: Image.Image, data: bytes) -> StoredPixels:
    chunks = dict(png_chunks(data))
    bits, kind = chunks[b"IHDR"][8:10]
    hdr = len(chunks.get(b"cICP", b"")) == 4 and chunks[b"cICP"][1] in (_PQ, _HLG)
    alpha = kind in (4, 6) or b"tRNS" in chunks
    return StoredPixels(_PNG_COLOURS[kind], bits, alpha, _HDR if hdr else "")


_TIFF_COLOURS = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}
_REDUCED, TIFF_PHOTOMETRIC, _BITS, _EXTRA, _SAMPLE_FORMAT, _DNG = 254, 262, 258, 338, 339, 50706


def _stored_tiff(picture: Image.Image, data: bytes) -> StoredPixels:
    tags: Any = picture.tag_v2  # type: ignore[attr-defined]
    bits = int(tags.get(_BITS, (1,))[0])
    colours = _TIFF_COLOURS.get(tags.get(TIFF_PHOTOMETRIC, 1), "unknown colours")
    alpha = any(extra in (1, 2) for extra in tags.get(_EXTRA, ())) or picture.mode.endswith("A")
    refusal = ""
    if _DNG in tags or tags.get(_REDUCED, 0) & 1:
        refusal = "the first picture in it is a preview of raw values"
    elif tags.get(_SAMPLE_FORMAT, (1,))[0] != 1 or bits > 16:
        colours, refusal = ("floating-point " if picture.mode == "F" else "integer ") + colours, _HDR
    elif colours == "Lab":
        refusal = _LAB
    elif bits == 16 and colours not in ("RGB", "grey"):
        refusal = "there is no conversion of it here"
    return StoredPixels(colours, bits, alpha, refusal)


def _stored_ppm(picture: Image.Image, data: bytes) -> StoredPixels:
    if picture.mode == "F":
        return StoredPixels("floating-point grey", 32, refusal=_HDR)
    arguments = picture.tile[0].args  # type: ignore[attr-defined]
    white = int(arguments[1]) if isinstance(arguments, tuple) else 255
    bits = 1 if picture.mode == "1" else 16 if white > 255 or arguments == "I;16B" else 8
    return StoredPixels(_COLOURS.get(picture.mode, "grey" if picture.mode == "I" else picture.mode), bits)
