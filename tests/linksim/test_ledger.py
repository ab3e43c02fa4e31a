"""What channel uses are spent on: categories add up to what cbr_total counts, on every scheme and channel."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from linksim.cli.commands import main
from linksim.metrics.info import MetricInfo
from linksim.report.figures import best_of, curves, plot_metric
from linksim.report.ledger import CATEGORIES, ledger, spent
from linksim.report.runs import load_rows, metric_info, step_names
from linksim.results.records import Record, UnfitRecord, line_of, side_info_uses
from linksim.results.store import ResultStore
from tests.linksim.tiny import write

SCENARIO = """
name: ledger
seed: 3
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channels:
  - {kind: awgn}
  - kind: ofdm
    name: ofdm
    num_subcarriers: 32
    model: {kind: tdl, profile: A, delay_spread_s: 100e-9}
sweep: {snr_db: [0, 6, 16], trials: 2}
schemes:
  - {kind: linear_analog, name: linear}
  - {kind: separation, name: MCS, mcs: [2, 6, 10]}
  - {kind: separation, name: harq, mcs: 10, harq: {max_transmissions: 4}}
  - {kind: capacity_bound, name: bound}
  - {kind: capacity_bound, name: outage, fading: outage, outage_probability: 0.2}
metrics: [psnr, bler]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ResultStore:
    folder = tmp_path_factory.mktemp("ledger")
    assert main(["simulate", write(folder, SCENARIO), "--out", str(folder / "run"), "--workers", "1"]) == 0
    return ResultStore(folder / "run")


def test_categories_add_up_to_the_total(store):
    for record in store.records():
        assert sum(spent(record).values()) == pytest.approx(record.cbr_total * record.source_values)
    for entry in ledger(store.records()):
        assert tuple(entry.shares) == CATEGORIES
        rows = [r for r in load_rows(store) if (r.channel, r.scheme) == (entry.channel, entry.scheme)]
        total = next(r.cbr_total for r in rows if r.snr_db == entry.snr_db)
        assert sum(entry.shares.values()) == pytest.approx(total)


def test_every_category_is_where_it_belongs(store):
    for record in store.records():
        uses = spent(record)
        digital = record.key.scheme.startswith(("MCS", "harq"))
        assert (uses["CRC"] > 0) is digital
        assert (uses["pilots"] > 0) is (record.key.channel == "ofdm")
        assert (uses["retransmissions"] > 0) is (record.transmissions > 1)
        assert (uses["header"] > 0) is (digital or record.key.scheme == "linear")
        if record.key.scheme == "linear":
            assert uses["side information"] == side_info_uses(32)


def test_payload_share_is_that_of_the_stream(store):
    record = next(r for r in store.records() if r.key.scheme == "MCS 6" and r.state == "ok")
    info = record.info
    bits = 8 * info["bytes"] + info["header_bits"] + info["padding_bits"]
    assert bits == info["payload_bits"]
    expected = record.data_uses * 8 * info["bytes"] / (bits + info["crc_bits"])
    assert spent(record)["payload"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "info",
    [
        {"header_uses": "ok"},
        {"header_uses": True},
        {"crc_bits": 24, "payload_bits": -1},
        {"crc_bits": 24, "bytes": "many"},
        {"crc_bits": 24},
        {"crc_bits": 0, "payload_bits": 0},
    ],
    ids=str,
)
def test_what_cannot_be_added_up_is_no_record(store, info):
    """Neither read from a file nor taken from a scheme of somebody's own."""
    record = replace(next(iter(store.records())), info=info)
    with pytest.raises(UnfitRecord, match=f"scheme {re.escape(record.key.scheme)}: info: unfit for a record"):
        line_of(record)
    with pytest.raises(ValueError, match="info"):
        Record.from_json(record.to_json())


def test_retransmissions_count_in_every_ratio(store):
    again = [r for r in store.records() if r.key.scheme == "harq" and r.transmissions > 1]
    once = [r for r in store.records() if r.key.scheme == "harq" and r.transmissions == 1]
    assert again
    assert once
    for record in again:
        single = next(r for r in once if r.key.channel == record.key.channel)
        assert record.cbr_data == pytest.approx(record.transmissions * single.cbr_data)
        assert record.pilot_uses == record.transmissions * single.pilot_uses
        assert record.guard_uses == record.transmissions * single.guard_uses


def test_codec_and_its_version_are_recorded(store):
    header = store.header()
    assert "preset veryslow" in header["tools"]["bpg-420"]
    assert "x265" in header["tools"]["bpg-420"]
    assert all(r.info["codec"].startswith("bpg-420") for r in store.records() if r.key.scheme != "linear")


def test_run_made_with_another_codec_version_is_refused(store, capsys, tmp_path):
    header = json.loads(store.header_path.read_text())
    before = store.header_path.read_text()
    header["tools"]["bpg-420"] = "libx265 of yesterday"
    store.header_path.write_text(json.dumps(header))
    try:
        assert main(["simulate", write(tmp_path, SCENARIO), "--out", str(store.folder), "--no-report"]) == 2
    finally:
        store.header_path.write_text(before)
    assert "made with other codecs" in capsys.readouterr().err


def test_staircase_and_its_best_steps(store):
    steps = step_names(store.header())
    assert steps == ["MCS 2", "MCS 6", "MCS 10"], "harq takes more uses: it is no step"
    lines = [c for c in curves(load_rows(store), store.metrics()["psnr"], "snr_db", steps=steps) if c.is_step]
    assert {c.scheme for c in lines} == set(steps)
    own = [c for c in lines if c.channel == "awgn"]
    best = best_of(own, MetricInfo("psnr", "dB", True, ""))
    np.testing.assert_allclose(best.mean, np.max([c.mean for c in own], axis=0))
    worst = best_of(own, MetricInfo("lpips", "1", False, ""))
    np.testing.assert_allclose(worst.mean, np.min([c.mean for c in own], axis=0))
    assert "chosen on these results" in best.label


def test_best_steps_of_two_runs_or_bandwidths_stay_apart(store, tmp_path):
    """Two copies of a run over two channels: four best curves; two values of a swept field: one each."""
    copies = [tmp_path / "one", tmp_path / "two"]
    for folder in copies:
        shutil.copytree(store.folder, folder)
    out = tmp_path / "both.svg"
    assert main(["plot", *map(str, copies), "--metric", "psnr", "--out", str(out)]) == 0
    assert out.read_text().count("best of these 3 fixed MCS") == 4
    rows = load_rows(store)
    swept = [replace(r, point=(("bandwidth.data_ratio", v),)) for v in ("1/48", "1/12") for r in rows]
    figure = plot_metric(swept, metric_info([store.header()], "psnr"), steps=step_names(store.header()))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len([label for label in labels if "best of" in label]) == 2
    names = step_names(store.header())
    both = [replace(r, scheme=f"{run} {r.scheme}") for run in ("one", "two") for r in rows]
    groups = {f"{run} {name}": run for run in ("one", "two") for name in names}
    axes = plot_metric(both, metric_info([store.header()], "psnr"), steps=groups).axes[0]
    envelopes = [line for line in axes.get_lines() if "best of" in str(line.get_label())]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in envelopes}
    assert len(envelopes) == len(looks) == 2, "told apart"


def test_figures_are_drawn(store, tmp_path, capsys):
    assert (store.figures / "ledger.png").stat().st_size > 5000
    out = tmp_path / "bars.svg"
    assert main(["plot", str(store.folder), "--ledger", "--out", str(out)]) == 0
    text = out.read_text()
    for label in ("retransmissions", "pilots", "CRC", "padding"):
        assert label in text
    table = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert table[0][:4] == ["channel", "scheme", "snr_db", "payload"]
    assert len(table) == 1 + 2 * 7 * 3
    assert main(["plot", str(store.folder), "--metric", "psnr", "--out", str(out)]) == 0
    assert "best of these 3 fixed MCS" in out.read_text()
    assert main(["plot", str(store.folder), "--ledger", "--x", "snr_db"]) == 2
    capsys.readouterr()


def test_outage_loses_the_frames_that_its_rate_is_too_high_for(store):
    """On AWGN there is nothing to lose; on a fading channel the lost frames are grey and counted."""
    lost = [r for r in store.records() if r.state == "outage"]
    assert all(r.key.channel == "ofdm" and r.key.scheme == "outage" for r in lost)
    assert lost
