"""linksim new: every theme is valid at once, explained from the schema, and never written over anything."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import yaml

from linksim.cli.commands import main
from linksim.kinds import foreign, unregister
from linksim.scenario.files import load_any, scenario_hash
from linksim.scenario.schema import Scenario
from linksim.scenario.starting.comments import field_text, one_line
from linksim.scenario.starting.themes import THEMES, theme_text, write_theme


@pytest.fixture(autouse=True)
def own_kinds():
    """Kinds that a test brings are gone after it."""
    before = {(found.family, found.name) for found in foreign()}
    yield
    for found in foreign():
        if (found.family, found.name) not in before:
            unregister(found.family, found.name)


def test_without_a_theme_all_are_listed(capsys):
    assert main(["new"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(THEMES)
    assert all(len(line.split()) > 4 for line in lines)


_SLOW = ("38901",)  # statistics of a cell


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in _SLOW else n for n in THEMES]
)
def test_every_theme_is_valid_for_check(name, tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    assert main(["new", name, "--out", str(out)]) == 0
    said = capsys.readouterr()
    written = [str(out)] if not THEMES[name].code else [str(out.with_suffix(".py")), str(out)]
    assert said.out.splitlines() == written
    command = re.search(r"linksim check (.*?);", said.err)[1].split()
    assert main(["check", *command]) == 0
    checked = capsys.readouterr()
    assert "mine: valid" in checked.out
    assert "download" not in checked.err


@pytest.mark.parametrize("name", [name for name in THEMES if not THEMES[name].code])
def test_every_line_has_its_meaning(name, tmp_path):
    """Above every key that is written for the first time, in words that are not the key's own; what is left
    out stands there as a comment, and means what the defaults mean.
    """
    text = theme_text(name, tmp_path / "mine.yaml")
    scenario = load_any(yaml.safe_load(text))
    lines = text.splitlines()
    explained: set[str] = set()
    for above, line in pairwise(lines):
        key = re.match(r"\s*(?:- )?([a-z_0-9]+):", line)
        if key and not line.lstrip().startswith("#") and key[1] not in explained:
            assert above.lstrip().startswith("#"), line
            explained.add(key[1])
    uncommented = re.sub(r"^(\s*)#([a-z_]+: )", r"\1\2", text, flags=re.MULTILINE)
    head = len(text.splitlines()) - len(uncommented.splitlines())
    assert head == 0
    assert uncommented != text
    assert scenario_hash(load_any(yaml.safe_load(uncommented))) == scenario_hash(scenario)


def test_what_a_field_means_comes_from_the_schema():
    assert field_text(Scenario, "batch_size") == (
        f"{Scenario.model_fields['batch_size'].description}; at least 1"
    )
    ofdm = load_any("ofdm/ofdm-tdlc-ls").channels[0]
    assert field_text(type(ofdm), "carrier_hz").endswith("1e+08 to 1e+12 Hz")
    assert "kinds: tdl, cdl, " in field_text(type(ofdm), "model")
    assert field_text(type(ofdm), "waveform").endswith("one of frequency, time")


def test_nothing_is_overwritten(tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    out.write_text("mine")
    assert main(["new", "awgn", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert f"--out: already there, got {out}, expected a new file." in said
    assert out.read_text() == "mine"
    (tmp_path / "method.py").write_text("mine")
    assert main(["new", "own-method", "--out", str(tmp_path / "method.yaml")]) == 2
    assert not (tmp_path / "method.yaml").exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["awng"], "theme: unknown, got awng, expected one of awgn, "),
        (["awng"], "Did you mean awgn?"),
        (["awgn", "--out", "x.txt"], "expected a name that ends in .yaml. Give x.yaml."),
    ],
)
def test_bad_themes_and_names_are_refused(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["new", "awgn", "--out", str(tmp_path / "file" / "x.yaml")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_own_method_runs(tmp_path, capsys):
    scenario, code = tmp_path / "mine.yaml", tmp_path / "mine.py"
    write_theme("own-method", scenario)
    small = ["--set", "images.crop=64", "--set", "sweep.snr_db=10:1:10", "--set", "metrics=[psnr]"]
    small += ["--set", "sweep.trials=1", "--no-report", "--limit", "1", "--set", "panel.images=1"]
    arguments = ["simulate", str(scenario), "--with", str(code), *small, "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert "2 units" in capsys.readouterr().out


def test_numbers_are_written_without_tags():
    """As people write them, and so that any reader of YAML takes them for numbers."""
    for value, text in ((3.5e9, "3.5e+9"), (3e-7, "3.0e-7"), (1e6, "1.0e+6"), (0.25, "0.25"), (15.0, "15.0")):
        assert one_line(value) == text
        assert yaml.safe_load(text) == value
