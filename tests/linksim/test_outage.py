"""Pictures that did not arrive: counted by cause, said before and after a run, beside a block error rate of 0."""

from __future__ import annotations

import csv

import pytest
from scipy.stats import beta, binomtest

from linksim.cli.commands import main
from linksim.results.statistics import error_interval, summarise
from linksim.run.arrivals import not_arrived
from tests.linksim.report_pages import data_of
from tests.linksim.test_statistics import record
from tests.linksim.tiny import TINY, write

UNFIT = (
    TINY.replace("mcs: 6", "mcs: 0")
    .replace("metrics: [psnr, ssim, ber, bler]", "metrics: [psnr, bler, outage]")
    .replace("  - {kind: rayleigh, coherence_symbols: 128, csi: {kind: lmmse, pilots_per_block: 2}}\n", "")
)


def lost(image: str, trial: int, state: str):
    return record(image, trial, 10.0, state=state, ber=(0 if state != "crc_failed" else 40, 100))


def counted(records):
    full = [
        __import__("dataclasses").replace(r, counts={**r.counts, "outage": (int(r.state != "ok"), 1)})
        for r in records
    ]
    return {row.metric: row for row in summarise(full)}


def test_nothing_fits_and_nobody_is_told_zero(tmp_path, capsys):
    """MCS 0 leaves 29 bytes, less than any stream of 64 x 64 pixels takes: the block error rate is 0, and nothing
    arrives. A check says so before, the run after it, results, report and ledger beside it."""
    file, out = write(tmp_path, UNFIT), tmp_path / "run"
    assert main(["check", file]) == 0
    said = capsys.readouterr().err
    assert (
        "warning: schemes.bpg on awgn: none of 2 fits: got 29 bytes for a stream, expected at least" in said
    )
    assert "source_unfit" in said
    assert main(["simulate", file, "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "not arrived: bpg on awgn: 8 of 8 did not arrive (8 source_unfit)" in said
    assert "linear" not in said
    rows = {(r["scheme"], r["snr_db"], r["metric"]): r for r in csv.DictReader((out / "results.csv").open())}
    assert float(rows["bpg", "14", "bler"]["mean"]) == 0
    for metric in ("outage", "outage_source_unfit"):
        row = rows["bpg", "14", metric]
        assert float(row["mean"]) == 1
        assert float(row["ci_low"]) == pytest.approx(0.05 ** (1 / 2), rel=1e-4), (
            "two pictures, not four frames"
        )
    assert float(rows["linear", "14", "outage"]["mean"]) == 0
    assert float(rows["linear", "14", "outage"]["ci_high"]) == pytest.approx(1 - 0.05 ** (1 / 4), rel=1e-4)
    assert ("linear", "14", "outage_source_unfit") not in rows
    data = data_of((out / "report.html").read_text())
    bpg = [s["name"] for s in data["schemes"]].index("bpg")
    assert {tuple(row[8:10]) for row in data["rows"]["outage"] if row[1] == bpg} == {(0, 4)}, "arrived, lost"
    assert {row[13][0][1] for row in data["rows"]["outage"] if row[1] == bpg} == {4}
    assert data["states"][data["rows"]["outage_source_unfit"][0][13][0][0]] == "source_unfit"
    assert main(["plot", str(out), "--ledger"]) == 0
    ledger = list(csv.DictReader(capsys.readouterr().out.splitlines()[:-1]))
    assert {r["outage"] for r in ledger if r["scheme"] == "bpg"} == {"1"}
    assert {r["outage"] for r in ledger if r["scheme"] == "linear"} == {"0"}
    for metric in ("outage", "outage_source_unfit"):
        assert main(["plot", str(out), "--metric", metric]) == 0


def test_some_that_do_not_fit_and_some_snrs(tmp_path, capsys):
    """Adaptive: the SNRs at which nothing fits are named; what fits is not warned of."""
    text = UNFIT.replace("mcs: 0", "mcs: adaptive").replace("snr_db: [2, 14]", "snr_db: [-14, -12, 14]")
    assert main(["check", write(tmp_path, text)]) == 0
    assert "at -14, -12 dB." in capsys.readouterr().err
    assert main(["check", write(tmp_path, TINY)]) == 0
    assert "warning" not in capsys.readouterr().err


def test_shares_by_cause_add_up_and_have_intervals_of_what_is_independent():
    """20 pictures twice: CRCs fail by chance, frame by frame; what does not fit is a matter of the picture."""
    frames = [
        lost(f"i{i}", t, "crc_failed" if (i, t) in ((3, 0), (5, 1), (7, 0)) else "ok")
        for i in range(20)
        for t in (0, 1)
    ]
    rows = counted(frames)
    exact = binomtest(3, 40).proportion_ci(0.95, "exact")
    assert (rows["outage"].ci_low, rows["outage"].ci_high) == pytest.approx((exact.low, exact.high))
    unfit = [lost(f"i{i}", t, "source_unfit") for i in (0, 1) for t in (0, 1)]
    rows = counted([r for r in frames if r.key.image not in ("i0", "i1")] + unfit)
    assert rows["outage"].mean == 7 / 40
    assert rows["outage_source_unfit"].mean == 4 / 40
    assert rows["outage_crc_failed"].mean == 3 / 40
    assert rows["outage"].causes == (("crc_failed", 3), ("source_unfit", 4))
    exact = binomtest(2, 20).proportion_ci(0.95, "exact")
    unfit_row = rows["outage_source_unfit"]
    assert (unfit_row.ci_low, unfit_row.ci_high) == pytest.approx((exact.low, exact.high))
    assert rows["bler"].mean == 3 / 40


def test_interval_of_a_broken_count_lies_between_its_neighbours():
    low, high = error_interval(2.5, 20, 0.95)
    assert (low, high) == pytest.approx((beta.ppf(0.025, 2.5, 18.5), beta.ppf(0.975, 3.5, 17.5)))
    assert error_interval(2, 20, 0.95)[0] < low < error_interval(3, 20, 0.95)[0]


def test_what_the_block_error_rate_shows_is_not_said_again():
    assert not_arrived([lost("a", 0, "crc_failed"), lost("a", 1, "ok")]) == []
    assert "2 of 2" in not_arrived([lost("a", 0, "crc_failed"), lost("b", 0, "crc_failed")])[0]
    assert "1 parse_failed" in not_arrived([lost("a", 0, "parse_failed"), lost("b", 0, "ok")])[0]
