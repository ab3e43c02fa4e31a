"""Codec checkpoints: safetensors with the recipe in the header, read strictly."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from channels.checks import complaint
from channels.runtime.moved import names_moved
from linksim.files import digests
from linksim.files.writing import whole_file
from linksim.kinds.networks import NetworkBase, NetworkSpec
from linksim.kinds.union import refresh
from linksim.scenario.training import LossSpec
from linksim.weights.undrawn import shapes_only, undrawn

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "built_with",
    "check_tensors",
    "load_into",
    "measures_of",
    "networks_of",
    "place_digest",
    "portable",
    "read_checkpoint",
    "save_checkpoint",
    "tree_digest",
    "weights_digest",
]

FORMAT = "linksim-codec-1"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Args:
        codec: sizes of the network.
        tensors: weights by name.
        recipe: how it was trained (scenario, hash, steps, seconds, data, validation).
    """

    codec: NetworkBase
    tensors: dict[str, Tensor]
    recipe: dict[str, Any]

    @property
    def highest_snr_db(self) -> float | None:
        """Highest SNR of the training [dB]; None if the recipe does not say."""
        place: Any = self.recipe
        for key in ("scenario", "train", "snr_db", "high"):
            place = place.get(key) if isinstance(place, dict) else None
        return float(place) if isinstance(place, int | float) else None

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Quality measures that were losses of the training, by the names of ``LossSpec.measures``; derived
        from the losses of the scenario in older checkpoints; None if the recipe says neither.
        """
        said = self.recipe.get("trained_on")
        if isinstance(said, list):
            return tuple(sorted(str(name) for name in said))
        train: Any = self.recipe.get("scenario")
        train = train.get("train") if isinstance(train, dict) else None
        if not isinstance(train, dict):
            return None
        phases = train.get("phases") or [train]
        try:
            losses = [LossSpec.model_validate(phase["loss"]) for phase in phases]
        except (KeyError, TypeError, ValidationError):
            return None
        return tuple(sorted({name for loss in losses for name in loss.measures}))


def place_digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder by name, 16 hex digits; "missing" if there is none."""
    if path.is_dir():
        parts = [f"{p.name} {place_digest(p)}" for p in sorted(path.iterdir()) if p.is_file()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return digests.file_digest(path)[:16] if path.is_file() else "missing"


def tree_digest(folder: Path) -> str:
    """Digest of every file below a folder, by relative name, 16 hex digits."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts)
    parts = [f"{p.relative_to(folder).as_posix()} {place_digest(p)}" for p in paths]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of weights in half precision, as checkpoints are bundled, 16 hex digits."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def portable(recipe: dict[str, object]) -> dict[str, object]:
    """A recipe with the names of files in place of absolute paths, which mean nothing elsewhere.

    Example:
        >>> portable({"images": {"paths": ["/home/me/a.tar", "b.tar"]}, "steps": 3})
        {'images': {'paths': ['a.tar', 'b.tar']}, 'steps': 3}
    """

    def named(value: object) -> object:
        if isinstance(value, dict):
            return {key: named(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [named(part) for part in value]
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    return {key: named(value) for key, value in recipe.items()}


def save_checkpoint(
    path: Path, codec: NetworkBase, state: dict[str, Tensor], recipe: dict[str, object], dtype: torch.dtype
) -> None:
    """Write a checkpoint in one step: the file is whole or not there.

    Args:
        path: target.
        codec: sizes of the network.
        state: its state_dict.
        recipe: anything JSON can hold.
        dtype: floating-point weights are stored in it (float16 halves the file; they are read as float32).
    """
    tensors = {k: (v.to(dtype) if v.is_floating_point() else v).contiguous().cpu() for k, v in state.items()}
    metadata = {
        "format": FORMAT,
        "codec": json.dumps(codec.model_dump(mode="json"), sort_keys=True),
        "recipe": json.dumps(recipe, sort_keys=True),
    }
    with whole_file(path) as partial:
        save_file(tensors, str(partial), metadata=metadata)


def _network() -> TypeAdapter[NetworkBase]:
    """Of all networks that are known today."""
    refresh()
    return TypeAdapter(NetworkSpec)


def measures_of(paths: Sequence[Path]) -> list[str] | None:
    """Quality measures that the networks of some checkpoints were trained on; None where one does not say."""
    found = [None if path.is_dir() else read_checkpoint(path).trained_on for path in paths]
    known = [measures for measures in found if measures is not None]
    whole = sorted({name for measures in known for name in measures})
    return whole if len(known) == len(found) else None


def networks_of(paths: Sequence[Path]) -> list[NetworkBase]:
    """Descriptions of the networks in some checkpoints, from their headers; without those that have none."""
    found = []
    for path in paths:
        try:
            with safe_open(str(path), "pt") as file:
                found.append(_network().validate_json((file.metadata() or {})["codec"]))
        except (SafetensorError, OSError, KeyError, ValueError, RecursionError):
            continue  # what is wrong is said where the checkpoint is loaded
    return found


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: missing, truncated, or not a linksim checkpoint.
    """
    if not path.is_file():
        cure = 'Give a file, or a model that "linksim list models" prints.'
        raise CheckpointError(
            complaint("checkpoint", "no such file", path.absolute(), "a .safetensors file", cure)
        )
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError) as problem:
        expected = "a complete safetensors file"
        is_torch = zipfile.is_zipfile(path)
        cure = "Of SwinJSCC or WITT: linksim convert swinjscc FILE NAME.safetensors." if is_torch else ""
        wrong = complaint(f"checkpoint {path}", "cannot be read", problem, expected, cure)
        raise CheckpointError(wrong) from None
    if metadata.get("format") != FORMAT:
        got = metadata.get("format", "no format")
        raise CheckpointError(
            complaint(
                f"checkpoint {path}", "not a linksim codec", got, FORMAT, "Make one with linksim train."
            )
        )
    try:
        codec = _network().validate_json(metadata["codec"])
        recipe = json.loads(metadata.get("recipe", "{}"))
    except (KeyError, ValueError, RecursionError) as problem:
        got = " ".join(str(problem).split()) or type(problem).__name__
        raise CheckpointError(complaint(f"checkpoint {path}", "broken header", got, "a codec")) from None
    if not isinstance(recipe, dict):
        got = type(recipe).__name__
        raise CheckpointError(complaint(f"checkpoint {path}", "broken recipe", got, "keys and values"))
    return Checkpoint(codec, tensors, recipe)


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def check_tensors(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Compare names and shapes with a module, which may be on the meta device and so take no memory.

    Raises:
        CheckpointError: lists what is missing, unknown or misshapen.
    """
    own = module.state_dict()
    problems = [f"missing {k}" for k in own if k not in tensors]
    problems += [f"unknown {k}" for k in tensors if k not in own]
    problems += [
        f"{k} of shape {tuple(v.shape)} instead of {tuple(own[k].shape)}"
        for k, v in tensors.items()
        if k in own and v.shape != own[k].shape
    ]
    _refuse(problems, module, where)


def _refuse(problems: list[str], module: nn.Module, where: str) -> None:
    if problems:
        shown = ", ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        expected = f"the {len(module.state_dict())} tensors of {type(module).__name__}"
        raise CheckpointError(complaint(f"checkpoint {where}", "tensors do not fit", shown, expected))


def load_into(module: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load weights strictly: every tensor named, none missing, all of the right shape, every value finite.

    Raises:
        CheckpointError: lists what is missing, unknown, misshapen or not finite.
    """
    check_tensors(module, tensors, where)
    problems = [f"{k} with values that are not finite" for k, v in tensors.items() if not _is_finite(v)]
    _refuse(problems, module, where)
    own = module.state_dict()
    module.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})


def built_with(build: Callable[[], Any], tensors: dict[str, Tensor], where: str) -> Any:
    """A network with these weights, loaded as strictly as by :func:`load_into`.

    Nothing of the size that a header announces is made before the tensors were found to fit, and no values
    are drawn that the weights replace.

    Raises:
        CheckpointError: lists what is missing, unknown, misshapen or not finite.
    """
    with shapes_only():
        check_tensors(build(), tensors, where)
    with undrawn():
        module = build()
    load_into(module, tensors, where)
    return module


if not TYPE_CHECKING:  # a checker would take it for any name
    __getattr__ = names_moved(__name__, {"file_digest": f"{__name__}:place_digest"})
