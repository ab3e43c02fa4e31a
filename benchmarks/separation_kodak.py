"""Time and memory of the separation baseline on Kodak: full MCS and quality selection, empty and warm cache.

Prints one JSON line per run: ``cache`` ("empty" or "warm"), ``seconds`` (whole command, start and figures
included), ``peak_mb`` (largest sum of the proportional memory of all its processes), ``units``, and mean PSNR
by SNR. CBR 1/24, SNR 1, 4, 7, 10, 13 dB, three noise realisations, BPG 4:2:0, metrics PSNR and BLER.

    python benchmarks/separation_kodak.py data/kodak [--ratio 1/24] [--workers N]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = """
name: separation-kodak
seed: 8
images: {{kind: folder, path: {folder}, multiple_of: 16}}
bandwidth: {{data_ratio: {ratio}}}
channel: {{kind: awgn}}
sweep: {{snr_db: [1, 4, 7, 10, 13], trials: 3}}
schemes: [{{kind: separation, name: BPG + LDPC}}]
metrics: [psnr, bler]
"""


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory_mb(root: int) -> float:
    """Proportional set size of a process and its descendants."""
    total = 0
    for pid in family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def run(scenario: Path, out: Path, cache: Path, workers: int | None) -> tuple[float, float]:
    """Seconds and peak memory of linksim simulate."""
    command = [sys.executable, "-m", "linksim", "simulate", str(scenario), "--out", str(out)]
    if workers:
        command += ["--workers", str(workers)]
    began = time.monotonic()
    process = subprocess.Popen(
        command, env={**os.environ, "LINKSIM_CACHE": str(cache)}, stdout=subprocess.DEVNULL
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory_mb(process.pid))
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.monotonic() - began, peak


def main() -> int:
    """An empty cache, then the same cache again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the 24 Kodak images")
    parser.add_argument("--ratio", default="1/24")
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        scenario = Path(place) / "scenario.yaml"
        scenario.write_text(SCENARIO.format(folder=args.folder.absolute(), ratio=args.ratio))
        for cache in ("empty", "warm"):
            out = Path(place) / cache
            seconds, peak = run(scenario, out, Path(place) / "streams", args.workers)
            with (out / "results.csv").open() as file:
                rows = [r for r in csv.DictReader(file) if r["metric"] == "psnr"]
            line = {
                "cache": cache,
                "seconds": round(seconds, 1),
                "peak_mb": round(peak),
                "units": sum(1 for _ in (out / "records.jsonl").open()),
                "cores": os.cpu_count(),
                "psnr": {r["snr_db"]: float(r["mean"]) for r in rows},
                "failures": {r["snr_db"]: int(r["num_failures"]) for r in rows},
            }
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
