"""Measures of visual similarity from the packages piq and flip-evaluator, per image, no weights."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from channels.runtime.extras import install
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable, check_pair
from linksim.metrics.kernels.haarpsi import haarpsi

__all__ = ["PIQ_METRICS", "Flip", "PiqMetric"]

_PIXELS_PER_DEGREE = 67.0  # 0.7 m in front of a screen 0.7 m wide with 3840 pixels, the authors' default


@dataclass(frozen=True)
class _Measure:
    """A function of piq, or one that gives what piq does, with what it needs."""

    function: str | Callable[[Tensor, Tensor], Tensor]
    label: str
    higher_is_better: bool
    paper: str
    min_side: int
    dtype: torch.dtype = torch.float64


PIQ_METRICS = {
    "haarpsi": _Measure(haarpsi, "HaarPSI", True, "Reisenhofer et al. 2018, subsampled by 2", 16),
    "gmsd": _Measure("gmsd", "GMSD", False, "Xue et al. 2014, luma", 16),
    # float32: PyTorch's convolutions in double precision take 17 times as long
    "vif": _Measure("vif_p", "VIF", True, "Sheikh & Bovik 2006, luma, pixel domain", 41, torch.float32),
    "fsim": _Measure("fsim", "FSIMc", True, "Zhang et al. 2011, with colour", 16),
}


@kind("metric", "haarpsi", name="haarpsi")
@kind("metric", "gmsd", name="gmsd")
@kind("metric", "vif", name="vif")
@kind("metric", "fsim", name="fsim")
class PiqMetric(ImageMetric):
    """A similarity of the piq package as a metric.

    Args:
        name: key of ``PIQ_METRICS``.

    Sources: Reisenhofer et al., "A Haar wavelet-based perceptual similarity index for image quality
    assessment", 2018; Xue et al., "Gradient magnitude similarity deviation", 2014; Sheikh & Bovik, "Image
    information and visual quality", 2006; Zhang et al., "FSIM: a feature similarity index for image quality
    assessment", 2011.
    """

    def __init__(self, name: str) -> None:
        measure = PIQ_METRICS[name]
        self._measure = measure
        reference = f"{measure.paper}; piq {importlib.metadata.version('piq')}"
        self.info = replace(self.facts(name), reference=reference)

    @staticmethod
    def facts(name: str) -> MetricInfo:
        """What needs no package to be known."""
        measure = PIQ_METRICS[name]
        return MetricInfo(name, "1", measure.higher_is_better, "", measure.min_side, measure.label)

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair(self.info.name, x_hat, x, self.info.min_side)
        dtype, function = self._measure.dtype, self._measure.function
        if isinstance(function, str):
            import piq  # loads torchvision and a compiler: not for a check

            function = partial(getattr(piq, function), data_range=1.0, reduction="none")
        pairs = zip(x_hat.to(dtype).split(1), x.to(dtype).split(1), strict=True)
        return torch.cat([function(*pair) for pair in pairs]).double()


@kind("metric", "flip")
class Flip(ImageMetric):
    """Mean LDR-FLIP error of the flip-evaluator package: what is seen on flipping between both pictures.

    Raises:
        MetricUnavailable: the package is not installed.

    Source: Andersson et al., "FLIP: a difference evaluator for alternating images", 2020.
    """

    def __init__(self) -> None:
        try:
            import flip_evaluator
        except ImportError as problem:
            raise MetricUnavailable(
                f"flip: flip-evaluator is not installed ({problem}). Install it: {install('realism')}."
            ) from None
        self._evaluate = flip_evaluator.evaluate
        version = importlib.metadata.version("flip-evaluator")
        reference = (
            f"Andersson et al. 2020, {_PIXELS_PER_DEGREE:g} pixels per degree; flip-evaluator {version}"
        )
        self.info = replace(self.facts(), reference=reference)

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no package to be known."""
        return MetricInfo("flip", "1", False, "", min_side=16, label="FLIP")

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair("flip", x_hat, x, self.info.min_side)
        shown, true = (
            images.detach().float().cpu().permute(0, 2, 3, 1).contiguous().numpy() for images in (x_hat, x)
        )
        means = [
            self._evaluate(
                *(original, picture, "LDR"), applyMagma=False, parameters={"ppd": _PIXELS_PER_DEGREE}
            )[1]
            for original, picture in zip(true, shown, strict=True)
        ]
        return torch.tensor(means, dtype=torch.float64)
