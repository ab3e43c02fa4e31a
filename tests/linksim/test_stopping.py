"""Stopping rules: points end where the rule says so, whoever computes them and in whatever order."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student_t

import linksim
from linksim.cli.commands import main
from linksim.results.records import Record, UnitKey
from linksim.results.stopping import Ended, Rule, Tally, ends, rule_of
from linksim.results.store import ResultStore

RULE = Rule(chunk=10, max_trials=100, metric="bler", confidence=0.95, images=1)


def unit(
    trial: int, wrong: int = 0, *, snr_db: float = 0.0, image: str = "none", psnr: float = 0.0
) -> Record:
    """A record that is made up: the rule must not care where it comes from."""
    key = UnitKey("awgn", "code", (), snr_db, image, trial)
    counts = {"bler": (wrong, 1), "ber": (7 * wrong, 100)}
    return Record(key, 1, "ok", {"psnr": psnr}, counts, 64, 0, 0, 0, 0, seconds=0.5)


def ended(rule: Rule, records: Sequence[Record]) -> Ended | None:
    tally = Tally(rule)
    for record in records:
        tally.add(record)
    return tally.ended()


def test_block_errors_end_a_point_at_the_first_bound_that_has_them() -> None:
    every_seventh = [unit(trial, wrong=trial % 7 == 6) for trial in range(100)]  # 6, 13, 20, ...
    assert ended(replace(RULE, block_errors=3), every_seventh) == Ended(30, "block_errors", 4 / 30)
    assert ended(replace(RULE, block_errors=4), every_seventh) == Ended(30, "block_errors", 4 / 30)
    assert ended(replace(RULE, block_errors=5), every_seventh) == Ended(40, "block_errors", 5 / 40)
    assert ended(replace(RULE, block_errors=99), every_seventh) == Ended(100, "max_trials", 14 / 100)


def test_nothing_is_decided_within_a_chunk_or_before_a_gap() -> None:
    rule = replace(RULE, block_errors=1)
    wrong = [unit(trial, wrong=1) for trial in range(20)]
    assert ended(rule, wrong[:9]) is None
    assert ended(rule, wrong[1:]) is None  # trial 0 is missing
    assert ended(rule, wrong[:10]) == Ended(10, "block_errors", 1.0)
    two = replace(rule, images=2)
    assert ended(two, wrong) is None  # of one picture of two
    both = [*wrong, *(unit(trial, wrong=0, image="other") for trial in range(10))]
    assert ended(two, both) == Ended(10, "block_errors", 0.5)


def test_the_end_does_not_depend_on_the_order_of_records_or_on_later_ones() -> None:
    records = [unit(trial, wrong=trial % 9 == 0) for trial in range(100)]
    rule = replace(RULE, block_errors=5)
    expected = ended(rule, records)
    assert expected == Ended(40, "block_errors", 5 / 40)
    random.Random(3).shuffle(records)
    assert ended(rule, records) == expected


@pytest.mark.parametrize("metric", ["bler", "ber", "psnr"])
def test_the_interval_that_decides_is_students_t_over_trials(metric: str) -> None:
    """Against the mean and standard deviation of trials, by scipy: 400 trials of two pictures."""
    rng = np.random.default_rng(5)
    wrong = rng.random((400, 2)) < 0.3
    noise = rng.normal(30, 2, (400, 2))
    records = [
        unit(trial, int(wrong[trial, i]), image=f"{i}", psnr=noise[trial, i])
        for trial in range(400)
        for i in range(2)
    ]
    values = {"bler": wrong.mean(1), "ber": 0.07 * wrong.mean(1), "psnr": noise.mean(1)}[metric]

    def half(count: int) -> float:
        error = values[:count].std(ddof=1) / math.sqrt(count)
        weight = {"bler": 2 * count, "ber": 200 * count, "psnr": 0}[metric]
        if weight:  # at least that of independent events
            rate = values[:count].mean()
            error = max(error, math.sqrt(rate * (1 - rate) / weight))
        return float(student_t.isf(0.025, count - 1) * error)

    rule = Rule(chunk=20, max_trials=400, metric=metric, confidence=0.95, images=2)
    target = half(200) * 1.0001
    bounds = range(40, 401, 20)  # 20 trials are too few
    first = next(n for n in bounds if half(n) <= target)
    found = ended(replace(rule, absolute_ci=target), records)
    assert found is not None
    assert (found.trials, found.reason) == (first, "absolute_ci")
    assert found.value == pytest.approx(values[:first].mean())
    share = half(first) / values[:first].mean() * 1.0001
    relative = ended(replace(rule, relative_ci=share), records)
    assert relative is not None
    assert relative.trials == next(n for n in bounds if half(n) <= share * values[:n].mean())


def test_a_rate_without_errors_or_without_successes_has_no_width_of_zero() -> None:
    rule = replace(RULE, relative_ci=0.1)
    assert ended(rule, [unit(trial) for trial in range(100)]) == Ended(100, "max_trials", 0.0)
    all_wrong = ended(rule, [unit(trial, wrong=1) for trial in range(100)])
    # n failures in a row leave [0.05^(1/n), 1]: below a tenth from n = 29 on
    assert all_wrong == Ended(30, "relative_ci", 1.0)


def test_values_without_spread_end_nothing_before_thirty_trials() -> None:
    """A digital scheme above its threshold shows the same picture again and again, until it does not."""
    rule = replace(RULE, metric="psnr", absolute_ci=0.1, chunk=2)
    assert ended(rule, [unit(trial, psnr=30.0) for trial in range(28)]) is None
    assert ended(rule, [unit(trial, psnr=30.0) for trial in range(100)]) == Ended(30, "absolute_ci", 30.0)
    every_other = [unit(trial, wrong=i, image=f"{i}") for trial in range(100) for i in (0, 1)]
    two = replace(RULE, images=2, relative_ci=0.2, chunk=2)  # one of two, always: no spread over trials
    found = ended(two, every_other)
    assert found is not None
    assert (
        found.trials == 100
        or student_t.isf(0.025, found.trials - 1) * 0.5 / math.sqrt(2 * found.trials) <= 0.1
    )


def test_no_error_is_known_to_the_limit_that_it_leaves() -> None:
    rule = replace(RULE, absolute_ci=0.05)
    assert ended(rule, [unit(trial) for trial in range(100)]) == Ended(
        60, "absolute_ci", 0.0
    )  # 1 - .05^(1/60)


def test_intervals_of_a_rule_cover_what_they_say() -> None:
    """400 studies of a rate of .3 that end by a relative interval of .2, two pictures, chunks of 5: at least
    91% of the intervals at the end hold the truth (nominal 95%, at a time that the data chose).
    """
    rng = np.random.default_rng(2)
    rule = Rule(chunk=5, max_trials=400, metric="bler", confidence=0.95, images=2, relative_ci=0.2)
    held = 0
    for _ in range(400):
        wrong = rng.random((400, 2)) < 0.3
        tally = Tally(rule)
        for trial in range(400):
            for i in (0, 1):
                tally.add(unit(trial, int(wrong[trial, i]), image=f"{i}"))
        found = tally.ended()
        assert found is not None
        held += abs(found.value - 0.3) <= found.high - found.value
    assert held >= 0.91 * 400


def test_a_rule_by_lpips_finds_its_values() -> None:
    header: dict[str, Any] = {
        "scenario": {
            "stop": {"metric": "lpips", "max_trials": 60, "absolute_ci": 0.1},
            "sweep": {"trials": 10},
            "statistics": {"confidence": 0.95},
        },
        "images": {"none": []},
    }
    rule = rule_of(header)
    assert rule is not None
    records = [replace(unit(trial), values={"lpips_alex": 0.3}) for trial in range(60)]
    assert ended(rule, records) == Ended(30, "absolute_ci", 0.3)


def test_a_scheme_without_the_metric_goes_on_to_the_most_trials() -> None:
    analog = [replace(unit(trial), counts={}) for trial in range(100)]
    found = ended(replace(RULE, block_errors=1, relative_ci=0.5), analog)
    assert found is not None
    assert (found.trials, found.reason) == (100, "max_trials")


def test_time_ends_a_point() -> None:
    assert ended(replace(RULE, seconds=14.0), [unit(trial) for trial in range(100)]) == Ended(
        30, "seconds", 0.0
    )


def test_snrs_above_a_rate_that_is_low_enough_are_not_run() -> None:
    rule = replace(RULE, block_errors=5, end_below=0.15)
    records = [unit(t, wrong=1, snr_db=0.0) for t in range(10)]
    records += [unit(t, wrong=t % 20 == 0, snr_db=1.0) for t in range(100)]
    records += [unit(t, snr_db=2.0) for t in range(100)]  # of an older rule
    found = ends(records, rule, [0.0, 1.0, 2.0, 3.0])
    assert {place[3]: (end.trials, end.reason) for place, end in found.items()} == {
        0.0: (10, "block_errors"),
        1.0: (90, "block_errors"),  # the fifth is in trial 80
        2.0: (0, "end_below"),
        3.0: (0, "end_below"),
    }


# -------------------------------------------------------------------------------------------------- runs

SCENARIO: dict[str, Any] = {
    "name": "stopped",
    "seed": 2,
    "images": "none",
    "bandwidth": {"data_uses": 128},
    "channels": [{"kind": "awgn"}],
    "sweep": {"snr_db": [-2, 1, 3, 4], "trials": 20},
    "schemes": [
        {"kind": "separation", "name": "LDPC", "mcs": 4},
        {"kind": "uncoded", "name": "QPSK", "bits_per_symbol": 2},
    ],
    "metrics": ["bler", "ber"],
    "batch_size": 20,
    "stop": {"block_errors": 8, "max_trials": 60},
}


def run(folder: Path, **changed: Any) -> dict[tuple[str, float], dict[str, str]]:
    """Rows of bler, by scheme and SNR."""
    linksim.simulate({**SCENARIO, **changed}, out=folder, progress=False)
    with (folder / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "bler"]
    return {(row["scheme"], float(row["snr_db"])): row for row in rows}


def test_points_run_until_the_rule_holds(tmp_path: Path) -> None:
    rows = run(tmp_path / "a")
    assert set(rows) == {(scheme, snr) for scheme in ("LDPC", "QPSK") for snr in (-2.0, 1.0, 3.0, 4.0)}
    for row in rows.values():
        trials, wrong = int(row["num_trials"]), float(row["mean"]) * int(row["num_trials"])
        assert trials % 20 == 0
        assert row["stopped_by"] == ("block_errors" if wrong >= 8 else "max_trials")
        assert trials == 60 or row["stopped_by"] == "block_errors"
    assert {row["stopped_by"] for row in rows.values()} == {"block_errors", "max_trials"}
    assert rows["QPSK", -2.0]["num_trials"] == "20"


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "a")
    whole = (tmp_path / "a" / "results.csv").read_bytes()
    lines = (tmp_path / "a" / "records.jsonl").read_bytes().splitlines(keepends=True)
    for keep in (1, 25, len(lines) // 2, len(lines) - 3):
        (tmp_path / "a" / "records.jsonl").write_bytes(b"".join(lines[:keep]))
        run(tmp_path / "a")
        assert (tmp_path / "a" / "results.csv").read_bytes() == whole
    random.Random(1).shuffle(lines)  # as other processes would have ended
    (tmp_path / "a" / "records.jsonl").write_bytes(b"".join(lines))
    run(tmp_path / "a")
    assert (tmp_path / "a" / "results.csv").read_bytes() == whole


def test_a_rule_may_be_tightened_and_loosened(tmp_path: Path) -> None:
    made = {}
    for errors in (3, 25):
        run(tmp_path / f"{errors}", stop={"block_errors": errors, "max_trials": 60})
        made[errors] = (tmp_path / f"{errors}" / "results.csv").read_bytes()
    assert made[3] != made[25]
    grown = tmp_path / "grown"
    for errors in (3, 25, 3, 25):
        run(grown, stop={"block_errors": errors, "max_trials": 60})
        assert (grown / "results.csv").read_bytes() == made[errors]
    assert not (grown / "former").exists()  # trials beyond the end of a point stay where they are
    keys = [record.key for record in ResultStore(grown).stored_records()]
    assert len(keys) == len(set(keys))


def test_what_is_above_the_last_snr_is_absent(tmp_path: Path) -> None:
    rows = run(tmp_path / "a", stop={"block_errors": 8, "max_trials": 40, "end_below": 0.1})
    low = next(snr for scheme, snr in rows if scheme == "LDPC" and float(rows[scheme, snr]["mean"]) == 0)
    assert low < 4.0  # there is something above it
    assert {snr for scheme, snr in rows if scheme == "LDPC"} == {s for s in (-2.0, 1.0, 3.0, 4.0) if s <= low}
    assert str(linksim.Run(tmp_path / "a")).count("Incomplete") == 0
    done, asked = (
        int(n) for n in str(linksim.Run(tmp_path / "a")).split(";")[-1].split(" units")[0].split(" of ")
    )
    assert done == asked


def test_pictures_are_run_until_their_metric_is_known(tmp_path: Path) -> None:
    scenario = {
        **SCENARIO,
        "images": {"kind": "skimage", "names": ["astronaut", "coffee"], "crop": 64},
        "bandwidth": {"data_ratio": "1/12"},
        "schemes": [{"kind": "linear_analog", "name": "linear"}],
        "sweep": {"snr_db": [0, 20], "trials": 10},
        "metrics": ["psnr"],
        "stop": {"absolute_ci": 0.02, "max_trials": 60},
    }
    linksim.simulate(scenario, out=tmp_path / "p", progress=False)
    with (tmp_path / "p" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["num_images"] for row in rows] == ["2", "2"]
    units = list(ResultStore(tmp_path / "p").records())
    for row in rows:
        own = [r for r in units if r.key.snr_db == float(row["snr_db"])]
        count = int(row["num_trials"])
        means = [np.mean([r.values["psnr"] for r in own if r.key.trial == t]) for t in range(count)]
        half = student_t.isf(0.025, count - 1) * np.std(means, ddof=1) / math.sqrt(count)
        assert (half <= 0.02) == (row["stopped_by"] == "absolute_ci")
        assert count >= 30


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ({"max_trials": 60}, "stop: got max_trials alone"),
        ({"max_trials": 20, "block_errors": 3}, "stop.max_trials: got 20"),
        ({"max_trials": 60, "block_errors": 3, "metric": "psnr"}, "stop.metric: got psnr"),
        ({"max_trials": 60, "end_below": 0.1}, "stop: got end_below alone"),
        ({"max_trials": 60, "relative_ci": 1.5}, "stop.relative_ci"),
        ({"max_trials": 60, "block_errors": 3, "end_below": 0.01}, "stop.end_below: never known"),
    ],
)
def test_rules_that_make_no_sense_are_refused(stop: dict[str, Any], said: str) -> None:
    with pytest.raises(linksim.ScenarioError) as problem:
        linksim.check({**SCENARIO, "stop": stop})
    assert said in str(problem.value)
    assert "expected" in str(problem.value)


def test_an_end_over_snr_is_of_fixed_mcs() -> None:
    adaptive = {"kind": "separation", "name": "A", "policy": "target_bler"}
    stop = {"max_trials": 60, "block_errors": 3, "end_below": 0.2}
    with pytest.raises(linksim.ScenarioError, match=r"stop\.end_below: ends too early"):
        linksim.check({**SCENARIO, "schemes": [adaptive], "stop": stop})


def test_a_further_metric_is_measured_at_all_points(tmp_path: Path) -> None:
    """Also those above one that is not finished, and trials beyond an end."""
    schemes = SCENARIO["schemes"][:1]
    run(tmp_path / "a", schemes=schemes, stop={"block_errors": 25, "max_trials": 40})
    run(tmp_path / "a", schemes=schemes, stop={"block_errors": 3, "max_trials": 40})
    before = {record.key for record in ResultStore(tmp_path / "a").stored_records()}
    linksim.Run(tmp_path / "a").measure("papr_db")
    after = list(ResultStore(tmp_path / "a").stored_records())
    assert {record.key for record in after} == before
    assert all("papr_db" in record.values for record in after)


def test_results_know_that_a_run_is_complete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "a")
    assert main(["results", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "(complete)" in said
    assert "stopped by" in said


def test_block_errors_need_the_metric() -> None:
    with pytest.raises(linksim.ScenarioError, match=r"stop\.block_errors: got it without the metric bler"):
        linksim.check({**SCENARIO, "metrics": ["ber"]})


def test_sets_have_no_value_of_a_trial() -> None:
    scenario = {
        **SCENARIO,
        "images": {"kind": "skimage", "crop": 64},
        "bandwidth": {"data_ratio": "1/12"},
        "metrics": ["kid_lite2", "bler"],
        "stop": {"max_trials": 60, "relative_ci": 0.1},
    }
    with pytest.raises(linksim.ScenarioError, match=r"stop\.metric: has no value of a trial"):
        linksim.check(scenario)


def test_check_says_what_the_rule_is() -> None:
    text = str(linksim.check(SCENARIO))
    assert "units: at most 480" in text
    assert "stop: asked after every 20 trials of a point; 8 block errors, or 60 trials" in text
