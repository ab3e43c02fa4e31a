"""Losses of trainings against independent references, and the balance of their gradients at the picture."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import linksim.training.objective.losses as losses_module
from linksim.metrics.base import MetricUnavailable
from linksim.scenario.schema import LossSpec, PhaseSpec
from linksim.training.objective.adversary import Adversary
from linksim.training.objective.discriminators import PatchCritic, ProjectedCritic, hinge
from linksim.training.objective.features import Lite0Features, LpipsFeatures
from linksim.training.objective.losses import Losses, PictureGradient, Terms, wasserstein_distortion

CPU = torch.device("cpu")


def pictures(batch: int, side: int, seed: int) -> Tensor:
    gen = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, side, side, generator=gen)


@pytest.fixture
def squeeze(tmp_path, monkeypatch) -> LpipsFeatures:
    """LPIPS on a SqueezeNet with random weights: the distance does not know where weights come from."""
    import torchvision

    from linksim.weights.zoo import BACKBONES

    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = torchvision.models.squeezenet1_1(weights=None)
    torch.save(network.state_dict(), tmp_path / BACKBONES["squeeze"].file)
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path))
    return LpipsFeatures("squeeze")


# -------------------------------------------------------------------------------------- distortion


@pytest.mark.parametrize(
    "weights",
    [{"mse": 3.0}, {"mse": 0.0, "log_mse": 2.0}, {"mse": 0.0, "ms_ssim": 4.0}],
    ids=lambda w: [*w][-1],
)
def test_distortions_are_those_of_others(weights):
    """Of every picture: NumPy's mean square, its logarithm above a floor of 50 dB, 1 - MS-SSIM of pytorch-msssim."""
    import pytorch_msssim

    x, x_hat = pictures(2, 176, 1), pictures(2, 176, 1) * 0.8 + 0.2 * pictures(2, 176, 2)
    x_hat[1] = x[1] + 0.02  # another picture, another distance
    mse = np.square(x_hat.double().numpy() - x.double().numpy()).mean((1, 2, 3))
    similarity = pytorch_msssim.ms_ssim(x_hat, x, data_range=1.0, size_average=False).double().numpy()
    expected = (
        weights.get("mse", 0) * mse
        + weights.get("log_mse", 0) * np.log(mse + 1e-5)
        + weights.get("ms_ssim", 0) * (1 - similarity)
    )
    got = Losses(LossSpec(**weights), CPU).distortion(x_hat, x)
    np.testing.assert_allclose(got.double().numpy(), expected, rtol=2e-4, atol=4e-5)


# ------------------------------------------------------------------------------------------- LPIPS


def test_lpips_loss_is_that_of_the_package(squeeze):
    """But for the floor of a feature's length: 1e-10 under the root here, beside it there."""
    from linksim.metrics.perceptual import Lpips

    x, x_hat = pictures(3, 64, 1), pictures(3, 64, 2)
    ours = squeeze.distance(squeeze(x_hat), squeeze(x))
    torch.testing.assert_close(ours.double(), Lpips("squeeze")(x_hat, x), rtol=2e-4, atol=1e-6)
    shifted = squeeze.distance(squeeze(x_hat + 0.02), squeeze(x))
    assert not torch.allclose(ours, shifted, rtol=2e-4), "the comparison sees a small change"


def test_lpips_loss_has_finite_gradients_where_features_are_zero(squeeze):
    """The package's has none: d sqrt(s)/ds at s = 0."""
    features = [torch.zeros(1, 64, 8, 8, requires_grad=True)]
    other = [torch.rand(1, 64, 8, 8)]
    squeeze._weights = squeeze._weights[:1]
    squeeze.distance(features, other).sum().backward()
    assert bool(torch.isfinite(features[0].grad).all())
    import lpips

    plain = torch.zeros(1, 64, 8, 8, requires_grad=True)
    lpips.normalize_tensor(plain).square().sum().backward()
    assert not bool(torch.isfinite(plain.grad).all())


# ------------------------------------------------------------------------------------- Wasserstein


def slow_wasserstein(a: np.ndarray, b: np.ndarray, pool: int) -> np.ndarray:
    """Loops over pictures, features and windows of one layer."""
    result = np.zeros(len(a))
    spread = np.array([b[:, c].var() for c in range(b.shape[1])])
    spread = spread + 0.2 * spread.mean() + 1e-6
    side = min(pool, *a.shape[2:])
    step = max(side // 2, 1)
    for i in range(len(a)):
        terms = []
        for c in range(a.shape[1]):
            for top in range(0, a.shape[2] - side + 1, step):
                for left in range(0, a.shape[3] - side + 1, step):
                    x = a[i, c, top : top + side, left : left + side]
                    y = b[i, c, top : top + side, left : left + side]
                    deviations = [np.sqrt(w.var() + 1e-4 * spread[c]) for w in (x, y)]
                    distance = (x.mean() - y.mean()) ** 2 + (deviations[0] - deviations[1]) ** 2
                    terms.append(distance / spread[c])
        result[i] = np.mean(terms)
    return result


@pytest.mark.parametrize("pool", [2, 4, 16])
def test_wasserstein_distortion_is_that_of_loops(pool):
    gen = torch.Generator().manual_seed(5)
    layers = [
        (torch.randn(2, c, s, s, generator=gen), torch.randn(2, c, s, s, generator=gen))
        for c, s in ((3, 12), (5, 6))
    ]
    got = wasserstein_distortion([a for a, _ in layers], [b for _, b in layers], pool)
    expected = np.mean(
        [slow_wasserstein(a.double().numpy(), b.double().numpy(), pool) for a, b in layers], axis=0
    )
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4)


def test_wasserstein_distortion_sees_statistics_not_places():
    """Shuffled within its windows a texture costs nothing; blurred it costs its deviation."""
    gen = torch.Generator().manual_seed(6)
    x = torch.randn(1, 1, 16, 16, generator=gen)
    windows = F.unfold(x, 16, stride=16)
    shuffled = F.fold(windows[:, torch.randperm(256, generator=gen)], 16, 16, stride=16)
    assert float(wasserstein_distortion([shuffled], [x], 16)) < 1e-9
    assert float((shuffled - x).square().mean()) > 1
    assert float(wasserstein_distortion([torch.full_like(x, float(x.mean()))], [x], 16)) > 0.5


def test_wasserstein_distortion_has_finite_gradients_on_flat_pictures():
    x_hat = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    wasserstein_distortion([x_hat], [torch.full((1, 3, 16, 16), 0.4)], 4).sum().backward()
    assert bool(torch.isfinite(x_hat.grad).all())


@pytest.mark.parametrize(
    ("features", "looks"),
    [(("rgb",), [3]), (("lpips",), [64, 128, 256, 384]), (("rgb", "lpips"), [3, 64, 128, 256, 384])],
)
def test_wasserstein_looks_at_the_features_of_the_recipe_alone(squeeze, monkeypatch, features, looks):
    seen: list[int] = []

    def noted(features_hat, features, pool):
        seen.extend(f.shape[1] for f in features_hat)
        return wasserstein_distortion(features_hat, features, pool)

    monkeypatch.setattr(losses_module, "wasserstein_distortion", noted)
    spec = LossSpec(wasserstein=1.0, wasserstein_features=features, lpips_net="squeeze")
    losses = Losses(spec, CPU)
    losses.add_perceptual(Terms(torch.zeros(1)), pictures(1, 64, 1), pictures(1, 64, 2))
    assert seen == looks


# ------------------------------------------------------------------------------------------ critics


def test_hinge_is_zero_for_what_is_told_apart_and_two_for_what_is_not():
    ones = torch.ones(4, 3, 3)
    assert float(hinge(2 * ones, -2 * ones, torch.ones(4))) == 0
    assert float(hinge(0 * ones, 0 * ones, torch.ones(4))) == 2
    assert float(hinge(0 * ones, 0 * ones, torch.tensor([1.0, 0, 0, 0]))) == 0.5


def test_patch_critic_is_told_what_was_received():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        critic = PatchCritic(8, 4).eval()
    x = pictures(1, 64, 1)
    seen = critic(x, torch.zeros(1, 8, 4, 4))
    assert seen.shape[:2] == (1, 1)
    assert not torch.equal(seen, critic(x, torch.ones(1, 8, 4, 4)))


def test_patch_critic_learns_to_tell_noise_from_smooth(monkeypatch):
    """60 steps: the hinge loss of two easy classes falls below half of what a blind critic has."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        phase = PhaseSpec(name="p", share=1.0, loss=LossSpec(patch_gan=1.0), critic_rate=2e-3, critic_width=8)
        adversary = Adversary(phase, 4, None, CPU)
        condition, weight = torch.zeros(4, 4, 4, 4), torch.ones(4)
        losses = []
        for step in range(60):
            noise = pictures(4, 64, step)
            smooth = F.avg_pool2d(noise, 9, 1, 4)
            losses.append(
                adversary.step(smooth, noise, condition, weight, 1.0, torch.autocast("cpu", enabled=False))
            )
    assert losses[0] == pytest.approx(2, abs=0.5)
    assert np.mean(losses[-5:]) < 1.0


def test_judging_moves_the_picture_not_the_critic():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        phase = PhaseSpec(name="p", share=1.0, loss=LossSpec(patch_gan=1.0), critic_width=4)
        adversary = Adversary(phase, 4, None, CPU)
    x_hat = pictures(2, 64, 3).requires_grad_()
    terms = Terms(torch.zeros(2))
    adversary.judge(terms, x_hat, torch.zeros(2, 4, 4, 4), [])
    terms.patch.sum().backward()
    assert float(x_hat.grad.abs().sum()) > 0
    assert all(p.grad is None for p in adversary.parameters)
    assert all(p.requires_grad for p in adversary.parameters)


def test_what_critics_ask_of_a_picture_is_the_negative_of_what_they_say():
    """The generator's term of the hinge loss, -D of each picture: a step down it is believed more."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        phase = PhaseSpec(name="p", share=1.0, loss=LossSpec(patch_gan=1.0), critic_width=4)
        adversary = Adversary(phase, 4, None, CPU)
        for module in adversary.critics.modules():
            module.eval()
    x_hat, condition = pictures(2, 64, 3).requires_grad_(), torch.zeros(2, 4, 4, 4)
    terms = Terms(torch.zeros(2))
    adversary.judge(terms, x_hat, condition, [])
    with torch.no_grad():
        said = [
            float(adversary.critics.patch(x_hat[i : i + 1], condition[i : i + 1]).mean()) for i in range(2)
        ]
    np.testing.assert_allclose(terms.patch.detach().numpy(), [-one for one in said], rtol=1e-5)
    (gradient,) = torch.autograd.grad(terms.patch.sum(), x_hat)
    better = x_hat.detach() - 0.01 * gradient / gradient.norm()
    with torch.no_grad():
        assert float(adversary.critics.patch(better, condition).mean()) > float(np.mean(said))


def test_critics_are_faded_in():
    phase = PhaseSpec(
        name="p", share=1.0, loss=LossSpec(patch_gan=1.0), critic_start=0.2, critic_delay=0.1, critic_width=4
    )
    adversary = Adversary(phase, 4, None, CPU)
    assert not adversary.is_training(0.19)
    assert adversary.is_training(0.2)
    assert adversary.share(0.29) == 0
    assert 0 < adversary.share(0.35) < 1
    assert adversary.share(0.5) == 1


def test_projected_critic_and_lite0_look_at_five_scales():
    try:
        lite = Lite0Features()
    except MetricUnavailable as problem:
        pytest.skip(str(problem))
    features = lite(pictures(1, 64, 1))
    assert [64 // f.shape[-1] for f in features] == [2, 4, 8, 16, 32]
    assert lite.widths == [f.shape[1] for f in features]
    assert not any(m.training for m in lite.train().modules())
    assert ProjectedCritic(lite.widths[1:])(features[1:]).shape == (1, 4)


# ------------------------------------------------------------------------------------------ balance


def quadratic_terms(x_hat: Tensor, scale: float) -> Terms:
    """Terms whose gradients are simple, the balanced one in any unit."""
    return Terms(
        distortion=x_hat.square().sum((1, 2, 3)),
        lpips=(3 * x_hat).sum((1, 2, 3)),
        wasserstein=scale * (x_hat - 1).square().sum((1, 2, 3)),
    )


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_balanced_terms_weigh_what_the_recipe_says_in_any_unit(scale):
    """The part of the gradient that is not distortion and LPIPS is ``wasserstein`` times as long as that of LPIPS."""
    x_hat = pictures(2, 8, 1).requires_grad_()
    realism = torch.ones(2)
    plain = PictureGradient(LossSpec(lpips=2.0))(x_hat, quadratic_terms(x_hat, scale), realism, 0.0)
    with_it = PictureGradient(LossSpec(lpips=2.0, wasserstein=1.5))(
        x_hat, quadratic_terms(x_hat, scale), realism, 0.0
    )
    lpips = torch.full_like(x_hat, 2.0 * 3 / 2).norm()
    assert float((with_it - plain).norm() / lpips) == pytest.approx(1.5, rel=1e-4)
    again = PictureGradient(LossSpec(lpips=2.0, wasserstein=3.0))(
        x_hat, quadratic_terms(x_hat, scale), realism, 0.0
    )
    assert float((again - plain).norm() / lpips) == pytest.approx(3.0, rel=1e-4), "the weight has an effect"


def test_gradient_of_plain_losses_is_that_of_the_mean_loss():
    spec = LossSpec(mse=2.0, log_mse=0.5)
    x, x_hat = pictures(3, 16, 1), pictures(3, 16, 2).requires_grad_()
    losses = Losses(spec, CPU)
    got = PictureGradient(spec)(x_hat, losses.distortion_terms(x_hat, x), torch.ones(3), 0.0)
    (expected,) = torch.autograd.grad(losses.distortion(x_hat, x).mean(), x_hat)
    torch.testing.assert_close(got, expected)


def test_pictures_that_are_asked_for_fidelity_have_no_perceptual_gradient(squeeze):
    spec = LossSpec(mse=0.0, log_mse=1.0, lpips=2.0, lpips_net="squeeze", wasserstein=1.0)
    losses, x = Losses(spec, CPU), pictures(2, 64, 1)
    x_hat = (x + 0.1 * (pictures(2, 64, 2) - 0.5)).requires_grad_()
    terms = losses.distortion_terms(x_hat, x)
    losses.add_perceptual(terms, x_hat[1:], x[1:])
    total = PictureGradient(spec)(x_hat, terms, torch.ones(1), 0.0)
    (distortion,) = torch.autograd.grad(losses.distortion(x_hat, x).mean(), x_hat)
    torch.testing.assert_close(total[0], distortion[0])
    assert not torch.allclose(total[1], distortion[1], rtol=1e-2)


DISTANCE, DISTORTION, BALANCED = LpipsFeatures.distance, Losses.distortion, PictureGradient.__call__


def half_the_distance(self, features_hat, features):
    return 0.5 * DISTANCE(self, features_hat, features)


def wider_windows(features_hat, features, pool):
    return OWN_WASSERSTEIN(features_hat, features, pool + 2)


OWN_WASSERSTEIN = wasserstein_distortion


def mean_over_the_batch(self, x_hat, x):
    return DISTORTION(self, x_hat, x).mean().expand(len(x))


def by_hand(self, name, found, reference):
    return 1.0


def as_if_all_asked_for_half(self, x_hat, terms, realism, critic_share):
    return BALANCED(self, x_hat, terms, torch.full_like(realism, 0.5), critic_share)


@pytest.mark.parametrize(
    ("check", "owner", "name", "wrong"),
    [
        ("lpips", LpipsFeatures, "distance", half_the_distance),
        ("wasserstein", sys.modules[__name__], "wasserstein_distortion", wider_windows),
        ("distortion", Losses, "distortion", mean_over_the_batch),
        ("balance", PictureGradient, "_balance", by_hand),
        ("realism", PictureGradient, "__call__", as_if_all_asked_for_half),
    ],
)
def test_a_wrong_loss_is_caught(squeeze, monkeypatch, check, owner, name, wrong):
    """The checks of this file fail for losses that are wrong in one place."""
    checks = {
        "lpips": lambda: test_lpips_loss_is_that_of_the_package(squeeze),
        "wasserstein": lambda: test_wasserstein_distortion_is_that_of_loops(4),
        "distortion": lambda: test_distortions_are_those_of_others({"mse": 3.0}),
        "balance": lambda: test_balanced_terms_weigh_what_the_recipe_says_in_any_unit(1e4),
        "realism": test_perceptual_terms_count_as_much_as_the_realism_of_a_picture,
    }
    checks[check]()
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError):
        checks[check]()


def test_perceptual_terms_count_as_much_as_the_realism_of_a_picture():
    x_hat = pictures(2, 8, 1).requires_grad_()
    terms = Terms(torch.zeros_like(x_hat).mul(x_hat).sum((1, 2, 3)), lpips=(3 * x_hat).sum((1, 2, 3)))
    got = PictureGradient(LossSpec(lpips=2.0))(x_hat, terms, torch.tensor([0.25, 1.0]), 0.0)
    torch.testing.assert_close(got[0], torch.full_like(got[0], 0.25 * 2 * 3 / 2))
    torch.testing.assert_close(got[1], torch.full_like(got[1], 2 * 3 / 2))


def test_losses_name_the_measures_that_a_network_sees():
    assert LossSpec(mse=0.0, log_mse=1.0, lpips=1.0, lpips_net="squeeze").measures == [
        "psnr",
        "lpips_squeeze",
    ]
    assert "efficientnet_lite0" in LossSpec(projected_gan=1.0).measures


def test_missing_feature_networks_are_said_before_the_training(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("efficientnet"):
            raise ImportError(f"no module {name}")
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        warnings.catch_warnings(),
        pytest.raises(MetricUnavailable, match=r"Install it: pip install 'linksim-wireless\[realism\]'"),
    ):
        Losses(LossSpec(projected_gan=1.0), CPU)
