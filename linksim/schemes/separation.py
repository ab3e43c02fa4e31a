"""Separation coding: picture codec, transport block, QAM, and the way back.

May import: numpy, torch, channels.{types, equalization}, linksim.schemes.base, linksim.digital,
    linksim.images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.checks import complaint
from channels.equalization import equalize
from channels.types import Csi, Csit, Received
from linksim.digital.bounds import capacity_bits, normal_approximation_bits
from linksim.digital.hevc import CodecError
from linksim.digital.mcs import ChannelCalibration, Mcs, QualityCurve, best_mcs
from linksim.digital.source_codec import Fit, QualitySearch
from linksim.digital.transport import LdpcDecoder, Qam, TransportBlock, transport_block_size
from linksim.images import image_digest, round_to_uint8
from linksim.schemes.base import CsitKind, Frame, Info, Reconstruction, State, mean_grey

__all__ = ["AdaptiveMcs", "CapacityBound", "DigitalLayout", "SeparationScheme", "pack", "unpack"]

MAX_LENGTH_BYTES = 3
MIN_USES = 128  # the smallest transport block, 24 bits and 16 of CRC, at a rate of 1/6


@dataclass(frozen=True)
class DigitalLayout:
    """What both ends agree on before the frame.

    Args:
        block: transport block (channel uses and MCS).
        height, width: canvas on which a failed picture is shown grey, and the only size a stream may have.
            The stream itself carries its size.
    """

    block: TransportBlock
    height: int
    width: int


@dataclass(frozen=True)
class AdaptiveMcs:
    """Link adaptation by a frozen table; see :func:`linksim.digital.mcs.best_mcs`."""

    channel: ChannelCalibration
    quality: QualityCurve
    table: int | None = None


def pack(stream: bytes, size_bytes: int) -> NDArray[np.uint8]:
    """Payload bits [8·size_bytes] of a stream: its length (7 bits a byte, high bits first), the stream,
    zeros.

    An empty stream says that no picture fitted.

    Raises:
        ValueError: stream and length do not fit.
    """
    groups = [len(stream) & 0x7F]
    rest = len(stream) >> 7
    while rest:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    data = bytes(reversed(groups)) + stream
    if len(data) > size_bytes:
        raise ValueError(
            complaint("payload", "stream too long", f"{len(data)} bytes", f"at most {size_bytes}")
        )
    return np.unpackbits(np.frombuffer(data.ljust(size_bytes, b"\0"), np.uint8))


def unpack(bits: NDArray[np.uint8]) -> bytes:
    """The stream in payload bits.

    Raises:
        CodecError: a length that the payload cannot hold.
    """
    data = np.packbits(bits).tobytes()
    length = 0
    for i in range(min(MAX_LENGTH_BYTES, len(data))):
        length = length << 7 | data[i] & 0x7F
        if not data[i] & 0x80:
            if i + 1 + length > len(data):
                break
            return data[i + 1 : i + 1 + length]
    raise CodecError("payload: length field out of range")


def stream_budget(size_bytes: int) -> int:
    """Bytes left for a stream in a payload."""
    for length_bytes in range(1, MAX_LENGTH_BYTES + 1):
        room = size_bytes - length_bytes
        if room < 1 << 7 * length_bytes:
            return max(room, 0)
    return (1 << 7 * MAX_LENGTH_BYTES) - 1


def _pixels(image: Tensor) -> tuple[NDArray[np.uint8], str]:
    pixels = round_to_uint8(image).cpu()
    return pixels.permute(1, 2, 0).contiguous().numpy(), image_digest(pixels)


def _facts(fit: Fit | None) -> Info:
    if fit is None:
        return {"quality": -1, "bytes": 0, "resolution": 0}
    return {"quality": fit.quality, "bytes": len(fit.stream), "resolution": fit.resolution}


class SeparationScheme:
    """Source codec + CRC + 5G LDPC + QAM.

    Nothing is free: the length field, the codec's header with the picture size, CRCs and padding are inside
    the payload. A frame whose CRC fails, or whose stream does not parse, is a grey picture that stays in
    every mean.

    Args:
        name: label.
        search: source codec with its quality search.
        mcs: fixed, or adaptive to the average SNR that the transmitter is told.
        decoder: LDPC decoder, see :meth:`linksim.digital.transport.TransportBlock.decode`.
        iterations: of the decoder.
        device: where QAM runs.
    """

    def __init__(
        self,
        name: str,
        search: QualitySearch,
        mcs: Mcs | AdaptiveMcs,
        *,
        decoder: LdpcDecoder = "auto",
        iterations: int = 20,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name = name
        self.csit: CsitKind = "average_snr" if isinstance(mcs, AdaptiveMcs) else "none"
        self._search = search
        self._mcs = mcs
        self._decoder: LdpcDecoder = decoder
        self._iterations = iterations
        self._device = torch.device(device)
        self._qam = lru_cache(maxsize=4)(lambda order: Qam(order, self._device))
        self._block = lru_cache(maxsize=64)(
            lambda budget, mcs: TransportBlock(budget, mcs.bits_per_symbol, mcs.rate)
        )

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError for a budget below the smallest transport block."""
        if budget < MIN_USES:
            cure = "Use larger images or a larger bandwidth.data_ratio."
            raise ValueError(complaint("channel uses", "too few", budget, f"at least {MIN_USES}", cure))

    def _choose(self, csit: Csit | None, budget: int, pixels: int) -> Mcs:
        if isinstance(self._mcs, Mcs):
            return self._mcs
        assert csit is not None
        values = set(csit.snr_db.tolist())
        if len(values) != 1:
            expected = "one SNR for all images of a call"
            raise ValueError(
                complaint(f"{self.name}: snr_db", "differs within the batch", sorted(values), expected)
            )

        def bits_per_pixel(mcs: Mcs) -> float:
            size = transport_block_size(budget, mcs.bits_per_symbol, mcs.rate)
            return 8 * stream_budget(size // 8) / pixels

        adaptive = self._mcs
        return best_mcs(adaptive.channel, adaptive.quality, values.pop(), bits_per_pixel, adaptive.table)

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.Scheme`."""
        height, width = image.shape[2:]
        mcs = self._choose(csit, budget, height * width)
        block = self._block(budget, mcs)
        payloads: list[NDArray[np.uint8]] = []
        info: list[Info] = []
        for picture in image:
            rgb, digest = _pixels(picture)
            best = self._search.best(rgb, digest, stream_budget(block.size // 8))
            payloads.append(pack(best.stream if best else b"", block.size // 8))
            info.append(
                {"mcs": mcs.index, "mcs_table": mcs.table, "payload_bits": block.size, **_facts(best)}
            )
        payload = np.stack(payloads)
        symbols = self._qam(mcs.bits_per_symbol).modulate(
            torch.from_numpy(block.encode(payload)).to(self._device)
        )
        return Frame(
            symbols,
            DigitalLayout(block, height, width),
            sent_bits=torch.from_numpy(payload),
            info=tuple(info),
        )

    def receive(self, received: Received, layout: DigitalLayout, seeds: Sequence[int]) -> Reconstruction:
        """See :class:`linksim.schemes.base.Scheme`."""
        x_hat, no_eff = equalize(received, "zf")
        llr = self._qam(layout.block.bits_per_symbol).demodulate(x_hat, no_eff)
        decoded = layout.block.decode(llr.cpu().numpy(), decoder=self._decoder, iterations=self._iterations)
        image = mean_grey(len(decoded.ok), layout.height, layout.width, received.y.device)
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
        try:
            stream = unpack(bits)
            if not stream:
                return "source_unfit", None
            return "ok", self._search.decode(stream, (layout.height, layout.width))
        except CodecError:
            return "parse_failed", None


class CapacityBound:
    """The best picture of a source codec at the capacity of the true channel, with no overhead at all.

    Args:
        name: label.
        search: source codec with its quality search.
        block_error: None = capacity; else the normal approximation at this block error rate (the frames that
            it loses are not counted).
    """

    def __init__(self, name: str, search: QualitySearch, block_error: float | None = None) -> None:
        self.name = name
        self._search = search
        self._block_error = block_error

    def _bits(self, csi: Csi) -> list[float]:
        if self._block_error is None:
            return capacity_bits(csi).tolist()
        return normal_approximation_bits(csi, self._block_error).tolist()

    def check(self, height: int, width: int, budget: int) -> None:
        """Defined for every size."""

    def reach(self, image: Tensor, budget: int, csi: Csi) -> Reconstruction:
        """See :class:`linksim.schemes.base.Bound`."""
        result = mean_grey(image.shape[0], image.shape[2], image.shape[3], image.device)
        states: list[State] = []
        info: list[Info] = []
        for i, bits in enumerate(self._bits(csi)):
            rgb, digest = _pixels(image[i])
            best = self._search.best(rgb, digest, int(bits // 8))
            states.append("ok" if best else "source_unfit")
            info.append(_facts(best))
            if best:
                picture = self._search.decode(best.stream, (rgb.shape[0], rgb.shape[1]))
                result[i] = torch.from_numpy(picture).to(image.device).permute(2, 0, 1) / 255
        return Reconstruction(result, tuple(states), info=tuple(info))
