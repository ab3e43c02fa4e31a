"""Residual blocks of the convolutional networks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from linksim.jscc.csi_embedding import SnrEmbedding

__all__ = ["BLOCK", "PIXEL_MEAN", "ResidualBlock", "ResidualEncoder", "Stage", "start_at_zero"]

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


class ResidualEncoder(nn.Module):
    """Pictures [B, 3, H, W] to a latent map [B, C, H/16, W/16]: a linear block code and what a convolutional
    path at 1/8 and 1/16 resolution adds to it, told the SNR; starts as the linear code alone.

    Args:
        latent_channels: C.
        width_8, width_16: channels of the path.
        blocks: residual blocks at (1/8, 1/16).
        embedding: width of the SNR embedding.
    """

    def __init__(
        self, latent_channels: int, width_8: int, width_16: int, blocks: tuple[int, int], embedding: int
    ) -> None:
        super().__init__()
        self.linear = nn.Conv2d(3, latent_channels, BLOCK, stride=BLOCK)
        self.snr = SnrEmbedding(embedding)
        self.head = nn.Conv2d(3 * 64, width_8, 3, padding=1)
        self.fine = Stage(blocks[0], width_8, embedding)
        self.down = nn.Conv2d(4 * width_8, width_16, 1)
        self.coarse = Stage(blocks[1], width_16, embedding)
        self.tail = nn.Conv2d(width_16, latent_channels, 3, padding=1)
        start_at_zero(self.tail)

    def forward(self, image: Tensor, snr_db: Tensor | None) -> Tensor:
        embedding = self.snr(snr_db, image.shape[0])
        x = self.fine(self.head(F.pixel_unshuffle(image - PIXEL_MEAN, 8) * 2), embedding)
        x = self.coarse(self.down(F.pixel_unshuffle(x, 2)), embedding)
        return self.linear(image) + self.tail(x)
