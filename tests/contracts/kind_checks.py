"""What every kind of a family promises, whoever wrote it: a function per family that fails where it does not
hold. Channels have :mod:`tests.contracts.operator_checks`, schemes :mod:`tests.contracts.test_scheme_contract`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from channels.flat.awgn import AwgnChannel
from channels.hardware.impairment import Impairment
from linksim.build.checkpoints import read_checkpoint, save_checkpoint
from linksim.build.objects import load_codec
from linksim.diffusion.sampler import Schedule, sample
from linksim.link import run_link
from linksim.schemes.jscc import JsccScheme
from linksim.source.hevc import CodecError

RATE_HZ, POWER = 1e6, 0.7


def picture(side: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth colours with some texture, [H, W, 3] uint8."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*(np.linspace(0, 1, side),) * 2)
    planes = np.stack([x, y, (x + y) / 2], 2) + 0.05 * rng.standard_normal((side, side, 3))
    return (255 * planes.clip(0, 1)).astype(np.uint8)


def check_impairment(impairment: Impairment) -> None:
    """State of the stated size, bits that no batch mate changes, the linearity that it states, gradients."""
    gen = torch.Generator().manual_seed(1)
    x = POWER**0.5 * torch.randn(3, 2, 50, generator=gen, dtype=torch.complex128)
    rows = [impairment.draw(2, 50, RATE_HZ, torch.Generator().manual_seed(i)) for i in range(3)]
    state = torch.stack(rows)
    assert state.shape == (3, impairment.state_size(2, 50))
    assert state.dtype == torch.float64
    y = impairment.apply(x, state, RATE_HZ, POWER)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    alone = torch.cat([impairment.apply(x[i : i + 1], state[i : i + 1], RATE_HZ, POWER) for i in range(3)])
    assert torch.equal(alone, y)
    doubled = impairment.apply((2 - 1j) * x, state, RATE_HZ, POWER)
    assert torch.allclose(doubled, (2 - 1j) * y) == impairment.linear
    x.requires_grad_()
    impairment.apply(x, state, RATE_HZ, POWER).abs().square().sum().backward()
    assert bool(torch.isfinite(torch.view_as_real(x.grad)).all())
    assert impairment.side in ("transmitter", "receiver")
    if impairment.effect == "turns":
        lag_s = torch.tensor([0.0], dtype=torch.float64)
        assert complex(impairment.phase_correlation(lag_s)[0]) == pytest.approx(1.0)
    assert (impairment.delay_s != 0) <= (impairment.effect == "shifts")


def check_source_codec(codec: object, side: int = 64) -> None:
    """Streams that fall with quality and decode to the size alone, equal codecs that are equal."""
    rgb = picture(side)
    assert codec.name
    assert codec.version
    assert codec.refusal((side, side)) == ""
    first, last = (codec.encode(rgb, quality) for quality in (codec.qualities[0], codec.qualities[-1]))
    assert len(first) > len(last)
    errors = []
    for stream in (first, last):
        shown = codec.decode(stream, (side, side))
        assert (shown.shape, shown.dtype) == (rgb.shape, rgb.dtype)
        errors.append(float(np.square(shown.astype(float) - rgb).mean()))
    assert errors[0] < errors[1]
    with pytest.raises(CodecError):
        codec.decode(first, (side, side + 2))
    with pytest.raises(CodecError):
        codec.decode(first[:3], (side, side))
    assert hash(codec) == hash(type(codec)(**vars(codec)))
    assert codec == type(codec)(**vars(codec))


def check_network(description: object, tmp_path) -> None:
    """Symbols of unit power, pictures of the size, gradients at both ends, a checkpoint that reads back."""
    torch.manual_seed(3)
    codec = description.build()
    image = torch.from_numpy(picture(128)).permute(2, 0, 1)[None].float() / 255
    budget = codec.num_symbols(128, 128)
    scheme = JsccScheme("x", codec)
    out = run_link(scheme, AwgnChannel(), image, torch.tensor([10.0]), [1], budget)
    assert out.transmitted.symbols.shape == (1, budget)
    assert float(out.transmitted.symbols.detach().abs().square().mean()) == pytest.approx(1.0, rel=1e-3)
    assert out.reconstruction.image.shape == image.shape
    out.reconstruction.image.square().mean().backward()
    grown = [n for n, p in codec.named_parameters() if p.grad is not None and float(p.grad.abs().max()) > 0]
    assert any("enc" in n for n in grown), grown
    assert any("dec" in n for n in grown), grown
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, description, codec.state_dict(), {}, torch.float32)
    assert read_checkpoint(path).codec == description
    stored = load_codec(str(path))
    layout = codec.layout(128, 128, budget)
    with torch.no_grad():
        same = codec.eval().encode(image, layout, None)
        assert torch.equal(stored.encode(image, layout, None), same)


def check_sampler(name: str, steps: int = 400) -> None:
    """With the exact predictor of a Gaussian of standard deviation .5 the samples have it, each image by
    itself. 3 x 4 x 16 x 16 values: their deviation is off by 1.3% at one sigma.
    """
    schedule, deviation = Schedule(), 0.5
    levels = schedule.alphas_cumprod

    def predict(z: torch.Tensor, t: int) -> torch.Tensor:
        alpha = float(levels[t])
        return z * math.sqrt(1 - alpha) / (alpha * deviation**2 + 1 - alpha)

    def draw(rows: list[int]) -> torch.Tensor:
        def noise(step: int) -> torch.Tensor:
            gens = [torch.Generator().manual_seed(1000 * row + step + 1) for row in rows]
            return torch.stack([torch.randn(4, 16, 16, generator=gen) for gen in gens])

        return sample(name, predict, schedule, steps, noise(900), noise)

    z = draw([1, 2, 3])
    assert z.shape == (3, 4, 16, 16)
    assert float(z.std()) == pytest.approx(deviation, rel=0.08)
    assert torch.equal(draw([2]), z[1:2])


def check_image_metric(metric: object) -> None:
    """Facts; the same picture is the best, noise is worse, and no value depends on batch mates."""
    info = metric.info
    assert info.title
    assert info.reference
    side = max(192, info.min_side)
    x = torch.stack([torch.from_numpy(picture(side, seed)).permute(2, 0, 1) for seed in (1, 2)]).float() / 255
    noisy = (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    same, worse = metric(x, x), metric(noisy, x)
    assert same.shape == worse.shape == (2,)
    assert worse.dtype == torch.float64
    assert torch.allclose(torch.cat([metric(noisy[:1], x[:1]), metric(noisy[1:], x[1:])]), worse)
    for a, b in zip(same.tolist(), worse.tolist(), strict=True):
        assert info.best([a, b]) == a
        assert a != b


def check_images(description: object, *, may_be_cut: bool = True) -> None:
    """Different names, the same pixels and truth at every reading, the crop; frames of bits have none of them."""
    images = description.build()
    assert len(set(images.names)) == len(images.names) > 0
    name = images.names[0]
    image = images[name]
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    assert torch.equal(images[name], image)
    assert torch.equal(description.build()[name], image)
    assert description.has_pictures == (image.numel() > 0)
    assert images.truth(name) == description.build().truth(name)
    assert (images.truth(name) is None) == may_be_cut
    if not description.has_pictures or not may_be_cut:
        return
    cut = description.model_copy(update={"crop": (32, 48)}).build()[name]
    assert cut.shape == (3, 32, 48)
