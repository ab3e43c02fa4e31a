"""What Swin transformers for JSCC have in common: merging, expanding, gains from an SNR or a rate.

Sources: Liu et al., "Swin Transformer", ICCV 2021; Yang et al., "WITT: A Wireless Image Transmission
Transformer for Semantic Communications", ICASSP 2023, arXiv 2211.00937.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MODULATIONS", "Expand", "Merge", "Modulation", "start_linear"]

MODULATIONS = 7


class Merge(nn.Module):
    """2 x 2 tokens become one (Swin, section 3.1): down-left before up-right."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width_in)
        self.reduction = nn.Linear(4 * width_in, width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, H/2, W/2, width_out] of tokens [B, H, W, width_in]."""
        parts = [x[:, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
        merged: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return merged


class Expand(nn.Module):
    """A token becomes 2 x 2 (WITT: linear layer and pixel shuffle)."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width_in)
        self.increment = nn.Linear(width_in, 4 * width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 2H, 2W, width_out] of tokens [B, H, W, width_in]."""
        wide = self.increment(self.norm(x)).permute(0, 3, 1, 2)
        return F.pixel_shuffle(wide, 2).permute(0, 2, 3, 1)


class _Gain(nn.Sequential):
    """Gains in (0, 1) from a number [B, 1]: an SNR in dB, or channels that are sent."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(1, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.Sigmoid(),
        )


class Modulation(nn.Module):
    """x times a mask that a chain of linear layers, each with gains from a number, makes of x (WITT's channel
    ModNet; SwinJSCC's rate ModNet). No gradient flows to x through the mask.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * 1.5)
        sizes = [width, *[hidden] * MODULATIONS, width]
        self.mixers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.gains = nn.ModuleList(_Gain(hidden) for _ in range(MODULATIONS))

    def mask(self, x: Tensor, number: Tensor) -> Tensor:
        """Mask in (0, 1), of the shape of tokens [B, H, W, C], for numbers [B, 1]."""
        mask = x.detach()
        for mixer, gain in zip(self.mixers[:-1], self.gains, strict=True):
            mask = mixer(mask) * gain(number)[:, None, None]
        return torch.sigmoid(self.mixers[-1](mask))

    def forward(self, x: Tensor, number: Tensor) -> Tensor:
        """Tokens [B, H, W, C] times their mask for numbers [B, 1]."""
        return x * self.mask(x, number)


def start_linear(network: nn.Module) -> None:
    """Weights of the linear layers as Swin begins: normal with a deviation of 0.02, cut off; biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
