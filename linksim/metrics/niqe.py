"""NIQE: how far the statistics of a picture are from those of pristine photographs. No original is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from channels.runtime.writing import whole_file
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable, check_pair
from linksim.weights import zoo

__all__ = ["BLOCK", "Niqe", "Pristine", "block_features", "fit_pristine", "generalised_gaussian"]

BLOCK = 96  # side of a block at full size [pixels]
SHARP = 0.75  # pristine blocks: at least so sharp, against the sharpest of the picture
ASSET = "niqe-pristine.safetensors"
FORMAT = "linksim-niqe-1"
_LUMA = (0.299, 0.587, 0.114)
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))


def _window() -> Tensor:
    taps = torch.arange(7, dtype=torch.float64) - 3
    kernel = torch.exp(-taps.square() / (2 * (7 / 6) ** 2))
    return kernel / kernel.sum()


def _local_mean(x: Tensor) -> Tensor:
    kernel = _window().to(x)
    x = F.pad(x[:, None], (3, 3, 3, 3), mode="replicate")
    return F.conv2d(F.conv2d(x, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def _normalised(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Contrast-normalised luminance and local deviation, [B, H, W] of luminance from 0 to 255."""
    mean = _local_mean(luma)
    deviation = (_local_mean(luma.square()) - mean.square()).abs().sqrt()
    return (luma - mean) / (deviation + 1), deviation


@cache
def _flatness_of_shapes() -> tuple[Tensor, Tensor]:
    """Shapes that are tried, and E|x|² / E x² of each; rises with them."""
    gamma = torch.arange(200, 10001, dtype=torch.float64) / 1000
    return gamma, (2 * (2 / gamma).lgamma() - (1 / gamma).lgamma() - (3 / gamma).lgamma()).exp()


def generalised_gaussian(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape and scales (left, right of 0) of asymmetric generalised Gaussians, fitted to rows by moments.

    Args:
        x: [n, k]; rows that hold no value but 0 give nan shapes and scales of 0.

    Returns:
        (alpha, beta_left, beta_right), [n] each; alpha in steps of .001 from .2 to 10.

    Source: Lasmar, Stitou, Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", 2009.
    """
    gamma, table = (one.to(x.device) for one in _flatness_of_shapes())
    square = x.square()
    left, right = ((square * side).sum(1).div(side.sum(1).clamp_min(1)).sqrt() for side in (x < 0, x > 0))
    ratio = left / right
    flatness = x.abs().mean(1).square() / square.mean(1)
    wanted = flatness * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()
    order = torch.searchsorted(table, wanted).clamp(1, len(table) - 1)  # the table rises with gamma
    nearer = (wanted - table[order - 1]).abs() <= (table[order] - wanted).abs()
    alpha = gamma[order - nearer.long()].masked_fill(~torch.isfinite(wanted), torch.nan)
    width = ((1 / alpha).lgamma() - (3 / alpha).lgamma()).div(2).exp()
    return alpha, (left * width).nan_to_num(0.0), (right * width).nan_to_num(0.0)


def _scale_features(blocks: Tensor) -> Tensor:
    """[n, 18] of normalised blocks [n, b, b]: values, and products of neighbours in 4 directions."""
    alpha, left, right = generalised_gaussian(blocks.flatten(1))
    found = [alpha, (left + right) / 2]
    for shift in _SHIFTS:
        product = blocks * blocks.roll(shift, (1, 2))
        alpha, left, right = generalised_gaussian(product.flatten(1))
        mean = (right - left) * ((2 / alpha).lgamma() - (1 / alpha).lgamma()).exp()
        found += [alpha, mean, left, right]
    return torch.stack(found, 1)


def _blocks(x: Tensor, side: int) -> Tensor:
    """[n, side, side], row by row, of [1, H, W] whose sides are multiples of ``side``."""
    return x[0].unfold(0, side, side).unfold(1, side, side).flatten(0, 1)


def block_features(image: Tensor) -> tuple[Tensor, Tensor]:
    """NIQE's features of every block of a picture, and how sharp each block is.

    Args:
        image: [3, H, W] in [0, 1], sides of at least 96; what is right of and below whole blocks is left out.

    Returns:
        [n, 36] float64 (18 at full size, 18 at half), nan where a block has no contrast; [n] mean local
        deviation of the luminance, 0 to 255.
    """
    height, width = (side - side % BLOCK for side in image.shape[1:])
    weights = torch.tensor(_LUMA, dtype=torch.float64, device=image.device)
    luma = 255 * torch.einsum("chw,c->hw", image[:, :height, :width].double(), weights)[None]
    normalised, deviation = _normalised(luma)
    half = F.interpolate(luma[None], scale_factor=0.5, mode="bicubic", antialias=True)[0]
    features = [_scale_features(_blocks(normalised, BLOCK))]
    features.append(_scale_features(_blocks(_normalised(half)[0], BLOCK // 2)))
    return torch.cat(features, 1), _blocks(deviation, BLOCK).mean((1, 2))


@dataclass(frozen=True)
class Pristine:
    """The multivariate Gaussian of the features of pristine blocks.

    Args:
        mean: [36] float64.
        covariance: [36, 36] float64.
        made: what it was fitted to.
    """

    mean: Tensor
    covariance: Tensor
    made: dict[str, str]

    def save(self, path: Path) -> None:
        """Write a file in one step."""
        tensors = {"mean": self.mean, "covariance": self.covariance}
        with whole_file(path) as partial:
            save_file(tensors, str(partial), metadata={"format": FORMAT, **self.made})

    @classmethod
    def load(cls, path: Path) -> Pristine:
        """Read what :meth:`save` wrote.

        Raises:
            MetricUnavailable: no such file, or another format.
        """
        try:
            with safe_open(str(path), "pt") as file:
                made = dict(file.metadata() or {})
                if made.pop("format", None) != FORMAT:
                    raise ValueError(f"no format {FORMAT}")
                return cls(file.get_tensor("mean"), file.get_tensor("covariance"), made)
        except (SafetensorError, OSError, ValueError) as problem:
            raise MetricUnavailable(
                f"niqe: parameters {path}: cannot be read ({problem}). Install linksim again."
            ) from None


def fit_pristine(images: Iterable[Tensor], made: dict[str, str]) -> Pristine:
    """Mean and covariance of the features of the sharp blocks of photographs.

    Args:
        images: [3, H, W] in [0, 1]; those with a side below 96 are left out.
        made: facts to be kept with the result.
    """
    kept, pictures = [], 0
    for image in images:
        if min(image.shape[1:]) < BLOCK:
            continue
        features, sharpness = block_features(image)
        sharp = (sharpness > SHARP * sharpness.max()) & torch.isfinite(features).all(1)
        kept.append(features[sharp])
        pictures += 1
    rows = torch.cat(kept)
    made = {**made, "pictures": str(pictures), "blocks": str(len(rows))}
    return Pristine(rows.mean(0), torch.cov(rows.T), made)


@kind("metric", "niqe")
class Niqe(ImageMetric):
    r"""Natural image quality evaluator, refitted: lower is better; the original is not looked at.

    The distance sqrt((m - m_p)ᵀ ((C + C_p)/2)⁺ (m - m_p)) of mean and covariance of the block features of
    a picture from those of pristine photographs. Blocks without any contrast are left out as in the authors'
    code. A picture that has no other (a failed frame) is taken to have products and values of scale 0 in
    shapes as pristine ones, so that its value is finite.

    Values are those of this fit: not comparable with those of other implementations, or of other sizes of
    pictures.

    Args:
        pristine: parameters; None for those of the package.

    Source: Mittal, Soundararajan, Bovik, "Making a 'completely blind' image quality analyzer", 2013.
    """

    def __init__(self, pristine: Pristine | None = None) -> None:
        self._pristine = pristine or Pristine.load(zoo.asset(ASSET))
        made = self._pristine.made
        fitted = ", ".join(f"{made[key]} {key}" for key in ("pictures", "blocks") if key in made)
        reference = f"Mittal et al. 2013, refitted to {fitted or 'given parameters'}"
        if pristine is None:
            reference += f" ({zoo.asset_digest(ASSET)})"
        self.info = replace(self.facts(), reference=reference)

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no parameters to be known."""
        return MetricInfo("niqe", "1", False, "", min_side=BLOCK, label="NIQE (refitted)")

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]; ``x`` decides nothing but the size."""
        check_pair("niqe", x_hat, x, BLOCK)
        return torch.stack([self._distance(block_features(image)[0]) for image in x_hat])

    def _distance(self, features: Tensor) -> Tensor:
        pristine = self._pristine.mean.to(features.device)
        covariance = self._pristine.covariance.to(features.device)
        rows = features[torch.isfinite(features).all(1)]
        if len(rows) == 0:
            rows = pristine.clone()[None]
            rows[:, _without_contrast()] = 0.0
        own = torch.cov(rows.T) if len(rows) > 1 else torch.zeros_like(covariance)
        difference = rows.mean(0) - pristine
        square = difference @ torch.linalg.pinv((covariance + own) / 2, hermitian=True) @ difference
        return square.clamp_min(0).sqrt()


def _without_contrast() -> list[int]:
    """Places of the 36 features that are 0 without contrast: all but the shapes."""
    shapes = {0, 2, 6, 10, 14}
    return [18 * scale + i for scale in (0, 1) for i in range(18) if i not in shapes]
