"""How fast runs are now, against a stored commit: JSON lines.

    python benchmarks/run_speed.py --images DIR                      # the 24 pictures of Kodak
    python benchmarks/run_speed.py --images DIR --commit 757a699 --limit 3
    python benchmarks/run_speed.py --only quickstart                 # needs no pictures

Both states run the same reduced scenario in turns, on the same machine: this one from its tree, the stored
one from ``git archive`` in a temporary folder, each in one process of its own that goes through all turns;
the first turn, of one picture, loads and compiles, and is not counted. ``ratio`` is the time of the stored
commit over that of today, of the medians; ``difference`` the largest of any metric of any unit that both
have, ``counts`` how many counts of errors differ. Metrics whose weights are not on this machine are left out,
and so are schemes and metrics that the stored commit does not know.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SNR_DB = [1, 4, 7, 10, 13]

# A process of one state reads command lines as JSON, runs them, and answers with exit code and seconds.
WORKER = """
import contextlib, json, sys, time
sys.path.insert(0, sys.argv[1])
import linksim
from linksim.cli import main

print(json.dumps({"linksim": linksim.__file__}), flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        code = main(json.loads(line))
    print(json.dumps({"code": code, "seconds": time.perf_counter() - began}), flush=True)
"""


class State:
    """A process that runs scenarios with the code of a tree."""

    def __init__(self, tree: Path, cache: Path, log: IO[str]) -> None:
        environment = {**os.environ, "LINKSIM_CACHE": str(cache), "PYTHONPATH": str(tree)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tree)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=tree, env=environment,
        )  # fmt: skip
        found = Path(self._answer()["linksim"])
        if not found.is_relative_to(tree):
            raise SystemExit(f"linksim: of another tree, got {found}, expected it in {tree}.")

    def run(self, *words: str) -> dict[str, Any]:
        """Exit code and seconds of a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """Close the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def checked_out(commit: str, folder: Path) -> Path:
    """The tree of a commit in a new folder."""
    done = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"--commit {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def scenarios(images: Path | None) -> Iterator[dict[str, Any]]:
    """Reduced scenarios: one trial, five SNRs of Kodak."""
    found = yaml.safe_load((ROOT / "scenarios" / "quickstart.yaml").read_text())
    found["sweep"]["trials"] = 1
    yield found
    if images is not None:
        found = yaml.safe_load((ROOT / "scenarios" / "kodak-1-96.yaml").read_text())
        found["sweep"] = {"snr_db": SNR_DB, "trials": 1}
        found["images"]["path"] = str(images.resolve())
        yield found


def metrics_at_hand() -> list[str]:
    """MS-SSIM, LPIPS with those weights that are here, and error rates; beside PSNR."""
    from linksim.weights.zoo import backbone_at

    lpips = [f"lpips_{net}" for net in ("squeeze", "alex", "vgg") if backbone_at(net)]
    return ["ms_ssim", *lpips[:1], "ber", "bler"]


def known_to(state: State, scenario: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A scenario without the schemes and metrics that a state refuses."""

    def is_known(**changed: Any) -> bool:
        path = folder / "asked.yaml"
        path.write_text(yaml.safe_dump({**scenario, "metrics": ["psnr"], **changed}))
        return bool(state.run("check", str(path))["code"] == 0)

    schemes = [scheme for scheme in scenario["schemes"] if is_known(schemes=[scheme])]
    metrics = [m for m in scenario["metrics"] if is_known(schemes=schemes[:1], metrics=["psnr", m])]
    if not schemes:
        raise SystemExit(f"{scenario['name']}: the stored commit knows none of its schemes")
    return {**scenario, "schemes": schemes, "metrics": ["psnr", *metrics]}


def units(folder: Path) -> dict[str, tuple[dict[str, float], dict[str, list[int]]]]:
    """Values and counts of the records of a run, by unit."""
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return {json.dumps(r["key"], sort_keys=True): (r["values"], r["counts"]) for r in records}


def largest(one: Path, other: Path) -> tuple[float, int, int]:
    """Largest difference of a metric, how many counts differ, and units that both have."""
    mine, its = units(one), units(other)
    both = mine.keys() & its.keys()
    most, wrong = 0.0, 0
    for key in both:
        for name in mine[key][0].keys() & its[key][0].keys():
            most = max(most, abs(mine[key][0][name] - its[key][0][name]))
        wrong += sum(mine[key][1][n] != its[key][1][n] for n in mine[key][1].keys() & its[key][1].keys())
    return most, wrong, len(both)


def compared(
    states: dict[str, State], scenario: dict[str, Any], args: argparse.Namespace, folder: Path
) -> Any:
    """The line of a scenario."""
    name = scenario["name"]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario))
    seconds: dict[str, list[float]] = {which: [] for which in states}
    for turn in range(args.turns + 1):
        for which in states if turn % 2 else reversed(states):
            words = ["simulate", str(path), "--no-report", "--out", str(folder / f"{name}-{turn}-{which}")]
            limit = args.limit if turn else 1
            answer = states[which].run(*words, *(["--limit", str(limit)] if limit else []))
            if answer["code"]:
                raise SystemExit(f"{name}, {which}: exit code {answer['code']}; --log FILE says why")
            if turn:
                seconds[which].append(answer["seconds"])
    middle = {which: statistics.median(values) for which, values in seconds.items()}
    most, wrong, both = largest(*(folder / f"{name}-{args.turns}-{which}" for which in states))
    return {
        "scenario": name,
        "commit": args.commit,
        "ratio": round(middle["stored"] / middle["now"], 3),
        "seconds": {which: [round(v, 2) for v in values] for which, values in seconds.items()},
        "units": both,
        "schemes": [scheme["name"] for scheme in scenario["schemes"]],
        "metrics": scenario["metrics"],
        "difference": most,
        "counts": wrong,
    }


def lines(args: argparse.Namespace, folder: Path, log: IO[str]) -> Iterator[dict[str, Any]]:
    """A line per scenario."""
    trees = {"now": ROOT, "stored": checked_out(args.commit, folder / "tree")}
    states = {name: State(tree, folder / "cache" / name, log) for name, tree in trees.items()}
    try:
        for scenario in scenarios(args.images):
            if not args.only or scenario["name"] in args.only:
                asked = {**scenario, "metrics": metrics_at_hand()}
                yield compared(states, known_to(states["stored"], asked, folder), args, folder)
    finally:
        for state in states.values():
            state.end()


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="folder of Kodak's pictures, for kodak-1-96")
    parser.add_argument("--commit", default="757a699")
    parser.add_argument("--limit", type=int, help="use the first so many pictures only")
    parser.add_argument("--turns", type=int, default=3, help="runs of each state, alternating")
    parser.add_argument("--only", nargs="+", choices=("quickstart", "kodak-1-96"))
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="what the runs say")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, args.log.open("w") as log:
        for line in lines(args, Path(folder), log):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
