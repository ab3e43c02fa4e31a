"""JPEG XL through pillow-jxl-plugin (libjxl), as bare codestreams."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from channels.checks import complaint
from channels.runtime.extras import install
from linksim.kinds import kind
from linksim.source.hevc import CodecError
from linksim.source.pillow_codec import DAMAGE

__all__ = ["JpegXlCodec"]

Rgb = NDArray[np.uint8]
_EFFORTS = {"best": 9, "fast": 5}
_SIGNATURE = b"\xff\x0a"
_LARGEST_SIDE = 1 << 18
_SIDE_BITS = (9, 13, 18, 30)
# Width over height that a header may name in place of a width.
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@kind("source_codec", "jpegxl")
@dataclass(frozen=True)
class JpegXlCodec:
    """JPEG XL by libjxl: lossy, XYB, a bare codestream without a container.

    Qualities are those of the plugin, 99 to 0 (100 is lossless coding).

    Args:
        chroma: "444"; libjxl subsamples none.
        effort: "best" is effort 9 of libjxl, "fast" its effort 5.

    Raises:
        ValueError: another chroma format; pillow-jxl-plugin is not installed.
    """

    chroma: Literal["420", "444"] = "444"
    effort: Literal["best", "fast"] = "best"

    def __post_init__(self) -> None:
        if self.chroma != "444":
            raise ValueError(complaint("source.chroma", "JPEG XL has none but 4:4:4", self.chroma, "444"))
        if not self.available():
            cure = f"Install it: {install('jpegxl')}"
            raise ValueError(
                complaint(
                    *(
                        "source.codec",
                        "pillow-jxl-plugin is not installed",
                        "jpegxl",
                        "pillow-jxl-plugin",
                        cure,
                    )
                )
            )

    @staticmethod
    def available() -> bool:
        """Whether pillow-jxl-plugin is installed."""
        return importlib.util.find_spec("pillow_jxl") is not None

    @property
    def name(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return "jpegxl-444" + ("-fast" if self.effort == "fast" else "")

    @property
    def version(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`; the plugin brings its own libjxl."""
        plugin = importlib.metadata.version("pillow-jxl-plugin")
        return f"pillow-jxl-plugin {plugin}, effort {_EFFORTS[self.effort]}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return tuple(range(99, -1, -1))

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return "" if max(size) <= _LARGEST_SIDE else f"sides of at most {_LARGEST_SIDE} pixels"

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import pillow_jxl  # noqa: F401 (registers the format with Pillow)

        out = io.BytesIO()
        options = {
            "quality": quality,
            "effort": _EFFORTS[self.effort],
            "num_threads": 1,
            "use_container": False,
        }
        try:
            Image.fromarray(rgb).save(out, "JXL", **options)
        except DAMAGE as problem:
            size = f"{rgb.shape[1]} x {rgb.shape[0]}"
            raise CodecError(f"jpegxl: no stream of {size} at quality {quality} ({problem})") from None
        return out.getvalue()

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import pillow_jxl  # noqa: F401

        size = _size(data)  # the plugin decodes a picture before it says its size
        if size != expected:
            raise CodecError(f"jpegxl: size {size[0]} x {size[1]}, expected {expected}")
        try:
            with Image.open(io.BytesIO(data), formats=("JXL",)) as picture:
                rgb = np.asarray(picture.convert("RGB")).copy()
        except DAMAGE as problem:
            raise CodecError(f"jpegxl: stream does not decode ({problem})") from None
        if rgb.shape[:2] != expected:  # turned on its side by its metadata
            raise CodecError(f"jpegxl: decoded to {rgb.shape[1]} x {rgb.shape[0]}, expected {expected}")
        return rgb


def _size(data: bytes) -> tuple[int, int]:
    """(H, W) that a codestream says.

    Raises:
        CodecError: no codestream of JPEG XL.

    Source: ISO/IEC 18181-1:2022, sec. D.2 (SizeHeader).
    """
    if data[:2] != _SIGNATURE or len(data) < 12:
        raise CodecError("jpegxl: no codestream")
    bits, place = int.from_bytes(data[2:12], "little"), 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return bits >> (place - count) & (1 << count) - 1

    small = read(1)

    def side() -> int:
        return 8 * (1 + read(5)) if small else 1 + read(_SIDE_BITS[read(2)])

    height = side()
    ratio = _RATIOS[read(3)]
    return height, side() if ratio is None else height * ratio[0] // ratio[1]
