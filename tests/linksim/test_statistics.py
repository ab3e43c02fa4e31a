"""Means, intervals and counts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from linksim.results.records import Record, UnitKey, side_info_uses
from linksim.results.statistics import (
    bootstrap_interval,
    error_interval,
    ratio_interval,
    share_interval,
    summarise,
    to_csv,
)


def record(
    image: str, trial: int, psnr: float, *, state: str = "ok", ber=(0, 100), snr_db: float = 5.0, **key
):
    unit = UnitKey(
        key.get("channel", "awgn"), key.get("scheme", "s"), key.get("point", ()), snr_db, image, trial
    )
    return Record(
        unit, 1, state, {"psnr": psnr}, {"ber": ber, "bler": (int(ber[0] > 0), 1)}, 96, 8, 4, 32, 1152, 0.1
    )


def test_interval_of_independent_trials_equals_scipy():
    for errors, trials in ((3, 40), (17, 1000), (999, 1000)):
        low, high = error_interval(errors, trials, 0.95)
        expected = binomtest(errors, trials).proportion_ci(0.95, "exact")
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_zero_errors_follow_the_rule_of_three():
    low, high = error_interval(0, 10_000, 0.95)
    assert low == 0
    assert high == pytest.approx(3 / 10_000, rel=2e-3)
    assert error_interval(10, 10, 0.95)[1] == 1


def test_bootstrap_covers_the_mean_of_clustered_data():
    """500 experiments of 20 images x 3 trials with strong image effects: the 95% interval holds 0 at least 93% of the
    time; 3 sigma of a binomial is 0.034. Ignoring the clusters it would hold it in far fewer."""
    rng = np.random.default_rng(1)
    covered = naive = 0
    for i in range(500):
        images = rng.normal(0, 1, 20)
        groups = [m + rng.normal(0, 0.3, 3) for m in images]
        low, high = bootstrap_interval(groups, 0.95, 400, i)
        covered += low <= 0 <= high
        flat = [np.concatenate(groups)]
        low, high = bootstrap_interval(flat, 0.95, 400, i)
        naive += low <= 0 <= high
    assert 0.93 - 0.034 < covered / 500 < 0.95 + 0.034
    assert naive / 500 < 0.85


def _normal(rng, n):
    return rng.normal(26.0, 3.0, n)


def _skewed(rng, n):
    return rng.lognormal(0.0, 0.5, n)


def _with_failures(rng, n):
    """A tenth of the pictures is lost: grey, 15 dB below the others."""
    return np.where(rng.random(n) < 0.1, rng.normal(11.0, 1.5, n), rng.normal(26.0, 3.0, n))


@pytest.mark.parametrize(
    ("draw", "mean"),
    [(_normal, 26.0), (_skewed, math.exp(0.125)), (_with_failures, 0.1 * 11 + 0.9 * 26)],
    ids=["normal", "log-normal", "10% lost"],
)
@pytest.mark.parametrize(("count", "experiments"), [(5, 1500), (24, 1000), (100, 300)])
def test_intervals_cover_what_they_say(draw, mean, count, experiments):
    """Nominal 95%: at least 93% of the experiments, less three sigma of their number (0.020 to 0.044). Plain
    percentiles of resampled means miss that with 5 values of every kind."""
    rng = np.random.default_rng(count)
    covered = plain = 0
    for i in range(experiments):
        values = draw(rng, count)
        low, high = bootstrap_interval([np.array([v]) for v in values], 0.95, 800, i)
        covered += low <= mean <= high
        if count == 5:
            draws = np.random.default_rng(i).integers(0, count, (1000, count))
            low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
            plain += low <= mean <= high
    allowed = 3 * math.sqrt(0.93 * 0.07 / experiments)
    assert covered / experiments > 0.93 - allowed
    if count == 5:
        assert plain / experiments < 0.93 - allowed


def test_interval_of_errors_in_clusters_of_unequal_size():
    """24 images of 1 to 5 blocks of 100 bits, error rates of their own: at least 93% of 1,000 experiments hold the
    true rate (three sigma are 0.024), which plain means of rates would miss; never below 0."""
    rng = np.random.default_rng(1)
    covered, low_enough = 0, True
    for i in range(1000):
        trials = 100 * rng.integers(1, 6, 24)
        rates = rng.beta(0.5, 4.5, 24)
        clusters = [(int(e), int(t)) for e, t in zip(rng.binomial(trials, rates), trials, strict=True)]
        low, high = ratio_interval(clusters, 0.95, 500, i)
        covered += low <= 0.1 <= high
        low_enough &= low >= 0
    assert covered / 1000 > 0.93 - 0.024
    assert low_enough


def test_rare_outliers_make_no_interval_of_any_width():
    """23 values that differ by thousandths and one that is lost: the interval reaches the lost one and no further."""
    values = np.append(26 + 0.001 * np.arange(23), 11.0)
    low, high = bootstrap_interval([np.array([v]) for v in values], 0.95, 2000, 1)
    assert 11.0 < low < values.mean() < high < 30.0
    assert bootstrap_interval([np.array([7.0])] * 5, 0.95, 100, 1) == (7.0, 7.0)


def test_shares_of_pictures_that_are_right_or_wrong_are_events():
    """Five of 24 have Clopper and Pearson's interval, whoever asks. That of the bootstrap, whose resamples lie on
    steps of 1/24, ends at .39 or at .55 as its seed will have it."""
    values = [np.full(2, float(i < 5)) for i in range(24)]
    expected = binomtest(5, 24).proportion_ci(0.95, "exact")
    for seed in range(12):
        assert share_interval(values, 0.95, 2000, seed) == pytest.approx((expected.low, expected.high))
    ends = [bootstrap_interval(values, 0.95, 2000, seed)[1] for seed in range(12)]
    assert max(ends) - min(ends) > 0.1

    def units(metric):
        return [
            dataclasses.replace(
                r, key=dataclasses.replace(r.key, scheme=scheme), values={metric: float(i < 5)}
            )
            for scheme in ("one", "other")
            for i, r in enumerate(record(f"{i:02}", 0, 0.0) for i in range(24))
        ]

    rows = [r for r in summarise(units("right"), shares={"right"}) if r.metric == "right"]
    assert [(r.ci_low, r.ci_high) for r in rows] == [pytest.approx((expected.low, expected.high))] * 2
    others = [r for r in summarise(units("right")) if r.metric == "right"]
    assert others[0].ci_high != pytest.approx(expected.high, abs=0.01), "of a metric that is no share"


@pytest.mark.parametrize(("count", "trials"), [(6, 2), (16, 3), (24, 2)])
def test_shares_of_several_trials_are_covered_within_their_bounds(count, trials):
    """Nominal 95%: at least 93% of 300 experiments, less three sigma of their number (.044), with shares of pictures
    that are often 0; no wider than as many events, never beyond 0 and 1."""
    rng = np.random.default_rng(trials)
    covered = 0
    for i in range(300):
        right = rng.binomial(1, rng.beta(0.2, 1.8, count)[:, None], (count, trials)).astype(float)
        low, high = share_interval(list(right), 0.95, 300, i)
        events = error_interval(float(right.mean(1).sum()), count, 0.95)
        assert 0 <= events[0] <= low <= right.mean() <= high <= events[1] <= 1
        covered += low <= 0.1 <= high
    assert covered / 300 > 0.93 - 0.044


def test_shares_of_one_picture_are_those_of_its_trials():
    """Of none or all of them nothing follows for other pictures: one event."""
    low, high = share_interval([np.array([0.0, 1.0, 1.0, 1.0])], 0.95, 500, 1)
    assert 0 <= low < 0.75 < high <= 1
    assert share_interval([np.zeros(9)], 0.95, 500, 1) == error_interval(0, 1, 0.95)


def test_single_value_has_no_interval():
    assert all(math.isnan(v) for v in bootstrap_interval([np.array([3.0])], 0.95, 100, 1))


def test_summary_means_over_images_of_means_over_trials():
    rows = summarise([record("a", 0, 20), record("a", 1, 22), record("b", 0, 30), record("b", 1, 30)])
    psnr = next(r for r in rows if r.metric == "psnr")
    assert psnr.mean == 25.5
    assert psnr.ci_low <= psnr.mean <= psnr.ci_high
    assert (psnr.num_images, psnr.num_trials, psnr.num_failures) == (2, 2, 0)
    assert psnr.cbr_data == pytest.approx(96 / 1152)
    assert psnr.cbr_total == pytest.approx((96 + 8 + 4 + side_info_uses(32)) / 1152)


def test_failures_stay_in_the_mean_and_are_counted():
    rows = summarise([record("a", 0, 30), record("b", 0, 10, state="crc_failed", ber=(40, 100))])
    psnr = next(r for r in rows if r.metric == "psnr")
    assert (psnr.mean, psnr.mean_ok, psnr.num_failures) == (20, 30, 1)
    ber = next(r for r in rows if r.metric == "ber")
    assert ber.mean == 0.2
    bler = next(r for r in rows if r.metric == "bler")
    assert bler.mean == 0.5
    assert bler.ci_low == pytest.approx(binomtest(1, 2).proportion_ci(0.95, "exact").low)


def test_order_of_records_does_not_matter():
    records = [record(i, t, 20 + t, snr_db=s) for i in "abc" for t in (0, 1) for s in (1.0, 5.0)]
    assert to_csv(summarise(records)) == to_csv(summarise(records[::-1]))


def test_points_not_simulated_have_no_row():
    rows = summarise([record("a", 0, 20, snr_db=1.0)])
    assert {r.snr_db for r in rows} == {1.0}


def test_csv_adds_a_column_per_swept_field():
    rows = summarise([record("a", 0, 20, point=(("channel.model.speed_mps", 3.0),))])
    head, first, *_ = to_csv(rows).splitlines()
    assert head.endswith("cbr_total,channel.model.speed_mps,mean_ok")
    assert ",3.0," in first


def test_side_information_is_charged_at_the_lowest_rate_of_the_first_table():
    assert side_info_uses(0) == 0
    assert side_info_uses(32) == math.ceil(32 / (2 * 120 / 1024))


def test_bits_of_a_block_are_no_independent_trials():
    """20 frames of 8,000 bits without an error say of bits what 20 trials say; uncoded bits on AWGN count."""
    coded = [record("a", t, 30.0, ber=(0, 8000)) for t in range(20)]
    uncoded = [dataclasses.replace(r, independent_bits=True) for r in coded]
    bound, tight = (next(r for r in summarise(rs) if r.metric == "ber").ci_high for rs in (coded, uncoded))
    assert bound == pytest.approx(1 - 0.05 ** (1 / 20))
    assert tight == pytest.approx(3 / 160_000, rel=2e-3)


def test_bit_errors_of_two_pictures_have_the_interval_of_all_their_transmissions():
    """Forty fades of each of two pictures: the spread between two means, 12.7 times of which is Student's
    interval, says nothing that 80 transmissions do not say better. Coverage of nominal 95% in 300
    experiments with error rates of squared Gaussian fades: at least 92%, less two sigma of 300 (0.025).
    """
    rng = np.random.default_rng(11)
    inside, widths = 0, []
    for _ in range(300):
        errors = np.minimum(rng.exponential(40, 80), 2000).astype(int)
        units = [record("ab"[i % 2], i // 2, 30.0, ber=(int(e), 4000)) for i, e in enumerate(errors)]
        row = next(r for r in summarise(units, resamples=200) if r.metric == "ber")
        inside += row.ci_low <= 39.5 / 4000 <= row.ci_high  # the mean of an exponential, cut to integers
        widths.append(row.ci_high - row.ci_low)
    assert inside / 300 > 0.92 - 0.025
    assert np.median(widths) < 1.4 * 2 * 1.99 * 40 / 4000 / math.sqrt(80)


def test_bit_errors_of_one_image_have_an_interval():
    some = [record("a", t, 30.0, ber=(400 * (t % 2), 8000)) for t in range(20)]
    row = next(r for r in summarise(some) if r.metric == "ber")
    assert 0.01 < row.ci_low < row.mean < row.ci_high < 0.04
