"""Scheme: how an image becomes symbols and what a receiver makes of what arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.seeding import derived_seed
from channels.types import Csi, Csit, Received

__all__ = [
    "Bound",
    "CsitKind",
    "Frame",
    "Info",
    "PayloadScheme",
    "PreparingBound",
    "PreparingScheme",
    "Reconstruction",
    "RetransmittingScheme",
    "Scheme",
    "State",
    "StreamScheme",
]

CsitKind = Literal["none", "average_snr", "instantaneous_snr", "perfect"]
Info = dict[str, float | int | str]
State = Literal["ok", "source_unfit", "crc_failed", "parse_failed", "outage"]


@dataclass(frozen=True)
class Frame:
    """What a transmitter hands to the channel, and what both ends agree on beforehand.

    Args:
        symbols: [B, n] complex64, mean |x|² = 1 per image (analog) or per constellation (digital).
        layout: how symbols go back to a latent map or code words: sizes, modulation and coding scheme, the
            SNR that the receiver reported. Nothing in it depends on the picture but what ``side_info_bits``
            pays for.
        side_info_bits: bits per image that the receiver needs beside the symbols; paid for in ``cbr_total``.
        sent_bits: [B, k] uint8, payload of digital schemes, for BER only; the receiver never gets it.
        info: per image, facts of the transmitter worth a record (MCS, QP, bytes); the receiver never gets
            them.
        retransmissions: symbols [B, n] of further transmissions, for images that the receiver asks for again.
    """

    symbols: Tensor
    layout: Any
    side_info_bits: int = 0
    sent_bits: Tensor | None = None
    info: tuple[Info, ...] = ()
    retransmissions: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Reconstruction:
    """What a receiver makes of one batch.

    Args:
        image: [B, 3, H, W] float, for [0, 1]; networks may leave it by a little, runs cut them off.
        states: one per image; anything but "ok" is a failure that stays in every mean.
        bits_hat: [B, k] uint8 payload as decoded (digital schemes).
        block_ok: [B] bool, transport block accepted (digital schemes).
        stages: intermediate images by name, [B, 3, H, W].
        info: per image, facts of the receiver worth a record.
    """

    image: Tensor
    states: tuple[State, ...]
    bits_hat: Tensor | None = None
    block_ok: Tensor | None = None
    stages: dict[str, Tensor] = field(default_factory=dict)
    info: tuple[Info, ...] = ()

    def replaced(self, rows: Sequence[int], other: Reconstruction) -> Reconstruction:
        """The batch with the images ``rows`` taken from ``other``, which holds just these."""
        states = list(self.states)
        for row, state in zip(rows, other.states, strict=True):
            states[row] = state

        def merged(own: Tensor | None, new: Tensor | None) -> Tensor | None:
            if own is None or new is None:
                return own
            result = own.clone()
            result[list(rows)] = new
            return result

        image = merged(self.image, other.image)
        assert image is not None
        return replace(
            self,
            image=image,
            states=tuple(states),
            bits_hat=merged(self.bits_hat, other.bits_hat),
            block_ok=merged(self.block_ok, other.block_ok),
        )


@runtime_checkable
class Scheme(Protocol):
    """A transmitter and its receiver. ``receive`` gets the received symbols, CSI and layout, nothing else."""

    name: str
    csit: CsitKind

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError if images of this size cannot be sent in ``budget`` uses."""
        ...

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """Frame of ``budget`` symbols for images [B, 3, H, W] in [0, 1].

        ``csit`` is None, an SNR (the average over draws, or that of this frame), or average SNR and gain, as
        the scenario says.
        """
        ...

    def receive(self, received: Received, layout: Any, seeds: Sequence[int]) -> Reconstruction:
        """Images from what arrived; ``seeds`` are for receivers that sample."""
        ...


@runtime_checkable
class PayloadScheme(Scheme, Protocol):
    """A digital scheme that also sends bits that are no picture. Its receiver then shows a picture without
    pixels, [B, 3, 0, 0].
    """

    def check_payload(self, budget: int) -> None:
        """Raise ValueError if no bits can be sent in ``budget`` uses."""
        ...

    def transmit_payload(self, seeds: Sequence[int], budget: int, csit: Csit | None) -> Frame:
        """Frame of random bits, a function of the seeds, one per frame; else as ``transmit``."""
        ...


@runtime_checkable
class RetransmittingScheme(Scheme, Protocol):
    """A scheme whose frames come with retransmissions. The receiver asks with one error-free bit per frame,
    its ``block_ok``, which is not counted as a use of this link.
    """

    round_trip_s: float  # from the end of a transmission to the begin of the next one

    def combine(self, received: Sequence[Received], layout: Any, seeds: Sequence[int]) -> Reconstruction:
        """Images from all transmissions so far, first to last."""
        ...


@runtime_checkable
class Bound(Protocol):
    """A limit, not a scheme: told the true channel, it says what no scheme of its kind can exceed."""

    name: str

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError if the limit is not defined for images of this size."""
        ...

    def reach(
        self, image: Tensor, budget: int, snr_db: Tensor, csi: Csi, seeds: Sequence[int]
    ) -> Reconstruction:
        """Best images for ``budget`` uses of the channel ``csi`` (true gains) at an average SNR [B];
        ``seeds`` are for limits that fail by chance.
        """
        ...


@runtime_checkable
class StreamScheme(Scheme, Protocol):
    """A scheme whose payload limits the size of a stream: whether a picture can ever fit is told before a
    run.
    """

    def smallest_stream(self, image: Tensor, enough: int = 0) -> int:
        """Bytes of the smallest stream of an image [3, H, W] uint8, or of one of ``enough`` bytes at most."""
        ...

    def told_apart(self, told_db: Sequence[float]) -> list[float | None]:
        """Of the SNRs that its transmitter is told [dB], those at which its payload may be another one; None:
        it is the same, or the largest that it may have, at all.
        """
        ...

    def room(self, budget: int, num_pixels: int, snr_db: float | None) -> int:
        """Bytes for the stream of a picture, at an SNR that the transmitter is told [dB]; None: at most."""
        ...


@runtime_checkable
class PreparingScheme(Scheme, Protocol):
    """A scheme of which other processes can do a part beforehand, while this one goes on."""

    codes_ahead: bool  # what it says with a class attribute

    def prepare(self, image: Tensor, budget: int, csit: Csit | None) -> None:
        """Begin with what ``transmit`` will need, and come back at once. ``csit`` as there, of schemes that
        are told no more than the average SNR.
        """
        ...


@runtime_checkable
class PreparingBound(Bound, Protocol):
    """Likewise a limit."""

    codes_ahead: bool

    def prepare(self, image: Tensor, budget: int, snr_db: Tensor, csi: Csi) -> None:
        """Begin with what ``reach`` will need, and come back at once."""
        ...


def all_ok(batch: int) -> tuple[State, ...]:
    """States of receivers that never fail."""
    state: State = "ok"
    return (state,) * batch


def random_bits(seeds: Sequence[int], count: int) -> NDArray[np.uint8]:
    """[B, count] bits, each row a function of its seed."""
    rows = [np.random.default_rng(derived_seed(seed, "payload")).integers(0, 2, count) for seed in seeds]
    return np.stack(rows).astype(np.uint8)


def mean_grey(batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """What a receiver shows when nothing was decoded: mid grey, [B, 3, H, W]."""
    return torch.full((batch, 3, height, width), 128 / 255, device=device)
