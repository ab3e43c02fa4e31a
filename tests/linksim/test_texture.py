"""Power in the top octave and sliced Wasserstein distances against closed forms and direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from linksim.metrics.spectrum import (
    SlicedWasserstein,
    SpectrumError,
    laplacian_octave,
    sliced_wasserstein,
)
from tests.linksim.pictures import blurred, compressed, ladders, noisy, photograph

X = photograph()
GREY = torch.full_like(X, 128 / 255)


def noise(deviation: float, seed: int, side: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + deviation * torch.randn(1, 3, side, side, generator=generator)


# ------------------------------------------------------------------------------------------------ spectrum


def test_white_noise_of_other_power_has_its_ratio_in_decibels():
    """About 3·39,000/2 independent coefficients in the octave, of relative deviation 1 each: the ratio of two
    spectra has a standard deviation of 4.34·sqrt(2/58,000·1.9) = .035 dB (the Hann window makes neighbours
    depend on each other: 1.9); 4 sigma .14."""
    error = float(SpectrumError()(noise(0.1, 1), noise(0.05, 2)))
    assert error == pytest.approx(20 * math.log10(2), abs=0.14)
    assert abs(float(SpectrumError()(noise(0.1, 1), noise(0.1, 2)))) < 0.14


@pytest.mark.parametrize("frequency", [0.05, 0.15, 0.3, 0.45])
def test_only_the_top_octave_counts(frequency):
    """A sine of a tenth of the contrast of another: -20 dB above 1/4 cycles per pixel, nothing below. The
    window's side lobes and the rounding that is added leave .05 dB."""
    wave = torch.sin(2 * math.pi * frequency * torch.arange(128.0)).expand(1, 3, 128, 128)
    error = float(SpectrumError()(0.5 + 0.02 * wave, 0.5 + 0.2 * wave))
    if frequency > 0.25:
        assert error == pytest.approx(-20, abs=0.05)
    else:
        assert abs(error) < 0.05


def test_a_flat_picture_has_the_power_of_rounding():
    """Power of white noise of the variance of rounding, in the place of a flat picture: 0 dB on average; the
    deviation is that of one spectrum, .025 dB."""
    rounding = noise(1 / math.sqrt(12) / 255, 3)
    error = float(SpectrumError()(torch.full_like(rounding, 0.5), rounding))
    assert error == pytest.approx(-10 * math.log10(2), abs=0.1)
    assert float(SpectrumError()(GREY, GREY)) == 0
    assert -60 < float(SpectrumError()(GREY, X)) < -10


def test_blur_is_negative_and_grain_positive():
    metric = SpectrumError()
    assert float(metric(X, X)) == 0
    values = {kind: [float(metric(v, X)) for v in versions] for kind, versions in ladders(X).items()}
    assert values["blur"] == sorted(values["blur"], reverse=True)
    assert values["blur"][0] < -1
    assert values["noise"] == sorted(values["noise"])
    assert values["noise"][0] > 1
    assert values["jpeg"][1] < 0
    assert metric.info.better == "nearest to 0 is best"
    assert metric.info.best([-3.0, 2.0, 5.0]) == 2.0


@pytest.mark.parametrize("shape", [(64, 96), (65, 97), (16, 33)])
def test_parseval_holds_for_the_whole_plane(shape, monkeypatch):
    """With all frequencies in the octave the power is that of the windowed picture, for odd and even sides."""
    from linksim.metrics import spectrum

    x = noise(0.1, 4)[..., : shape[0], : shape[1]].double()
    monkeypatch.setattr(spectrum.torch, "hypot", lambda a, b: torch.full((len(a), b.shape[1]), 0.3))
    window = torch.outer(*(torch.hann_window(n, periodic=False, dtype=torch.float64) for n in shape))
    window = window / window.square().mean().sqrt()
    centred = x - (x * window).mean((2, 3), keepdim=True) / window.mean()
    expected = (centred * window).square().mean((2, 3)).sum() + 3 / 12 / 255**2
    assert float(spectrum.top_octave(x)) == pytest.approx(float(expected), rel=1e-9)


# ------------------------------------------------------------------------------------ sliced Wasserstein


def test_one_direction_equals_scipy():
    rng = np.random.default_rng(1)
    a, b, direction = rng.normal(size=(50, 5)), rng.gamma(2.0, size=(50, 5)), rng.normal(size=(5, 1))
    ours = sliced_wasserstein(*(torch.from_numpy(v) for v in (a, b, direction)))
    expected = wasserstein_distance((a @ direction)[:, 0], (b @ direction)[:, 0])
    assert float(ours) == pytest.approx(expected, rel=1e-12)


def test_distance_has_a_gradient():
    """Of sorted points: each moves with its place, in half precision, too."""
    points = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    direction = torch.eye(5)[:, :1]
    sliced_wasserstein(points, torch.zeros(30, 5), direction).backward()
    torch.testing.assert_close(points.grad[:, 0], points.detach()[:, 0].sign() / 30)
    half = points.detach().bfloat16()
    assert float(sliced_wasserstein(half, 0 * half, direction.bfloat16())) > 0


def test_distance_of_shifted_points_is_closed_form():
    """All points moved by v: the mean over unit directions of |v·u| is |v| sqrt(2 / pi d) for many dimensions
    d (Gaussian limit, .3% off at d = 147); 4,000 directions, relative deviation .76/sqrt(4,000), 4 sigma 5%."""
    generator = torch.Generator().manual_seed(3)
    points, shift = torch.randn(30, 147, generator=generator), torch.randn(147, generator=generator)
    directions = torch.randn(147, 4000, generator=generator)
    directions = directions / directions.norm(dim=0)
    distance = float(sliced_wasserstein(points + shift, points, directions))
    assert distance == pytest.approx(float(shift.norm()) * math.sqrt(2 / math.pi / 147), rel=0.05)


def test_octaves_add_up_to_the_picture():
    """A Laplacian pyramid loses nothing: each octave plus the spread of the next coarser size."""
    from linksim.metrics import spectrum

    x = photograph(height=77, width=90)
    coarse = spectrum.blurred(x)[:, :, ::2, ::2]
    spread = torch.zeros_like(x)
    spread[:, :, ::2, ::2] = 4 * coarse
    torch.testing.assert_close(laplacian_octave(x, 1) + spectrum.blurred(spread), x)
    torch.testing.assert_close(laplacian_octave(x, 2), laplacian_octave(coarse, 1))


def test_a_sine_lives_in_its_octave():
    """.35 cycles per pixel: the finest octave; halves of .12: the next ones."""
    for frequency, octave in ((0.35, 1), (0.12, 2), (0.06, 3), (0.03, 4)):
        wave = torch.sin(2 * math.pi * frequency * torch.arange(256.0)).expand(1, 1, 256, 256)
        power = [float(laplacian_octave(wave, o).square().mean()) for o in (1, 2, 3, 4)]
        assert power.index(max(power)) == octave - 1


def test_distance_is_that_of_the_patches():
    """Every patch of a small octave, in NumPy, with the directions of the metric: scipy's distances."""
    from linksim.metrics import spectrum

    x = photograph(height=64, width=64)
    y = blurred(x, 1.0)
    octave = 3  # 16 x 16: 100 patches
    a, b = (laplacian_octave(v, octave)[0].double().numpy() for v in (y, x))
    mean, scale = b.mean((1, 2)), np.sqrt(b.var((1, 2)) + 1 / 12 / 255**2)
    sets = []
    for v in (a, b):
        v = (v - mean[:, None, None]) / scale[:, None, None]
        windows = np.lib.stride_tricks.sliding_window_view(v, (7, 7), (1, 2))
        sets.append(np.moveaxis(windows, 0, 2).reshape(100, -1))
    generator = torch.Generator().manual_seed(octave)
    torch.randperm(100, generator=generator)
    directions = torch.empty(147, spectrum.PROJECTIONS).normal_(generator=generator)
    directions = (directions / directions.norm(dim=0)).double().numpy()
    expected = np.mean([wasserstein_distance(sets[0] @ d, sets[1] @ d) for d in directions.T])
    assert float(SlicedWasserstein(octave)(y, x)) == pytest.approx(expected, rel=1e-5)
    assert float(SlicedWasserstein(octave)(y, x)) != pytest.approx(2 * expected, rel=0.1)


def test_mean_of_octaves_and_monotone():
    whole, finest = SlicedWasserstein(), SlicedWasserstein(1)
    assert float(whole(X, X)) == 0
    small = photograph(height=96, width=128)
    for kind, versions in ladders(small).items():
        for metric in (whole, finest):
            values = [float(metric(v, small)) for v in versions]
            assert values == sorted(values), (kind, values)
            assert values[0] > 0
    parts = [float(SlicedWasserstein(o)(noisy(X, 0.05), X)) for o in (1, 2, 3, 4)]
    assert float(whole(noisy(X, 0.05), X)) == pytest.approx(np.mean(parts), rel=1e-6)


def test_what_is_kept_of_originals_is_theirs():
    """One metric, originals of two sizes in turn, alone and in a batch: values of a metric made anew."""
    pairs = [
        (noisy(X, 0.05), X),
        (noisy(X[:, :, :80, :90], 0.1), X[:, :, :80, :90]),
        (X.flip(3), noisy(X, 0.05)),
    ]
    for make in (SlicedWasserstein, SpectrumError):
        metric = make()
        for shown, original in (*pairs, *pairs):
            torch.testing.assert_close(metric(shown, original), make()(shown, original), rtol=0, atol=0)
        whole = metric(torch.cat([pairs[0][0], pairs[2][0]]), torch.cat([X, pairs[2][1]]))
        alone = torch.cat([metric(*pairs[0]), metric(*pairs[2])])
        torch.testing.assert_close(whole, alone, rtol=1e-6, atol=0)


def test_place_of_a_texture_does_not_matter():
    """A patch of texture moved by 3 pixels is nearer to itself than a slightly blurred one; PSNR says the
    opposite."""
    moved, soft = X.roll(3, 3), blurred(X, 1.0)
    assert float(SlicedWasserstein()(moved, X)) < 0.5 * float(SlicedWasserstein()(soft, X))
    assert (moved - X).square().mean() > 2 * (soft - X).square().mean()


@pytest.mark.parametrize("metric", [SpectrumError(), SlicedWasserstein(), SlicedWasserstein(4)])
def test_values_are_per_image_and_sizes_are_checked(metric):
    batch = torch.cat([blurred(X, 1.0), compressed(X, 20), GREY])
    values = metric(batch, X.expand_as(batch))
    assert values.shape == (3,)
    assert values.dtype == torch.float64
    assert bool(torch.isfinite(values).all())
    assert float(metric(batch[1:2], X)) == pytest.approx(float(values[1]), rel=1e-6)
    side, name = metric.info.min_side, metric.info.name
    small = X[..., :side, :side]
    assert bool(torch.isfinite(metric(small, small)).all())
    with pytest.raises(ValueError, match=f"{name}: image too small"):
        metric(X[..., : side - 1], X[..., : side - 1])
