"""Cost of our channel operators against the bare Sionna calls they wrap, in one process.

Prints one JSON line per channel: ``channel``, ``ratio`` (ours / Sionna, median over paired repetitions),
and both times per image. Ours also checks its input, seeds every image on its own and accounts for the uses.

    python benchmarks/operator_overhead.py [--images 16] [--symbols 12288] [--repetitions 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from channels.flat.awgn import AwgnChannel
from channels.models.tdl import TdlModel
from channels.ofdm.link import OfdmChannel

from sionna.phy.channel import AWGN, OFDMChannel
from sionna.phy.channel.tr38901 import TDL
from sionna.phy.mimo import StreamManagement
from sionna.phy.ofdm import LSChannelEstimator, ResourceGrid, ResourceGridDemapper, ResourceGridMapper

SLOT = {"num_ofdm_symbols": 14, "pilot_ofdm_symbol_indices": [2, 11]}
GRID = {"fft_size": 64, "subcarrier_spacing": 15e3, "cyclic_prefix_length": 5, "pilot_pattern": "kronecker"}


def bare_awgn(images: int) -> Callable[[torch.Tensor], object]:
    """Sionna's AWGN block with one noise variance per image."""
    block = AWGN(precision="single", device="cpu")
    no = torch.full((images, 1), 0.1)
    return lambda x: block(x, no)


def bare_ofdm(images: int, symbols: int) -> Callable[[torch.Tensor], object]:
    """Sionna's mapper, OFDM channel over TDL-C, LS estimator and demapper on the same grid of consecutive
    slots.

    One image is one long grid of all its slots, so that fading runs on from slot to slot as in our operator.
    """
    slots = -(-symbols // 768)
    pilots = [14 * s + p for s in range(slots) for p in SLOT["pilot_ofdm_symbol_indices"]]
    grid = ResourceGrid(14 * slots, pilot_ofdm_symbol_indices=pilots, device="cpu", **GRID)
    tdl = TDL("C", 300e-9, 3.5e9, min_speed=1.0, device="cpu")
    mapper, channel = ResourceGridMapper(grid, device="cpu"), OFDMChannel(tdl, grid, device="cpu")
    estimator = LSChannelEstimator(grid, interpolation_type="lin", device="cpu")
    streams = StreamManagement([[1]], 1)
    demapper = ResourceGridDemapper(grid, streams, device="cpu")
    no = torch.full((images,), 0.1)

    def call(x: torch.Tensor) -> object:
        filled = torch.nn.functional.pad(x, (0, grid.num_data_symbols - x.shape[1]))
        y = channel(mapper(filled[:, None, None]), no)
        h_hat, err_var = estimator(y, no)
        return demapper(y), demapper(h_hat[:, :, 0, 0]), demapper(err_var[:, :, 0, 0])

    return call


def compare(
    ours: Callable[[], object], bare: Callable[[], object], repetitions: int
) -> tuple[float, float, float]:
    """Median ratio of paired runs, and the median seconds of both."""
    ours(), bare()
    pairs = []
    for _ in range(repetitions):
        began = time.perf_counter()
        ours()
        middle = time.perf_counter()
        bare()
        pairs.append((middle - began, time.perf_counter() - middle))
    ratio = statistics.median(a / b for a, b in pairs)
    return ratio, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--symbols", type=int, default=12288)
    parser.add_argument("--repetitions", type=int, default=15)
    args = parser.parse_args()
    gen = torch.Generator().manual_seed(1)
    x = torch.randn(args.images, args.symbols, generator=gen, dtype=torch.complex64)
    snr_db, seeds = torch.full((args.images,), 10.0), list(range(args.images))
    model = TdlModel("C", delay_spread_s=300e-9, carrier_hz=3.5e9, speed_mps=1.0)
    cases = {
        "awgn": (AwgnChannel(), bare_awgn(args.images)),
        "ofdm-tdlc-ls": (OfdmChannel(model, csi="ls"), bare_ofdm(args.images, args.symbols)),
    }
    for name, (operator, bare) in cases.items():
        with torch.no_grad():
            ratio, ours_s, bare_s = compare(
                lambda op=operator: op(x, snr_db, seeds), lambda call=bare: call(x), args.repetitions
            )
        line = {
            "channel": name,
            "ratio": round(ratio, 3),
            "ms_per_image": round(1e3 * ours_s / args.images, 3),
            "sionna_ms_per_image": round(1e3 * bare_s / args.images, 3),
            "images": args.images,
            "symbols": args.symbols,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
