"""What the channel uses of an image are spent on."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linksim.report.figures import COLOURS, axis_grid, own_style, plain
from linksim.results.records import Point, Record, side_info_uses

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CATEGORIES", "Entry", "ledger", "plot_ledger", "spent", "to_csv"]

_MANY_BARS = 40
CATEGORIES = (
    "payload",
    "header",
    "padding",
    "CRC",
    "pilots",
    "guard",
    "side information",
    "retransmissions",
)


def spent(record: Record) -> dict[str, float]:
    """Channel uses of one unit by category; they add up to everything that ``cbr_total`` counts.

    * payload: the coded picture, or analog symbols;
    * header: the length field of a digital payload, the scale of a linear analog code;
    * padding: zeros behind the stream;
    * CRC: of the transport block and its code blocks;
    * pilots, guard: of the first transmission, as its channel counts them;
    * side information: what an analog receiver must be told (the picture size);
    * retransmissions: all uses of every transmission but the first.
    """
    sent = record.transmissions
    data, pilot, guard = (uses / sent for uses in (record.data_uses, record.pilot_uses, record.guard_uses))
    result = dict.fromkeys(CATEGORIES, 0.0)
    info = record.info
    if "crc_bits" in info:
        bits = {
            "payload": 8 * float(info["bytes"]) if "bytes" in info else float(info["payload_bits"]),
            "header": float(info.get("header_bits", 0)),
            "padding": float(info.get("padding_bits", 0)),
            "CRC": float(info["crc_bits"]),
        }
        total = sum(bits.values())
        result |= {name: data * share / total for name, share in bits.items()}
    else:
        result["header"] = float(info.get("header_uses", 0))
        result["payload"] = data - result["header"]
    result["pilots"], result["guard"] = pilot, guard
    result["side information"] = float(side_info_uses(record.side_info_bits))
    result["retransmissions"] = (sent - 1) * (data + pilot + guard)
    return result


@dataclass(frozen=True)
class Entry:
    """Mean uses of the units of one point, over 3·H·W where there are pictures.

    Args:
        channel, scheme: names.
        point: swept values beside SNR.
        snr_db: SNR [dB].
        shares: by category; their sum is the mean ``cbr_total``.
        outage: share of the pictures that did not arrive, for whatever cause.
        has_picture: False of frames of random bits, whose shares are channel uses.
    """

    channel: str
    scheme: str
    point: Point
    snr_db: float
    shares: dict[str, float]
    outage: float = 0.0
    has_picture: bool = True


def ledger(records: Iterable[Record]) -> list[Entry]:
    """Mean shares of every channel, scheme and swept point, in the order of the records."""
    groups: dict[tuple[str, str, Point, float], list[Record]] = defaultdict(list)
    for record in {r.key: r for r in records}.values():
        key = record.key
        groups[key.channel, key.scheme, key.point, key.snr_db].append(record)
    entries = []
    for (channel, scheme, point, snr_db), members in groups.items():
        parts = [(spent(r), r.source_values or 1) for r in members]
        shares = {c: float(np.mean([uses[c] / values for uses, values in parts])) for c in CATEGORIES}
        outage = float(np.mean([r.state != "ok" for r in members]))
        has_picture = all(r.source_values for r in members)
        entries.append(Entry(channel, scheme, point, snr_db, shares, outage, has_picture))
    return entries


@own_style()
def plot_ledger(entries: Sequence[Entry], title: str = "") -> Figure:
    """Stacked bars: one per scheme and SNR, one field per channel; of many SNRs the lowest, the middle one
    and the highest are drawn.
    """
    levels = sorted({e.snr_db for e in entries})
    if len(entries) > _MANY_BARS * len({e.channel for e in entries}):
        shown = {levels[0], levels[len(levels) // 2], levels[-1]}
        entries = [e for e in entries if e.snr_db in shown]
    channels = list(dict.fromkeys(e.channel for e in entries))
    most = max(sum(e.channel == c for e in entries) for c in channels)
    figure, grid = axis_grid(len(channels), width=max(6.0, 1.5 + 0.26 * most), height=3.8, columns=1)
    over = " / (3·H·W)" if all(e.has_picture for e in entries) else ""
    used = [c for c in CATEGORIES if any(e.shares[c] > 0 for e in entries)]
    for axes, channel in zip(grid, channels, strict=True):
        _draw(axes, [e for e in entries if e.channel == channel], used)
        axes.set_title(plain(channel), fontsize=11)
        axes.set_ylabel(f"channel uses{over}, mean", fontsize=9)
    handles, labels = grid[0].get_legend_handles_labels()
    columns = min(len(labels), 4)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    if title:
        figure.suptitle(plain(title), fontsize=12)
    return figure


def to_csv(entries: Sequence[Entry]) -> str:
    """The numbers behind the bars: uses over 3·H·W, one column per category; and the share of pictures that
    did not arrive for them.
    """
    fields = list(dict.fromkeys(name for e in entries for name, _ in e.point))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [c.replace(" ", "_") for c in CATEGORIES]
    writer.writerow(["channel", "scheme", *fields, "snr_db", *names, "outage"])
    for e in entries:
        swept = dict(e.point)
        point = [e.channel, e.scheme, *(swept.get(f, "") for f in fields), f"{e.snr_db:g}"]
        writer.writerow([*point, *(f"{e.shares[c]:.6g}" for c in CATEGORIES), f"{e.outage:.6g}"])
    return out.getvalue()


def _draw(axes: Axes, entries: Sequence[Entry], categories: Sequence[str]) -> None:
    entries = sorted(entries, key=lambda e: e.snr_db)
    place, ticks, last = 0.0, [], None
    for entry in entries:
        place += 1.0 if last is None or entry.snr_db == last else 1.8
        ticks.append((place, entry))
        last = entry.snr_db
    bottom = np.zeros(len(entries))
    at = [x for x, _ in ticks]
    for i, category in enumerate(categories):
        heights = np.array([e.shares[category] for e in entries])
        axes.bar(at, heights, 0.85, bottom=bottom, color=COLOURS[i % len(COLOURS)], label=category)
        bottom += heights
    names = [
        plain(
            ", ".join(
                [e.scheme, *(f"{n.split('.')[-1]} {v}" for n, v in e.point), f"{e.snr_db:g} dB", *_lost(e)]
            )
        )
        for _, e in ticks
    ]
    axes.set_xticks(at, names, rotation=90, fontsize=7)
    axes.grid(visible=True, axis="y", alpha=0.3)


def _lost(entry: Entry) -> list[str]:
    """What did not arrive for its uses."""
    return [f"{100 * entry.outage:.3g}% lost"] if entry.outage else []
