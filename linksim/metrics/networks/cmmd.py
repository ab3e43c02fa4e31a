"""CMMD: sets of pictures through CLIP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from linksim.kinds import kind
from linksim.metrics.base import MetricInfo, SetMetric
from linksim.metrics.networks.clip import load_clip

__all__ = ["Cmmd"]


@kind("metric", "cmmd")
class Cmmd(SetMetric):
    """CMMD between all reconstructions and all originals: lower is better.

    Squared MMD of CLIP embeddings (ViT-L/14, 336 pixels), times 1,000.

    As in the authors' code pictures are scaled to 336 x 336 pixels (bicubic, without antialiasing) whatever
    their shape, and embeddings to unit length.

    Raises:
        MetricUnavailable: weights cannot be had; the message says how to get them.

    Source: Jayasumana et al., "Rethinking FID: towards a better evaluation metric for image generation",
    2024.
    """

    def __init__(self) -> None:
        self._network, prepare, network = load_clip("l14_336", "cmmd")
        self._mean, self._std = (
            torch.tensor(values).view(3, 1, 1) for values in (prepare.image_mean, prepare.image_std)
        )
        self._side = int(self._network.config.image_size)
        self.info = replace(self.facts(), reference=f"Jayasumana et al. 2024; {network}", network=network)

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo(
            *("cmmd", "1", False, ""),
            min_side=16,
            label="CMMD",
            features="clip_l14_336",
            distance="gaussian_mmd",
        )

    @torch.no_grad()
    def features(self, image: Tensor) -> NDArray[np.float16]:
        """[1, 768] of a picture [3, H, W] uint8."""
        seen = F.interpolate(image[None].float() / 255, size=(self._side, self._side), mode="bicubic")
        found = self._network((seen - self._mean) / self._std).image_embeds
        return F.normalize(found, dim=1).to(torch.float16).numpy()
