"""Studies of bits and blocks without pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import erfc

import linksim
from linksim.results.store import ResultStore
from linksim.run.replaying import save_pictures
from linksim.schemes.base import random_bits

SCENARIO: dict[str, Any] = {
    "name": "bits",
    "seed": 4,
    "images": "none",
    "bandwidth": {"data_uses": 256},
    "channels": [{"kind": "awgn"}],
    "sweep": {"snr_db": [4], "trials": 100},
    "schemes": [
        {"kind": "uncoded", "name": "QPSK", "bits_per_symbol": 2},
        {"kind": "separation", "name": "MCS 9", "mcs": 9},
    ],
    "metrics": ["ber", "bler", "outage"],
    "batch_size": 50,
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**SCENARIO, **fields}


def test_uncoded_bits_err_as_theory_says(tmp_path: Path) -> None:
    """51,200 bits at 4 dB: Q(sqrt(SNR)) = .0565 within 5 standard deviations."""
    linksim.simulate(changed(schemes=SCENARIO["schemes"][:1]), out=tmp_path / "r", progress=False)
    counts = [r.counts["ber"] for r in ResultStore(tmp_path / "r").records()]
    errors, bits = sum(e for e, _ in counts), sum(n for _, n in counts)
    expected = 0.5 * erfc(math.sqrt(10**0.4 / 2))
    assert bits == 51200
    assert abs(errors / bits - expected) < 5 * math.sqrt(expected * (1 - expected) / bits)


def test_blocks_fail_as_those_of_pictures_do(tmp_path: Path) -> None:
    """MCS 9 at 3.3 dB in 256 uses, 100 blocks each: both rates within 5 standard deviations of each other,
    and neither 0 nor 1, so that a difference would show.
    """
    schemes = SCENARIO["schemes"][1:]
    sweep = {"snr_db": [3.3], "trials": 100}
    linksim.simulate(changed(schemes=schemes, sweep=sweep), out=tmp_path / "bits", progress=False)
    pictures = {
        "images": {"kind": "skimage", "names": ["astronaut"], "crop": 32},
        "bandwidth": {"data_ratio": "1/12"},
    }
    linksim.simulate(
        changed(schemes=schemes, sweep=sweep, **pictures), out=tmp_path / "pictures", progress=False
    )
    rates = []
    for name in ("bits", "pictures"):
        wrong = [r.counts["bler"][0] for r in ResultStore(tmp_path / name).records()]
        assert len(wrong) == 100
        rates.append(np.mean(wrong))
    assert all(0.05 < rate < 0.95 for rate in rates)
    assert abs(rates[0] - rates[1]) < 5 * math.sqrt(2 * 0.25 / 100)


def test_random_bits_are_even_and_of_their_seed() -> None:
    """20,000 bits: half of them 1, within 5 standard deviations; no two frames alike."""
    bits = random_bits(range(10), 2000)
    assert abs(bits.mean() - 0.5) < 5 * 0.5 / math.sqrt(bits.size)
    assert len({row.tobytes() for row in bits}) == 10
    assert (random_bits([3], 2000)[0] == bits[3]).all()


def test_no_picture_is_measured_shown_or_priced(tmp_path: Path) -> None:
    run = linksim.simulate(SCENARIO, out=tmp_path / "r", progress=False)
    record = next(ResultStore(tmp_path / "r").records())
    assert (record.source_values, record.values, record.side_info_bits) == (0, {}, 0)
    assert math.isnan(record.cbr_data)
    assert not (tmp_path / "r" / "images").exists()
    rows = (tmp_path / "r" / "results.csv").read_text().splitlines()
    header, first = (line.split(",") for line in rows[:2])
    assert first[header.index("cbr_data")] == ""
    run.report()
    assert (tmp_path / "r" / "report.html").exists()
    assert not list((tmp_path / "r" / "figures").glob("panel*"))
    assert json.loads((tmp_path / "r" / "run.json").read_text())["tools"] == {}  # no picture codec


def test_a_frame_is_replayed(tmp_path: Path) -> None:
    run = linksim.simulate(changed(sweep={"snr_db": [3.3], "trials": 3}), out=tmp_path / "r", progress=False)
    replayed = run.replay("scheme=MCS 9,trial=2")
    assert replayed.is_identical
    with pytest.raises(linksim.ScenarioError, match="nothing to write"):
        save_pictures(replayed, tmp_path / "look")
    assert not (tmp_path / "look").exists()


def test_the_cost_of_a_study_is_estimated() -> None:
    checked = linksim.check(SCENARIO, estimate=True)
    assert "estimate: 200 units" in str(checked)


def test_a_limit_of_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(linksim.ScenarioError, match="limit: has no effect"):
        linksim.simulate(SCENARIO, out=tmp_path / "r", limit=3, progress=False)


def test_results_do_not_depend_on_batches(tmp_path: Path) -> None:
    for size in (1, 7, 50):
        linksim.simulate(
            changed(batch_size=size, sweep={"snr_db": [3.3], "trials": 20}),
            out=tmp_path / f"{size}",
            progress=False,
        )
    results = {(tmp_path / f"{size}" / "results.csv").read_bytes() for size in (1, 7, 50)}
    assert len(results) == 1


def test_block_length_is_swept(tmp_path: Path) -> None:
    sweep = {"snr_db": [3.3], "trials": 2, "bandwidth.data_uses": [128, 512]}
    linksim.simulate(changed(sweep=sweep), out=tmp_path / "r", progress=False)
    assert {r.data_uses for r in ResultStore(tmp_path / "r").records()} == {128, 512}


def test_two_ways_to_write_it_are_one() -> None:
    one, other = linksim.check(SCENARIO), linksim.check(changed(images={"kind": "none"}))
    assert one.scenario_hash == other.scenario_hash


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"metrics": ["psnr", "ber"]}, "metrics: measures pictures, got psnr with images: none"),
        ({"bandwidth": {"data_ratio": "1/12"}}, "bandwidth.data_ratio: got a ratio with images: none"),
        ({"bandwidth": {"data_ratio": "1/12", "data_uses": 64}}, "bandwidth: got data_ratio and data_uses"),
        ({"images": {"kind": "none", "crop": 64}}, "crop: got (64, 64)"),
        ({"panel": {"images": 1}}, "panel: got one with images: none"),
        ({"schemes": [{"kind": "linear_analog", "name": "a"}]}, "schemes.a: sends pictures"),
        ({"schemes": [{"kind": "separation", "name": "a"}]}, "schemes.a.policy: is about pictures"),
        ({"schemes": [{"kind": "separation", "name": "a", "mcs": 4, "source": "jpeg"}]}, "schemes.a.source"),
        ({"images": {"kind": "skimage"}}, "bandwidth.data_uses: got it with pictures"),
        ({"bandwidth": {"data_uses": 64}}, "channel uses: too few"),
    ],
)
def test_what_needs_pictures_is_refused(fields: dict[str, Any], said: str) -> None:
    if fields.get("panel"):
        fields = {"panel": {"images": 3}}
    with pytest.raises(linksim.ScenarioError) as problem:
        linksim.check(changed(**fields))
    assert said in str(problem.value)
    assert "expected" in str(problem.value)


def test_adaptive_mcs_goes_by_its_target(tmp_path: Path) -> None:
    scheme = {"kind": "separation", "name": "adaptive", "policy": "target_bler"}
    linksim.simulate(
        changed(schemes=[scheme], sweep={"snr_db": [0, 12], "trials": 2}), out=tmp_path / "r", progress=False
    )
    chosen = {r.key.snr_db: r.info["payload_bits"] for r in ResultStore(tmp_path / "r").records()}
    assert chosen[12.0] > 2 * chosen[0.0]
