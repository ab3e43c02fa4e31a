"""What fuzzing found, each with the kind of fault that it stands for; the fuzz suite itself is in tests/fuzz."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch

from benchmarks.make_diffjscc_checkpoint import make
from linksim.build.convert import convert_diffjscc
from linksim.cli.commands import main
from linksim.diffusion.model import DiffusionModel
from linksim.images.picture_file import ImageError, read_image
from linksim.jscc.authors import read_jscc_config
from linksim.scenario.files import ScenarioError, load_train_scenario
from linksim.source.heic import HeicCodec
from linksim.source.hevc import CodecError
from linksim.training.folder import opened, read_state, write_state
from linksim.weights.pickle_reader import ModelFormatError, read_tensors
from tests.crash.cases import RECIPE, pictures_tar


def deep_png(pixels: bytes, side: int = 40) -> bytes:
    """A PNG of 16 bits per value and RGBA, with any compressed pixels and right check sums."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_pixels_that_ffmpeg_cannot_inflate_are_an_image_error():
    """FFmpeg has errors of no family (ExternalError): nothing but its base class catches them all."""
    rows = b"".join(b"\0" + np.arange(160, dtype=">u2").tobytes() for _ in range(40))
    good = zlib.compress(rows)
    assert read_image(deep_png(good), "good", "rgb").shape == (3, 40, 40)
    for at in range(2, len(good) - 4):
        bad = bytearray(good)
        bad[at] ^= 0xFF
        with contextlib.suppress(ImageError):  # some bytes change colours alone
            read_image(deep_png(bytes(bad)), "bad", "rgb")


@pytest.mark.skipif(not HeicCodec.available(), reason="needs pillow-heif")
def test_heic_whose_aperture_leaves_another_size_is_refused():
    """The size is that of what was decoded, not of what the file announces."""
    codec = HeicCodec()
    rgb = np.kron(np.random.default_rng(1).integers(0, 256, (8, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    stream = codec.encode(rgb, 50)
    assert codec.decode(stream, (64, 48)).shape == (64, 48, 3)
    at = stream.index(b"clap") + 4 + 6 * 4  # numerator of the vertical offset, over 2
    moved = stream[:at] + struct.pack(">i", 4) + stream[at + 4 :]
    for size in ((64, 48), (62, 48), (60, 48)):
        with contextlib.suppress(CodecError):
            assert codec.decode(moved, size).shape == (*size, 3)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    convert_diffjscc(str(make(folder / "authors", "tiny")), folder / "converted")
    return folder / "converted"


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("text_encoder", "hidden_act", ["gelu"]),  # an error of the hub that is of no family
        ("text_encoder", "vocab_size", 512.0),
        ("text_encoder", "hidden_size", "wide"),
        ("unet", "block_out_channels", None),
        ("unet", "down_block_types", {"a": 1}),
        ("vae", "norm_num_groups", 0),
    ],
)
def test_configuration_of_a_part_that_is_none_is_refused(part, field, value, converted, tmp_path):
    """Whatever the libraries raise for it, by those who read headers and by those who read all."""
    shutil.copytree(converted, tmp_path / "model")
    path = tmp_path / "model" / part / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    for read in (DiffusionModel.check, DiffusionModel.load):
        with pytest.raises(ModelFormatError, match=part):
            read(tmp_path / "model")


@pytest.mark.parametrize("value", ["1" + "0" * 400, "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["snr_scale", "min_snr", "snr_db"])
def test_numbers_beyond_all_others_in_an_index_are_refused(field, value, converted, tmp_path):
    """int() and float() raise OverflowError, which is no ValueError."""
    shutil.copytree(converted, tmp_path / "model")
    path = tmp_path / "model" / "diffjscc.json"
    number = json.loads(value)
    text = {**json.loads(path.read_text()), field: [0, number] if field == "snr_db" else number}
    path.write_text(json.dumps(text))
    with pytest.raises(ModelFormatError, match=r"diffjscc\.json"):
        DiffusionModel.check(tmp_path / "model")


@pytest.mark.parametrize("key", [5, None, ("a",), 1.5])
def test_names_of_tensors_are_texts(key, tmp_path):
    """What else a pickle has as keys is no tensor of a network."""
    torch.save({"state_dict": {"a": torch.ones(2), key: torch.zeros(2)}}, tmp_path / "a.ckpt")
    assert list(read_tensors(tmp_path / "a.ckpt")) == ["a"]
    torch.save({key: torch.zeros(2)}, tmp_path / "b.ckpt")
    with pytest.raises(ModelFormatError, match="holds no tensors"):
        read_tensors(tmp_path / "b.ckpt")


def test_training_killed_while_it_wrote_its_header_goes_on(tmp_path):
    """The folder is not empty then, but holds nothing of anybody else's."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    out = tmp_path / "run"
    out.mkdir()
    (out / ".train.json.77.ab12cd34.partial").write_text('{"scenario_ha')
    with opened(load_train_scenario(str(recipe)), out):
        pass
    (out / "notes.txt").write_text("of somebody else")
    refused = pytest.raises(ScenarioError, match="not empty and no training")
    with refused, opened(load_train_scenario(str(recipe)), out):
        pass


@pytest.mark.parametrize(
    "change",
    [
        {"ends": 5}, {"ends": {"a": [1, 2, 3]}}, {"ends": {"a": "bc"}}, {"inputs": ["a"]}, {"inputs": {"a": 1}}, {"scenario": []},
        {"scenario_hash": None},
    ],
)  # fmt: skip
def test_header_of_a_training_with_wrong_parts_is_refused(change, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    scenario = load_train_scenario(str(recipe))
    header = {"scenario_hash": "x", "scenario": {"train": 5}, "ends": {}, "inputs": {}}
    (tmp_path / "train.json").write_text(json.dumps({**header, **change}))
    write_state(scenario, tmp_path, {"step": 1})
    with pytest.raises(ScenarioError, match=r"train\.json: cannot be read"):
        read_state(scenario, tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("change", [{"model": []}, {"optimizers": [3]}, {"step": float("inf")}, {"phase": float("inf")}, {"ratios": 7}])  # fmt: skip
def test_state_of_a_training_with_wrong_parts_is_refused(change, tmp_path):
    """Whatever PyTorch and Python raise for them."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        RECIPE.replace("TAR", str(pictures_tar(tmp_path / "a.tar"))).replace("steps: 30", "steps: 1")
    )
    out = tmp_path / "run"
    assert main(["train", str(recipe), "--out", str(out), "--device", "cpu"]) == 0
    scenario = load_train_scenario(str(recipe))
    state = read_state(scenario, out, torch.device("cpu"))
    write_state(scenario, out, {**state, **change})
    assert main(["train", str(recipe), "--out", str(out), "--device", "cpu"]) == 2


def test_ratio_beyond_all_others_in_the_authors_settings_is_refused(tmp_path):
    folder = make(tmp_path / "authors", "swin")
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("mlp_ratio: 4.0", f"mlp_ratio: {10**400}"))
    with pytest.raises(ModelFormatError, match=r"config\.yaml"):
        read_jscc_config(path)
