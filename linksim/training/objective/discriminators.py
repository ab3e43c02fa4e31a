"""Discriminators (critics) of adversarial training: one sees grain, one sees content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["Critics", "PatchCritic", "ProjectedCritic", "hinge"]

_CONDITION = 12  # channels that the received latent is shown as
_SLOPE = 0.2


class PatchCritic(nn.Module):
    """Says of every patch of about 70 pixels whether it is a photograph, given what was received.

    Args:
        condition_channels: of the received latent and its reliability.
        width: channels of the first layer.

    Source: Mentzer et al., "High-Fidelity Generative Image Compression", 2020, appendix A.2.
    """

    def __init__(self, condition_channels: int, width: int) -> None:
        super().__init__()
        self.condition = spectral_norm(nn.Conv2d(condition_channels, _CONDITION, 3, padding=1))
        widths = [3 + _CONDITION, width, 2 * width, 4 * width, 8 * width]
        strides = (2, 2, 2, 1)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=s, padding=1))
            for a, b, s in zip(widths, widths[1:], strides, strict=False)
        )
        self.out = spectral_norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """[B, 1, h, w] of pictures [B, 3, H, W] in [0, 1] and latents [B, c, H/16, W/16]."""
        shown = F.leaky_relu(self.condition(condition), _SLOPE)
        x = torch.cat([2 * image - 1, F.interpolate(shown, image.shape[2:], mode="nearest")], dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
        return self.out(x)


class _Head(nn.Module):
    """Three convolutions on one feature map."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(channels, width, 1))
        self.second = spectral_norm(nn.Conv2d(width, width, 3, padding=1))
        self.last = spectral_norm(nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.second(F.leaky_relu(self.first(x), _SLOPE)), _SLOPE)
        return self.last(x)


class ProjectedCritic(nn.Module):
    """Heads on the frozen features of a classifier, at every scale.

    Args:
        widths: channels of the feature maps.

    Source: Sauer et al., "Projected GANs Converge Faster", 2021, without its random projections.
    """

    def __init__(self, widths: Sequence[int], width: int = 96) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_Head(w, width) for w in widths)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """[B, scales] of feature maps [B, c, h, w]."""
        found = [head(x).float().mean((1, 2, 3)) for x, head in zip(features, self.heads, strict=True)]
        return torch.stack(found, dim=1)


@dataclass(frozen=True)
class Critics:
    """The discriminators of a phase; None for one that is not used."""

    patch: PatchCritic | None
    projected: ProjectedCritic | None

    def modules(self) -> list[nn.Module]:
        """Those that are there."""
        return [m for m in (self.patch, self.projected) if m is not None]


def hinge(real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    """Hinge loss of a discriminator: mean over pictures of max(0, 1 - real) + max(0, 1 + fake).

    Args:
        real, fake: [B, ...] what it says of originals and reconstructions.
        weight: [B] of each picture.

    Source: Lim & Ye, "Geometric GAN", 2017.
    """
    loss = F.relu(1 - real.float()).flatten(1).mean(1) + F.relu(1 + fake.float()).flatten(1).mean(1)
    return (weight * loss).mean()
