"""Separation coding: picture codec, transport block, QAM, and the way back; retransmissions on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.checks import check_at_least, check_choice, check_range, complaint
from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.coding.link_adaptation import AdaptiveMcs
from linksim.coding.mcs import Mcs
from linksim.coding.qam import Qam
from linksim.coding.transport import (
    DEFAULT_ITERATIONS,
    LdpcDecoder,
    TransportBlock,
    transport_block_size,
)
from linksim.images.sets import image_digest
from linksim.schemes.base import CsitKind, Frame, Info, Reconstruction, State, mean_grey, random_bits
from linksim.schemes.payload import Payload, fit_facts, pack, pixels, stream_budget, unpack
from linksim.source.hevc import CodecError
from linksim.source.quality_search import QualitySearch, Wish

__all__ = ["DigitalLayout", "Harq", "SeparationScheme"]

MIN_USES = 128  # the smallest transport block, 24 bits and 16 of CRC, at a rate of 1/6
_IR_ORDER = (0, 2, 3, 1)  # redundancy versions in the usual order, TS 38.214 sec. 5.1.2.1


@dataclass(frozen=True)
class Harq:
    """Hybrid ARQ: a frame that fails is sent again, and what was received before is combined with it.

    Args:
        max_transmissions: first one included.
        combining: "ir", other code bits every time (redundancy versions 0, 2, 3, 1), or "chase", the same
            again.
        round_trip_s: from the end of a transmission to the begin of the next one [s]; fading goes on
            meanwhile. 7 ms are those of LTE FDD (8 ms from begin to begin of transmissions of 1 ms).

    Source: 3GPP TS 38.212 V18, sec. 5.4.2.1; TS 38.214 V18, sec. 5.1.2.1; TS 36.213 V18, sec. 7 and 8 (timing
        of LTE).
    """

    max_transmissions: int = 1
    combining: Literal["ir", "chase"] = "ir"
    round_trip_s: float = 7e-3

    def __post_init__(self) -> None:
        check_at_least("harq.max_transmissions", self.max_transmissions, 1)
        check_range("harq.round_trip_s", self.round_trip_s, 0.0, 10.0, "s")
        check_choice("harq.combining", self.combining, ("ir", "chase"))

    @property
    def rvs(self) -> tuple[int, ...]:
        """Redundancy version of every transmission."""
        if self.combining == "chase":
            return (0,) * self.max_transmissions
        return tuple(_IR_ORDER[i % 4] for i in range(self.max_transmissions))


@dataclass(frozen=True)
class DigitalLayout:
    """What both ends agree on before the frame.

    Args:
        block: transport block (channel uses and MCS).
        height, width: canvas on which a failed picture is shown grey, for those who compare. It tells a
            receiver nothing: the payload says the size, and is shown only if that is the one of the canvas.
            None, 0 x 0, where the payload is no picture.
    """

    block: TransportBlock
    height: int
    width: int


class SeparationScheme:
    """Source codec + CRC + 5G LDPC + QAM.

    Nothing is free: the length field, the codec's header with the picture size, CRCs and padding are inside
    the payload. A frame whose CRC fails, or whose stream does not parse, is a grey picture that stays in
    every mean.

    Args:
        name: label.
        search: source codec with its quality search.
        mcs: fixed, or adaptive to the SNR that the transmitter is told.
        csit: which SNR that is, the average over draws or that of the frame; of adaptive MCS.
        harq: retransmissions.
        decoder: LDPC decoder, see :meth:`linksim.coding.transport.TransportBlock.decode`.
        iterations: of the decoder.
        device: where QAM runs, and Sionna's decoder.
    """

    codes_ahead = True

    def __init__(
        self,
        name: str,
        search: QualitySearch,
        mcs: Mcs | AdaptiveMcs,
        *,
        csit: CsitKind = "average_snr",
        harq: Harq | None = None,
        decoder: LdpcDecoder = "auto",
        iterations: int = DEFAULT_ITERATIONS,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.csit: CsitKind = csit if isinstance(mcs, AdaptiveMcs) else "none"
        self._search = search
        self._mcs = mcs
        self._rvs = (harq or Harq()).rvs
        self.round_trip_s = (harq or Harq()).round_trip_s
        self._decoder: LdpcDecoder = decoder
        self._iterations = iterations
        self._device = torch.device(device)
        self._qam = lru_cache(maxsize=4)(lambda order: Qam(order, self._device))
        self._block = lru_cache(maxsize=64)(
            lambda budget, mcs: TransportBlock(budget, mcs.bits_per_symbol, mcs.rate)
        )

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError for a picture too large for the codec, or a budget below the smallest block."""
        self._search.check(height, width)
        self.check_payload(budget)

    def check_payload(self, budget: int) -> None:
        """See :class:`linksim.schemes.base.PayloadScheme`."""
        if budget < MIN_USES:
            cure = "Use larger images, or a larger bandwidth.data_ratio (or data_uses)."
            raise ValueError(complaint("channel uses", "too few", budget, f"at least {MIN_USES}", cure))
        candidates = [self._mcs] if isinstance(self._mcs, Mcs) else self._mcs.candidates
        refusals = [self._refusal(budget, mcs) for mcs in candidates]
        if all(refusals):
            raise refusals[0]  # type: ignore[misc]

    def _refusal(self, budget: int, mcs: Mcs) -> ValueError | None:
        """Why the forced decoder does not take a block."""
        if self._decoder != "sionna":
            return None
        return self._block(budget, mcs).sionna_refuses(len(self._rvs))

    def _choose(self, csit: Csit | None, budget: int, num_pixels: int) -> Mcs:
        if isinstance(self._mcs, Mcs):
            return self._mcs
        assert csit is not None
        values = set(csit.snr_db.tolist())
        if len(values) != 1:
            expected = "one SNR for all images of a call"
            raise ValueError(
                complaint(f"{self.name}: snr_db", "differs within the batch", sorted(values), expected)
            )
        return self._adapted(values.pop(), budget, num_pixels)

    def _adapted(self, snr_db: float, budget: int, num_pixels: int) -> Mcs:
        """What link adaptation chooses at an SNR that it is told [dB]."""
        assert isinstance(self._mcs, AdaptiveMcs)

        def bits_per_pixel(mcs: Mcs) -> float:
            return 8 * _stream_room(budget, mcs) / num_pixels

        return self._mcs.choose(
            snr_db, budget, bits_per_pixel, lambda mcs: self._refusal(budget, mcs) is None
        )

    # ------------------------------------------------------------------------- what can fit, ever

    def told_apart(self, told_db: Sequence[float]) -> list[float | None]:
        """Of the SNRs that a transmitter is told [dB], those at which its payload may be another one; None:
        it is the same, or the largest that it may have, at all.
        """
        adapts = isinstance(self._mcs, AdaptiveMcs) and self.csit == "average_snr"
        return list(dict.fromkeys(told_db)) if adapts else [None]

    def room(self, budget: int, num_pixels: int, snr_db: float | None) -> int:
        """Bytes for the stream of a picture, at an SNR that the transmitter is told [dB]; None: at most."""
        if isinstance(self._mcs, Mcs):
            return _stream_room(budget, self._mcs)
        if snr_db is None:
            return max(_stream_room(budget, mcs) for mcs in self._mcs.candidates)
        return _stream_room(budget, self._adapted(snr_db, budget, num_pixels))

    def smallest_stream(self, image: Tensor, enough: int = 0) -> int:
        """Bytes of the smallest stream of an image [3, H, W] uint8, or of one of ``enough`` bytes at most."""
        rgb = image.permute(1, 2, 0).contiguous().numpy()
        return self._search.smallest(rgb, image_digest(image), enough)

    # ----------------------------------------------------------------------------------- the frame

    def prepare(self, image: Tensor, budget: int, csit: Csit | None) -> None:
        """See :class:`linksim.schemes.base.PreparingScheme`."""
        self._search.begin(self._wishes(image, self._block_for(image, budget, csit)[1]))

    def _block_for(self, image: Tensor, budget: int, csit: Csit | None) -> tuple[Mcs, TransportBlock]:
        mcs = self._choose(csit, budget, image.shape[2] * image.shape[3])
        return mcs, self._block(budget, mcs)

    def _wishes(self, image: Tensor, block: TransportBlock) -> list[Wish]:
        """What is asked of the codec for images that a block carries."""
        room = stream_budget(block.size // 8)
        return [Wish(*pixels(picture), room) for picture in image]

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.Scheme`."""
        height, width = image.shape[2:]
        mcs, block = self._block_for(image, budget, csit)
        fits = self._search.best_of(self._wishes(image, block))
        payloads = [pack(fit.stream if fit else b"", block.size // 8) for fit in fits]
        bits = np.stack([payload.bits for payload in payloads])
        info: tuple[Info, ...] = tuple(
            {"codec": self._search.name, **_mcs_facts(mcs, block), **fit_facts(fit), **_spent(payload)}
            for fit, payload in zip(fits, payloads, strict=True)
        )
        return self._frame(bits, DigitalLayout(block, height, width), info)

    def transmit_payload(self, seeds: Sequence[int], budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.PayloadScheme`."""
        mcs = self._choose(csit, budget, 1)
        block = self._block(budget, mcs)
        bits = random_bits(seeds, block.size)
        return self._frame(bits, DigitalLayout(block, 0, 0), (_mcs_facts(mcs, block),) * len(bits))

    def _frame(self, bits: NDArray[np.uint8], layout: DigitalLayout, info: tuple[Info, ...]) -> Frame:
        """Payloads [B, A] coded and modulated, as often as they may be sent."""
        qam = self._qam(layout.block.bits_per_symbol)
        coded = layout.block.encode(bits, self._rvs).reshape(len(self._rvs), len(bits), -1)
        symbols = [qam.modulate(sent) for sent in coded]
        sent_bits = torch.from_numpy(bits)
        return Frame(symbols[0], layout, sent_bits=sent_bits, info=info, retransmissions=tuple(symbols[1:]))

    def receive(self, received: Received, layout: DigitalLayout, seeds: Sequence[int]) -> Reconstruction:
        """See :class:`linksim.schemes.base.Scheme`."""
        return self.combine([received], layout, seeds)

    def combine(
        self, received: Sequence[Received], layout: DigitalLayout, seeds: Sequence[int]
    ) -> Reconstruction:
        """See :class:`linksim.schemes.base.RetransmittingScheme`."""
        qam = self._qam(layout.block.bits_per_symbol)
        llr = np.stack([qam.demodulate(*equalize(one, "zf")) for one in received])
        decoded = layout.block.decode(
            llr,
            decoder=self._decoder,
            iterations=self._iterations,
            rvs=self._rvs[: len(received)],
            device=self._device,
        )
        image = mean_grey(len(decoded.ok), layout.height, layout.width, received[0].y.device)
        states: list[State] = []
        for i, ok in enumerate(decoded.ok):
            state, rgb = self._show(decoded.bits[i], layout) if ok else ("crc_failed", None)
            states.append(state)
            if rgb is not None:
                image[i] = torch.from_numpy(rgb).to(image.device).permute(2, 0, 1) / 255
        return Reconstruction(
            image,
            tuple(states),
            bits_hat=torch.from_numpy(decoded.bits),
            block_ok=torch.from_numpy(decoded.ok),
        )

    def _show(self, bits: NDArray[np.uint8], layout: DigitalLayout) -> tuple[State, NDArray[np.uint8] | None]:
        if not layout.height:
            return "ok", None
        try:
            stream = unpack(bits)
            if not stream:
                return "source_unfit", None
            return "ok", self._search.decode(stream, (layout.height, layout.width))
        except CodecError:
            return "parse_failed", None


def _stream_room(budget: int, mcs: Mcs) -> int:
    """Bytes that an MCS leaves for a stream in ``budget`` uses."""
    return stream_budget(transport_block_size(budget, mcs.bits_per_symbol, mcs.rate) // 8)


def _mcs_facts(mcs: Mcs, block: TransportBlock) -> Info:
    return {"mcs": mcs.index, "mcs_table": mcs.table, "payload_bits": block.size, "crc_bits": block.crc_bits}


def _spent(payload: Payload) -> Info:
    return {"header_bits": payload.header_bits, "padding_bits": payload.padding_bits}
