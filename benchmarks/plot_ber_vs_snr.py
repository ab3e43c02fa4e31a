"""Bit error rate versus SNR: uncoded QAM on AWGN and Rayleigh fading against closed form, and 5G LDPC codes.

Writes a figure (PNG and SVG) and prints one JSON line per point: ``channel``, ``modulation``, ``code``,
``snr_db``, ``ber``, ``errors``, ``bits``, and for uncoded points ``theory`` and ``sigma`` (distance from it
in standard deviations). SNR is Es/N0 per channel use.

    python benchmarks/plot_ber_vs_snr.py [--out figures/ber_vs_snr] [--symbols 200000] [--blocks 64]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.units import db_to_linear
from linksim.coding.mcs import MCS_TABLE_1
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock
from linksim.report.figures import COLOURS, MARKERS, save_figure
from linksim.report.theory import awgn, qam_error_rate, rayleigh

NAMES = {2: "QPSK", 4: "16-QAM", 6: "64-QAM", 8: "256-QAM"}
CODED = (0, 4, 9, 13, 19, 27)


def theory(order: int, snr: float, channel: str) -> float:
    """Closed-form bit error rate at an SNR (linear)."""
    return qam_error_rate(order, snr, awgn if channel == "awgn" else rayleigh(1))


@dataclass(frozen=True)
class Point:
    """One measured point."""

    channel: str
    modulation: str
    code: str
    snr_db: float
    errors: int
    bits: int
    theory: float | None = None
    independent: int = 0  # independent samples behind the bits

    @property
    def ber(self) -> float:
        """Errors over bits."""
        return self.errors / self.bits

    def to_json(self) -> str:
        """One line."""
        data = {k: v for k, v in vars(self).items() if k not in ("theory", "independent")}
        data["ber"] = self.ber
        if self.theory is not None:
            deviation = math.sqrt(self.theory * (1 - self.theory) / self.independent)
            data |= {"theory": self.theory, "sigma": (self.ber - self.theory) / deviation}
        return json.dumps(data)


def uncoded(channel: ChannelOperator, name: str, order: int, snr_db: float, symbols: int) -> Point:
    """Errors of uncoded bits after zero forcing."""
    bits = np.random.default_rng(order).integers(0, 2, (1, symbols * order), dtype=np.uint8)
    qam = Qam(order)
    received = channel(qam.modulate(bits), torch.tensor([snr_db]), [1000 + order])
    errors = int((qam.decide(equalize(received, "zf")[0]) != bits).sum())
    independent = symbols * order if name == "awgn" else symbols
    return Point(
        name,
        NAMES[order],
        "none",
        snr_db,
        errors,
        bits.size,
        theory(order, db_to_linear(snr_db), name),
        independent,
    )


def coded(index: int, snr_db: float, blocks: int) -> Point:
    """Errors of payload bits behind the LDPC code of an MCS on AWGN."""
    mcs = MCS_TABLE_1[index]
    block, qam = TransportBlock(2000, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(index).integers(0, 2, (blocks, block.size), dtype=np.uint8)
    x = qam.modulate(block.encode(payload))
    received = AwgnChannel()(x, torch.full((blocks,), snr_db), [7000 + i for i in range(blocks)])
    decoded = block.decode(qam.demodulate(*equalize(received, "zf")))
    label = f"MCS {index}, rate {round(mcs.rate * 1024)}/1024"
    return Point(
        "awgn", NAMES[mcs.bits_per_symbol], label, snr_db, int((decoded.bits != payload).sum()), payload.size
    )


def measure(symbols: int, blocks: int) -> Iterator[Point]:
    """All points."""
    for name, channel in (("awgn", AwgnChannel()), ("rayleigh", FlatFadingChannel(coherence_symbols=1))):
        for order in NAMES:
            for snr_db in range(0, 31, 2):
                yield uncoded(channel, name, order, float(snr_db), symbols)
    for index in CODED:
        mcs = MCS_TABLE_1[index]
        capacity_db = 10 * math.log10(2**mcs.efficiency - 1)
        for step in range(10):
            point = coded(index, round(capacity_db + 0.3 + 0.3 * step, 2), blocks)
            yield point
            if point.errors == 0:
                break


def _draw(axes: Axes, points: list[Point], channel: str) -> None:
    snr = np.linspace(0, 30, 121)
    for i, (order, name) in enumerate(NAMES.items()):
        own = [
            p
            for p in points
            if p.modulation == name and p.channel == channel and p.code == "none" and p.errors
        ]
        exact = [theory(order, db_to_linear(float(s)), channel) for s in snr]
        axes.plot(snr, exact, color=COLOURS[i], linewidth=1, label=f"{name}, closed form")
        axes.plot(
            [p.snr_db for p in own],
            [p.ber for p in own],
            MARKERS[i],
            color=COLOURS[i],
            label=f"{name}, simulated",
        )
    axes.set_title(f"uncoded, {channel}")


def plot(points: list[Point]) -> Figure:
    """Three fields: AWGN, Rayleigh, coded."""
    figure = Figure(figsize=(16, 5.5), layout="constrained")
    fields = figure.subplots(1, 3, sharey=True)
    _draw(fields[0], points, "awgn")
    _draw(fields[1], points, "rayleigh")
    code = fields[2]
    labels = dict.fromkeys(p.code for p in points if p.code != "none")
    for i, label in enumerate(labels):
        own = [p for p in points if p.code == label and p.errors]
        name = f"{own[0].modulation}, {label}" if own else label
        code.plot(
            [p.snr_db for p in own], [p.ber for p in own], MARKERS[i] + "-", color=COLOURS[i], label=name
        )
    code.set_title("5G LDPC, 2000 uses, AWGN")
    for axes in fields:
        axes.set_yscale("log")
        axes.set_ylim(1e-6, 0.6)
        axes.set_xlabel("SNR = Es/N0 per use [dB]")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    fields[0].set_ylabel("bit error rate")
    return figure


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("figures/ber_vs_snr"), help="figure file without suffix"
    )
    parser.add_argument("--symbols", type=int, default=200_000, help="symbols per uncoded point")
    parser.add_argument("--blocks", type=int, default=64, help="transport blocks per coded point")
    args = parser.parse_args()
    points = []
    for point in measure(args.symbols, args.blocks):
        print(point.to_json(), flush=True)
        points.append(point)
    for suffix in (".png", ".svg"):
        save_figure(plot(points), args.out.with_name(args.out.name + suffix))


if __name__ == "__main__":
    main()
