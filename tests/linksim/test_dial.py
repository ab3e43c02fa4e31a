"""The network with dials: nested rates, realism, seeds, channels, and the diffusion on its latents."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.types import Csit
from linksim.images.sets import SkimageImages
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.dial import DialCodec, DialConfig
from linksim.jscc.latent_denoiser import LatentDenoiser, LatentDenoiserConfig, sent_scale
from linksim.jscc.lean import LeanCodec, LeanConfig
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.schemes.jscc import JsccScheme
from linksim.schemes.latent_diffusion import LatentDiffusionOptions, LatentDiffusionScheme
from linksim.weights import zoo

RATES = (4, 8, 16)
TINY = DialConfig(
    rates=RATES, width_4=8, width_8=8, width_16=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1, 2)
)


def klt() -> BlockKlt:
    return BlockKlt.load(zoo.asset("block-klt-16.safetensors"))


@pytest.fixture
def codec() -> DialCodec:
    """Random weights everywhere, so that every dial has an effect; linear paths of the KLT."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        codec = DialCodec(TINY)
        codec.start_from_klt(klt())
        for name, parameter in codec.named_parameters():
            if float(parameter.detach().abs().max()) == 0 and "log_" not in name:
                torch.nn.init.normal_(parameter, std=0.02)
    return codec.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    whole = SkimageImages(["astronaut", "coffee", "chelsea"])
    return torch.stack([whole[name][:, 100:228, 100:228] for name in whole.names]).float() / 255


def send(codec, image: Tensor, rate: int, snr_db: float = 10.0, channel=None, seeds=None) -> Tensor:
    network = getattr(codec, "codec", codec)
    budget = network.num_symbols_at(rate, *image.shape[2:])
    snr = torch.full((len(image),), snr_db)
    scheme = JsccScheme("dial", codec)
    seeds = seeds or list(range(len(image)))
    return run_link(scheme, channel or AwgnChannel(), image, snr, seeds, budget).reconstruction.image


# ------------------------------------------------------------------------------------------- rates


def test_rates_are_nested(codec, photographs):
    """What a low rate sends is the first channels of what a high rate sends, up to one gain per picture."""
    told = Csit(torch.full((3,), 7.0))
    rows = cols = 8
    low, high = (
        codec.encode(photographs, codec.layout(128, 128, c // 2 * rows * cols), told) for c in (4, 16)
    )
    of_low = codec.layout(128, 128, 2 * rows * cols).to_map(low).flatten(1)
    of_high = codec.layout(128, 128, 8 * rows * cols).to_map(high)[:, :4].flatten(1)
    gain = (of_low * of_high).sum(1) / of_high.square().sum(1)
    torch.testing.assert_close(of_low, gain[:, None] * of_high, rtol=1e-4, atol=1e-5)


def test_gains_share_the_power_of_a_rate(codec, photographs):
    """A gain of one rate changes the share of a channel there, and nothing at another rate."""
    before = [codec.latent(photographs, None, r) for r in range(3)]
    codec.encoder.log_gain[1, 2] = 1.0
    after = [codec.latent(photographs, None, r) for r in range(3)]
    assert torch.equal(before[0], after[0])
    torch.testing.assert_close(after[1][:, 2], before[1][:, 2] * torch.e)
    torch.testing.assert_close(after[1][:, 3], before[1][:, 3])


def test_budgets_of_the_rates_are_taken_and_others_refused(codec):
    for c in RATES:
        uses = int(Fraction(c, 1536) * 3 * 128 * 128)
        assert codec.layout(128, 128, uses).channels == c
    with pytest.raises(
        ValueError, match=r"no rate of the network, got 200 .* one of 4/1536, 8/1536, 16/1536"
    ):
        codec.layout(128, 128, 200)


def test_rates_that_do_not_rise_are_refused():
    for rates in ((8, 4), (4, 4), (3, 4), ()):
        with pytest.raises(ValueError, match="DialCodec: rates"):
            DialCodec(DialConfig(rates=rates))


def test_power_is_one_at_every_rate(codec, photographs):
    for c in RATES:
        symbols = codec.encode(photographs, codec.layout(128, 128, c // 2 * 64), None)
        torch.testing.assert_close(symbols.abs().square().mean(1), torch.ones(3))


def test_linear_start_is_a_linear_code_at_every_rate(photographs):
    """Fresh from the KLT, more symbols show more: PSNR rises with the rate at a high SNR."""
    codec = DialCodec(DialConfig(width_4=8, width_8=8, width_16=8)).eval().requires_grad_(False)
    codec.start_from_klt(klt())
    values = [
        float(psnr(send(codec, photographs, r, 30.0).clamp(0, 1), photographs).mean()) for r in range(5)
    ]
    assert values == sorted(values)
    assert values[-1] > values[0] + 3


def test_it_begins_as_the_lean_network_that_it_grows_from(photographs):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        lean = LeanCodec(LeanConfig(8, 8, 16, (1, 1), (1, 2), 64))
        lean.start_from_klt(klt())
        for parameter in lean.parameters():
            parameter.data += 0.01 * torch.randn(parameter.shape)
    lean.eval().requires_grad_(False)
    codec = DialCodec(DialConfig(RATES, 8, 8, 16, (2, 2), (1, 2, 3))).eval().requires_grad_(False)
    codec.start_from_klt(klt())
    codec.start_from_lean(lean)
    budget = lean.num_symbols(128, 128)
    snr = torch.tensor([1.0, 5.0, 10.0])
    shown = [
        run_link(JsccScheme("x", c), AwgnChannel(), photographs, snr, [1, 2, 3], budget).reconstruction.image
        for c in (lean, codec.at(0.0), codec.at(1.0))
    ]
    torch.testing.assert_close(shown[0], shown[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shown[0], shown[2], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="DialCodec: lean"):
        DialCodec(TINY).start_from_lean(LeanCodec(LeanConfig(16, 12, 16)))


# ----------------------------------------------------------------------------------------- realism


def test_realism_zero_takes_nothing_from_the_generator(codec, photographs):
    a = send(codec.at(0.0), photographs, 1, seeds=[1, 2, 3])
    received_again = send(codec, photographs, 1, seeds=[1, 2, 3])
    assert torch.equal(a, received_again), "without the dial it stands at 0"
    frame = codec.received_map(*_received(codec, photographs))
    zero, one = torch.zeros(3), torch.ones(3)
    assert torch.equal(codec.picture(frame, zero, [1, 2, 3]), codec.picture(frame, zero, [4, 5, 6]))
    assert not torch.equal(codec.picture(frame, one, [1, 2, 3]), codec.picture(frame, one, [4, 5, 6]))
    assert torch.equal(codec.picture(frame, one, [1, 2, 3]), codec.picture(frame, one, [1, 2, 3]))


def _received(codec: DialCodec, image: Tensor):
    layout = codec.layout(*image.shape[2:], codec.num_symbols_at(1, *image.shape[2:]))
    symbols = codec.encode(image, layout, None)
    return AwgnChannel()(symbols, torch.full((len(image),), 5.0), [1, 2, 3]), layout


def test_realism_is_a_dial_of_every_picture(codec, photographs):
    """One value per image gives what each value gives alone, to rounding."""
    dial = torch.tensor([0.0, 0.5, 1.0])
    together = send(codec.at(dial), photographs, 1, seeds=[1, 2, 3])
    for i in range(3):
        alone = send(codec.at(float(dial[i])), photographs[i : i + 1], 1, seeds=[i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together, send(codec.at(0.0), photographs, 1, seeds=[1, 2, 3]), atol=1e-4)


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_pictures_do_not_depend_on_their_batch(codec, photographs, realism):
    whole = send(codec.at(realism), photographs, 2, seeds=[7, 8, 9])
    alone = send(codec.at(realism), photographs[1:2], 2, seeds=[8])
    torch.testing.assert_close(whole[1:2], alone, rtol=1e-4, atol=1e-5)


def test_neither_end_is_told_more_than_the_training_had(codec, photographs):
    codec.highest_snr_db = 10.0
    layout = codec.layout(128, 128, codec.num_symbols_at(0, 128, 128))
    a, b = (codec.encode(photographs, layout, Csit(torch.full((3,), s))) for s in (10.0, 40.0))
    assert torch.equal(a, b)
    frame = codec.received_map(AwgnChannel()(a, torch.full((3,), 40.0), [1, 2, 3]), layout)
    assert frame.snr_db.tolist() == [10.0] * 3


@pytest.mark.parametrize(
    "channel",
    [
        FlatFadingChannel(),
        FlatFadingChannel(coherence_symbols=1),
        FlatFadingChannel(coherence_symbols=32, csi="ls", pilots_per_block=1),
    ],
    ids=["one fade", "fast fading", "blocks with LS"],
)
def test_reliability_of_a_fade_reaches_the_decoder(codec, photographs, channel):
    layout = codec.layout(128, 128, codec.num_symbols_at(1, 128, 128))
    received = channel(codec.encode(photographs, layout, None), torch.full((3,), 5.0), [1, 2, 3])
    frame = codec.received_map(received, layout)
    gamma = layout.to_pair_map(received.csi.gamma)
    expected = gamma / (1 + gamma)
    torch.testing.assert_close(frame.reliability[:, :4], expected)
    torch.testing.assert_close(frame.reliability[:, 4:8], expected)
    assert not bool(frame.reliability[:, 8:].any()), "nothing was sent there"
    assert not bool(frame.latent[:, 8:].any())
    assert bool(torch.isfinite(send(codec.at(1.0), photographs, 1, 5.0, channel)).all())


# ------------------------------------------------------------------------------- latent diffusion


@pytest.fixture
def denoiser() -> LatentDenoiser:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = LatentDenoiser(LatentDenoiserConfig(rates=RATES, width=16, blocks=1))
        torch.nn.init.normal_(network.tail.weight, std=0.02)
    return network.eval().requires_grad_(False)


def diffused(codec, denoiser, image: Tensor, rate: int = 1, seeds=(1, 2, 3), **options):
    scheme = LatentDiffusionScheme("latent", codec, denoiser, LatentDiffusionOptions(**options))
    budget = codec.num_symbols_at(rate, *image.shape[2:])
    snr = torch.full((len(image),), 5.0)
    return run_link(scheme, AwgnChannel(), image, snr, list(seeds), budget).reconstruction


def test_what_arrives_is_a_diffusion_state_of_unit_variance(codec, denoiser):
    """Latents drawn from the prior that the denoiser holds, sent over AWGN and over fading: u has mean square 1 at every
    channel, sent or not. 64 pictures of 64 values: within 5·sqrt(2/4096) of 1, a common fade aside."""
    gen = torch.Generator().manual_seed(8)
    denoiser.deviation.copy_(torch.linspace(1.0, 0.2, 16)[None])
    layout = codec.layout(128, 128, codec.num_symbols_at(1, 128, 128))
    z = torch.randn(64, 8, 8, 8, generator=gen) * denoiser.deviation[1, :8, None, None]
    symbols = layout.to_symbols(z)
    scale = sent_scale(z, 8)
    scheme = LatentDiffusionScheme("latent", codec, denoiser, LatentDiffusionOptions())
    denoiser.deviation[1, :8] /= float(scale.mean())
    for channel in (AwgnChannel(), FlatFadingChannel(coherence_symbols=1)):
        received = channel(symbols, torch.full((64,), 3.0), list(range(64)))
        u, r = scheme.start(received, layout, list(range(64)))
        assert u.shape == r.shape == (64, 16, 8, 8)
        power = u.square().mean((0, 2, 3))
        assert float((power - 1).abs().max()) < 5 * (2 / 4096) ** 0.5
        assert not bool(r[:, 8:].any())
        assert bool((r[:, :8] > 0).all())
    clean = AwgnChannel()(symbols, torch.full((64,), 60.0), list(range(64)))
    assert float(scheme.start(clean, layout, list(range(64)))[1][:, :8].min()) > 0.99


def test_a_denoiser_that_knows_nothing_is_the_linear_estimator(codec, denoiser):
    torch.nn.init.zeros_(denoiser.tail.weight)
    torch.nn.init.zeros_(denoiser.tail.bias)
    u, r = torch.randn(2, 16, 4, 4), torch.rand(2, 16, 4, 4)
    torch.testing.assert_close(denoiser(u, r, None, 0), r.sqrt() * u)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_are_a_function_of_the_seed(codec, denoiser, photographs, eta):
    a = diffused(codec, denoiser, photographs, eta=eta).image
    assert torch.equal(a, diffused(codec, denoiser, photographs, eta=eta).image)
    alone = diffused(codec, denoiser, photographs[2:], seeds=(3,), eta=eta).image
    torch.testing.assert_close(a[2:], alone, rtol=1e-3, atol=1e-4)
    assert not torch.equal(a, diffused(codec, denoiser, photographs, eta=eta, steps=2).image)


def test_several_samples_show_where_they_differ(codec, denoiser, photographs):
    one = diffused(codec, denoiser, photographs)
    assert one.stages == {}
    many = diffused(codec, denoiser, photographs, samples=3)
    assert torch.equal(one.image, many.image), "the picture is the first sample"
    spread = many.stages["uncertainty"]
    assert spread.shape == photographs.shape
    assert 0 < float(spread.mean()) < 1


def test_certain_map_is_what_the_encoder_sends_at_the_highest_rate(codec, photographs):
    codec.encoder.log_gain.copy_(0.3 * torch.randn(3, 16))
    whole = codec.latent(photographs, None, 2)
    expected = whole / sent_scale(whole, 16)
    low = codec.latent(photographs, None, 0) * 3.7
    torch.testing.assert_close(codec.certain_map(low, 0, 0.99).latent, expected, rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------------------- scenarios

SCENARIO = """
schema_version: 1
name: dials
images: {{kind: skimage, names: [astronaut], crop: 128}}
bandwidth: {{data_ratio: 1/192}}
channel: {{kind: awgn}}
sweep: {{snr_db: [5]}}
schemes:
  - {{kind: jscc, name: dial, checkpoint: {codec}, realism: 0.0}}
  - {{kind: latent_diffusion, name: latent, codec: {codec}, checkpoint: {denoiser}, steps: 2, samples: 2}}
metrics: [psnr]
"""


@pytest.fixture
def files(codec, denoiser, tmp_path) -> dict[str, str]:
    from linksim.build.checkpoints import save_checkpoint, weights_digest
    from linksim.scenario.schema import DialCodecSpec, LatentDenoiserSpec

    sizes = {"rates": RATES, "width_4": 8, "width_8": 8, "width_16": 16}
    spec = DialCodecSpec(kind="dial", encoder_blocks=(1, 1), decoder_blocks=(1, 1, 2), **sizes)
    save_checkpoint(tmp_path / "codec.safetensors", spec, codec.state_dict(), {}, torch.float16)
    recipe: dict[str, object] = {"encoder_digest": weights_digest(codec.encoder)}
    small = LatentDenoiserSpec(kind="latent_denoiser", rates=RATES, width=16, blocks=1)
    save_checkpoint(tmp_path / "denoiser.safetensors", small, denoiser.state_dict(), recipe, torch.float16)
    return {name: str(tmp_path / f"{name}.safetensors") for name in ("codec", "denoiser")}


def simulated(text: str, tmp_path, *words: str) -> int:
    from linksim.cli.commands import main

    (tmp_path / "s.yaml").write_text(text)
    return main(
        ["simulate", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu", *words]
    )


def test_rate_and_realism_are_swept_in_one_scenario(files, tmp_path, capsys):
    text = SCENARIO.format(**files)
    swept = "sweep: {snr_db: [5], bandwidth.data_ratio: [1/384, 1/96], schemes.dial.realism: [0.0, 1.0]}"
    assert simulated(text.replace("sweep: {snr_db: [5]}", swept), tmp_path) == 0
    rows = (tmp_path / "run" / "results.csv").read_text().splitlines()
    assert len([r for r in rows if ",psnr," in r]) == 8
    capsys.readouterr()


def test_codecs_without_the_dial_refuse_realism(files, tmp_path, capsys):
    text = SCENARIO.format(**files).replace("data_ratio: 1/192", "data_ratio: 1/96")
    text = text.replace(
        f"checkpoint: {files['codec']}, realism: 0.0", "checkpoint: lean-awgn-1-96, realism: 0.5"
    )
    assert simulated(text, tmp_path) == 2
    assert (
        "realism: the codec of lean-awgn-1-96 has no such dial, got 0.5, expected none"
        in capsys.readouterr().err
    )


def test_a_denoiser_of_another_encoder_is_refused(files, codec, tmp_path, capsys):
    from linksim.build.checkpoints import read_checkpoint, save_checkpoint

    stored = read_checkpoint(tmp_path / "codec.safetensors")
    stored.tensors["encoder.head.weight"] += 0.1
    save_checkpoint(tmp_path / "codec.safetensors", stored.codec, stored.tensors, {}, torch.float16)
    assert simulated(SCENARIO.format(**files), tmp_path) == 2
    assert "was trained on the latents of another encoder" in capsys.readouterr().err


def test_networks_in_each_other_s_place_are_named(files, tmp_path, capsys):
    swapped = SCENARIO.format(codec=files["denoiser"], denoiser=files["codec"])
    assert simulated(swapped, tmp_path) == 2
    assert "no codec, got latent_denoiser" in capsys.readouterr().err
    both = SCENARIO.format(codec=files["codec"], denoiser=files["codec"])
    assert simulated(both, tmp_path) == 2
    assert "no denoiser, got dial" in capsys.readouterr().err
