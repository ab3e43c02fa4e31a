"""The bundled link-adaptation table: curves that fall, thresholds in order and above capacity."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from linksim.build.channels import load_calibration
from linksim.cli.commands import main
from linksim.coding.calibration import Calibration, ChannelCalibration
from linksim.coding.mcs import ALL_MCS
from linksim.run.calibrate_channel import SNR_GRID_DB
from linksim.weights import zoo
from tests.linksim.tiny import write


@pytest.fixture(scope="module")
def table() -> Calibration:
    return Calibration.load(zoo.asset("mcs-calibration.json"))


def threshold(curve, share: float = 0.1) -> float:
    """SNR [dB] at which the measured block error rate falls to a share."""
    p = np.array(curve.errors) / curve.num_blocks
    return float(np.interp(-share, -p, curve.snr_db))


def awgn(table: Calibration) -> list[ChannelCalibration]:
    """The measurements on AWGN, but for the shortest blocks."""
    found = [c for c in table.channels if c.channel == {"kind": "awgn"} and c.num_uses >= 512]
    assert len(found) >= 2
    return found


def test_every_curve_falls_and_covers_its_waterfall(table):
    for channel in table.channels:
        every = 2 if "--every 2" in channel.command else 1  # the variants of the library
        assert [c.scheme for c in channel.curves] == list(ALL_MCS[::every])
        assert channel.curves[0].num_blocks >= (48 if every > 1 else 60)
        for curve in channel.curves:
            p = np.array(curve.errors) / curve.num_blocks
            assert np.all(np.diff(p) <= 0)
            assert np.all(np.diff(curve.snr_db) > 0)
            assert p[0] == 1 or curve.snr_db[0] == SNR_GRID_DB[0]  # one fade of sixty at the lowest SNR
            assert all(
                low <= q <= high for low, q, high in zip(curve.limits[0], p, curve.limits[1], strict=True)
            )


def test_awgn_thresholds_are_ordered_and_above_capacity(table):
    """In rising efficiency within a modulation; where two meet at nearly one rate, the larger with its lower
    code rate is up to half a decibel better, a whole one among short blocks, which lose more to capacity too.
    """
    for channel in awgn(table):
        short = channel.num_uses < 2000
        snr_db = np.array([threshold(c) for c in channel.curves])
        efficiency = np.array([c.scheme.efficiency for c in channel.curves])
        assert np.all(np.diff(snr_db) > (-1.2 if short else -0.6))
        for order in (2, 4, 6, 8):
            own = np.array([c.scheme.bits_per_symbol == order for c in channel.curves])
            assert np.all(np.diff(snr_db[own]) > 0)
        gap = snr_db - 10 * np.log10(2**efficiency - 1)
        assert np.all(gap > 0.2)
        limit = 5.0 if short else 2.7  # 256QAM without shaping is 1.5 dB from capacity, the code another
        assert np.all(gap < limit)


def test_awgn_waterfalls_are_steep(table):
    for channel in awgn(table):
        for curve in channel.curves:
            limit = 3.5 if channel.num_uses < 2000 else 1.6
            assert threshold(curve, 0.05) - threshold(curve, 0.95) < limit


def test_everything_is_known_of_every_measurement(table):
    assert {"sionna", "torch", "av", "numba"} <= set(table.versions)
    for channel in table.channels:
        assert "linksim calibrate" in channel.command
        assert f"--seed {channel.seed}" in channel.command
        assert channel.decoder == "layered, 50 iterations"


def test_calibration_with_nothing_to_measure_still_writes_its_table(table, tmp_path, capsys):
    out = tmp_path / "table.json"
    assert main(["calibrate", "quickstart", "--frames", "50", "--out", str(out)]) == 0
    assert load_calibration(out) == load_calibration(zoo.asset("mcs-calibration.json"))
    assert "0 MCS to measure" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("blocks", "policy", "said"),
    [
        (2, "best_quality", "measured with 2 frames per MCS, which tell no block error rate below 1 (95%)"),
        (
            48,
            "{policy: target_bler, target_bler: 0.01}",
            "none can keep a block error rate of 0.01; at least 49",
        ),
        (48, "best_quality", ""),
        (49, "{policy: target_bler, target_bler: 0.01}", ""),
    ],
)
def test_tables_of_few_frames_are_said_where_they_are_used(table, blocks, policy, said, tmp_path, caplog):
    def few(curve):
        errors = tuple(round(e * blocks / curve.num_blocks) for e in curve.errors)
        return curve.model_copy(update={"num_blocks": blocks, "errors": errors})

    channels = [
        c.model_copy(update={"curves": tuple(few(curve) for curve in c.curves)}) for c in table.channels
    ]
    table.model_copy(update={"channels": tuple(channels)}).save(tmp_path / "table.json")
    fields = policy.strip("{}") if ":" in policy else f"policy: {policy}"
    scheme = f"{{kind: separation, name: bpg, mcs: adaptive, calibration: table.json, {fields}}}"
    scenario = write(
        tmp_path,
        f"name: few\nimages: {{kind: skimage, names: [coffee], crop: 128}}\nbandwidth: {{data_ratio: 1/12}}\n"
        f"channel: {{kind: awgn}}\nsweep: {{snr_db: [6]}}\nschemes: [{scheme}]\nmetrics: [psnr]\n",
    )
    assert main(["check", scenario]) == 0
    assert (said in caplog.text) if said else ("frames per MCS" not in caplog.text)


def test_a_calibration_of_few_frames_says_what_it_cannot_tell(tmp_path, capsys):
    words = ["--frames", "2", "--seed", "77", "--every", "100"]
    scenario = write(
        tmp_path,
        "name: few\nimages: {kind: skimage, names: [coffee], crop: 64}\nbandwidth: {data_ratio: 1/12}\n"
        "channel: {kind: awgn}\nsweep: {snr_db: [6]}\nschemes: [{kind: uncoded, name: q, bits_per_symbol: 2}]\nmetrics: [ber]\n",
    )
    assert main(["calibrate", scenario, *words, "--out", str(tmp_path / "table.json")]) == 0
    assert "warning: 2 frames per MCS" in capsys.readouterr().err


def test_short_blocks_lose_more_the_shorter_they_are(table):
    """128 and 256 uses, 200 frames each: half of the blocks of an MCS are lost at a higher SNR than of 512, to within
    0.6 dB (the steps of transport block sizes), and half a decibel higher on average."""
    by_length = {c.num_uses: c for c in table.channels if c.channel == {"kind": "awgn"}}

    def halves(num_uses: int) -> np.ndarray:
        return np.array([threshold(curve, 0.5) for curve in by_length[num_uses].curves])

    rates = [c.scheme.rate < 0.8 for c in by_length[512].curves]
    for shorter, longer in ((128, 256), (256, 512), (512, 8192)):
        more = (halves(shorter) - halves(longer))[rates]
        assert more.min() > -0.6
        assert more.mean() > 0.2


def test_two_processes_that_save_a_table_leave_one_of_them_whole(table, tmp_path):
    """Each writes under a name of its own: a reader beside them never sees a part, nor a mixture of both."""
    path, begun = tmp_path / "table.json", tmp_path / "begun"
    small = table.model_copy(update={"channels": table.channels[:1]})
    code = (
        "import sys; from pathlib import Path; from linksim.coding.calibration import Calibration\n"
        "table = Calibration.load(Path(sys.argv[1])); Path(sys.argv[3]).touch()\n"
        "while Path(sys.argv[3]).exists(): table.save(Path(sys.argv[2]))"
    )
    for name, written in (("whole", table), ("small", small)):
        written.save(tmp_path / f"{name}.json")
    writers = []
    for name in ("whole", "small"):
        marks = (str(tmp_path / f"{name}.json"), str(path), f"{begun}-{name}")
        writers.append(subprocess.Popen([sys.executable, "-c", code, *marks]))
    try:
        seen, until = set(), time.monotonic() + 60
        while len(seen) < 2:
            assert time.monotonic() < until
            if path.is_file():
                seen.add(len(Calibration.load(path).channels))
        for _ in range(20):
            seen.add(len(Calibration.load(path).channels))
    finally:
        for name in ("whole", "small"):
            Path(f"{begun}-{name}").unlink(missing_ok=True)
        codes = [writer.wait() for writer in writers]
    assert codes == [0, 0]
    assert seen == {1, len(table.channels)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small.json", "table.json", "whole.json"]
