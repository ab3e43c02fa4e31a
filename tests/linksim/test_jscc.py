"""Layouts, CSI embedding, the linear code, the lean network, and DiffJSCC's CNN against its reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import linksim
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.types import ChannelUses, Csi, Csit, Received
from linksim.build.objects import load_codec
from linksim.cli.commands import main
from linksim.images.sets import SkimageImages
from linksim.jscc.authors import load_authors_checkpoint
from linksim.jscc.block_klt import BlockKlt, fit_block_klt
from linksim.jscc.csi_embedding import csi_vector, effective_snr_db, gamma_map
from linksim.jscc.dial import DialCodec
from linksim.jscc.layout import SymbolLayout
from linksim.jscc.linear_analog import LinearAnalogCodec, waterfill
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.schemes.jscc import EncodedPictures, JsccScheme
from linksim.schemes.repetition import RepeatingCodec
from linksim.weights import zoo
from linksim.weights.pickle_reader import ModelFormatError
from tests.linksim.tiny import TINY, write

REFERENCE = Path(__file__).parent.parent / "data" / "diffjscc_tiny"


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    images = SkimageImages(["astronaut", "coffee"])
    return torch.stack([images[n][:, :256, 128:384] for n in images.names]).float() / 255


# ------------------------------------------------------------------------------------------ DiffJSCC


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return load_file(str(REFERENCE / "expected.safetensors"))


def as_complex(t: torch.Tensor) -> torch.Tensor:
    return torch.view_as_complex(t.contiguous()).flatten(1)


def test_cnn_yang2024_equals_the_authors_activations(expected):
    """Latent, symbols and initial reconstruction within 1e-5, from the authors' own file format."""
    codec = load_authors_checkpoint(REFERENCE)
    told = Csit(expected["snr_db"][:, 0])
    layout = codec.layout(64, 128, 64)
    torch.testing.assert_close(
        codec.latent(expected["image"], told), expected["jscc_latent"], atol=1e-5, rtol=0
    )
    symbols = codec.encode(expected["image"], layout, told)
    torch.testing.assert_close(symbols, as_complex(expected["tx_symbols_re_im"]), atol=1e-5, rtol=0)
    y = symbols + as_complex(expected["noise_re_im"])
    torch.testing.assert_close(y, as_complex(expected["equalized_re_im"]), atol=1e-5, rtol=0)
    no = 10 ** (-expected["snr_db"] / 10)
    received = Received(y, Csi(torch.ones_like(y), no, torch.zeros_like(no)), ChannelUses(64))
    image = codec.decode(received, layout, None, [0] * len(received.y))
    torch.testing.assert_close(image, expected["initial_reconstruction"], atol=1e-5, rtol=0)


SWIN = Path(__file__).parent.parent / "data" / "swin_tiny"


def test_swin_yang2024_equals_the_authors_activations():
    """Latent, symbols and reconstruction within 1e-5; the reference was computed with the authors' modules on
    random weights, shifted windows included.
    """
    codec = load_authors_checkpoint(SWIN)
    expected = load_file(str(SWIN / "expected.safetensors"))
    image, told = expected["image"], Csit(expected["snr_db"][:, 0])
    layout = codec.layout(64, 96, codec.num_symbols(64, 96))
    torch.testing.assert_close(codec.latent(image, told), expected["latent"], atol=1e-5, rtol=0)
    symbols = codec.encode(image, layout, told)
    torch.testing.assert_close(symbols, as_complex(expected["symbols_re_im"]), atol=1e-5, rtol=0)
    # the reference's own symbols: the decoder makes 1.5e-5 of the encoder's rounding (2e-6) on some processors
    y = as_complex(expected["symbols_re_im"]) + as_complex(expected["noise_re_im"])
    no = 10 ** (-expected["snr_db"] / 10)
    received = Received(y, Csi(torch.ones_like(y), no, torch.zeros_like(no)), ChannelUses(y.shape[1]))
    shown = codec.decode(received, layout, None, [0] * len(received.y))
    torch.testing.assert_close(shown, expected["reconstruction"], atol=1e-5, rtol=0)


def test_swin_without_the_shift_of_its_windows_is_another_network():
    """The comparison above fails when the effect is removed."""
    codec = load_authors_checkpoint(SWIN)
    expected = load_file(str(SWIN / "expected.safetensors"))
    for module in codec.modules():
        if hasattr(module, "shift_size"):
            module.shift_size = [0, 0]
    latent = codec.latent(expected["image"], Csit(expected["snr_db"][:, 0]))
    assert (latent - expected["latent"]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("channel", "Rayleigh", "nobody equalised"),
        ("patch_size", 4, "settings not supported"),
        ("embed_dims", [8, 12, 12, 20], "misshapen"),
    ],
)
def test_swin_of_other_settings_is_refused(tmp_path, field, value, said):
    settings = yaml.safe_load((SWIN / "config.yaml").read_text())
    settings["params"]["preprocess_config"]["params"][field] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "model.ckpt").symlink_to(SWIN / "model.ckpt")
    with pytest.raises(ModelFormatError, match=said):
        load_authors_checkpoint(tmp_path)


def test_authors_folder_is_a_checkpoint_like_any_other():
    assert load_codec(str(REFERENCE)).config.latent_channels == 4


def test_snr_h_codec_needs_perfect_transmitter_csi_and_one_gain(photographs):
    from tests.contracts.schemes import SCHEMES

    scheme = SCHEMES["cnn-snr_h"]()
    scheme.csit = "average_snr"
    snr_db = torch.full((2,), 10.0)
    with pytest.raises(ValueError, match="csit: perfect"):
        run_link(scheme, FlatFadingChannel(), photographs, snr_db, [1, 2], 64 * 256)
    scheme.csit = "perfect"
    with pytest.raises(ValueError, match="varies within an image"):
        run_link(scheme, FlatFadingChannel(coherence_symbols=64), photographs, snr_db, [1, 2], 64 * 256)


# ------------------------------------------------------------------------------------ layout and CSI


def test_gamma_map_is_the_effective_snr_of_every_position():
    layout = SymbolLayout(4, 2, 3)
    gamma = torch.full((1, 2, 2, 3), 10.0)
    gamma[0, :, 1, 2] = torch.tensor([1.0, 3.0])  # log2(1 + gamma) = 1 and 2: 1.5 bits
    h = torch.ones(1, 12, dtype=torch.complex64)
    csi = Csi(h, 1 / gamma.flatten(1), torch.zeros(1, 12))
    spread = gamma_map(csi, layout)
    expected = torch.ones(1, 1, 2, 3)
    expected[0, 0, 1, 2] = torch.log10(torch.tensor(2**1.5 - 1))
    torch.testing.assert_close(spread, expected)


def test_layout_pairs_channel_i_with_i_plus_half():
    z = torch.arange(4 * 2 * 3, dtype=torch.float32).view(1, 4, 2, 3)
    layout = SymbolLayout(4, 2, 3)
    symbols = layout.to_symbols(z)
    scale = (symbols.abs().square().mean()).item()
    assert scale == pytest.approx(1)
    ratio = symbols / torch.complex(z[:, :2], z[:, 2:]).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    back = layout.to_map(symbols)
    torch.testing.assert_close(back / back[0, 3, 1, 2], z / z[0, 3, 1, 2])


@pytest.mark.parametrize(("total", "header"), [(24, 0), (20, 0), (30, 6), (10, 3)])
def test_layout_round_trip_with_header_and_tail(total, header):
    layout = SymbolLayout(4, 3, 4, num_symbols=total, num_header=header)
    z = torch.randn(2, 4, 3, 4, generator=torch.Generator().manual_seed(1))
    bits = torch.full((2, header), 1 + 0j) if header else None
    symbols = layout.to_symbols(z, bits)
    assert symbols.shape == (2, total)
    if header:
        torch.testing.assert_close(layout.header(symbols), bits)
    sent = layout.to_pair_map(torch.ones(2, total)).flatten(1) > 0
    assert int(sent.sum()) == 2 * min(total - header, 24)
    back = layout.to_map(symbols)
    mask = layout.to_pair_map(torch.ones(2, total)).repeat(1, 2, 1, 1)
    assert bool((back[mask == 0] == 0).all())
    scale = (back * mask).norm() / (z * mask).norm()
    for i in range(2):
        one = (back[i] * mask[i]).norm() / (z[i] * mask[i]).norm()
        torch.testing.assert_close(back[i] * mask[i], one * z[i] * mask[i])
    assert scale > 0


def test_layout_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="not even"):
        SymbolLayout(3, 2, 2)
    with pytest.raises(ValueError, match="more than the latent map fills"):
        SymbolLayout(4, 2, 2, num_symbols=9)
    with pytest.raises(ValueError, match="latent map: wrong shape"):
        SymbolLayout(4, 2, 2).to_symbols(torch.zeros(1, 4, 2, 3))


def test_effective_snr_is_the_snr_on_awgn_and_below_the_mean_on_fading():
    x = torch.ones(1, 4000, dtype=torch.complex64)
    on_awgn = AwgnChannel()(x, torch.tensor([7.0]), [1]).csi
    assert effective_snr_db(on_awgn).item() == pytest.approx(7.0, abs=1e-4)
    faded = FlatFadingChannel(coherence_symbols=1)(x, torch.tensor([7.0]), [1]).csi
    assert 4.5 < effective_snr_db(faded).item() < 6.5
    assert csi_vector(on_awgn, "snr_h").tolist() == [[pytest.approx(7.0, abs=1e-4), 1.0, 0.0]]


# ------------------------------------------------------------------------------------- linear code


def test_waterfilling_is_optimal_against_random_allocations():
    variance = torch.tensor([8.0, 3.0, 1.0, 0.3, 0.05])
    power = waterfill(variance, noise=0.5, power=0.5)
    assert power.mean().item() == pytest.approx(0.5)
    assert power[-1] == 0

    def distortion(p: torch.Tensor) -> float:
        return float((variance.double() / (1 + p / 0.5)).sum())

    rng = torch.Generator().manual_seed(1)
    for _ in range(300):
        other = torch.rand(5, generator=rng, dtype=torch.float64)
        assert distortion(power) <= distortion(other / other.mean() * 0.5) + 1e-12


def test_klt_is_orthonormal_and_finds_the_main_axis():
    gen = torch.Generator().manual_seed(2)
    direction = torch.nn.functional.normalize(torch.randn(48, generator=gen), dim=0)
    blocks = (
        0.5
        + 0.2 * torch.randn(4000, 1, generator=gen) * direction
        + 0.01 * torch.randn(4000, 48, generator=gen)
    )
    image = blocks.clamp(0, 1).view(50, 80, 3, 4, 4).permute(2, 0, 3, 1, 4).reshape(3, 200, 320)
    klt = fit_block_klt([(image * 255).round().to(torch.uint8)], 48, size=4)
    torch.testing.assert_close(klt.basis @ klt.basis.T, torch.eye(48), atol=1e-4, rtol=0)
    assert abs(float(klt.basis[0] @ direction)) > 0.99
    picture = image[None]
    torch.testing.assert_close(klt.synthesise(klt.analyse(picture, 48)), picture, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", ["sent", "blind"])
def test_linear_code_reaches_the_distortion_that_theory_predicts(scale, photographs):
    """Noise-free, all coefficients sent: what is left is the energy outside of the basis and scale errors."""
    klt = BlockKlt.load(zoo.asset("block-klt-16.safetensors"))
    scheme = JsccScheme("linear", LinearAnalogCodec(klt, scale=scale))
    with torch.no_grad():
        snr = torch.full((2,), 60.0)
        image = run_link(scheme, AwgnChannel(), photographs, snr, [1, 2], 8 * 256).reconstruction.image
    kept = klt.synthesise(klt.analyse(photographs, 16)).clamp(0, 1)
    loss = psnr(kept, photographs) - psnr(image, photographs)
    assert bool((loss < 0.4).all()), loss


def test_sent_scale_survives_noise_and_blind_scale_is_close(photographs):
    klt = BlockKlt.load(zoo.asset("block-klt-16.safetensors"))
    values = {}
    for scale in ("sent", "blind"):
        scheme = JsccScheme("linear", LinearAnalogCodec(klt, scale=scale))
        with torch.no_grad():
            snr = torch.full((2,), 0.0)
            image = run_link(scheme, AwgnChannel(), photographs, snr, [1, 2], 8 * 256).reconstruction.image
        values[scale] = float(psnr(image, photographs).mean())
    assert min(values.values()) > 15
    assert abs(values["sent"] - values["blind"]) < 1


# ------------------------------------------------------------------------------------- lean network


@pytest.mark.parametrize(
    "channel", [AwgnChannel(), FlatFadingChannel(coherence_symbols=64)], ids=["awgn", "fading"]
)
def test_linear_code_fills_any_bandwidth_with_copies(channel, photographs):
    """CBR 1/6 is beyond the 64 pairs of coefficients: two copies of 1/12. Over AWGN they are worth exactly twice the
    SNR (0.1 dB for noise of its own); over fading more, because they meet other fades."""
    codec = LinearAnalogCodec(BlockKlt.load(zoo.asset("block-klt-16.safetensors")))
    image = photographs[:, :, :128, :128]
    budget = 128 * 128 // 2
    with pytest.raises(ValueError, match="out of range"):
        codec.layout(128, 128, budget)
    assert RepeatingCodec(codec).layout(128, 128, budget // 4) == codec.layout(128, 128, budget // 4)
    values = []
    for kind, n, snr_db in ((RepeatingCodec(codec), budget, 5.0), (codec, budget // 2, 5.0 + 3.0103)):
        scheme = JsccScheme("linear", kind)
        scheme.check(128, 128, n)
        shown = [
            run_link(scheme, channel, image, torch.full((2,), snr_db), [9 * t, 9 * t + 4], n)
            for t in range(4)
        ]
        values.append(sum(float(psnr(out.reconstruction.image, image).mean()) for out in shown) / 4)
    if isinstance(channel, AwgnChannel):
        assert values[0] == pytest.approx(values[1], abs=0.1)
    else:
        assert values[0] > values[1] + 0.5


def test_linear_code_takes_no_run_down_on_small_pictures(tmp_path):
    """32 x 32 pixels at CBR 1/6: 512 uses for a code that fills 352."""
    text = TINY.replace("crop: 64", "crop: 32").replace("1/12", "1/6").replace("trials: 2", "trials: 1")
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0


def test_bundled_network_beats_the_linear_code_it_started_from(photographs):
    klt = BlockKlt.load(zoo.asset("block-klt-16.safetensors"))
    lean = JsccScheme("lean", load_codec("lean-awgn-1-96"))
    linear = JsccScheme("linear", LinearAnalogCodec(klt))
    for snr_db, margin in ((1.0, 2.0), (10.0, 1.0)):
        with torch.no_grad():
            snr = torch.full((2,), snr_db)
            values = [
                float(psnr(run_link(s, AwgnChannel(), photographs, snr, [1, 2], 8 * 256).reconstruction.image,
                           photographs).mean())
                for s in (lean, linear)
            ]  # fmt: skip
        assert values[0] > values[1] + margin


def test_lean_network_is_told_no_more_than_the_highest_snr_of_its_training(photographs):
    """Bundled network, trained up to 14 dB: at 40 dB no worse than at 14 dB; told 40 dB, it falls apart."""
    codec = load_codec("lean-awgn-1-96")
    assert codec.highest_snr_db == 14.0
    image = photographs[:1, :, :128, :128]
    layout = codec.layout(128, 128, codec.num_symbols(128, 128))

    def quality(snr_db: float) -> float:
        snr = torch.tensor([snr_db])
        with torch.no_grad():
            received = AwgnChannel()(codec.encode(image, layout, Csit(snr)), snr, [1])
            return float(psnr(codec.decode(received, layout, None, [0] * len(received.y)).clamp(0, 1), image))

    low, high = quality(14.0), quality(40.0)
    assert high > low
    codec.highest_snr_db = None
    assert quality(40.0) < low - 3


def test_lean_network_works_without_transmitter_knowledge(photographs):
    codec = load_codec("lean-awgn-1-96")
    values = []
    for csit in ("average_snr", "none"):
        with torch.no_grad():
            snr = torch.full((2,), 4.0)
            out = run_link(JsccScheme("l", codec, csit), AwgnChannel(), photographs, snr, [1, 2], 8 * 256)
        values.append(float(psnr(out.reconstruction.image, photographs).mean()))
    assert values[0] - 1.0 < values[1]


def test_loading_draws_nothing_from_the_generator():
    before = torch.get_rng_state()
    codec = load_codec("lean-awgn-1-96")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(bool(p.any()) for name, p in codec.named_parameters() if name.endswith("weight"))


class Counting(LinearAnalogCodec):
    """Notes how many rows were encoded at each call."""

    def __init__(self) -> None:
        super().__init__(BlockKlt.load(zoo.asset("block-klt-16.safetensors")))
        self.rows: list[int] = []

    def encode(self, image, layout, csit):
        self.rows.append(len(image))
        return super().encode(image, layout, csit)


def test_schemes_that_share_an_encoder_encode_a_picture_once(photographs):
    """At another told SNR or budget, of another picture or by another encoder it is another one."""
    codec, budget, encoded = Counting(), 8 * 256, EncodedPictures()
    first, second = (JsccScheme(name, codec, encoded=encoded) for name in "ab")
    other = JsccScheme("c", Counting(), encoded=encoded)
    told = [Csit(torch.full((2,), snr_db)) for snr_db in (5.0, 6.0)]
    same = photographs[:1].repeat(2, 1, 1, 1)
    with torch.no_grad():
        frames = [scheme.transmit(same, budget, told[0]) for scheme in (first, second, other)]
        second.transmit(same[:1], budget, Csit(told[0].snr_db[:1]))
        assert codec.rows == [1]
        assert other.codec.rows == [1]
        second.transmit(same, budget, told[1])
        second.transmit(same, budget // 2, told[0])
        second.transmit(photographs[1:2], budget, Csit(told[0].snr_db[:1]))
        second.transmit(same, budget, None)
        assert codec.rows == [1] * 5
        few = EncodedPictures(limit=frames[0].symbols[:1].nbytes)
        small = JsccScheme("d", codec, encoded=few)
        for i in (0, 1, 0):
            small.transmit(photographs[i : i + 1], budget, None)
        assert codec.rows == [1] * 8, "one is kept"
    assert torch.equal(frames[0].symbols, frames[1].symbols)


def test_fidelity_and_realism_of_a_run_encode_a_picture_once(tmp_path, monkeypatch):
    """Two pictures at two SNRs: four times, whatever the channels, trials and schemes of one encoder."""
    calls, encode = [], DialCodec.encode
    monkeypatch.setattr(DialCodec, "encode", lambda self, *words: calls.append(1) or encode(self, *words))
    schemes = [
        {"kind": "jscc", "name": "fidelity", "checkpoint": "dial", "realism": 0.0},
        {"kind": "jscc", "name": "realism", "checkpoint": "dial", "realism": 1.0},
        {"kind": "latent_diffusion", "name": "diffusion", "checkpoint": "dial-denoiser", "steps": 1},
    ]
    scenario = {
        "name": "one-encoder",
        "images": {"kind": "skimage", "names": ["coffee", "chelsea"], "crop": 64},
        "bandwidth": {"data_ratio": "1/96"},
        "channels": [{"kind": "awgn"}, {"kind": "rayleigh"}],
        "sweep": {"snr_db": [1, 10], "trials": 2},
        "schemes": schemes,
        "metrics": ["psnr"],
    }
    linksim.simulate(scenario, out=tmp_path / "run", progress=False)
    assert len(calls) == 4


def test_trials_of_one_picture_are_encoded_once_and_nothing_else_is(photographs):
    """Of 3 rows that are alike 1 is encoded; of 3 of which one differs in picture, told SNR or told gain 2."""
    codec = Counting()
    scheme, budget = JsccScheme("linear", codec), 8 * 256
    same, other = photographs[:1].repeat(3, 1, 1, 1), photographs[[0, 0, 1]]
    snr_db, gains = torch.full((3,), 5.0), torch.ones(3, budget, dtype=torch.complex64)
    with torch.no_grad():
        frame = scheme.transmit(same, budget, Csit(snr_db, gains))
        scheme.transmit(same, budget, None)
        assert codec.rows == [1, 1]
        for image, csit in (
            (other, None),
            (same, Csit(torch.tensor([5.0, 5.0, 6.0]))),
            (same, Csit(snr_db, gains * torch.tensor([1, 1, 2])[:, None])),
        ):
            scheme.transmit(image, budget, csit)
        assert codec.rows == [1, 1, 2, 2, 2]
        alone = scheme.transmit(photographs[:1], budget, Csit(snr_db[:1], gains[:1]))
    assert frame.symbols.shape == (3, budget)
    torch.testing.assert_close(frame.symbols, alone.symbols.repeat(3, 1))
    scheme.transmit(same, budget, Csit(snr_db))
    assert codec.rows[-1] == 3, "gradients tell rows apart"
