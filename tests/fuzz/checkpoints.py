"""Checkpoints and headers, changed: codecs of linksim, folders of DiffJSCC, pickles, tables, training states."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import TypeAdapter

from benchmarks.make_diffjscc_checkpoint import make
from linksim.build.channels import load_calibration
from linksim.build.checkpoints import CheckpointError, save_checkpoint
from linksim.build.convert import convert_diffjscc
from linksim.build.objects import load_codec, load_denoiser
from linksim.coding.calibration import CalibrationError
from linksim.diffusion.authors.checkpoint import open_authors_checkpoint
from linksim.diffusion.model import DiffusionModel
from linksim.scenario.files import ScenarioError
from linksim.scenario.schema import NetworkSpec
from linksim.training.folder import read_state, write_state
from linksim.weights.pickle_reader import ModelFormatError, read_tensors
from linksim.weights.zoo import asset
from tests.fuzz.harness import Attempt, Finding
from tests.fuzz.mutations import mutated_bytes, mutated_text, mutated_tree, strange_value

REFUSALS = (CheckpointError, ModelFormatError, CalibrationError, ScenarioError)
CODECS: tuple[dict[str, Any], ...] = (
    {"kind": "lean", "latent_channels": 2, "width_8": 8, "width_16": 8, "encoder_blocks": [0, 1], "decoder_blocks": [1, 0], "embedding": 4},
    {"kind": "dial", "rates": [2, 4], "width_4": 8, "width_8": 8, "width_16": 8, "encoder_blocks": [0, 1], "decoder_blocks": [0, 1, 0], "embedding": 4},
    {"kind": "cnn_yang2024", "latent_channels": 2, "width": 4, "max_width": 16, "max_decoder_width": 16, "blocks": 1, "decoder_blocks": 1},
    {"kind": "swin_yang2024", "latent_channels": 2, "widths": [4, 8], "depths": [1, 1], "heads": [2, 2], "window": 2, "image_size": [32, 32]},
    {"kind": "swinjscc", "rates": [2, 4], "widths": [4, 8], "depths": [1, 2], "heads": [2, 2], "window": 2, "image_size": [32, 32]},
    {"kind": "latent_denoiser", "rates": [2, 4], "width": 8, "blocks": 1, "embedding": 4},
)  # fmt: skip
RECIPE = {
    "scenario": {"train": {"snr_db": {"low": 0, "high": 14}, "loss": {"mse": 1.0}}},
    "encoder_digest": "x",
    "trained_on": ["psnr"],
    "steps": 3,
}


class _Runs:
    """What a hostile pickle asks for: a program."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.mark}'",)


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(header: Any, tensors: bytes, rng: random.Random) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    length = len(text) if rng.random() < 0.95 else rng.choice((0, 1, len(text) + 8, 1 << 40, (1 << 64) - 1))
    return struct.pack("<Q", length) + text + tensors


def _texts_of_metadata(header: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The header with a tree changed that its metadata hold as a text."""
    metadata = dict(header["__metadata__"])
    name = rng.choice(("codec", "recipe"))
    text = json.dumps(mutated_tree(json.loads(metadata[name]), rng))
    metadata[name] = text if rng.random() < 0.9 else mutated_text(text, rng)
    return {**header, "__metadata__": metadata}


def _codec_attempt(work: Path) -> Attempt:
    adapter: TypeAdapter[Any] = TypeAdapter(NetworkSpec)
    whole = []
    for fields in CODECS:
        spec = adapter.validate_python(fields, strict=False)
        network = spec.build()
        path = work / f"{fields['kind']}.safetensors"
        save_checkpoint(path, spec, network.state_dict(), RECIPE, torch.float16)
        whole.append((fields["kind"], path.read_bytes()))
    headers = [_split(data)[0] for _, data in whole]

    def attempt(rng: random.Random, folder: Path) -> str:
        kind, data = rng.choice(whole)
        header, tensors = _split(data)
        how = rng.randrange(4)
        if how == 0:
            data = mutated_bytes(data, rng)
        elif how == 1:
            data = _joined(mutated_tree(header, rng, headers), tensors, rng)
        else:
            data = _joined(_texts_of_metadata(header, rng), tensors, rng)
        path = folder / "a.safetensors"
        path.write_bytes(data)
        load = load_denoiser if (kind == "latent_denoiser") != (rng.random() < 0.1) else load_codec
        load(str(path))
        return "taken"

    return attempt


def _pickled(tensors: dict[str, Any], rng: random.Random, mark: Path) -> Any:
    """What somebody else might have put into a checkpoint."""
    tree: Any = dict(tensors)
    name = rng.choice(sorted(tree))
    kind = rng.randrange(9)
    if kind == 0:
        tree[name] = strange_value(rng)
    elif kind == 1:
        tree[name] = torch.zeros(rng.choice(((0,), (1,), (2, 2), (1, 1, 1, 1, 1), (3, 5))), dtype=rng.choice((torch.int8, torch.bool, torch.complex64, torch.float64)))  # fmt: skip
    elif kind == 2:
        tree[name] = torch.full_like(tree[name], float("nan")) if tree[name].is_floating_point() else None
    elif kind == 3:
        tree[rng.choice((5, None, ("a",), "more", ""))] = torch.zeros(2)
    elif kind == 4:
        tree[name] = _Runs(mark)
    elif kind == 5:
        tree["pytorch-lightning_version"], tree["callbacks"] = _Runs(mark), [_Runs(mark)] * 3
    elif kind == 6:
        tree[name] = torch.zeros(1).expand(1 << 32)  # four billion values in four bytes
    elif kind == 7:
        tree[name] = rng.choice((torch.sparse_coo_tensor([[0]], [1.0], (9,)), torch.zeros(2, device="meta"), torch.nn.Parameter(torch.zeros(2))))  # fmt: skip
    else:
        del tree[name]
    return rng.choice(
        (tree, {"state_dict": tree}, {"state_dict": tree}, [tree], {"state_dict": [tree]}, tree)
    )


def _authors_attempt(work: Path) -> Attempt:
    folders = {size: make(work / f"authors-{size}", size) for size in ("tiny", "swin")}
    stored = {}
    for size, folder in folders.items():
        loaded = torch.load(folder / "model.ckpt", weights_only=True)
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        stored[size] = (loaded.get("state_dict", loaded), settings, (folder / "model.ckpt").read_bytes())

    def attempt(rng: random.Random, folder: Path) -> str:
        size = rng.choice(sorted(stored))
        tensors, settings, data = stored[size]
        target, mark = folder / "model", folder / "mark"
        target.mkdir()
        text = yaml.safe_dump(settings)
        how = rng.randrange(4)
        if how == 0:
            text = mutated_text(text, rng)
        elif how == 1:
            text = yaml.safe_dump(
                mutated_tree(settings, rng, [s[1] for s in stored.values()]), allow_unicode=True
            )
        (target / "config.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        if how == 2:
            (target / "model.ckpt").write_bytes(mutated_bytes(data, rng))
        elif how == 3:
            old = rng.random() < 0.2
            torch.save(
                _pickled(tensors, rng, mark), target / "model.ckpt", _use_new_zipfile_serialization=not old
            )
        else:
            os.link(folders[size] / "model.ckpt", target / "model.ckpt")
        try:
            if rng.random() < 0.5:
                load_codec(str(target))
            else:
                opened = open_authors_checkpoint(target)
                part = rng.choice(
                    (opened.unet, opened.control, opened.vae, opened.condition_vae, opened.text_encoder)
                )
                part()
        finally:
            if mark.exists():
                raise Finding("a pickle ran")
        return "taken"

    return attempt


def _pickle_attempt(work: Path) -> Attempt:
    """Pickles alone: of torch, of Python, of nothing."""
    path = work / "small.pt"
    torch.save({"a": torch.ones(3), "b": {"c": torch.ones(2, 2)}}, path)
    data = path.read_bytes()

    def attempt(rng: random.Random, folder: Path) -> str:
        file, mark = folder / "a.ckpt", folder / "mark"
        how = rng.randrange(3)
        if how == 0:
            file.write_bytes(mutated_bytes(data, rng))
        elif how == 1:
            torch.save(_pickled({"a": torch.ones(3), "b": torch.ones(2)}, rng, mark), file)
        else:
            file.write_bytes(
                mutated_bytes(
                    pickle.dumps(rng.choice(({"a": 1}, [_Runs(mark)], {"state_dict": _Runs(mark)}))), rng
                )
            )
        try:
            tensors = read_tensors(file)
        finally:
            if mark.exists():
                raise Finding("a pickle ran")
        assert all(isinstance(value, torch.Tensor) for value in tensors.values())
        return "taken"

    return attempt


def _converted_attempt(work: Path) -> Attempt:
    convert_diffjscc(str(make(work / "to-convert", "tiny")), work / "converted")
    names = sorted(p.relative_to(work / "converted") for p in (work / "converted").rglob("*.json"))
    trees = {name: json.loads((work / "converted" / name).read_text()) for name in names}

    def attempt(rng: random.Random, folder: Path) -> str:
        target = folder / "model"
        shutil.copytree(work / "converted", target, copy_function=os.link)
        name = rng.choice(names)
        text = json.dumps(mutated_tree(trees[name], rng, list(trees.values())))
        changed = target / name
        if rng.random() < 0.2:
            changed = rng.choice(sorted(target.rglob("*.safetensors")))
            data = changed.read_bytes()
            header, tensors = _split(data)
            data = (
                _joined(mutated_tree(header, rng), tensors, rng)
                if rng.random() < 0.5
                else mutated_bytes(data, rng)
            )
        else:
            data = (text if rng.random() < 0.8 else mutated_text(text, rng)).encode("utf-8", "surrogatepass")
        changed.unlink()
        changed.write_bytes(data)
        (DiffusionModel.check if rng.random() < 0.8 else DiffusionModel.load)(target)
        return "taken"

    return attempt


def _table_attempt(work: Path) -> Attempt:
    tree = json.loads(asset("mcs-calibration.json").read_text())
    tree["channels"] = tree["channels"][:2]
    tree["quality"] = tree["quality"][:2]

    def attempt(rng: random.Random, folder: Path) -> str:
        text = json.dumps(mutated_tree(tree, rng))
        path = folder / "table.json"
        path.write_bytes(
            (text if rng.random() < 0.8 else mutated_text(text, rng)).encode("utf-8", "surrogatepass")
        )
        table = load_calibration(path)
        for channel in table.channels:
            table.lengths(channel.channel)
        return "taken"

    return attempt


def _state_attempt(work: Path) -> Attempt:
    """The state of a training, as far as its folder reads it."""
    from linksim.scenario.files import load_any
    from tests.linksim.test_train import RECIPE as TRAINING

    recipe = work / "recipe.yaml"
    recipe.write_text(TRAINING.format(first="a.tar", second="b.tar"))
    scenario: Any = load_any(str(recipe))

    def attempt(rng: random.Random, folder: Path) -> str:
        mark = folder / "mark"
        write_state(scenario, folder, {"step": 3, "model": {"a": torch.ones(2)}})
        path = folder / "state.pt"
        if rng.random() < 0.5:
            path.write_bytes(mutated_bytes(path.read_bytes(), rng))
        else:
            torch.save(_pickled({"a": torch.ones(3)}, rng, mark), path)
        try:
            read_state(scenario, folder, torch.device("cpu"))
        finally:
            if mark.exists():
                raise Finding("a pickle ran")
        return "taken"

    return attempt


_KINDS: tuple[tuple[Callable[[Path], Attempt], int], ...] = (
    (_codec_attempt, 8), (_authors_attempt, 5), (_pickle_attempt, 3), (_converted_attempt, 3), (_table_attempt, 2), (_state_attempt, 1),
)  # fmt: skip


def prepare(work: Path) -> Attempt:
    """One changed file of any kind of checkpoint."""
    attempts = [make_attempt(work) for make_attempt, _ in _KINDS]
    weights = [weight for _, weight in _KINDS]

    def attempt(rng: random.Random, folder: Path) -> str:
        try:
            return rng.choices(attempts, weights)[0](rng, folder)
        except REFUSALS as problem:
            if not str(problem).strip():
                raise Finding("refused without a word") from problem
            return "refused"

    return attempt
