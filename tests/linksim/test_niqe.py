"""NIQE against its paper written down in NumPy and SciPy, and against distributions with known parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from scipy.special import gamma

from linksim.metrics.base import MetricUnavailable
from linksim.metrics.niqe import (
    ASSET,
    Niqe,
    Pristine,
    block_features,
    fit_pristine,
    generalised_gaussian,
)
from linksim.weights import zoo
from tests.linksim.pictures import blurred, compressed, ladders, photograph

X = photograph(height=192, width=288)
GRID = np.arange(0.2, 10.0005, 0.001)
TABLE = gamma(2 / GRID) ** 2 / (gamma(1 / GRID) * gamma(3 / GRID))


def reference_fit(x: np.ndarray) -> tuple[float, float, float]:
    """Estimates of Lasmar et al. 2009, by search over the whole table."""
    left, right = np.sqrt((x[x < 0] ** 2).mean()), np.sqrt((x[x > 0] ** 2).mean())
    ratio = left / right
    wanted = np.abs(x).mean() ** 2 / (x**2).mean() * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    alpha = GRID[np.argmin((TABLE - wanted) ** 2)]
    width = np.sqrt(gamma(1 / alpha) / gamma(3 / alpha))
    return alpha, left * width, right * width


def reference_scale(luma: np.ndarray, side: int) -> np.ndarray:
    """18 features of every block of one scale, Mittal et al. 2013, eqs. 1 to 9."""
    taps = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    taps /= taps.sum()

    def mean(x):
        return correlate1d(correlate1d(x, taps, 0, mode="nearest"), taps, 1, mode="nearest")

    deviation = np.sqrt(np.abs(mean(luma**2) - mean(luma) ** 2))
    normalised = (luma - mean(luma)) / (deviation + 1)
    rows = []
    for top in range(0, luma.shape[0], side):
        for left in range(0, luma.shape[1], side):
            block = normalised[top : top + side, left : left + side]
            alpha, beta_l, beta_r = reference_fit(block)
            row = [alpha, (beta_l + beta_r) / 2]
            for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                alpha, beta_l, beta_r = reference_fit(block * np.roll(block, shift, (0, 1)))
                row += [alpha, (beta_r - beta_l) * gamma(2 / alpha) / gamma(1 / alpha), beta_l, beta_r]
            rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    return block_features(X[0])[0]


def test_features_of_full_size_equal_the_paper(features):
    luma = 255 * (X[0].double().permute(1, 2, 0).numpy() @ [0.299, 0.587, 0.114])
    expected = reference_scale(luma, 96)
    np.testing.assert_allclose(features[:, :18], expected, rtol=1e-6, atol=1e-9)
    mutant = reference_scale(luma / 255, 96)  # the 1 in the denominator then weighs 255 times as much
    assert np.abs(features[:, :18].numpy() - mutant).max() > 0.1


def test_features_of_half_size_equal_the_paper(features):
    luma = 255 * torch.einsum("chw,c->hw", X[0].double(), torch.tensor([0.299, 0.587, 0.114]).double())
    half = torch.nn.functional.interpolate(
        luma[None, None], scale_factor=0.5, mode="bicubic", antialias=True
    )[0, 0]
    np.testing.assert_allclose(features[:, 18:], reference_scale(half.numpy(), 48), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 2.0, 4.0])
def test_fit_finds_known_parameters(alpha):
    """200,000 samples |x| = beta·G^(1/alpha), G gamma distributed with shape 1/alpha, of which beta_l/(beta_l
    + beta_r) are negative: the relative error of the estimates is about 3/sqrt(N) = .7%, 4 sigma 3%."""
    rng = np.random.default_rng(int(10 * alpha))
    beta_l, beta_r, count = 0.8, 1.6, 200_000
    size = rng.gamma(1 / alpha, size=count) ** (1 / alpha)
    x = np.where(rng.random(count) < beta_l / (beta_l + beta_r), -beta_l, beta_r) * size
    found = [float(v) for v in generalised_gaussian(torch.from_numpy(x)[None])]
    np.testing.assert_allclose(found, [alpha, beta_l, beta_r], rtol=0.03)


def test_distance_is_that_of_the_paper(features):
    pristine = Pristine.load(zoo.asset(ASSET))
    rows, mean, covariance = features.numpy(), pristine.mean.numpy(), pristine.covariance.numpy()
    difference = rows.mean(0) - mean
    pooled = np.linalg.pinv((covariance + np.cov(rows.T)) / 2)
    assert float(Niqe()(X, X)) == pytest.approx(np.sqrt(difference @ pooled @ difference), rel=1e-6)


def test_shipped_parameters_are_a_covariance_of_many_photographs():
    pristine = Pristine.load(zoo.asset(ASSET))
    assert pristine.mean.shape == (36,)
    torch.testing.assert_close(pristine.covariance, pristine.covariance.T)
    assert float(torch.linalg.eigvalsh(pristine.covariance)[0]) > 0
    assert int(pristine.made["pictures"]) == 3646
    assert int(pristine.made["blocks"]) > 10_000
    assert zoo.asset_digest(ASSET) in Niqe().info.reference
    assert zoo.asset(ASSET).stat().st_size < 20_000


def test_refit_recovers_what_it_was_given(tmp_path):
    """Blocks of two photographs: mean and covariance of the sharp ones, kept in a file."""
    pictures = [X[0], photograph("astronaut", 192, 192)[0], torch.rand(3, 64, 64)]
    pristine = fit_pristine(pictures, {"files": "test"})
    kept = []
    for picture in pictures[:2]:
        rows, sharpness = block_features(picture)
        kept.append(rows[sharpness > 0.75 * sharpness.max()])
    rows = torch.cat(kept).numpy()
    assert pristine.made == {"files": "test", "pictures": "2", "blocks": str(len(rows))}
    assert len(rows) < 6 + 4, "blurred blocks are left out"
    np.testing.assert_allclose(pristine.mean, rows.mean(0))
    np.testing.assert_allclose(pristine.covariance, np.cov(rows.T))
    pristine.save(tmp_path / "niqe.safetensors")
    again = Pristine.load(tmp_path / "niqe.safetensors")
    torch.testing.assert_close(again.covariance, pristine.covariance)
    assert again.made == pristine.made


def test_values_rise_with_damage_and_do_not_need_the_original():
    metric = Niqe()
    clean = float(metric(X, X))
    for kind, versions in ladders(X).items():
        values = [float(metric(v, X)) for v in versions[1:]]
        assert clean < values[0] < values[1], (kind, clean, values)
    soft = blurred(X, 1.2)
    assert float(metric(soft, X)) == float(metric(soft, torch.zeros_like(X)))


def test_failed_frames_and_flat_blocks_have_values():
    metric = Niqe()
    grey = torch.full_like(X, 128 / 255)
    assert float(metric(X, X)) < float(metric(compressed(X, 5), X)) < float(metric(grey, X)) < 100
    half_flat = X.clone()
    half_flat[..., :96, :96] = 0.5
    assert bool(torch.isfinite(metric(half_flat, X)).all())


def test_values_are_per_image_and_sizes_are_checked():
    metric = Niqe()
    batch = torch.cat([X, blurred(X, 1.2)])
    values = metric(batch, batch)
    assert values.shape == (2,)
    assert float(metric(batch[1:], batch[1:])) == float(values[1])
    assert bool(torch.isfinite(metric(X[..., :96, :96], X[..., :96, :96])).all())
    with pytest.raises(ValueError, match="niqe: image too small"):
        metric(X[..., :95, :], X[..., :95, :])


def test_broken_parameters_are_named(tmp_path):
    (tmp_path / "broken").write_bytes(b"nothing")
    with pytest.raises(MetricUnavailable, match=r"niqe: parameters .*broken: cannot be read"):
        Pristine.load(tmp_path / "broken")
