"""SwinJSCC and WITT: the authors' numbers and names, strict loading, side information, equal channels."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from channels.flat.awgn import AwgnChannel
from channels.types import ChannelUses, Csi, Csit, Received
from linksim.build.checkpoints import CheckpointError
from linksim.build.objects import load_codec
from linksim.cli.commands import main
from linksim.jscc.swin import side_info, windows
from linksim.jscc.swin.checkpoint import load_swinjscc, swinjscc_from_tensors
from linksim.jscc.swin.codec import SwinJscc
from linksim.jscc.swin.ranking import order_by_worth
from linksim.jscc.swin.sizes import SwinJsccConfig
from linksim.jscc.swin.windows import forbidden, relative_positions
from linksim.link import run_link
from linksim.scenario.files import ScenarioError, load_any
from linksim.schemes.jscc import IMAGE_SIZE_BITS, JsccScheme
from linksim.weights.pickle_reader import ModelFormatError
from linksim.weights.undrawn import shapes_only

DATA = Path(__file__).parent.parent / "data" / "swinjscc_tiny.npz"
CASES = ("none", "snr", "rate", "snr_rate", "cifar")
SNR_DB, RATES = 4.0, (4, 8, 12)


class Reference:
    """A case of the authors' numbers: see swinjscc_tiny.md."""

    def __init__(self, case: str) -> None:
        with np.load(DATA) as stored:
            self.stored = {k.split("/")[1]: stored[k] for k in stored.files if k.startswith(f"{case}/")}
        rng = np.random.default_rng(2308 + CASES.index(case))
        self.adaptive = "snr" if case == "cifar" else case
        self.tensors = {}
        for name, shape in zip(self.stored["names"], self.stored["shapes"], strict=True):
            values = 0.15 * rng.standard_normal(ast.literal_eval(str(shape)))
            values = values + 1 if "norm" in name and name.endswith("weight") else values
            self.tensors[str(name)] = torch.from_numpy(values.astype(np.float32))
        side = (1, 3, 32, 32 if case == "cifar" else 64)
        self.image = torch.from_numpy(rng.random(side).astype(np.float32))
        noise = 0.3 * rng.standard_normal(self.stored["latent"].shape)
        self.noise = torch.from_numpy(noise.astype(np.float32))
        built_for, levels = (32, 2) if case == "cifar" else (64, 4)
        for name in map(str, self.stored["buffers"]):
            end, stage = name.split(".")[0], int(name.split(".")[2])
            tokens = built_for // 2 ** (stage + 1 if end == "encoder" else levels - stage)
            is_mask = name.endswith("attn_mask")
            self.tensors[name] = forbidden(tokens, tokens, 2, 1) if is_mask else relative_positions(2)

    def __getitem__(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.stored[name])

    def load(self) -> SwinJscc:
        told = self.adaptive if self.adaptive in ("none", "snr") else None
        rates = RATES if "rate" in self.adaptive else ()
        return swinjscc_from_tensors(self.tensors, "file", told, rates)


@pytest.mark.parametrize("case", CASES)
def test_it_computes_what_the_authors_program_computes(case):
    """Their names load, all of them; latents, choice of channels, scale, symbols and pictures within 1e-5."""
    reference, codec = Reference(case), Reference(case).load()
    mask = reference["mask_of_block_1"].float()
    assert torch.equal(reference.tensors["encoder.layers.0.blocks.1.attn_mask"], mask)
    rate = 8 if codec.config.has_rates else codec.config.rates[0]
    z, chosen = codec.latent(reference.image, Csit(torch.tensor([SNR_DB])), rate)
    kept = slice(None) if chosen is None else reference["chosen"]
    if chosen is not None:
        assert torch.equal(chosen[0], reference["chosen"])
    torch.testing.assert_close(z, reference["latent"][:, kept], atol=1e-5, rtol=0)
    height, width = reference.image.shape[2:]
    layout = codec.layout(height, width, rate // 2 * z.shape[2] * z.shape[3])
    symbols, told = codec.send(reference.image, layout, Csit(torch.tensor([SNR_DB])))
    torch.testing.assert_close(layout.to_map(symbols), reference["sent"][:, kept], atol=1e-5, rtol=0)
    scale, channels = side_info.unpacked(told.told, codec.config.latent_channels, rate)
    torch.testing.assert_close(scale, reference["scale"], atol=0, rtol=2.6e-4)
    if chosen is not None:
        assert torch.equal(channels, chosen)
    latent = torch.zeros_like(reference["latent"])
    latent[:, kept] = ((reference["sent"] + reference.noise) * reference["scale"])[:, kept]
    shown = codec.decoder(latent, torch.full((1, 1), SNR_DB))
    torch.testing.assert_close(shown, reference["reconstruction"], atol=1e-5, rtol=0)


def test_the_receiver_has_the_scale_to_a_few_parts_in_ten_thousand_and_no_more():
    """The whole link: side information moves no pixel by more than 0.1% of full scale."""
    reference = Reference("snr_rate")
    codec = reference.load()
    layout = codec.layout(32, 64, 4 * 2 * 4)
    symbols, told = codec.send(reference.image, layout, Csit(torch.tensor([SNR_DB])))
    noise = layout.to_symbols(reference.noise[:, reference["chosen"]])
    power = reference.noise[:, reference["chosen"]].square().mean().mul(2).sqrt()
    y = symbols + noise * power
    no = torch.full((1, 1), 10 ** (-SNR_DB / 10))
    received = Received(y, Csi(torch.ones_like(y), no, torch.zeros(1, 1)), ChannelUses(y.shape[1]))
    shown = codec.decode(received, told, None, [0])
    torch.testing.assert_close(shown, reference["reconstruction"], atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match=r"no side information, got None, expected told"):
        codec.decode(received, layout, None, [0])


# ------------------------------------------------------------------------------------------------ names


def block(place: str) -> list[str]:
    ends = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    names = [f"{place}.{end}.{part}" for end in ends for part in ("weight", "bias")]
    return [*names, f"{place}.attn.relative_position_bias_table", f"{place}.attn.relative_position_index"]


def modnet(place: str, suffix: str = "") -> list[str]:
    names = [f"{place}.sm_list{suffix}.{i}.{part}" for i in range(8) for part in ("weight", "bias")]
    layers = [f"{place}.bm_list{suffix}.{i}.fc.{j}" for i in range(7) for j in (0, 2, 4)]
    return [*names, *(f"{layer}.{part}" for layer in layers for part in ("weight", "bias"))]


def names_of_the_repository(adaptive: str) -> set[str]:
    """What net/encoder.py and net/decoder.py of semcomm/SwinJSCC name, four stages of two blocks."""
    heads = [f"{end}.head_list.{part}" for end in ("encoder", "decoder") for part in ("weight", "bias")]
    found = [] if "rate" in adaptive else heads
    found += [f"encoder.{n}.{p}" for n in ("patch_embed.proj", "norm") for p in ("weight", "bias")]
    for end in ("encoder", "decoder"):
        for i in range(4):
            found += [name for j in range(2) for name in block(f"{end}.layers.{i}.blocks.{j}")]
            found.append(f"{end}.layers.{i}.blocks.1.attn_mask")
    for i in range(4):
        up = f"decoder.layers.{i}.upsample"
        found += [f"{up}.norm.weight", f"{up}.norm.bias", f"{up}.increment.weight"]
        down = f"encoder.layers.{i}.downsample"
        found += [f"{down}.norm.weight", f"{down}.norm.bias", f"{down}.reduction.weight"] if i else []
    found += modnet("encoder") + (modnet("encoder", "1") if adaptive == "snr_rate" else [])
    return {*found, *(modnet("decoder") if adaptive != "rate" else [])}


@pytest.mark.parametrize("adaptive", ["none", "snr", "rate", "snr_rate"])
def test_names_are_those_of_the_repository(adaptive):
    assert set(Reference(adaptive).tensors) == names_of_the_repository(adaptive)


FIRST = "encoder.layers.0.blocks.1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("encoder.norm.bias"), "missing encoder.norm.bias"),
        (lambda t: t.pop(f"{FIRST}.attn_mask"), f"missing {FIRST}.attn_mask"),
        (lambda t: t.update(extra=torch.zeros(1)), "unknown extra"),
        (lambda t: t.update({"encoder.norm.bias": torch.zeros(17)}), r"bias of shape \(17,\) instead of \(16,\)"),
        (lambda t: t["encoder.norm.bias"].fill_(math.nan), "encoder.norm.bias not finite"),
        (lambda t: t[f"{FIRST}.attn_mask"].zero_(), f"{FIRST}.attn_mask that is not that of its sizes"),
        (
            lambda t: t[f"{FIRST}.attn.relative_position_index"].zero_(),
            "relative_position_index that is not that of its sizes",
        ),
        (lambda t: t.pop("encoder.bm_list1.0.fc.0.bias"), "missing encoder.bm_list1.0.fc.0.bias"),
        (lambda t: t.pop("encoder.patch_embed.proj.weight"), "patch_embed.proj.weight: missing or misshapen"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(change, said):
    reference = Reference("snr_rate")
    change(reference.tensors)
    with pytest.raises(ModelFormatError, match=said):
        reference.load()


def test_what_a_network_adapts_to_is_asked_where_names_do_not_say():
    """w/o_SAandRA and w/_SA have the same tensors; what contradicts the tensors is refused."""
    fixed, adaptive = Reference("none").tensors, Reference("snr_rate").tensors
    with pytest.raises(ModelFormatError, match=r"expected none or snr\. Say which one it is"):
        swinjscc_from_tensors(fixed, "file")
    assert swinjscc_from_tensors(fixed, "file", "snr").config.adaptive == "snr"
    for wrong in ("none", "snr", "rate"):
        with pytest.raises(ModelFormatError, match="file: "):
            swinjscc_from_tensors(adaptive, "file", wrong, RATES)
    with pytest.raises(ModelFormatError, match="rates: got 192, expected at most 16"):
        swinjscc_from_tensors(adaptive, "file")
    with pytest.raises(ModelFormatError, match=r"rates: got \[4, 7\], expected even numbers that rise"):
        swinjscc_from_tensors(adaptive, "file", None, (4, 7))


def test_tensors_that_are_stored_and_not_used_may_be_there_as_a_whole():
    """Heads of a network with rates, which the program for CIFAR-10 makes; windows of MS-SSIM."""
    tensors = Reference("rate").tensors
    heads = {"encoder.head_list.weight": (6, 16), "encoder.head_list.bias": (6,)}
    heads |= {"decoder.head_list.weight": (16, 6), "decoder.head_list.bias": (16,)}
    more = {name: torch.zeros(shape) for name, shape in heads.items()}
    more["distortion_loss.dist.window"] = torch.zeros(3, 1, 1, 11)
    more["distortion_loss.dist.weights"] = torch.zeros(4)
    swinjscc_from_tensors({**tensors, **more}, "file", None, RATES)
    more.pop("encoder.head_list.bias")
    with pytest.raises(ModelFormatError, match=r"encoder\.head_list"):
        swinjscc_from_tensors({**tensors, **more}, "file", None, RATES)


def test_the_published_sizes_have_the_published_names_and_numbers():
    """Base network of the repository: rate 96 of Kodak is CBR 1/16, 320 channels at a sixteenth."""
    config = SwinJsccConfig()
    assert (config.widths, config.depths, config.heads) == ((128, 192, 256, 320), (2, 2, 6, 2), (4, 6, 8, 10))
    with shapes_only():
        codec = SwinJscc(config)
    assert codec.layout(512, 768, 3 * 512 * 768 // 16).channels == 96
    assert codec.num_symbols(512, 768) == 3 * 512 * 768 // 8
    with pytest.raises(ValueError, match=r"32/1536, 64/1536, 96/1536, 128/1536, 192/1536"):
        codec.layout(512, 768, 3 * 512 * 768 // 20)


# ------------------------------------------------------------------------------- channels that are equal


def test_equal_channels_are_in_the_order_of_the_sort_that_trained_it():
    """PyTorch's own report (pytorch/pytorch#28871): its CUDA sort of 1, 2, 5, 4, 5 gave 0, 1, 3, 4, 2."""
    assert order_by_worth(-torch.tensor([[1.0, 2.0, 5.0, 4.0, 5.0]])).tolist() == [[0, 1, 3, 4, 2]]
    worth = torch.rand(3, 320, generator=torch.Generator().manual_seed(1))
    assert torch.equal(order_by_worth(worth), worth.argsort(dim=1, descending=True))
    equal = order_by_worth(torch.ones(1, 320))[0]
    assert sorted(equal.tolist()) == list(range(320))
    assert not torch.equal(equal, torch.arange(320))


# ---------------------------------------------------------------------------------- side information


def test_side_information_is_what_is_paid_for():
    """Scale and channels come back from ceil(log2 C(n, k)) + 16 bits, and every number of bits is needed."""
    gen = torch.Generator().manual_seed(2)
    for whole, part in ((16, 16), (16, 5), (320, 96), (320, 192)):
        chosen = torch.stack([torch.randperm(whole, generator=gen)[:part].sort().values for _ in range(3)])
        scale = torch.tensor([1e-4, 0.7, 900.0])
        told = side_info.packed(scale, chosen, whole)
        bits = 16 + math.ceil(math.log2(math.comb(whole, part)))
        assert side_info.SCALE_BITS + side_info.subset_bits(whole, part) == bits
        assert told.shape == (3, -(-bits // 8))
        back, again = side_info.unpacked(told, whole, part)
        assert torch.equal(again, chosen)
        assert bool(((back / scale - 1).abs() < 2.6e-4).all())
    last = side_info.packed(torch.tensor([1.0]), torch.arange(224, 320)[None], 320)
    assert int.from_bytes(bytes(last[0].tolist()), "little") >> 16 == math.comb(320, 96) - 1


def test_a_frame_pays_for_it(tmp_path):
    codec = Reference("snr_rate").load()
    out = run_link(
        JsccScheme("x", codec), AwgnChannel(), torch.rand(2, 3, 32, 64), torch.full((2,), 7.0), [1, 2], 32
    )
    assert out.uses.data == 32
    assert out.side_info_bits == IMAGE_SIZE_BITS + 16 + math.ceil(math.log2(math.comb(16, 8)))


def test_without_the_choice_of_channels_it_decodes_something_else():
    """What is told matters: with the channels of another picture the reconstruction is another."""
    codec = Reference("snr_rate").load()
    layout = codec.layout(32, 64, 32)
    symbols, told = codec.send(Reference("snr_rate").image, layout, Csit(torch.tensor([20.0])))
    received = AwgnChannel()(symbols, torch.tensor([40.0]), [1])
    other = type(told)(8, 2, 4, told=side_info.packed(torch.ones(1), torch.arange(8)[None], 16))
    right, wrong = (codec.decode(received, one, None, [0]) for one in (told, other))
    assert float((right - wrong).square().mean()) > 1e-3


# ------------------------------------------------------------------------------------------- any size


def test_pictures_of_any_size_go_through_and_padding_is_not_seen(monkeypatch):
    """Tokens that are no multiple of the window: what stands in the padding is nothing to the picture, unless the
    mask is taken away.
    """
    torch.manual_seed(4)
    config = SwinJsccConfig(
        adaptive="snr", rates=(4,), widths=(8, 8), depths=(2, 2), heads=(2, 2), window=4, image_size=(64, 64)
    )
    codec = SwinJscc(config).eval().requires_grad_(False)
    image = torch.rand(1, 3, 20, 36)
    out = run_link(JsccScheme("x", codec), AwgnChannel(), image, torch.tensor([10.0]), [3], 90)
    assert out.reconstruction.image.shape == image.shape
    latent, _ = codec.latent(image, None)
    pad = windows.F.pad
    monkeypatch.setattr(windows.F, "pad", lambda x, sides: pad(x, sides, value=3.0))
    torch.testing.assert_close(codec.latent(image, None)[0], latent, atol=1e-6, rtol=0)
    monkeypatch.setattr(windows, "forbidden", lambda *sizes: torch.zeros_like(forbidden(*sizes)))
    assert float((codec.latent(image, None)[0] - latent).abs().max()) > 1e-4


# ------------------------------------------------------------------------------------ the command line


def test_convert_makes_a_checkpoint_that_scenarios_load(tmp_path, capsys):
    reference = Reference("snr_rate")
    source, target = tmp_path / "theirs.model", tmp_path / "ours.safetensors"
    torch.save(reference.tensors, source)
    command = ["convert", "swinjscc", str(source), str(target), "--rates", "4", "8", "12"]
    assert main(command) == 0
    assert "adaptive: snr_rate, rates: [4, 8, 12]" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="linksim convert swinjscc FILE"):
        load_codec(str(source))
    ours, direct = load_codec(str(target)), load_swinjscc(source, None, RATES)
    assert isinstance(ours, SwinJscc)
    layout = ours.layout(32, 64, 32)
    same = (codec.encode(reference.image, layout, None) for codec in (ours, direct))
    assert torch.equal(*same)
    scenario = load_any("learned/swinjscc-kodak", [("schemes.0.checkpoint", str(target))])
    assert scenario.schemes[0].trained_on() == {"SwinJSCC": ["psnr"]}
    assert [network.kind for network in scenario.schemes[0].networks()] == ["swinjscc"]
    assert main(command) == 2
    assert "ours.safetensors: exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["swinjscc", "nothing.model", "x.safetensors"], "nothing.model: no such file"),
        (["swinjscc", "FILE", "x.pt"], "another kind of file, got x.pt, expected NAME.safetensors"),
        (["swinjscc", "FILE", "x.safetensors", "--tokenizer", "a"], "--tokenizer: has no effect"),
        (["diffjscc", "FOLDER", "x", "--rates", "4"], "--rates: has no effect, got convert diffjscc"),
        (["diffjscc", "FOLDER", "x", "--adaptive", "snr"], "--adaptive: has no effect"),
    ],
)
def test_what_cannot_be_converted_is_one_message(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1)}, tmp_path / "FILE")
    assert main(["convert", *arguments]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "Traceback" not in message


def test_several_rates_are_not_trained_as_one():
    """linksim trains this network at one rate: with several the lower ones would be untrained."""
    recipe = [("train.codec", {"kind": "swinjscc"})]
    with pytest.raises(ScenarioError, match=r"codec.rates: got 5 rates of swinjscc, which is trained at one"):
        load_any("train/bourtsoulatze2019-cifar10", recipe)
