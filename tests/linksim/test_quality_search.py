"""The quality search: independent of its history and of the number of processes; a cache that many share and
that damage cannot fool.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from linksim.build.channels import load_calibration
from linksim.build.objects import make_search
from linksim.cli.commands import main
from linksim.coding.calibration import QualityCurve
from linksim.images.sets import SkimageImages, image_digest
from linksim.kinds import names
from linksim.metrics.selection import Selection
from linksim.scenario.schema import SourceSpec
from linksim.source.bisection import best_neighbour
from linksim.source.codec import make_source_codec
from linksim.source.heic import HeicCodec
from linksim.source.hevc import CodecError
from linksim.source.jpeg_xl import JpegXlCodec
from linksim.source.learned.codec import CompressAiCodec
from linksim.source.pillow_codec import PillowCodec
from linksim.source.quality_search import QualitySearch, Wish
from linksim.source.stream_cache import StreamCache
from linksim.weights import zoo
from tests.linksim.tiny import TINY, write

NAMES = ("astronaut", "coffee", "chelsea", "rocket")


def wishes(*budgets: int, side: int = 64) -> list[Wish]:
    images = SkimageImages(list(NAMES))
    crops = [images[n][:, 60 : 60 + side, 120 : 120 + side].contiguous() for n in NAMES]
    rgb = [(c.permute(1, 2, 0).contiguous().numpy(), image_digest(c)) for c in crops]
    return [Wish(*picture, budget) for budget in budgets for picture in rgb]


def search(folder, codec="bpg", resolutions=(1, 2, 4), **keywords) -> QualitySearch:
    return QualitySearch(make_source_codec(codec), StreamCache(folder), resolutions, **keywords)


def test_many_processes_find_what_one_finds(tmp_path):
    asked = wishes(40, 150, 400, 1500)
    one = search(tmp_path / "one").best_of(asked)
    many = search(tmp_path / "many", workers=2)
    assert many.best_of(asked) == one
    assert many.best_of(asked) == one, "from the cache"
    assert None in one, "nothing fits 40 bytes"
    assert {fit.resolution for fit in one if fit} >= {1, 2}


def test_choice_does_not_depend_on_what_was_coded_before(tmp_path):
    """16 budgets in rising, falling and random order, each with a cache of its own, and every one alone."""
    budgets = [int(b) for b in np.geomspace(120, 3000, 16)]
    picture = wishes(1)[1]
    found = []
    orders = [budgets, budgets[::-1], random.Random(1).sample(budgets, 16)]
    for i, order in enumerate(orders):
        own = search(tmp_path / str(i))
        found.append({b: own.best(picture.rgb, picture.digest, b) for b in order})
    alone = {b: search(tmp_path / f"alone {b}").best(picture.rgb, picture.digest, b) for b in budgets[::5]}
    assert found[0] == found[1] == found[2]
    assert all(found[0][b] == fit for b, fit in alone.items())


def test_sizes_that_are_not_monotone_lead_to_one_choice_from_anywhere():
    sizes = [2000, 1500, 1200, 1010, 990, 1005, 980, 900]
    assert {best_neighbour(sizes.__getitem__, i, 1000) for i in (4, 6, 7)} == {4}
    assert best_neighbour([900, 1200, 990].__getitem__, 2, 1000) == 2, "1200 is too far from the budget"


def test_whether_a_picture_fits_is_asked_of_the_small_sizes_first(tmp_path, monkeypatch):
    """Full size takes most of the time of a check; where a quarter fits nobody needs it. What is said to be
    the smallest is it, whatever was asked before.
    """
    picture = wishes(1, side=128)[1]
    exact = search(tmp_path / "exact").smallest(picture.rgb, picture.digest)
    own, coded = search(tmp_path / "own"), []
    encode = type(own.codec).encode
    monkeypatch.setattr(
        type(own.codec),
        "encode",
        lambda self, rgb, quality: coded.append(rgb.shape[:2]) or encode(self, rgb, quality),
    )
    assert exact < own.smallest(picture.rgb, picture.digest, 10_000) + 1 <= 10_001
    assert coded == [(32, 32)]
    assert own.smallest(picture.rgb, picture.digest, exact - 1) == exact
    assert coded == [(32, 32), (64, 64), (128, 128)]
    assert own.smallest(picture.rgb, picture.digest) == exact


def test_remembered_choice_needs_no_encoder(tmp_path, monkeypatch):
    asked = wishes(200, 900)
    before = search(tmp_path).best_of(asked)
    monkeypatch.setattr(
        "linksim.source.codec.encode_bpg", lambda *a: pytest.fail("coded although remembered")
    )
    assert search(tmp_path).best_of(asked) == before


def test_remembered_choice_of_another_budget_is_not_trusted(tmp_path):
    """A choice whose stream exceeds the budget, written by hand into the cache, is searched again."""
    asked = wishes(300)[0]
    own = search(tmp_path)
    expected = own.best(*asked)
    large = own.stream(asked.rgb, asked.digest, 20)
    assert len(large) > 300
    own.cache.put(own.choice_key(asked), json.dumps([20, 1]).encode())
    assert search(tmp_path).best(*asked) == expected


WRITER = """
import random, sys
from pathlib import Path
from linksim.source.stream_cache import StreamCache
cache, rng = StreamCache(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
wrong = 0
for _ in range(1500):
    n = rng.randrange(40)
    key, data = StreamCache.key("entry", n), bytes([n]) * (1000 + 97 * n)
    found = cache.get(key)
    wrong += found is not None and found != data
    cache.put(key, data)
print(wrong)
"""


def test_concurrent_writers_and_readers_see_whole_entries(tmp_path):
    """Four processes, 1,500 reads and writes of 40 keys each."""
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(i)], stdout=subprocess.PIPE)
        for i in range(4)
    ]
    assert [int(p.communicate()[0]) for p in running] == [0] * 4
    assert not list(tmp_path.rglob("*.partial"))
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 40


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(out[: rng.randrange(len(out))])
    if kind == 1:
        start = rng.randrange(len(out))
        del out[start : start + rng.randrange(1, 20)]
    elif kind == 2:
        at = rng.randrange(len(out))
        out[at:at] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 3:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    else:
        for _ in range(rng.randrange(1, 12)):
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


@pytest.mark.parametrize("count", [500, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_cache_entries_are_absent(tmp_path, count):
    """Cut, shortened, lengthened, flipped and overwritten entries; and entries under the key of another."""
    rng, cache = random.Random(5), StreamCache(tmp_path)
    keys = [StreamCache.key("entry", n) for n in range(count)]
    stored = {}
    for key in keys:
        cache.put(key, rng.randbytes(rng.randrange(0, 400)))
        stored[key] = cache.path(key).read_bytes()
    for i, key in enumerate(keys):
        data = stored[keys[(i + 1) % count]] if i % 10 == 0 else damaged(stored[key], rng)
        if data == stored[key]:
            continue
        cache.path(key).write_bytes(data)
        assert cache.get(key) is None
        if i % 20 == 0:
            cache.put(key, b"again")
            assert cache.get(key) == b"again"


def test_entry_cut_in_half_is_coded_again(tmp_path):
    asked = wishes(700)
    before = search(tmp_path).best_of(asked)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    assert search(tmp_path).best_of(asked) == before


def test_entry_that_is_a_folder_is_done_without(tmp_path):
    asked = wishes(700)[0]
    own = search(tmp_path)
    expected = own.best(*asked)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        path.unlink()
        path.mkdir()
    assert search(tmp_path).best(*asked) == expected


AVAILABLE = [
    name
    for name in names("source_codec")
    if name == "bpg"
    or (name == "heic" and HeicCodec.available())
    or (name == "jpegxl" and JpegXlCodec.available())
    or (name in ("jpeg", "jpeg2000", "webp", "avif") and PillowCodec.available(name))
]


def fuzz(codec: str, count: int, seed: int) -> tuple[int, int]:
    """How many of so many damaged streams decoded, and how many raised CodecError."""
    rng = random.Random(seed)
    source = make_source_codec(codec, "444" if codec in ("jpeg2000", "jpegxl") else "420")
    qualities = [source.qualities[len(source.qualities) * i // 10] for i in (3, 5, 8)]
    picture = wishes(1)[seed % 4].rgb
    files = [source.encode(picture, q) for q in qualities]
    good = failed = 0
    for i in range(count):
        try:
            assert source.decode(damaged(files[i % 3], rng), (64, 64)).shape == (64, 64, 3)
        except CodecError:
            failed += 1
        else:
            good += 1
    return good, failed


@pytest.mark.parametrize("codec", AVAILABLE)
def test_damaged_streams_decode_or_raise_codec_error(codec):
    good, failed = fuzz(codec, 150, seed=1)
    assert failed > 10
    assert good + failed == 150


@pytest.mark.slow
@pytest.mark.parametrize("codec", AVAILABLE)
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_twenty_thousand_damaged_streams_decode_or_raise_codec_error(codec, seed):
    """Six codecs x four pictures x 840."""
    good, failed = fuzz(codec, 840, seed)
    assert good + failed == 840
    assert failed > 50


@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("size", [(8, 8), (64, 64), (256, 320)])
def test_jpeg_codes_noise_at_the_highest_quality(size, chroma):
    """Pillow's own buffer holds two bytes per pixel: noise needs more."""
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    codec = make_source_codec("jpeg", chroma)
    stream = codec.encode(rgb, 100)
    assert codec.decode(stream, size).shape == rgb.shape
    assert len(stream) > 1.2 * rgb.shape[0] * rgb.shape[1]


@pytest.mark.parametrize(("codec", "side"), [("jpeg", 65501), ("webp", 16384), ("avif", 32769)])
def test_sides_beyond_a_codec_are_refused_before_anything_is_coded(codec, side, tmp_path):
    with pytest.raises(
        ValueError, match=f"image: too large for {codec}-420, got 32 x {side} pixels, expected sides"
    ):
        search(tmp_path, codec, (1,)).check(32, side)
    if codec != "avif":  # which codes it, and does not decode it
        with pytest.raises(CodecError, match=f"{codec}: no stream of {side} x 32"):
            make_source_codec(codec).encode(np.zeros((32, side, 3), np.uint8), 50)
    search(tmp_path, codec, (1, 2, 4)).check(32, side)  # at half size it can be coded


def test_sizes_that_a_codec_cannot_take_are_passed_over(tmp_path):
    rgb = np.zeros((32, 16384, 3), np.uint8)
    fit = search(tmp_path, "webp", (1, 2, 4)).best(rgb, "wide", 20_000)
    assert fit is not None
    assert fit.resolution == 2


class Failing:
    """A codec with qualities that it cannot code."""

    name, version, qualities = "failing", "1", tuple(range(20))

    def __init__(self, broken: set[int]) -> None:
        self.broken = broken

    def refusal(self, size):
        return ""

    def encode(self, rgb, quality):
        if quality in self.broken:
            raise CodecError(f"no stream at {quality}")
        return bytes(1000 - 10 * quality)

    def decode(self, data, expected):
        return np.zeros((*expected, 3), np.uint8)


def test_a_quality_that_cannot_be_coded_is_left_out_and_said(tmp_path, caplog):
    rgb = np.zeros((4, 4, 3), np.uint8)
    best = QualitySearch(Failing({0, 1, 2, 3}), StreamCache(tmp_path)).best(rgb, "a", 2000)
    assert best is not None
    assert best.quality == 4
    assert "quality 3 is left out: no stream at 3" in caplog.text


def test_a_codec_that_codes_nothing_is_an_error_not_a_picture_that_does_not_fit(tmp_path):
    with pytest.raises(CodecError, match="no stream at 19"):
        QualitySearch(Failing(set(range(20))), StreamCache(tmp_path)).best(
            np.zeros((4, 4, 3), np.uint8), "b", 2000
        )


@pytest.mark.parametrize("codec", AVAILABLE)
def test_codec_is_a_value_and_says_what_it_is(codec):
    chroma = "444" if codec in ("jpeg2000", "jpegxl") else "420"
    first, second = make_source_codec(codec, chroma), make_source_codec(codec, chroma)
    assert first == second
    assert hash(first) == hash(second)
    assert first.name == f"{codec}-{chroma}"
    assert any(character.isdigit() for character in first.version)
    fast = make_source_codec(codec, chroma, "fast")
    assert (fast.name == first.name) is (fast.version == first.version)


@pytest.mark.parametrize("codec", ["bpg", "heic", "webp", "avif"])
def test_less_effort_is_no_smaller(codec):
    if codec not in AVAILABLE:
        pytest.skip(f"{codec} is not installed")
    picture = wishes(1, side=128)[1].rgb
    quality = {"bpg": 32, "heic": 50, "webp": 60, "avif": 60}[codec]
    best, fast = (len(make_source_codec(codec, "420", e).encode(picture, quality)) for e in ("best", "fast"))
    assert best <= 1.02 * fast


@pytest.mark.parametrize(
    "size", [(64, 64), (8, 8), (1, 300), (300, 400), (320, 480), (1080, 1920), (41, 37), (600, 1200)]
)
def test_jpeg_xl_says_its_size_before_it_is_decoded(size):
    if not JpegXlCodec.available():
        pytest.skip("pillow-jxl-plugin is not installed")
    codec = JpegXlCodec(effort="fast")
    stream = codec.encode(np.zeros((*size, 3), np.uint8), 50)
    assert codec.decode(stream, size).shape == (*size, 3)
    with pytest.raises(CodecError, match=f"size {size[0]} x {size[1]}, expected"):
        codec.decode(stream, (size[0] + 1, size[1]))


def test_jpeg_2000_takes_the_colour_transform():
    """Pillow leaves it out unless told: twice the bytes for the same picture."""
    codec, rgb, out = make_source_codec("jpeg2000", "444"), wishes(1, side=128)[1].rgb, io.BytesIO()
    layers = {"quality_mode": "dB", "quality_layers": [34.0], "irreversible": True, "no_jp2": True}
    Image.fromarray(rgb).save(out, "JPEG2000", **layers)
    streams = codec.encode(rgb, 68), out.getvalue()
    assert len(streams[0]) < 0.75 * len(streams[1])
    errors = [np.square(codec.decode(s, (128, 128)).astype(float) - rgb).mean() for s in streams]
    assert errors[0] < 1.2 * errors[1]


def test_heic_pays_for_its_container():
    """The same intra coding as BPG in some 350 bytes more: it matters at low rates."""
    if not HeicCodec.available():
        pytest.skip("pillow-heif is not installed")
    picture = wishes(1)[1].rgb
    heic, bpg = make_source_codec("heic"), make_source_codec("bpg")
    smallest = len(heic.encode(picture, 0)), len(bpg.encode(picture, 51))
    assert smallest[0] > smallest[1] + 250


def test_codec_that_is_not_there_is_one_message(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'linksim-wireless\[heic\]'"):
        make_source_codec("heic")
    with pytest.raises(ValueError, match=r"pip install 'linksim-wireless\[jpegxl\]'"):
        make_source_codec("jpegxl", "444")
    with pytest.raises(
        ValueError, match=r"got none, expected the package compressai\. .*--no-deps compressai"
    ):
        CompressAiCodec("mbt2018")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ValueError, match=r"bpgenc, bpgdec.*or use codec: bpg"):
        make_source_codec("bpg_external")
    with pytest.raises(ValueError, match="one of 'bpg'"):
        make_source_codec("gif")


# --------------------------------------------------------------------------------- by which measure


def test_choice_is_by_the_measure_that_is_named(tmp_path):
    """Four pictures of 192 x 192 within three budgets: none is worse in MS-SSIM when chosen by it, none in PSNR when
    chosen by that, some differ; the same by two processes; and the two remember their choices apart."""
    by_error = search(tmp_path)
    by_shape = search(tmp_path, measure=Selection("ms_ssim"))
    assert (by_error.name, by_shape.name) == ("bpg-420-1/2/4", "bpg-420-1/2/4-ms_ssim")
    asked, differ = wishes(250, 500, 1000, side=192), 0
    found = by_error.best_of(asked), by_shape.best_of(asked)
    for wish, one, other in zip(asked, *found, strict=True):
        if one is None:
            assert other is None
            continue
        shown = [by_error.decode(fit.stream, (192, 192)) for fit in (one, other)]
        for name, better, worse in (("psnr", 0, 1), ("ms_ssim", 1, 0)):
            measure = Selection(name)
            assert measure(shown[better], wish.rgb) >= measure(shown[worse], wish.rgb)
        differ += one.resolution != other.resolution
    assert differ >= 1
    again = search(tmp_path / "other", workers=2, measure=Selection("ms_ssim"))
    assert again.best_of(asked) == found[1]
    assert search(tmp_path).best_of(asked) == found[0]


def test_adaptive_mcs_goes_by_the_measure():
    """Of a measure that falls, the lower mean is the better one."""
    rates, values = (0.01, 0.1, 1.0), (0.6, 0.4, 0.1)
    curve = QualityCurve(
        codec="c", images="i", measure="lpips_squeeze", higher_is_better=False,
        bits_per_pixel=rates, values=values, failure=0.9,
    )  # fmt: skip
    assert curve.value(0.001) == 0.9
    assert curve.expected(1.0, 0.0) > curve.expected(0.1, 0.0)
    assert curve.expected(0.1, 0.0) > curve.expected(1.0, 0.5), "half of the frames lost"
    old = {"codec": "c", "images": "i", "bits_per_pixel": rates, "psnr_db": values, "failure_psnr_db": 0.9}
    assert QualityCurve(**old).measure == "psnr"


def test_shipped_quality_curves_are_of_what_schemes_select_by():
    table = load_calibration(zoo.asset("mcs-calibration.json"))
    by_codec = {curve.codec: curve for curve in table.quality}
    for name, better in (("psnr", True), ("ms_ssim", True)):
        source = SourceSpec(select=name)
        curve = by_codec[make_search(source).name]
        assert (curve.measure, curve.higher_is_better) == (name, better)
        assert np.all(np.diff(np.array(curve.values)) >= -1e-3)


def test_select_is_refused_where_it_cannot_be_had(tmp_path, capsys, monkeypatch, no_network):
    """Pictures too small for the metric; weights that are not there: one message, and nothing is written."""
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path))
    text = TINY.replace("mcs: 6", "mcs: 6, source: {codec: bpg, select: SELECT}")
    for select, expect in (
        ("ms_ssim", "image astronaut: too small for a metric, got 64, expected sides of at least 161 for ms_ssim"),
        ("lpips_squeeze", "schemes.bpg.source.select: lpips_squeeze: weights not found"),
        ("lpips_blue", "schemes.1 (bpg).source.select: unknown choice"),
    ):  # fmt: skip
        file = write(tmp_path, text.replace("SELECT", select))
        assert main(["simulate", file, "--out", str(tmp_path / "run")]) == 2
        message = capsys.readouterr().err
        assert expect in message
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["psnr", "ms_ssim"])
def test_measures_take_arrays_that_workers_share_for_reading_only(name):
    rng = np.random.default_rng(7)
    shown, original = rng.integers(0, 256, (2, 176, 180, 3), dtype=np.uint8)
    value = Selection(name)(shown, original)
    shown.flags.writeable = original.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Selection(name)(shown, original) == value
