"""Whole runs: results that repeat bit for bit, survive a kill, and do not depend on the batch size."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from linksim.build.checkpoints import save_checkpoint
from linksim.build.objects import build_codec
from linksim.cli.commands import main
from linksim.jscc.lean import LeanCodec
from linksim.report.curves import Curve, axis_label, curves
from linksim.report.drawing import Looks
from linksim.report.runs import load_rows
from linksim.results.records import UnitKey
from linksim.results.store import ResultStore, RunFolderError, original_file, panel_file
from linksim.scenario.schema import LeanCodecSpec
from tests.linksim.tiny import TINY, write

GOLDEN = Path(__file__).parent.parent / "data" / "golden_tiny.json"


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    assert main(["simulate", write(folder), "--out", str(folder / "run")]) == 0
    return folder / "run"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def records(folder: Path) -> dict:
    return {r.key: r for r in ResultStore(folder).records()}


def test_run_folder_is_complete(first):
    for name in ("run.json", "records.jsonl", "results.csv", "report.html"):
        assert (first / name).stat().st_size > 100
    assert (first / "figures" / "psnr_vs_snr_db.png").stat().st_size > 5000
    assert (first / "figures" / "psnr_vs_snr_db.svg").read_text().startswith("<?xml")
    assert list((first / "figures").glob("panel_astronaut_*.png"))
    header = json.loads((first / "run.json").read_text())
    assert header["scenario"]["seed"] == 7
    assert {"torch", "sionna", "linksim"} <= set(header["versions"])
    assert "data:image/webp;base64," in (first / "report.html").read_text()


def test_csv_has_the_promised_columns_and_every_point(first):
    table = rows(first)
    promised = "channel,scheme,snr_db,metric,mean,ci_low,ci_high,num_images,num_trials,num_failures,cbr_data,cbr_total"
    assert list(table[0])[:12] == promised.split(",")
    quality = {(r["channel"], r["scheme"], r["snr_db"]) for r in table if r["metric"] == "psnr"}
    assert len(quality) == 2 * 4 * 2
    assert {r["scheme"] for r in table if r["metric"] == "ber"} == {"bpg", "qpsk"}
    assert {(r["num_images"], r["num_trials"]) for r in table} == {("2", "2")}


def test_uses_are_counted(first):
    for row in rows(first):
        assert float(row["cbr_data"]) == pytest.approx(1 / 12, rel=1e-5)
        pilots = 2 * 8 / 12288 if row["channel"] == "rayleigh-lmmse" else 0
        side = 137 / 12288 if row["scheme"] in ("linear", "qpsk") else 0
        assert float(row["cbr_total"]) == pytest.approx(1 / 12 + pilots + side, rel=1e-5)


def test_zero_errors_give_an_upper_bound_not_zero(first):
    """Coded bits fail together: 4 frames without an error bound the rate as 4 trials do."""
    zero = [r for r in rows(first) if r["metric"] == "ber" and float(r["mean"]) == 0]
    assert {r["scheme"] for r in zero} >= {"bpg"}
    for row in zero:
        assert float(row["ci_low"]) == 0
        if row["scheme"] == "bpg":
            assert float(row["ci_high"]) == pytest.approx(1 - 0.05 ** (1 / 4), rel=1e-5)
    qpsk = next(r for r in rows(first) if r["scheme"] == "qpsk" and r["metric"] == "ber")
    assert qpsk["channel"] == "awgn"
    assert float(qpsk["ci_high"]) - float(qpsk["ci_low"]) < 0.02, "independent bits"


def test_second_run_is_byte_identical(first, tmp_path):
    assert main(["simulate", write(tmp_path), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    assert (tmp_path / "run" / "results.csv").read_bytes() == (first / "results.csv").read_bytes()


def test_killed_run_resumes_to_the_same_bytes(first, tmp_path):
    scenario, out = write(tmp_path), tmp_path / "run"
    command = [sys.executable, "-m", "linksim", "simulate", scenario, "--out", str(out), "--no-report"]
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stderr=subprocess.DEVNULL
    )
    store = out / "records.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (store.exists() and store.read_bytes().count(b"\n") > 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = store.read_bytes()
    assert 5 < done.count(b"\n") < 64
    store.write_bytes(done + b'{"key":{"channel":"awgn","sch')  # a line torn by the kill
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 0
    assert (out / "results.csv").read_bytes() == (first / "results.csv").read_bytes()
    assert store.read_bytes().startswith(done)


def test_batch_size_changes_no_count_and_no_sixth_digit(first, tmp_path):
    arguments = ["--set", "batch_size=1", "--no-report"]
    assert main(["simulate", write(tmp_path), "--out", str(tmp_path / "run"), *arguments]) == 0
    one, three = records(tmp_path / "run"), records(first)
    assert one.keys() == three.keys()
    for key, record in one.items():
        other = three[key]
        assert (record.seed, record.state, record.counts) == (other.seed, other.state, other.counts)
        for name, value in record.values.items():
            assert value == pytest.approx(other.values[name], rel=1e-6), (key, name)


def test_resuming_a_finished_run_keeps_everything(first, capsys):
    before = (first / "records.jsonl").read_bytes()
    scenario = write(first.parent)
    assert main(["simulate", scenario, "--out", str(first), "--no-report"]) == 0
    assert (first / "records.jsonl").read_bytes() == before
    assert "0 units in" in capsys.readouterr().out


def test_golden_results(first):
    """Means of a run whose numbers were looked at once; rewritten only with LINKSIM_REGENERATE=1."""
    means = {
        f"{r['channel']}|{r['scheme']}|{r['snr_db']}|{r['metric']}": float(r["mean"]) for r in rows(first)
    }
    if os.environ.get("LINKSIM_REGENERATE") == "1":
        GOLDEN.write_text(json.dumps(means, indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())
    assert means.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(means[key], value, rtol=1e-4, atol=1e-9, err_msg=key)


def test_plot_and_report_commands(first, tmp_path, capsys):
    out = tmp_path / "figure.svg"
    assert main(["plot", str(first), "--metric", "bler", "--out", str(out)]) == 0
    text = out.read_text()
    for label in ("block error rate", "bpg (CBR 1/12)", "SNR = Es/N0 per data use"):
        assert label in text.replace("<!-- ", "").replace(" -->", "")
    assert (
        main(["plot", str(first), str(first), "--metric", "psnr", "--x", "cbr_total", "--out", str(out)]) == 0
    )
    assert main(["report", str(first)]) == 0
    capsys.readouterr()


def test_swept_field_becomes_a_column_and_an_axis(tmp_path, capsys):
    text = """
name: swept
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: ofdm, num_subcarriers: 32, model: {kind: tdl, profile: A, delay_spread_s: 100e-9}}
sweep: {snr_db: [15], channel.model.speed_mps: [1, 200]}
schemes: [{kind: linear_analog, name: linear}]
metrics: [psnr]
"""
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out)]) == 0
    table = rows(out)
    assert [r["channel.model.speed_mps"] for r in table] == ["1", "200"]
    assert table[0]["mean"] != table[1]["mean"]
    assert (out / "figures" / "psnr_vs_speed_mps.png").exists()
    capsys.readouterr()


LEAN = """
name: lean
images: {kind: skimage, names: [coffee, rocket], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [2, 14], trials: 2}
schemes: [{kind: jscc, name: lean, checkpoint: CHECKPOINT}]
metrics: [psnr]
batch_size: 2
"""


def _weights(path: Path, seed: int, value: float | None = None) -> None:
    spec = LeanCodecSpec(kind="lean", latent_channels=128, width_8=8, width_16=8)
    torch.manual_seed(seed)
    state = build_codec(spec).state_dict()
    if value is not None:
        state["decoder.linear.bias"].fill_(value)
    save_checkpoint(path, spec, state, {}, torch.float32)


def test_resume_with_other_weights_is_refused(tmp_path, capsys):
    weights, out = tmp_path / "weights.safetensors", tmp_path / "run"
    _weights(weights, 1)
    scenario = write(tmp_path, LEAN.replace("CHECKPOINT", str(weights)))
    arguments = ["simulate", scenario, "--out", str(out), "--no-report"]
    assert main(arguments) == 0
    store, first_weights = out / "records.jsonl", weights.read_bytes()
    half = b"".join(store.read_bytes().splitlines(keepends=True)[:4])
    store.write_bytes(half)
    _weights(weights, 2)
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "made with other weights, tables or recordings" in message
    assert "weights.safetensors" in message
    assert store.read_bytes() == half
    weights.write_bytes(first_weights)
    assert main(arguments) == 0
    assert len(records(out)) == 8
    capsys.readouterr()


def test_a_picture_that_is_not_finite_stops_the_run(tmp_path, capsys, monkeypatch):
    weights, out = tmp_path / "weights.safetensors", tmp_path / "run"
    _weights(weights, 1)
    scenario = write(tmp_path, LEAN.replace("CHECKPOINT", str(weights)))
    decode = LeanCodec.decode

    def broken(self, *arguments):
        image = decode(self, *arguments)
        image[0, 0, 3, 3] = float("nan")
        return image

    monkeypatch.setattr(LeanCodec, "decode", broken)
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 1
    message = capsys.readouterr().err
    assert "not finite" in message
    assert "lean, 2 dB, image coffee" in message
    assert (out / "records.jsonl").read_bytes() == b""


def test_second_process_is_refused_and_touches_nothing(first, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(first, folder)
    one, two = ResultStore(folder), ResultStore(folder)
    header = one.header()
    one.open(header)
    with one.records_path.open("a") as file:
        file.write('{"half": ')  # a line that the first process is writing
    before = one.records_path.read_bytes()
    with pytest.raises(RunFolderError, match="in use"):
        two.open(header)
    assert one.records_path.read_bytes() == before
    one.close()
    two.open(header)
    assert one.records_path.read_bytes() == before[: -len('{"half": ')]
    two.close()


def test_other_statistics_of_a_finished_run_reach_all_its_files(first, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(first, folder)
    wide = rows(folder)
    command = ["simulate", write(tmp_path), "--out", str(folder), "--set", "statistics.confidence=0.6"]
    assert main(command) == 0
    narrow = rows(folder)
    assert [r["mean"] for r in narrow] == [r["mean"] for r in wide]
    pairs = [(n, w) for n, w in zip(narrow, wide, strict=True) if w["ci_low"]]
    assert all(float(n["ci_low"]) >= float(w["ci_low"]) for n, w in pairs)
    assert any(n["ci_low"] != w["ci_low"] for n, w in pairs)
    assert "Confidence level: 60%" in (folder / "report.html").read_text()
    capsys.readouterr()


def test_swept_choice_keeps_its_order_and_is_drawn(tmp_path, capsys):
    text = """
name: choices
images: {kind: skimage, names: [coffee, rocket], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: ofdm, num_subcarriers: 32, model: {kind: tdl, profile: A, delay_spread_s: 100e-9}}
sweep: {snr_db: [15], channel.csi.kind: [perfect, ls, lmmse], schemes.s.mcs: [9, 2]}
schemes: [{kind: linear_analog, name: linear}, {kind: separation, name: s, mcs: 4}]
metrics: [psnr]
"""
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out)]) == 0
    table = [r for r in rows(out) if r["scheme"] == "linear" and r["schemes.s.mcs"] == "9"]
    assert [r["channel.csi.kind"] for r in table] == ["perfect", "ls", "lmmse"]
    assert {r["channel"] for r in table} == {"ofdm-tdla"}, "one label; what is swept has its own column"
    assert float(table[0]["mean"]) > float(table[1]["mean"])
    store = ResultStore(out)
    drawn = curves(load_rows(store), store.metrics()["psnr"], "channel.csi.kind")
    assert drawn[0].ticks == ("perfect", "ls", "lmmse")
    assert drawn[0].x.tolist() == [0, 1, 2]
    assert (out / "figures" / "psnr_vs_kind.png").exists()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("field", "expect"),
    [
        ("images.crop: [64, 96]", "sweep.images.crop: cannot be swept"),
        ("statistics.confidence: [0.9, 0.8]", "sweep.statistics.confidence: cannot be swept"),
        ("schemes.linear.name: [a, b]", "sweep.schemes.linear.name: cannot be swept"),
        ("bandwidth.data_ratio: [1/48, 2/96]", "got the same experiment as"),
    ],
)
def test_sweeps_without_effect_are_refused(field, expect, tmp_path, capsys):
    text = TINY.replace("trials: 2}", f"trials: 2, {field}}}")
    assert main(["check", write(tmp_path, text)]) == 2
    assert expect in capsys.readouterr().err


def test_lines_of_a_figure_can_be_told_apart():
    shape = {
        "channel": "c",
        "x": np.arange(2),
        "mean": np.arange(2),
        "low": np.arange(2),
        "high": np.arange(2),
    }
    shape |= {"upper_bound": np.zeros(2, bool), "label": "", "ticks": ()}
    lines = [
        Curve(scheme=scheme, variant=(("v", v),), is_bound=bound, **shape)
        for scheme, bound in (("a", False), ("b", False), ("limit 1", True), ("limit 2", True))
        for v in range(3)
    ]
    looks = Looks.of(lines)
    styles = [looks.style(line) for line in lines]
    seen = {(s["color"], str(s["linestyle"]), s.get("marker")) for s in styles}
    assert len(seen) == len(lines)


def test_files_of_pictures_are_told_apart(tmp_path):
    store = ResultStore(tmp_path)
    names = [("A B", "x.png"), ("A-B", "x.png"), ("A B", "x.bmp"), ("A", "t/x.png"), ("A", "t-x.png")]
    keys = [UnitKey("awgn", scheme, (), 1.0, image, 0) for scheme, image in names]
    assert len({panel_file(store, key) for key in keys}) == len(keys)
    assert len({original_file(store, image) for _, image in names}) == 4


def test_estimated_csi_repeats_in_another_process(tmp_path, capsys):
    """Pilots, fades and noise of an OFDM channel are the same in every process."""
    text = """
name: ofdm
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channels:
  - {kind: ofdm, name: ls, num_subcarriers: 24, model: {kind: tdl, profile: C, delay_spread_s: 300e-9}}
  - {kind: ofdm, name: mmse, csi: {kind: lmmse}, model: {kind: tdl, profile: A, delay_spread_s: 100e-9, speed_mps: 9}}
sweep: {snr_db: [5, 15], trials: 2}
schemes: [{kind: linear_analog, name: linear}, {kind: uncoded, name: qpsk, bits_per_symbol: 2}]
metrics: [psnr, ber]
"""
    scenario, here, there = write(tmp_path, text), tmp_path / "here", tmp_path / "there"
    assert main(["simulate", scenario, "--out", str(here), "--no-report"]) == 0
    command = [sys.executable, "-m", "linksim", "simulate", scenario, "--out", str(there), "--no-report"]
    subprocess.run(command, check=True, capture_output=True)
    assert (here / "results.csv").read_bytes() == (there / "results.csv").read_bytes()
    capsys.readouterr()


@pytest.mark.parametrize(
    ("field", "label"),
    [
        ("snr_db", "SNR = Es/N0 per data use [dB]"),
        ("channel.model.speed_mps", "speed [m/s]"),
        ("channel.link_budget.transmit_power_dbm", "transmit power [dBm]"),
        ("channel.csi.kind", "csi kind"),
        ("channel.impairments.0.bits", "bits"),
    ],
)
def test_axes_say_quantity_and_unit(field, label):
    assert axis_label(field) == label
