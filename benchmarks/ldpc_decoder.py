"""Our layered LDPC decoder against Sionna's on the same LLRs, in one process.

Prints one JSON line per point: ``k``, ``n``, ``ebno_db``, ``blocks``, ``errors``, ``bler``,
``sionna_errors``, ``sionna_bler``,
``mbit_per_s``, ``sionna_mbit_per_s`` (information bits, all threads) and ``speedup``. QPSK on AWGN; ours with
its default of 50 layered iterations at most, Sionna with 20 flooding iterations of boxplus-phi. Blocks are
added until Sionna's decoder has made ``--errors`` block errors or ``--blocks`` were sent.

With ``--loss`` one line per code: ``loss_db``, the SNR that ours needs beyond Sionna's belief propagation
of 100 iterations at a block error rate of 0.01, interpolated between the points given (negative: less).

    python benchmarks/ldpc_decoder.py [--errors 100] [--blocks 12000] [--code 4224:8448 ...] [--loss]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from channels.runtime.sionna_seeding import sionna_device
from linksim.coding.ldpc import LdpcCode, select_lifting

from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

# k, n, and the SNRs [dB]: waterfall and, last, one dB above it.
POINTS = {
    (500, 1000): (1.0, 1.25, 1.5, 1.75, 2.75),
    (1000, 2000): (1.0, 1.25, 1.5, 2.5),
    (4224, 8448): (0.9, 1.0, 1.15, 1.25, 2.25),
}
LOSS_POINTS = {
    (500, 1000): (1.25, 1.5, 1.75),
    (1000, 2000): (1.0, 1.25, 1.5),
    (4224, 8448): (0.8, 0.85, 0.9, 0.95),
}
TARGET = 0.01


@dataclass
class Counts:
    """What one decoder did."""

    errors: int = 0
    seconds: float = 0.0


class Duel:
    """Both decoders of a code on the same noisy words."""

    def __init__(self, k: int, n: int, iterations: int) -> None:
        device = sionna_device(torch.device("cpu"))
        encoder = LDPC5GEncoder(k, n, device=device)
        self.k, self.n = k, n
        self.theirs = LDPC5GDecoder(
            encoder, cn_update="boxplus-phi", num_iter=iterations, hard_out=True, device=device
        )
        graph = 1 if encoder._bg == "bg1" else 2
        self.ours = LdpcCode(graph, select_lifting(graph, k, k), k)
        self.ours.decode(self.ours.prior(np.full((2, n), 5.0, np.float32)))  # compiled before it is timed

    def words(self, ebno_db: float, chunk: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Endless bits [chunk, k] and LLRs [chunk, n]."""
        rng = np.random.default_rng([self.k, self.n, round(100 * ebno_db)])
        no = 10 ** (-ebno_db / 10) / (2 * self.k / self.n)  # QPSK: Es = 2·rate·Eb
        while True:
            bits = rng.integers(0, 2, (chunk, self.k), dtype=np.uint8)
            coded = self.ours.encode(bits)[:, self.ours.selection(self.n)]
            received = (1 - 2.0 * coded) / 2**0.5 + rng.normal(0, (no / 2) ** 0.5, coded.shape)
            yield bits, (2 * 2**0.5 * received / no).astype(np.float32)

    def run(self, ebno_db: float, errors: int, blocks: int) -> tuple[int, Counts, Counts]:
        """Blocks sent, what ours did, what Sionna's did."""
        ours, theirs, sent = Counts(), Counts(), 0
        chunk = max(50, 200_000 // self.k)
        for bits, llr in self.words(ebno_db, chunk):
            start = time.perf_counter()
            found, _, _ = self.ours.decode(self.ours.prior(llr), 50)
            middle = time.perf_counter()
            with torch.no_grad():
                other = self.theirs(torch.from_numpy(-llr)).numpy()  # Sionna: log(P(1)/P(0))
            ours.seconds += middle - start
            theirs.seconds += time.perf_counter() - middle
            ours.errors += int((found != bits).any(axis=1).sum())
            theirs.errors += int((other != bits).any(axis=1).sum())
            sent += chunk
            if sent >= blocks or theirs.errors >= errors:
                break
        return sent, ours, theirs


def measure(duel: Duel, ebno_db: float, errors: int, blocks: int) -> dict[str, float | int]:
    """One point."""
    sent, ours, theirs = duel.run(ebno_db, errors, blocks)
    rates = [sent * duel.k / c.seconds / 1e6 for c in (ours, theirs)]
    return {
        "k": duel.k,
        "n": duel.n,
        "ebno_db": ebno_db,
        "blocks": sent,
        "errors": ours.errors,
        "bler": round(ours.errors / sent, 6),
        "sionna_errors": theirs.errors,
        "sionna_bler": round(theirs.errors / sent, 6),
        "mbit_per_s": round(rates[0], 2),
        "sionna_mbit_per_s": round(rates[1], 4),
        "speedup": round(rates[0] / rates[1], 1),
    }


def crossing(ebno_db: tuple[float, ...], bler: list[float]) -> float:
    """SNR [dB] at which the logarithm of the block error rate, interpolated, meets the target.

    Raises:
        ValueError: the points do not lie on both sides of the target.
    """
    if not min(bler) <= TARGET <= max(bler):
        raise ValueError(f"block error rates {bler} at {ebno_db} dB, expected {TARGET} between them")
    falling = np.log(np.maximum(bler, 1e-9))[::-1]
    return float(np.interp(np.log(TARGET), falling, np.array(ebno_db)[::-1]))


def loss(k: int, n: int, blocks: int) -> dict[str, float | int]:
    """Loss against 100 iterations of belief propagation."""
    duel, ours, theirs = Duel(k, n, 100), [], []
    for ebno_db in LOSS_POINTS[k, n]:
        sent, mine, reference = duel.run(ebno_db, 200, blocks)
        ours.append(mine.errors / sent)
        theirs.append(reference.errors / sent)
    own, other = (crossing(LOSS_POINTS[k, n], b) for b in (ours, theirs))
    points = dict(zip(map(str, LOSS_POINTS[k, n]), zip(ours, theirs, strict=True), strict=True))
    return {
        "k": k,
        "n": n,
        "loss_db": round(own - other, 3),
        "ebno_db": round(own, 3),
        "bp100_ebno_db": round(other, 3),
        "bler and bp100_bler": points,
    }  # type: ignore[dict-item]


def main() -> int:
    """Measure every point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--errors", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=12_000, help="per point, at most")
    parser.add_argument("--code", nargs="+", metavar="K:N", help="codes to measure; default all")
    parser.add_argument("--loss", action="store_true", help="loss against 100 iterations instead")
    args = parser.parse_args()
    for (k, n), points in POINTS.items():
        if args.code and f"{k}:{n}" not in args.code:
            continue
        if args.loss:
            print(json.dumps(loss(k, n, args.blocks)), flush=True)
            continue
        duel = Duel(k, n, 20)
        for ebno_db in points:
            blocks = args.blocks if ebno_db != points[-1] else min(args.blocks, 1000)
            print(json.dumps(measure(duel, ebno_db, args.errors, blocks)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
