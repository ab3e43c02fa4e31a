"""run_link: the one function that joins a scheme and a channel, for evaluation and training alike.

May import: torch, linksim.schemes.base, channels.{base, seeding, types, units}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import derived_seed
from channels.types import ChannelUses, Csit, Draw, Received
from channels.units import snr_db_to_no
from linksim.schemes.base import Bound, Frame, Info, Reconstruction, RetransmittingScheme, Scheme

__all__ = ["LinkOutput", "RunError", "run_link"]


_REPORTED_SNR_DB = (-60.0, 100.0)  # what a report of the average SNR can say, as what a scenario can ask for


class RunError(RuntimeError):
    """A run or a training that failed on the way; it can be resumed after the cause is removed."""


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
) -> LinkOutput:
    """Send images through a scheme and a channel.

    The receiver half is called with the received symbols, the layout and its seeds: it cannot reach the
    image, the sent bits or the true channel. A :class:`Bound` is no receiver; it is told the true channel.

    Args:
        scheme: scheme or bound.
        channel: operator.
        image: [B, 3, H, W] float in [0, 1].
        snr_db: [B] float, average Es/N0 per data use [dB].
        seeds: one whole number per image for the channel; receivers that sample derive theirs from it.
        budget: data uses n per image.

    Raises:
        ValueError: the scheme made another number of symbols than ``budget``.
    """
    if isinstance(scheme, Bound):
        return _reach(scheme, channel, image, snr_db, seeds, budget)
    draw = channel.draw(budget, seeds)
    csit: Csit | None = None
    if scheme.csit == "perfect":
        csit = Csit(snr_db, channel.gain(draw, snr_db_to_no(snr_db.to(channel.dtype))[:, None]))
    elif scheme.csit == "average_snr":
        csit = Csit(channel.average_snr_db(draw, snr_db).clamp(*_REPORTED_SNR_DB))
    frame = scheme.transmit(image, budget, csit)
    expected = (image.shape[0], budget)
    if tuple(frame.symbols.shape) != expected:
        raise ValueError(
            complaint(f"{scheme.name}: symbols", "wrong shape", tuple(frame.symbols.shape), expected)
        )
    received = channel(frame.symbols, snr_db, seeds, draw)
    own_seeds = [derived_seed(seed, "receiver") for seed in seeds]  # the channel's would give its noise away
    reconstruction = scheme.receive(received, frame.layout, own_seeds)
    transmissions = [1] * len(seeds)
    if frame.retransmissions:
        assert isinstance(scheme, RetransmittingScheme)
        reconstruction = _retransmit(
            scheme, channel, frame, received, reconstruction, snr_db, seeds, transmissions
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
        own = [seeds[i] for i in pending]
        draw = channel.draw_again(symbols.shape[1], own, attempt, scheme.round_trip_s)
        history.append(channel(symbols[pending], snr_db[pending], own, draw))
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
