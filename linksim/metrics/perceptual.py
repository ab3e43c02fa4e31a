"""LPIPS of the ``lpips`` package, with weights found, fetched or plainly reported missing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from channels.checks import complaint
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable, OfOriginals
from linksim.weights.zoo import BACKBONES, BackboneFile, WeightsUnavailable, find_backbone

if TYPE_CHECKING:
    import lpips

__all__ = ["LPIPS_MIN_SIDE", "Lpips", "LpipsNet", "load_lpips", "torchvision_features"]

LpipsNet = Literal["alex", "vgg", "squeeze"]
LPIPS_MIN_SIDE: dict[LpipsNet, int] = {"alex": 64, "vgg": 32, "squeeze": 32}


def torchvision_features(file: Path) -> dict[str, Tensor]:
    """Tensors of the feature layers, from a whole torchvision model or from its features alone."""
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch.load raises many types for a broken file
        raise MetricUnavailable(
            f"LPIPS weights {file}: cannot be read ({problem}). Replace the file."
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        got, expected = type(state).__name__, "the tensors of a torchvision model by name"
        raise MetricUnavailable(
            complaint(f"LPIPS weights {file}", "hold no model", got, expected, "Replace the file.")
        )
    return {
        str(k).removeprefix("features."): v for k, v in state.items() if not str(k).startswith("classifier.")
    }


def _fill(trunk: nn.Module, features: dict[str, Tensor], file: Path) -> None:
    """Load torchvision features into the slices of lpips, which keep torchvision's layer numbers."""
    own = {name.split(".", 1)[1]: name for name in trunk.state_dict()}
    if set(own) - set(features):
        missing = sorted(set(own) - set(features))[:3]
        raise MetricUnavailable(f"LPIPS weights {file}: lacks {', '.join(missing)}. Replace the file.")
    shapes = {name: value.shape for name, value in trunk.state_dict().items()}
    wrong = [short for short, name in own.items() if features[short].shape != shapes[name]]
    if wrong:
        raise MetricUnavailable(
            f"LPIPS weights {file}: misshapen {', '.join(sorted(wrong)[:3])}. Replace the file."
        )
    trunk.load_state_dict({name: features[short] for short, name in own.items()})


def load_lpips(net: LpipsNet) -> tuple[lpips.LPIPS, BackboneFile]:
    """The LPIPS network, v0.1 heads, in evaluation mode on the CPU.

    Raises:
        MetricUnavailable: no weights in $LINKSIM_WEIGHTS, the torch hub cache or by download.
    """
    import lpips

    try:
        found = find_backbone(net)
    except WeightsUnavailable as problem:
        raise MetricUnavailable(str(problem)) from None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # lpips calls torchvision with arguments that it deprecated
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    _fill(model.net, torchvision_features(found.path), found.path)
    return model.requires_grad_(False).eval(), found


def _unit_length(features: Tensor) -> Tensor:
    """Over channels, as ``lpips.normalize_tensor``."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


@kind("metric", "lpips", net="alex")
@kind("metric", "lpips_alex", net="alex")
@kind("metric", "lpips_vgg", net="vgg")
@kind("metric", "lpips_squeeze", net="squeeze")
class Lpips(ImageMetric):
    """LPIPS distance, one value per image.

    Args:
        net: backbone, part of the metric's name.
        device: where it runs.

    Raises:
        MetricUnavailable: weights cannot be had; the message says how to get them.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """

    def __init__(self, net: LpipsNet, device: torch.device | str = "cpu") -> None:
        model, found = load_lpips(net)
        self._model = model.to(device)
        self._originals = OfOriginals(self._features, lambda found: sum(part.nbytes for part in found))
        reference = f"lpips 0.1 heads, {BACKBONES[net].name} features, weights {found.digest}"
        network = (
            f"lpips {importlib.metadata.version('lpips')}, {BACKBONES[net].name}, weights {found.digest}"
        )
        self.info = replace(self.facts(net), reference=reference, network=network)

    @staticmethod
    def facts(net: LpipsNet) -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo(f"lpips_{net}", "1", False, "", LPIPS_MIN_SIDE[net], f"LPIPS ({net})")

    def _features(self, x: Tensor) -> list[Tensor]:
        """Features of every layer, each of unit length over its channels."""
        scaled = self._model.scaling_layer(2 * x - 1)
        return [_unit_length(found) for found in self._model.net(scaled)]

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]; as ``lpips.LPIPS`` computes it, with features of
        originals that are kept.
        """
        pairs = zip(self._features(x_hat), self._originals(x), self._model.lins, strict=True)
        layers = [head((one - other) ** 2).mean((2, 3)) for one, other, head in pairs]
        total = layers[0]
        for layer in layers[1:]:
            total = total + layer
        return total.flatten().double()

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float32, differentiable in ``x_hat``, for training."""
        return self._model(x_hat, x, normalize=True).flatten()
