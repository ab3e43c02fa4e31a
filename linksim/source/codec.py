"""Source codecs behind one interface: what every codec offers, and BPG."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from channels.checks import check_choice
from linksim.kinds import find, kind, names
from linksim.source.bpg import MAX_PIXELS, decode_bpg, encode_bpg
from linksim.source.hevc import encoder_version

__all__ = ["BpgCodec", "Measure", "SourceCodec", "make_source_codec"]

Rgb = NDArray[np.uint8]
ChromaName = Literal["420", "444"]
Effort = Literal["best", "fast"]
_PRESETS = {"best": "veryslow", "fast": "fast"}


class SourceCodec(Hashable, Protocol):
    """A picture codec with one quality parameter: a value, equal to another one that codes the same."""

    @property
    def name(self) -> str:
        """Codec and chroma format, e.g. "bpg-420"; with "-fast" where less effort is spent."""
        ...

    @property
    def version(self) -> str:
        """Library, version and effort: all that can change a stream."""
        ...

    @property
    def qualities(self) -> tuple[int, ...]:
        """Quality parameters from the largest streams to the smallest."""
        ...

    def refusal(self, size: tuple[int, int]) -> str:
        """What is expected of a picture in (H, W) pixels that the codec cannot take; empty if it can."""
        ...

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """Stream of a picture [H, W, 3] uint8; CodecError where there is none at this quality."""
        ...

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """Picture [H, W, 3] uint8 of a stream; CodecError unless it decodes to (H, W) ``expected``."""
        ...


class Measure(Hashable, Protocol):
    """By what one coding of a picture shows more than another."""

    @property
    def name(self) -> str:
        """Its name, part of that of the search."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Direction."""
        ...

    @property
    def reference(self) -> str:
        """What it is exactly; choices are remembered for that."""
        ...

    def __call__(self, shown: Rgb, original: Rgb) -> float:
        """Value of a picture [H, W, 3] uint8 against the original."""
        ...


@kind("source_codec", "bpg")
@dataclass(frozen=True)
class BpgCodec:
    """BPG: HEVC intra by libx265, quality = QP 0 to 51.

    Args:
        chroma: "420" or "444".
        effort: "best" is preset veryslow, "fast" preset fast (a fifth of the time, 3% larger).
    """

    chroma: ChromaName = "420"
    effort: Effort = "best"

    @property
    def name(self) -> str:
        """See :class:`SourceCodec`."""
        return f"bpg-{self.chroma}" + ("-fast" if self.effort == "fast" else "")

    @property
    def version(self) -> str:
        """See :class:`SourceCodec`."""
        return f"{encoder_version()}, preset {_PRESETS[self.effort]}, tune ssim, exact QP"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`SourceCodec`."""
        return tuple(range(52))

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`SourceCodec`."""
        return "" if size[0] * size[1] <= MAX_PIXELS else f"at most {MAX_PIXELS} pixels"

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`SourceCodec`."""
        return encode_bpg(rgb, quality, self.chroma, _PRESETS[self.effort])

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`SourceCodec`."""
        return decode_bpg(data, expected)


def make_source_codec(codec: str, chroma: ChromaName = "420", effort: Effort = "best") -> SourceCodec:
    """A built-in codec by its name.

    Args:
        codec: one of ``linksim.kinds.names("source_codec")``.
        chroma: "420" or "444".
        effort: "best" or "fast".

    Raises:
        ValueError: unknown name; a codec without this chroma format; a codec that is not installed.
    """
    check_choice("source.codec", codec, names("source_codec"))
    made: SourceCodec = find("source_codec", codec).make(chroma=chroma, effort=effort)
    return made
