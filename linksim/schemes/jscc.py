"""JSCC as a scheme: any analog codec behind the channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from channels.checks import complaint
from channels.types import Csit, Received
from linksim.jscc.layout import SymbolLayout
from linksim.schemes.base import CsitKind, Frame, Info, Reconstruction, all_ok

__all__ = ["IMAGE_SIZE_BITS", "AnalogCodec", "JsccScheme", "TellingCodec", "TrainableCodec"]

# No receiver knows the size of a picture: an analog one is told two numbers of 16 bits, a digital payload
# carries it.
IMAGE_SIZE_BITS = 32


class AnalogCodec(Protocol):
    """Encoder and decoder between images and symbols; networks and the linear code alike. What is trained is
    a :class:`TrainableCodec`.
    """

    @property
    def block(self) -> int:
        """Image sides must be multiples of this."""
        ...

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout for an image of this size in ``budget`` symbols."""
        ...

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """[B, n] complex symbols of unit mean power."""
        ...

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """[B, 3, H, W] images; ``seeds``, one per image, are for decoders that sample."""
        ...


@runtime_checkable
class TellingCodec(AnalogCodec, Protocol):
    """A codec whose receiver needs more than the size of the picture beside the symbols: it is told in bits
    that the frame pays for.
    """

    def side_info_bits(self, layout: SymbolLayout) -> int:
        """Bits per image that :meth:`send` tells."""
        ...

    def send(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> tuple[Tensor, SymbolLayout]:
        """Symbols as of ``encode``, and the layout for ``decode``: with ``told`` [B, bytes] uint8, which has
        no more bytes than the bits fill.
        """
        ...


class TrainableCodec(AnalogCodec, Protocol):
    """A network (an ``nn.Module``) that ``linksim train`` trains and ``kind: jscc`` loads."""

    def num_symbols(self, height: int, width: int) -> int:
        """How many symbols an image of this size takes: the budget of its training."""
        ...


@dataclass(frozen=True)
class JsccLayout:
    """What both ends know before the frame: the symbol layout, and the average SNR if the transmitter was
    told it. Never the gain of the channel: a receiver has its own CSI. Side information of a
    :class:`TellingCodec` lies in the symbol layout.
    """

    symbols: SymbolLayout
    csit: Csit | None


class JsccScheme:
    """An analog codec as a scheme.

    Args:
        name: label in results and figures.
        codec: see :class:`AnalogCodec`.
        csit: what the transmitter knows of the channel; the scenario says so.
    """

    def __init__(self, name: str, codec: AnalogCodec, csit: CsitKind = "average_snr") -> None:
        self.name = name
        self.codec = codec
        self.csit: CsitKind = csit

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError for sides that are no multiple of the codec's block, or a budget it cannot
        fill.
        """
        if height % self.codec.block or width % self.codec.block:
            raise ValueError(
                complaint(
                    f"{self.name}: image",
                    "wrong size",
                    f"{height} x {width}",
                    f"sides that are multiples of {self.codec.block}",
                    "Set images.crop or images.multiple_of in the scenario.",
                )
            )
        self.codec.layout(height, width, budget)

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """Encode images [B, 3, H, W] into [B, budget] symbols; see :meth:`check` for what raises
        ValueError.
        """
        height, width = image.shape[2:]
        self.check(height, width, budget)
        layout = self.codec.layout(height, width, budget)
        bits = IMAGE_SIZE_BITS
        if isinstance(self.codec, TellingCodec):
            bits += self.codec.side_info_bits(layout)
            symbols, layout = self.codec.send(image, layout, csit)
        elif _all_alike(image, csit):  # trials of one picture: encoded once
            once = None if csit is None else Csit(csit.snr_db[:1], None if csit.h is None else csit.h[:1])
            symbols = self.codec.encode(image[:1], layout, once).repeat(len(image), 1)
        else:
            symbols = self.codec.encode(image, layout, csit)
        known = None if csit is None else Csit(csit.snr_db)
        spent: Info = {"header_uses": layout.num_header} if layout.num_header else {}
        info = (spent,) * len(image)
        return Frame(symbols, JsccLayout(layout, known), side_info_bits=bits, info=info)

    def receive(self, received: Received, layout: JsccLayout, seeds: Sequence[int]) -> Reconstruction:
        """Decode; analog receivers never fail, they degrade."""
        image = self.codec.decode(received, layout.symbols, layout.csit, seeds)
        return Reconstruction(image, states=all_ok(image.shape[0]))


def _all_alike(image: Tensor, csit: Csit | None) -> bool:
    """Whether a batch holds one picture, told one channel, several times; not where gradients are wanted."""
    if len(image) < 2 or torch.is_grad_enabled():
        return False
    told = () if csit is None else (csit.snr_db,) if csit.h is None else (csit.snr_db, csit.h)
    return all(bool((one[1:] == one[:1]).all()) for one in (image, *told))
