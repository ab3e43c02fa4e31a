"""Where the paths of a scenario begin: beside the file that says them, then in the working directory."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from linksim.build.objects import build_images
from linksim.cli.commands import main
from linksim.files.places import place
from linksim.kinds.models.recorded import recording_path
from linksim.kinds.union import path_keys
from linksim.scenario.files import load_any, scenario_hash, variants
from tests.linksim.tiny import write

TEXT = """
name: places
images: {kind: folder, path: pictures}
bandwidth: {data_ratio: 1/6}
channel: {kind: awgn}
sweep: {snr_db: [14]}
schemes: [{kind: uncoded, name: qpsk, bits_per_symbol: 2}]
metrics: [psnr]
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder of a scenario and the working directory beside it, each with a picture of its own."""
    for name, value in (("study", 10), ("here", 200)):
        (tmp_path / name / "pictures").mkdir(parents=True)
        Image.new("RGB", (32, 32), (value,) * 3).save(tmp_path / name / "pictures" / "a.png")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def first_value(path: str, overrides=()) -> int:
    return int(build_images(load_any(path, overrides).images)["a.png"][0, 0, 0])


def test_the_folder_of_the_file_wins_and_both_are_named(places, capsys, caplog):
    path = write(places / "study", TEXT)
    assert first_value(path) == 10
    assert f"there are two, {places}/study/pictures is used (beside the scenario file)" in caplog.text
    assert main(["check", path]) == 0
    assert f"images: 1 from {places}/study/pictures" in capsys.readouterr().out


def test_the_working_directory_comes_second_and_the_command_line_begins_there(places):
    path = write(places / "study", TEXT)
    assert first_value(path, [("images.path", "pictures")]) == 200
    (places / "study" / "pictures").rename(places / "study" / "elsewhere")
    assert first_value(path) == 200


def test_what_is_nowhere_is_refused_with_both_places(places, capsys):
    path = write(places / "study", TEXT.replace("path: pictures", "path: nowhere"))
    assert main(["check", path]) == 2
    message = capsys.readouterr().err
    assert (
        f"got {places}/study/nowhere (beside the scenario file) and {places}/here/nowhere (in the" in message
    )


def test_an_extended_file_has_a_folder_of_its_own(places):
    write(places / "study", TEXT, "base.yaml")
    other = places / "other"
    other.mkdir()
    path = write(other, "extends: ../study/base.yaml\nname: second\n")
    assert first_value(path) == 10


def test_neither_hash_nor_run_folder_know_the_place(places):
    one = load_any(write(places / "study", TEXT))
    two = load_any(write(places / "here", TEXT))
    assert scenario_hash(one) == scenario_hash(two)
    assert type(one.model_dump(mode="json")["images"]["path"]) is str


def test_swept_paths_and_every_variant_know_the_folder(places):
    channel = ["{kind: ofdm, name: c, model: {kind: recorded, path: a.npz}, num_subcarriers: 32}", "x: &x 1"][
        0
    ]
    text = TEXT.replace("{kind: awgn}", channel).replace(
        "snr_db: [14]", "snr_db: [14], channel.model.path: [a.npz, b.npz]"
    )
    for name in ("a.npz", "b.npz"):
        (places / "study" / name).write_bytes(b"")
    scenario: Any = load_any(write(places / "study", text))
    found = [recording_path(v.scenario.channels[0].model.path) for v in variants(scenario)]
    assert found == [places / "study" / "a.npz", places / "study" / "b.npz"]
    assert [v.scenario.images.path.folder for v in variants(scenario)] == [places / "study"] * 2


def test_every_field_that_is_a_path_is_one_for_the_reader_of_files():
    """In whatever union or list it stands, of all kinds; a text under such a key begins beside the file."""
    known = {"path", "paths", "checkpoint", "caption", "calibration", "initial", "model", "stable_diffusion"}
    assert path_keys() == {*known, "classifier", "codec", "weights"}


@pytest.mark.parametrize(
    ("path", "expect"),
    [
        ("~nosuchuser/x", "images.path: got '~nosuchuser', expected ~ or ~user with a home folder"),
        ('"a\\0b"', "images.path: got 'a\\x00b', expected a path without control characters"),
        ('"a\\e[2J"', "expected a path without control characters"),
        ('""', "images.path: got '', expected the path or the name of something"),
    ],
)
def test_texts_that_are_no_paths(path, expect, tmp_path, capsys):
    assert main(["check", write(tmp_path, TEXT.replace("path: pictures", f"path: {path}"))]) == 2
    message = capsys.readouterr().err
    assert expect in message
    assert "Traceback" not in message


@pytest.mark.parametrize("variable", ["LINKSIM_CACHE", "LINKSIM_WEIGHTS"])
def test_variables_that_name_nobodys_home(variable, places, monkeypatch, capsys):
    monkeypatch.setenv(variable, "~nosuchuser/x")
    text = TEXT.replace(
        "{kind: uncoded, name: qpsk, bits_per_symbol: 2}", "{kind: separation, name: s, mcs: 4}"
    )
    command = [
        "simulate",
        write(places / "here", text.replace("[psnr]", "[psnr, lpips_squeeze]")),
        "--out",
        "run",
    ]
    assert main(command) == 2
    assert "no such home folder, got ~nosuchuser" in capsys.readouterr().err


def test_a_place_without_a_folder_is_in_the_working_directory(places):
    assert place("pictures").absolute() == places / "here" / "pictures"
