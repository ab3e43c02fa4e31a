"""Measures by which a transmitter chooses between codings of a picture; light until the first choice.

May import: numpy, torch, linksim.metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from linksim.metrics.base import ImageMetric
from linksim.metrics.distortion import MsSsim, Psnr, Ssim
from linksim.metrics.perceptual import LPIPS_MIN_SIDE, Lpips

__all__ = ["Selection"]

_SIMPLE: dict[str, ImageMetric] = {"psnr": Psnr(), "ssim": Ssim(), "ms_ssim": MsSsim()}


@lru_cache(maxsize=8)
def _metric(name: str) -> ImageMetric:
    net: Any = name.removeprefix("lpips_")
    return _SIMPLE[name] if name in _SIMPLE else Lpips(net)


@dataclass(frozen=True)
class Selection:
    """A metric of pictures, by its name, that can be sent to other processes.

    Args:
        name: "psnr", "ssim", "ms_ssim", or "lpips_alex", "lpips_vgg", "lpips_squeeze".
    """

    name: str

    @property
    def higher_is_better(self) -> bool:
        """Direction."""
        return self.name in _SIMPLE

    @property
    def min_side(self) -> int:
        """Smallest side that it is defined for [pixels]."""
        if self.name in _SIMPLE:
            return _SIMPLE[self.name].info.min_side
        return LPIPS_MIN_SIDE[self.name.removeprefix("lpips_")]

    @property
    def reference(self) -> str:
        """What it is exactly, with the digest of its weights.

        Raises:
            MetricUnavailable: weights that cannot be had.
        """
        return _metric(self.name).info.reference

    def __call__(self, shown: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
        """Value of a picture [H, W, 3] uint8 against the original.

        Raises:
            MetricUnavailable: weights that cannot be had.
        """
        pair = (torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 for x in (shown, original))
        return float(_metric(self.name)(*pair))
