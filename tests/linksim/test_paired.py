"""Paired differences: what is compared with what, their intervals, the command and the report."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from linksim.cli.commands import main
from linksim.report.figures import difference_figure
from linksim.report.runs import load_runs
from linksim.results.paired import differences, reference_of
from linksim.results.records import Record, UnitKey
from linksim.results.store import RunFolderError
from linksim.scenario.files import ScenarioError, load_scenario
from tests.linksim.report_pages import data_of
from tests.linksim.tiny import write

SCENARIO = {
    "schemes": [{"name": "a"}, {"name": "b"}],
    "sweep": {"fields": {"channel.csi.kind": ["perfect", "ls"], "channel.model.speed_mps": [1.0, 30.0]}},
}


def unit(scheme: str, image: int, trial: int, value: float, channel: str = "c", kind: str = "ls") -> Record:
    key = UnitKey(channel, scheme, (("channel.csi.kind", kind),), 5.0, f"{image}", trial)
    return Record(key, 1, "ok", {"psnr": value}, {"ber": (int(value), 100)}, 10, 0, 0, 0, 100, 0.1)


def test_names_of_what_is_compared_with():
    def found(name):
        return reference_of(name, SCENARIO, ["c", "d"], "--against")

    assert found("a") == ("scheme", "a")
    assert found("d") == ("channel", "d")
    assert found("channel.csi.kind=ls") == ("channel.csi.kind", "ls")
    assert found("channel.model.speed_mps=30") == ("channel.model.speed_mps", 30.0)
    assert found({"a": "b"}) == {"a": "b"}
    with pytest.raises(
        RunFolderError, match="--against: nothing to compare with, got x, expected one of channel"
    ):
        found("x")
    with pytest.raises(RunFolderError, match="--against: no such scheme, got x, expected one of a, b"):
        found({"a": "x"})
    with pytest.raises(RunFolderError, match="got c, expected one of"):
        reference_of("c", SCENARIO, ["c"], "--against")


def test_the_spread_between_pictures_cancels():
    """Pictures between 15 and 35 dB, b better by .3 dB ± .1: the curves coincide, the difference does not."""
    rng = np.random.default_rng(1)
    base = np.linspace(15, 35, 12)
    gains = 0.3 + 0.1 * rng.standard_normal((12, 2))
    units = [unit("a", i, t, base[i]) for i in range(12) for t in range(2)]
    units += [unit("b", i, t, base[i] + gains[i, t]) for i in range(12) for t in range(2)]
    [row] = differences(units, "psnr", ("scheme", "a"), 0.95, 2000)
    assert (row.scheme, row.num_images, row.num_trials) == ("b", 12, 2)
    assert row.mean == pytest.approx(gains.mean())
    assert 0.2 < row.ci_low < row.mean < row.ci_high < 0.4
    assert [r.scheme for r in differences(units, "psnr", {"b": "a"}, 0.95, 200)] == ["b"]
    assert differences(units, "psnr", {"a": "z"}, 0.95, 200) == []
    both = differences(units, "psnr", ("scheme", "a"), 0.95, 200, with_reference=True)
    assert [(r.scheme, r.mean == 0) for r in both] == [("a", True), ("b", False)], "a line of its own colour"
    assert differences(units[:24], "psnr", ("scheme", "a"), 0.95, 200, with_reference=True) == []


def test_channels_and_swept_values_are_compared_too():
    units = [unit("a", i, 0, 20 + i + gain, channel=c, kind=k)
             for i in range(3) for c, k, gain in (("c", "ls", 0), ("d", "ls", 2), ("c", "perfect", 5))]  # fmt: skip
    [row] = differences(units, "psnr", ("channel", "c"), 0.95, 200)
    assert (row.channel, row.mean, row.ci_low) == ("d", 2, 2)
    [row] = differences(units, "psnr", ("channel.csi.kind", "perfect"), 0.95, 200)
    assert (row.point, row.mean) == ((("channel.csi.kind", "ls"),), -5)
    [rates] = differences(units, "ber", ("channel", "c"), 0.95, 200)
    assert rates.mean == pytest.approx(0.02)


def test_shares_and_rates_that_never_differ_leave_a_limit():
    """Six pictures right with both schemes: as none of six, to both sides; the reference itself is 0 always, and of
    values without limits nothing follows. Of block errors every frame counts, 12 here."""

    def right(scheme, i, t, value):
        made = unit(scheme, i, t, 0)
        return replace(made, values={"right": value, "psnr": 20.0}, counts={"bler": (0, 1)})

    units = [right(scheme, i, t, 1.0) for scheme in "ab" for i in range(6) for t in range(2)]
    [row] = differences(units, "right", ("scheme", "a"), 0.95, 200, is_share=True)
    most = 1 - 0.05 ** (1 / 6)
    assert (row.mean, row.ci_low, row.ci_high) == (0, pytest.approx(-most), pytest.approx(most))
    [rate] = differences(units, "bler", ("scheme", "a"), 0.95, 200)
    assert (rate.ci_low, rate.ci_high) == pytest.approx((0.05 ** (1 / 12) - 1, 1 - 0.05 ** (1 / 12)))
    [plain] = differences(units, "psnr", ("scheme", "a"), 0.95, 200)
    assert (plain.ci_low, plain.ci_high) == (0, 0)
    both = differences(units, "right", ("scheme", "a"), 0.95, 200, with_reference=True, is_share=True)
    assert [(r.scheme, r.ci_high > 0) for r in both] == [("a", False), ("b", True)]
    units[0] = right("a", 0, 0, 0.0)
    [row] = differences(units, "right", ("scheme", "a"), 0.95, 200, is_share=True)
    assert row.mean == pytest.approx(1 / 12)
    assert -1 <= row.ci_low < row.mean < row.ci_high <= 1


TEXT = """
name: pairs
images: {kind: skimage, names: [coffee, rocket, chelsea], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: rayleigh, coherence_symbols: 64}
sweep: {snr_db: [5, 15], trials: 2}
schemes:
  - {kind: linear_analog, name: in order, interleave: false}
  - {kind: linear_analog, name: interleaved}
  - {kind: uncoded, name: qpsk, bits_per_symbol: 2}
metrics: [psnr, ber]
statistics: {against: in order}
"""


def test_a_scenario_asks_for_differences_and_gets_them(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, TEXT), "--out", str(out)]) == 0
    assert (out / "figures" / "psnr_difference_vs_snr_db.png").exists()
    assert not (out / "figures" / "ber_difference_vs_snr_db.png").exists(), "an analog scheme has no bits"
    shown = {m["key"]: m["title"] for m in data_of((out / "report.html").read_text())["metrics"]}
    assert shown["psnr_difference"] == "PSNR, difference to in order"
    assert "ber_difference" not in shown
    [run] = load_runs([out])
    figure = difference_figure(run, "psnr")
    label = figure.axes[0].get_ylabel().replace("\n", " ")
    assert label == "PSNR [dB], difference to in order (higher is better)"
    assert any(np.allclose(line.get_ydata(), 0) for line in figure.axes[0].get_lines()), (
        "the line of no difference"
    )
    capsys.readouterr()
    again = tmp_path / "again.png"
    assert main(["plot", str(out), "--metric", "psnr", "--against", "interleaved", "--out", str(again)]) == 0
    assert again.exists()
    capsys.readouterr()
    assert main(["plot", str(out), "--metric", "psnr", "--against", "nobody"]) == 2
    assert "--against: nothing to compare with, got nobody" in capsys.readouterr().err
    assert main(["plot", str(out), "--ledger", "--against", "in order"]) == 2
    shutil.copytree(out, tmp_path / "twin")
    assert main(["plot", str(out), str(tmp_path / "twin"), "--metric", "psnr", "--against", "in order"]) == 2
    assert "--against: got 2 runs, expected one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("nobody", "statistics.against: got 'nobody', expected one of in order, interleaved"),
        ("{interleaved: nobody}", "statistics.against: got 'nobody'"),
        ("rayleigh", "statistics.against: got 'rayleigh'"),
    ],
)
def test_unknown_references_are_refused(against, message, tmp_path):
    path = write(tmp_path, TEXT.replace("against: in order", f"against: {against}"))
    with pytest.raises(ScenarioError, match=message):
        load_scenario(path)
