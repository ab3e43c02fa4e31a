"""Streams of every picture codec, bytes of which were changed, and payloads that hold them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from linksim.schemes.payload import pack, unpack
from linksim.source.codec import SourceCodec, make_source_codec
from linksim.source.heic import HeicCodec
from linksim.source.hevc import CodecError
from linksim.source.jpeg_xl import JpegXlCodec
from tests.fuzz.harness import Attempt
from tests.fuzz.mutations import mutated_bytes

SIZES = ((64, 48), (33, 70))


def codecs() -> list[SourceCodec]:
    """Those that are there."""
    formats = [
        ("bpg", "420"),
        ("bpg", "444"),
        ("jpeg", "420"),
        ("jpeg", "444"),
        ("jpeg2000", "444"),
        ("webp", "420"),
        ("avif", "420"),
    ]
    formats += [("heic", "420")] if HeicCodec.available() else []
    formats += [("jpegxl", "444")] if JpegXlCodec.available() else []
    return [make_source_codec(name, chroma) for name, chroma in formats]


def prepare(work: Path) -> Attempt:
    """A changed stream, decoded as a receiver does, with the size that it expects or another one."""
    rng = np.random.default_rng(1)
    whole = []
    for codec in codecs():
        for height, width in SIZES:
            rgb = np.kron(rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)), np.ones((8, 8, 1)))
            qualities = codec.qualities
            for quality in (qualities[len(qualities) // 3], qualities[2 * len(qualities) // 3]):
                stream = codec.encode(rgb[:height, :width].astype(np.uint8), quality)
                whole.append((codec, (height, width), stream))

    def attempt(rng: random.Random, folder: Path) -> str:
        codec, size, stream = rng.choice(whole)
        data = mutated_bytes(rng.choice(whole)[2] if rng.random() < 0.1 else stream, rng)
        (folder / f"{codec.name}.bin").write_bytes(data)
        bits = pack(data, len(data) + rng.choice((4, 5, 40))).bits
        flips = rng.sample(range(len(bits)), k=rng.choice((0, 0, 1, 5)))
        bits[flips] ^= 1
        try:
            picture = codec.decode(unpack(bits), size)
        except CodecError:
            return "refused"
        assert picture.shape == (*size, 3)
        assert picture.dtype == np.uint8
        return "taken"

    return attempt
