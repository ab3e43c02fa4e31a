"""Measure again what README, documents and model cards print, and compare: benchmarks/printed.yaml says what.

    python benchmarks/all.py --list                          # what there is, what it needs, how long it takes
    python benchmarks/all.py --only mistakes own_mistakes
    python benchmarks/all.py --images KODAK --out benchmarks.json        # make benchmarks IMAGES=KODAK

Every benchmark writes its output into ``--work``; ``--resume`` takes what was measured there, and goes on
with the runs of one that was interrupted. Prints one JSON line per benchmark: ``name``, ``commit`` (on which
it was measured), ``seconds``, ``numbers``, ``same``, ``inside`` (differ by rounding at least, within the
interval), ``outside`` (each with file, place, printed and measured value and interval), or ``not_measured``
with the reason; and a last one with the sums, all commits, and the pages that nothing measures. Exit code 1
if any number is outside, or a benchmark failed. Nothing in the tree is written: tables are made again in a
copy of the pages.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from comparison import Finding, ManifestError, block_in, compare_blocks, compare_numbers

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = Path(__file__).with_name("printed.yaml")
FIELDS = {"name", "run", "minutes", "needs", "numbers", "blocks", "tolerance"}


@dataclass(frozen=True)
class Options:
    """Where things are."""

    work: Path
    images: Path | None = None
    resume: bool = False


def _pictures(options: Options) -> str:
    if options.images is None:
        return "--images: the folder of the 24 Kodak pictures is not given"
    count = len(list(options.images.glob("*.png")))
    return (
        "" if count == 24 else f"--images {options.images}: got {count} PNG files, expected the 24 of Kodak"
    )


def _lpips(_: Options) -> str:
    from linksim.weights.zoo import backbone_at

    return (
        ""
        if backbone_at("squeeze")
        else "LPIPS (squeeze): its weights are not here (docs/definitions.md, Weights of measures)"
    )


def _package(name: str, extra: str) -> Callable[[Options], str]:
    def missing(_: Options) -> str:
        from channels.runtime.extras import install

        found = importlib.util.find_spec(name)
        return "" if found else f"{name} is not installed: {install(extra)}"

    return missing


def _gpu(_: Options) -> str:
    import torch

    return "" if torch.cuda.is_available() else "no CUDA device"


def _named(_: Options) -> str:
    return "takes long or much room: runs only where --only names it"


NEEDS: dict[str, Callable[[Options], str]] = {
    "kodak": _pictures,
    "lpips": _lpips,
    "realism": _package("efficientnet_lite_pytorch", "realism"),
    "tensorflow": _package("tensorflow", "tensorflow"),
    "gpu": _gpu,
    "named": _named,
}


# -------------------------------------------------------------------------------------- the manifest


def load(path: Path = MANIFEST) -> dict[str, Any]:
    """The manifest, with its fields checked.

    Raises:
        ManifestError: a field that does not exist, a name twice, or a need that nobody knows.
    """
    manifest: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = [entry["name"] for entry in manifest["benchmarks"]]
    if len(set(names)) != len(names):
        raise ManifestError(f"{path}: got a name twice in {', '.join(names)}.")
    for entry in manifest["benchmarks"]:
        if unknown := set(entry) - FIELDS:
            raise ManifestError(
                f"{entry['name']}: got {', '.join(unknown)}, expected {', '.join(sorted(FIELDS))}."
            )
        if unknown := set(entry.get("needs", ())) - set(NEEDS):
            raise ManifestError(
                f"{entry['name']}: needs {', '.join(unknown)}, expected of {', '.join(NEEDS)}."
            )
    return manifest


def pages(root: Path = ROOT) -> list[str]:
    """README, documents and model cards."""
    folders = ("docs", "docs/concepts", "docs/project", "docs/help", "docs/tutorials", "linksim/assets")
    found = [root / "README.md", *(path for folder in folders for path in (root / folder).glob("*.md"))]
    return sorted(str(path.relative_to(root)) for path in found)


def covered(manifest: Mapping[str, Any]) -> set[str]:
    """Pages of which an entry measures something."""
    specs = [s for e in manifest["benchmarks"] for s in (*e.get("numbers", ()), *e.get("blocks", ()))]
    return {spec["in"] for spec in specs}


# ----------------------------------------------------------------------------------------- measuring


def missing(entry: Mapping[str, Any], options: Options, *, named: bool) -> str:
    """Why a benchmark cannot be run here; empty if it can."""
    for need in entry.get("needs", ()):
        if need == "named" and named:
            continue
        if reason := NEEDS[need](options):
            return reason
    return ""


def lines_of(text: str) -> Iterator[dict[str, Any]]:
    """The lines of an output that are JSON objects; of ``linksim results --json`` its rows."""
    if text.startswith("{\n"):
        yield from json.loads(text)["rows"]
        return
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def measure(entry: Mapping[str, Any], options: Options) -> list[dict[str, Any]]:
    """Run the commands of an entry; lines of their output, and one per command with its ``seconds``.

    Raises:
        RuntimeError: a command failed.
    """
    from linksim.run.header import code_commit  # needs torch: --list does not

    file = options.work / f"{entry['name']}.jsonl"
    if options.resume and file.exists():
        return list(lines_of(file.read_text()))
    folder = options.work / entry["name"]
    if not options.resume:
        shutil.rmtree(folder, ignore_errors=True)
    file.unlink(missing_ok=True)  # should this fail, --resume shall not find what an earlier one measured
    folder.mkdir(parents=True, exist_ok=True)
    places = {"images": options.images, "work": folder, "documents": folder / "documents"}
    if blocks := entry.get("blocks", ()):
        copy_pages(folder / "documents", blocks)
    commits = folder / "commits"  # of every start: runs that were there are gone on with
    seen = [*(commits.read_text().split() if commits.exists() else ()), str(code_commit())]
    commits.write_text("\n".join(dict.fromkeys(seen)))
    found: list[dict[str, Any]] = [{"commit": " ".join(dict.fromkeys(seen))}]
    for number, command in enumerate(entry["run"]):
        began = time.monotonic()
        done = subprocess.run(
            words(command, places),
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        seconds = round(time.monotonic() - began, 1)
        (folder / f"{number}.out").write_text(done.stdout)
        (folder / f"{number}.err").write_text(done.stderr)
        if done.returncode:
            raise RuntimeError(f"{command}: exit code {done.returncode}; {done.stderr.strip()[-500:]}")
        found += [*lines_of(done.stdout), *lines_of(done.stderr), {"command": number, "seconds": seconds}]
    part = file.with_suffix(".part")
    part.write_text("".join(json.dumps(line) + "\n" for line in found))
    part.replace(file)
    return found


def words(command: str, places: Mapping[str, Any]) -> list[str]:
    """A command as a list of arguments: this Python and this linksim, and the places filled in."""
    first, *rest = shlex.split(command)
    program = {"python": [sys.executable], "linksim": [sys.executable, "-m", "linksim"]}[first]
    for name, place in places.items():
        rest = [word.replace(f"{{{name}}}", str(place)) for word in rest]
    return [*program, *rest]


def copy_pages(target: Path, blocks: Sequence[Mapping[str, Any]] = ()) -> None:
    """README and documents, so that tables are made again there; those of ``blocks`` are empty until then."""
    for name in pages():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in (spec["name"] for spec in blocks if spec["in"] == name):
            text = text.replace(block_in(text, block), "", 1)
        (target / name).write_text(text, encoding="utf-8")
    (target / "docs" / "figures").mkdir(exist_ok=True)


def compare(
    entry: Mapping[str, Any], lines: list[dict[str, Any]], again: Path, root: Path = ROOT
) -> list[Finding]:
    """Every printed number of an entry against its output and the pages that it made."""
    found: list[Finding] = []
    tolerance = entry.get("tolerance", {})
    for spec in entry.get("numbers", ()):
        page = (root / spec["in"]).read_text(encoding="utf-8")
        found += compare_numbers(spec["in"], page, spec, lines, spec.get("tolerance", tolerance))
    for spec in entry.get("blocks", ()):
        page, now = ((folder / spec["in"]).read_text(encoding="utf-8") for folder in (root, again))
        printed, made = block_in(page, spec["name"]), block_in(now, spec["name"])
        found += compare_blocks(spec["in"], {"tolerance": tolerance, **spec}, printed, made)
    return found


def report(entry: Mapping[str, Any], options: Options, *, named: bool) -> dict[str, Any]:
    """Measure and compare one entry."""
    line: dict[str, Any] = {"name": entry["name"]}
    if reason := missing(entry, options, named=named):
        return {**line, "not_measured": reason}
    try:
        lines = measure(entry, options)
        found = compare(entry, lines, options.work / entry["name"] / "documents")
    except (RuntimeError, ManifestError, OSError) as problem:
        return {**line, "failed": str(problem)}
    line["commit"] = next((found["commit"] for found in lines if "commit" in found), None)
    line |= {"seconds": sum(found["seconds"] for found in lines if "command" in found), "numbers": len(found)}
    line["same"] = sum(f.verdict == "same" for f in found)
    line["inside"] = [f.as_dict() for f in found if f.verdict == "inside"]
    line["outside"] = [f.as_dict() for f in found if f.verdict == "outside"]
    return line


def say(line: Mapping[str, Any]) -> None:
    """A line for people."""
    name = line["name"]
    if reason := line.get("not_measured") or line.get("failed"):
        print(f"{name}: {'not measured' if 'not_measured' in line else 'FAILED'}: {reason}", file=sys.stderr)
        return
    counts = (
        f"{line['numbers']} numbers, {line['same']} the same, {len(line['inside'])} within their interval"
    )
    print(f"{name}: {counts}, {len(line['outside'])} outside; {line['seconds']:.0f} s", file=sys.stderr)
    for f in line["outside"]:
        limits = "" if f["low"] is None else f" ({f['low']:.4g} to {f['high']:.4g})"
        measured = f["measured"] if isinstance(f["measured"], str) else f"{f['measured']:.4g}"
        print(
            f"  {f['file']}: {f['place']}: printed {f['printed']}, measured {measured}{limits}",
            file=sys.stderr,
        )


def listing(manifest: Mapping[str, Any], options: Options) -> None:
    """What there is."""
    total = 0.0
    for entry in manifest["benchmarks"]:
        reason = missing(entry, options, named=False)
        total += 0 if reason else entry["minutes"]
        print(f"{entry['name']}: {entry['minutes']:g} min{f'; not here: {reason}' if reason else ''}")
    print(f"all that can be measured here: {total:.0f} min on two cores")
    for spec in manifest["not_covered"]:
        print(f"not covered: {spec['in']}: {spec['why']}")


def main() -> int:
    """Measure, compare, name what is outside."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    manifest = load()
    names = [entry["name"] for entry in manifest["benchmarks"]]
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument("--images", type=Path, help="folder of the 24 Kodak pictures")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="all lines as one JSON list")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks"), help="for runs and outputs")
    parser.add_argument("--resume", action="store_true", help="take what is there, go on with the rest")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    args = parser.parse_args()
    options = Options(args.work.absolute(), args.images.absolute() if args.images else None, args.resume)
    if args.list:
        listing(manifest, options)
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    result = []
    for entry in manifest["benchmarks"]:
        if args.only and entry["name"] not in args.only:
            continue
        line = report(entry, options, named=bool(args.only))
        print(json.dumps(line), flush=True)
        say(line)
        result.append(line)
    total = {key: sum(line.get(key, 0) for line in result) for key in ("seconds", "numbers", "same")}
    total |= {key: sum(len(line.get(key, ())) for line in result) for key in ("inside", "outside")}
    total["commits"] = sorted({str(line["commit"]) for line in result if "commit" in line})
    total["failed"] = [line["name"] for line in result if "failed" in line]
    total["not_measured"] = {line["name"]: line["not_measured"] for line in result if "not_measured" in line}
    total["not_covered"] = {spec["in"]: spec["why"] for spec in manifest["not_covered"]}
    print(json.dumps(total))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps([*result, total], indent=1) + "\n")
    return int(bool(total["outside"] or total["failed"]))


if __name__ == "__main__":
    raise SystemExit(main())
