"""run_link: the one function that joins a scheme and a channel, for evaluation and training alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import derived_seed, real_normal
from channels.types import ChannelUses, Csit, Draw, Received
from channels.units import snr_db_to_no
from linksim.scenario.errors import RunError
from linksim.schemes.base import (
    Bound,
    Frame,
    Info,
    PayloadScheme,
    PreparingBound,
    PreparingScheme,
    Reconstruction,
    RetransmittingScheme,
    Scheme,
)

__all__ = ["LinkOutput", "RunError", "Told", "ToldEnd", "prepare", "run_link", "sent_frame"]


_REPORTED_SNR_DB = (-60.0, 100.0)  # what an end can be told of the SNR, as what a scenario can ask for


@dataclass(frozen=True)
class ToldEnd:
    """What one end of the link is told of the SNR.

    Args:
        fixed_db: instead of the truth [dB].
        offset_db: told is so much more [dB]; a number, or one per image [B].
        error_db: standard deviation of an error, Gaussian in dB, one per frame.
    """

    fixed_db: float | None = None
    offset_db: float | Tensor = 0.0
    error_db: float = 0.0

    @property
    def is_true(self) -> bool:
        """Whether this end is told nothing but the truth."""
        offset = isinstance(self.offset_db, Tensor) or self.offset_db != 0
        return self.fixed_db is None and not offset and self.error_db == 0

    def of(self, snr_db: Tensor, seeds: Sequence[int], end: str) -> Tensor:
        """What ``end`` is told of an SNR [B], in dB; its error is a function of the seeds, one per image."""
        told = snr_db if self.fixed_db is None else torch.full_like(snr_db, self.fixed_db)
        told = told + torch.as_tensor(self.offset_db).to(told)
        if self.error_db:
            errors = [real_normal((1,), derived_seed(seed, f"told {end}")) for seed in seeds]
            told = told + self.error_db * torch.cat(errors).to(told)
        return told.clamp(*_REPORTED_SNR_DB)


@dataclass(frozen=True)
class Told:
    """What the ends of the link are told of the SNR, where that is not the truth."""

    transmitter: ToldEnd = ToldEnd()
    receiver: ToldEnd = ToldEnd()


_THE_TRUTH = Told()


@dataclass(frozen=True)
class Transmitted:
    """What went over the channel first, for metrics of the transmission; no receiver sees it.

    Args:
        symbols: [B, n] sent.
        received: at the receiver.
        draw: of the channel.
    """

    symbols: Tensor
    received: Received
    draw: Draw


@dataclass(frozen=True)
class LinkOutput:
    """One batch through the link.

    Args:
        reconstruction: what the receiver made of it.
        uses: channel uses per image.
        side_info_bits: bits per image beside the symbols.
        sent_bits: [B, k] payload of digital schemes, to count bit errors.
        info: per image, facts worth a record.
        transmissions: per image; ``uses`` is of one.
        transmitted: the first transmission; None of a bound.
    """

    reconstruction: Reconstruction
    uses: ChannelUses
    side_info_bits: int
    sent_bits: Tensor | None
    info: tuple[Info, ...]
    transmissions: tuple[int, ...]
    transmitted: Transmitted | None = None


def run_link(
    scheme: Scheme | Bound,
    channel: ChannelOperator,
    image: Tensor,
    snr_db: Tensor,
    seeds: Sequence[int],
    budget: int,
    told: Told = _THE_TRUTH,
) -> LinkOutput:
    """Send images through a scheme and a channel.

    The receiver half is called with the received symbols, the layout and its seeds: it cannot reach the
    image, the sent bits or the true channel. A :class:`Bound` is no receiver; it is told the true channel.

    Args:
        scheme: scheme or bound.
        channel: operator.
        image: [B, 3, H, W] float in [0, 1]; without pixels, [B, 3, 0, 0], random bits are sent.
        snr_db: [B] float, average Es/N0 per data use [dB].
        seeds: one whole number per image for the channel; receivers that sample derive theirs from it.
        budget: data uses n per image.
        told: what the ends are told of the SNR; a bound needs not be told.

    Raises:
        ValueError: the scheme made no frame, or another number of symbols than ``budget``; no reconstruction,
            or another number or size of pictures; the channel gave values that are not finite.
    """
    if isinstance(scheme, Bound):
        return _reach(scheme, channel, image, snr_db, seeds, budget)
    draw = channel.draw(budget, seeds)
    frame = sent_frame(scheme, channel, draw, image, snr_db, seeds, budget, told)
    heard_db = None if told.receiver.is_true else told.receiver.of(snr_db, seeds, "receiver")
    received = channel(frame.symbols, snr_db, seeds, draw, heard_db)
    _check_finite(channel, received)
    own_seeds = [derived_seed(seed, "receiver") for seed in seeds]  # the channel's would give its noise away
    reconstruction = scheme.receive(received, frame.layout, own_seeds)
    _check_shown(scheme, reconstruction, image)
    transmissions = [1] * len(seeds)
    if frame.retransmissions:
        assert isinstance(scheme, RetransmittingScheme)
        reconstruction = _retransmit(
            scheme, channel, frame, received, reconstruction, snr_db, heard_db, seeds, transmissions
        )
    return LinkOutput(
        reconstruction,
        received.uses,
        frame.side_info_bits,
        frame.sent_bits,
        _merged(frame.info, reconstruction.info, len(seeds)),
        tuple(transmissions),
        Transmitted(frame.symbols, received, draw),
    )


def sent_frame(
    scheme: Scheme,
    channel: ChannelOperator,
    draw: Draw,
    image: Tensor,
    snr_db: Tensor,
    seeds: Sequence[int],
    budget: int,
    told: Told = _THE_TRUTH,
) -> Frame:
    """What a scheme hands to the channel of a draw; arguments, errors as of :func:`run_link`."""
    csit = _csit(scheme, channel, draw, snr_db, seeds, told.transmitter)
    if image.shape[2:].numel():
        frame = scheme.transmit(image, budget, csit)
    else:
        assert isinstance(scheme, PayloadScheme)
        frame = scheme.transmit_payload(seeds, budget, csit)
    if not isinstance(frame, Frame):
        got, expected = type(frame).__name__, "a linksim.schemes.base.Frame"
        raise ValueError(complaint(f"{scheme.name}: transmit", "no frame", got, expected))
    expected_shape = (image.shape[0], budget)
    if tuple(frame.symbols.shape) != expected_shape:
        raise ValueError(
            complaint(f"{scheme.name}: symbols", "wrong shape", tuple(frame.symbols.shape), expected_shape)
        )
    return frame


def prepare(
    scheme: Scheme | Bound,
    channel: ChannelOperator,
    image: Tensor,
    snr_db: Tensor,
    seeds: Sequence[int],
    budget: int,
    told: Told = _THE_TRUTH,
) -> None:
    """Let other processes begin with what :func:`run_link` will need, where the scheme can, and no fade that
    has to be drawn for it decides on it; come back at once. Arguments as there.
    """
    if isinstance(scheme, PreparingBound):
        if channel.memoryless:
            no = snr_db_to_no(snr_db.to(channel.device, channel.dtype))[:, None]
            scheme.prepare(image, budget, snr_db, channel.limits(channel.draw(budget, seeds), no))
    elif isinstance(scheme, PreparingScheme) and scheme.csit in ("none", "average_snr"):
        average = None if scheme.csit == "none" else Csit(told.transmitter.of(snr_db, seeds, "transmitter"))
        scheme.prepare(image, budget, average)


def _check_finite(channel: ChannelOperator, received: Received) -> None:
    """A digital receiver would take values that are none for a frame that failed."""
    csi = received.csi
    for name, values in (
        ("y", received.y),
        ("csi.h", csi.h),
        ("csi.no", csi.no),
        ("csi.err_var", csi.err_var),
    ):
        if not bool(torch.isfinite(values).all()):
            inner = getattr(channel, "inner", channel)
            raise ValueError(
                complaint(f"{type(inner).__name__}: {name}", "not finite", "NaN or infinity", "numbers")
            )


def _check_shown(scheme: Scheme | Bound, shown: object, image: Tensor) -> None:
    """A picture of the size that was sent and a state, one of each per image."""
    if not isinstance(shown, Reconstruction):
        got, expected = type(shown).__name__, "a linksim.schemes.base.Reconstruction"
        raise ValueError(complaint(f"{scheme.name}: receive", "no reconstruction", got, expected))
    if shown.image.shape != image.shape:
        got_shape, expected_shape = list(shown.image.shape), list(image.shape)
        raise ValueError(complaint(f"{scheme.name}: image", "wrong shape", got_shape, expected_shape))
    if len(shown.states) != len(image):
        expected = f"{len(image)}, one per image"
        raise ValueError(complaint(f"{scheme.name}: states", "wrong number", len(shown.states), expected))


def _csit(
    scheme: Scheme, channel: ChannelOperator, draw: Draw, snr_db: Tensor, seeds: Sequence[int], told: ToldEnd
) -> Csit | None:
    """What the transmitter of a scheme is told of the channel."""
    if scheme.csit == "none":
        return None
    known_db = snr_db
    if scheme.csit == "instantaneous_snr":
        known_db = channel.instantaneous_snr_db(draw, snr_db)
    known_db = told.of(known_db, seeds, "transmitter")
    if scheme.csit != "perfect":
        return Csit(known_db)
    return Csit(known_db, channel.gain(draw, snr_db_to_no(snr_db.to(channel.dtype))[:, None]))


def _merged(sender: tuple[Info, ...], receiver: tuple[Info, ...], batch: int) -> tuple[Info, ...]:
    """Facts of both ends, per image."""
    empty: tuple[Info, ...] = ({},) * batch
    return tuple({**a, **b} for a, b in zip(sender or empty, receiver or empty, strict=True))


def _retransmit(
    scheme: RetransmittingScheme,
    channel: ChannelOperator,
    frame: Frame,
    first: Received,
    reconstruction: Reconstruction,
    snr_db: Tensor,
    heard_db: Tensor | None,
    seeds: Sequence[int],
    transmissions: list[int],
) -> Reconstruction:
    """Send again what failed, over the same channel later (see ``ChannelOperator.draw_again``), until it is
    decoded or nothing is left to send.
    """
    assert reconstruction.block_ok is not None
    pending = [i for i, ok in enumerate(reconstruction.block_ok.tolist()) if not ok]
    history = [first.select(pending)]
    for attempt, symbols in enumerate(frame.retransmissions, start=2):
        if not pending:
            break
        if symbols.shape != frame.symbols.shape:  # each takes the uses that the bandwidth grants
            got, expected = list(symbols.shape), list(frame.symbols.shape)
            raise ValueError(complaint(f"{scheme.name}: retransmission", "wrong shape", got, expected))
        own = [seeds[i] for i in pending]
        draw = channel.draw_again(symbols.shape[1], own, attempt, scheme.round_trip_s)
        heard = None if heard_db is None else heard_db[pending]
        history.append(channel(symbols[pending], snr_db[pending], own, draw, heard))
        own_seeds = [derived_seed(seed, "receiver") for seed in own]
        again = scheme.combine(history, frame.layout, own_seeds)
        reconstruction = reconstruction.replaced(pending, again)
        assert again.block_ok is not None
        failed = [i for i, ok in enumerate(again.block_ok.tolist()) if not ok]
        for i in pending:
            transmissions[i] = attempt
        history = [one.select(failed) for one in history]
        pending = [pending[i] for i in failed]
    return reconstruction


def _reach(
    bound: Bound, channel: ChannelOperator, image: Tensor, snr_db: Tensor, seeds: Sequence[int], budget: int
) -> LinkOutput:
    no = snr_db_to_no(snr_db.to(channel.device, channel.dtype))[:, None]
    draw = channel.draw(budget, seeds)
    csi = channel.limits(draw, no)
    own_seeds = [derived_seed(seed, "receiver") for seed in seeds]
    reconstruction = bound.reach(image, budget, snr_db, csi, own_seeds)
    ones = (1,) * len(seeds)
    return LinkOutput(reconstruction, channel.uses(budget), 0, None, reconstruction.info, ones)
