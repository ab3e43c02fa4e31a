"""Conversion of other people's JSCC codecs into checkpoints of linksim."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from channels.checks import complaint
from linksim.build.checkpoints import place_digest, save_checkpoint
from linksim.jscc.swin.checkpoint import swinjscc_from_tensors, trained_on
from linksim.jscc.swin.sizes import Adaptive
from linksim.kinds.networks import SwinJsccSpec
from linksim.weights.pickle_reader import ModelFormatError, read_tensors

__all__ = ["convert_swinjscc"]


def convert_swinjscc(
    source: Path,
    target: Path,
    *,
    adaptive: Adaptive | None = None,
    rates: tuple[int, ...] = (),
    dtype: torch.dtype | None = None,
) -> SwinJsccSpec:
    """Write a checkpoint of SwinJSCC's or WITT's authors as one of linksim.

    Args:
        source: their file.
        target: a .safetensors file to be made.
        adaptive: what the network adapts to; None: as the names of its tensors say.
        rates: latent channels that a network with rates may send; (): the authors'.
        dtype: of the weights that are written; None = float32.

    Returns:
        What was written.

    Raises:
        ModelFormatError: a checkpoint that does not fit, or a target that is there already.
    """
    if target.exists():
        cure = "Use another name; nothing was written."
        raise ModelFormatError(complaint(str(target), "exists", "a file", "a new file", cure))
    if target.suffix != ".safetensors":
        raise ModelFormatError(
            complaint(str(target), "another kind of file", target.name, "NAME.safetensors")
        )
    tensors = read_tensors(source)
    codec = swinjscc_from_tensors(tensors, str(source), adaptive, rates)
    spec = SwinJsccSpec(kind="swinjscc", **asdict(codec.config))
    recipe: dict[str, object] = {
        "converted_from": source.name,
        "converted_from_digest": place_digest(source),
        "trained_on": [trained_on(tensors)],
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(target, spec, codec.state_dict(), recipe, dtype or torch.float32)
    return spec
