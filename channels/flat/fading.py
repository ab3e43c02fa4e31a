"""Rayleigh and Rician block fading: one gain per coherence block, with or without pilots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding, units
from channels.arithmetic import multiply, scale
from channels.base import ChannelOperator, Precision
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["FlatFadingChannel"]

FlatCsi = Literal["perfect", "ls", "lmmse"]


@dataclass(frozen=True)
class _FlatDraw(Draw):
    h: Tensor  # [B, blocks] complex
    noise: Tensor  # [B, n] complex, CN(0, 1)
    pilot_noise: Tensor  # [B, blocks, pilots_per_block] complex, CN(0, 1)


class FlatFadingChannel(ChannelOperator):
    r"""y = h_b·x + w with one complex gain (modulus **and** phase) per block of ``coherence_symbols``.

    h = sqrt(K/(K+1))·e^{jφ} + sqrt(1/(K+1))·g,  g ~ CN(0, 1) per block, φ uniform per image; K = 0 is
    Rayleigh fading. E|h|² = 1.

    Estimated CSI: ``pilots_per_block`` unit symbols are sent at the start of every block and counted as
    pilot uses. With their mean p̄ = h + e, e ~ CN(0, no/P):

    the receiver is told what that says of h, a gain of zero mean and unit power (see
    :mod:`channels.ofdm.estimators.base`; exact for Rayleigh, the best linear conclusion for Rice):
    E[h|p̄] = p̄/(1 + no/P), and the variance (no/P)/(1 + no/P). There is nothing to smooth or to interpolate in
    one gain per block, so "ls" and "lmmse" are one and the same here.

    Args:
        coherence_symbols: data symbols that share one gain; None = one gain per image.
        k_factor_db: Rice factor K [dB]; None = Rayleigh.
        csi: "perfect", "ls" or "lmmse".
        pilots_per_block: pilot uses per block (P >= 1 for estimated CSI, 0 for perfect).

    Raises:
        ValueError: arguments out of range.

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 2.4.2 and 3.5.2.

    Example:
        >>> import torch
        >>> channel = FlatFadingChannel(coherence_symbols=48, csi="lmmse", pilots_per_block=2)
        >>> received = channel(torch.ones(1, 96, dtype=torch.complex64), torch.tensor([10.0]), seeds=[7])
        >>> received.uses
        ChannelUses(data=96, pilot=4, guard=0)
    """

    def __init__(
        self,
        *,
        coherence_symbols: int | None = None,
        k_factor_db: float | None = None,
        csi: FlatCsi = "perfect",
        pilots_per_block: int = 0,
        device: torch.device | str = "cpu",
        precision: Precision = "single",
    ) -> None:
        super().__init__(device=device, precision=precision)
        checks.check_choice("FlatFadingChannel: csi", csi, ("perfect", "ls", "lmmse"))
        if coherence_symbols is not None:
            checks.check_at_least("FlatFadingChannel: coherence_symbols", coherence_symbols, 1)
        if csi == "perfect" and pilots_per_block != 0:
            raise ValueError(
                checks.complaint(
                    "FlatFadingChannel: pilots_per_block", "useless with perfect CSI", pilots_per_block, 0
                )
            )
        if csi != "perfect":
            cure = "Estimated CSI needs at least one pilot per block."
            checks.check_at_least("FlatFadingChannel: pilots_per_block", pilots_per_block, 1, cure)
        self.coherence_symbols = coherence_symbols
        self.k_factor_db = k_factor_db
        self.csi = csi
        self.pilots_per_block = pilots_per_block

    def _num_blocks(self, num_symbols: int) -> int:
        return math.ceil(num_symbols / (self.coherence_symbols or num_symbols))

    def uses(self, num_symbols: int) -> ChannelUses:
        return ChannelUses(data=num_symbols, pilot=self._num_blocks(num_symbols) * self.pilots_per_block)

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> _FlatDraw:
        blocks = self._num_blocks(num_symbols)
        gains, noises, pilots = [], [], []
        for seed in seeds:
            gen = seeding.generator(seed)
            noises.append(seeding.complex_normal((num_symbols,), gen, self.cdtype))
            gains.append(self.draw_gain(blocks, gen))
            pilots.append(seeding.complex_normal((blocks, self.pilots_per_block), gen, self.cdtype))
        stacked = [torch.stack(t).to(self.device) for t in (gains, noises, pilots)]
        return _FlatDraw(h=stacked[0], noise=stacked[1], pilot_noise=stacked[2])

    def draw_gain(self, blocks: int, gen: torch.Generator) -> Tensor:
        scattered = seeding.complex_normal((blocks,), gen, self.cdtype)
        if self.k_factor_db is None:
            return scattered
        k = units.db_to_linear(self.k_factor_db)
        phase = 2 * math.pi * torch.rand(1, generator=gen, dtype=self.dtype)
        specular = torch.polar(torch.ones_like(phase), phase)
        return math.sqrt(k / (k + 1)) * specular + math.sqrt(1 / (k + 1)) * scattered

    def _spread(self, per_block: Tensor, num_symbols: int) -> Tensor:
        length = self.coherence_symbols or num_symbols
        return per_block.repeat_interleave(length, dim=1)[:, :num_symbols]

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """Raw output [B, n + blocks·P]: data symbols, then the pilots of every block."""
        assert isinstance(draw, _FlatDraw)
        data = multiply(self._spread(draw.h, x.shape[1]), x) + scale(draw.noise, no.sqrt())
        pilots = draw.h[:, :, None] + scale(draw.pilot_noise, no.sqrt()[:, :, None])
        return torch.cat([data, pilots.flatten(1)], dim=1)

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        assert isinstance(draw, _FlatDraw)
        num_symbols = draw.noise.shape[1]
        y, pilots = y_raw[:, :num_symbols], y_raw[:, num_symbols:]
        if self.csi == "perfect":
            h_block, err_var = draw.h, torch.zeros_like(no)
        else:
            h_block, err_var = self._estimate(pilots, no)
        return Received(y, Csi(self._spread(h_block, num_symbols), no, err_var), self.uses(num_symbols))

    def _estimate(self, pilots: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        mean = pilots.unflatten(1, (-1, self.pilots_per_block)).mean(-1)
        err_var = no / self.pilots_per_block
        return mean / (1 + err_var), err_var / (1 + err_var)

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, _FlatDraw)
        return self._spread(draw.h, draw.noise.shape[1])
