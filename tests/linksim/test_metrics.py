"""Metrics against independent references."""

from __future__ import annotations

import os

import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from linksim.images.sets import SkimageImages, round_to_uint8
from linksim.metrics.base import MetricUnavailable, OfOriginals, keep_name
from linksim.metrics.distortion import MsSsim, Psnr, ms_ssim, psnr, ssim
from linksim.metrics.errors import Ber, Bler
from linksim.metrics.perceptual import Lpips, load_lpips
from linksim.weights.zoo import BACKBONES


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    image = SkimageImages(["coffee"])["coffee"][None, :, :256, :320].float() / 255
    x = torch.cat([image, image.flip(3)])
    noise = (
        torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        * torch.tensor([0.02, 0.2])[:, None, None, None]
    )
    return round_to_uint8(x + noise).float() / 255, x


def numpy(image: torch.Tensor):
    return image.permute(1, 2, 0).double().numpy()


def test_psnr_equals_skimage_per_image(pair):
    expected = [
        peak_signal_noise_ratio(numpy(b), numpy(a), data_range=1.0) for a, b in zip(*pair, strict=True)
    ]
    torch.testing.assert_close(psnr(*pair), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0)


def test_ssim_equals_skimage(pair):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [
        structural_similarity(numpy(b), numpy(a), channel_axis=2, **options)
        for a, b in zip(*pair, strict=True)
    ]
    torch.testing.assert_close(ssim(*pair), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_ms_ssim_equals_torchmetrics(pair):
    for a, b in zip(*pair, strict=True):
        expected = multiscale_structural_similarity_index_measure(
            a[None].double(),
            b[None].double(),
            data_range=1.0,
            gaussian_kernel=True,
            sigma=1.5,
            kernel_size=11,
        )
        ours = ms_ssim(a[None].double(), b[None].double())
        torch.testing.assert_close(ours, expected.double()[None], rtol=5e-3, atol=0)


@pytest.mark.parametrize(
    "size", [(161, 161), (161, 176), (162, 175), (163, 191), (175, 256), (177, 200), (255, 257), (240, 319)]
)
def test_ms_ssim_agrees_with_pytorch_msssim_at_every_size(size, pair):
    x_hat, x = (image[:, :, : size[0], : size[1]].double() for image in pair)
    expected = pytorch_msssim.ms_ssim(x_hat, x, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(x_hat, x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(MsSsim()(x_hat, x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_ms_ssim_is_computed_in_at_least_single_precision(dtype, pair):
    """Black and white beside each other keep their values in every format: the result must be the same."""
    x_hat, x = ((image[:, :, :, :256] > 0.5).to(dtype) for image in pair)
    expected = pytorch_msssim.ms_ssim(x_hat.double(), x.double(), data_range=1.0, size_average=False)
    found = ms_ssim(x_hat, x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_ms_ssim_of_a_negative_is_zero_and_has_a_gradient(pair):
    x = pair[1][:, :, :200, :200]
    expected = pytorch_msssim.ms_ssim(1 - x, x, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(1 - x, x), expected, rtol=0, atol=1e-5)
    leaf = (1 - x).requires_grad_()
    ms_ssim(leaf, x).sum().backward()
    assert bool(torch.isfinite(leaf.grad).all())


def test_metrics_are_per_image_and_differentiable(pair):
    x_hat, x = pair
    for metric in (psnr, ssim, ms_ssim):
        whole = metric(x_hat, x)
        assert whole.shape == (2,)
        torch.testing.assert_close(whole[1:], metric(x_hat[1:], x[1:]))
        leaf = x_hat.clone().requires_grad_()
        metric(leaf, x).sum().backward()
        assert leaf.grad.abs().sum() > 0


def test_identical_images(pair):
    x = pair[1]
    assert bool((Psnr()(x, x) == 100).all())
    torch.testing.assert_close(ssim(x, x), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(MsSsim()(x, x), torch.ones(2, dtype=torch.float64))


def test_shapes_do_not_broadcast(pair):
    x_hat, x = pair
    with pytest.raises(ValueError, match="wrong shape"):
        psnr(x_hat[:, :1], x)
    with pytest.raises(ValueError, match="image too small"):
        ms_ssim(x_hat[:, :, :100], x[:, :, :100])


def test_rounding_clips_and_rounds_half_to_even():
    values = torch.tensor([-0.2, 0.0, 0.5 / 255, 1.5 / 255, 0.999, 1.7])
    assert round_to_uint8(values).tolist() == [0, 0, 0, 2, 255, 255]


def test_error_counts():
    true = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.uint8)
    hat = torch.tensor([[0, 1, 0, 1], [1, 1, 1, 1]], dtype=torch.uint8)
    errors, trials = Ber()(hat, true)
    assert (errors.tolist(), trials.tolist()) == ([2, 0], [4, 4])
    errors, trials = Bler()(hat, true)
    assert (errors.tolist(), trials.tolist()) == ([1, 0], [1, 1])
    with pytest.raises(ValueError, match="ber: wrong shape"):
        Ber()(hat[:, :3], true)


@pytest.fixture
def random_squeeze(tmp_path, monkeypatch):
    """Random feature weights in the user's folder: the loading path without the real file."""
    import torchvision

    torch.manual_seed(3)
    model = torchvision.models.squeezenet1_1(weights=None)
    folder = tmp_path / "weights" / "sub"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / BACKBONES["squeeze"].file)
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path / "weights"))
    return model, folder / BACKBONES["squeeze"].file


def test_lpips_loads_torchvision_features_into_its_slices(random_squeeze, pair):
    model, path = random_squeeze
    metric = Lpips("squeeze")
    loaded, _ = load_lpips("squeeze")
    torch.testing.assert_close(loaded.net.slice1[0].weight, model.features[0].weight)
    last = dict(loaded.net.slice7.named_parameters())["12.expand3x3.weight"]
    torch.testing.assert_close(last, model.features[12].expand3x3.weight)
    x_hat, x = pair
    values = metric(x_hat, x)
    assert values.shape == (2,)
    assert bool((metric(x, x) == 0).all())
    assert values[1] > values[0] > 0
    assert metric.info.name == "lpips_squeeze"
    leaf = x_hat.clone().requires_grad_()
    metric.loss(leaf, x).sum().backward()
    assert leaf.grad.abs().sum() > 0
    assert path.name.startswith("squeezenet1_1-")


def test_lpips_with_broken_or_missing_weights_says_the_cure(random_squeeze, no_network):
    _, path = random_squeeze
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(MetricUnavailable, match="cannot be read"):
        Lpips("squeeze")
    torch.save({"0.weight": torch.zeros(3)}, path)
    with pytest.raises(MetricUnavailable, match="lacks"):
        Lpips("squeeze")
    path.unlink()
    with pytest.raises(MetricUnavailable, match="LINKSIM_WEIGHTS"):
        Lpips("squeeze")


@pytest.mark.skipif(
    "LINKSIM_REAL_WEIGHTS" not in os.environ, reason="set LINKSIM_REAL_WEIGHTS to a weights folder"
)
def test_lpips_squeeze_with_real_weights(monkeypatch, pair):
    monkeypatch.setenv("LINKSIM_WEIGHTS", os.environ["LINKSIM_REAL_WEIGHTS"])
    values = Lpips("squeeze")(*pair)
    assert 0 < values[0] < values[1] < 1.5


def test_what_is_made_of_originals_is_made_once_within_the_limit_of_memory():
    seen = []

    def make(x):
        seen.append(x)
        return 2 * x

    kept = OfOriginals(make, lambda made: made.nbytes)
    first, second = torch.rand(2, 1, 3, 8, 8)
    for original in (first, second, first, first.clone()):
        assert torch.equal(kept(original), 2 * original)
    assert len(seen) == 2
    kept(first.double())
    assert len(seen) == 3, "of another type it is another one"
    buffer = np.zeros((1, 3, 8, 8), np.float32)
    frame = torch.from_numpy(buffer)
    kept(frame)
    buffer += 0.5
    assert torch.equal(kept(frame), 2 * frame), "it is asked for by its pixels, not by its place"
    keep_name(frame)
    assert torch.equal(kept(frame), 2 * frame)
    assert len(seen) == 5
    small = OfOriginals(make, lambda made: made.nbytes, limit_bytes=first.nbytes)
    for original in (first, second, first, first):
        assert torch.equal(small(original), 2 * original)
    assert len(seen) == 8


def test_lpips_with_kept_features_is_that_of_the_package(random_squeeze, pair):
    """Of one picture, and of two at once; again with what is kept."""
    metric, (model, _) = Lpips("squeeze"), load_lpips("squeeze")
    x_hat, x = pair
    for one in (slice(0, 1), slice(0, 2), slice(1, 2), slice(0, 1)):
        expected = model(x_hat[one], x[one], normalize=True).flatten().double()
        torch.testing.assert_close(metric(x_hat[one], x[one]), expected, rtol=1e-6, atol=1e-9)


def test_ms_ssim_with_kept_originals_is_the_function():
    x_hat, x = torch.rand(2, 3, 3, 200, 177)
    metric = MsSsim()
    for one in (x_hat, x, 1 - x, x_hat):
        torch.testing.assert_close(metric(one, x), ms_ssim(one.double(), x.double()), rtol=1e-14, atol=0)


@pytest.mark.parametrize("size", [(176, 192), (161, 175), (203, 256)])
def test_compiled_ms_ssim_is_that_of_the_definition(size):
    """Which is differentiable, on any device; a batch, odd sides, terms below zero."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, 3, *size, generator=generator)
    noise = torch.rand(2, 3, *size, generator=generator)
    x_hat = torch.stack([0.8 * x[0] + 0.2 * noise[0], 1 - x[1]])
    found = MsSsim()(x_hat, x)
    torch.testing.assert_close(found, ms_ssim(x_hat.double(), x.double()), rtol=0, atol=1e-12)
    assert found[0] > 0.5
    assert found[1] == 0
