"""``linksim measure``, and ``linksim simulate`` with further metrics: the run is then that which had them from the start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import linksim
from channels import kinds
from linksim.cli.commands import main
from linksim.results.store import ResultStore, panel_file
from linksim.run.panel_pictures import kept_picture
from tests.linksim.test_growth import SET_METRIC, files, half, table, units
from tests.linksim.test_growth import simulate as simulate_tiny
from tests.linksim.tiny import TINY

WHOLE = yaml.safe_load(TINY)
SMALL = {"channels": WHOLE["channels"][1:], "schemes": WHOLE["schemes"][:3]}
FEW, MORE = ["psnr", "ber"], ["psnr", "ber", "ssim", "bler", "outage"]
KEPT = {"sweep.trials": 1, "panel": {"images": 2, "snr_db": [2, 14]}, "metrics": FEW}
VOLATILE = ("started", "machine", "commit", "versions", "device")


def simulate(out: Path, changes: dict, **options):
    """24 units, or 12 of one trial."""
    return simulate_tiny(out, SMALL | changes, **options)


def header(folder: Path) -> dict:
    return {k: v for k, v in json.loads((folder / "run.json").read_text()).items() if k not in VOLATILE}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Runs with few metrics and with all of them, and with one trial of which every picture is kept."""
    folder = tmp_path_factory.mktemp("measure")
    simulate(folder / "few", {"metrics": FEW})
    simulate(folder / "more", {"metrics": MORE})
    simulate(folder / "kept", KEPT)
    return folder


@pytest.fixture
def few(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "few", tmp_path / "run"))


@pytest.fixture
def kept(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "kept", tmp_path / "run"))


def nothing_is_sent(monkeypatch) -> None:
    def send(*arguments):
        raise AssertionError("a unit is run")

    monkeypatch.setattr("linksim.run.computing.send", send)


def assert_is_whole(folder: Path, made: Path) -> None:
    assert table(folder) == table(made / "more")
    assert units(folder) == units(made / "more")
    assert header(folder) == header(made / "more")


# ---------------------------------------------------------------------------------------------- measuring


def test_a_run_with_a_metric_is_that_which_had_it_from_the_start(made, few, capsys):
    words = [word for name in MORE[2:] for word in ("--metric", name)]
    assert main(["measure", str(few), *words, "--no-report"]) == 0
    said = capsys.readouterr()
    assert "ssim, bler, outage: 0 units measured on what is kept of them, 24 run again in " in said.out
    assert_is_whole(few, made)
    assert simulate(few, {"metrics": MORE}).summary.units_run == 0
    assert linksim.Run(few).measure("ssim", progress=False).summary.again == 0
    assert_is_whole(few, made)


@pytest.mark.slow
def test_what_is_kept_is_measured_and_only_the_rest_is_run(made, few, caplog):
    """Pictures of one trial of two are kept, and of the other one where it shows the same; with workers, too."""
    run = linksim.Run(few).measure("outage", progress=False)
    assert (run.summary.measured, run.summary.again) == (24, 0)  # of the state alone
    store = ResultStore(few)
    pictures = sum(kept_picture(store, record) is not None for record in store.records())
    assert 12 <= pictures < 24
    run = run.measure("ssim", progress=False, workers=2)
    assert (run.summary.measured, run.summary.again) == (pictures, 24 - pictures)
    assert run.summary.units_run == 24 - pictures
    assert f"not measured before: ssim; {pictures} units are measured on what is kept of them" in caplog.text
    run = run.measure("bler", progress=False)
    assert (run.summary.measured, run.summary.again) == (0, 24)
    assert table(few) == table(made / "more")
    assert units(few) == units(made / "more")


def test_nothing_is_run_where_every_picture_is_kept(kept, tmp_path, monkeypatch, caplog):
    """By simulate, too, and beside new units."""
    fresh = simulate(tmp_path / "fresh", KEPT | {"metrics": [*FEW, "ssim"]})
    again = Path(shutil.copytree(kept, tmp_path / "again"))
    with monkeypatch.context() as patch:
        nothing_is_sent(patch)
        summary = linksim.Run(kept).measure("ssim", progress=False).summary
        assert (summary.units_run, summary.measured, summary.again) == (0, 12, 0)
        assert simulate(again, KEPT | {"metrics": [*FEW, "ssim"]}).summary.measured == 12
    said = "not measured before: ssim; 12 units are measured on what is kept of them, 0 are run again"
    assert said in caplog.text
    for folder in (kept, again):
        assert table(folder) == table(fresh.folder)
        assert units(folder) == units(fresh.folder)
    grown = simulate(again, KEPT | {"metrics": [*FEW, "ssim", "gmsd"], "sweep.trials": 2}).summary
    assert (grown.measured, grown.again, grown.units_run) == (12, 0, 12)
    assert "0 units of the folder are kept, 12 are new" in caplog.text


@pytest.mark.slow
def test_a_picture_that_is_not_what_was_shown_is_not_measured(kept, made):
    record = next(ResultStore(kept).records())
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(panel_file(ResultStore(kept), record.key))
    summary = linksim.Run(kept).measure("ssim", progress=False).summary
    assert (summary.measured, summary.again) == (11, 1)
    psnr = {key: unit.values["psnr"] for key, unit in units(made / "kept").items()}
    assert {key: unit.values["psnr"] for key, unit in units(kept).items()} == psnr


@pytest.mark.slow
def test_only_units_that_the_run_has_are_measured(few, made):
    lines = (few / "records.jsonl").read_text().splitlines(keepends=True)
    (few / "records.jsonl").write_text("".join(lines[:-5]))
    summary = linksim.Run(few).measure(*MORE[2:], progress=False).summary
    assert summary.again == 19
    assert simulate(few, {"metrics": MORE}).summary.units_run == 5
    assert_is_whole(few, made)


@pytest.mark.slow
def test_shards_are_measured_and_merged(made, tmp_path):
    parts = [simulate(tmp_path / str(i), {"metrics": FEW}, shard=(i, 2)).folder for i in (1, 2)]
    for part in parts:
        linksim.Run(part).measure(*MORE[2:], progress=False)
    assert_is_whole(linksim.merge(parts, tmp_path / "merged").folder, made)


@pytest.fixture
def own(tmp_path):
    before = {(k.family, k.name) for k in kinds.foreign()}
    path = tmp_path / "own.py"
    path.write_text(SET_METRIC.replace("FACTOR", "1"))
    yield str(path)
    for family, name in {(k.family, k.name) for k in kinds.foreign()} - before:
        kinds.unregister(family, name)


@pytest.mark.slow
def test_features_are_those_of_pictures_that_are_kept(kept, made, own, tmp_path, monkeypatch, capsys):
    few = Path(shutil.copytree(made / "few", tmp_path / "few"))
    words = ["--metric", "mine", "--with", own, "--no-report"]
    with monkeypatch.context() as patch:
        nothing_is_sent(patch)
        assert main(["measure", str(kept), *words]) == 0
    assert "mine: 12 units measured on what is kept of them, 0 run again" in capsys.readouterr().out
    assert main(["measure", str(few), *words]) == 0
    fresh = simulate(tmp_path / "fresh", {"metrics": [*FEW, "mine"]})
    assert table(few) == table(fresh.folder)
    assert table(kept) == table(simulate(tmp_path / "all", KEPT | {"metrics": [*FEW, "mine"]}).folder)
    assert simulate(few, {"metrics": [*FEW, "mine"]}).summary.again == 0


# ------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "nope"], "--metric: unknown, got nope"),
        (
            ["--metric", "ms_ssim"],
            "too small for a metric, got 64, expected sides of at least 161 for ms_ssim",
        ),
        (["--metric", "ssim", "--device", "gpu"], "--device: got 'gpu', expected auto, cpu"),
        ([], "the following arguments are required: --metric"),
    ],
)
def test_bad_input_changes_nothing(few, words, said, capsys):
    before = files(few)
    assert main(["measure", str(few), *words]) == 2
    assert said in capsys.readouterr().err
    assert files(few) == before


def test_weights_that_cannot_be_had_change_nothing(few, monkeypatch, capsys):
    from linksim.metrics.base import MetricUnavailable
    from linksim.metrics.distortion import Ssim

    def gone(self):
        raise MetricUnavailable("ssim: its weights are gone")

    before = files(few)
    monkeypatch.setattr(Ssim, "__init__", gone)
    assert main(["measure", str(few), "--metric", "ssim"]) == 2
    assert "its weights are gone" in capsys.readouterr().err
    assert files(few) == before


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("what", "by"),
    [
        ("values", "measure"),
        pytest.param("shown", "measure", marks=SLOW),
        pytest.param("state", "measure", marks=SLOW),
        pytest.param("values", "simulate", marks=SLOW),
    ],
)
def test_a_unit_that_comes_out_unlike_before_stops_it_and_nothing_is_lost(few, made, what, by, capsys):
    """The folder is what it was; the units that came out as before are not run again where it goes on."""
    lines = [json.loads(line) for line in (few / "records.jsonl").read_text().splitlines()]
    odd = next(line for line in lines if line["key"]["scheme"] == "bpg" and line["key"]["trial"] == 1)
    if what == "values":
        odd["values"]["psnr"] += 1e-3
    elif what == "state":
        odd["state"] = "outage"
    else:
        odd["shown"], odd["values"] = "0" * 16, {}
    (few / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = (units(few), header(few), table(few))
    name = {"values": "psnr"}.get(what, what)
    with pytest.raises(linksim.RunError, match=f"bpg, .*comes out unlike before, got {name} ") as raised:
        finish(few, by, ("bler",))
    assert not raised.value.resumes
    assert (units(few), header(few), table(few)) == before
    assert main(["measure", str(few), "--metric", "bler"]) == 1
    assert "The folder is left as it was" in capsys.readouterr().err
    assert linksim.Run(few).plot("psnr")
    good = (made / "few" / "records.jsonl").read_text()
    (few / "records.jsonl").write_text(good)
    assert linksim.Run(few).measure(*MORE[2:], progress=False).summary.units_run <= 24
    assert_is_whole(few, made)


def test_a_picture_that_differs_in_a_last_digit_is_let_pass(few, made):
    """Networks sum in another order beside other pictures: values to six digits decide, where there are any."""
    lines = [json.loads(line) for line in (few / "records.jsonl").read_text().splitlines()]
    for line in lines:
        line["shown"] = "0" * 16
        line["values"]["psnr"] *= 1 + 1e-8
    (few / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    linksim.Run(few).measure(*MORE[2:], progress=False)
    assert_is_whole(few, made)


class Killed(BaseException):
    """As SIGKILL: nothing cleans up but the lock."""


@pytest.mark.parametrize(
    ("after", "again"),
    [
        (3, "few"),
        *(pytest.param(n, who, marks=SLOW) for n in (0, 1, 3, 9) for who in ("measure", "simulate", "few")),
    ],
)
def test_a_kill_between_records_loses_nothing(few, made, monkeypatch, after, again):
    left = [after]
    append = ResultStore.append

    def killed(self, records):
        if records:
            left[0] -= 1
        if left[0] < 0:
            raise Killed
        append(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "append", killed)
        with pytest.raises(Killed):
            linksim.Run(few).measure(*MORE[2:], progress=False)
    if again == "few":
        assert simulate(few, {"metrics": FEW}).summary.units_run == 0
        assert units(few) == units(made / "few")
        assert table(few) == table(made / "few")
    finish(few, again)
    assert_is_whole(few, made)


def finish(folder: Path, by: str, metrics: tuple[str, ...] = tuple(MORE[2:])) -> None:
    if by == "simulate":
        simulate(folder, {"metrics": [*FEW, *metrics]})
    else:
        linksim.Run(folder).measure(*metrics, progress=False)


@pytest.mark.parametrize(
    "where", ["linksim.results.store.write_whole", "linksim.run.known.opening.take_back", "rewrite"]
)
@pytest.mark.parametrize("again", ["measure", "simulate"])
def test_a_kill_while_the_folder_is_opened_loses_nothing(few, made, monkeypatch, where, again):
    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        if where == "rewrite":
            patch.setattr(
                ResultStore, "rewrite", lambda self, records: half(self, list(self.records())[:9], 1.5)
            )
        else:
            patch.setattr(where, killed)
        with pytest.raises((Killed, KeyboardInterrupt)):
            linksim.Run(few).measure(*MORE[2:], progress=False)
    finish(few, again)
    assert_is_whole(few, made)
