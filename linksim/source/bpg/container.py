"""The header of a BPG file."""

from __future__ import annotations

from dataclasses import dataclass

from linksim.source.bpg.bits import read_ue7
from linksim.source.hevc import Chroma, CodecError

__all__ = ["BT601", "BT709", "BT2020", "MAGIC", "MAX_PIXELS", "RGB", "YCGCO", "BpgHeader", "read_header"]

MAGIC = b"BPG\xfb"
MAX_PIXELS = 1 << 26
_CHROMA: dict[int, Chroma] = {0: "400", 1: "420", 2: "422", 3: "444", 4: "420", 5: "422"}
_ALIGNED = (4, 5)  # codes of chroma that stands on every second column, as in MPEG-2, not between two
BT601, RGB, YCGCO, BT709, BT2020 = range(5)


@dataclass(frozen=True)
class BpgHeader:
    """What a BPG file says of its picture.

    Args:
        height, width: true size in pixels.
        chroma: "400", "420", "422" or "444".
        depth: bits per sample.
        colour_space: 0 BT.601, 1 RGB, 2 YCgCo, 3 BT.709, 4 BT.2020.
        limited_range: luma 16 to 235 instead of the full range.
        data_at: where the HEVC part starts.
        data_length: of the HEVC part; 0 for all that is left.
        aligned: chroma stands on every second column instead of between two.
    """

    height: int
    width: int
    chroma: Chroma
    depth: int
    colour_space: int
    limited_range: bool
    data_at: int
    data_length: int
    aligned: bool = False


def read_header(data: bytes) -> BpgHeader:
    """Parse the container header.

    Raises:
        CodecError: not a BPG file, or one with alpha or animation.
    """
    if data[:4] != MAGIC or len(data) < 6:
        raise CodecError("bpg: no magic number")
    chroma = _CHROMA.get(data[4] >> 5)
    depth = (data[4] & 15) + 8
    flags = data[5]
    if chroma is None or data[4] & 16 or flags & 0b101:
        raise CodecError("bpg: alpha and animation are not supported")
    if depth not in (8, 10, 12) or flags >> 4 > BT2020:
        raise CodecError("bpg: unsupported bit depth or colour space")
    width, at = read_ue7(data, 6)
    height, at = read_ue7(data, at)
    length, at = read_ue7(data, at)
    if not 0 < width * height <= MAX_PIXELS:
        raise CodecError(f"bpg: size {width} x {height} is out of range")
    if flags & 8:
        skip, at = read_ue7(data, at)
        at += skip
    aligned = data[4] >> 5 in _ALIGNED
    return BpgHeader(height, width, chroma, depth, flags >> 4, bool(flags & 2), at, length, aligned)
