"""JPEG, JPEG 2000, WebP and AVIF through Pillow."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError, features

from channels.checks import check_choice, complaint
from linksim.kinds import kind
from linksim.source.hevc import CodecError

__all__ = ["DAMAGE", "PillowCodec"]

Rgb = NDArray[np.uint8]
PillowName = Literal["jpeg", "jpeg2000", "webp", "avif"]
_PILLOW_FEATURE = {"jpeg": "jpg", "jpeg2000": "jpg_2000", "webp": "webp", "avif": "avif"}
_SUBSAMPLING = {"420": "4:2:0", "444": "4:4:4"}
_LARGEST_SIDE = {"jpeg": 65500, "webp": 16383, "avif": 32768}
_JPEG_BYTES_PER_PIXEL = 6  # twice the samples: no code of a block is as long

# All that Pillow's decoders raise for damaged input.
DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


@kind("source_codec", "jpeg", codec="jpeg")
@kind("source_codec", "jpeg2000", codec="jpeg2000")
@kind("source_codec", "webp", codec="webp")
@kind("source_codec", "avif", codec="avif")
@dataclass(frozen=True)
class PillowCodec:
    """JPEG, JPEG 2000, WebP or AVIF through Pillow.

    Qualities are those of Pillow; JPEG 2000 has half decibels of PSNR (120 = 60 dB) and codes bare
    codestreams with the 9-7 wavelet.

    Args:
        codec: name.
        chroma: "420" or "444"; WebP has the first only, JPEG 2000 the second.
        effort: "best" or "fast"; JPEG and JPEG 2000 know no difference.

    Raises:
        ValueError: a chroma format that the codec lacks, or a Pillow without the codec.
    """

    codec: PillowName
    chroma: Literal["420", "444"] = "420"
    effort: Literal["best", "fast"] = "best"

    def __post_init__(self) -> None:
        check_choice("source.codec", self.codec, tuple(_PILLOW_FEATURE))
        only = {"webp": "420", "jpeg2000": "444"}.get(self.codec, self.chroma)
        if self.chroma != only:
            name = {"webp": "WebP", "jpeg2000": "JPEG 2000"}[self.codec]
            format_ = ":".join(only)
            raise ValueError(complaint("source.chroma", f"{name} has none but {format_}", self.chroma, only))
        if not self.available(self.codec):
            cure = "Install a newer Pillow: pip install -U pillow"
            raise ValueError(
                complaint("source.codec", "this Pillow lacks it", self.codec, "a Pillow with it", cure)
            )

    @staticmethod
    def unused(codec: str) -> tuple[str, ...]:
        """Fields that a codec makes nothing of."""
        return ("effort",) if codec in ("jpeg", "jpeg2000") else ()

    @staticmethod
    def available(codec: str) -> bool:
        """Whether this Pillow has the codec."""
        return bool(features.check(_PILLOW_FEATURE[codec]))

    @property
    def name(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        fast = self.effort == "fast" and self.codec in ("webp", "avif")
        return f"{self.codec}-{self.chroma}" + ("-fast" if fast else "")

    @property
    def version(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        library = features.version(_PILLOW_FEATURE[self.codec])
        return f"Pillow {PIL.__version__}, {self.codec} {library}, {self._options(0)}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`linksim.source.codec.SourceCodec`."""
        if self.codec == "jpeg2000":
            return tuple(range(120, 19, -1))
        return tuple(range(100, 0, -1)) if self.codec == "jpeg" else tuple(range(100, -1, -1))

    def _options(self, quality: int) -> dict[str, object]:
        fast = self.effort == "fast"
        if self.codec == "jpeg":
            subsampling = _SUBSAMPLING[self.chroma]
            return {"quality": quality, "subsampling": subsampling, "optimize": True, "progressive": True}
        if self.codec == "webp":
            return {"quality": quality, "method": 2 if fast else 6}
        if self.codec == "jpeg2000":
            layers = {"quality_mode": "dB", "quality_layers": [quality / 2]}
            # Pillow leaves out the colour transform unless told, which doubles the rate of photographs
            return {**layers, "irreversible": True, "mct": 1, "no_jp2": True}
        speed = 8 if fast else 4
        return {
            "quality": quality,
            "subsampling": _SUBSAMPLING[self.chroma],
            "speed": speed,
            "max_threads": 1,
        }

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        limit = _LARGEST_SIDE.get(self.codec)
        return "" if limit is None or max(size) <= limit else f"sides of at most {limit} pixels"

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`linksim.source.codec.SourceCodec`."""
        out = io.BytesIO()
        # libjpeg writes an optimised stream in one piece, for which Pillow's buffer may be too small
        room = _JPEG_BYTES_PER_PIXEL * rgb.shape[0] * rgb.shape[1] + (1 << 16)
        ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, room)
        try:
            Image.fromarray(rgb).save(out, self.codec.upper(), **self._options(quality))
        except DAMAGE as problem:
            size = f"{rgb.shape[1]} x {rgb.shape[0]}"
            raise CodecError(f"{self.codec}: no stream of {size} at quality {quality} ({problem})") from None
        return out.getvalue()

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`linksim.source.codec.SourceCodec`."""
        try:
            with Image.open(io.BytesIO(data), formats=(self.codec.upper(),)) as picture:
                if (picture.height, picture.width) != expected:
                    raise CodecError(
                        f"{self.codec}: size {picture.height} x {picture.width}, expected {expected}"
                    )
                return np.asarray(picture.convert("RGB")).copy()
        except CodecError:
            raise
        except DAMAGE as problem:
            raise CodecError(f"{self.codec}: stream does not decode ({problem})") from None
