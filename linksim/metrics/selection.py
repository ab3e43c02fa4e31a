"""Measures by which a transmitter chooses between codings of a picture; light until the first choice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from linksim.metrics.base import ImageMetric, MetricInfo
from linksim.metrics.distortion import MsSsim, Psnr, Ssim
from linksim.metrics.perceptual import Lpips

__all__ = ["Selection"]

# A search goes through the codings of one picture, in several processes; joblib takes one that grows by more
# than 300 MB for leaking, and starts another.
_KEPT_BYTES = 100_000_000
_SIMPLE: dict[str, ImageMetric] = {"psnr": Psnr(), "ssim": Ssim(), "ms_ssim": MsSsim(_KEPT_BYTES)}


def _lpips_net(name: str) -> Any:
    return name.removeprefix("lpips_")


@lru_cache(maxsize=8)
def _metric(name: str) -> ImageMetric:
    return _SIMPLE[name] if name in _SIMPLE else Lpips(_lpips_net(name), kept_bytes=_KEPT_BYTES)


@dataclass(frozen=True)
class Selection:
    """A metric of pictures, by its name, that can be sent to other processes.

    Args:
        name: "psnr", "ssim", "ms_ssim", or "lpips_alex", "lpips_vgg", "lpips_squeeze".
    """

    name: str

    @property
    def _facts(self) -> MetricInfo:
        """What needs no weights to be known."""
        return _SIMPLE[self.name].info if self.name in _SIMPLE else Lpips.facts(_lpips_net(self.name))

    @property
    def higher_is_better(self) -> bool:
        """Direction."""
        return bool(self._facts.higher_is_better)

    @property
    def min_side(self) -> int:
        """Smallest side that it is defined for [pixels]."""
        return self._facts.min_side

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
        # what workers share is for reading only
        pixels = (np.require(x, requirements="W") for x in (shown, original))
        pair = (torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 for x in pixels)
        return float(_metric(self.name)(*pair))
