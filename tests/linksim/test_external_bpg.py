"""The reference tools behind our interface; marker ``external``: they must be on the PATH."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.images.sets import SkimageImages, image_digest
from linksim.source.bpg import decode_bpg, encode_bpg
from linksim.source.codec import BpgCodec
from linksim.source.external_bpg import ExternalBpgCodec
from linksim.source.hevc import CodecError
from linksim.source.quality_search import QualitySearch
from linksim.source.stream_cache import StreamCache

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(not ExternalBpgCodec.available(), reason="bpgenc and bpgdec are not on the PATH"),
]


def picture(height: int, width: int) -> np.ndarray:
    image = SkimageImages(["coffee"])["coffee"]
    return image[:, 40 : 40 + height, 150 : 150 + width].permute(1, 2, 0).contiguous().numpy()


@pytest.mark.parametrize("size", [(96, 128), (145, 131), (33, 47)])
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("qp", [22, 37, 51])
def test_our_decoder_reads_the_tools_files_to_the_tools_pixels(qp, chroma, size):
    codec = ExternalBpgCodec(chroma)
    file = codec.encode(picture(*size), qp)
    np.testing.assert_array_equal(decode_bpg(file, size), codec.decode(file, size))


@pytest.mark.parametrize("size", [(96, 128), (145, 131), (33, 47), (20, 24)])
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("qp", [22, 37, 51])
def test_the_tool_reads_our_files_to_our_pixels(qp, chroma, size):
    file = encode_bpg(picture(*size), qp, chroma)
    np.testing.assert_array_equal(ExternalBpgCodec(chroma).decode(file, size), decode_bpg(file, size))


def test_version_names_tool_and_effort():
    assert ExternalBpgCodec().version.startswith("BPG Image Encoder version 0.9.8")
    assert ExternalBpgCodec().version.endswith("level 9")
    assert ExternalBpgCodec("420", "fast").name == "bpg_external-420-fast"


def test_search_under_a_budget(tmp_path):
    """At equal budgets our own encoder shows as much within 0.3 dB (three budgets, one photograph)."""
    rgb, digest = picture(256, 256), image_digest(SkimageImages(["coffee"])["coffee"][:, 40:296, 150:406])
    for budget in (700, 2000, 6000):
        shown = []
        for codec in (ExternalBpgCodec(), BpgCodec()):
            search = QualitySearch(codec, StreamCache(tmp_path))
            fit = search.best(rgb, digest, budget)
            assert fit is not None
            assert len(fit.stream) <= budget
            error = np.square(search.decode(fit.stream, (256, 256)).astype(float) - rgb).mean()
            shown.append(10 * np.log10(255**2 / error))
        assert abs(shown[0] - shown[1]) < 0.5, shown


@pytest.mark.parametrize("data", [b"", b"BPG\xfb", b"JFIF" * 9])
def test_damage_is_a_codec_error(data):
    with pytest.raises(CodecError):
        ExternalBpgCodec().decode(data, (64, 64))
    file = ExternalBpgCodec().encode(picture(64, 64), 30)
    with pytest.raises(CodecError, match="bpgdec"):
        ExternalBpgCodec().decode(file[:24], (64, 64))
