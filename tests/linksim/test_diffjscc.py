"""DiffJSCC on stock classes: the authors' activations, conversion, folders, receivers, bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.make_diffjscc_checkpoint import make
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from linksim.build.convert import convert_diffjscc
from linksim.build.objects import load_codec, load_diffjscc
from linksim.cli.commands import main
from linksim.diffusion.authors.checkpoint import open_authors_checkpoint
from linksim.diffusion.caption import HubCaptioner, model_bytes
from linksim.diffusion.color_fix import adain, wavelet
from linksim.diffusion.model import DiffusionModel
from linksim.diffusion.receiver import DiffusionReceiver, SamplerOptions
from linksim.diffusion.sampler import Guidance, sample
from linksim.diffusion.tiles import Tiles
from linksim.images.sets import SkimageImages
from linksim.link import run_link
from linksim.results.store import ResultStore
from linksim.schemes.diffjscc import DiffJsccScheme
from linksim.schemes.jscc import JsccScheme
from linksim.weights.pickle_reader import ModelFormatError, read_tensors
from linksim.weights.zoo import find_folder
from tests.linksim.tiny import write, write_tokenizer

REFERENCE = (
    Path(os.environ.get("LINKSIM_SHARED", Path(__file__).parents[3] / "shared")) / "reference/diffjscc_tiny"
)
needs_reference = pytest.mark.skipif(
    not (REFERENCE / "model.ckpt").is_file(), reason=f"no reference checkpoint in {REFERENCE}"
)
STOCK = {"UNet2DConditionModel", "ControlNetModel", "AutoencoderKL", "CLIPTextModel"}


@pytest.fixture(scope="session")
def authors(tmp_path_factory) -> Path:
    """A small checkpoint in the authors' format with random weights."""
    return make(tmp_path_factory.mktemp("authors") / "tiny", "tiny")


@pytest.fixture(scope="session")
def converted(authors, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "tiny"
    convert_diffjscc(str(authors), folder)
    return folder


@pytest.fixture(scope="module")
def initial() -> torch.Tensor:
    images = SkimageImages(["astronaut", "coffee"])
    return torch.stack([images[n][:, 100:164, 100:228] for n in images.names]).float() / 255


def options(**keywords) -> SamplerOptions:
    return SamplerOptions(**{"steps": 3, **keywords})


# ------------------------------------------------------------------------------ the authors' activations


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return load_file(str(REFERENCE / "expected.safetensors"))


@pytest.fixture(scope="module")
def reference() -> DiffusionModel:
    return DiffusionModel.from_authors(open_authors_checkpoint(REFERENCE))


@needs_reference
@torch.no_grad()
def test_every_activation_of_the_reference_is_reproduced(reference, expected):
    """Autoencoder, condition, text, each control residual, eps and the samples; largest difference 1e-4."""
    e, receiver = expected, DiffusionReceiver(reference)
    first = e["initial_reconstruction"]
    label = reference.snr_scale * e["snr_db"][:, 0] - reference.min_snr
    down, middle = reference.control(
        e["z_t"],
        e["t"],
        encoder_hidden_states=e["text_embedding"],
        controlnet_cond=e["condition_latent"],
        class_labels=label,
        return_dict=False,
    )
    found = {
        "condition_latent": receiver.encode(reference.condition_vae, first),
        "vae_mean_of_image_scaled": receiver.encode(reference.vae, e["image"]),
        "vae_decode_of_z": receiver.decode(e["z_t"]),
        "text_embedding": reference.text_encoder(e["token_ids"]).last_hidden_state,
        "eps": receiver.predict(e["z_t"], int(e["t"]), e["text_embedding"], e["condition_latent"], label),
        "wavelet_of_image_on_initial": wavelet(e["image"], first),
        **{f"control_{i:02d}": r for i, r in enumerate([*down, middle])},
    }

    def predict(z, t):
        return receiver.predict(z, t, e["text_embedding"], e["condition_latent"], label)

    def run(guidance=None):
        noise = e["sampler_noises"].__getitem__
        steps = len(e["sampler_timesteps"])
        z = sample("ancestral", predict, reference.schedule, steps, e["sampler_x_T"], noise, guidance)
        return receiver.decode(z)

    plain = run()
    guidance = Guidance(receiver.encode(reference.vae, first), 100.0)
    found |= {
        "sample_plain": plain,
        "sample_wavelet": wavelet(plain, first),
        "sample_adain": adain(plain, first),
        "sample_guided": wavelet(run(guidance), first),
    }
    assert sum(name.startswith("control_") for name in e) == len(down) + 1
    differences = {name: float((value - e[name]).abs().max()) for name, value in found.items()}
    assert max(differences.values()) < 1e-5, differences
    effect = float((e["sample_guided"] - e["sample_wavelet"]).abs().max())
    assert effect > 1e-2, "without guidance the last comparison would fail"


@needs_reference
def test_jscc_of_the_reference_is_reproduced(expected):
    codec, _ = load_diffjscc(REFERENCE)
    assert codec.config.latent_channels == 4
    other = load_codec(str(REFERENCE))
    assert all(
        torch.equal(a, b)
        for a, b in zip(codec.state_dict().values(), other.state_dict().values(), strict=True)
    )


@needs_reference
def test_reference_survives_the_round_trip(reference, expected, tmp_path):
    """Authors' format, diffusers folder, from_pretrained: the same samples within 1e-5."""
    folder = tmp_path / "folder"
    convert_diffjscc(str(REFERENCE), folder)
    assert (folder / "condition_vae").is_dir(), "here the condition has an encoder of its own"
    again = DiffusionModel.load(folder)
    first, snr_db = expected["initial_reconstruction"], expected["snr_db"][:, 0]
    shown = [DiffusionReceiver(m, options(guidance=100.0))(first, snr_db, [5]) for m in (reference, again)]
    torch.testing.assert_close(shown[0], shown[1], atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------ conversion


def test_folder_loads_with_from_pretrained_of_stock_classes(converted, initial):
    model = DiffusionModel.load(converted)
    index = json.loads((converted / "model_index.json").read_text())
    assert {kind for _, kind in index.values()} == STOCK
    for part in model.parts().values():
        assert type(part).__name__ in STOCK
        assert type(part).__module__.split(".")[0] in ("diffusers", "transformers")
    codec, _ = load_diffjscc(converted)
    assert codec.config.latent_channels == 4


def test_round_trip_gives_the_same_pictures(authors, converted, initial):
    snr_db = torch.tensor([1.0, 10.0])
    shown = [
        DiffusionReceiver(model, options())(initial, snr_db, [1, 2])
        for model in (load_diffjscc(authors)[1], DiffusionModel.load(converted))
    ]
    torch.testing.assert_close(shown[0], shown[1], atol=1e-5, rtol=0)
    assert float(shown[0].std()) > 0.01


def test_other_sizes_and_rayleigh_csi_convert_with_no_change(tmp_path, initial):
    folder = make(tmp_path / "small", "small")
    convert_diffjscc(str(folder), tmp_path / "out")
    codec, model = load_diffjscc(tmp_path / "out")
    assert (codec.config.latent_channels, codec.config.csi) == (16, "snr_h")
    assert tuple(model.unet.config.block_out_channels) == (32, 64, 96)
    scheme = DiffJsccScheme(JsccScheme("small", codec, "perfect"), DiffusionReceiver(model, options()))
    snr = torch.full((2,), 8.0)
    with torch.no_grad():
        out = run_link(scheme, FlatFadingChannel(), initial, snr, [3, 4], 3 * 64 * 128 // 96)
    assert out.reconstruction.image.shape == initial.shape


def test_control_of_a_codec_with_the_gain_is_told_the_average_snr(tmp_path, initial, monkeypatch):
    """As the authors do; a codec that is told one number hears the effective SNR of the fade."""
    told = []

    def listen(self, image, snr_db, seeds, gamma_map=None):
        told.append(snr_db)
        return image

    monkeypatch.setattr(DiffusionReceiver, "__call__", listen)
    for size, csit in (("small", "perfect"), ("tiny", "average_snr")):
        codec, model = load_diffjscc(make(tmp_path / size, size))
        scheme = DiffJsccScheme(JsccScheme(size, codec, csit), DiffusionReceiver(model, options()))
        budget = codec.num_symbols(64, 128)
        with torch.no_grad():
            run_link(scheme, FlatFadingChannel(), initial, torch.full((2,), 8.0), [3, 4], budget)
    torch.testing.assert_close(told[0], torch.full((2,), 8.0))
    assert (told[1] - 8.0).abs().min() > 0.1


def test_swin_checkpoint_converts_and_decodes_alike(tmp_path, initial):
    folder = make(tmp_path / "swin", "swin")
    convert_diffjscc(str(folder), tmp_path / "out")
    shown = []
    for place in (folder, tmp_path / "out"):
        codec, model = load_diffjscc(place)
        assert type(codec).__name__ == "SwinYang2024"
        scheme = DiffJsccScheme(JsccScheme("swin", codec), DiffusionReceiver(model, options()))
        with torch.no_grad():
            out = run_link(scheme, AwgnChannel(), initial, torch.full((2,), 8.0), [3, 4], 3 * 64 * 128 // 384)
        shown.append(out.reconstruction.image)
    torch.testing.assert_close(shown[0], shown[1], atol=1e-5, rtol=0)


def test_hint_is_linear_through_the_stock_embedding(authors):
    """Two convolutions with SiLU between them are the one bias-free convolution of the authors."""
    opened = open_authors_checkpoint(authors)
    weight = opened.tensors["control_model.input_blocks.0.0.weight"][:, 4:]
    hint = 5 * torch.randn(2, 4, 8, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = opened.control().controlnet_cond_embedding(hint)
    torch.testing.assert_close(
        ours, torch.nn.functional.conv2d(hint, weight, padding=1), atol=1e-5, rtol=1e-5
    )


def test_half_precision_on_disk(authors, tmp_path):
    convert_diffjscc(str(authors), tmp_path / "half", dtype=torch.bfloat16)
    full = (tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    model = DiffusionModel.load(tmp_path / "half")
    assert full < 0.6 * 4 * sum(p.numel() for p in model.unet.parameters())
    assert model.unet.dtype == torch.float32


def test_target_that_exists_is_left_alone(authors, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    assert main(["convert", "diffjscc", str(authors), str(tmp_path)]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "precious"


# ----------------------------------------------------------------------------------------- bad input


def altered(authors: Path, folder: Path, change) -> Path:
    shutil.copytree(authors, folder)
    state = torch.load(folder / "model.ckpt", weights_only=True)["state_dict"]
    change(state)
    torch.save({"state_dict": state}, folder / "model.ckpt")
    return folder


UNET_BIAS = "model.diffusion_model.out.2.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop(UNET_BIAS), f"missing {UNET_BIAS}"),
        (lambda s: s.update({UNET_BIAS: torch.zeros(7)}), rf"misshapen {UNET_BIAS} \(7,\) instead of \(4,\)"),
        (lambda s: s.update({"model.extra": torch.zeros(1)}), "unknown model.extra"),
        (
            lambda s: s.pop("cond_stage_model.model.ln_final.bias"),
            "missing cond_stage_model.model.ln_final.bias",
        ),
    ],
    ids=["missing", "misshapen", "unknown", "missing text"],
)
def test_tensors_that_do_not_fit_are_named(authors, tmp_path, change, message, capsys):
    folder = altered(authors, tmp_path / "bad", change)
    with pytest.raises(ModelFormatError, match=message):
        open_authors_checkpoint(folder)
    assert main(["convert", "diffjscc", str(folder), str(tmp_path / "out")]) == 2
    assert "tensors do not fit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_jscc_tensors_that_do_not_fit_are_named(authors, tmp_path):
    folder = altered(
        authors, tmp_path / "bad", lambda s: s.update({"preprocess_model.E.more": torch.zeros(1)})
    )
    with pytest.raises(ModelFormatError, match=r"preprocess_model\.E\.more"):
        load_diffjscc(folder)


class Bomb:
    """Pickled code: would create a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Callback:
    """An object as Lightning leaves it beside the weights."""

    def __init__(self) -> None:
        self.state = {"best": [1, 2, {"deep": Path("x")}]}


def test_other_objects_in_the_pickle_are_skipped_never_executed(tmp_path, monkeypatch):
    fuse = tmp_path / "exploded"
    extra = {"callbacks": Callback(), "bomb": Bomb(fuse), "epoch": 3}
    folder = make(tmp_path / "lightning", "tiny", extra)
    tensors = read_tensors(folder / "model.ckpt")
    assert not fuse.exists()
    assert UNET_BIAS in tensors
    open_authors_checkpoint(folder)
    load_codec(str(folder))
    assert not fuse.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(folder / "model.ckpt", weights_only=True)
    torch.load(folder / "model.ckpt", weights_only=False)
    assert fuse.exists(), "a plain load would have executed it"


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04 broken"])
def test_broken_checkpoint_is_one_message(authors, tmp_path, content, capsys):
    folder = tmp_path / "broken"
    shutil.copytree(authors, folder)
    (folder / "model.ckpt").write_bytes(content)
    assert main(["convert", "diffjscc", str(folder), str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "model.ckpt: cannot be read" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("model.cldm.ControlLDM", "os.system"), "target: not supported, got os.system"),
        (("use_snr: true", "use_snr: false"), "use_snr"),
        (("  linear_end: 0.012\n", ""), "incomplete"),
        (("params:", "params: ["), "cannot be read"),
    ],
)
def test_config_of_another_model_is_refused(authors, tmp_path, change, message, capsys):
    folder = tmp_path / "other"
    shutil.copytree(authors, folder)
    text = (folder / "config.yaml").read_text()
    assert change[0] in text
    (folder / "config.yaml").write_text(text.replace(*change))
    assert main(["convert", "diffjscc", str(folder), str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_hub_that_cannot_be_reached_is_one_message(monkeypatch, tmp_path, no_network):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelFormatError, match=r"cannot be downloaded.*give the folder"):
        find_folder("Mingyuyang/DiffJSCC-OpenImage-CBR-1-384")
    with pytest.raises(ModelFormatError, match="no such folder"):
        find_folder("/nowhere/at/all")


SCENARIO = """
name: dj
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/384}
channel: {kind: awgn}
sweep: {snr_db: [20]}
schemes: [{kind: diffjscc, name: dj, checkpoint: FOLDER, steps: 2}]
metrics: [psnr]
"""


def test_snr_outside_of_the_training_range_is_warned_of_and_marked(converted, tmp_path, caplog):
    out = tmp_path / "run"
    scenario = write(tmp_path, SCENARIO.replace("FOLDER", str(converted)))
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 0
    assert caplog.text.count("SNR outside of the training range, got 20.0 dB, expected 0 to 14 dB") == 1
    assert [r.info["snr_outside_training"] for r in ResultStore(out).records()] == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("FOLDER", "/nowhere"), "schemes.dj.checkpoint: no such folder"),
        (("FOLDER", "TEMP"), "no DiffJSCC model in the folder"),
        (("1/384", "1/96"), "does not fit the network"),
        (("steps: 2", "steps: 0"), "steps"),
        (("steps: 2", "sampler: euler"), "sampler"),
        (("steps: 2", "strength: 0.5"), "expected start: condition"),
        (("steps: 2", "caption: /no/model"), "no such folder"),
    ],
)
def test_bad_scenario_is_refused_before_anything_runs(converted, tmp_path, change, message, capsys):
    text = SCENARIO.replace(*change).replace("FOLDER", str(converted)).replace("TEMP", str(tmp_path))
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_part_that_is_missing_is_named(converted, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(converted, folder)
    shutil.rmtree(folder / "controlnet")
    with pytest.raises(ModelFormatError, match="controlnet: no such part"):
        DiffusionModel.load(folder)
    (folder / "diffjscc.json").write_text("{}")
    with pytest.raises(ModelFormatError, match=r"diffjscc\.json: cannot be read"):
        DiffusionModel.load(folder)


# ------------------------------------------------------------------------------------------ receiver


@pytest.fixture(scope="module")
def model(converted) -> DiffusionModel:
    return DiffusionModel.load(converted)


@pytest.mark.parametrize("kind", ["ancestral", "ddim", "dpmsolver++", "unipc"])
def test_result_of_an_image_does_not_depend_on_its_batch(model, initial, kind):
    receiver, snr_db = DiffusionReceiver(model, options(kind=kind)), torch.tensor([3.0, 9.0])
    both = receiver(initial, snr_db, [7, 8])
    alone = receiver(initial[1:], snr_db[1:], [8])
    torch.testing.assert_close(both[1:], alone, atol=2e-5, rtol=0)
    other = receiver(initial[1:], snr_db[1:], [9])
    assert float((other - alone).abs().max()) > 1e-3, "the seed decides"


def test_snr_and_text_and_guidance_reach_the_sample(model, initial):
    one, snr_db = initial[:1], torch.tensor([3.0])
    base = DiffusionReceiver(model, options())(one, snr_db, [1])
    assert not torch.equal(DiffusionReceiver(model, options())(one, snr_db + 8, [1]), base)
    pulled = DiffusionReceiver(model, options(guidance=200.0))(one, snr_db, [1])
    assert not torch.equal(pulled, base)


@pytest.mark.parametrize("size", [(64, 64), (50, 90), (130, 64), (64, 200)])
def test_any_size_comes_back(model, size):
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
    shown = DiffusionReceiver(model, options(steps=2))(image, torch.tensor([5.0]), [1])
    assert shown.shape == image.shape
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_tiles_blend_to_the_whole_where_the_network_is_local():
    """A pointwise predictor gives the same with tiles and without; every position is covered."""
    z = torch.randn(1, 4, 50, 70, generator=torch.Generator().manual_seed(3))
    for size, tile in (((50, 70), 32), ((50, 70), 70), ((50, 70), 0)):
        tiles = Tiles(size, tile)
        torch.testing.assert_close(tiles.blend(lambda cut: 2 * cut(z) + 1), 2 * z + 1, atol=1e-5, rtol=1e-5)
    assert Tiles((50, 70), 0).whole
    assert len(Tiles((50, 70), 32).places) == 6


def test_large_pictures_are_sampled_in_tiles(model):
    image = torch.rand(1, 3, 64, 384, generator=torch.Generator().manual_seed(2))
    receiver = DiffusionReceiver(model, options(steps=2, tile=256))
    assert receiver(image, torch.tensor([5.0]), [1]).shape == image.shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs_and_stays_close(converted, initial, dtype):
    """Start from the condition at little noise, so that 8-bit mantissas do not decide the picture."""
    snr_db, near = torch.tensor([3.0, 9.0]), options(start="condition", strength=0.34, kind="ddim")
    exact = DiffusionReceiver(DiffusionModel.load(converted), near)(initial, snr_db, [1, 2])
    half = DiffusionReceiver(DiffusionModel.load(converted), near, dtype=dtype)(initial, snr_db, [1, 2])
    assert float((exact - half).abs().mean()) < 0.05


def test_caption_reaches_the_text_tower_and_needs_a_tokenizer(
    converted, initial, tmp_path, monkeypatch, no_network
):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder = tmp_path / "with"
    shutil.copytree(converted, folder)
    words = "a rocket"

    def describe(image):
        return [words] * len(image)

    with pytest.raises(ModelFormatError, match="--tokenizer"):
        DiffusionReceiver(DiffusionModel.load(folder), options(), describe)
    write_tokenizer(folder / "tokenizer")
    receiver = DiffusionReceiver(DiffusionModel.load(folder), options(), describe)
    told = receiver(initial, torch.zeros(2), [1, 2])
    silent = DiffusionReceiver(DiffusionModel.load(folder), options())(initial, torch.zeros(2), [1, 2])
    assert not torch.equal(told, silent)
    tokens = receiver.text_features.tokens(words)[0]
    assert tokens[0] == 510
    assert 511 in tokens.tolist()
    assert tokens[-1] == 0
    DiffusionModel.load(folder).save(tmp_path / "copy")
    assert (tmp_path / "copy" / "tokenizer" / "vocab.json").is_file()


def test_scheme_sends_what_its_jscc_sends(converted, initial):
    codec, model = load_diffjscc(converted)
    jscc = JsccScheme("dj", codec)
    scheme = DiffJsccScheme(jscc, DiffusionReceiver(model, options()))
    snr, budget = torch.full((2,), 10.0), 3 * 64 * 128 // 384
    with torch.no_grad():
        first, out = (run_link(s, AwgnChannel(), initial, snr, [1, 2], budget) for s in (jscc, scheme))
    assert torch.equal(out.reconstruction.stages["jscc"], first.reconstruction.image)
    assert (out.uses, out.side_info_bits) == (first.uses, first.side_info_bits)
    assert not torch.equal(out.reconstruction.image, first.reconstruction.image)


def test_jscc_stage_alone_is_a_scheme_of_either_folder(authors, converted, tmp_path):
    """The first stage of a DiffJSCC model beside the whole of it, from the same folder."""
    lines = [
        f"{{kind: jscc, name: {name}, checkpoint: {folder}}}"
        for name, folder in (("authors", authors), ("converted", converted))
    ]
    text = SCENARIO.replace(
        "[{kind: diffjscc, name: dj, checkpoint: FOLDER, steps: 2}]", f"[{', '.join(lines)}]"
    )
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out), "--no-report"]) == 0
    one, two = (r.values["psnr"] for r in ResultStore(out).records())
    assert one == pytest.approx(two, abs=1e-4)


def test_ablation_tells_the_control_module_another_snr(converted, initial):
    codec, model = load_diffjscc(converted)
    receiver = DiffusionReceiver(model, options())
    snr, budget = torch.full((2,), 2.0), 3 * 64 * 128 // 384
    shown = []
    for told in (None, 2.0, 13.0):
        scheme = DiffJsccScheme(JsccScheme("dj", codec), receiver, told)
        with torch.no_grad():
            out = run_link(scheme, AwgnChannel(), initial, snr, [1, 2], budget)
        shown.append(out.reconstruction.image)
    assert torch.equal(shown[0], shown[1])
    assert not torch.equal(shown[0], shown[2])


def test_start_and_end_of_a_caption_are_the_last_words_of_the_vocabulary(converted, tmp_path):
    """Configurations of CLIP from before 2023 name 0 and 2, which Stable Diffusion was not trained with."""
    folder = tmp_path / "old"
    shutil.copytree(converted, folder)
    path = folder / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bos_token_id": 0, "eos_token_id": 2}))
    tokens = DiffusionReceiver(DiffusionModel.load(folder), options()).text_features.tokens("")[0]
    assert tokens[:3].tolist() == [510, 511, 0]


def test_only_the_latest_embeddings_are_kept(model):
    text = DiffusionReceiver(model, options()).text_features
    text.tokenizer = lambda caption, add_special_tokens: type("T", (), {"input_ids": [int(caption)]})
    text([str(i) for i in range(100)])
    assert list(text.kept) == [str(i) for i in range(36, 100)]


def test_snr_embedding_is_not_rounded(converted):
    exact, rounded = DiffusionModel.load(converted), DiffusionModel.load(converted)
    rounded.to(torch.device("cpu"), torch.bfloat16)
    for name, weight in exact.control.class_embedding.state_dict().items():
        assert torch.equal(rounded.control.class_embedding.state_dict()[name], weight)
    assert rounded.control.conv_in.weight.dtype == torch.bfloat16


def test_ends_of_the_training_range_lie_inside(model):
    receiver = DiffusionReceiver(model, options())
    ends = 10 * torch.log10(1 / (10 ** (-torch.tensor([0.0, 14.0]) / 10)))  # as it comes out of an estimate
    assert receiver.outside_training(ends) == [False, False]
    assert receiver.outside_training(torch.tensor([-0.1, 14.1])) == [True, True]


def test_map_of_the_snr_stays_where_its_picture_is(model):
    """A picture of 37 columns of latents, padded to 40: the map is not stretched."""
    receiver = DiffusionReceiver(dataclasses.replace(model, gamma_map=True), options())
    spread = torch.arange(37.0).expand(1, 1, 4, 37)
    hint = receiver.hint(torch.zeros(1, 4, 8, 80), spread, (64, 592))
    expected = torch.arange(37.0).repeat_interleave(2)
    assert torch.equal(hint[0, 4, 0, :74], expected)
    assert torch.equal(hint[0, 4, 0, 74:], torch.full((6,), 36.0))


def test_tiles_too_small_to_overlap_are_refused(converted, tmp_path, capsys):
    text = SCENARIO.replace("FOLDER", str(converted)).replace("steps: 2", "steps: 2, tile: 64")
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run")]) == 2
    assert "tile: got 64 pixels, expected 0 or a multiple of 32 from 256 on" in capsys.readouterr().err


@pytest.mark.parametrize("tile", [128, 300, 500])
def test_tiles_that_do_not_divide_are_refused(model, tile):
    with pytest.raises(ValueError, match="tile: wrong size"):
        DiffusionReceiver(model, SamplerOptions("ddim", 2, tile=tile))


def test_autoencoder_works_on_tiles_beyond_their_size(model):
    """The largest input of the encoder is a tile; its result stays near that of the whole."""
    initial = torch.rand(1, 3, 384, 384, generator=torch.Generator().manual_seed(1))
    sides = []
    hook = model.vae.encoder.register_forward_pre_hook(
        lambda module, inputs: sides.append(inputs[0].shape[-1])
    )
    tiled, whole = (
        DiffusionReceiver(model, SamplerOptions("ddim", 2, tile=tile)).encode(model.vae, initial)
        for tile in (256, 0)
    )
    hook.remove()
    assert max(sides[:-1]) == 256
    assert sides[-1] == 384
    assert tiled.shape == whole.shape
    inside = (tiled - whole)[:, :, 4:16, 4:16].abs().mean() / whole.abs().mean()  # far from the seams
    assert float(inside) < 0.5
    assert float((tiled - whole.flip(-1)).abs().mean()) > float((tiled - whole).abs().mean())


@pytest.mark.parametrize(
    ("channel", "csit", "message"),
    [
        ("{kind: awgn}", "average_snr", "csit: the encoder of"),
        ("{kind: rayleigh, coherence_symbols: 16}", "perfect", "one gain per picture"),
        (
            "{kind: ofdm, model: {kind: tdl, profile: C, delay_spread_s: 1e-7}}",
            "perfect",
            "one gain per picture",
        ),
    ],
)
def test_gain_that_does_not_fit_the_checkpoint_is_refused_at_once(tmp_path, channel, csit, message, capsys):
    folder = make(tmp_path / "rayleigh", "small")
    text = SCENARIO.replace("FOLDER", str(folder)).replace("1/384", "1/96").replace("{kind: awgn}", channel)
    text = text.replace("steps: 2", f"steps: 2, csit: {csit}")
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture(scope="module")
def captioner_folder(tmp_path_factory) -> Path:
    """A small captioner of transformers with random weights, with its processor."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("captioner")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *(chr(ord("a") + i) for i in range(26))]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"))
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"vocab_size": 32, "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {**size, **ids, "encoder_hidden_size": 16, "max_position_embeddings": 64}
    config = BlipConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 16})
    torch.manual_seed(1)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def test_captioner_of_transformers_describes_pictures(captioner_folder, initial):
    captioner = HubCaptioner(str(captioner_folder))
    captioner.prepare()
    words = captioner(initial)
    assert len(words) == len(initial)
    assert all(isinstance(line, str) for line in words)
    assert captioner(initial) == words


def test_captioner_that_needs_too_much_memory_is_refused_before_it_is_loaded(captioner_folder, monkeypatch):
    single = model_bytes(captioner_folder, torch.float32)
    assert model_bytes(captioner_folder, torch.bfloat16) == single // 2
    monkeypatch.setattr("linksim.diffusion.caption._free_bytes", lambda device: single - 1)
    with pytest.raises(ModelFormatError, match=r"caption: needs too much memory.*expected at most"):
        HubCaptioner(str(captioner_folder)).prepare()
    HubCaptioner(str(captioner_folder), dtype=torch.bfloat16).prepare()


@pytest.mark.slow
def test_three_channels_beside_separation_in_one_figure(authors, tmp_path):
    """The shipped scenario with an untrained model: every part runs, nothing is lost, one figure shows all."""
    out = tmp_path / "run"
    changes = [f"schemes.0.checkpoint={authors}", "schemes.0.name=untrained", "schemes.0.steps=2"]
    changes += ["images.names=[coffee]", "sweep={snr_db: [10], trials: 1}", "panel={images: 1, snr_db: [10]}"]
    changes += ["metrics=[psnr, bler]"]
    sets = [part for change in changes for part in ("--set", change)]
    assert main(["simulate", "diffjscc/three-channels", *sets, "--out", str(out)]) == 0
    records = list(ResultStore(out).records())
    assert {(r.key.channel, r.key.scheme) for r in records} == {
        (channel, scheme)
        for channel in ("awgn", "block Rayleigh", "OFDM TDL-C LS")
        for scheme in ("untrained", "BPG + LDPC")
    }
    assert all(r.values["psnr"] > 5 for r in records)
    figure = (out / "figures" / "psnr_vs_snr_db.svg").read_text()
    assert all(
        name in figure for name in ("awgn", "block Rayleigh", "OFDM TDL-C LS", "untrained", "BPG + LDPC")
    )
