"""JSCC as a scheme: any analog codec behind the channel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from channels.checks import complaint
from channels.types import Csit, Received
from linksim.jscc.dial.codec import Dialled
from linksim.jscc.layout import SymbolLayout
from linksim.schemes.base import CsitKind, Frame, Info, Reconstruction, all_ok
from linksim.source.sizes import Memory

__all__ = [
    "IMAGE_SIZE_BITS",
    "AnalogCodec",
    "EncodedPictures",
    "JsccScheme",
    "TellingCodec",
    "TrainableCodec",
]

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


class EncodedPictures:
    """Symbols of the last pictures that were encoded, for schemes of a run that share an encoder: at every
    channel, trial and realism a picture has the same ones, unless its transmitter is told something else.

    Args:
        limit: bytes that they take at most.
    """

    def __init__(self, limit: int = 1 << 26) -> None:
        self._symbols = Memory(limit)
        self._encoders: dict[int, AnalogCodec] = {}  # which keep their ids for themselves

    def encode(self, codec: AnalogCodec, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """[1, n] of a picture [1, 3, H, W], as ``codec.encode``."""
        encoder = codec.codec if isinstance(codec, Dialled) else codec  # at whatever realism
        self._encoders[id(encoder)] = encoder
        told = None if csit is None else csit.snr_db.item()
        pixels = hashlib.sha256(image.detach().cpu().numpy().tobytes()).digest()
        key = (id(encoder), pixels, tuple(image.shape), image.dtype, layout, told)
        symbols = self._symbols.get(key)
        if symbols is None:
            symbols = codec.encode(image, layout, csit)
            self._symbols.put(key, symbols)
        assert isinstance(symbols, Tensor)
        return symbols


class JsccScheme:
    """An analog codec as a scheme.

    Args:
        name: label in results and figures.
        codec: see :class:`AnalogCodec`.
        csit: what the transmitter knows of the channel; the scenario says so.
        encoded: symbols of pictures, where several schemes and frames may ask for the same ones; its encoder
            must not change any more.
    """

    def __init__(
        self,
        name: str,
        codec: AnalogCodec,
        csit: CsitKind = "average_snr",
        encoded: EncodedPictures | None = None,
    ) -> None:
        self.name = name
        self.codec = codec
        self.csit: CsitKind = csit
        self._encoded = encoded

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
        elif torch.is_grad_enabled():  # every row has gradients of its own
            symbols = self.codec.encode(image, layout, csit)
        else:
            symbols = self._symbols(image, layout, csit)
        known = None if csit is None else Csit(csit.snr_db)
        spent: Info = {"header_uses": layout.num_header} if layout.num_header else {}
        info = (spent,) * len(image)
        return Frame(symbols, JsccLayout(layout, known), side_info_bits=bits, info=info)

    def _symbols(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols of a batch, of which rows that are alike (trials of one picture) are encoded once."""
        firsts, row_of = _distinct(image, csit)
        pictures = image[firsts]
        told = None if csit is None else Csit(csit.snr_db[firsts], None if csit.h is None else csit.h[firsts])
        if self._encoded is None or (told is not None and told.h is not None):
            return self.codec.encode(pictures, layout, told)[row_of]
        singles = [
            self._encoded.encode(
                self.codec, picture, layout, None if told is None else Csit(told.snr_db[[i]])
            )
            for i, picture in enumerate(pictures.split(1))
        ]
        return torch.cat(singles)[row_of]

    def receive(self, received: Received, layout: JsccLayout, seeds: Sequence[int]) -> Reconstruction:
        """Decode; analog receivers never fail, they degrade."""
        image = self.codec.decode(received, layout.symbols, layout.csit, seeds)
        return Reconstruction(image, states=all_ok(image.shape[0]))


def _distinct(image: Tensor, csit: Csit | None) -> tuple[list[int], list[int]]:
    """The first of all rows of a batch that are one picture, told one channel, and for each row which of them
    it is.
    """
    told = () if csit is None else (csit.snr_db,) if csit.h is None else (csit.snr_db, csit.h)
    parts = (image, *told)
    firsts: list[int] = []
    row_of: list[int] = []
    for row in range(len(image)):
        same = (i for i, first in enumerate(firsts) if all(torch.equal(p[row], p[first]) for p in parts))
        found = next(same, len(firsts))
        if found == len(firsts):
            firsts.append(row)
        row_of.append(found)
    return firsts, row_of
