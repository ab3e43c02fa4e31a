"""One HEVC intra picture through PyAV: libx265 to encode, FFmpeg's decoder to decode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

__all__ = [
    "Chroma",
    "CodecError",
    "Picture",
    "coding_block",
    "decode_hevc",
    "encode_hevc",
    "encoder_version",
    "split_nals",
]

Chroma = Literal["400", "420", "422", "444"]
_PIXEL_FORMATS = {
    (chroma, depth): name + ("" if depth == 8 else f"{depth}le")
    for chroma, name in (("400", "gray"), ("420", "yuv420p"), ("422", "yuv422p"), ("444", "yuv444p"))
    for depth in (8, 10, 12)
}
_MIN_CODED_SIDE = 32
_START = b"\x00\x00\x00\x01"
# FFmpeg's bit reader looks past the end of a damaged stream; a defined tail makes its result repeatable.
_TAIL = b"\x00\x00\x03" * 64


class CodecError(ValueError):
    """A stream that cannot be decoded, or a picture that cannot be coded."""


@dataclass(frozen=True)
class Picture:
    """Sample planes of one picture.

    Args:
        planes: luma [H, W], then two chroma planes unless "400"; uint8 or uint16.
        chroma: "400", "420", "422" or "444".
        depth: bits per sample.
    """

    planes: tuple[np.ndarray, ...]
    chroma: Chroma
    depth: int


@lru_cache(maxsize=1)
def encoder_version() -> str:
    """Names and versions of the encoder, as it writes itself into a stream, and of its wrapper."""
    import av

    library = ".".join(str(v) for v in av.library_versions["libavcodec"])
    grey = Picture((np.full((32, 32), 128, np.uint8),), "400", 8)
    stream = encode_hevc(grey, 51, 32, info=True)
    said = re.search(rb"x265 \(build \d+\) - ([^: ]+)", stream)
    build = said.group(1).decode(errors="replace") if said else "of unknown version"
    return f"libx265 {build} through PyAV {av.__version__} (libavcodec {library})"


def coding_block(height: int, width: int) -> int:
    """Smallest coding block for a picture; its sides must be padded to multiples of it before coding.

    It is 8, but libx265 takes no picture with a side below 32, so small ones are coded in blocks of 32.
    """
    return 8 if min(height, width) > _MIN_CODED_SIDE - 8 else _MIN_CODED_SIDE


def _x265_options(qp: int, block: int, preset: str, info: bool) -> dict[str, str]:
    """One clean intra picture, deterministic over runs and threads; ipratio=1 makes the QP exact."""
    params = {
        "keyint": "1",
        "qp": str(qp),
        "ipratio": "1",
        "info": "1" if info else "0",
        "log-level": "none",
        "aud": "0",
        "repeat-headers": "1",
        "annexb": "1",
        "pools": "none",
        "frame-threads": "1",
        "no-wpp": "1",
    }
    if block != 8:
        params |= {"min-cu-size": str(block), "ctu": str(block)}
    joined = ":".join(f"{key}={value}" for key, value in params.items())
    return {"preset": preset, "tune": "ssim", "x265-params": joined}


def encode_hevc(
    picture: Picture, qp: int, block: int = 8, *, preset: str = "veryslow", info: bool = False
) -> bytes:
    """Code a picture as an Annex B stream (parameter sets and one IDR slice).

    Args:
        picture: padded to multiples of ``block``.
        qp: quantisation parameter, 0 to 51.
        block: from :func:`coding_block`.
        preset: of libx265.
        info: let libx265 write its version into the stream.

    Raises:
        CodecError: libx265 refuses the picture.
    """
    import av

    height, width = picture.planes[0].shape
    frame = av.VideoFrame(width, height, _PIXEL_FORMATS[picture.chroma, picture.depth])
    for plane, samples in zip(frame.planes, picture.planes, strict=True):
        line = samples.itemsize * samples.shape[1]
        rows = np.zeros((samples.shape[0], plane.line_size), np.uint8)
        rows[:, :line] = np.ascontiguousarray(samples).view(np.uint8).reshape(samples.shape[0], line)
        plane.update(rows.tobytes())
    frame.pts = 0
    try:
        context = av.CodecContext.create("libx265", "w")
        context.width, context.height = width, height
        context.pix_fmt = frame.format.name
        context.options = _x265_options(qp, block, preset, info)
        packets = [*context.encode(frame), *context.encode(None)]
    except (av.FFmpegError, ValueError) as problem:
        raise CodecError(f"hevc: libx265 failed for {width} x {height} at QP {qp} ({problem})") from None
    return b"".join(bytes(p) for p in packets)


def decode_hevc(stream: bytes, expected: tuple[int, int], chroma: Chroma, depth: int) -> Picture:
    """Decode one picture.

    Args:
        stream: Annex B with parameter sets.
        expected: (height, width) that the parameter sets announce; anything else is an error.
        chroma, depth: likewise.

    Raises:
        CodecError: nothing decoded, or another format than announced.
    """
    import av

    context = av.CodecContext.create("hevc", "r")
    context.thread_count = 1
    try:
        frames = [*context.decode(av.Packet(stream + _TAIL)), *context.decode(None)]
    except (av.FFmpegError, ValueError) as problem:
        raise CodecError(f"hevc: stream does not decode ({problem})") from None
    if not frames:
        raise CodecError("hevc: stream holds no picture")
    frame = frames[0]
    name = _PIXEL_FORMATS[chroma, depth]
    got = (frame.height, frame.width)
    full_range = frame.format.name.replace("yuvj", "yuv")
    if got != expected or full_range != name:
        raise CodecError(f"hevc: got {frame.format.name} {got}, expected {name} {expected}")
    dtype = np.dtype(np.uint8 if depth == 8 else "<u2")
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height]
        planes.append(rows[:, : plane.width * dtype.itemsize].copy().view(dtype))
    return Picture(tuple(planes), chroma, depth)


def split_nals(stream: bytes) -> list[bytes]:
    """NAL units of an Annex B stream, without start codes and trailing zeros."""
    positions = []
    at = stream.find(b"\x00\x00\x01")
    while at >= 0:
        positions.append(at)
        at = stream.find(b"\x00\x00\x01", at + 3)
    ends = [*positions[1:], len(stream)]
    return [stream[a + 3 : b].rstrip(b"\x00") for a, b in zip(positions, ends, strict=True)]


def join_nals(nals: list[bytes]) -> bytes:
    """Annex B stream of NAL units."""
    return b"".join(_START + nal for nal in nals)
