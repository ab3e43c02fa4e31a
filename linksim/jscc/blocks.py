"""Residual blocks of the convolutional networks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BLOCK", "PIXEL_MEAN", "ResidualBlock", "Stage", "start_at_zero"]

BLOCK = 16
PIXEL_MEAN = 0.45  # rough mean of photographs, taken off before the convolutional path


def start_at_zero(*layers: nn.Module) -> None:
    """Weights and biases of layers to zero: they start without effect."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class ResidualBlock(nn.Module):
    """x + conv(relu(scale·conv(x) + shift)), scale and shift from the embedding; starts as the identity."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        start_at_zero(self.second, self.modulation)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        return x + self.second(F.relu(self.first(x) * (1 + scale) + shift))


class Stage(nn.ModuleList):
    """Residual blocks in a row, all told the same embedding."""

    def __init__(self, blocks: int, width: int, embedding: int) -> None:
        super().__init__(ResidualBlock(width, embedding) for _ in range(blocks))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self:
            x = block(x, embedding)
        return x
