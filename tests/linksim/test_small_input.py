"""A small file makes little work and a short message, whatever it says."""

from __future__ import annotations

import json
import tarfile
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from channels.checks import complaint, cut, shown
from linksim.build.checkpoints import CheckpointError, read_checkpoint, save_checkpoint
from linksim.build.objects import load_codec
from linksim.cli.commands import main
from linksim.cli.output import printable
from linksim.files.bounded_yaml import MAX_BYTES, load_yaml
from linksim.images.folders import TarImages
from linksim.images.sets import ImageError
from linksim.metrics.base import MetricUnavailable
from linksim.metrics.perceptual import load_lpips
from linksim.scenario.files import ScenarioError, load_any, parse_overrides
from linksim.scenario.schema import LeanCodecSpec
from tests.linksim.tiny import TINY, write

LAUGHS = "&a [" + "lol, " * 9 + "lol]\n" + "".join(
    f"  {chr(98 + i)}: &{chr(98 + i)} [" + f"*{chr(97 + i)}, " * 9 + f"*{chr(97 + i)}]\n" for i in range(8)
)  # fmt: skip


@pytest.fixture
def quick():
    """The test ends within some seconds, on a busy machine, too."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 20


def refused(folder: Path, text: str, capsys) -> str:
    assert main(["check", write(folder, text)]) == 2
    message = capsys.readouterr().err
    assert len(message) < 10_000
    assert "Traceback" not in message
    return message


# ------------------------------------------------------------------------------------------------- YAML


def test_aliases_of_aliases_are_counted_written_out(tmp_path, capsys, quick):
    text = TINY + f"question:\n  a: {LAUGHS}"
    assert len(text) < 2000
    assert "more than 100000 values, aliases written out" in refused(tmp_path, text, capsys)


def test_values_in_messages_are_cut(tmp_path, capsys):
    few = "question: &a [" + "lol, " * 200 + "lol]\n"
    assert "question" in refused(tmp_path, TINY + few, capsys)
    long = TINY.replace("seed: 7", f"seed: {'x' * 50_000}")
    assert "... (50000 characters)" in refused(tmp_path, long, capsys)
    key = TINY.replace("seed: 7", f"? {'k' * 50_000}\n: 7")
    assert "unknown key" in refused(tmp_path, key, capsys)


def test_large_files_are_not_parsed(tmp_path, capsys, quick):
    text = TINY + "question: '" + "y" * (50 << 20) + "'\n"
    assert f"more than {MAX_BYTES} bytes" in refused(tmp_path, text, capsys)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "{a: " * 3000,
        "a: &a [*a]",
        "1" * 900_000 + "x",
        "&a " * 3000 + "x",
        "? " * 5000,
        "- " * 20_000,
    ],
)
def test_texts_that_keep_parsers_busy(text, tmp_path, capsys, quick):
    refused(tmp_path, text, capsys)


def test_overrides_have_the_same_bounds(quick):
    with pytest.raises(ScenarioError, match="aliases written out"):
        parse_overrides([f"question={{a: {LAUGHS.replace(chr(10) + '  ', ', ').rstrip()}}}"])


def test_yaml_within_the_bounds_is_what_it_was():
    text = "a: &x {b: [1, 2]}\nc: *x\nd: {<<: *x, e: 3}\n"
    assert load_yaml(text) == yaml.safe_load(text)
    assert load_yaml("") is None


# -------------------------------------------------------------------------------------------- messages


def test_shown_values_keep_their_form_and_their_limit():
    assert shown([1, "a", (2.0,), {"b": None}]) == "[1, 'a', (2.0,), {'b': None}]"
    assert shown(list(range(10**6))).endswith("19, ...]")
    deep: list = []
    for _ in range(100):
        deep = [deep]
    assert len(shown(deep)) < 50
    assert cut("a" * 10, 4) == "aaaa... (10 characters)"
    assert len(complaint("f" * 10**5, "w", "g" * 10**6, ["e"] * 10**6)) < 3000


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\0", "\x9b", "\r", "\u202e", "\udcff"])
def test_nothing_that_steers_a_terminal_is_printed(character, tmp_path, capsys):
    assert printable(f"a{character}b\tc\nd") == f"a{character.encode('unicode_escape').decode()}b\tc\nd"
    main(["check", f"{tmp_path}/x{character}y.yaml"])
    printed = capsys.readouterr()
    assert character not in printed.err + printed.out


def test_control_characters_of_keys_and_values_are_escaped(tmp_path, capsys):
    message = refused(tmp_path, TINY + '"\\e[2Jkey\\a": 1\n', capsys)
    assert "\x1b" not in message
    assert "\x07" not in message


# ----------------------------------------------------------------------------------------- other files


def test_headers_that_ask_for_large_networks(tmp_path, quick):
    path = tmp_path / "a.safetensors"
    spec = LeanCodecSpec(
        kind="lean", latent_channels=4096, width_8=4096, width_16=4096, decoder_blocks=(64, 64)
    )
    save_checkpoint(path, spec, {"a": torch.zeros(1)}, {}, torch.float32)
    with pytest.raises(CheckpointError, match="tensors do not fit"):
        load_codec(str(path))
    metadata = {"format": "linksim-codec-1", "codec": json.dumps({"kind": "lean", "width_8": 10**6})}
    save_file({"a": torch.zeros(1)}, str(path), metadata=metadata)
    with pytest.raises(CheckpointError, match=r"broken header, got .*width_8"):
        load_codec(str(path))


@pytest.mark.parametrize("recipe", ["[" * 100_000, "[1]", "{"])
def test_recipes_that_are_none(recipe, tmp_path):
    path = tmp_path / "a.safetensors"
    metadata = {"format": "linksim-codec-1", "codec": '{"kind": "lean"}', "recipe": recipe}
    save_file({"a": torch.zeros(1)}, str(path), metadata=metadata)
    with pytest.raises(CheckpointError, match=r"broken (header|recipe)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "stored", [[1, 2], {"features.0.weight": 3}, torch.zeros(2), {"features.0.weight": torch.zeros(2)}]
)
def test_lpips_weights_that_hold_no_model(stored, tmp_path, monkeypatch):
    torch.save(stored, tmp_path / "squeezenet1_1.pth")
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path))
    with pytest.raises(MetricUnavailable, match=r"lpips_squeeze: weights .*squeezenet1_1\.pth"):
        load_lpips("squeeze")


@pytest.mark.parametrize("size", ["-0000000001", "77777777777", "00000000100"])
def test_members_with_sizes_that_are_not_theirs(size, tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    data = bytearray(path.read_bytes())
    data[124:136] = f"{size}\0".encode()
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path.write_bytes(bytes(data[:1024]))
    with pytest.raises(ImageError, match=r"images\.paths: (cannot be read|no picture)"):
        TarImages([path])


def test_messages_of_scenarios_are_what_they_were():
    with pytest.raises(ScenarioError, match="no such file"):
        load_any("nowhere")


@pytest.mark.parametrize(
    "value", ["!!timestamp x256", "!!bool maybe", "!!int x", "!!float x", "!!omap 3", "!!set [1]"]
)
def test_values_that_their_tags_do_not_allow_are_refused(value, tmp_path, capsys):
    """Some of which PyYAML meets with an AttributeError or a KeyError."""
    path = write(tmp_path, TINY.replace("seed: 7", f"seed: {value}"))
    assert main(["check", path]) == 2
    said = capsys.readouterr().err
    assert "not valid YAML, got" in said
    assert "Traceback" not in said
