"""How benchmarks/kodak_table.py judges: separation at its best for each metric, intervals over pictures of differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.kodak_goals import UNSEEN, Goal, Table, Value, goals
from benchmarks.kodak_table import by_picture, values
from linksim.cli.commands import main
from linksim.results.store import ResultStore
from tests.linksim.tiny import TINY, write

PICTURES = [f"p{i}" for i in range(24)]
SPREAD = np.random.default_rng(3).normal(0, 3.0, 24)  # between pictures, far above what schemes differ by


def table(means: dict[tuple[str, str, str, float, str], float], noise: float = 0.05) -> Table:
    """Pictures that differ by decibels, schemes by their means."""
    rng, pictures, found = np.random.default_rng(5), {}, []
    for place, mean in means.items():
        scheme, channel, cbr, snr_db, metric = place
        size = mean / 20 if metric == "psnr" else mean * 0.1
        values = mean + size * SPREAD + size * noise * rng.normal(size=24)
        values += mean - values.mean()
        pictures[place] = dict(zip(PICTURES, values.tolist(), strict=True))
        kind = "separation" if scheme.startswith("BPG") else "learned"
        found.append(Value(kind, scheme, channel, cbr, snr_db, metric, mean, mean - 1, mean + 1, False))
    return Table(found, pictures)


def rates(**schemes: dict[str, float]) -> Table:
    """At CBR 1/96 and 1 dB."""
    return table(
        {
            (scheme.replace("_", " "), "awgn", "1/96", 1, metric): value
            for scheme, measures in schemes.items()
            for metric, value in measures.items()
        }
    )


def named(found: list[Goal], words: str) -> Goal:
    (goal,) = [g for g in found if words in g.goal]
    return goal


NOTHING = Table([])
BETTER = {"kid_lite2": 0.1, "swd": 0.1, "niqe": 3.0, "haarpsi": 0.6}
WORSE = {"kid_lite2": 0.2, "swd": 0.2, "niqe": 4.0, "haarpsi": 0.5}


def test_separation_stands_at_its_best_for_each_metric():
    """Another opponent is ahead in each; a goal against the first alone would be met."""
    of_rates = rates(
        fidelity={"psnr": 23.5, "lpips_squeeze": 0.3},
        realism={"psnr": 23.0, "lpips_squeeze": 0.27, **BETTER},
        BPG={"psnr": 24.4, "lpips_squeeze": 0.5, **WORSE},
        BPG_2={"psnr": 24.6, "lpips_squeeze": 0.4, **WORSE},
    )
    found = list(goals(of_rates, NOTHING, NOTHING))
    behind = named(found, "PSNR behind separation at 1/96, 1 dB")
    assert behind.got == pytest.approx(1.1)
    assert not behind.met
    lpips = named(found, "LPIPS of realism")
    assert lpips.got == pytest.approx(0.27 / 0.4)
    assert not lpips.met


def test_intervals_are_of_differences_on_the_same_pictures():
    """The means of a scheme spread by a decibel and more, their differences by hundredths."""
    of_rates = rates(
        fidelity={"psnr": 23.5}, realism={"lpips_squeeze": 0.2}, BPG={"psnr": 24.4, "lpips_squeeze": 0.4}
    )
    found = list(goals(of_rates, NOTHING, NOTHING))
    behind = named(found, "PSNR behind")
    assert behind.ci_low < behind.got < behind.ci_high
    assert behind.ci_high - behind.ci_low < 0.2
    assert behind.met
    lpips = named(found, "LPIPS of realism")
    assert lpips.ci_low < 0.5 < lpips.ci_high
    assert lpips.ci_high - lpips.ci_low < 0.05
    other = dict(of_rates.pictures)
    place = ("BPG", "awgn", "1/96", 1, "psnr")
    other[place] = dict(zip(PICTURES, [*other[place].values()][::-1], strict=True))
    unpaired = named(list(goals(Table(of_rates.values, other), NOTHING, NOTHING)), "PSNR behind")
    assert unpaired.ci_high - unpaired.ci_low > 1, "pictures in another order are no pairs"


@pytest.mark.parametrize("worse", UNSEEN)
def test_unseen_measures_are_counted_in_their_direction(worse):
    """All four better, but for one that is replaced by a value that is worse."""
    of_rates = rates(
        realism={
            "lpips_squeeze": 0.2,
            **BETTER,
            worse: {**WORSE, "haarpsi": 0.4}[worse] * (0.9 if worse == "haarpsi" else 1.1),
        },
        BPG={"lpips_squeeze": 0.4, **WORSE},
    )
    goal = named(list(goals(of_rates, NOTHING, NOTHING)), "unseen measures on which realism")
    assert (goal.got, goal.wanted, goal.met) == (1, 2, True)
    assert goal.facts()["ci_low"] is None
    assert math.isnan(goal.ci_low)


def test_points_that_were_not_run_are_left_out():
    of_rates = rates(fidelity={"psnr": 23.5}, BPG={"psnr": 24.4})
    assert [g.goal for g in goals(of_rates, NOTHING, NOTHING)] == [
        "PSNR behind separation at 1/96, 1 dB [dB]"
    ]


def test_fading_and_told_goals_have_their_sign():
    of_fading = table(
        {
            ("fidelity", "awgn", "1/96", 10, "psnr"): 25.0,
            ("fidelity", "tdl-c ls", "1/96", 10, "psnr"): 23.6,
            ("fidelity", "one fade", "1/96", 10, "psnr"): 24.5,
            ("realism", "one fade", "1/96", 10, "lpips_squeeze"): 0.6,
            ("BPG", "one fade", "1/96", 10, "psnr"): 23.6,
            ("BPG", "one fade", "1/96", 10, "lpips_squeeze"): 0.5,
        }
    )
    of_told = table(
        {
            ("fidelity", "told the truth", "1/96", 4, "psnr"): 24.0,
            ("fidelity", "told 3 dB too high", "1/96", 4, "psnr"): 21.0,
        }
    )
    found = list(goals(NOTHING, of_fading, of_told))
    assert {g.goal.split(" ")[0]: g.met for g in found if "behind" in g.goal} == {
        "psnr": True,
        "lpips_squeeze": False,
    }
    assert named(found, "OFDM").got == pytest.approx(1.4)
    assert not named(found, "told 3 dB").met


def test_values_of_pictures_come_from_the_records(tmp_path, capsys):
    """Of a run of two schemes, two trials: the mean over them of every picture, whose mean is that of the table."""
    path = write(tmp_path, TINY)
    assert main(["simulate", str(path), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    capsys.readouterr()
    store = ResultStore(tmp_path / "run")
    pictures, means = by_picture(store), list(values(store))
    psnr = [v for v in means if v.metric == "psnr"]
    assert psnr
    for value in psnr:
        place = (value.scheme, value.channel, value.cbr, value.snr_db, value.metric)
        assert np.mean([*pictures[place].values()]) == pytest.approx(value.mean)
