"""Runs hostile inputs in process, under limits of time and memory, each a function of its number.

    python -m tests.fuzz scenarios --count 100            # inputs 0 to 99
    python -m tests.fuzz pictures --first 1234 --count 1  # one input again

An input that is neither taken nor refused in the project's own words is a failure; it is printed with its
number as a line of JSON, and its files are kept below --out. A process that dies or hangs is replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import io
import json
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["COUNTS", "Finding", "command", "fuzz", "main", "need"]

COUNTS = {
    "scenarios": 3000, "run_folders": 3000, "streams": 2000, "pictures": 2000, "checkpoints": 2000, "recordings": 1000,
}  # fmt: skip
SECONDS = 30  # of the processor, so that a busy machine makes no failures
_HANGS_S = 600  # on the clock
GIGABYTES = 4
# What an input may ask of the machine at most, so that the machine survives what should not have happened.
_HARD_BYTES = 10 << 30
ROOT = Path(__file__).resolve().parents[2]

Attempt = Callable[[random.Random, Path], str]


class Finding(Exception):
    """An answer that is no answer: a strange exit code, a message that is none."""


def need(*arguments: str) -> None:
    """Run a command of linksim that must not be refused, to make a corpus.

    Raises:
        Finding: it was, with its message.
    """
    refused: list[str] = []
    if command(*arguments, said_to=refused) != "taken":
        raise Finding(f"{arguments}: {refused}")


def command(*arguments: str, said_to: list[str] | None = None) -> str:
    """Run a command of linksim in process; "taken" or "refused".

    Args:
        arguments: of the command line.
        said_to: gets the messages.

    Raises:
        Finding: another exit code, or a message that users should not see.
        Exception: what the command let through.
    """
    from linksim.cli.commands import main as linksim

    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = linksim(list(arguments))
    said = err.getvalue()
    if said_to is not None:
        said_to.append(said)
    if code not in (0, 2):
        raise Finding(f"exit code {code}: {said[:2000]}")
    if "Traceback" in said or "Logging error" in said:
        raise Finding(said[:4000])
    if code == 2 and not said.strip():
        raise Finding("refused without a word")
    if len(said) > 200_000 or len(out.getvalue()) > 5_000_000:
        raise Finding(f"{len(said)} characters of messages, {len(out.getvalue())} of output")
    return "taken" if code == 0 else "refused"


def _peak_gigabytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _work(kind: str, first: int, count: int, out: Path, progress: Path) -> None:
    """The inputs of a worker process; every outcome is a line of ``progress``."""
    resource.setrlimit(resource.RLIMIT_DATA, (_HARD_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work = Path(tempfile.mkdtemp(prefix=f"fuzz-{kind}-", dir=out))
    try:
        attempt: Attempt = importlib.import_module(f"tests.fuzz.{kind}").prepare(work)
        with progress.open("a", encoding="utf-8", buffering=1) as file:
            for number in range(first, first + count):
                file.write(json.dumps({"kind": kind, "input": number, "began": True}) + "\n")
                result = tried(attempt, kind, number, work / "input", out)
                file.write(json.dumps({"kind": kind, "input": number, **result}) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def tried(attempt: Attempt, kind: str, number: int, folder: Path, out: Path) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before, began = _peak_gigabytes(), time.process_time()
    faulthandler.dump_traceback_later(_HANGS_S, exit=True)
    problem = ""
    try:
        outcome = attempt(random.Random(f"{kind} {number}"), folder)
    except Exception:
        outcome, problem = "failed", traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds, peak = time.process_time() - began, _peak_gigabytes()
    if not problem and seconds > SECONDS:
        outcome, problem = "failed", f"took {seconds:.0f} s"
    if not problem and peak > GIGABYTES >= before:
        outcome, problem = "failed", f"took {peak:.1f} GB"
    if problem:
        _keep(folder, out / "failures" / f"{kind}-{number}")
    return {"outcome": outcome, "problem": problem, "seconds": round(seconds, 3), "gigabytes": round(peak, 2)}


def _keep(folder: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError, shutil.Error):
        shutil.copytree(folder, place, symlinks=True)


def fuzz(kind: str, first: int, count: int, out: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Try inputs ``first`` to ``first + count - 1`` of a kind.

    Args:
        kind: one of :data:`COUNTS`.
        first, count: numbers of the inputs.
        out: folder for the files of inputs that failed.
        say: told every failure, as a line of JSON.

    Returns:
        Counts of outcomes, the slowest input, the peak of memory, and the failures.
    """
    (out / "failures").mkdir(parents=True, exist_ok=True)
    progress = out / f"{kind}-{first}.jsonl"
    progress.write_text("")
    outcomes: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    slowest, peak, at = {"seconds": 0.0}, 0.0, first
    while at < first + count:
        died = _worker(kind, at, first + count - at, out, progress)
        lines = [json.loads(line) for line in progress.read_text(encoding="utf-8").splitlines()]
        done = [line for line in lines if "outcome" in line and line["input"] >= at]
        begun = [line["input"] for line in lines if line["input"] >= at]
        if died and not begun:
            raise RuntimeError(f"{kind}: the corpus cannot be made:\n{died}")
        if died:
            done.append(
                {
                    "kind": kind,
                    "input": begun[-1],
                    "outcome": "died",
                    "problem": died,
                    "seconds": 0.0,
                    "gigabytes": 0.0,
                }
            )
        for line in done:
            outcomes[line["outcome"]] += 1
            slowest = max(slowest, line, key=lambda entry: entry["seconds"])
            peak = max(peak, line["gigabytes"])
            if line["problem"]:
                failures.append(line)
                say(json.dumps(line))
        at = begun[-1] + 1 if begun else first + count
    return {
        "kind": kind, "first": first, "count": count, "outcomes": dict(outcomes), "peak_gigabytes": peak,
        "slowest_s": slowest["seconds"], "slowest_input": slowest.get("input"), "failures": failures,
    }  # fmt: skip


def _worker(kind: str, first: int, count: int, out: Path, progress: Path) -> str:
    """Run a worker process; what it said if it died."""
    arguments = [
        kind,
        "--first",
        str(first),
        "--count",
        str(count),
        "--out",
        str(out),
        "--progress",
        str(progress),
    ]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LINKSIM_CACHE": str(out / "cache"),
        "TORCH_HOME": str(out / "torch"), "HF_HOME": str(out / "hub"), "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg",
    }  # fmt: skip
    environment.pop("LINKSIM_WEIGHTS", None)
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", *arguments],
            env=environment, cwd=out, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
        )  # fmt: skip
        log.seek(0)
        return "" if done.returncode == 0 else f"exit code {done.returncode}\n{log.read()[-6000:]}"


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m tests.fuzz``; exit code 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("kind", choices=COUNTS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument(
        "--out", type=Path, help="where files of failed inputs are kept; default a temporary folder"
    )
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    count = COUNTS[args.kind] if args.count is None else args.count
    if args.progress:
        _work(args.kind, args.first, count, args.out, args.progress)
        return 0
    out = (args.out or Path(tempfile.mkdtemp(prefix="linksim-fuzz-"))).absolute()
    summary = fuzz(args.kind, args.first, count, out, lambda line: print(line, flush=True))
    failures = summary.pop("failures")
    print(json.dumps({**summary, "failures": len(failures), "kept_in": str(out / "failures")}))
    return 1 if failures else 0
