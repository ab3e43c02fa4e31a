"""Pictures that do not arrive: what cannot fit, said before a run, and what did not arrive, said after it.

A block error rate knows of neither: a picture that nobody could code within the payload is sent as an empty
block, which is decoded without an error.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from linksim.results.records import Record
from linksim.schemes.base import StreamScheme

__all__ = ["cannot_fit", "not_arrived"]

_TRIED = 16


def cannot_fit(
    scheme: StreamScheme,
    images: Mapping[str, Tensor],
    budget: Callable[[str], int],
    told_db: Sequence[float],
) -> list[str]:
    """Where pictures of a scenario can never arrive, because not even their smallest stream fits the payload.

    Args:
        scheme: with its MCS, or its choice of one.
        images: [3, H, W] uint8 by name; of many, some are tried.
        budget: data uses of an image.
        told_db: SNRs that the transmitter is told in the run [dB]; none where each frame has its own.

    Returns:
        Lines of got and expected, without the name of the scheme.
    """
    names = list(images)[:: max(1, len(images) // _TRIED)][:_TRIED]
    room_at = {
        snr_db: {n: scheme.room(budget(n), images[n].shape[1] * images[n].shape[2], snr_db) for n in names}
        for snr_db in scheme.told_apart(told_db)
    }
    tightest = {name: min((room[name] for room in room_at.values()), default=0) for name in names}
    smallest = {name: scheme.smallest_stream(images[name], tightest[name]) for name in names}
    lost: dict[tuple[str, ...], list[float | None]] = defaultdict(list)
    rooms: list[int] = []
    for snr_db, room in room_at.items():
        unfit = tuple(name for name in names if smallest[name] > room[name])
        if unfit:
            lost[unfit].append(snr_db)
            rooms += [room[name] for name in unfit]
    lines = []
    for unfit, points in lost.items():
        at = "" if points[0] is None else f" at {', '.join(f'{v:g}' for v in points)} dB"
        count = f"{len(unfit)} of {len(names)}" if len(unfit) < len(names) else f"none of {len(names)} fits:"
        what = "images do not fit:" if len(unfit) < len(names) else ""
        least = min(smallest[name] for name in unfit)
        got = f"got {max(rooms)} bytes for a stream, expected at least {least}"
        lines.append(" ".join(filter(None, [count, what, f"{got}{at}."])))
    return lines


def not_arrived(records: Iterable[Record]) -> list[str]:
    """A line for every channel and scheme of which pictures were lost in a way that no block error rate
    shows, or of which none arrived.
    """
    states: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for record in records:
        states[record.key.channel, record.key.scheme][record.state] += 1
    lines = []
    for (channel, scheme), counts in states.items():
        total, arrived = counts.total(), counts.pop("ok", 0)
        unseen = counts.keys() - {"crc_failed", "outage"}
        if not unseen and arrived:
            continue
        causes = ", ".join(f"{count} {cause}" for cause, count in counts.most_common())
        hidden = "; the block error rate counts crc_failed only" if unseen else ""
        lines.append(f"{scheme} on {channel}: {total - arrived} of {total} did not arrive ({causes}){hidden}")
    return lines
