"""The pilot that tells the receiver the scale of a picture."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from channels.flat.awgn import AwgnChannel
from linksim.cli.commands import main
from linksim.images.sets import SkimageImages
from linksim.jscc.dial import DialCodec
from linksim.jscc.latent_denoiser import sent_scale
from linksim.jscc.lean import LeanCodec, LeanConfig
from linksim.jscc.linear_analog import LinearAnalogCodec
from linksim.jscc.scale_pilot import checkerboard, estimate_log_scale, remove_pilot
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.schemes.jscc import JsccScheme
from tests.linksim.test_dial import TINY, klt, send

ROWS, COLS = 12, 16
AMPLITUDE = 0.4


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    """[2, 3, 384, 512]: a pilot is read over all 768 positions."""
    whole = SkimageImages(["coffee", "astronaut"])
    return torch.stack([whole[name][:, :384, :512] for name in whole.names]).float() / 255


def pilot_codec(share: float = 0.01) -> DialCodec:
    codec = DialCodec(replace(TINY, rates=(4, 16, 64), pilot_share=share))
    codec.start_from_klt(klt())
    return codec.eval().requires_grad_(False)


def received(frames: int, scale: float, reliability: float, seed: int) -> Tensor:
    """[frames, h, w] LMMSE estimates of weak values on a pilot, after division by the scale."""
    gen = torch.Generator().manual_seed(seed)
    values = 0.2 * torch.randn(frames, ROWS, COLS, generator=gen)
    x = (values + AMPLITUDE * checkerboard(ROWS, COLS)) / scale
    noise = torch.randn(frames, ROWS, COLS, generator=gen) * math.sqrt((1 - reliability) / reliability / 2)
    return reliability * (x + noise)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
def test_the_scale_is_read(scale):
    """1,000 frames at 10 dB: no bias beyond what the weight against the mean makes, spread as computed."""
    r = 10 / 11
    values = received(1000, scale, r, 1)
    found, weight = estimate_log_scale(
        values, torch.full_like(values, r), torch.tensor(math.log(AMPLITUDE)), torch.tensor(0.0)
    )
    assert 0.9 < float(weight.mean()) < 1
    deviation = math.sqrt(((0.2 / scale) ** 2 + (1 - r) / r / 2) / (ROWS * COLS)) / (AMPLITUDE / scale)
    expected = float(weight.mean()) * math.log(scale)
    assert abs(float(found.mean()) - expected) < 4 * deviation / math.sqrt(1000) + deviation**2
    assert float(found.std()) == pytest.approx(deviation, rel=0.15)  # 1,000 frames: a standard error of 2%


def test_where_nothing_arrives_the_mean_is_assumed():
    nothing = torch.zeros(1, ROWS, COLS)
    mean = torch.tensor(0.3)
    found, weight = estimate_log_scale(nothing, nothing, torch.tensor(math.log(AMPLITUDE)), mean)
    torch.testing.assert_close(found, mean[None])
    assert float(weight) < 1e-3


def test_removal_is_exact():
    latent = torch.randn(2, 4, ROWS, COLS)
    reliability = torch.rand(2, 4, ROWS, COLS)
    amplitude = torch.tensor([0.3, 0.7])
    with_pilot = latent.clone()
    board = checkerboard(ROWS, COLS)
    with_pilot[:, 3] += amplitude[:, None, None] * board * reliability[:, 3]
    torch.testing.assert_close(remove_pilot(with_pilot, reliability, 3, amplitude), latent)


@pytest.mark.parametrize("rate", [0, 1, 2])
def test_an_untrained_network_with_pilot_is_the_linear_code(rate, photographs):
    """At 20 dB, where the allocation of power hardly matters, within .3 dB of the linear code with a scale of
    its own; without a pilot it is .9 to 1.7 dB worse.
    """
    told = pilot_codec()
    untold = DialCodec(replace(told.config, pilot_share=0.0)).eval().requires_grad_(False)
    untold.start_from_klt(klt())
    budget = told.num_symbols_at(rate, *photographs.shape[2:])
    linear = JsccScheme("linear", LinearAnalogCodec(klt(), scale="blind"))
    snr = torch.full((2,), 20.0)
    shown = run_link(linear, AwgnChannel(), photographs, snr, [0, 1], budget).reconstruction.image
    reference = float(psnr(shown, photographs).mean())
    mine, without = (
        float(psnr(send(c, photographs, rate, 20.0), photographs).mean()) for c in (told, untold)
    )
    assert mine > reference - 0.3
    assert mine > without + 0.7


def test_low_contrast_is_shown_as_low_contrast(photographs):
    codec = pilot_codec()
    flat = 0.45 + 0.4 * (photographs - 0.45)
    shown = send(codec, flat, 2, 20.0)
    for mine, true in zip(shown, flat, strict=True):
        assert float(mine.std() / true.std()) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("rate", [0, 1, 2])
def test_a_certain_map_has_the_scale_and_no_pilot(rate, photographs):
    codec = pilot_codec()
    whole = codec.latent(photographs, None, rate)
    bare = DialCodec(replace(codec.config, pilot_share=0.0)).requires_grad_(False)
    bare.start_from_klt(klt())
    frame = codec.certain_map(whole / sent_scale(whole, codec.config.rates[rate]), rate, 0.99)
    assert frame.log_scale is not None
    found = frame.latent * frame.log_scale[0].exp()[:, None, None, None]
    error = (found - bare.latent(photographs, None, 2)).square().mean().sqrt()
    assert float(error / found.square().mean().sqrt()) < 0.05


def test_gradients_pass_through_the_pilot(photographs):
    codec = pilot_codec().requires_grad_(True)
    send(codec, photographs, 1).square().mean().backward()
    for parameter in (codec.encoder.log_pilot, codec.decoder.log_power, codec.encoder.log_gain):
        assert parameter.grad is not None
        assert float(parameter.grad[1].abs().max()) > 0


def test_a_lean_network_is_no_start_for_one_with_pilot(tmp_path, capsys):
    with pytest.raises(ValueError, match="a lean network has no pilot"):
        pilot_codec().start_from_lean(LeanCodec(LeanConfig(latent_channels=4)))
    words = ["check", "train/dial", "--set", "train.initial=lean-awgn-1-96"]
    assert main(words) == 2
    assert "train.codec.pilot_share: lean-awgn-1-96 has no pilot to begin with" in capsys.readouterr().err


@pytest.mark.parametrize("share", [-0.01, 0.5])
def test_a_share_that_cannot_be_is_refused(share):
    with pytest.raises(ValueError, match="DialCodec: pilot_share: out of range"):
        DialCodec(replace(TINY, pilot_share=share))
