"""BPG: every reference file to the reference pixels; our files against the raw HEVC stream; damage."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linksim.images.sets import SkimageImages
from linksim.source import bpg
from linksim.source.bpg.colour import to_rgb, to_ycc
from linksim.source.hevc import CodecError, Picture, coding_block, decode_hevc, encode_hevc
from linksim.source.pillow_codec import PillowCodec

REFERENCE = Path(__file__).parent.parent / "data" / "bpg"
MANIFEST = json.loads((REFERENCE / "manifest.json").read_text())


def picture(height: int, width: int) -> np.ndarray:
    image = SkimageImages(["coffee"])["coffee"]
    return image[:, 40 : 40 + height, 150 : 150 + width].permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize("entry", MANIFEST, ids=[e["file"] for e in MANIFEST])
def test_reference_file_decodes_to_exactly_the_reference_pixels(entry):
    decoded = bpg.decode_bpg((REFERENCE / entry["file"]).read_bytes(), (entry["height"], entry["width"]))
    with Image.open(REFERENCE / entry["file"].replace(".bpg", ".png")) as expected:
        np.testing.assert_array_equal(decoded, np.asarray(expected.convert("RGB")))


@pytest.mark.parametrize("size", [(145, 131), (33, 47), (128, 192), (9, 21)])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
@pytest.mark.parametrize("qp", [20, 37, 51])
def test_our_file_decodes_to_the_pixels_of_the_raw_hevc_stream(qp, chroma, size):
    """The container and its rebuilt parameter sets change nothing: same planes as libx265's own stream."""
    rgb = picture(*size)
    planes = to_ycc(rgb, chroma)
    padded = planes.planes[0].shape
    raw = decode_hevc(encode_hevc(planes, qp, coding_block(*size)), padded, chroma, 8)
    file = bpg.encode_bpg(rgb, qp, chroma)
    header = bpg.read_header(file)
    assert (header.height, header.width, header.chroma, header.depth) == (*size, chroma, 8)
    expected = to_rgb(Picture(raw.planes, chroma, 8), header)
    np.testing.assert_array_equal(bpg.decode_bpg(file, size), expected)


def test_encoding_is_deterministic_and_quality_follows_qp():
    rgb = picture(96, 128)
    sizes = []
    for qp in (20, 30, 40, 51):
        first = bpg.encode_bpg(rgb, qp)
        assert first == bpg.encode_bpg(rgb, qp)
        sizes.append(len(first))
    assert sizes == sorted(sizes, reverse=True)


def test_grey_survives_the_colour_pipeline():
    """A neutral ramp has no chroma: RGB of the decoded planes is neutral again within one step."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 16, axis=0).repeat(3, axis=2)
    planes = to_ycc(ramp, "444")
    assert all(np.all(plane == 128) for plane in planes.planes[1:])
    back = to_rgb(planes, bpg.BpgHeader(16, 256, "444", 8, 0, False, 0, 0))
    assert np.abs(back.astype(int) - ramp).max() <= 1


def test_wrong_size_is_refused_before_decoding():
    file = bpg.encode_bpg(picture(64, 64), 40)
    with pytest.raises(CodecError, match="size 64 x 64, expected 64 x 80"):
        bpg.decode_bpg(file, (64, 80))


@pytest.mark.parametrize("data", [b"", b"BPG", b"BPG\xfb", b"BPG\xfb\x20\x00", b"JFIF" * 10])
def test_truncated_or_foreign_data_is_a_codec_error(data):
    with pytest.raises(CodecError):
        bpg.decode_bpg(data, (64, 64))


def _damage(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(out[: rng.randrange(len(out))])
    if kind == 1:
        start = rng.randrange(len(out))
        del out[start : start + rng.randrange(1, 20)]
    else:
        for _ in range(rng.randrange(1, 12)):
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def test_two_thousand_damaged_bpg_streams_decode_or_raise_codec_error():
    rng = random.Random(7)
    files = [bpg.encode_bpg(picture(*size), qp, chroma) for size, qp, chroma in (
        ((64, 96), 30, "420"), ((33, 47), 22, "444"), ((80, 64), 45, "420"), ((16, 16), 37, "444"),
    )]  # fmt: skip
    sizes = [(64, 96), (33, 47), (80, 64), (16, 16)]
    decoded = failed = 0
    for i in range(2000):
        which = i % len(files)
        try:
            result = bpg.decode_bpg(_damage(files[which], rng), sizes[which])
        except CodecError:
            failed += 1
        else:
            assert result.shape == (*sizes[which], 3)
            decoded += 1
    assert decoded > 100
    assert failed > 100


@pytest.mark.parametrize("codec", [c for c in ("jpeg", "webp", "avif") if PillowCodec.available(c)])
def test_damaged_pillow_streams_decode_or_raise_codec_error(codec):
    rng = random.Random(8)
    source = PillowCodec(codec)
    file = source.encode(picture(64, 96), 50)
    np.testing.assert_equal(source.decode(file, (64, 96)).shape, (64, 96, 3))
    failed = 0
    for _ in range(200):
        try:
            assert source.decode(_damage(file, rng), (64, 96)).shape == (64, 96, 3)
        except CodecError:
            failed += 1
    assert failed > 20
