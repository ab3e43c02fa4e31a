"""An analog codec in more channel uses than it can fill: its symbols are sent several times and combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from channels.arithmetic import abs_squared, multiply_conj
from channels.types import Csi, Csit, Received
from channels.units import linear_to_db
from linksim.jscc.layout import SymbolLayout
from linksim.schemes.jscc import AnalogCodec

__all__ = ["RepeatedLayout", "RepeatingCodec"]

_MOST_REPEATS = 1024
_TINY = 1e-12


@dataclass(frozen=True)
class RepeatedLayout(SymbolLayout):
    """Layout of one copy, and how often it is sent.

    Args:
        repeats: copies of the symbols.
        num_filled: known symbols behind the copies, fewer than copies.
    """

    repeats: int = 1
    num_filled: int = 0


class RepeatingCodec:
    """A codec that takes any number of channel uses from its smallest on: where it cannot fill them, all of
    its symbols are sent as often as needed, and a receiver adds up the copies in proportion to their SNR.

    That is how a linear code expands its bandwidth: r copies over AWGN are worth r times the SNR, and over
    fading they meet other fades.

    Args:
        codec: what is repeated.

    Source: maximum-ratio combining, Brennan, "Linear Diversity Combining Techniques", Proc. IRE 47 (1959).
    """

    def __init__(self, codec: AnalogCodec) -> None:
        self.codec = codec

    @property
    def block(self) -> int:
        """Image sides must be multiples of this."""
        return self.codec.block

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout of an image in ``budget`` symbols, with as few copies as the codec allows.

        Raises:
            ValueError: too few symbols for the codec.
        """
        refusal: ValueError | None = None
        for repeats in range(1, min(budget, _MOST_REPEATS) + 1):
            try:
                one = self.codec.layout(height, width, budget // repeats)
            except ValueError as problem:
                refusal = refusal or problem
                continue
            if repeats == 1:
                return one
            return RepeatedLayout(**asdict(one), repeats=repeats, num_filled=budget % repeats)
        assert refusal is not None
        raise refusal

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """[B, n] complex symbols of unit mean power."""
        if not isinstance(layout, RepeatedLayout):
            return self.codec.encode(image, layout, csit)
        symbols = self.codec.encode(image, layout, _of_all_copies(csit, layout))
        filler = symbols.new_ones(len(symbols), layout.num_filled)
        return torch.cat([symbols.repeat(1, layout.repeats), filler], dim=1)

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """[B, 3, H, W] images."""
        if isinstance(layout, RepeatedLayout):
            received, csit = _combined(received, layout), _of_all_copies(csit, layout)
        return self.codec.decode(received, layout, csit, seeds)


def _of_all_copies(csit: Csit | None, layout: RepeatedLayout) -> Csit | None:
    """What the transmitter knows of the copies together."""
    if csit is None:
        return None
    return Csit(csit.snr_db + float(linear_to_db(layout.repeats)))


def _combined(received: Received, layout: RepeatedLayout) -> Received:
    """One copy, as good as all of them together: gamma is their sum."""

    def copies(values: Tensor) -> Tensor:
        return values[:, : layout.total * layout.repeats].unflatten(1, (layout.repeats, layout.total))

    csi = received.csi
    noise = copies((csi.no + csi.err_var).expand(received.y.shape))
    gamma = copies(abs_squared(csi.h)) / noise
    h = gamma.sum(1).clamp_min(_TINY).sqrt()
    y = (multiply_conj(copies(received.y), copies(csi.h)) / noise).sum(1) / h
    nothing = torch.zeros_like(h[:, :1])
    return Received(y, Csi(h.to(y.dtype), nothing + 1, nothing), received.uses)
