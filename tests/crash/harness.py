"""Kills commands at random moments and compares what they leave, once the same command has finished, with
what a run leaves that nobody disturbed.

    python -m tests.crash simulate --kills 100 --seed 0

A process that has imported everything forks a child for every start, so that a cycle takes the time of the
command alone. Children are killed (SIGKILL) after a random part of the time that an undisturbed one takes;
the same command is started again in the same folder until it ends by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tests.crash.cases import CASES
from tests.crash.child import Damage, import_all, in_child

__all__ = ["KILLS", "main", "run_case"]

KILLS = {"simulate": 100, "report": 20, "calibrate": 20, "train": 20, "convert": 20, "cache": 20}


def _differences(got: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    names = sorted(got.keys() | expected.keys())
    return [name for name in names if got.get(name) != expected.get(name)]


def run_case(
    name: str, kills: int, seed: int, work: Path, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Kill a command ``kills`` times.

    Returns:
        How often it was killed, how often it finished, and the time of an undisturbed one.

    Raises:
        Damage: with the seed and the moments of the kills.
    """
    torch.set_num_threads(1)
    import_all()
    work.mkdir(parents=True, exist_ok=True)
    case, rng = CASES[name](work), random.Random(f"{name} {seed}")
    whole = work / "whole"
    case.begin(whole)
    undisturbed_s = in_child(lambda: case.start(whole), None)
    assert undisturbed_s is not None
    expected = case.facts(whole)
    killed = finished = 0
    while killed < kills:
        folder = work / f"killed-{finished}"
        case.begin(folder)
        try:
            found = case.disturb(folder, whole, rng, kills - killed, undisturbed_s)
            wrong = _differences(case.facts(folder), expected)
            if wrong:
                raise Damage(f"{found.how}: {', '.join(wrong[:8])} differ")
        except Damage as problem:
            raise Damage(f"{name}, seed {seed}, {problem} ({folder})") from None
        killed, undisturbed_s = killed + found.times, found.whole_s
        finished += 1
        say(json.dumps({"case": name, "killed": killed, "finished": finished}))
        shutil.rmtree(folder)
    return {
        "case": name,
        "seed": seed,
        "kills": killed,
        "finished": finished,
        "undisturbed_s": round(undisturbed_s, 2),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m tests.crash``; exit code 1 for damage."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args(argv)
    kills = KILLS[args.case] if args.kills is None else args.kills
    work = (args.work or Path(tempfile.mkdtemp(prefix=f"linksim-crash-{args.case}-"))).absolute()
    os.environ.setdefault("LINKSIM_CACHE", str(work / "cache"))
    try:
        found = run_case(
            args.case, kills, args.seed, work, lambda line: print(line, file=sys.stderr, flush=True)
        )
    except Damage as problem:
        print(json.dumps({"case": args.case, "damage": str(problem)}))
        return 1
    print(json.dumps(found))
    return 0
