"""``linksim replay``: a unit again, bit for bit, and what happened to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import linksim
from linksim.cli.commands import main
from linksim.results.store import ResultStore, panel_file
from tests.linksim.tiny import TINY

WHOLE = yaml.safe_load(TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> linksim.Run:
    folder = tmp_path_factory.mktemp("replay") / "run"
    return linksim.simulate(WHOLE, out=folder, workers=1, progress=False)


def test_every_unit_is_the_same_to_the_last_bit(run):
    """64 units, each in the batch that it was run in."""
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")}
    records = list(ResultStore(run.folder).records())
    for line in range(1, len(records) + 1, 7):
        found = run.replay(line)
        assert found.record.key == records[line - 1].key
        assert found.is_identical
        assert found.differences() == []
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")} == before


def test_what_happened_is_said_and_pictures_are_kept(run, tmp_path, capsys):
    unit = "scheme=bpg,snr_db=2.0,image=coffee,channel=rayleigh-lmmse,trial=0"
    assert main(["replay", str(run.folder), unit, "--out", str(tmp_path / "p")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("unit:     rayleigh-lmmse, bpg, 2 dB, image coffee, trial 0; seed ")
    assert "1024 data, 16 pilot, 0 guard uses, mean power 1.0" in lines[1]
    assert "SINR of the uses" in lines[2]
    assert "in the run: the same to the last bit" in lines
    record = run.replay(unit).stored
    errors, bits = record.counts["ber"]
    assert any(line.split() == ["ber:", str(errors), "of", str(bits)] for line in lines)
    shown = np.array(Image.open(tmp_path / "p" / "shown.png"))
    assert np.array_equal(shown, np.array(Image.open(panel_file(ResultStore(run.folder), record.key))))


def test_the_first_unit_that_fits_is_taken(run):
    found = run.replay("scheme=bpg,snr_db=2")
    first = next(r for r in ResultStore(run.folder).records() if (r.key.scheme, r.key.snr_db) == ("bpg", 2))
    assert found.record.key == first.key
    assert run.replay("scheme=bound").lines()[1] == "sent:     nothing: a bound"


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("0", "unit: no such line, got 0, expected 1 to 64"),
        ("65", "unit: no such line, got 65, expected 1 to 64"),
        ("-1", "unit: not understood, got -1"),
        ("coffee", "unit: not understood, got coffee, expected a line of records.jsonl, or NAME=VALUE"),
        ("colour=red", "with a name of channel, scheme, snr_db, image, trial, state"),
        ("scheme=bpg,snr_db=3", "unit: none fits, got scheme=bpg,snr_db=3, expected one of 64 units"),
        ("trial=x", "unit: none fits"),
    ],
)
def test_units_that_are_none_are_refused(run, unit, said, capsys):
    assert main(["replay", str(run.folder), *(["--"] if unit.startswith("-") else []), unit]) == 2
    assert said in capsys.readouterr().err


def test_what_is_not_the_same_any_more_is_said(run, tmp_path, capsys):
    """A record that was changed, and a scenario that leads to another picture."""
    other = Path(shutil.copytree(run.folder, tmp_path / "other"))
    lines = (other / "records.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["values"]["psnr"] += 0.5
    first["state"] = "odd"
    (other / "records.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    assert main(["replay", str(other), "1"]) == 1
    assert "in the run: state 'odd', now 'ok'; psnr " in capsys.readouterr().out
    header = json.loads((other / "run.json").read_text())
    header["images"]["coffee"][2] = "0" * 16
    (other / "run.json").write_text(json.dumps(header))
    assert main(["replay", str(other), "1"]) == 2
    assert "image coffee has changed, got [64, 64, '" in capsys.readouterr().err


def test_a_unit_of_a_grown_run_agrees_to_six_digits(run, tmp_path):
    """It was run beside others: the same counts and uses."""
    small = {"sweep.trials": 1, "schemes": WHOLE["schemes"][:2]}
    grown = linksim.simulate(WHOLE, small, out=tmp_path / "run", workers=1, progress=False, limit=1)
    grown = linksim.simulate(WHOLE, out=tmp_path / "run", workers=1, progress=False)
    for line in (1, 2, 3, 4, 40):
        assert grown.replay(line).differences() == []
