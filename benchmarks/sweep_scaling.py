"""How much faster worker processes run a sweep, and what the driver costs: JSON lines.

    python benchmarks/sweep_scaling.py                       # 1 and 2 workers
    python benchmarks/sweep_scaling.py --workers 1 2 4 8 --trials 64
    python benchmarks/sweep_scaling.py --driver 1000 20000      # memory and time of the driver, by units

Three kinds of work: separation (BPG + LDPC), a JSCC network, a link over OFDM. Every run has its own folder
and its own cache, every process one thread. ``speedup`` is units per second over that of one worker after a
quarter of the units, ``whole`` that of whole runs with the start of the processes, ``driver_ms`` what writing
one unit takes. With ``--driver`` two workers run small units, as many as are given, each time under a
driver of its own: ``driver_mb`` is its peak memory, ``driver_ms`` its processor time per unit from the first
units to the end (results of workers, records), ``growth`` its memory over that of the first line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

COMMON = {
    "images": {"kind": "skimage", "names": ["astronaut", "coffee", "chelsea", "rocket"], "crop": 256},
    "bandwidth": {"data_ratio": "1/48"},
    "sweep": {"snr_db": [4, 10], "trials": 8},
    "metrics": ["psnr", "ms_ssim"],
    "batch_size": 4,
}
OFDM = {
    "kind": "ofdm",
    "model": {"kind": "tdl", "profile": "C", "delay_spread_s": 3e-7, "speed_mps": 3},
    "csi": {"kind": "ls"},
}
SCENARIOS = {
    "separation": {
        "channel": {"kind": "rayleigh", "coherence_symbols": 64},
        "schemes": [
            {"kind": "separation", "name": "s", "mcs": 6, "source": {"codec": "bpg", "chroma": "420"}}
        ],
    },
    "jscc": {
        "channel": {"kind": "awgn"},
        "bandwidth": {"data_ratio": "1/96"},
        "schemes": [{"kind": "jscc", "name": "j", "checkpoint": "lean-awgn-1-96"}],
    },
    "ofdm": {"channel": OFDM, "schemes": [{"kind": "linear_analog", "name": "l"}]},
}


def timed(write: Callable[..., None], spent: list[float]) -> Callable[..., None]:
    """A function that also notes how long it takes."""

    def wrapped(*arguments: object) -> None:
        began = time.perf_counter()
        write(*arguments)
        spent.append(time.perf_counter() - began)

    return wrapped


def run(name: str, workers: int, trials: int, folder: Path) -> dict[str, float]:
    """Units, seconds of the run, seconds from the first units on, milliseconds of writing."""
    import linksim
    from linksim.results.store import ResultStore

    states: list[tuple[float, int]] = []
    spent: list[float] = []
    data = {"name": name, **COMMON, **SCENARIOS[name]}
    data["sweep"] = {**data["sweep"], "trials": trials}
    began = time.perf_counter()
    with (
        mock.patch.dict(os.environ, LINKSIM_CACHE=str(folder / "cache")),
        mock.patch.object(ResultStore, "append", timed(ResultStore.append, spent)),
    ):
        linksim.simulate(
            data,
            out=folder / "run",
            workers=workers,
            progress=lambda done, *rest: states.append((time.perf_counter(), done)),
        )
    whole = time.perf_counter() - began
    warm = next((at, done) for at, done in states if done > states[-1][1] // 4)
    rate = (states[-1][1] - warm[1]) / (states[-1][0] - warm[0])
    units = states[-1][1]
    return {"units": units, "seconds": whole, "rate": rate, "driver_ms": 1e3 * sum(spent) / units}


def lines(names: list[str], workers: list[int], trials: int) -> Iterator[dict[str, object]]:
    """A line per scenario and number of workers."""
    for name in names:
        alone: dict[str, float] = {}
        for count in workers:
            with tempfile.TemporaryDirectory() as folder:
                found = run(name, count, trials, Path(folder))
            alone = alone or found
            yield {
                "scenario": name,
                "workers": count,
                "speedup": round(found["rate"] / alone["rate"], 2),
                "whole": round(alone["seconds"] / found["seconds"], 2),
                "units": found["units"],
                "units_per_s": round(found["rate"], 1),
                "seconds": round(found["seconds"], 1),
                "driver_ms": round(found["driver_ms"], 2),
            }


SMALL = {
    "name": "driver",
    "images": {"kind": "skimage", "names": ["astronaut", "coffee"], "crop": 64},
    "bandwidth": {"data_ratio": "1/12"},
    "channel": {"kind": "awgn"},
    "schemes": [{"kind": "uncoded", "name": "u", "bits_per_symbol": 2}],
    "metrics": ["psnr", "ber"],
    "batch_size": 20,
}
SNRS = 5


def drive(units: int, folder: Path) -> dict[str, float]:
    """Run so many small units by two workers; memory and time of this process."""
    import linksim

    states: list[tuple[float, int]] = []
    sweep = {"snr_db": list(range(0, 2 * SNRS, 2)), "trials": units // (2 * SNRS)}
    linksim.simulate(
        {**SMALL, "sweep": sweep},
        out=folder / "run",
        workers=2,
        progress=lambda done, *rest: states.append((time.process_time(), done)),
    )
    began, before = next(state for state in states if state[1])
    spent = (time.process_time() - began) / (states[-1][1] - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"units": states[-1][1], "driver_mb": round(peak, 1), "driver_ms": round(1e3 * spent, 2)}


def driver_lines(counts: list[int]) -> Iterator[dict[str, float]]:
    """A line per number of units, each from a process of its own: memory that was used once stays."""
    first = 0.0
    for count in counts:
        done = subprocess.run(
            [sys.executable, __file__, "--one-driver", str(count)],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        first = first or found["driver_mb"]
        yield {**found, "growth": round(found["driver_mb"] / first, 3)}


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=tuple(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--driver", type=int, nargs="+", metavar="UNITS")
    parser.add_argument("--one-driver", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one_driver:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(drive(args.one_driver, Path(folder))))
        return
    if args.driver:
        for line in driver_lines(args.driver):
            print(json.dumps(line), flush=True)
        return
    for line in lines(args.only, args.workers, args.trials):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
