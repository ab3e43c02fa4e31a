"""Conversion of other people's checkpoints into folders that load with ``from_pretrained``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from channels.checks import complaint
from linksim.build.checkpoints import save_checkpoint
from linksim.build.objects import authors_codec
from linksim.diffusion.authors.checkpoint import AuthorsCheckpoint, open_authors_checkpoint
from linksim.diffusion.model import DiffusionModel, cast, quiet
from linksim.diffusion.text import TOKENIZER_FOLDER, read_tokenizer
from linksim.files.writing import whole_folder
from linksim.jscc.authors import AuthorsCodecConfig
from linksim.jscc.cnn_yang2024 import CnnYang2024Config
from linksim.jscc.lean import LeanConfig
from linksim.scenario.schema import CnnYang2024Spec, CodecSpec, LeanCodecSpec, SwinYang2024Spec
from linksim.weights.pickle_reader import ModelFormatError
from linksim.weights.zoo import DIFFJSCC_CODEC, find_folder

__all__ = ["convert_diffjscc", "save_codec"]

Report = Callable[[str], None]


def convert_diffjscc(
    source: str,
    target: Path,
    *,
    dtype: torch.dtype | None = None,
    tokenizer: str | None = None,
    report: Report = lambda line: None,
) -> None:
    """Write the authors' checkpoint as a folder of stock diffusers and transformers parts.

    The checkpoint stays memory-mapped; one part at a time is in memory. The folder appears whole: it is
    written under another name beside ``target`` and renamed in the end.

    Args:
        source: folder with ``config.yaml`` and ``model.ckpt``, or a hub repository that has them.
        target: folder to be made.
        dtype: of the weights that are written; None = as they are stored.
        tokenizer: folder or hub repository of CLIP's tokenizer; None = none (enough for the empty caption).
        report: called with a line per part.

    Raises:
        ModelFormatError: a checkpoint that does not fit, a tokenizer that cannot be had, or a target that is
            there already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        cure = "Use another folder; nothing was written."
        raise ModelFormatError(complaint(str(target), "exists", "files", "a new or empty folder", cure))
    folder = find_folder(source)
    opened = open_authors_checkpoint(folder)
    codec = authors_codec(folder, opened.tensors)  # and the tokenizer: what may fail comes first
    words = None if tokenizer is None else read_tokenizer(tokenizer)
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(target) as partial:
        _write_parts(opened, partial, dtype, report)
        report(f"jscc: {sum(p.numel() for p in codec.parameters()):,} parameters")
        save_codec(codec, partial, {"converted_from": source})
        DiffusionModel.from_authors(opened).save_index(partial)
        if words is not None:
            words.save_pretrained(partial / TOKENIZER_FOLDER)
            report(f"{TOKENIZER_FOLDER}: {tokenizer}")


def _write_parts(opened: AuthorsCheckpoint, partial: Path, dtype: torch.dtype | None, report: Report) -> None:
    for name, make in (
        ("unet", opened.unet),
        ("controlnet", opened.control),
        ("vae", opened.vae),
        ("condition_vae", opened.condition_vae),
        ("text_encoder", opened.text_encoder),
    ):
        part: Any = make()
        if part is not None:
            report(f"{name}: {sum(p.numel() for p in part.parameters()):,} parameters")
            with quiet():
                (part if dtype is None else cast(part, dtype)).save_pretrained(partial / name)


def save_codec(codec: Any, folder: Path, recipe: dict[str, object]) -> None:
    """Write the JSCC codec of a DiffJSCC folder."""
    path = folder / DIFFJSCC_CODEC
    path.parent.mkdir(exist_ok=True)
    save_checkpoint(path, _codec_spec(codec.config), codec.state_dict(), recipe, torch.float32)


def _codec_spec(config: AuthorsCodecConfig | LeanConfig) -> CodecSpec:
    if isinstance(config, LeanConfig):
        return LeanCodecSpec(kind="lean", **asdict(config))
    if isinstance(config, CnnYang2024Config):
        return CnnYang2024Spec(kind="cnn_yang2024", **asdict(config))
    return SwinYang2024Spec(kind="swin_yang2024", **asdict(config))
