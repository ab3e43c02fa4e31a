"""Symbol interleaving over all channel uses of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from channels import seeding
from channels.base import ChannelOperator
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["InterleavedChannel", "permutation"]

_SEED = 38212


@lru_cache(maxsize=16)
def permutation(num_symbols: int) -> tuple[Tensor, Tensor]:
    """A fixed pseudo-random order of n symbols, and its inverse, both [n].

    Symbol ``order[i]`` goes to channel use i. Both ends know it from n alone; nothing of it is sent.
    """
    order = torch.randperm(num_symbols, generator=seeding.generator(_SEED + num_symbols))
    return order, torch.argsort(order)


class InterleavedChannel(ChannelOperator):
    """An operator whose channel uses the symbols take in a fixed pseudo-random order.

    On a resource grid neighbouring elements fade together. Without interleaving a fade hits neighbours of an
    analog code, which are neighbours of the picture, or one of several code blocks of a digital one; with it
    single values everywhere, and all code blocks alike.

    Args:
        inner: the operator that symbols are sent over.

    Source: the principle is that of TS 38.212 sec. 5.4.2.2 for code bits; a random permutation instead of
        rows and columns, because rows and columns are what a picture and a grid both have.

    Example:
        >>> from channels.flat.fading import FlatFadingChannel
        >>> channel = InterleavedChannel(FlatFadingChannel(coherence_symbols=48))
        >>> received = channel(torch.ones(1, 96, dtype=torch.complex64), torch.tensor([10.0]), seeds=[7])
        >>> received.csi.h[0, :48].abs().unique().numel()
        2
    """

    def __init__(self, inner: ChannelOperator) -> None:
        super().__init__(device=inner.device, precision=inner.precision)
        self.inner = inner
        self.memoryless = inner.memoryless  # type: ignore[misc]

    @property
    def gain_depends_on_noise(self) -> bool:
        """As the inner operator's."""
        return self.inner.gain_depends_on_noise

    def uses(self, num_symbols: int) -> ChannelUses:
        return self.inner.uses(num_symbols)

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """As the inner operator's."""
        return self.inner.noise_variance(no, draw)

    def limits(self, draw: Draw, no: Tensor) -> Csi:
        """As the inner operator's."""
        csi = self.inner.limits(draw, no)
        order = permutation(csi.h.shape[1])[1].to(csi.h.device)
        err_var = csi.err_var[:, order] if csi.err_var.shape[1] > 1 else csi.err_var
        return Csi(csi.h[:, order], csi.no, err_var)

    def instantaneous_snr_db(self, draw: Draw, snr_db: Tensor) -> Tensor:
        """As the inner operator's."""
        return self.inner.instantaneous_snr_db(draw, snr_db)

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> Draw:
        """The inner operator's draw; the order of the symbols is no part of it."""
        return self.inner.draw(num_symbols, seeds)

    def draw_again(self, num_symbols: int, seeds: Sequence[int], attempt: int, gap_s: float) -> Draw:
        """As the inner operator's."""
        return self.inner.draw_again(num_symbols, seeds, attempt, gap_s)

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """The inner operator's output for the interleaved symbols."""
        return self.inner.propagate(x[:, permutation(x.shape[1])[0].to(x.device)], draw, no)

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        received = self.inner.observe(y_raw, draw, no)
        return received.reorder(permutation(received.y.shape[1])[1])

    def papr_db(self, x: Tensor, draw: Draw) -> Tensor:
        """Of the interleaved symbols."""
        return self.inner.papr_db(x[:, permutation(x.shape[1])[0].to(x.device)], draw)

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        h = self.inner.gain(draw, no)
        return h[:, permutation(h.shape[1])[1].to(h.device)]
