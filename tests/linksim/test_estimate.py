"""linksim check --estimate: measured on this machine, by the units of the scenario; without it nothing runs."""

from __future__ import annotations

import json

import pytest

from linksim.api import estimating
from linksim.api.checking import check
from linksim.cli.commands import main
from tests.linksim.tiny import write

SLOW = """
import time
import linksim
from linksim.schemes.uncoded import UncodedScheme


class Waiting(UncodedScheme):
    def receive(self, received, layout, seeds):
        time.sleep(0.2 * len(seeds))
        return super().receive(received, layout, seeds)


@linksim.kind("scheme", "waiting")
class WaitingSpec(linksim.SentSchemeBase):
    def build(self, context):
        return Waiting(self.name, 2, context.device)
"""
SCENARIO = """
name: estimate
images: {kind: skimage, names: [coffee, astronaut, chelsea], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [2, 6, 10], trials: 4}
schemes: [{kind: waiting, name: waits}]
metrics: [psnr]
batch_size: 2
"""


@pytest.fixture
def waiting(tmp_path):
    """A scenario whose units take a fifth of a second, and the file of its scheme."""
    from linksim.kinds import unregister

    code = tmp_path / "waiting.py"
    code.write_text(SLOW)
    yield write(tmp_path, SCENARIO), str(code)
    unregister("scheme", "waiting")


def test_a_scheme_that_waits_is_estimated_at_what_it_waits(waiting, capsys):
    """36 units of 0.2 s; what else they take is little, and nothing is less than that."""
    file, code = waiting
    assert main(["check", file, "--with", code, "--estimate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    estimate = found["estimate"]
    assert estimate["units"] == found["units"]["total"] == 36
    assert 36 * 0.2 <= estimate["seconds"] < 36 * 0.2 * 4
    assert 0 < estimate["measured_units"] <= 6
    assert 1e8 < estimate["memory_bytes"] < 1e11


def test_the_line_says_that_it_is_an_estimate(tmp_path, capsys):
    file = write(tmp_path)
    assert main(["check", file, "--estimate"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("estimate: 64 units, about ")
    assert "on the CPU of this machine with one process" in line
    assert " GB peak" in line
    assert "an estimate: " in line
    assert not list(tmp_path.glob("runs*"))


def test_without_the_option_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(estimating, "estimate_costs", lambda *_: pytest.fail("measured"))
    found = check(write(tmp_path))
    assert found.estimate is None
    assert "estimate" not in str(found)


def test_streams_of_an_estimate_are_not_kept(tmp_path, monkeypatch):
    """A second estimate must not find the pictures of the first one coded: the user's folder has what a check
    alone leaves there.
    """
    kept = []
    for estimate in (False, True):
        folder = tmp_path / f"cache {estimate}"
        monkeypatch.setenv("LINKSIM_CACHE", str(folder))
        schemes = [{"kind": "separation", "name": "bpg", "mcs": 6}]
        check(write(tmp_path), {"schemes": schemes}, estimate=estimate)
        kept.append({str(file.relative_to(folder)) for file in folder.rglob("*") if "streams" in file.parts})
    assert kept[0] == kept[1]


def test_durations_are_said_in_words():
    said = [
        str(estimating.CostEstimate(10, seconds, 2_000_000_000, 3, 1.0)) for seconds in (0.2, 80, 600, 9000)
    ]
    for text, duration in zip(said, ("1 s", "80 s", "10 min", "2.5 h"), strict=True):
        assert f"about {duration} on the CPU of this machine" in text
        assert "2.0 GB peak" in text
