"""What ``linksim check`` costs for every scenario that comes with linksim, with all sockets blocked
and an empty cache.

Each check is a process of its own, as users start it, imports included. Prints a line of JSON per scenario
(seconds of the processor in user mode, seconds on the clock, exit code) and one for the slowest. On a busy
machine the clock says little; processor time says what an idle one would take on one core.

    python benchmarks/check_times.py                      # all; where a data set is not here: scikit-image's
    python benchmarks/check_times.py 38901 --limit-s 5    # one folder; exit code 1 if a check takes longer
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURES = "images={kind: skimage, names: [astronaut, coffee, chelsea, rocket, motorcycle], crop: [256, 384]}"
FEW = 2  # of them held out
# An attempt to reach the network is no refusal that somebody might catch: the process ends.
SEALED = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        sys.stderr.write(f"network: {event} {arguments}\\n")
        sys.stderr.flush()
        os._exit(86)
sys.addaudithook(watch)
from linksim.cli.commands import entry_point
entry_point()
"""
NETWORK = 86


def check(name: str, *pairs: str) -> tuple[int, float, float, str]:
    """Exit code, user time and wall time [s], and messages of a check."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a second check does not compile linksim again
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, time.monotonic()
    sets = [word for pair in pairs for word in ("--set", pair)]
    done = subprocess.run(
        [sys.executable, "-c", SEALED, "check", name, *sets],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    user_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return done.returncode, user_s, time.monotonic() - began, done.stderr


def settings(path: Path) -> list[str]:
    """What a scenario lacks on a machine without data sets and earlier trainings."""
    from linksim.build.objects import build_images
    from linksim.scenario.files import load_any

    scenario = load_any(str(path))
    pairs = []
    try:
        build_images(scenario.images)
    except ValueError:
        pairs.append(PICTURES)
    schemes = getattr(scenario, "schemes", ())
    there = [s for s in schemes if not getattr(s, "checkpoint", "").startswith("runs/")]
    if len(there) < len(schemes):
        pairs.append(f"schemes={json.dumps([scheme.model_dump(mode='json') for scheme in there])}")
    for section in ("train", "train_denoiser", "train_control"):
        if PICTURES in pairs and getattr(getattr(scenario, section, None), "validation_images", 0) > FEW:
            pairs.append(f"{section}.validation_images={FEW}")
    initial = getattr(getattr(scenario, "train", None), "initial", None)
    return [*pairs, "train.initial=null"] if initial else pairs


def main() -> int:
    """Check them all."""
    from linksim.scenario.files import scenario_dir

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="*", help="folders or names; default all")
    parser.add_argument("--limit-s", type=float, help="user time that no check may exceed")
    args = parser.parse_args()
    paths = [p for p in sorted(scenario_dir().rglob("*.yaml")) if p.parent.name != "base"]
    names = {str(p.relative_to(scenario_dir()).with_suffix("")): p for p in paths}
    with tempfile.TemporaryDirectory() as cache:  # what is measured once is measured again
        os.environ["LINKSIM_CACHE"] = cache
        return check_all(names, args)


def check_all(names: dict[str, Path], args: argparse.Namespace) -> int:
    """Check scenarios by their names, one line each; 1 if one failed, or took longer than it may."""
    slowest, failed = ("", 0.0), False
    for name, path in names.items():
        if args.folder and not any(name == f or name.startswith(f"{f}/") for f in args.folder):
            continue
        pairs = settings(path)
        code, user_s, wall_s, said = check(name, *pairs)
        line = {
            "scenario": name,
            "user_s": round(user_s, 2),
            "wall_s": round(wall_s, 2),
            "exit_code": code,
            "set": pairs,
        }
        print(json.dumps({**line, **({"said": said[-500:]} if code else {})}), flush=True)
        slowest = max(slowest, (name, user_s), key=lambda pair: pair[1])
        failed |= code != 0 or (args.limit_s is not None and user_s > args.limit_s)
    print(json.dumps({"slowest": slowest[0], "user_s": round(slowest[1], 2), "limit_s": args.limit_s}))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
