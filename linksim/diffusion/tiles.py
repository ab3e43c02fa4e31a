"""Overlapping tiles of a large latent, blended."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from channels.checks import complaint

__all__ = ["Tiles"]

Cut = Callable[[Tensor], Tensor]


class Tiles:
    """Cuts a latent [B, c, h, w] into tiles that overlap by a quarter and blends what comes of them.

    Every tile is weighted by a ramp that falls to its edges, so that seams vanish; weights add up to one.
    A latent no larger than a tile is passed on whole.

    Args:
        size: h, w.
        tile: side of a tile, in latent positions; 0 or at least both sides = one tile.

    Source: Bar-Tal et al., "MultiDiffusion", ICML 2023.
    """

    def __init__(self, size: tuple[int, ...], tile: int) -> None:
        if 0 < tile < 16:
            raise ValueError(complaint("tile", "too small", tile, "0, or at least 16 latent positions"))
        self.whole = tile <= 0 or max(size) <= tile
        self.size, self.tile = size, tile
        step = tile * 3 // 4 // 4 * 4
        self.places = [] if self.whole else [
            (top, left) for top in self._starts(size[0], step) for left in self._starts(size[1], step)
        ]  # fmt: skip

    def _starts(self, side: int, step: int) -> list[int]:
        if side <= self.tile:
            return [0]
        starts = list(range(0, side - self.tile, step))
        return [*starts, side - self.tile]

    def _ramp(self, side: int, device: torch.device) -> Tensor:
        positions = torch.arange(side, device=device, dtype=torch.float32) + 0.5
        return torch.minimum(positions, side - positions) / side

    def blend(self, predict: Callable[[Cut], Tensor]) -> Tensor:
        """``predict(cut)`` for every tile, blended; ``cut`` takes the tile out of a tensor [B, c, h, w]."""
        if self.whole:
            return predict(lambda value: value)
        total: Tensor | None = None
        weights = torch.zeros(1)
        for top, left in self.places:
            rows, cols = slice(top, top + self.tile), slice(left, left + self.tile)
            part = predict(lambda value, r=rows, c=cols: value[:, :, r, c])  # type: ignore[misc]
            weight = self._ramp(part.shape[2], part.device)[:, None] * self._ramp(part.shape[3], part.device)
            if total is None:
                total = part.new_zeros((*part.shape[:2], *self.size))
                weights = part.new_zeros(self.size)
            total[:, :, rows, cols] += weight * part
            weights[rows, cols] += weight
        assert total is not None
        return total / weights
