"""Additive white Gaussian noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels import seeding
from channels.arithmetic import scale
from channels.base import ChannelOperator
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["AwgnChannel"]


@dataclass(frozen=True)
class _NoiseDraw(Draw):
    noise: Tensor  # [B, n] complex, CN(0, 1)


class AwgnChannel(ChannelOperator):
    r"""y = x + w with w ~ CN(0, no), h ≡ 1 known.

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 5.1.

    Example:
        >>> import torch
        >>> x = torch.ones(2, 96, dtype=torch.complex64)
        >>> received = AwgnChannel()(x, torch.tensor([0.0, 10.0]), seeds=[1, 2])
        >>> received.y.shape, received.uses.total
        (torch.Size([2, 96]), 96)
    """

    memoryless = True

    def uses(self, num_symbols: int) -> ChannelUses:
        return ChannelUses(data=num_symbols)

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> _NoiseDraw:
        noise = torch.empty(len(seeds), num_symbols, dtype=self.cdtype)
        seeding.fill_normal(noise, seeds)
        return _NoiseDraw(noise.to(self.device))

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, _NoiseDraw)
        return scale(draw.noise, no.sqrt()).add_(x)  # one new tensor, not two

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        h = torch.ones((), dtype=self.cdtype, device=self.device).expand(y_raw.shape)
        return Received(y_raw, Csi(h, no, torch.zeros_like(no)), self.uses(y_raw.shape[1]))

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, _NoiseDraw)
        return torch.ones((), dtype=self.cdtype, device=self.device).expand(draw.noise.shape)
