"""Types that pass between transmitter, channel and receiver.

Shape letters, used in every docstring of this project:

=========  ==============================================================
``B``      images in a batch
``n``      complex data symbols per image (channel uses that carry data)
``H W``    pixel rows and columns of an image
``c h w``  channels, rows and columns of a latent map
``T``      OFDM symbols of one slot
``F``      subcarriers of one OFDM symbol
``S``      slots per image
=========  ==============================================================

Lives here: the frozen containers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from torch import Tensor

from channels.arithmetic import abs_squared

__all__ = ["ChannelUses", "Csi", "Csit", "Draw", "Received"]


@dataclass(frozen=True)
class ChannelUses:
    """Complex channel uses spent on one image.

    Args:
        data: uses that carry symbols of the scheme.
        pilot: uses that carry known symbols for channel estimation.
        guard: every other use that the waveform occupies and no one else can have: guard and DC
            subcarriers, cyclic prefix samples, unfilled resource elements of the last slot.
    """

    data: int
    pilot: int = 0
    guard: int = 0

    @property
    def total(self) -> int:
        """All uses: data + pilot + guard."""
        return self.data + self.pilot + self.guard


@dataclass(frozen=True)
class Csi:
    """Channel state as the receiver knows it.

    Args:
        h: [B, n] complex, gain of each data symbol (E|h|² = 1 over fading).
        no: [B, 1] or [B, n] float, noise variance per complex use, linear power.
        err_var: [B, 1] or [B, n] float, variance of the error of ``h``, linear power; 0 = perfect.
    """

    h: Tensor
    no: Tensor
    err_var: Tensor

    @property
    def gamma(self) -> Tensor:
        """Instantaneous SNR |h|² / (no + err_var), [B, n] float, linear.

        The one quantity that all receivers share. An estimated gain counts its error as noise.
        """
        return abs_squared(self.h) / (self.no + self.err_var)


@dataclass(frozen=True)
class Csit:
    """Channel state as the transmitter knows it, reported by the receiver: the scenario says how much.

    Args:
        snr_db: [B] float, SNR per data use [dB], the average over draws or that of this frame.
        h: [B, n] complex, gain of each data symbol (perfect transmitter CSI), or None.
    """

    snr_db: Tensor
    h: Tensor | None = None


@dataclass(frozen=True)
class Received:
    """What the receiver gets, and all that it gets: n parallel scalar channels y = h·x + w.

    Args:
        y: [B, n] complex, received data symbols.
        csi: channel state known to the receiver.
        uses: channel uses spent per image.
    """

    y: Tensor
    csi: Csi
    uses: ChannelUses

    def select(self, rows: Sequence[int]) -> Received:
        """The images ``rows`` of the batch, in this order."""
        csi = Csi(self.csi.h[rows], self.csi.no[rows], self.csi.err_var[rows])
        return Received(self.y[rows], csi, self.uses)

    def reorder(self, order: Tensor) -> Received:
        """The symbols in another order [n]: the first one is what was symbol ``order[0]``."""
        order = order.to(self.y.device)

        def each(values: Tensor) -> Tensor:
            return values[:, order] if values.shape[1] == len(order) else values

        csi = Csi(each(self.csi.h), each(self.csi.no), each(self.csi.err_var))
        return Received(each(self.y), csi, self.uses)


@dataclass(frozen=True)
class Draw:
    """All randomness of one channel call. Opaque to everything but the operator that made it."""

    def select(self, rows: Tensor) -> Self:
        """What the images ``rows`` of the batch see; tensors of an operator's draw begin with the batch."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v[rows.to(v.device)] for k, v in kept.items() if isinstance(v, Tensor)})
