"""CLIP: how alike two pictures are to its image encoder, which other metrics share."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from linksim.files.digests import file_digest
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable, OfOriginals, check_pair
from linksim.weights.hub_files import WeightsUnavailable, hub_folder, hub_weights
from linksim.weights.pickle_reader import ModelFormatError
from linksim.weights.pretrained import read_network, read_preparation
from linksim.weights.zoo import CLIP_MODELS

__all__ = ["ClipSimilarity", "load_clip"]


def load_clip(model: str, needed_by: str) -> tuple[Any, Any, str]:
    """An image encoder of CLIP in evaluation mode on the CPU, what prepares its pictures, and what it is.

    Args:
        model: key of ``CLIP_MODELS``.
        needed_by: metric, for messages.

    Raises:
        MetricUnavailable: no weights in $LINKSIM_WEIGHTS, the hub's cache or by download, or broken ones.
    """
    name = CLIP_MODELS[model]
    try:
        folder = hub_folder(name, needed_by)
    except WeightsUnavailable as problem:
        raise MetricUnavailable(str(problem)) from None
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

    try:
        read = CLIPVisionModelWithProjection.from_pretrained
        network = read_network(read, folder, "CLIPVisionModelWithProjection", part=True)  # text is beside it
        prepare = read_preparation(CLIPImageProcessor.from_pretrained, folder)
    except ModelFormatError as problem:
        said = f"{needed_by}: {problem} Replace the folder; hf download {name}."
        raise MetricUnavailable(said) from None
    file = hub_weights(folder)
    assert file is not None, "hub_folder() looked"
    version = importlib.metadata.version("transformers")
    return network, prepare, f"transformers {version}, {name}, weights {file_digest(file)[:16]}"


@kind("metric", "clip_similarity")
class ClipSimilarity(ImageMetric):
    """Cosine of the CLIP embeddings (ViT-B/32) of a reconstruction and its original.

    Pictures are prepared as the encoder was trained: the shorter side to 224 pixels, the middle cut out.

    Raises:
        MetricUnavailable: weights cannot be had; the message says how to get them.

    Source: Radford et al., "Learning transferable visual models from natural language supervision", 2021.
    """

    def __init__(self) -> None:
        self._network, self._prepare, network = load_clip("b32", "clip_similarity")
        self._originals = OfOriginals(self._embedded, lambda found: found.nbytes)
        self.info = replace(self.facts(), reference=f"Radford et al. 2021; {network}", network=network)

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo("clip_similarity", "1", True, "", min_side=16, label="CLIP similarity")

    def _embedded(self, x: Tensor) -> Tensor:
        """[B, d] unit vectors of images [B, 3, H, W] in [0, 1]."""
        pictures = list((255 * x).round().to(torch.uint8).cpu().numpy())
        seen = self._prepare(pictures, return_tensors="pt", input_data_format="channels_first")
        return F.normalize(self._network(seen["pixel_values"]).image_embeds, dim=1)

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair("clip_similarity", x_hat, x, self.info.min_side)
        return (self._embedded(x_hat) * self._originals(x)).sum(1).double()
