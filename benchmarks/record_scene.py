"""Trace a scene of Sionna RT along a route and write the recording that ``kind: recorded`` channels read.

Needs LLVM 17 or newer, or a CUDA device (see docs/recorded-channels.md); reading the file needs neither. The
shipped recording, a walk from a main street into a side street, was made by

    python benchmarks/record_scene.py simple_street_canyon --transmitter=-40,5,10
        --route=-20,0,1.5 --route=26,0,1.5 --route=26,45,1.5 --points 60 --max-depth 3 --diffraction
        --out scenarios/data/street-canyon.npz
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np

from channels.models.recording import save_recorded
from channels.raytraced.model import trace
from channels.raytraced.scene import Pattern, PlanarArray, Polarization, Position, RayTracing, Route, scenes


def position(text: str) -> Position:
    """Three numbers with commas between them."""
    x, y, z = map(float, text.split(","))
    return x, y, z


def size(text: str) -> tuple[int, int]:
    """Rows and columns, as in 2x4."""
    rows, columns = map(int, text.split("x"))
    return rows, columns


def arguments(argv: list[str]) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scene", choices=("empty", *scenes()), metavar="SCENE", help=", ".join(scenes()))
    parser.add_argument("--transmitter", type=position, required=True, metavar="X,Y,Z", help="metres")
    parser.add_argument("--route", type=position, action="append", required=True, metavar="X,Y,Z",
                        help="waypoint of the receiver in metres; give two or more")  # fmt: skip
    parser.add_argument("--points", type=int, default=60, help="positions along the route")
    parser.add_argument("--carrier-hz", type=float, default=3.5e9)
    parser.add_argument("--max-depth", type=int, default=3, help="interactions per path at most")
    parser.add_argument("--diffraction", action="store_true")
    parser.add_argument("--scattering", type=float, default=0.0, help="scattering coefficient, 0 to 1")
    parser.add_argument("--tx-array", type=size, default=(1, 1), metavar="ROWSxCOLUMNS")
    parser.add_argument("--rx-array", type=size, default=(1, 1), metavar="ROWSxCOLUMNS")
    parser.add_argument("--polarization", choices=get_args(Polarization), default="V")
    parser.add_argument("--tx-pattern", choices=get_args(Pattern), default="iso")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="file that ends in .npz, .h5 or .hdf5")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """Trace, write, and print one line of JSON."""
    given = arguments(argv)
    tracing = RayTracing(
        scene=given.scene,
        transmitter=given.transmitter,
        receivers=Route(tuple(given.route), num_points=given.points),
        tx_array=PlanarArray(*given.tx_array, pattern=given.tx_pattern, polarization=given.polarization),
        rx_array=PlanarArray(*given.rx_array, polarization=given.polarization),
        carrier_hz=given.carrier_hz,
        max_depth=given.max_depth,
        diffraction=given.diffraction,
        scattering_coefficient=given.scattering,
        seed=given.seed,
    )
    start = time.perf_counter()
    recording = trace(tracing)
    seconds = time.perf_counter() - start
    made_by = f"python benchmarks/record_scene.py {shlex.join(argv)} (sionna-rt {version('sionna-rt')})"
    save_recorded(given.out, replace(recording, description=made_by))
    gain_db = 10 * np.log10((np.abs(recording.gains) ** 2).sum(-1).mean((1, 2)))
    summary = {
        "file": str(given.out),
        "bytes": given.out.stat().st_size,
        "seconds": round(seconds, 2),
        "snapshots": len(recording.gains),
        "antennas": recording.gains.shape[1:3],
        "paths": int((recording.gains != 0).any((1, 2)).sum(-1).max()),
        "path_gain_db": [round(float(f(gain_db)), 1) for f in (np.min, np.median, np.max)],
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main(sys.argv[1:])
