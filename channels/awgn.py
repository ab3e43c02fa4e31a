"""Additive white Gaussian noise. May import: torch, channels.{types, seeding, base}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels import seeding
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

    def uses(self, num_symbols: int) -> ChannelUses:
        return ChannelUses(data=num_symbols)

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> _NoiseDraw:
        noise = [seeding.complex_normal((num_symbols,), seeding.generator(s), self.cdtype) for s in seeds]
        return _NoiseDraw(torch.stack(noise).to(self.device))

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, _NoiseDraw)
        return x + no.sqrt() * draw.noise

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        h = torch.ones_like(y_raw, requires_grad=False)
        return Received(y_raw, Csi(h, no, torch.zeros_like(no)), self.uses(y_raw.shape[1]))

    def gain(self, draw: Draw) -> Tensor:
        assert isinstance(draw, _NoiseDraw)
        return torch.ones_like(draw.noise)
