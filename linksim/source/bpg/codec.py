"""BPG files to pictures and back."""

from __future__ import annotations

import numpy as np

from linksim.source.bpg.bits import BitWriter, read_ue7, ue7
from linksim.source.bpg.colour import to_rgb, to_ycc
from linksim.source.bpg.container import BT601, MAGIC, read_header
from linksim.source.bpg.parameter_sets import read_full, read_reduced, video_parameter_set
from linksim.source.hevc import (
    Chroma,
    CodecError,
    coding_block,
    decode_hevc,
    encode_hevc,
    join_nals,
    split_nals,
)

__all__ = ["decode_bpg", "encode_bpg"]


def decode_bpg(data: bytes, expected: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a BPG file.

    Args:
        data: the file; bytes after the last NAL unit are ignored.
        expected: (height, width); any other size is refused before decoding.

    Returns:
        [H, W, 3] uint8, the RGB that the reference decoder writes.

    Raises:
        CodecError: broken or unsupported. A damaged stream may also decode to a wrong picture: only a CRC
            tells.
    """
    header = read_header(data)
    if expected is not None and (header.height, header.width) != expected:
        raise CodecError(
            f"bpg: size {header.height} x {header.width}, expected {expected[0]} x {expected[1]}"
        )
    length, at = read_ue7(data, header.data_at)
    if at + length >= len(data):
        raise CodecError("bpg: stream ends early")
    sps = read_reduced(data[at : at + length])
    end = header.data_at + header.data_length if header.data_length else len(data)
    block = 8 << sps.min_cb
    padded = (-(-header.height // block) * block, -(-header.width // block) * block)
    nals = [video_parameter_set(), sps.full(*padded, header.chroma, header.depth)]
    stream = join_nals(nals) + b"\x00\x00\x00\x01" + data[at + length : end]
    picture = decode_hevc(stream, padded, header.chroma, header.depth)
    return to_rgb(picture, header)


def encode_bpg(rgb: np.ndarray, qp: int, chroma: Chroma = "420", preset: str = "veryslow") -> bytes:
    """Code a picture as a BPG file, 8 bit, BT.601 full range.

    Args:
        rgb: [H, W, 3] uint8.
        qp: quantisation parameter of libx265, 0 (best) to 51.
        chroma: "420", "422" or "444".
        preset: of libx265.

    Raises:
        CodecError: the encoder fails.
    """
    height, width = rgb.shape[:2]
    stream = encode_hevc(to_ycc(rgb, chroma), qp, coding_block(height, width), preset=preset)
    nals = split_nals(stream)
    kinds = [nal[0] >> 1 & 63 for nal in nals]
    sps = read_full(nals[kinds.index(33)])
    kept = [nal for nal, kind in zip(nals, kinds, strict=True) if kind in (34, 19, 20)]
    if not any(kind in (19, 20) for kind in kinds):
        raise CodecError("bpg: encoder wrote no IDR picture")
    w = BitWriter()
    sps.write(w)
    reduced = w.done(stop_bit=False)
    code = {"420": 1, "422": 2, "444": 3}[chroma]
    head = MAGIC + bytes([code << 5, BT601 << 4]) + ue7(width) + ue7(height) + ue7(0)
    return head + ue7(len(reduced)) + reduced + join_nals(kept)[4:]
