"""What importing linksim and its channels costs, against PyTorch alone: processor time of whole processes.

Every entry is the median over new processes that do nothing else; entries take turns, so that a busy machine
hits all alike. Prints JSON: seconds of the processor (user and system), and for what needs PyTorch the ratio
to ``import torch`` of the same run.

    python benchmarks/import_times.py             # 7 processes each
    python benchmarks/import_times.py --runs 3 --assert-limits    # exit code 1 beyond the limits
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_CLI = "import sys; sys.argv = ['linksim', *{}]; from linksim.cli.commands import entry_point; entry_point()"
# what runs, and its limits: seconds, or a ratio to PyTorch
WITHOUT_TORCH = {
    "import linksim": ("import linksim", 0.3),
    "import channels": ("import channels", 0.3),
    "linksim --help": (_CLI.format(["--help"]), 0.3),
    "linksim list channels": (_CLI.format(["list", "channels"]), 1.0),
    "linksim list scenarios": (_CLI.format(["list", "scenarios"]), 1.0),
    "import linksim.report.figures": ("import linksim.report.figures", 1.0),
}
WITH_TORCH = {
    "import channels.flat.awgn": ("import channels.flat.awgn", 1.2),
    "import channels.flat.fading": ("import channels.flat.fading", 1.2),
    "import channels.ofdm.link": ("import channels.ofdm.link", 1.2),
}
TORCH = "import torch"
# what a Python that imports nothing takes is part of each entry


def processor_s(code: str) -> float:
    """User and system time [s] of a new process that runs ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7, help="processes of each")
    parser.add_argument("--assert-limits", action="store_true", help="exit code 1 if a limit is exceeded")
    args = parser.parse_args()
    entries = {TORCH: (TORCH, 0.0), **WITHOUT_TORCH, **WITH_TORCH}
    seconds: dict[str, list[float]] = {name: [] for name in entries}
    for run in range(args.runs + 1):
        for name, (code, _) in entries.items():
            took = processor_s(code)
            if run:  # the first one reads the files from disk
                seconds[name].append(took)
    torch_s = statistics.median(seconds[TORCH])
    exceeded = False
    for name, (_, limit) in entries.items():
        median = statistics.median(seconds[name])
        line = {"what": name, "processor_s": round(median, 3), "runs": args.runs}
        if name in WITH_TORCH:
            line |= {"over_torch": round(median / torch_s, 3), "limit": limit}
            exceeded |= median / torch_s > limit
        elif name != TORCH:
            line |= {"limit_s": limit}
            exceeded |= median > limit
        print(json.dumps(line), flush=True)
    return int(exceeded and args.assert_limits)


if __name__ == "__main__":
    raise SystemExit(main())
