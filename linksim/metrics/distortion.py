"""PSNR, SSIM and MS-SSIM: pure functions, per image, differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from channels.units import linear_to_db
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, OfOriginals, check_pair
from linksim.metrics.kernels.ssim import halved, original_means, similarity

__all__ = ["MsSsim", "Psnr", "Ssim", "ms_ssim", "psnr", "ssim"]

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_TINY = 1e-12  # below it the slope of a fractional power is no use to a training
_ROWS = 32
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(x_hat: Tensor, x: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all colour values of an image, 10·log10(1 / MSE) [dB].

    Args:
        x_hat, x: [B, 3, H, W] in [0, 1].

    Returns:
        [B] float64; inf for identical images.
    """
    check_pair("psnr", x_hat, x, 1)
    mse = (x_hat.double() - x.double()).square().mean((1, 2, 3))
    return -linear_to_db(mse)


def _taps() -> Tensor:
    """[11] float64 of the window in either direction."""
    distance = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    kernel = torch.exp(-distance.square() / (2 * _SIGMA**2))
    return kernel / kernel.sum()


def _gaussian(x: Tensor) -> Tensor:
    """Window means; shifted sums are 2.6 times as fast as grouped convolutions on a CPU."""
    weights = _taps().tolist()
    for dim in (2, 3):
        size = x.shape[dim] - _WINDOW + 1
        total = x.narrow(dim, 0, size) * weights[0]
        for i, weight in enumerate(weights[1:], start=1):
            total.add_(x.narrow(dim, i, size), alpha=weight)
        x = total
    return x


@dataclass(frozen=True)
class _Scale:
    """An original at one scale: pixels, and window means of it and of its square, some rows at a time, which
    a CPU keeps in its cache.
    """

    x: Tensor
    means: list[tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, x: Tensor) -> _Scale:
        """Of pixels [B, 3, H, W]."""
        stacked = (torch.cat([part, part * part], dim=1) for part in _rows(x))
        return cls(x, [(m[0], m[1]) for m in (_gaussian(part).chunk(2, dim=1) for part in stacked)])

    @property
    def nbytes(self) -> int:
        """That it takes."""
        return self.x.nbytes + sum(a.nbytes + b.nbytes for a, b in self.means)

    @staticmethod
    def halved(x: Tensor) -> Tensor:
        """Means of 2 x 2 pixels; odd sides with zeros around, which count."""
        return F.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2))

    def terms(self, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3] SSIM and contrast-structure term of reconstructions, means over windows."""
        full, contrast = _ssim_maps(x_hat, self)
        return full.mean((2, 3)), contrast.mean((2, 3))


@dataclass(frozen=True)
class _ScaleOnCpu:
    """The same for the compiled kernel: planes, and their means [3B, 2, H - 10, W - 10], float64."""

    x: NDArray[np.float64]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, x: Tensor) -> _ScaleOnCpu:
        """Of pixels [B, 3, H, W] float64 on a CPU."""
        planes = _planes(x)
        return cls(planes, original_means(planes, _taps().numpy()))

    @property
    def nbytes(self) -> int:
        """That it takes."""
        return self.x.nbytes + self.means.nbytes

    @staticmethod
    def halved(x: Tensor) -> Tensor:
        """As :meth:`_Scale.halved`."""
        return torch.from_numpy(halved(_planes(x))).unflatten(0, x.shape[:2])

    def terms(self, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`_Scale.terms`, without gradients."""
        found = similarity(_planes(x_hat), self.x, self.means, _taps().numpy(), _K1**2, _K2**2)
        full, contrast = torch.from_numpy(found).reshape(-1, 3, 2).unbind(2)
        return full, contrast


def _planes(x: Tensor) -> NDArray[np.float64]:
    """[3B, H, W] of pixels [B, 3, H, W] float64."""
    planes: NDArray[np.float64] = x.detach().contiguous().flatten(0, 1).numpy()
    return planes


def _rows(x: Tensor) -> list[Tensor]:
    """Parts of a picture whose windows are those of some rows."""
    starts = range(0, x.shape[2] - _WINDOW + 1, _ROWS)
    return [x[:, :, i : i + _ROWS + _WINDOW - 1] for i in starts]


def _ssim_maps(x_hat: Tensor, original: _Scale) -> tuple[Tensor, Tensor]:
    """SSIM and contrast-structure maps over windows that lie inside the image."""
    parts = zip(_rows(x_hat), _rows(original.x), original.means, strict=True)
    full, contrast = zip(*(_ssim_rows(a, b, *means) for a, b, means in parts), strict=True)
    return torch.cat(full, 2), torch.cat(contrast, 2)


def _ssim_rows(x_hat: Tensor, x: Tensor, mu_b: Tensor, bb: Tensor) -> tuple[Tensor, Tensor]:
    c1, c2 = _K1**2, _K2**2
    mu_a, aa, ab = _gaussian(torch.cat([x_hat, x_hat * x_hat, x_hat * x], dim=1)).chunk(3, dim=1)
    squares, product = (mu_a.square(), mu_b.square()), mu_a * mu_b
    contrast = (2 * (ab - product) + c2) / (aa - squares[0] + bb - squares[1] + c2)
    luminance = (2 * product + c1) / (squares[0] + squares[1] + c1)
    return luminance * contrast, contrast


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Structural similarity, mean over colour channels: Gaussian window 11 x 11, sigma 1.5, no padding.

    Args:
        x_hat, x: [B, 3, H, W] in [0, 1], sides of at least 11.

    Returns:
        [B] float64.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    check_pair("ssim", x_hat, x, _WINDOW)
    return _ssim_maps(x_hat.double(), _Scale.of(x.double()))[0].mean((1, 2, 3))


def ms_ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """Multi-scale structural similarity over five scales, mean over colour channels.

    An odd side is halved as in the usual implementations (pytorch-msssim 1.0.0): with a row of zeros around,
    so that it is rounded up. Negative terms count as 0.

    Args:
        x_hat, x: [B, 3, H, W] in [0, 1], sides of at least 161 (the window must fit at 1/16 size).

    Returns:
        [B], dtype of the input promoted to at least float32, in which it is computed.

    Source: Wang, Simoncelli, Bovik, "Multi-Scale Structural Similarity for Image Quality Assessment", 2003.
    """
    check_pair("ms_ssim", x_hat, x, MsSsim.info.min_side)
    dtype = torch.promote_types(torch.promote_types(x_hat.dtype, x.dtype), torch.float32)
    return _over_scales(x_hat.to(dtype), _scales(x.to(dtype), _Scale))


def _kept_scales(x: Tensor) -> list[_Scale] | list[_ScaleOnCpu]:
    """In double precision, for what is fastest on the device of ``x``."""
    return _scales(x.double(), _ScaleOnCpu) if x.device.type == "cpu" else _scales(x.double(), _Scale)


_OnDevice = TypeVar("_OnDevice", _Scale, _ScaleOnCpu)


def _scales(x: Tensor, scale: type[_OnDevice]) -> list[_OnDevice]:
    """Five scales of originals, the finest first."""
    scales = [scale.of(x)]
    for _ in _MS_WEIGHTS[1:]:
        x = scale.halved(x)
        scales.append(scale.of(x))
    return scales


def _over_scales(x_hat: Tensor, originals: Sequence[_Scale] | Sequence[_ScaleOnCpu]) -> Tensor:
    """[B] MS-SSIM of reconstructions and originals of one dtype."""
    result = torch.ones(x_hat.shape[:2], dtype=x_hat.dtype, device=x_hat.device)
    for scale, weight in enumerate(_MS_WEIGHTS):
        x_hat = originals[scale].halved(x_hat) if scale else x_hat
        full, contrast = originals[scale].terms(x_hat)
        term = full if scale == len(_MS_WEIGHTS) - 1 else contrast
        result = result * torch.where(term > 0, term.clamp_min(_TINY) ** weight, 0.0)
    return result.mean(1)


@kind("metric", "psnr")
@dataclass(frozen=True)
class Psnr(ImageMetric):
    """:func:`psnr` as a metric; identical images count as 100 dB, so that means stay finite."""

    info = MetricInfo(
        "psnr", "dB", True, "10 log10(255^2 / MSE) over RGB, per image, at most 100 dB", label="PSNR"
    )

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return psnr(x_hat, x).clamp_max(100.0)


@kind("metric", "ssim")
@dataclass(frozen=True)
class Ssim(ImageMetric):
    """:func:`ssim` as a metric."""

    info = MetricInfo(
        "ssim", "1", True, "Wang et al. 2004, RGB, Gaussian window", _WINDOW, "SSIM", ("ssim", "ms_ssim")
    )

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        return ssim(x_hat, x)


@kind("metric", "ms_ssim")
class MsSsim(ImageMetric):
    """:func:`ms_ssim` as a metric, in double precision; what is made of originals is kept.

    Args:
        kept_bytes: at most; None: as memory allows.
    """

    info = MetricInfo(
        "ms_ssim", "1", True, "Wang et al. 2003, RGB, five scales", 16 * (_WINDOW - 1) + 1, "MS-SSIM"
    )

    def __init__(self, kept_bytes: int | None = None) -> None:
        self._originals = OfOriginals(
            _kept_scales, lambda scales: sum(scale.nbytes for scale in scales), kept_bytes
        )

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        check_pair("ms_ssim", x_hat, x, self.info.min_side)
        return _over_scales(x_hat.double(), self._originals(x))
