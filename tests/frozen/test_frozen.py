"""Nothing that users have in their files, tables and scripts has moved; see ``python -m tests.frozen --help``."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from tests.frozen import calibration, former_run, hashes, runs, store, texts, trainings
from tests.frozen.door import main
from tests.frozen.scenarios import CASES


def assert_same(what: str, lines: list[str]) -> None:
    assert not lines, store.moved(what, lines)


# ------------------------------------------------------------------------------------ hashes and keys


def test_every_scenario_has_the_hash_that_it_had():
    assert_same("scenario hashes", store.unlike(store.read("scenario_hashes"), hashes.scenario_hashes()))


def test_bundled_networks_are_read_as_they_were():
    assert_same("bundled networks", store.unlike(store.read("networks"), hashes.bundled_networks()))


def test_the_shipped_table_has_the_entries_that_it_had():
    """As the file has them, and as schemes find them."""
    stored = store.read("calibration_keys")
    assert_same("quality", sorted({*stored["quality"]} - {*calibration.quality_names()}))
    for found in (calibration.shipped_keys(), calibration.read_keys()):
        assert_same(
            "link-adaptation table", [f"gone: {key}" for key in stored["shipped"] if key not in found]
        )


def test_scenarios_ask_the_table_for_the_keys_that_they_asked_for(tmp_path):
    stored = store.read("calibration_keys")["computed"]
    assert_same("calibration keys", store.unlike(stored, calibration.computed_keys(tmp_path)))


# -------------------------------------------------------------------------------------------- results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return runs.workplace(tmp_path_factory.mktemp("frozen"))


@pytest.fixture(scope="module")
def results():
    return store.read("results")


def _marked(case):
    return pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])


@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_results_are_what_they_were(case, folder, results, capsys):
    """Counts exactly, numbers to five digits; to the byte on one machine with --exact-compare."""
    found = runs.result(runs.simulate(case, folder))
    assert_same(case.name, runs.differences(results[case.name], found))
    capsys.readouterr()


def test_every_case_is_stored_and_nothing_else(results):
    assert [case.name for case in CASES] == list(results)
    assert {training.name for training in trainings.TRAININGS} == set(store.read("trainings"))


def test_a_change_of_the_fifth_digit_or_of_one_count_is_seen(results):
    """The comparison itself: of every case one mean moved by 1e-4 of itself, and one picture more or less."""
    for name, stored in results.items():
        assert runs.differences(stored, stored) == []
        lines = list(csv.reader(stored["results"]))
        row = next(r for r in lines[1:] if r[3] in ("psnr", "evm"))
        row[4] = repr(float(row[4]) * (1 + 1e-4))
        found = {**stored, "results": [",".join(r) for r in lines]}
        assert len(runs.differences(stored, found)) == 1, name
        link = next(iter(stored["counts"]))
        counts = {**stored["counts"], link: {**stored["counts"][link], "ok": -1}}
        assert len(runs.differences(stored, {**stored, "counts": counts})) == 1, name


def test_trainings_of_two_steps_end_where_they_ended(folder, capsys):
    stored = store.read("trainings")
    lines = []
    for training in trainings.TRAININGS:
        found = trainings.outcome(trainings.train(training, folder))
        lines += trainings.changes(stored[training.name], found, training.name)
    assert_same("trainings", lines)
    capsys.readouterr()


# ---------------------------------------------------------------------------------------------- texts


def test_help_of_every_command_says_what_it_said():
    stored = store.read("help")
    if stored["python"] != texts.python():
        pytest.skip(
            f"argparse of Python {texts.python()} lays its texts out unlike that of {stored['python']}"
        )
    assert_same("help", store.unlike(stored["texts"], texts.help_texts()))


@pytest.mark.slow
def test_every_bad_input_is_answered_as_it_was():
    """Exit code 2 is asserted by every case itself."""
    stored = store.read("bad_input")
    if stored["python"] != texts.python():
        pytest.skip(f"messages of Python {texts.python()} are worded unlike those of {stored['python']}")
    assert_same("bad input", store.unlike(stored["messages"], texts.bad_input_messages()))


# ----------------------------------------------------------------------------- runs of a former version


@pytest.fixture
def former(tmp_path) -> Path:
    shutil.copytree(former_run.FOLDER, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "words",
    [
        ["--metric", "psnr"],
        ["--metric", "ber"],
        ["--metric", "psnr", "--x", "cbr_total"],
        ["--metric", "psnr", "--against", "qpsk"],
        ["--ledger"],
    ],
    ids=" ".join,
)
def test_a_former_run_is_plotted(words, former, tmp_path, capsys):
    out = tmp_path / "figure.svg"
    assert main(["plot", str(former), *words, "--out", str(out)]) == 0
    assert "jpeg" in out.read_text(encoding="utf-8")
    capsys.readouterr()


def test_a_former_run_is_reported(former, capsys):
    """Every table row, figure and picture that the run has."""
    assert main(["report", str(former)]) == 0
    text = (former / "report.html").read_text(encoding="utf-8")
    for word in ("former", "linear", "jpeg", "qpsk", "bound", "data:image/webp;base64,"):
        assert word in text
    assert list((former / "figures").glob("panel_a*"))
    capsys.readouterr()
