"""DISTS: piq's computation, the weights of the authors' wheel, torchvision's VGG16."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from channels.checks import in_words
from channels.runtime.extras import install
from linksim.files.digests import file_digest
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable, check_pair
from linksim.metrics.perceptual import fill_features
from linksim.weights.hub_files import WeightsUnavailable
from linksim.weights.pickle_reader import ModelFormatError, load_tensors
from linksim.weights.zoo import find_backbone

__all__ = ["Dists"]

_LAYERS = {"3": 64, "8": 128, "15": 256, "22": 512, "29": 512}  # relu1_2 to relu5_3, with their channels
_MODULES = 30  # of VGG16 up to relu5_3


def _layer_weights() -> tuple[list[Tensor], str]:
    """Weights of structure and texture by layer, the picture itself first, and the digest of their file.

    Raises:
        MetricUnavailable: the wheel is not installed, or holds none.
    """
    found = importlib.util.find_spec("DISTS_pytorch")
    if found is None or found.origin is None:
        raise MetricUnavailable(f"dists: DISTS-pytorch is not installed. Install it: {install('realism')}.")
    file = Path(found.origin).with_name("weights.pt")
    try:
        state = load_tensors(file)
        total = state["alpha"].sum() + state["beta"].sum()
        channels = [3, *_LAYERS.values()]
        weights = [part / total for name in ("alpha", "beta") for part in state[name].split(channels, dim=1)]
    except (ModelFormatError, KeyError, RuntimeError) as problem:  # the latter from split()
        raise MetricUnavailable(
            f"dists: {file}: cannot be read ({in_words(problem)}). Install it again: {install('realism')}."
        ) from None
    return weights, file_digest(file)[:16]


def _vgg16() -> tuple[Any, str]:
    """Feature layers of torchvision's VGG16 up to relu5_3, and the digest of their file.

    Raises:
        MetricUnavailable: no weights, or broken ones.
    """
    from torchvision.models.vgg import cfgs, make_layers

    try:
        found = find_backbone("vgg", "dists")
    except WeightsUnavailable as problem:
        raise MetricUnavailable(str(problem)) from None
    features: Any = make_layers(cfgs["D"])[:_MODULES]
    fill_features(features, {name: name for name in features.state_dict()}, found.path, "dists")
    return features, found.digest


@kind("metric", "dists")
class Dists(ImageMetric):
    """DISTS, one value per image: structure and texture of VGG16's features, at the size of the picture.

    As in the authors' class, nothing is resized; piq's own and the authors' script reduce the shorter side to
    256 pixels first, which gives other numbers.

    Raises:
        MetricUnavailable: weights cannot be had; the message says how to get them.

    Source: Ding et al., "Image quality assessment: unifying structure and texture similarity", 2020.
    """

    def __init__(self) -> None:
        from piq.perceptual import DISTS, ContentLoss

        weights, own = _layer_weights()
        features, digest = _vgg16()

        class WholeSize(DISTS):  # type: ignore[misc]
            """piq's DISTS without its download and its resizing."""

            def __init__(self) -> None:
                ContentLoss.__init__(
                    *(self, features, tuple(_LAYERS), weights),
                    replace_pooling=True,
                    reduction="none",
                    allow_layers_weights_mismatch=True,
                )

            def forward(self, x: Tensor, y: Tensor) -> Tensor:
                """1 - similarity, [B]."""
                return 1 - ContentLoss.forward(self, x, y)

        self._model = WholeSize().eval()
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("piq", "DISTS-pytorch")]
        network = f"{versions[0]}, weights of {versions[1]} {own}, vgg16 features, weights {digest}"
        self.info = replace(self.facts(), reference=f"Ding et al. 2020; {network}", network=network)

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo("dists", "1", False, "", min_side=32, label="DISTS")

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair("dists", x_hat, x, self.info.min_side)
        pairs = zip(x_hat.float().split(1), x.float().split(1), strict=True)
        return torch.cat([self._model(*pair) for pair in pairs]).double()
