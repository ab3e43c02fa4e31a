"""Runs of the reduced scenarios: tables, counts, and for byte-wise comparison records and pictures too."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.make_diffjscc_checkpoint import make
from tests.frozen.door import main
from tests.frozen.pictures import write_folder
from tests.frozen.scenarios import UNTRAINED, Case

DATA = Path(__file__).parent.parent / "data"
NETWORKS = ("diffjscc_tiny", "swin_tiny")


def workplace(folder: Path) -> Path:
    """Put the pictures and networks that scenarios name into a folder."""
    write_folder(folder / "pictures")
    (folder / "data").mkdir()
    for name in NETWORKS:
        shutil.copytree(DATA / name, folder / "data" / name)
    return folder


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """The current folder, for a while; one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        torch.set_num_threads(threads)


def simulate(case: Case, folder: Path) -> Path:
    """Run a case in a workplace; returns its run folder.

    Raises:
        RuntimeError: the command failed.
    """
    scenario, out = case.scenario, Path("runs") / case.name
    if any(UNTRAINED in change for change in case.changes) and not (folder / UNTRAINED).exists():
        make(folder / UNTRAINED, "tiny")
    if "\n" in scenario:
        scenario = f"{case.name.replace('/', '-')}.yaml"
        (folder / scenario).write_text(case.scenario)
    words = [word for change in case.changes for word in ("--set", change)]
    with working_in(folder):
        code = main(
            [
                "simulate",
                scenario,
                *words,
                "--out",
                str(out),
                "--workers",
                "1",
                "--device",
                "cpu",
                "--no-report",
            ]
        )
    if code != 0:
        raise RuntimeError(f"{case.name}: exit code {code}")
    return folder / out


# ------------------------------------------------------------------------------------- stored values


def result(run: Path) -> dict[str, Any]:
    """What is stored of a run: results.csv by line, and by link the counts of errors and of states."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records(run):
        key = record["key"]
        swept = [f"{name}={value}" for name, value in key["point"]]
        link = " | ".join([key["channel"], key["scheme"], *swept, f"{key['snr_db']:g} dB"])
        counts[link][record["state"]] += 1
        for metric, (errors, trials) in record["counts"].items():
            counts[link][f"{metric} errors"] += errors
            counts[link][f"{metric} trials"] += trials
    lines = (run / "results.csv").read_text().splitlines()
    return {"results": lines, "counts": {link: dict(sorted(found.items())) for link, found in counts.items()}}


def records(run: Path) -> list[dict[str, Any]]:
    """Records of a run without times, in an order of their own."""
    found = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    for record in found:
        del record["seconds"]
    return sorted(found, key=lambda record: json.dumps(record["key"], sort_keys=True))


# Measured between vector units of one processor (AVX-512 against none): means move by up to 2e-5 of themselves, those
# of textures by up to 3e-4, and intervals of two pictures by up to 1.2e-3 of their ends.
TOLERANCE, OF_TEXTURES, OF_INTERVALS = 5e-5, 1e-3, 5e-3
TEXTURES, INTERVALS = ("niqe", "spectrum_db"), ("ci_low", "ci_high")


def differences(stored: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is not as it was, a line each: counts and texts exactly, numbers to a tolerance.

    Not compared are wrong bits of frames that were not decoded: where an iterative decoder that does not converge
    stands in the end is decided by the last digit of its input.
    """
    before, after = ({link: _stable(of) for link, of in side["counts"].items()} for side in (stored, found))
    said = [
        f"counts of {link}: {before.get(link)} became {after.get(link)}"
        for link in sorted({*before, *after})
        if before.get(link) != after.get(link)
    ]
    old, new = (list(csv.DictReader(side["results"])) for side in (stored, found))
    if stored["results"][0] != found["results"][0] or len(old) != len(new):
        return [
            *said,
            f"{stored['results'][0]}, {len(old)} rows became {found['results'][0]}, {len(new)} rows",
        ]
    for a, b in zip(old, new, strict=True):
        if a["metric"] == "ber" and a["mean"] != "0" and any("crc_failed" in c for c in before.values()):
            continue
        said += [
            f"{a['channel']}, {a['scheme']}, {a['snr_db']} dB, {a['metric']}: {column} {a[column]} became {b[column]}"
            for column in a
            if not same(a[column], b[column], *_tolerance(a, column))
        ]
    return said


def _stable(counts: dict[str, int]) -> dict[str, int]:
    """Counts of a link without the wrong bits of frames that were not decoded."""
    return {k: v for k, v in counts.items() if k != "ber errors" or "crc_failed" not in counts}


def _tolerance(row: dict[str, str], column: str) -> tuple[float, float]:
    """Relative and absolute tolerance of a value."""
    if column in INTERVALS:
        return 0.0, OF_INTERVALS * max((abs(float(row[end])) for end in INTERVALS if row[end]), default=0.0)
    return (OF_TEXTURES if row["metric"] in TEXTURES else TOLERANCE), 1e-9


def same(a: str, b: str, relative: float, absolute: float = 1e-9) -> bool:
    """Equal texts, or numbers within a tolerance."""
    if a == b:
        return True
    try:
        return math.isclose(float(a), float(b), rel_tol=relative, abs_tol=absolute)
    except ValueError:
        return False


# --------------------------------------------------------------------------------- byte-wise comparison


def keep(run: Path, target: Path) -> None:
    """Files that two runs on one machine have alike to the byte."""
    target.mkdir(parents=True)
    shutil.copy(run / "results.csv", target)
    lines = [json.dumps(record, sort_keys=True) for record in records(run)]
    (target / "records.jsonl").write_text("\n".join(lines) + "\n")
    digests = {}
    for path in sorted((run / "images").rglob("*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        digests[path.relative_to(run / "images").as_posix()] = hashlib.sha256(pixels.tobytes()).hexdigest()
    (target / "pictures.json").write_text(json.dumps(digests, indent=1) + "\n")
