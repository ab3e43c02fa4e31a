"""Closed forms that figures draw beside results: against other forms of them, and against a run."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from linksim.cli.commands import main
from linksim.report.figures import metric_figure
from linksim.report.runs import load_runs
from linksim.report.theory import awgn, closed_forms, qam_error_rate, rayleigh, rician
from linksim.scenario.schema import OfdmSpec, RayleighSpec, Scenario
from tests.linksim.tiny import write


@pytest.mark.parametrize("snr_db", [-3, 5, 12])
def test_qpsk_and_16qam_without_fading(snr_db):
    """Q(sqrt(γ)), and the three terms of Gray-mapped 16-QAM (Proakis, Digital Communications, 5th ed.)."""
    snr = 10 ** (snr_db / 10)
    assert qam_error_rate(2, snr, awgn) == pytest.approx(norm.sf(math.sqrt(snr)), rel=1e-12)
    q = [norm.sf(k * math.sqrt(snr / 5)) for k in (1, 3, 5)]
    assert qam_error_rate(4, snr, awgn) == pytest.approx((3 * q[0] + 2 * q[1] - q[2]) / 4, rel=1e-12)


@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_without_power_every_second_bit_is_wrong(bits):
    assert qam_error_rate(bits, 1e-12, awgn) == pytest.approx(0.5, abs=1e-5)
    assert qam_error_rate(bits, 1e9, rayleigh(1)) < 1e-7


@pytest.mark.parametrize("branches", [1, 2, 4])
def test_combined_rayleigh_branches(branches):
    """[(1-μ)/2]^L Σ C(L-1+l, l) [(1+μ)/2]^l (Proakis, eq. 13.4-15)."""
    snr = 10**0.8
    mu = math.sqrt(snr / 2 / (1 + snr / 2))
    terms = (math.comb(branches - 1 + n, n) * ((1 + mu) / 2) ** n for n in range(branches))
    assert qam_error_rate(2, snr, rayleigh(branches)) == pytest.approx(
        ((1 - mu) / 2) ** branches * sum(terms), rel=1e-9
    )


@pytest.mark.parametrize("k_factor", [0.0, 1.0, 10.0])
def test_rician_fading_by_integration(k_factor):
    """Against the integral over the density of |h|², a scaled non-central chi-square with two degrees."""
    from scipy.stats import ncx2

    snr, scale = 10**0.6, 2 * (1 + k_factor)

    def integrand(power: float) -> float:
        return norm.sf(math.sqrt(snr * power)) * ncx2.pdf(scale * power, 2, 2 * k_factor) * scale

    def rayleigh_integrand(power: float) -> float:
        return norm.sf(math.sqrt(snr * power)) * math.exp(-power)

    expected = quad(integrand if k_factor else rayleigh_integrand, 0, 40)[0]
    assert qam_error_rate(2, snr, rician(k_factor)) == pytest.approx(expected, rel=1e-6)


OFDM = {
    "kind": "ofdm",
    "model": {"kind": "tdl", "profile": "A", "delay_spread_s": 0.0},
    "csi": {"kind": "perfect", "pilot_symbols": [2], "comb": 2},
}


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True),
        ({"csi": {"kind": "ls"}}, False),
        ({"csi": {"kind": "perfect", "noise": "estimated"}}, False),
        ({"impairments": [{"kind": "clipping", "papr_db": 3.0}]}, False),
        ({"model": {**OFDM["model"], "profile": "D"}}, False),
        ({"model": {**OFDM["model"], "rx_antennas": 2, "rx_correlation": 0.5}}, False),
        ({"model": {**OFDM["model"], "tx_antennas": 2}, "transmission": {"kind": "alamouti"}}, True),
        ({"model": {**OFDM["model"], "tx_antennas": 2, "speed_mps": 30.0}, "transmission": {"kind": "alamouti"}}, False),
        ({"model": {**OFDM["model"], "rx_antennas": 2, "tx_antennas": 2}, "transmission": {"kind": "multiplexing"}}, False),
        ({"model": {"kind": "umi"}}, False),
    ],
)  # fmt: skip
def test_only_what_is_known_in_closed_form_has_one(change, known):
    assert (OfdmSpec.model_validate(OFDM | change).closed_form() is not None) == known


def test_estimated_gains_of_block_fading_have_none():
    assert RayleighSpec(kind="rayleigh", csi={"kind": "lmmse", "pilots_per_block": 2}).closed_form() is None
    assert RayleighSpec(kind="rayleigh").closed_form() is not None


SMALL = """
name: known
images: {kind: skimage, names: [coffee, rocket], crop: 96}
bandwidth: {data_ratio: 1/6}
channels:
  - {kind: awgn}
  - {kind: rayleigh, coherence_symbols: 1}
  - {kind: rayleigh, name: two pilots, coherence_symbols: 4, csi: {kind: ls, pilots_per_block: 2}}
sweep: {snr_db: [3, 9], trials: 2}
schemes: [{kind: uncoded, name: QPSK, bits_per_symbol: 2}, {kind: uncoded, name: 16-QAM, bits_per_symbol: 4}]
metrics: [ber]
"""


def test_results_of_a_run_lie_on_the_closed_form(tmp_path):
    """2 pictures x 2 trials x 4,608 symbols per point; bits of a symbol fail together in a fade, so symbols are
    counted. Eight points within four standard deviations each: wrong in one run of 2,000.
    """
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, SMALL), "--out", str(out), "--no-report"]) == 0
    [run] = load_runs([out])
    exact = closed_forms(run.header, run.rows, "snr_db")
    assert {(r.channel, r.scheme) for r in exact} == {
        (c, s) for c in ("awgn", "rayleigh") for s in ("QPSK", "16-QAM")
    }
    assert sorted({r.snr_db for r in exact}) == np.arange(3, 9.1, 0.5).tolist()
    by_place = {(r.channel, r.scheme, r.snr_db): r.mean for r in exact}
    checked = 0
    for row in run.rows:
        expected = by_place.get((row.channel, row.scheme, row.snr_db))
        if expected is not None:
            spread = math.sqrt(expected * (1 - expected) / (4 * 4608))
            assert abs(row.mean - expected) < 4 * spread, row
            checked += 1
    assert checked == 8
    figure = metric_figure([run], "ber")
    texts = [t.get_text() for axes in figure.axes for t in axes.get_legend().get_texts()]
    assert texts.count("lines without points: closed form") == 2, "not where gains are estimated"


def test_what_spills_beyond_the_prefix_counts_in_the_closed_form():
    """TDL-C of 2 µs at 30 dB: with a prefix of 4 samples more errors than with one of 20."""
    channel = OFDM | {"model": {"kind": "tdl", "profile": "C", "delay_spread_s": 2.0e-6}}
    text = {
        "name": "x",
        "images": {"kind": "skimage"},
        "bandwidth": {"data_ratio": "1/24"},
        "channel": channel | {"num_subcarriers": 64, "subcarrier_spacing_hz": 15e3},
        "schemes": [{"kind": "uncoded", "name": "q", "bits_per_symbol": 2}],
        "sweep": {"snr_db": [30.0], "channel.cyclic_prefix_length": [4, 20]},
        "metrics": ["ber"],
    }
    scenario = json.loads(Scenario.model_validate(text).model_dump_json())
    from tests.linksim.test_figures import ber

    x = "channel.cyclic_prefix_length"
    rows = [ber(30.0, 0.01, 0.02, channel="ofdm-tdlc-perfect", scheme="q", point=((x, n),)) for n in (4, 20)]
    short, long = closed_forms({"scenario": scenario}, rows, x)
    assert (short.point, long.point) == (((x, 4),), ((x, 20),))
    assert long.mean == pytest.approx(qam_error_rate(2, 1000, rayleigh(1)), rel=0.05)
    assert short.mean > 2 * long.mean


def test_runs_of_another_version_have_no_closed_form():
    header = {"scenario": {"schemes": [{"kind": "uncoded", "name": "q"}], "old": 1}}
    from tests.linksim.test_figures import ber

    assert closed_forms(header, [ber(1, 0.1, 0.2)], "snr_db") == []
