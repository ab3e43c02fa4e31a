"""Swin blocks whose windows and shift are those of the sizes that a network was built for.

Torchvision's blocks shift by what the picture at hand allows: where a stage is no larger than one window they
do not shift. SwinJSCC's shift by what the pictures of its training allowed, whatever comes. On pictures whose
coarsest stage is one window the two differ.

Source: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Blocks", "forbidden", "relative_positions"]

_FORBIDDEN = -100.0  # added to the logits of tokens that do not belong together (Swin's own number)


def relative_positions(window: int) -> Tensor:
    """[window², window²] index of the offset between two tokens of a window, of (2·window - 1)² offsets.

    Example:
        >>> relative_positions(2).tolist()
        [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    side = torch.arange(window)
    row, col = (axis.flatten() for axis in torch.meshgrid(side, side, indexing="ij"))
    span = 2 * window - 1
    return (row[:, None] - row + window - 1) * span + (col[:, None] - col + window - 1)


def _regions(size: int, padded: int, window: int, shift: int) -> Tensor:
    """[padded] number of the region along a side that a token of the shifted picture belongs to."""
    region = torch.zeros(padded, dtype=torch.long)
    if shift:
        region[padded - window :] = 1
        region[padded - shift :] = 2
    is_picture = torch.arange(padded) < size
    return torch.where(is_picture.roll(-shift), region, 3)


def forbidden(rows: int, cols: int, window: int, shift: int) -> Tensor:
    """[windows, window², window²] what is added to the logits: 0 within a region, -100 between regions.

    Regions are what was adjacent before the shift, and the padding of sides that are no multiple of the
    window.

    Args:
        rows, cols: tokens of the picture.
        window, shift: tokens.
    """
    sides = []
    for size in (rows, cols):
        padded = -(-size // window) * window
        sides.append(_regions(size, padded, window, shift))
    region = sides[0][:, None] * 4 + sides[1]
    parts = region.unflatten(0, (-1, window)).unflatten(2, (-1, window)).permute(0, 2, 1, 3)
    tokens = parts.reshape(-1, window * window)
    return (tokens[:, :, None] != tokens[:, None, :]).float() * _FORBIDDEN


class _Attention(nn.Module):
    """Attention within windows, with a bias by relative position."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens [B, windows, window², C]; ``mask`` [windows, window², window²] is added to the logits."""
        index = relative_positions(self.window).to(x.device)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)
        bias = bias[None] if mask is None else (bias + mask[:, None]).repeat(len(x), 1, 1, 1)
        # four axes: what PyTorch's fused attention takes
        parts = self.qkv(x.flatten(0, 1)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)  # [B · windows, heads, window², C / heads] each
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2)).unflatten(0, x.shape[:2])
        return found


class _Block(nn.Module):
    """A Swin block: attention in windows, then an MLP, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, window: int, shift: int, mlp_ratio: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        hidden = int(width * mlp_ratio)
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [B, H, W, C]."""
        x = x + self._attended(self.norm1(x))
        mlp: Tensor = self.mlp(self.norm2(x))
        return x + mlp

    def _attended(self, x: Tensor) -> Tensor:
        (rows, cols), window, shift = x.shape[1:3], self.window, self.shift
        below, right = -rows % window, -cols % window
        mask = None
        if shift or below or right:
            mask = forbidden(rows, cols, window, shift).to(x.device)
        x = F.pad(x, (0, 0, 0, right, 0, below)).roll((-shift, -shift), (1, 2))
        tokens = x.unflatten(1, (-1, window)).unflatten(3, (-1, window)).transpose(2, 3)
        down, across = tokens.shape[1:3]
        mixed = self.attn(tokens.flatten(3, 4).flatten(1, 2), mask)
        whole = mixed.unflatten(1, (down, across)).unflatten(3, (window, window)).transpose(2, 3)
        whole = whole.flatten(3, 4).flatten(1, 2).roll((shift, shift), (1, 2))
        return whole[:, :rows, :cols]


class Blocks(nn.Sequential):
    """Swin blocks on tokens [B, H, W, C], every second one with shifted windows.

    Sides that are no multiple of the window are padded below and to the right within the attention; no token
    of the picture attends to padding.

    Args:
        width, depth, heads: channels, blocks, heads.
        windows: tokens along a side of a window, and its shift in every second block.
        mlp_ratio: hidden over outer channels of the MLPs.
    """

    def __init__(
        self, width: int, depth: int, heads: int, windows: tuple[int, int], mlp_ratio: float
    ) -> None:
        window, shift = windows
        super().__init__(
            *(_Block(width, heads, window, shift if i % 2 else 0, mlp_ratio) for i in range(depth))
        )
