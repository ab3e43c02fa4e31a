"""LPIPS of the ``lpips`` package, with weights found, fetched or plainly reported missing."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable, OfOriginals
from linksim.metrics.kernels.lpips import unit_length, unit_length_distance
from linksim.weights.hub_files import WeightsFile, WeightsUnavailable
from linksim.weights.pickle_reader import ModelFormatError, load_tensors
from linksim.weights.zoo import BACKBONES, find_backbone

if TYPE_CHECKING:
    import lpips

__all__ = ["LPIPS_MIN_SIDE", "Lpips", "LpipsNet", "fill_features", "load_lpips"]

LpipsNet = Literal["alex", "vgg", "squeeze"]
LPIPS_MIN_SIDE: dict[LpipsNet, int] = {"alex": 64, "vgg": 32, "squeeze": 32}


def fill_features(network: nn.Module, own: Mapping[str, str], file: Path, needed_by: str) -> None:
    """Load the feature layers of a torchvision model.

    Args:
        network: that looks through them.
        own: torchvision's name of each of its tensors, such as "0.weight".
        file: of a whole torchvision model, or of its features alone.
        needed_by: metric, for messages.

    Raises:
        MetricUnavailable: the file cannot be read, or lacks tensors of these shapes.
    """
    where = f"{needed_by}: weights {file}"
    try:
        stored = {name.removeprefix("features."): value for name, value in load_tensors(file).items()}
    except ModelFormatError as problem:
        raise MetricUnavailable(f"{needed_by}: weights {problem} Replace the file.") from None
    shapes = {own[name]: value.shape for name, value in network.state_dict().items()}
    missing = sorted(shapes.keys() - stored.keys())[:3]
    if missing:
        raise MetricUnavailable(f"{where}: lacks {', '.join(missing)}. Replace the file.")
    wrong = sorted(name for name, shape in shapes.items() if stored[name].shape != shape)[:3]
    if wrong:
        raise MetricUnavailable(f"{where}: misshapen {', '.join(wrong)}. Replace the file.")
    network.load_state_dict({name: stored[theirs] for name, theirs in own.items()})


def load_lpips(net: LpipsNet) -> tuple[lpips.LPIPS, WeightsFile]:
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
    own = {name: name.split(".", 1)[1] for name in model.net.state_dict()}  # slices keep the layers' numbers
    fill_features(model.net, own, found.path, f"lpips_{net}")
    return model.requires_grad_(False).eval(), found


def _unit_length(features: Tensor) -> Tensor:
    """Over channels, as ``lpips.normalize_tensor``."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _weights(head: nn.Module) -> Tensor:
    """[C] of the 1 x 1 convolution of a head."""
    weights = [value for name, value in head.named_parameters() if name.endswith("weight")]
    assert len(weights) == 1
    return weights[0].detach().flatten()


def _pixels(features: Tensor) -> NDArray[np.float32]:
    """[B, H·W, C] of features [B, C, H, W] on a CPU."""
    pixels: NDArray[np.float32] = features.permute(0, 2, 3, 1).flatten(1, 2).contiguous().numpy()
    return pixels


@kind("metric", "lpips", net="alex")
@kind("metric", "lpips_alex", net="alex")
@kind("metric", "lpips_vgg", net="vgg")
@kind("metric", "lpips_squeeze", net="squeeze")
class Lpips(ImageMetric):
    """LPIPS distance, one value per image.

    Args:
        net: backbone, part of the metric's name.
        device: where it runs.
        kept_bytes: of features of originals that are kept; None: as memory allows.

    Raises:
        MetricUnavailable: weights cannot be had; the message says how to get them.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """

    def __init__(
        self, net: LpipsNet, device: torch.device | str = "cpu", kept_bytes: int | None = None
    ) -> None:
        model, found = load_lpips(net)
        self._model = model.to(device)
        self._device = torch.device(device)
        if self._on_cpu:  # pooling and convolutions of a CPU take half the time then
            self._model.net.to(memory_format=torch.channels_last)
        self._heads = [np.ascontiguousarray(_weights(head).numpy(force=True)) for head in model.lins]
        self._originals = OfOriginals(
            self._of_originals, lambda found: sum(part.nbytes for part in found), kept_bytes
        )
        reference = f"lpips 0.1 heads, {BACKBONES[net].name} features, weights {found.digest}"
        network = (
            f"lpips {importlib.metadata.version('lpips')}, {BACKBONES[net].name}, weights {found.digest}"
        )
        self.info = replace(self.facts(net), reference=reference, network=network)

    @staticmethod
    def facts(net: LpipsNet) -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo(f"lpips_{net}", "1", False, "", LPIPS_MIN_SIDE[net], f"LPIPS ({net})")

    @property
    def _on_cpu(self) -> bool:
        return self._device.type == "cpu"

    def _features(self, x: Tensor) -> list[Tensor]:
        """Features of every layer."""
        scaled = self._model.scaling_layer(2 * x - 1)
        if self._on_cpu:
            scaled = scaled.contiguous(memory_format=torch.channels_last)
        return list(self._model.net(scaled))

    def _of_originals(self, x: Tensor) -> list[Tensor]:
        """Features of every layer, each of unit length over its channels; on a CPU [B, H·W, C]."""
        if self._on_cpu:
            return [torch.from_numpy(unit_length(_pixels(found))) for found in self._features(x)]
        return [_unit_length(found) for found in self._features(x)]

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]; as ``lpips.LPIPS`` computes it, with features of
        originals that are kept.
        """
        pairs = zip(self._features(x_hat), self._originals(x), strict=True)
        if self._on_cpu:
            layers = [
                unit_length_distance(_pixels(one), other.numpy(), weights)
                for (one, other), weights in zip(pairs, self._heads, strict=True)
            ]
            return torch.from_numpy(np.sum(layers, axis=0))
        heads = zip(pairs, self._model.lins, strict=True)
        each = [head((_unit_length(one) - other) ** 2).mean((2, 3)) for (one, other), head in heads]
        return torch.stack(each).double().sum(0).flatten()

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float32, differentiable in ``x_hat``, for training."""
        return self._model(x_hat, x, normalize=True).flatten()
