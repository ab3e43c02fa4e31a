"""Folders of linksim convert diffjscc are read as strictly as they were written."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.make_diffjscc_checkpoint import make
from linksim.build.convert import convert_diffjscc
from linksim.diffusion.model import DiffusionModel
from linksim.weights.pickle_reader import ModelFormatError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    convert_diffjscc(str(make(folder / "authors", "tiny")), folder / "converted")
    return folder / "converted"


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def changed_tensors(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def refused(folder, *said):
    with pytest.raises(ModelFormatError) as caught:
        DiffusionModel.load(folder)
    for words in said:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "name", "file"),
    [
        ("unet", "conv_out.bias", WEIGHTS),
        ("controlnet", "controlnet_mid_block.bias", WEIGHTS),
        ("vae", "quant_conv.bias", WEIGHTS),
        ("text_encoder", "final_layer_norm.bias", "model.safetensors"),
    ],
)
@pytest.mark.parametrize("change", ["deleted", "added", "reshaped"])
def test_every_tensor_is_there_and_fits(folder, part, name, file, change):
    def edit(tensors):
        key = next(k for k in tensors if k.endswith(name))
        if change == "deleted":
            del tensors[key]
        elif change == "added":
            tensors["more.weight"] = torch.zeros(2)
        else:
            tensors[key] = torch.zeros(tensors[key].numel() + 1)

    changed_tensors(folder / part / file, edit)
    refused(folder, f"{folder / part}: ", "more.weight" if change == "added" else name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "x"}, "format x"),
        ({"schedule": {"beta": 1}}, "beta"),
        ({"schedule": {"num_train_timesteps": -3}}, "num_train_timesteps -3"),
        ({"schedule": {"beta_start": "a"}}, "diffjscc.json: cannot be read"),
        ({"snr_db": 3}, "diffjscc.json: cannot be read"),
        ({"snr_db": [5, 1]}, "snr_db [5, 1]"),
        ({"snr_scale": float("nan")}, "snr_scale nan"),
        ({"parts": ["unet"]}, "parts ['unet']"),
        ({"parts": None}, "parts None"),
        ({"gamma_map": "yes"}, "gamma_map yes"),
    ],
)
def test_index_says_what_is_wrong_with_it(folder, change, said):
    path = folder / "diffjscc.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    refused(folder, said)


@pytest.mark.parametrize("name", ["format", "parts", "schedule", "snr_scale", "min_snr", "snr_db"])
def test_index_lacks_nothing(folder, name):
    path = folder / "diffjscc.json"
    index = json.loads(path.read_text())
    del index[name]
    path.write_text(json.dumps(index))
    refused(folder, f"no '{name}'")


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_missing_part_is_named_and_looked_for_nowhere_else(folder, part):
    shutil.rmtree(folder / part)
    refused(folder, f"{folder / part}: no such part")


def test_control_module_without_the_snr_is_refused(folder):
    path = folder / "controlnet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "class_embed_type": None}))
    refused(folder, "controlnet", "class_embedding")
    changed_tensors(
        folder / "controlnet" / WEIGHTS,
        lambda t: [t.pop(k) for k in list(t) if k.startswith("class_embedding")],
    )
    refused(folder, "no class embedding")


def test_folder_with_half_precision_variants_only_is_read(folder):
    before = DiffusionModel.load(folder).unet.state_dict()
    for part in ("unet", "controlnet", "vae"):
        (folder / part / WEIGHTS).rename(folder / part / WEIGHTS.replace(".safe", ".fp16.safe"))
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "model.fp16.safetensors")
    after = DiffusionModel.load(folder).unet.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
