"""HEIC through pillow-heif (libheif, x265 and libde265): what phones write."""

from __future__ import annotations

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

__all__ = ["HeicCodec"]

Rgb = NDArray[np.uint8]
_LARGEST_SIDE = 65535  # 16 bits in the container
_PRESETS = {"best": "veryslow", "fast": "fast"}


@kind("source_codec", "heic")
@dataclass(frozen=True)
class HeicCodec:
    """HEIC by libheif: the same HEVC intra coding as BPG in a container of some 400 bytes.

    Qualities are libheif's, 100 (best) to 0.

    Args:
        chroma: "420" or "444".
        effort: "best" is x265's preset veryslow, "fast" its preset fast.

    Raises:
        ValueError: pillow-heif is not installed.
    """

    chroma: Literal["420", "444"] = "420"
    effort: Literal["best", "fast"] = "best"

    def __post_init__(self) -> None:
        if not self.available():
            cure = f"Install it: {install('heic')}"
            raise ValueError(
                complaint("source.codec", "pillow-heif is not installed", "heic", "pillow-heif", cure)
            )

    @staticmethod
    def available() -> bool:
        """Whether pillow-heif is installed."""
        return importlib.util.find_spec("pillow_heif") is not None

    @property
    def name(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return f"heic-{self.chroma}" + ("-fast" if self.effort == "fast" else "")

    @property
    def version(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import pillow_heif

        info = pillow_heif.libheif_info()
        made_of = f"libheif {info['libheif']}, {info['HEIF']}, {', '.join(info['decoders'].values())}"
        return f"pillow-heif {pillow_heif.__version__} ({made_of}), preset {_PRESETS[self.effort]}, tune ssim"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return tuple(range(100, -1, -1))

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return "" if max(size) <= _LARGEST_SIDE else f"sides of at most {_LARGEST_SIDE} pixels"

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import pillow_heif

        out = io.BytesIO()
        options = {"preset": _PRESETS[self.effort], "tune": "ssim"}
        try:
            picture = pillow_heif.from_pillow(Image.fromarray(rgb))
            picture.save(out, quality=quality, chroma=int(self.chroma), enc_params=options)
        except (RuntimeError, ValueError, OSError) as problem:
            size = f"{rgb.shape[1]} x {rgb.shape[0]}"
            raise CodecError(f"heic: libheif failed for {size} at quality {quality} ({problem})") from None
        return out.getvalue()

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import pillow_heif

        try:
            file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
            if (file.size[1], file.size[0]) != expected:
                raise CodecError(f"heic: size {file.size[1]} x {file.size[0]}, expected {expected}")
            rgb = np.asarray(file.to_pillow().convert("RGB")).copy()
        except CodecError:
            raise
        except DAMAGE as problem:
            raise CodecError(f"heic: stream does not decode ({problem})") from None
        if rgb.shape[:2] != expected:  # the container may announce another size than its picture has
            raise CodecError(f"heic: decoded to {rgb.shape[1]} x {rgb.shape[0]}, expected {expected}")
        return rgb
