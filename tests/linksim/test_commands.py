"""What commands say: hints that fit, estimates that hold, one line when a disk is full."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys

import jsonschema
import pytest

from linksim.cli.commands import main
from linksim.results.store import ResultStore
from linksim.results.time_left import TimeLeft
from linksim.run.executors.scheduling import samples_first
from linksim.run.plan import Batch
from linksim.scenario.files import json_schema, load_any, scenario_hash
from tests.linksim.tiny import write

TEXT = """
name: commands
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [2, 4]}
schemes: [{kind: uncoded, name: qpsk, bits_per_symbol: 2}]
metrics: [psnr]
"""


# ----------------------------------------------------------------------------------------------- hints


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["simulate", "x", "--limit", "0"], "got '0', expected a whole number of at least 1. See"),
        (["plot", "runs/a"], "is required. Add --metric psnr, or another metric of results.csv. See"),
        (["simulat", "x"], "Did you mean simulate?"),
        (["list", "chanels"], "Did you mean channels?"),
        (["simulate", "x", "--worker2", "3"], "Did you mean --workers?"),
        (["simulate"], "the following arguments are required: scenario. See"),
        (["convert", "diffjsc", "a", "b"], "Did you mean diffjscc?"),
    ],
)
def test_hints_of_the_command_line_fit(arguments, hint, capsys):
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert hint in message
    assert message.count("Did you mean") == hint.count("Did you mean")


@pytest.mark.parametrize(
    ("old", "new", "expect"),
    [
        ("channel: {kind: awgn}", "channel: awgn", "channel: not a block, got 'awgn', expected a block of keys and values. Write {kind: awgn}."),
        ("1/12", "96", "data_ratio: got 96, expected 0 < ratio <= 2 (complex data uses over 3·H·W). Did you mean 1/96?"),
        ("1/12", "0.0833", "Did you mean 1/12?"),
        ("[2, 4]", "0..20", "not a list, got '0..20', expected a list. Write [0, 20], or 0:2:20 for steps of 2."),
        ("[2, 4]", "5:0:9", "sweep.snr_db: got '5:0:9', expected 1 to 1000 values. Write from:step:to"),
        ("[2, 4]", "0:1e-9:9", "expected 1 to 1000 values"),
        ("metrics: [psnr]", "statistics: {confidence: 95}", "confidence: got 95, expected 0.5 < value < 1. Did you mean 0.95"),
        (TEXT, "", "got an empty file, expected a mapping of keys to values"),
        (TEXT, "# nothing\n", "got an empty file"),
    ],
)  # fmt: skip
def test_hints_of_scenarios_fit(old, new, expect, tmp_path, capsys):
    assert main(["check", write(tmp_path, TEXT.replace(old, new))]) == 2
    assert expect in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("-5:2:15", [-5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15]),
        ("0:.1:.3", [0, 0.1, 0.2, 0.3]),
        ("3:-1.5:0", [3, 1.5, 0]),
        ("7:1:7", [7]),
    ],
)
def test_ranges_are_the_values_they_stand_for(text, values, tmp_path):
    ranged = load_any(write(tmp_path, TEXT.replace("[2, 4]", text)))
    listed = load_any(write(tmp_path, TEXT.replace("[2, 4]", str(values))))
    assert ranged == listed
    assert scenario_hash(ranged) == scenario_hash(listed)
    ofdm = "{kind: ofdm, model: {kind: tdl, profile: A, delay_spread_s: 1e-7}}"
    swept = TEXT.replace("{kind: awgn}", ofdm).replace("[2, 4]", "[9], channel.model.speed_mps: 0:5:10")
    assert list(load_any(write(tmp_path, swept)).sweep.fields.values()) == [(0, 5, 10)]


def test_ranges_are_taken_wherever_such_lists_stand(tmp_path):
    """From --set, in the panel, of a training, and for MCS."""
    from linksim.scenario.files import parse_overrides

    path = write(tmp_path, TEXT)
    words = ["sweep.snr_db=-5:2:15", "panel.snr_db=-5:20:15"]
    found = load_any(path, parse_overrides(words))
    assert found.sweep.snr_db == (-5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15)
    assert found.panel.snr_db == (-5, 15)
    assert load_any("train/dial", [("train.validation_snr_db", "0:5:10")]).train.validation_snr_db == (
        0,
        5,
        10,
    )
    assert load_any(
        "train/dial-denoiser", [("train_denoiser.validation_snr_db", "1:9:10")]
    ).recipe.validation_snr_db == (1, 10)
    many = load_any(path, [("schemes", [{"kind": "separation", "name": "MCS", "mcs": "2:6:14"}])])
    assert [scheme.name for scheme in many.schemes] == ["MCS 2", "MCS 8", "MCS 14"]
    with pytest.raises(ValueError, match=r"schemes\.mcs: got '5:0:9', expected 1 to 1000 values"):
        load_any(path, [("schemes", [{"kind": "separation", "name": "MCS", "mcs": "5:0:9"}])])


def test_ranges_fit_the_schema():
    validator = jsonschema.Draft202012Validator(json_schema())
    text = {"name": "a", "bandwidth": {"data_ratio": "1/12"}, "channel": {"kind": "awgn"}}
    text |= {
        "images": {"kind": "skimage"},
        "schemes": [{"kind": "uncoded", "name": "q", "bits_per_symbol": 2}],
    }
    assert validator.is_valid({**text, "sweep": {"snr_db": "0:2:20", "schemes.q.bits_per_symbol": "2:2:8"}})
    assert not validator.is_valid({**text, "sweep": {"snr_db": "0..20"}})
    several = {
        **text,
        "sweep": {"snr_db": [5]},
        "schemes": [{"kind": "separation", "name": "m", "mcs": "2:6:14"}],
    }
    assert validator.is_valid(several)


def test_an_override_of_the_snrs_narrows_the_panel(tmp_path):
    path = write(tmp_path, TEXT + "panel: {snr_db: [2]}\n")
    assert load_any(path, [("sweep.snr_db", [5])]).panel.snr_db is None
    assert load_any(path, [("sweep.snr_db", "0:2:6")]).panel.snr_db == (2,)
    assert load_any(path).panel.snr_db == (2,)


# ------------------------------------------------------------------------------------------- time left


def test_time_left_knows_schemes_apart():
    left = TimeLeft({"fast": 100, "slow": 100})
    left.spent("fast", 10, 5.0)  # loads
    assert str(left.estimate()) == "more than 45 s left (1 scheme not begun)"
    left.spent("fast", 10, 1.0)
    assert left.estimate().seconds == pytest.approx(8)
    left.spent("fast", 80, 8.0)
    left.spent("slow", 10, 40.0)
    left.spent("slow", 10, 10.0)
    assert str(left.estimate()) == "about 80 s left"
    left.spent("slow", 80, 80.0)
    assert left.estimate().seconds == 0


def test_time_left_is_that_of_what_is_alike():
    """New pictures, larger ones, and processes that each load."""
    units = {("a", "new"): 20, ("a", "again"): 80}
    left = TimeLeft(units, {("a", "new"): 2.0, ("a", "again"): 2.0}, place=lambda like: like[0])
    assert str(left.estimate()) == "more than 0 s left (1 scheme not begun)"
    left.spent(("a", "new"), 5, 50.0, size=10)  # loads: for want of another it is taken for all
    assert left.estimate().seconds == pytest.approx(15 * 2 * 5 + 80 * 2 * 5)
    left.spent(("a", "new"), 5, 20.0, size=10)
    assert left.estimate().seconds == pytest.approx(10 * 2 * 2 + 80 * 2 * 2)
    left.spent(("a", "again"), 10, 60.0, size=20)  # the second process loads
    left.spent(("a", "again"), 10, 10.0, size=20)
    assert left.estimate().seconds == pytest.approx(10 * 2 * 2 + 60 * 2 * 0.5)
    left.spent(("a", "again"), 0, 9.0)
    left.dropped("a", 65)
    assert (left.units, left.estimate().seconds) == (5, pytest.approx(5 * 2 * 2))


def test_everything_that_takes_its_own_time_is_sampled_first():
    """One batch of each scheme; then new pictures and those of the first batch at the next point; then with
    other noise: of these the time left is right within a fifth after a tenth of a run (benchmarks/time_left.py).
    """
    members = [tuple((name, trial) for name in names) for trial in (0, 1) for names in ("ab", "cd")]
    batches = [
        Batch("awgn", scheme, (), snr, some) for scheme in "xy" for snr in (1, 4, 7) for some in members
    ]
    order = samples_first(batches, range(len(batches)))
    assert sorted(order) == list(range(24))
    names = [(b.scheme, b.snr_db, b.members[0][0], b.members[0][1]) for b in (batches[i] for i in order)]
    assert names[:2] == [("x", 1, "a", 0), ("y", 1, "a", 0)]
    assert names[2:6] == [(s, *one) for s in "xy" for one in ((1, "c", 0), (4, "a", 0))]
    assert names[6:8] == [("x", 1, "a", 1), ("y", 1, "a", 1)]
    assert order[8:] == sorted(order[8:])
    assert samples_first(batches, [7, 6, 5]) == [5, 7, 6], "of a point that is no first one"


def test_nothing_is_said_of_the_time_before_it_is_known(tmp_path, capsys):
    assert main(["simulate", write(tmp_path, TEXT), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    first = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("0 of 2 units"))
    assert "left" not in first


# --------------------------------------------------------------------------------------------- full disk


@pytest.fixture
def disk():
    """Limits the size of files that this process writes, as a full disk does, until the test is over."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1000, 9000, 40_000])
def test_a_full_disk_is_one_line_and_nothing_is_lost(size, tmp_path, capsys, disk):
    """Of the header, in the middle of the records, of a figure."""
    text = TEXT.replace("[2, 4]", "[2, 4], trials: 20")
    arguments = ["simulate", write(tmp_path, text), "--out", str(tmp_path / "run")]
    disk(size)
    assert main(arguments) == 1
    disk(resource.RLIM_INFINITY)
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "cannot be written" in line]
    assert len(lines) == 1
    assert "got File too large, expected room on the disk. Make room. The same command goes on" in lines[0]
    assert str(tmp_path / "run") in lines[0]
    assert "Traceback" not in captured.err
    assert list((tmp_path / "run").rglob("*.partial")) == []
    assert main(arguments) == 0
    records = [r.key for r in ResultStore(tmp_path / "run").records()]
    assert len(records) == len(set(records)) == 40


def test_torn_lines_of_a_full_disk_are_dropped(tmp_path, disk):
    store = ResultStore(tmp_path / "run")
    assert main(["simulate", write(tmp_path, TEXT), "--out", str(store.folder), "--no-report"]) == 0
    whole = store.records_path.read_bytes()
    record = next(iter(store.records()))
    store.open(json.loads(store.header_path.read_text()))
    disk(len(whole) + 10)
    with pytest.raises(OSError, match=r"File too large: .*records\.jsonl"):
        store.append([record])
    disk(resource.RLIM_INFINITY)
    store.close()
    assert store.records_path.read_bytes().startswith(whole)
    assert len(list(store.records())) == 2


def test_the_same_run_twice_is_one_curve(tmp_path, capsys):
    assert (
        main(["simulate", write(tmp_path, TEXT), "--out", str(tmp_path / "a" / "same"), "--no-report"]) == 0
    )
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, two = str(tmp_path / "a" / "same"), str(tmp_path / "b" / "same")
    for runs, names in (([one, two], ("a/same qpsk", "b/same qpsk")), ([one, one], ("qpsk",))):
        assert main(["plot", *runs, "--metric", "psnr", "--out", str(tmp_path / "f.svg")]) == 0
        drawn = (tmp_path / "f.svg").read_text(encoding="utf-8")
        assert all(name in drawn for name in names)
        assert ("a/same" in drawn) == (len(names) == 2)
    capsys.readouterr()


def test_threads_of_a_command_sleep_while_they_wait():
    """Set before torch is loaded, which reads it once; what the user has set stays."""
    code = (
        "import os, sys\nsys.argv = ['linksim', '--version']\nfrom linksim.cli.commands import entry_point\n"
        "try:\n    entry_point()\nfinally:\n    print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    own = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for environment, expected in (
        (own, "PASSIVE False"),
        (own | {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE False"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout.splitlines()[-1] == expected, done.stderr
