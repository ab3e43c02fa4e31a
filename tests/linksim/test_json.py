"""--json and linksim results: stdout is one JSON value or nothing, and says what the tables say."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from linksim.api.results import results_lines
from linksim.cli.commands import main
from linksim.cli.output import say_json
from linksim.cli.parser import LISTS
from linksim.results.store import ResultStore
from tests.linksim.tiny import write

RUN = Path(__file__).parents[1] / "frozen" / "data" / "run"
ROOT = Path(__file__).parents[2]


def answer(capsys, *words):
    """What a command prints, as a value."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("what", LISTS)
def test_lists_have_what_their_lines_have(what, capsys):
    found = answer(capsys, "list", what)
    assert list(found) == [what]
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [thing["name"] for thing in found[what]]
    assert len(names) > 2
    for name in names:
        assert any(line.startswith(name) for line in lines)
    if what == "kinds":
        assert {k: v for k, v in found[what][names.index("awgn")].items() if k != "summary"} == {
            "family": "channel",
            "name": "awgn",
            "origin": None,
        }


def test_check_says_as_values_what_it_says_in_lines(tmp_path, capsys):
    file = write(tmp_path)
    found = answer(capsys, "check", file)
    assert main(["check", file]) == 0
    lines = capsys.readouterr().out
    assert f"tiny: valid, hash {found['hash']}" in lines
    units = found["units"]
    assert units["total"] == 64
    assert units == {
        "total": 64, "swept_points": 1, "channels": 2, "schemes": 4, "snrs": 2, "images": 2, "trials": 2
    }  # fmt: skip
    assert found["kind"] == "evaluation"
    assert found["snr_db"] == [2.0, 14.0]
    first = found["uses"][0]
    assert (first["channel"], first["height"], first["data"], first["pilot"]) == ("awgn", 64, 1024, 0)
    assert found["uses"][1]["pilot"] > 0
    assert found["estimate"] is None


def test_a_training_is_checked_as_values_too(tmp_path, capsys):
    assert main(["new", "train", "--out", str(tmp_path / "t.yaml")]) == 0
    capsys.readouterr()
    found = answer(capsys, "check", str(tmp_path / "t.yaml"))
    assert found["kind"] == "training"
    assert found["images"]["count"] == 5
    assert main(["check", str(tmp_path / "t.yaml"), "--estimate"]) == 2
    assert "--estimate: no estimate, got a training" in capsys.readouterr().err


def test_results_are_those_of_the_table(capsys):
    found = answer(capsys, "results", str(RUN))
    with (RUN / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(found["rows"]) == len(rows)
    for row, line in zip(found["rows"], rows, strict=True):
        assert [row[n] for n in ("channel", "scheme", "metric")] == [
            line[n] for n in ("channel", "scheme", "metric")
        ]
        assert row["mean"] == pytest.approx(float(line["mean"]), rel=1e-5)
        assert row["num_failures"] == int(line["num_failures"])
        low = float(line["ci_low"] or "nan")
        assert (row["ci_low"] is None) == math.isnan(low)
    assert found["units"]["done"] == found["units"]["planned"]
    psnr = found["metrics"]["psnr"]
    reference = ResultStore(RUN).header()["metrics"]["psnr"]["reference"]
    assert psnr.pop("reference") == reference
    facts = {"label": "PSNR", "unit": "dB", "higher_is_better": True, "scope": "image", "network": ""}
    assert psnr == facts
    some = answer(capsys, "results", str(RUN), "--metric", "psnr")
    assert {row["metric"] for row in some["rows"]} == {"psnr"} == set(some["metrics"])


def test_results_in_the_terminal_are_aligned_and_whole(capsys):
    store = ResultStore(RUN)
    lines = list(results_lines(store, (), 100))
    assert "(complete); means with 95% intervals" in lines[0]
    tables = "\n".join(lines).split("\n\n")[1:]
    assert len(tables) > 1
    for table in tables:
        head, *body = table.splitlines()
        assert len(head) <= 100
        place = head.index("not arrived")
        assert all(line[place - 1] == " " and line[place] != " " for line in body)
    heads = " ".join(table.splitlines()[0] for table in tables)
    assert all(store.metrics()[name].axis in heads for name in store.metrics())
    assert "crc_failed" in "\n".join(lines) or "source_unfit" in "\n".join(lines)
    wide = list(results_lines(store, ["psnr"], 1000))
    assert len([line for line in wide if line.startswith("channel")]) == 1
    assert main(["results", str(RUN), "--metric", "psnr"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["results", "nowhere"], "nowhere"),
        (["results", str(RUN), "--metric", "psnt"], "--metric: not measured, got psnt, expected one of "),
        (["check", "nowhere.yaml"], "no such file"),
        (["list", "chanels"], "Did you mean channels?"),
    ],
)
def test_what_is_wrong_is_said_on_stderr_and_stdout_stays_empty(words, said, capsys):
    assert main([*words, "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err


def test_values_that_json_has_not_are_null(capsys):
    say_json({"a": float("nan"), "b": (1, float("inf")), "c": Path("x"), "d": "\x1b[31mä" + 5000 * "x"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": None, "b": [1, None], "c": "x", "d": "\x1b[31mä" + 5000 * "x"}
    assert text.isascii()
    assert "\x1b" not in text


def test_the_document_has_every_key(capsys, tmp_path):
    """docs/json.md names what there is."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    results = answer(capsys, "results", str(RUN))
    check = answer(capsys, "check", write(tmp_path))
    lists = [answer(capsys, "list", what)[what][0] for what in LISTS if what != "scenarios"]
    found = [results, results["rows"][0], results["units"], check, check["uses"][0], check["units"], *lists]
    missing = {key for part in found for key in part if f"`{key}`" not in text}
    assert not missing


def test_help_answers_without_torch():
    code = (
        "import sys; from linksim.cli.commands import main; main(['--help']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


SWEPT = """
name: swept
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
channel: {kind: awgn}
bandwidth: {data_ratio: 1/6}
sweep: {snr_db: [-8, 12], bandwidth.data_ratio: [1/3, 1/6]}
schemes:
  - {kind: linear_analog, name: linear}
  - {kind: separation, name: BPG + LDPC, mcs: 6}
metrics: [psnr, ssim]
"""


def written(folder, *options):
    out = folder / "curves"
    assert main(["results", str(folder / "run"), "--compressai", str(out), *options]) == 0
    found = {path.name: json.loads(path.read_text()) for path in sorted(out.iterdir())}
    for path in out.iterdir():
        path.unlink()
    return found


def test_curves_as_compressai_has_them(tmp_path, capsys):
    """Bits per pixel are those of the streams that were sent; lost pictures are in the mean."""
    assert main(["simulate", write(tmp_path, SWEPT), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    files = written(tmp_path)
    names = [f"BPG-LDPC_awgn_{snr}-dB_{metric}.json" for snr in (-8, 12) for metric in ("psnr", "ssim")]
    assert sorted(files) == sorted(names)
    curve = files["BPG-LDPC_awgn_12-dB_psnr.json"]
    assert curve["name"] == "BPG + LDPC, awgn, 12 dB"
    records = list(ResultStore(tmp_path / "run").records())
    table = {
        (r["scheme"], r["metric"], r["snr_db"], r["bandwidth.data_ratio"]): r for r in rows(tmp_path / "run")
    }
    for i, ratio in enumerate(("1/6", "1/3")):
        sent = [
            r.info["bytes"]
            for r in records
            if r.key.point[0][1] == ratio and r.key.snr_db == 12 and "bytes" in r.info
        ]
        assert len(sent) == 2
        assert curve["results"]["bpp"][i] == pytest.approx(8 * sum(sent) / (2 * 64 * 64))
        row = table["BPG + LDPC", "psnr", "12", ratio]
        assert curve["results"]["psnr-rgb"][i] == pytest.approx(float(row["mean"]), rel=1e-5)
        assert curve["results"]["snr_db"][i] == 12
    assert files["BPG-LDPC_awgn_-8-dB_psnr.json"]["results"]["num_failures"] == [2, 2]
    uses = written(tmp_path, "--bpp", "uses", "--metric", "psnr")
    assert len(uses) == 4
    assert uses["BPG-LDPC_awgn_12-dB_psnr.json"]["results"]["bpp"] == [0.5, 1.0]
    assert uses["linear_awgn_12-dB_psnr.json"]["results"]["bpp"][0] > 0.5  # its side information
    assert all(len(set(map(len, curve["results"].values()))) == 1 for curve in uses.values())
    capsys.readouterr()


def rows(run):
    with (run / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_compressai_reads_what_is_written(tmp_path):
    """By its own reader of results."""
    plot = pytest.importorskip("compressai.utils.plot.__main__")
    assert main(["simulate", write(tmp_path, SWEPT), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    assert main(["results", str(tmp_path / "run"), "--compressai", str(tmp_path / "out")]) == 0
    file = tmp_path / "out" / "BPG-LDPC_awgn_12-dB_psnr.json"
    found, results = plot.parse_json_file(file, "psnr"), json.loads(file.read_text())["results"]
    assert found == {"name": "BPG + LDPC, awgn, 12 dB", "xs": results["bpp"], "ys": results["psnr-rgb"]}


def test_curves_without_bits_are_refused_in_one_message(tmp_path, capsys):
    text = SWEPT.replace("  - {kind: separation, name: BPG + LDPC, mcs: 6}\n", "")
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    capsys.readouterr()
    assert main(["results", str(tmp_path / "run"), "--compressai", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip()
    assert "bpp: nothing to write, got 8 rows without any, expected coded pictures" in message
    assert "--bpp uses" in message
    assert not (tmp_path / "out").exists()
