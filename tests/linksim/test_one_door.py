"""One door in Python: ``linksim.simulate`` is the command, a run is tables, figures and pictures, and the import is
light."""

from __future__ import annotations

import csv
import json
import logging
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
import yaml
from PIL import Image

import linksim
from linksim.cli.commands import main
from linksim.report.panels import plot_panel
from linksim.report.runs import load_rows
from linksim.results.store import ResultStore, panel_file
from linksim.scenario.files import load_any, parse_overrides, scenario_dir, scenario_hash
from tests.linksim.tiny import TINY, write

SWEPT = """
schema_version: 1
name: swept
seed: 7
images: {kind: skimage, names: [coffee, astronaut], crop: 64}
bandwidth: {data_ratio: 1/12}
channels:
  - {kind: awgn, name: "NA"}
  - {kind: rayleigh, coherence_symbols: 64, csi: {kind: perfect}, name: fading}
sweep: {snr_db: [14, 2], trials: 2, bandwidth.data_ratio: [1/12, 1/24]}
schemes:
  - {kind: uncoded, name: qpsk, bits_per_symbol: 2}
  - {kind: linear_analog, name: linear}
  - {kind: separation, name: bpg, mcs: 6}
metrics: [psnr, ber, outage]
"""


def child(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> linksim.Run:
    out = tmp_path_factory.mktemp("door") / "run"
    return linksim.simulate(yaml.safe_load(SWEPT), out=out, progress=False)


def messages(*tries) -> list[str]:
    """What each says; every one is an error for users."""
    found = []
    for attempt in tries:
        with pytest.raises(linksim.USER_ERRORS) as problem:
            attempt()
        found.append(str(problem.value))
    return found


# ----------------------------------------------------------------------------------------------- import


def test_import_loads_nothing_and_knows_its_names():
    names = child(
        "import sys; before = set(sys.modules); import linksim; names = dir(linksim)\n"
        "heavy = {'torch', 'pydantic', 'matplotlib', 'numpy', 'yaml', 'pandas', 'sionna'}\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert not loaded & heavy, loaded & heavy\n"
        "assert not hasattr(linksim, 'no_such_name')\n"
        "print(*names)"
    ).split()
    assert {"simulate", "Run", "open_run", "check", "load_scenario", "run_link", "ScenarioError"} <= set(
        names
    )


def test_import_takes_less_than_a_third_of_a_second():
    """The best of three, less the start of Python itself: other processes may be busy."""

    def seconds(code: str) -> float:
        found = []
        for _ in range(3):
            began = time.perf_counter()
            child(code)
            found.append(time.perf_counter() - began)
        return min(found)

    assert seconds("import linksim") - seconds("pass") < 0.3


def test_a_function_that_is_named_loads_no_network():
    """Only a call does: a module may say ``from linksim import simulate, check`` and stay light."""
    child("import sys; from linksim import check, load_scenario, simulate; assert 'torch' not in sys.modules")


def test_every_name_is_what_its_stub_says():
    """Editors and mypy see the names under TYPE_CHECKING, Python the table: they are the same."""
    import ast

    tree = ast.parse(Path(linksim.__file__).read_text())
    block, hidden = [node for node in tree.body if isinstance(node, ast.If)]
    functions = [node.name for node in hidden.body if isinstance(node, ast.FunctionDef)]
    assert {"__getattr__", "__dir__"} <= set(functions), "to a checker they would be any name"
    stubs = {alias.asname: node.module for node in block.body for alias in node.names}
    assert set(stubs) <= set(dir(linksim))
    for name, module in stubs.items():
        assert getattr(linksim, name) is getattr(sys.modules[module], name)
    lazy = {name for name in dir(linksim) if not name.startswith("_")}
    modules = {n for n in lazy if isinstance(getattr(linksim, n), type(sys))}
    assert lazy - modules - {"Any", "TYPE_CHECKING"} == set(stubs)


def test_a_metric_of_ones_own_comes_in_by_the_door(tmp_path):
    """Registered in this process, measured, and a rate because it counts; the run folder tells it to others, who
    do not have it."""
    from linksim.kinds import CountMetric, MetricInfo, unregister

    class Symbols(CountMetric):
        """Pairs of bits with an error."""

        info = MetricInfo("pair_errors", "1", False, "here", label="errors of pairs")

        def __call__(self, hat, true):
            wrong = (hat != true).unflatten(1, (-1, 2)).any(2)
            return wrong.sum(1), torch.full((len(wrong),), wrong.shape[1])

    linksim.register("metric", "pair_errors", Symbols)
    try:
        small = {"metrics": ["psnr", "pair_errors"], "sweep": {"snr_db": [2, 4]}}
        made = linksim.simulate(yaml.safe_load(SWEPT), small, limit=1, out=tmp_path / "run", progress=False)
    finally:
        unregister("metric", "pair_errors")
    assert made.header["metrics"]["pair_errors"]["is_rate"] is True
    axes = made.plot("pair_errors").axes[0]
    assert (axes.get_yscale(), axes.get_ylabel()) == ("log", "errors of pairs, lower is better")
    assert (made.per_image()["pair_errors_trials"].dropna() > 0).all()
    assert "errors of pairs ↓" in made._repr_html_()
    assert "<th>swept</th>" not in made._repr_html_(), "nothing was swept but the SNR"


def test_every_user_error_is_a_name_of_the_door():
    for error in linksim.USER_ERRORS:
        assert getattr(linksim, error.__name__) is error
    assert issubclass(linksim.RunFolderError, linksim.USER_ERRORS)


# -------------------------------------------------------------------------------------- where from


def test_mapping_file_name_and_object_are_one_scenario(tmp_path):
    path = write(tmp_path)
    of_file = linksim.load_scenario(path)
    others = (Path(path), yaml.safe_load(TINY), of_file, of_file.model_dump(), {"extends": path})
    for source in others:
        assert scenario_hash(linksim.load_scenario(source)) == scenario_hash(of_file)
        assert linksim.load_scenario(source) == of_file


def test_what_was_read_can_be_given_again():
    """Every scenario that comes with linksim, trainings too: as an object it is the same experiment."""
    paths = [path for path in scenario_dir().rglob("*.yaml") if path.parent.name != "base"]
    assert len(paths) > 50
    for path in paths:
        scenario = load_any(str(path))
        assert scenario_hash(load_any(scenario)) == scenario_hash(scenario), path


def test_overrides_in_both_ways_and_of_the_command_line_are_one():
    of_command = parse_overrides(
        ["sweep.snr_db=[0, 5]", "sweep.trials=1", "channels.tdl-c ls.csi.kind=lmmse"]
    )
    expected = load_any("quickstart", of_command)
    paths = {"sweep.trials": 1, "channels.tdl-c ls.csi.kind": "lmmse"}
    for swept in ([0, 5], (0.0, 5.0), np.array([0, 5]), torch.tensor([0.0, 5.0])):
        assert linksim.load_scenario("quickstart", paths, sweep__snr_db=swept) == expected
    assert linksim.load_scenario("quickstart", seed=np.int64(3)).seed == 3
    assert linksim.load_scenario("quickstart", overrides={"name": "x"}).name == "x"


def test_a_mapping_that_is_given_is_left_alone():
    data = yaml.safe_load(TINY)
    before = json.dumps(data)
    linksim.load_scenario(data, {"sweep.trials": 1, "schemes.bpg.mcs": 3})
    assert json.dumps(data) == before


# ----------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sweep.trials", "many"),
        ("sweep.trails", 1),
        ("schemes.none.mcs", 3),
        ("channels.9.kind", "awgn"),
        ("seed.x", 1),
        ("bandwidth.data_ratio", 0),
    ],
)
def test_overrides_are_refused_as_those_of_the_command(tmp_path, capsys, path, value):
    file = write(tmp_path)
    assert main(["check", file, "--set", f"{path}={value}"]) == 2
    of_command = capsys.readouterr().err.strip()
    assert messages(lambda: linksim.load_scenario(file, {path: value})) == [of_command]


def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    holds_itself: dict = {}
    holds_itself["images"] = holds_itself
    found = messages(
        lambda: linksim.simulate("quikstart"),
        lambda: linksim.simulate(3),
        lambda: linksim.simulate({"name": "x"}),
        lambda: linksim.simulate(holds_itself),
        lambda: linksim.simulate("quickstart", ["sweep.trials=1"]),
        lambda: linksim.simulate("quickstart", {"sweep.trials": 1}, sweep__trials=2),
        lambda: linksim.simulate("quickstart", deivce="cpu"),
        lambda: linksim.simulate("quickstart", sede=3),
        lambda: linksim.simulate("quickstart", device="gpu"),
        lambda: linksim.simulate("quickstart", limit=0),
        lambda: linksim.simulate("quickstart", workers=1.5),
        lambda: linksim.simulate("quickstart", limit=True),
        lambda: linksim.simulate("quickstart", progress="yes"),
        lambda: linksim.simulate("quickstart", out=""),
        lambda: linksim.simulate("quickstart", out=5),
        lambda: linksim.simulate("quickstart", out="a\0b"),
        lambda: linksim.simulate("quickstart", out="\ud800"),
        lambda: linksim.simulate("train/dial"),
        lambda: linksim.open_run("nowhere"),
    )
    expected = (
        "Did you mean quickstart?",
        "scenario: got 3, expected a file, a name, a mapping or a Scenario.",
        "scenario: schemes: missing",
        "scenario: got a mapping that is nested too deep, or holds itself",
        "overrides: not a mapping, got a list",
        "sweep.trials: given twice",
        "Did you mean device?",
        "Did you mean seed?",
        "device: got 'gpu', expected auto, cpu",
        "limit: wrong number, got 0, expected a whole number of at least 1.",
        "workers: wrong number, got 1.5",
        "limit: wrong number, got True",
        "progress: wrong kind of value, got 'yes', expected True, False or a function",
        "out: no folder, got '', expected the path of a folder.",
        "out: no folder, got 5",
        r"out: no path, got 'a\x00b'",
        r"out: no path, got '\ud800'",
        "train: got a training, expected an evaluation. Run it with linksim train.",
        "run folder: no run.json",
    )
    for text, part in zip(found, expected, strict=True):
        assert part in text
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_none_has_the_option_of_the_command_in_its_message(capsys):
    assert main(["simulate", "quickstart", "--device", "gpu"]) == 2
    assert capsys.readouterr().err.startswith("--device: got 'gpu', expected auto, cpu")


# ------------------------------------------------------------------------------------------------ runs


def test_function_and_command_write_the_same_results(run, tmp_path):
    folder = tmp_path / "command"
    assert main(["simulate", write(tmp_path, SWEPT), "--out", str(folder), "--no-report"]) == 0
    assert (folder / "results.csv").read_bytes() == (run.folder / "results.csv").read_bytes()
    own, other = (ResultStore(f).header() for f in (run.folder, folder))
    assert own["scenario_hash"] == other["scenario_hash"]
    again = linksim.simulate(yaml.safe_load(SWEPT), out=folder, progress=False)
    assert (again.summary.units_run, again.summary.units_kept) == (0, 96)


def test_default_folder_progress_and_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = []
    data = yaml.safe_load(SWEPT)
    small = {
        "bandwidth.data_ratio": "1/12",
        "sweep": {"snr_db": [2], "trials": 1},
        "schemes": data["schemes"][:1],
    }
    made = linksim.simulate(data, small, limit=1, workers=1, progress=lambda *state: seen.append(state[:2]))
    assert made.folder == Path("runs/swept")
    assert (tmp_path / "runs" / "swept" / "results.csv").exists()
    assert (seen[0], seen[-1]) == ((0, 2), (2, 2))
    assert capsys.readouterr().err == ""
    linksim.simulate(data, small, limit=1, progress=True)
    assert "2 of 2 units" in capsys.readouterr().err
    grown = linksim.simulate(data, small, progress=False).summary
    assert (grown.units_run, grown.units_kept) == (2, 2)


def test_what_was_not_measured_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path / "nothing"))
    monkeypatch.setattr("linksim.weights.zoo.find_backbone", _no_weights)
    monkeypatch.setattr("linksim.metrics.perceptual.find_backbone", _no_weights)
    data = yaml.safe_load(SWEPT) | {"metrics": ["psnr", "lpips_vgg"]}
    small = {"sweep": {"snr_db": [2], "trials": 1}, "schemes": data["schemes"][:1]}
    with caplog.at_level(logging.WARNING, "linksim"):
        made = linksim.simulate(data, small, out=tmp_path / "run", progress=False)
    assert "not measured: no weights here" in caplog.text
    assert "not measured: lpips_vgg" in repr(made)
    assert "Not measured: no weights here" in made._repr_html_()


def _no_weights(net):
    from linksim.weights.hub_files import WeightsUnavailable

    raise WeightsUnavailable("no weights here")


def test_run_that_was_made_earlier(run):
    for same in (linksim.Run(run.folder), linksim.open_run(str(run.folder))):
        assert same.header == run.header
        assert same.summary is None
        assert same.name == "swept"
        assert scenario_hash(same.scenario) == same.header["scenario_hash"]


# ---------------------------------------------------------------------------------------------- tables


def test_table_is_the_file_with_types(run):
    table = run.table()
    with (run.folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(table.columns) == list(rows[0])
    assert len(table) == len(rows)
    for name in table.columns:
        expected = [row[name] for row in rows]
        if name in ("channel", "scheme", "metric", "bandwidth.data_ratio"):
            assert table[name].tolist() == expected
        else:
            np.testing.assert_array_equal(table[name].to_numpy(), [float(text or "nan") for text in expected])
    assert table["num_trials"].dtype == "int64"
    assert table["ci_low"].dtype == "float64"
    assert set(table["channel"]) == {"NA", "fading"}, "a name is no missing value"


def test_swept_values_have_their_types(tmp_path):
    data = yaml.safe_load(SWEPT) | {"channels": [{"kind": "rayleigh", "coherence_symbols": 64}]}
    data["schemes"] = data["schemes"][:1]
    swept = {"sweep": {"snr_db": [2], "trials": 1, "channel.coherence_symbols": [64, 16]}}
    made = linksim.simulate(data, swept, out=tmp_path / "run", progress=False)
    for table in (made.table(), made.per_image()):
        assert sorted(set(table["channel.coherence_symbols"].tolist())) == [16, 64]
        assert table["channel.coherence_symbols"].dtype == "int64"


def test_units_are_the_records(run):
    table = run.per_image()
    records = {r.key: r for r in ResultStore(run.folder).records()}
    assert len(table) == len(records) == 96
    by_place = {
        (r.key.channel, r.key.scheme, r.key.point[0][1], r.key.snr_db, r.key.image, r.key.trial): r
        for r in records.values()
    }
    for unit in table.to_dict("records"):
        names = ("channel", "scheme", "bandwidth.data_ratio", "snr_db", "image", "trial")
        record = by_place.pop(tuple(unit[name] for name in names))
        assert unit["state"] == record.state
        assert unit["psnr"] == record.values["psnr"]
        assert (unit["outage_errors"], unit["outage_trials"]) == record.counts["outage"]
        if record.key.scheme == "linear":
            assert pandas.isna(unit["ber_errors"])
        else:
            assert (unit["ber_errors"], unit["ber_trials"]) == record.counts["ber"]
        assert unit["data_uses"] == record.data_uses
        assert unit["pilot_uses"] == record.pilot_uses
        assert (unit["cbr_data"], unit["cbr_total"]) == (record.cbr_data, record.cbr_total)
        if record.key.scheme == "bpg":
            assert unit["info.mcs"] == record.info["mcs"] == 6
    assert not by_place
    assert list(dict.fromkeys(table["scheme"])) == ["qpsk", "linear", "bpg"], "in the order of the scenario"
    assert list(dict.fromkeys(table["image"])) == ["coffee", "astronaut"]
    assert str(table["info.mcs"].dtype) == "Int64"


def test_units_average_to_the_table(run):
    """Means of the table are means over images of means over trials; rates are errors over trials."""
    place = ["channel", "scheme", "bandwidth.data_ratio", "snr_db"]
    units, table = run.per_image().groupby(place), run.table().set_index([*place, "metric"])
    for where, group in units:
        mean = group.groupby("image")["psnr"].mean().mean()
        assert mean == pytest.approx(table.loc[(*where, "psnr"), "mean"], rel=1e-5)
        if where[1] != "linear":
            rate = group["ber_errors"].sum() / group["ber_trials"].sum()
            assert rate == pytest.approx(table.loc[(*where, "ber"), "mean"], rel=1e-5)


def test_a_run_that_was_stopped_has_tables_of_what_is_there(run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "records.jsonl").write_bytes(b"".join(lines[:10]) + lines[10][:20])
    (folder / "results.csv").unlink()
    stopped = linksim.Run(folder)
    assert len(stopped.per_image()) == 10
    assert set(stopped.table()["metric"]) == {"psnr", "ber", "outage"}
    assert "10 of 96 units" in repr(stopped)
    assert "Incomplete: 10 of 96 units." in stopped._repr_html_()
    (folder / "records.jsonl").write_bytes(b"")
    assert stopped.table().empty
    assert stopped.per_image().empty
    assert "No records yet" in stopped._repr_html_()
    (folder / "run.json").unlink()
    assert "no run.json" in repr(stopped)
    assert "no run.json" in stopped._repr_html_()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",num_images,", ",images,"),
        ("1/24", "1/25"),
        (",2,2,", ",2,two,"),
        (",mean,", ",psnr,"),
        ("channel,", "metric,"),
        ("qpsk,", "qpsk\n,"),
    ],
)
def test_a_table_that_was_changed_by_hand_is_refused_with_a_cure(run, tmp_path, old, new):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    path = folder / "results.csv"
    path.write_text(path.read_text().replace(old, new))
    mine = linksim.Run(folder)
    [text] = messages(mine.table)
    assert text.startswith(f"{path}: broken, got ")
    assert text.endswith("Remove it; the table is then made from the records.")
    path.unlink()
    assert mine.table().equals(run.table())


def test_names_of_metrics_do_not_hide_other_columns(run, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    for name in ("run.json", "records.jsonl"):
        text = (folder / name).read_text()
        (folder / name).write_text(
            text.replace('"psnr"', '"seconds"')
            if name == "run.json"
            else text.replace('"psnr":', '"seconds":')
        )
    mine = linksim.Run(folder).per_image()
    assert mine["metric.seconds"].tolist() == run.per_image()["psnr"].tolist()
    assert mine["seconds"].tolist() == run.per_image()["seconds"].tolist()


def test_without_pandas_one_message_says_what_to_do(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (run.table, run.per_image):
        with pytest.raises(
            linksim.MissingPackage,
            match=r"pandas: not installed, got .* Install pandas, or read results\.csv",
        ):
            table()


# ------------------------------------------------------------------------------- figures and pictures


def test_figure_is_that_of_the_command(run, tmp_path):
    from linksim.report.drawing import save_figure

    for arguments in ({}, {"x": "bandwidth.data_ratio"}, {"against": "qpsk"}):
        save_figure(run.plot("psnr", **arguments), tmp_path / "own.svg")
        options = [text for name, value in arguments.items() for text in (f"--{name}", value)]
        out = tmp_path / "command.svg"
        assert main(["plot", str(run.folder), "--metric", "psnr", *options, "--out", str(out)]) == 0
        assert (tmp_path / "own.svg").read_bytes() == out.read_bytes()
    assert run.plot("psnr")._repr_png_().startswith(b"\x89PNG")
    [text] = messages(lambda: run.plot("fid"))
    assert text.startswith("--metric fid: got no such metric in the run, expected one of")


def test_pictures_are_those_of_the_panel(run):
    store = ResultStore(run.folder)
    found = run.images(scheme="qpsk", channel="fading", snr_db=2, image="coffee")
    assert len(found) == 2, "one per swept ratio"
    for picture in found:
        [record] = [
            r for r in store.records()
            if (r.key.scheme, r.key.channel, r.key.snr_db, r.key.image, r.key.trial, r.key.point)
            == ("qpsk", "fading", 2.0, "coffee", 0, picture.point)
        ]  # fmt: skip
        pixels = picture.tensor()
        assert pixels.dtype == torch.uint8
        assert pixels.shape == (3, 64, 64)
        with Image.open(panel_file(store, record.key)) as kept:
            np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(kept))
        error = (pixels.double() - run.images(scheme="original", image="coffee")[0].tensor()).square().mean()
        assert 10 * math.log10(255**2 / error) == pytest.approx(picture.values["psnr"], abs=1e-6)
        assert picture.label.startswith("coffee, qpsk, fading, 2 dB, bandwidth.data_ratio 1/")
        assert picture.pil().size == (64, 64)
        assert picture._repr_png_().startswith(b"\x89PNG")
    assert len(run.images()) == 2 * 2 * 2 * 3 * 2
    assert [p.image for p in run.images(scheme="original")] == ["coffee", "astronaut"]
    assert run.images(snr_db=2)._repr_html_().count("<img") == 24
    assert plot_panel(store, "coffee", "fading").axes, "the panel reads the same pictures"


def test_pictures_that_are_not_there_are_named(run):
    asked = ({"scheme": "qsk"}, {"snr_db": 5}, {"image": "moon"})
    found = messages(*(lambda chosen=one: run.images(**chosen) for one in asked))
    assert found == [
        "scheme: no picture kept, got qsk, expected one of qpsk, linear, bpg.",
        "snr_db: no picture kept, got 5, expected one of 2, 14.",
        "image: no picture kept, got moon, expected one of coffee, astronaut.",
    ]


def test_report_is_written(tmp_path):
    small = {"sweep": {"snr_db": [2]}, "channels": [{"kind": "awgn"}], "metrics": ["psnr"]}
    made = linksim.simulate(yaml.safe_load(SWEPT), small, limit=1, out=tmp_path / "run", progress=False)
    path = made.report()
    assert path == tmp_path / "run" / "report.html"
    text = path.read_text()
    assert all(said in text for said in ('"PSNR"', '"dB"', "higher is better"))


# ------------------------------------------------------------------------------------------- notebooks


def test_a_run_shows_its_intervals_and_its_size(run):
    page = run._repr_html_()
    rows = [row for row in load_rows(ResultStore(run.folder)) if row.metric == "psnr"]
    assert len(rows) == 24
    for row in rows:
        assert f"<td>{row.mean:.4g} [{row.ci_low:.4g}, {row.ci_high:.4g}]</td>" in page
    for text in (
        "PSNR [dB] ↑",
        "bit error rate ↓",
        "96 of 96 units",
        "95% intervals",
        "bandwidth.data_ratio = 1/24",
    ):
        assert text in page
    assert repr(run) == (
        f"<Run swept in {run.folder}: 2 channels, 3 schemes, 2 images; psnr, ber, outage; 96 of 96 units>"
    )


def test_names_are_texts_in_notebooks(run, tmp_path):
    """Folders have any name, and labels are those of anybody's metric."""
    import shutil

    folder = tmp_path / "<i>run"
    shutil.copytree(run.folder, folder)
    header = ResultStore(folder).header()
    header["metrics"]["psnr"]["label"] = "<b>PSNR"
    (folder / "run.json").write_text(json.dumps(header))
    mine = linksim.Run(folder)
    for page in (mine._repr_html_(), mine.images()._repr_html_()):
        assert "&lt;b&gt;PSNR" in page
        assert "<b>PSNR" not in page
        assert "<i>run" not in page


# --------------------------------------------------------------------------------------------- checks


def test_check_says_what_the_command_says(tmp_path, capsys):
    file = write(tmp_path)
    assert main(["check", file, "--set", "sweep.trials=3"]) == 0
    printed = capsys.readouterr()
    found = linksim.check(file, sweep__trials=3)
    assert found.lines == printed.out.splitlines()
    assert [f"warning: {text}" for text in found.warnings] == printed.err.splitlines()
    assert repr(found) == str(found)
    assert found.scenario.sweep.trials == 3
    assert found.scenario_hash in str(found)


def test_a_link_of_ones_own_is_reachable_from_the_top():
    from channels.flat.awgn import AwgnChannel
    from linksim.schemes.uncoded import UncodedScheme

    image = torch.rand(1, 3, 16, 16)
    out = linksim.run_link(
        UncodedScheme("qpsk", 2), AwgnChannel(), image, torch.tensor([60.0]), seeds=[1], budget=32
    )
    assert out.reconstruction.image.shape == image.shape
