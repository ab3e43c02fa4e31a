"""Networks of CompressAI from files of weights, compared with the architecture by name and shape; tables of
the entropy coder are always made here: its decoder trusts them with its memory.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from channels.checks import complaint
from linksim.files.digests import file_digest

__all__ = ["ARCHITECTURES", "load_network", "one_thread", "zoo_urls"]

log = logging.getLogger("linksim.source")
# Strings of a stream, and how much smaller the latent whose size its decoder is told is than the picture.
ARCHITECTURES: dict[str, tuple[int, int]] = {
    "bmshj2018-factorized": (1, 16),
    "bmshj2018-hyperprior": (2, 64),
    "mbt2018-mean": (2, 64),
    "mbt2018": (2, 64),
    "cheng2020-anchor": (2, 64),
    "cheng2020-attn": (2, 64),
}
_TABLES = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")
_WIDEST, _LONGEST_TABLE = 1024, 1 << 14
_NETWORKS_AT_HAND = 4


def zoo_urls(architecture: str, metric: str) -> dict[int, str]:
    """Where CompressAI's zoo has its weights, by quality from 1."""
    found: dict[int, str] = _zoo().model_urls[architecture][metric]
    return found


def _zoo() -> Any:
    """CompressAI's zoo; what PyTorch says of how CompressAI uses it concerns nobody here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compressai.zoo import image
    return image


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in the same order in every process of a machine: entropy coder and decoder must agree to the last
    bit on what networks give.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_num_threads(before)


def load_network(architecture: str, path: Path) -> Any:
    """A network of CompressAI in evaluation mode on the CPU.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        path: weights: of ``torch.save`` or safetensors, a state dict or a checkpoint with one.

    Raises:
        ValueError: no such file, no weights of this architecture, or tables that nobody could use.
    """
    try:
        return _load(architecture, path, file_digest(path))
    except OSError as problem:
        expected = "weights of torch.save or safetensors"
        raise ValueError(
            complaint("source.weights", "not readable", f"{path} ({problem})", expected)
        ) from None


@lru_cache(maxsize=_NETWORKS_AT_HAND)
def _load(architecture: str, path: Path, digest: str) -> Any:
    _zoo()
    tensors = _current_names(_read(path))
    where = f"source.weights: {path.name}"
    sizes = _sizes(architecture, tensors, where)
    with torch.random.fork_rng(devices=[]):
        network = _zoo().model_architectures[architecture](*sizes).eval().requires_grad_(False)
    _compare(network, tensors, where)
    torch.nn.Module.load_state_dict(network, tensors, strict=False)
    quantiles = tensors["entropy_bottleneck.quantiles"]
    if not bool(quantiles.abs().max() < _LONGEST_TABLE / 2):
        got, expected = f"quantiles up to {float(quantiles.abs().max()):g}", f"at most {_LONGEST_TABLE // 2}"
        raise ValueError(complaint(where, "tables too long", got, expected))
    with one_thread():
        network.update(force=True)
    log.debug("%s: %s %s", path, architecture, sizes)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name.

    Raises:
        ValueError: something else is in it.
    """
    expected = "a state dict of torch.save or safetensors, or a checkpoint with a state_dict"
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as problem:  # whatever a pickle that is none may end in
        got = f"{path.name} ({type(problem).__name__})"
        raise ValueError(complaint("source.weights", "not readable", got, expected)) from None
    if isinstance(stored, Mapping) and isinstance(stored.get("state_dict"), Mapping):
        stored = stored["state_dict"]
    if (
        not isinstance(stored, Mapping)
        or not stored
        or not all(isinstance(v, Tensor) for v in stored.values())
    ):
        raise ValueError(complaint("source.weights", "no weights", path.name, expected))
    return {str(name): tensor for name, tensor in stored.items()}


def _current_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names of today's CompressAI, without tables of the entropy coder."""
    from compressai.models.utils import remap_old_keys
    from compressai.zoo.pretrained import load_pretrained

    kept = {n: t for n, t in load_pretrained(tensors).items() if n.rpartition(".")[2] not in _TABLES}
    return dict(remap_old_keys("entropy_bottleneck", kept))


def _sizes(architecture: str, tensors: Mapping[str, Tensor], where: str) -> tuple[int, ...]:
    """Widths of a network, as its convolutions have them: the file holds as many values, so that what is made
    of it is in proportion to it.
    """
    cheng = architecture.startswith("cheng")
    names = (
        ("g_a.0.conv1.weight", "g_a.0.conv2.weight")
        if cheng
        else ("g_a.0.weight", "g_a.2.weight", "g_a.6.weight")
    )
    lacking = [name for name in names if name not in tensors or tensors[name].ndim != 4]
    if lacking:
        raise ValueError(complaint(where, f"no weights of {architecture}", f"no {lacking[0]}", "all of them"))
    first, inner, *last = (tuple(tensors[name].shape) for name in names)
    widths = (first[0], *(shape[0] for shape in last))
    fits = inner[:2] == (first[0], first[0]) and all(shape[1] == first[0] for shape in last)
    if not fits or not all(0 < width <= _WIDEST for width in widths):
        got = f"convolutions of {', '.join(map(str, (first, inner, *last)))}"
        raise ValueError(complaint(where, "not of this architecture", got, f"at most {_WIDEST} channels"))
    return widths


def _compare(planned: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise ValueError unless tensors are those of a network."""
    own = {n: t for n, t in planned.state_dict().items() if n.rpartition(".")[2] not in _TABLES}
    problems = [f"missing {name}" for name in own if name not in tensors]
    problems += [f"unknown {name}" for name in tensors if name not in own]
    problems += [
        f"{name} of shape {tuple(tensor.shape)} instead of {tuple(own[name].shape)}"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    problems += [
        f"{name} with values that are not finite numbers"
        for name, tensor in tensors.items()
        if not (tensor.is_floating_point() and bool(torch.isfinite(tensor).all()))
    ]
    if problems:
        got = ", ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(complaint(where, "not of this architecture", got, type(planned).__name__))
