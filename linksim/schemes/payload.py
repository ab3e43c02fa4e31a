"""A coded picture as the payload of a transport block: length, stream, zeros. Nothing travels outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from channels.checks import complaint
from linksim.images.sets import image_digest, round_to_uint8
from linksim.schemes.base import Info
from linksim.source.hevc import CodecError
from linksim.source.quality_search import Fit

__all__ = ["Payload", "fit_facts", "pack", "pixels", "stream_budget", "unpack"]

MAX_LENGTH_BYTES = 3


def pixels(image: Tensor) -> tuple[NDArray[np.uint8], str]:
    """[H, W, 3] uint8 of an image [3, H, W] in [0, 1], and the name of its pixels."""
    rounded = round_to_uint8(image).cpu()
    return rounded.permute(1, 2, 0).contiguous().numpy(), image_digest(rounded)


def fit_facts(fit: Fit | None) -> Info:
    """What a record says of a coded picture."""
    if fit is None:
        return {"quality": -1, "bytes": 0, "resolution": 0}
    return {"quality": fit.quality, "bytes": len(fit.stream), "resolution": fit.resolution}


@dataclass(frozen=True)
class Payload:
    """Bits [A] uint8 of a payload, and what they are spent on.

    Args:
        bits: the payload.
        stream_bits: coded picture.
        header_bits: length field.
        padding_bits: zeros.
    """

    bits: NDArray[np.uint8]
    stream_bits: int
    header_bits: int
    padding_bits: int


def pack(stream: bytes, size_bytes: int) -> Payload:
    """Payload of a stream: its length (7 bits a byte, high bits first), the stream, zeros.

    An empty stream says that no picture fitted; its length takes two bytes, so that no payload is all zeros.

    Raises:
        ValueError: stream and length do not fit.
    """
    groups = [len(stream) & 0x7F]
    rest = len(stream) >> 7
    while rest or not (stream or groups[1:]):
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    data = bytes(reversed(groups)) + stream
    if len(data) > size_bytes:
        raise ValueError(
            complaint("payload", "stream too long", f"{len(data)} bytes", f"at most {size_bytes}")
        )
    bits = np.unpackbits(np.frombuffer(data.ljust(size_bytes, b"\0"), np.uint8))
    return Payload(bits, 8 * len(stream), 8 * len(groups), 8 * (size_bytes - len(data)))


def unpack(bits: NDArray[np.uint8]) -> bytes:
    """The stream in payload bits.

    Raises:
        CodecError: a length that the payload cannot hold.
    """
    data = np.packbits(bits).tobytes()
    length = 0
    for i in range(min(MAX_LENGTH_BYTES, len(data))):
        length = length << 7 | data[i] & 0x7F
        if not data[i] & 0x80:
            if i + 1 + length > len(data):
                break
            return data[i + 1 : i + 1 + length]
    raise CodecError("payload: length field out of range")


def stream_budget(size_bytes: int) -> int:
    """Bytes left for a stream in a payload."""
    for length_bytes in range(1, MAX_LENGTH_BYTES + 1):
        room = size_bytes - length_bytes
        if room < 1 << 7 * length_bytes:
            return max(room, 0)
    return (1 << 7 * MAX_LENGTH_BYTES) - 1
