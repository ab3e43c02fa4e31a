"""Texture by its statistics: power in the top octave, and sliced Wasserstein distances of local patches per
octave of a Laplacian pyramid. Per image, no weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from channels.units import linear_to_db
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, check_pair

__all__ = ["OCTAVES", "SlicedWasserstein", "SpectrumError", "laplacian_octave", "sliced_wasserstein"]

_ROUNDING = 1 / 12 / 255**2  # variance of rounding to 8 bits: what is below it cannot be told
OCTAVES = 4
_PATCH, _MAX_PATCHES, PROJECTIONS = 7, 2048, 128
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

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        check_pair(self.info.name, x_hat, x, self.info.min_side)
        return linear_to_db(top_octave(x_hat.double()) / top_octave(x.double()))


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
    for _ in range(octave - 1):
        x = blurred(x)[:, :, ::2, ::2]
    coarse = blurred(x)[:, :, ::2, ::2]
    spread = torch.zeros_like(x)
    spread[:, :, ::2, ::2] = 4 * coarse
    return x - blurred(spread)


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
    projected_a, projected_b = ((points @ directions).sort(0).values for points in (a, b))
    return (projected_a - projected_b).abs().mean()


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
        total = x.new_zeros(len(x), dtype=torch.float64)
        for octave in self._octaves:
            pair = [laplacian_octave(pictures.float(), octave) for pictures in (x_hat, x)]
            total += torch.stack([_octave_distance(a, b, octave) for a, b in zip(*pair, strict=True)])
        return total / len(self._octaves)


def _octave_distance(a: Tensor, b: Tensor, octave: int) -> Tensor:
    """Scalar float64 of one octave [3, h, w] of a reconstruction and its original."""
    generator = torch.Generator().manual_seed(octave)
    room = [side - _PATCH + 1 for side in b.shape[1:]]
    count = min(_MAX_PATCHES, room[0] * room[1])
    chosen = torch.randperm(room[0] * room[1], generator=generator)[:count]
    places = torch.stack([chosen // room[1], chosen % room[1]], 1)
    directions = torch.empty(3 * _PATCH**2, PROJECTIONS).normal_(generator=generator)
    directions = (directions / directions.norm(dim=0)).to(b)
    deviation, mean = torch.std_mean(b, (1, 2), correction=0, keepdim=True)
    scale = (deviation.square() + _ROUNDING).sqrt()
    points_a, points_b = (_patches((picture - mean) / scale, places.to(b.device)) for picture in (a, b))
    return sliced_wasserstein(points_a, points_b, directions).double()
