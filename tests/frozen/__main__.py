"""``python -m tests.frozen``: store what must not move, or compare two states of the project to the byte.

python -m tests.frozen --write              # rewrite the stored values: only for an intended change, and look at it
python -m tests.frozen --write help         # some of them
python -m tests.frozen --exact-write DIR    # before a change: tables, records, pictures and weights of all cases
python -m tests.frozen --exact-compare DIR  # after it, on the same machine
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

PARTS = (
    "scenario_hashes",
    "networks",
    "help",
    "bad_input",
    "calibration_keys",
    "results",
    "trainings",
    "run",
)


def _values(part: str, folder: Path) -> object:
    from tests.frozen import calibration, hashes, runs, texts, trainings
    from tests.frozen.scenarios import CASES

    match part:
        case "scenario_hashes":
            return hashes.scenario_hashes()
        case "networks":
            return hashes.bundled_networks()
        case "help":
            return {"python": texts.python(), "texts": texts.help_texts()}
        case "bad_input":
            return {"python": texts.python(), "messages": texts.bad_input_messages()}
        case "calibration_keys":
            keys = {"shipped": calibration.shipped_keys(), "quality": calibration.quality_names()}
            return keys | {"computed": calibration.computed_keys(folder)}
        case "results":
            return {c.name: runs.result(runs.simulate(c, folder)) for c in CASES}
        case _:
            return {t.name: trainings.outcome(trainings.train(t, folder)) for t in trainings.TRAININGS}


def _store(parts: list[str]) -> None:
    from tests.frozen import former_run, runs, store

    store.FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = runs.workplace(Path(temporary))
        for part in parts or PARTS[:-1]:
            if part == "run":
                former_run.write(folder)
            else:
                store.write(part, _values(part, folder))
    store.write("versions", store.versions())


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.frozen",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--write", nargs="*", choices=PARTS, metavar="PART",
        help=f"rewrite files in tests/frozen/data, all but run or some of {', '.join(PARTS)}",
    )  # fmt: skip
    what.add_argument(
        "--exact-write", type=Path, metavar="DIR", help="keep all files of all cases in a new folder"
    )
    what.add_argument(
        "--exact-compare", type=Path, metavar="DIR", help="compare with those; exit code 1 if any differs"
    )
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="of the exact ones: names such as 'mimo/*'"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ.update(LINKSIM_CACHE=f"{cache}/linksim", TORCH_HOME=f"{cache}/torch")
        os.environ.pop("LINKSIM_WEIGHTS", None)
        if args.write is not None:
            _store(args.write)
            return 0
        from tests.frozen import exact

        if args.exact_write is not None:
            if args.exact_write.exists():
                parser.error(
                    f"--exact-write: got {args.exact_write}, expected a folder that is not there yet"
                )
            lines = exact.write(args.exact_write.absolute(), args.only)
        else:
            if not args.exact_compare.is_dir():
                parser.error(f"--exact-compare: got {args.exact_compare}, expected a folder of --exact-write")
            lines = exact.compare(args.exact_compare.absolute(), args.only)
    print("\n".join(lines) or ("nothing differs" if args.exact_compare else f"kept in {args.exact_write}"))
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(_main())
