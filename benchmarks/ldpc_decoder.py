"""Our layered LDPC decoder against Sionna's on the same LLRs, in one process.

Prints one JSON line per point: ``k``, ``n``, ``ebno_db``, ``blocks``, ``bler``, ``sionna_bler``,
``mbit_per_s``, ``sionna_mbit_per_s`` (information bits, all threads) and ``speedup``. QPSK on AWGN, 20
iterations each, Sionna with boxplus-phi. Blocks are added until Sionna's decoder has made ``--errors``
block errors or ``--blocks`` were sent.

    python benchmarks/ldpc_decoder.py [--errors 100] [--blocks 2000] [--seconds 60] [--code 4224:8448 ...]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from channels.seeding import sionna_device
from linksim.digital.ldpc import LdpcCode, select_lifting

from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

# k, n, and the SNRs [dB]: the waterfall (block error rate near 1e-2), and one dB above it.
POINTS = {
    (500, 1000): (1.0, 1.25, 1.5, 1.75, 2.75),
    (1000, 2000): (1.0, 1.25, 1.5, 2.5),
    (4224, 8448): (0.9, 1.0, 2.0),
}
CHUNK = 50


def our_code(k: int, graph: int) -> LdpcCode:
    """The code that Sionna uses for k and n: no transport block, no CRC."""
    return LdpcCode(graph, select_lifting(graph, k, k), k)


def measure(
    k: int, n: int, ebno_db: float, errors: int, blocks: int, seconds: float
) -> dict[str, float | int]:
    """Both decoders on the same words."""
    device = sionna_device(torch.device("cpu"))
    encoder = LDPC5GEncoder(k, n, device=device)
    theirs = LDPC5GDecoder(encoder, cn_update="boxplus-phi", num_iter=20, hard_out=True, device=device)
    ours = our_code(k, 1 if encoder._bg == "bg1" else 2)
    rng = np.random.default_rng([k, n, round(100 * ebno_db)])
    no = 10 ** (-ebno_db / 10) / (2 * k / n)  # QPSK: Es = 2·rate·Eb
    wrong = {"ours": 0, "sionna": 0}
    spent = {"ours": 0.0, "sionna": 0.0}
    sent, began = 0, time.monotonic()
    ours.decode(np.full((1, ours.length), 5.0, np.float32))  # compiled before anything is timed
    while sent < blocks and wrong["sionna"] < errors and time.monotonic() - began < seconds:
        bits = rng.integers(0, 2, (CHUNK, k), dtype=np.uint8)
        coded = ours.encode(bits)[:, ours.selection(n)]
        received = (1 - 2.0 * coded) / 2**0.5 + rng.normal(0, (no / 2) ** 0.5, coded.shape)
        llr = (2 * 2**0.5 * received / no).astype(np.float32)
        start = time.perf_counter()
        found, _, _ = ours.decode(ours.prior(llr), 20)
        middle = time.perf_counter()
        with torch.no_grad():
            other = theirs(torch.from_numpy(-llr)).numpy()  # Sionna: log(P(1)/P(0))
        spent["ours"] += middle - start
        spent["sionna"] += time.perf_counter() - middle
        wrong["ours"] += int((found != bits).any(axis=1).sum())
        wrong["sionna"] += int((other != bits).any(axis=1).sum())
        sent += CHUNK
    rate = {name: sent * k / spent[name] / 1e6 for name in spent}
    return {
        "k": k,
        "n": n,
        "ebno_db": ebno_db,
        "blocks": sent,
        "bler": wrong["ours"] / sent,
        "sionna_bler": wrong["sionna"] / sent,
        "mbit_per_s": round(rate["ours"], 3),
        "sionna_mbit_per_s": round(rate["sionna"], 4),
        "speedup": round(rate["ours"] / rate["sionna"], 1),
    }


def main() -> int:
    """Measure every point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--errors", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0, help="per point, at most")
    parser.add_argument("--code", nargs="+", metavar="K:N", help="codes to measure; default all")
    args = parser.parse_args()
    for (k, n), points in POINTS.items():
        if args.code and f"{k}:{n}" not in args.code:
            continue
        for ebno_db in points:
            print(json.dumps(measure(k, n, ebno_db, args.errors, args.blocks, args.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
