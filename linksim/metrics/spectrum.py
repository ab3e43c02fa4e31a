"""Texture by its statistics: power in the top octave, and sliced Wasserstein distances of local patches per
octave of a Laplacian pyramid. Per image, no weights.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from channels.units import linear_to_db
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, OfOriginals, check_pair

__all__ = ["OCTAVES", "SlicedWasserstein", "SpectrumError", "laplacian_octave", "sliced_wasserstein"]

_ROUNDING = 1 / 12 / 255**2  # variance of rounding to 8 bits: what is below it cannot be told
OCTAVES = 4
_PATCH, _MAX_PATCHES, PROJECTIONS = 7, 2048, 128
_KEPT_BYTES = 1 << 28  # of points of originals: 4 MB for one of 512 x 768, all octaves
_BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)


@kind("metric", "spectrum_db")
class SpectrumError(ImageMetric):
    r"""Signed error of the power spectrum in the top octave [dB]: negative is blur, positive is grain.

    10·log10((P_hat + P_0) / (P + P_0)); P is the power at radial frequencies of 1/4 to 1/2 cycles per pixel,
    summed over RGB, of the picture without its mean under a Hann window (which keeps the edges of the picture
    out of the spectrum); P_0 what rounding to 8 bits puts there, so that a flat picture has a value.
    """

    info = MetricInfo(
        *("spectrum_db", "dB", None, "power at 1/4 to 1/2 cycles per pixel over that of the original, RGB"),
        min_side=16,
        label="top-octave error",
    )

    def __init__(self) -> None:
        self._power = OfOriginals(lambda x: top_octave(x.double()), lambda found: found.nbytes)

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair(self.info.name, x_hat, x, self.info.min_side)
        return linear_to_db(top_octave(x_hat.double()) / self._power(x))


def top_octave(x: Tensor) -> Tensor:
    """[B] power in the top octave, rounding added."""
    height, width = x.shape[2:]
    sides = [torch.hann_window(n, periodic=False, dtype=x.dtype, device=x.device) for n in (height, width)]
    window = torch.outer(sides[0], sides[1])
    window = window / window.square().mean().sqrt()
    centred = x - (x * window).mean((2, 3), keepdim=True) / window.mean()
    power = torch.fft.rfft2(centred * window, norm="forward").abs().square()
    rows, cols = torch.fft.fftfreq(height).to(x), torch.fft.rfftfreq(width).to(x)
    radius = torch.hypot(rows[:, None], cols[None])
    weight = 2.0 - ((cols == 0) | (cols == 0.5)).to(x.dtype)  # the other half of the plane
    inside = ((radius >= 0.25) & (radius <= 0.5)).to(x.dtype) * weight
    floor = _ROUNDING * x.shape[1] * inside.sum() / (height * width)
    return (power * inside).sum((1, 2, 3)) + floor


# ------------------------------------------------------------------------------------ sliced Wasserstein


def blurred(x: Tensor) -> Tensor:
    taps = torch.tensor(_BINOMIAL, dtype=x.dtype, device=x.device) / 16
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=x.shape[1])


def laplacian_octave(x: Tensor, octave: int) -> Tensor:
    """One octave of the Laplacian pyramid of pictures.

    Args:
        x: [B, c, H, W].
        octave: 1 is the finest, at full size; each further one has half the size (rounded up).

    Returns:
        [B, c, h, w]: the picture at that size less what is left of it at half of it.

    Source: Burt & Adelson, "The Laplacian pyramid as a compact image code", 1983, with the binomial filter.
    """
    return laplacian_octaves(x, [octave])[octave]


def laplacian_octaves(x: Tensor, octaves: Collection[int]) -> dict[int, Tensor]:
    """Octaves of the Laplacian pyramid of pictures [B, c, H, W], by number: :func:`laplacian_octave`."""
    found = {}
    for octave in range(1, max(octaves) + 1):
        coarse = blurred(x)[:, :, ::2, ::2]
        if octave in octaves:
            spread = torch.zeros_like(x)
            spread[:, :, ::2, ::2] = 4 * coarse
            found[octave] = x - blurred(spread)
        x = coarse
    return found


def _patches(x: Tensor, places: Tensor) -> Tensor:
    """[n, c·7·7] patches of a picture [c, H, W] with their upper left corners at ``places`` [n, 2]."""
    offsets = torch.arange(_PATCH)
    rows, cols = (places[:, i, None] + offsets for i in (0, 1))
    return x[:, rows[:, :, None], cols[:, None, :]].movedim(0, 1).flatten(1)


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> Tensor:
    """Mean over directions of the 1-Wasserstein distance of projected points.

    Args:
        a, b: [n, d] points, as many of each.
        directions: [d, k] unit vectors.

    Returns:
        Scalar.

    Source: Rabin et al., "Wasserstein barycenter and its application to texture mixing", 2011.
    """
    projected_a, projected_b = (_sorted(points @ directions) for points in (a, b))
    return (projected_a - projected_b).abs().mean()


def _sorted(projected: Tensor) -> Tensor:
    """[n, k], each column by itself; NumPy's sort of floats takes a fraction of PyTorch's time, and has no
    gradient.
    """
    plain = projected.dtype in (torch.float32, torch.float64) and not projected.requires_grad
    if projected.device.type != "cpu" or not plain:
        return projected.sort(0).values
    return torch.from_numpy(np.sort(projected.numpy().T, axis=1).T)


@kind("metric", "swd")
@kind("metric", "swd_1", octave=1)
@kind("metric", "swd_2", octave=2)
@kind("metric", "swd_3", octave=3)
@kind("metric", "swd_4", octave=4)
class SlicedWasserstein(ImageMetric):
    """Sliced Wasserstein distance between the patches of a reconstruction and those of its original.

    In every octave of a Laplacian pyramid patches of 7 x 7 pixels in RGB are drawn at the same random places
    of both pictures, centred and scaled per colour by mean and standard deviation of the original, and
    compared as two sets: where a patch stood does not matter. 0 for identical pictures; in units of the
    standard deviation of the original's octave. Places and directions are those of every picture of a size.

    Karras et al. compare sets of pictures and normalise each set by itself; both by the original here, or
    else a blurred octave would count as one that is merely weak.

    Args:
        octave: 1 (finest) to 4; None for the mean over the four.

    Source: Karras et al., "Progressive growing of GANs for improved quality, stability, and variation", 2018.
    """

    def __init__(self, octave: int | None = None) -> None:
        self._octaves = range(1, OCTAVES + 1) if octave is None else (octave,)
        self._originals = OfOriginals(
            self._of_originals, lambda found: sum(one.nbytes for one in found), _KEPT_BYTES
        )
        self.info = self.facts(octave)

    @staticmethod
    def facts(octave: int | None = None) -> MetricInfo:
        """All of its facts."""
        name, of = (
            ("swd", f"mean of {OCTAVES} octaves") if octave is None else (f"swd_{octave}", f"octave {octave}")
        )
        return MetricInfo(
            name,
            "1",
            False,
            f"Karras et al. 2018 per image, {of}; {_MAX_PATCHES} patches, {PROJECTIONS} directions, "
            "normalised by the original",
            min_side=64,
            label=f"SWD, {of}",
            losses=("swd",),
        )

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair(self.info.name, x_hat, x, self.info.min_side)
        octaves = laplacian_octaves(x_hat.float(), self._octaves)
        shown = [octave[image] for image in range(len(x)) for octave in octaves.values()]
        pairs = zip(shown, self._originals(x), strict=True)
        each = torch.stack([original.distance(projected) for projected, original in pairs])
        return each.view(len(x), len(self._octaves)).sum(1) / len(self._octaves)

    def _of_originals(self, x: Tensor) -> list[_Original]:
        """Octave after octave of picture after picture."""
        octaves = laplacian_octaves(x.float(), self._octaves)
        return [
            _Original.of(octaves[number][image], number)
            for image in range(len(x))
            for number in self._octaves
        ]


@dataclass(frozen=True)
class _Original:
    """An octave [3, h, w] of an original: its own points, and how they are taken from reconstructions."""

    mean: Tensor
    scale: Tensor
    octave: int
    points: Tensor

    @classmethod
    def of(cls, picture: Tensor, octave: int) -> Self:
        """Statistics and points of an original."""
        deviation, mean = torch.std_mean(picture, (1, 2), correction=0, keepdim=True)
        scale = (deviation.square() + _ROUNDING).sqrt()
        return cls(mean, scale, octave, _projected((picture - mean) / scale, octave))

    def distance(self, picture: Tensor) -> Tensor:
        """Scalar float64: of the same octave of a reconstruction."""
        points = _projected((picture - self.mean) / self.scale, self.octave)
        return (points - self.points).abs().mean().double()

    @property
    def nbytes(self) -> int:
        """Of the points [bytes]."""
        return self.points.nbytes


def _projected(picture: Tensor, octave: int) -> Tensor:
    """[n, k] sorted projections of patches of a picture [3, h, w], as for :func:`sliced_wasserstein`."""
    places, directions = _places_and_directions(octave, picture.shape[1], picture.shape[2])
    return _sorted(_patches(picture, places.to(picture.device)) @ directions.to(picture))


@functools.lru_cache(maxsize=32)
def _places_and_directions(octave: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """[n, 2] corners of patches and [147, k] unit vectors of an octave: the same for all of a size."""
    generator = torch.Generator().manual_seed(octave)
    rows, cols = height - _PATCH + 1, width - _PATCH + 1
    chosen = torch.randperm(rows * cols, generator=generator)[: min(_MAX_PATCHES, rows * cols)]
    directions = torch.empty(3 * _PATCH**2, PROJECTIONS).normal_(generator=generator)
    return torch.stack([chosen // cols, chosen % cols], 1), directions / directions.norm(dim=0)
