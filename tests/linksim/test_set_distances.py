"""Distances between sets of pictures: torchmetrics, a double loop, bias, resampling and its intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy.stats import bootstrap
from torchmetrics.image.kid import poly_mmd

from linksim.metrics.info import MetricInfo
from linksim.metrics.set_distances import DISTANCES, FrechetDistance, PolynomialMmd, SetDistance
from linksim.results.feature_files import FeatureFiles
from linksim.results.records import Record, UnitKey
from linksim.results.set_statistics import bca_interval, picture_weights, set_rows

ALL, ACROSS = PolynomialMmd(across=False), PolynomialMmd(across=True)


def distances(metric: SetDistance, hats, originals, weights) -> np.ndarray:
    return metric.values(
        metric.within(hats), metric.within(originals), metric.between(hats, originals), np.atleast_2d(weights)
    )


def groups(seed: int, sizes=(4, 7, 3, 6), width=9):
    rng = np.random.default_rng(seed)
    originals = [rng.gamma(1.0, size=(n, width)).astype(np.float16) for n in sizes]
    hats = [(0.7 * x + 0.5 * rng.random(x.shape)).astype(np.float16) for x in originals]
    return hats, originals


def pictures(rng: np.random.Generator, count: int, features: int = 10, width: int = 8, damage: float = 0.0):
    """Features of pictures that have much in common, and of their reconstructions, shrunk by ``damage``."""
    common = rng.gamma(1.0, size=(count, 1, width))
    original = common + rng.normal(size=(count, features, width))
    hat = common + 0.95 * (original - common) + np.sqrt(1 - 0.95**2) * rng.normal(size=original.shape)
    return list(hat * (1 - damage * rng.uniform(0.5, 1.5, (count, 1, 1)))), list(original)


def double_loop(hats, originals, across: bool) -> float:
    """The definition, pair by pair: (x·y/d + 1)³ over pairs that may be compared."""
    owner = [i for i, group in enumerate(originals) for _ in group]
    h, o = (np.concatenate(g).astype(np.float64) for g in (hats, originals))
    total = {"hh": [], "oo": [], "ho": []}
    for a in range(len(owner)):
        for b in range(len(owner)):
            if across and owner[a] == owner[b]:
                continue
            if a != b:
                total["hh"].append((h[a] @ h[b] / h.shape[1] + 1) ** 3)
                total["oo"].append((o[a] @ o[b] / h.shape[1] + 1) ** 3)
            total["ho"].append((h[a] @ o[b] / h.shape[1] + 1) ** 3)
    return np.mean(total["hh"]) + np.mean(total["oo"]) - 2 * np.mean(total["ho"])


def test_all_pairs_equal_torchmetrics():
    hats, originals = groups(1)
    h, o = (torch.from_numpy(np.concatenate(g)).double() for g in (hats, originals))
    value = distances(ALL, hats, originals, np.ones(4, int))[0]
    assert value == pytest.approx(float(poly_mmd(o, h)), rel=1e-10)
    assert value != pytest.approx(float(poly_mmd(o, h, coef=0.0)), rel=0.01)
    assert value == pytest.approx(double_loop(hats, originals, across=False), rel=1e-10)


def test_pairs_of_different_pictures_equal_a_double_loop():
    hats, originals = groups(2)
    value = distances(ACROSS, hats, originals, np.ones(4, int))[0]
    assert value == pytest.approx(double_loop(hats, originals, across=True), rel=1e-10)
    assert value != pytest.approx(double_loop(hats, originals, across=False), rel=0.01)


def test_one_feature_a_picture_is_the_paired_estimator_of_gretton():
    """Eq. 4 of Gretton et al. 2012: torchmetrics less the pairs of a feature and its own reconstruction."""
    hats, originals = groups(3, sizes=(1,) * 20)
    h, o = (np.concatenate(g).astype(np.float64) for g in (hats, originals))
    cross = (h @ o.T / h.shape[1] + 1) ** 3
    paired = float(poly_mmd(torch.from_numpy(o), torch.from_numpy(h)))
    paired += 2 * cross.mean() - 2 * (cross.sum() - np.trace(cross)) / (20 * 19)
    assert distances(ACROSS, hats, originals, np.ones(20, int))[0] == pytest.approx(paired, rel=1e-9)


@pytest.mark.parametrize("metric", [ALL, ACROSS])
def test_a_picture_left_out_is_as_if_it_had_never_been_there(metric):
    hats, originals = groups(4)
    without = distances(metric, hats[:2] + hats[3:], originals[:2] + originals[3:], np.ones(3, int))[0]
    assert distances(metric, hats, originals, [1, 1, 0, 1])[0] == pytest.approx(without, rel=1e-9)
    double = distances(metric, hats, originals, [[1, 1, 1, 1], [2, 2, 2, 2]])
    if metric.across:
        assert double[0] == pytest.approx(double[1], rel=1e-12)
    assert np.isnan(distances(ACROSS, hats, originals, [0, 3, 0, 0])[0])


def test_lossless_codes_have_distance_zero():
    _, originals = groups(5)
    assert abs(distances(ACROSS, originals, originals, np.ones(4, int))[0]) < 1e-12
    assert distances(ALL, originals, originals, np.ones(4, int))[0] < -0.1, "all pairs reward fidelity"


def test_equal_distributions_have_distance_zero_on_average():
    """400 sets of 12 pictures whose features have a picture's part in common, and reconstructions with the
    very same distribution: the mean is 0 within 4 standard errors. That over all pairs is not."""
    rng = np.random.default_rng(6)
    drawn = [pictures(rng, 12, features=4) for _ in range(400)]
    across, every = (
        np.array([distances(m, hats, originals, np.ones(12, int))[0] for hats, originals in drawn])
        for m in (ACROSS, ALL)
    )
    assert abs(across.mean()) < 4 * across.std() / 20
    assert every.mean() < -8 * every.std() / 20


def test_resamples_do_not_lie_above_the_estimate():
    """Copies of a picture are not compared with each other. Compared, 12 pictures twice each would add pairs
    of equal features to both collections, and pairs of a picture and its own original across."""
    hats, originals = pictures(np.random.default_rng(7), 12, damage=0.3)
    value, *rest = distances(ACROSS, hats, originals, picture_weights(12, 4000, 1))
    resampled = np.array(rest[12:])
    assert abs(resampled.mean() - value) < 0.2 * resampled.std()
    copied = distances(ALL, hats * 2, originals * 2, np.ones(24, int))[0]
    assert abs(copied - value) > abs(resampled.mean() - value)


def test_interval_equals_scipy_for_a_mean():
    """BCa of a mean of 30 skewed values; 20,000 resamples each: quantiles differ by about 1% of the width."""
    values = np.random.default_rng(8).gamma(1.0, size=30)
    weights = picture_weights(30, 20_000, 9)
    means = weights @ values / weights.sum(1)
    low, high = bca_interval(means[0], means[1:31], means[31:], 0.95)
    expected = bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=1).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.03 * width)
    assert high == pytest.approx(expected.high, abs=0.03 * width)
    percentile = np.quantile(means[31:], [0.025, 0.975])
    assert abs(percentile[1] - expected.high) > 0.06 * width, "the correction matters here"


def test_interval_covers_the_distance_of_the_population():
    """100 sets of 20 pictures; the true distance is the mean of 1,200 unbiased estimates (relative error 1%).
    The 95% interval of so skewed an estimate holds it about 91% of the time; 4 sigma of a binomial is .115.
    Taking every feature for a picture of its own makes intervals a quarter too narrow."""
    rng = np.random.default_rng(10)
    truth = np.mean(
        [distances(ACROSS, *pictures(rng, 20, 5, damage=0.3), np.ones(20, int))[0] for _ in range(1200)]
    )
    covered = 0
    widths = []
    for i in range(100):
        hats, originals = pictures(rng, 20, 5, damage=0.3)
        values = distances(ACROSS, hats, originals, picture_weights(20, 400, i))
        low, high = bca_interval(values[0], values[1:21], values[21:], 0.95)
        covered += low <= truth <= high
        if i < 10:
            alone = [[f[None] for f in np.concatenate(g)] for g in (hats, originals)]
            values = distances(ACROSS, *alone, picture_weights(100, 200, i))
            naive = bca_interval(values[0], values[1:101], values[101:], 0.95)
            widths.append((naive[1] - naive[0]) / (high - low))
    assert 0.91 - 0.115 < covered / 100 < 1.0
    assert np.mean(widths) < 0.9


@pytest.mark.parametrize("name", DISTANCES)
def test_intervals_need_three_pictures(name):
    """Of two, one is left: FID and CMMD have a value then, and no interval all the same."""
    for count in (2, 3):
        hats, originals = (g[:count] for g in groups(11))
        values = distances(DISTANCES[name], hats, originals, picture_weights(count, 100, 1))
        assert np.isfinite(values[0])
        found = bca_interval(values[0], values[1 : 1 + count], values[1 + count :], 0.95)
        assert np.isfinite(found).all() == (count == 3)


def test_no_interval_reaches_below_what_a_distance_can_be(tmp_path):
    """Resamples of FID are linear in the pictures: where one of a few was lost, those without it lie below 0. KID's
    are below 0 in truth, where each picture has its own original in the other set."""
    rng, units, originals = np.random.default_rng(1), [], {}
    files = FeatureFiles(tmp_path, "some")
    for i in range(6):
        original = rng.normal(size=(1, 3))
        hat = original + (4.0 if i == 0 else 0.01) * rng.normal(size=original.shape)
        for name, features in (("a", original), ("b", hat)):
            files.keep(name * 15 + str(i), lambda found=features: found.astype(np.float16))
        originals[f"p{i}"] = "a" * 15 + str(i)
        key = UnitKey("awgn", "s", (), 5.0, f"p{i}", 0)
        units.append(Record(key, 1, "ok", {}, {}, 96, 0, 0, 0, 1152, 0.1, shown="b" * 15 + str(i)))

    def row(distance, hats):
        info = MetricInfo("d", "1", False, "", features="some", distance=distance)
        return set_rows(hats, info, files, originals, 0.95, 500)[0]

    value = row("frechet", units)
    sums = [[np.load(tmp_path / "some" / f"{n * 15}{i}.npy") for i in range(6)] for n in "ba"]
    found = distances(DISTANCES["frechet"], *sums, picture_weights(6, 500, 1))
    assert bca_interval(found[0], found[1:7], found[7:], 0.95)[0] < 0, "of the resamples themselves"
    assert 0 <= value.ci_low < value.mean < value.ci_high
    lossless = [
        Record(u.key, 1, "ok", {}, {}, 96, 0, 0, 0, 1152, 0.1, shown=originals[u.key.image]) for u in units
    ]
    assert row("polynomial_mmd", lossless).ci_low < 0


# ------------------------------------------------------------------------------------- Fréchet, Gaussian


FRECHET = FrechetDistance()


def frechet(hats, originals, weights) -> float:
    """pytorch-fid's, with features that count more or less than once in mean and covariance."""
    each = np.repeat(np.asarray(weights, float), [len(g) for g in originals])
    moments = []
    for side in (hats, originals):
        x = np.concatenate(side).astype(np.float64)
        mean = each @ x / each.sum()
        moments += [mean, (x - mean).T * each @ (x - mean) / each.sum() * len(x) / (len(x) - 1)]
    return float(calculate_frechet_distance(*moments))


@pytest.mark.parametrize(("count", "features", "width"), [(8, 5, 12), (4, 3, 30), (40, 1, 16), (6, 1, 20)])
def test_frechet_distance_equals_pytorch_fid(count, features, width):
    """More features than dimensions, and fewer, where its root of a singular matrix has six digits."""
    hats, originals = pictures(np.random.default_rng(count), count, features, width, damage=0.3)
    value = distances(FRECHET, hats, originals, np.ones(count, int))[0]
    assert value == pytest.approx(frechet(hats, originals, np.ones(count)), rel=2e-5)
    means = [np.concatenate(g).mean(0) for g in (hats, originals)]
    assert value > 1.05 * np.sum((means[0] - means[1]) ** 2), "the covariances matter"
    assert abs(distances(FRECHET, originals, originals, np.ones(count, int))[0]) < 1e-9 * value


def test_frechet_distance_is_resampled_by_its_derivatives():
    """Against finite differences of pytorch-fid's; without its covariances they are others."""
    hats, originals = pictures(np.random.default_rng(12), 8, 6, 9, damage=0.3)
    found = FRECHET.between(hats, originals)["influence"]
    step = 1e-4
    for i in range(8):
        more, less = (np.ones(8) + sign * step * (np.arange(8) == i) for sign in (1, -1))
        expected = (frechet(hats, originals, more) - frechet(hats, originals, less)) / (2 * step)
        assert found[i] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert abs(found.sum()) < 1e-9, "pictures that all count twice are the same set"
    value, *alone = distances(FRECHET, hats, originals, picture_weights(8, 1, 1))[:9]
    assert np.allclose(value - np.array(alone), found)


def test_frechet_distance_of_pictures_without_variance():
    """All frames failed: |m - m'|² and the trace of the other covariance."""
    _, originals = pictures(np.random.default_rng(13), 6)
    grey = [np.ones_like(g) for g in originals]
    x = np.concatenate(originals)
    expected = np.sum((1 - x.mean(0)) ** 2) + np.trace(np.cov(x.T))
    assert distances(FRECHET, grey, originals, np.ones(6, int))[0] == pytest.approx(expected, rel=1e-9)
    assert distances(FRECHET, grey, grey, np.ones(6, int))[0] == 0


def test_frechet_interval_covers_the_mean_distance_of_so_many_pictures():
    """As for the discrepancy above: the 95% interval of 20 pictures held it 358 of 400 times; 4 sigma of a binomial
    is .12. Resamples of the distance itself lie above it."""
    rng = np.random.default_rng(14)

    def draw():
        return pictures(rng, 20, 5, damage=0.3)

    truth = np.mean([distances(FRECHET, *draw(), np.ones(20, int))[0] for _ in range(1200)])
    covered = 0
    for i in range(100):
        values = distances(FRECHET, *draw(), picture_weights(20, 400, i))
        low, high = bca_interval(values[0], values[1:21], values[21:], 0.95)
        covered += low <= truth <= high
    assert 0.895 - 0.12 < covered / 100 < 1.0
    hats, originals = draw()
    value = distances(FRECHET, hats, originals, np.ones(20, int))[0]
    again = [frechet(hats, originals, w) for w in picture_weights(20, 50, 1)[21:]]
    assert np.mean(again) > value


def test_gaussian_discrepancy_equals_a_double_loop():
    """CMMD: 1000 times the means of exp(-|x - y|²/200) over all pairs, those of a feature with itself, too."""
    hats, originals = groups(15)
    h, o = (10 * np.concatenate(g).astype(np.float64) for g in (hats, originals))

    def mean(a, b):
        return np.mean([np.exp(-np.sum((x - y) ** 2) / 200) for x in a for y in b])

    expected = 1000 * (mean(h, h) + mean(o, o) - 2 * mean(h, o))
    scaled = ([10 * g.astype(np.float64) for g in side] for side in (hats, originals))
    gaussian = DISTANCES["gaussian_mmd"]
    assert distances(gaussian, *scaled, np.ones(4, int))[0] == pytest.approx(expected, rel=1e-9)
    assert abs(distances(gaussian, originals, originals, np.ones(4, int))[0]) < 1e-9


def test_every_distance_is_registered_by_name():
    assert {DISTANCES["polynomial_mmd"].across, DISTANCES["polynomial_mmd_across"].across} == {False, True}
