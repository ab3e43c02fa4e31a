"""Whole runs: results that repeat bit for bit, survive a kill, and do not depend on the batch size."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from linksim.cli import main
from linksim.results import ResultStore
from tests.linksim.tiny import write

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
    assert "data:image/png;base64," in (first / "report.html").read_text()


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
    zero = [r for r in rows(first) if r["metric"] == "ber" and float(r["mean"]) == 0]
    assert zero
    for row in zero:
        assert float(row["ci_low"]) == 0 < float(row["ci_high"]) < 1e-2


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
