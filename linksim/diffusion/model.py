"""The diffusion part of DiffJSCC as one object: stock parts, read from and written to a folder.

A folder has one sub-folder per part, each of which loads with ``from_pretrained`` of its class, and
``diffjscc.json`` with what the parts do not say. It can be pushed to a hub as it is.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel

from channels.checks import complaint, in_words
from linksim.diffusion.authors.checkpoint import AuthorsCheckpoint
from linksim.diffusion.sampler import Schedule
from linksim.diffusion.text import TOKENIZER_FOLDER
from linksim.weights import pretrained
from linksim.weights.pickle_reader import ModelFormatError
from linksim.weights.pretrained import read_network, refuse_tensors
from linksim.weights.zoo import DIFFJSCC_INDEX

__all__ = ["DiffusionModel", "cast", "quiet", "read_part"]

FORMAT = "linksim-diffjscc-1"
_PARTS: dict[str, type[Any]] = {
    "unet": UNet2DConditionModel,
    "controlnet": ControlNetModel,
    "vae": AutoencoderKL,
    "condition_vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
}
_OPTIONAL = ("condition_vae",)


@dataclass
class DiffusionModel:
    """All networks behind the JSCC decoder.

    Args:
        unet: frozen denoiser, predicts eps.
        control: control module; its class label is the SNR.
        vae: autoencoder.
        condition_vae: whose encoder makes the condition; usually ``vae`` itself.
        text_encoder: text tower up to its penultimate layer.
        schedule: noise schedule of the training.
        snr_scale, min_snr: class label = snr_scale·snr_db - min_snr.
        snr_db: range of the SNR in training [dB].
        folder: where a tokenizer lies, if there is one.
        gamma_map: whether the control module is shown the SNR of every position beside the condition.
    """

    unet: UNet2DConditionModel
    control: ControlNetModel
    vae: AutoencoderKL
    condition_vae: AutoencoderKL
    text_encoder: CLIPTextModel
    schedule: Schedule
    snr_scale: float
    min_snr: float
    snr_db: tuple[float, float]
    folder: Path | None = None
    gamma_map: bool = False

    @classmethod
    def from_authors(cls, checkpoint: AuthorsCheckpoint) -> DiffusionModel:
        """The parts of an opened checkpoint in the authors' format."""
        config, vae = checkpoint.config, checkpoint.vae()
        s = config.schedule
        return cls(
            unet=checkpoint.unet(),
            control=checkpoint.control(),
            vae=vae,
            condition_vae=checkpoint.condition_vae() or vae,
            text_encoder=checkpoint.text_encoder(),
            schedule=Schedule(s["num_train_timesteps"], s["beta_start"], s["beta_end"]),
            snr_scale=config.snr_scale,
            min_snr=config.min_snr,
            snr_db=config.snr_db,
        )

    def parts(self) -> dict[str, Any]:
        """Networks by the names of their sub-folders."""
        found = {
            "unet": self.unet,
            "controlnet": self.control,
            "vae": self.vae,
            "text_encoder": self.text_encoder,
        }
        if self.condition_vae is not self.vae:
            found["condition_vae"] = self.condition_vae
        return found

    def save_index(self, folder: Path) -> None:
        """Write ``diffjscc.json`` and ``model_index.json``."""
        names = list(self.parts())
        index = {
            "format": FORMAT,
            "parts": names,
            "schedule": vars(self.schedule),
            "snr_scale": self.snr_scale,
            "min_snr": self.min_snr,
            "snr_db": list(self.snr_db),
            "gamma_map": self.gamma_map,
        }
        (folder / DIFFJSCC_INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        listed = {name: [_PARTS[name].__module__.split(".")[0], _PARTS[name].__name__] for name in names}
        (folder / "model_index.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Write a folder of this model."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            for name, part in self.parts().items():
                part.save_pretrained(folder / name)
        if self.folder is not None and (self.folder / TOKENIZER_FOLDER).is_dir():
            shutil.copytree(self.folder / TOKENIZER_FOLDER, folder / TOKENIZER_FOLDER, dirs_exist_ok=True)
        self.save_index(folder)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> DiffusionModel:
        """Read a folder that :meth:`save` wrote.

        Raises:
            ModelFormatError: no such model in the folder, or a part that is missing or broken.
        """
        index = _read_index(folder / DIFFJSCC_INDEX)
        parts = {n: read_part(folder / n, kind, dtype) for n, kind in _PARTS.items() if n in index["parts"]}
        if parts["controlnet"].class_embedding is None:
            where, expected = folder / "controlnet" / "config.json", "an embedding of the SNR"
            raise ModelFormatError(complaint(str(where), "no class embedding", "class_embed_type", expected))
        return cls(
            unet=parts["unet"],
            control=parts["controlnet"],
            vae=parts["vae"],
            condition_vae=parts.get("condition_vae", parts["vae"]),
            text_encoder=parts["text_encoder"],
            schedule=index["schedule"],
            snr_scale=index["snr_scale"],
            min_snr=index["min_snr"],
            snr_db=index["snr_db"],
            folder=folder,
            gamma_map=index["gamma_map"],
        )

    @staticmethod
    def check(folder: Path) -> None:
        """Compare the headers of all parts with what their configurations ask for; no weights are read.

        Raises:
            ModelFormatError: as :meth:`load`.
        """
        index = _read_index(folder / DIFFJSCC_INDEX)
        for name, kind in _PARTS.items():
            if name in index["parts"]:
                _check_part(folder / name, kind)

    @property
    def image_multiple(self) -> int:
        """Sides of pictures are padded to multiples of this: the factors of autoencoder and denoiser."""
        levels = len(self.vae.config.block_out_channels) + len(self.unet.config.block_out_channels) - 2
        return int(2**levels)

    @property
    def latent_factor(self) -> int:
        """Pixels per latent position, along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def to(self, device: torch.device, dtype: torch.dtype) -> DiffusionModel:
        """Move all parts; the SNR embedding stays in float32, its sinusoid of 1400 needs it."""
        for part in self.parts().values():
            cast(part, dtype, device)
        return self


def read_part(folder: Path, kind: type[Any], dtype: torch.dtype = torch.float32) -> Any:
    """A frozen network of a class of diffusers or transformers from its folder, every tensor of it.

    Raises:
        ModelFormatError: missing or broken, tensors missing, unknown or misshapen.
    """
    if not (folder / "config.json").is_file():
        raise ModelFormatError(complaint(str(folder), "no such part", "no config.json", f"a {kind.__name__}"))
    keyword: dict[str, Any] = {"dtype" if kind is CLIPTextModel else "torch_dtype": dtype}
    with quiet():
        return read_network(kind.from_pretrained, folder, kind.__name__, variant=_variant(folder), **keyword)


def _check_part(folder: Path, kind: type[Any]) -> None:
    """Names and shapes of the tensors of a part, by the headers of its files; pickles are read whole."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        read_part(folder, kind)
        return
    try:
        with quiet(), torch.device("meta"):
            if kind is CLIPTextModel:
                network: Any = kind(CLIPTextConfig.from_pretrained(folder, local_files_only=True))
            else:
                network = kind.from_config(kind.load_config(folder, local_files_only=True))
        needed = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        found: dict[str, tuple[int, ...]] = {}
        for path in files:
            with safe_open(path, "pt") as opened:
                found |= {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except Exception as problem:  # the packages raise many types for broken files
        said = in_words(problem)
        raise ModelFormatError(complaint(str(folder), "cannot be read", said, f"a {kind.__name__}")) from None
    if kind is CLIPTextModel:  # transformers 4 and 5 name them differently
        needed, found = ({n.removeprefix("text_model."): v for n, v in d.items()} for d in (needed, found))
    for what, names in (
        ("tensors missing", needed.keys() - found.keys()),
        ("unknown tensors", found.keys() - needed.keys()),
        ("tensors of another shape", {n for n in needed.keys() & found.keys() if needed[n] != found[n]}),
    ):
        refuse_tensors(folder, kind.__name__, what, names)


def _variant(folder: Path) -> str | None:
    """The variant of weights to read: "fp16" where a folder has nothing else."""
    names = [path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


def cast(part: Any, dtype: torch.dtype, device: torch.device | None = None) -> Any:
    """A part in another precision; the weights of the SNR embedding keep float32, untouched."""
    exact = getattr(part, "class_embedding", None)
    kept = {k: v.clone() for k, v in exact.state_dict().items()} if exact is not None else {}
    with quiet():
        part.to(device=device, dtype=dtype)
    if exact is not None:
        exact.to(dtype=torch.float32).load_state_dict(kept)
    return part


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars of loading and remarks on the cast, which say nothing here."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity_error()
    try:
        with pretrained.quiet():
            yield
    finally:
        diffusers.utils.logging.set_verbosity(level)


def _read_index(path: Path) -> dict[str, Any]:
    """What ``diffjscc.json`` says, each entry of its type."""
    expected = f"{FORMAT} as linksim convert diffjscc writes it"
    try:
        index: Any = json.loads(path.read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']}")
        parts = index["parts"]
        needed = set(_PARTS) - set(_OPTIONAL)
        if not isinstance(parts, list) or not needed <= set(parts) <= set(_PARTS):
            raise ValueError(f"parts {parts}")
        low, high = (float(value) for value in index["snr_db"])
        scale, least = float(index["snr_scale"]), float(index["min_snr"])
        if not all(map(math.isfinite, (low, high, scale, least))) or low > high:
            raise ValueError(f"snr_db {index['snr_db']}, snr_scale {scale}, min_snr {least}")
        gamma_map = index.get("gamma_map", False)
        if not isinstance(gamma_map, bool):
            raise ValueError(f"gamma_map {gamma_map}")
        schedule = Schedule(**index["schedule"])
    except KeyError as problem:
        raise ModelFormatError(complaint(str(path), "cannot be read", f"no {problem}", expected)) from None
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as problem:
        raise ModelFormatError(complaint(str(path), "cannot be read", problem, expected)) from None
    return {
        "parts": parts,
        "schedule": schedule,
        "snr_scale": scale,
        "min_snr": least,
        "snr_db": (low, high),
        "gamma_map": gamma_map,
    }
