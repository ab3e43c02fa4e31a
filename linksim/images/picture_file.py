"""One picture file to 8-bit RGB: which files are pictures, and what is made of their pixels.

Only the formats named here are opened, and they are known by their content, not by their name.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from channels.checks import complaint
from linksim.images.stored_pixels import TIFF_PHOTOMETRIC, StoredPixels, png_head, stored_pixels

__all__ = [
    "FORMATS",
    "HEAD_BYTES",
    "MIN_SIDE",
    "ConvertMode",
    "ImageError",
    "is_picture",
    "read_image",
    "read_size",
]

log = logging.getLogger("linksim.images.sets")
MIN_SIDE = 32  # four-fold reduced coding and MS-SSIM windows need at least this
MAX_PIXELS = 1 << 27
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM")
HEAD_BYTES = 32
_SIGNATURES = (
    rb"\x89PNG\r\n\x1a\n",
    rb"\xff\xd8\xff",
    rb"RIFF....WEBP",
    rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]",
    rb"P(?:[1-6][\s#]|[fF]\s)",
)
_SIGNATURE = re.compile(b"|".join(_SIGNATURES), re.DOTALL)
ConvertMode = Literal["none", "rgb"]
Pixels = NDArray[Any]


class ImageError(ValueError):
    """A picture or a set of pictures that cannot be used."""


def is_picture(head: bytes) -> bool:
    """Whether a file that begins with these (at least 32, if it has them) bytes is of a format in
    :data:`FORMATS`.

    Example:
        >>> is_picture(b"P6 640 480 255"), is_picture(b"%!PS-Adobe-3.0 EPSF-3.0")
        (True, False)
    """
    return _SIGNATURE.match(head) is not None


def read_image(source: Path | bytes, name: str, convert: ConvertMode = "none") -> Tensor:
    """Decode a picture as it is to be looked at: turned and mirrored as its EXIF orientation says.

    Args:
        source: file or its bytes.
        name: for messages.
        convert: "none" accepts 8-bit RGB only. "rgb" also takes grey (repeated), palettes, CMYK without its
            profile, alpha (dropped: the colours are those stored) and 16 bits (rounded to 8). Values without
            a fixed white (floating point, 32-bit integers, the transfer functions of HDR) need a tone map
            and are refused, as is Lab.

    Returns:
        [3, H, W] uint8.

    Raises:
        ImageError: not a picture of :data:`FORMATS`, truncated, of several pages or frames, in another
            pixel format, smaller than 32 pixels or larger than 2^27.
    """
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_size(picture.size, name)
            stored = stored_pixels(picture, data)
            _check_pages(picture, name)
            _check_format(stored, name, convert)
            pixels = _decode(picture, data, stored)
    except ImageError:
        raise
    except _DAMAGE as problem:
        raise _undecodable(name, problem) from None
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def read_size(file: Any, name: str, convert: ConvertMode = "none") -> tuple[int, int]:
    """Rows and columns that :func:`read_image` would return, from the headers of a file.

    Args:
        file: open for reading and seeking.
        name: for messages.
        convert: see :func:`read_image`.

    Raises:
        ImageError: what headers tell of a file that cannot be used.
    """
    try:
        with Image.open(file, formats=FORMATS) as picture:
            _check_size(picture.size, name)
            late = False
            head = b""
            if picture.format == "PNG":
                head, late = png_head(file)
            stored = stored_pixels(picture, head)
            _check_pages(picture, name)
            _check_format(stored, name, convert)
            if late:  # Pillow looks for it behind the pixels too
                file.seek(0)
                rows, cols = read_image(file.read(), name, convert).shape[1:]
                return int(rows), int(cols)
            orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
            turned = (
                orientation in (5, 6, 7, 8) and picture.format != "TIFF"
            )  # those of TIFF Pillow has turned
            return picture.size if turned else (picture.height, picture.width)
    except ImageError:
        raise
    except _DAMAGE as problem:
        raise _undecodable(name, problem) from None


def _undecodable(name: str, problem: BaseException) -> ImageError:
    got = "a layout that is not known here" if isinstance(problem, UnidentifiedImageError) else problem
    expected = f"a complete picture file ({', '.join(FORMATS)})"
    return ImageError(complaint(f"image {name}", "cannot be decoded", got, expected, "Replace it."))


_DAMAGE = (
    *(ValueError, OSError, SyntaxError, EOFError, KeyError, IndexError, TypeError, AttributeError),
    *(
        OverflowError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        ZeroDivisionError,
        struct.error,
        zlib.error,
    ),
    Image.DecompressionBombError,
)


def _check_size(size: tuple[int, int], name: str) -> None:
    got = f"{size[1]} x {size[0]} pixels"
    if min(size) < MIN_SIDE:
        raise ImageError(complaint(f"image {name}", "too small", got, f"sides of at least {MIN_SIDE}"))
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(complaint(f"image {name}", "too large", got, f"at most {MAX_PIXELS} pixels"))


def _check_pages(picture: Image.Image, name: str) -> None:
    """One file, one picture. What lies behind the first picture of a JPEG (MPO: previews, gain maps, the
    other eye) is no page: viewers show the first.
    """
    count = getattr(picture, "n_frames", 1)
    if count == 1:
        return
    if picture.format == "MPO":
        _say_once(
            "image %s: a JPEG that holds %d pictures; the first one is used, as in viewers", name, count
        )
        return
    what = "animated" if picture.format in ("PNG", "WEBP") else "several pages"
    cure = "Save the one that is meant as a file of its own."
    raise ImageError(complaint(f"image {name}", what, f"{count} pictures", "one picture", cure))


_said: set[str] = set()


def _say_once(text: str, *arguments: object) -> None:
    """Of the first file only: sets have thousands."""
    if text not in _said:
        _said.add(text)
        log.warning(text, *arguments)


def _check_format(stored: StoredPixels, name: str, convert: ConvertMode) -> None:
    if stored.is_plain or (convert == "rgb" and not stored.refusal):
        return
    if stored.refusal:
        wrong, cure = f"wrong pixel format, {stored.refusal}", "Convert it to 8-bit RGB."
    else:
        wrong = "wrong pixel format"
        cure = (
            "Convert it, or set images.convert: rgb (grey is repeated, alpha dropped, 16 bits rounded to 8)."
        )
    raise ImageError(complaint(f"image {name}", wrong, stored, "8-bit RGB", cure))


def _decode(picture: Image.Image, data: bytes, stored: StoredPixels) -> Pixels:
    """[H, W, 3] uint8, the right way up."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    if stored.bits == 16 and picture.format in ("PNG", "TIFF") and (stored.colours == "RGB" or stored.alpha):
        return _turned(_rounded(_deep_values(picture, data), 65535), orientation)
    if picture.format == "PPM" and picture.tile[0].codec_name == "ppm":  # type: ignore[attr-defined]
        return _turned(_rounded(*_ppm_values(picture, data)), 1)
    photometric = picture.tag_v2.get(TIFF_PHOTOMETRIC) if picture.format == "TIFF" else None  # type: ignore[attr-defined]
    picture.load()
    if picture.format == "TIFF":  # turned by Pillow
        orientation = 1
    if picture.mode.startswith("I"):
        white = 65535 if picture.format == "PPM" else (1 << stored.bits) - 1
        grey = _rounded(np.asarray(picture, np.uint16), white)
        return _turned(255 - grey if photometric == 0 else grey, orientation)
    straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode)
    shown = picture if straight is None else picture.convert(straight)
    return _turned(np.array(shown if shown.mode == "RGB" else shown.convert("RGB")), orientation)


def _rounded(values: Pixels, white: int) -> Pixels:
    """8-bit values of whole numbers from 0 to ``white``, halves rounded up."""
    steps = np.arange(white + 1, dtype=np.int64)
    table = ((2 * 255 * steps + white) // (2 * white)).astype(np.uint8)
    rows = 64  # at a time: indices take eight bytes each
    parts = [table[np.minimum(values[i : i + rows], white)] for i in range(0, len(values), rows)]
    return np.concatenate(parts)


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: np.rot90,
}


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """[H, W, 3] of [H, W] or [H, W, 3], turned and mirrored by an EXIF orientation."""
    turned = _TURNS[orientation](pixels) if orientation in _TURNS else pixels
    return np.repeat(turned[..., None], 3, axis=2) if turned.ndim == 2 else turned


def _deep_values(picture: Image.Image, data: bytes) -> Pixels:
    """[H, W, 3] or [H, W] uint16 of 16-bit PNG and TIFF with colours or alpha, of which Pillow keeps the high
    bytes only.
    """
    import av

    pipe = {"PNG": "png_pipe", "TIFF": "tiff_pipe"}[str(picture.format)]
    try:
        with av.open(io.BytesIO(data), format=pipe) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration) as problem:  # some of FFmpeg's are of no family
        raise ValueError(str(problem) or "no picture") from None
    kind = frame.format.name
    channels = {"rgb48": 3, "rgba64": 4, "ya16": 2, "gray16": 1}.get(kind[:-2], 0)
    if not channels or (frame.height, frame.width) != (picture.height, picture.width):
        raise ValueError(f"a layout of 16-bit values that is not known here ({kind})")
    plane = frame.planes[0]
    rows = np.frombuffer(plane, ">u2" if kind.endswith("be") else "<u2").reshape(frame.height, -1)
    values = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return values[..., :3] if channels > 2 else values[..., 0]


def _ppm_values(picture: Image.Image, data: bytes) -> tuple[Pixels, int]:
    """[H, W] or [H, W, 3] of a binary PPM or PGM, and its white."""
    tile = picture.tile[0]  # type: ignore[attr-defined]
    white = int(tile.args[1])
    channels = len(picture.getbands())
    kind = np.dtype(">u2" if white > 255 else "u1")
    count = picture.height * picture.width * channels
    if len(data) - tile.offset < count * kind.itemsize:
        raise ValueError("the file ends early")
    values = np.frombuffer(data, kind, count, tile.offset).reshape(picture.height, picture.width, channels)
    return (values[..., 0] if channels == 1 else values), white
