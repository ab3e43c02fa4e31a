"""Run folders, changed, through report, plot and ledger."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from tests.fuzz.harness import Attempt, command, need
from tests.fuzz.mutations import mutated_bytes, mutated_text, mutated_tree
from tests.linksim.tiny import write

SCENARIOS = (
    """
name: swept
seed: 7
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [2, 14], schemes.bpg.mcs: [3, 6]}
schemes:
  - {kind: separation, name: bpg, mcs: 6}
  - {kind: uncoded, name: qpsk, bits_per_symbol: 2}
metrics: [psnr, ber]
statistics: {resamples: 100, against: qpsk}
panel: {images: 1}
""",
    """
name: plain
question: what is lost?
images: {kind: skimage, names: [astronaut, coffee, chelsea], crop: 64}
bandwidth: {data_ratio: 1/12}
channels:
  - {kind: awgn}
  - {kind: rayleigh, coherence_symbols: 128, csi: {kind: lmmse, pilots_per_block: 2}}
sweep: {snr_db: [2]}
schemes: [{kind: linear_analog, name: linear}, {kind: capacity_bound, name: bound}]
metrics: [psnr]
statistics: {resamples: 100}
""",
)


def _write_records(path: Path, trees: list[Any]) -> None:
    path.write_bytes("".join(json.dumps(tree) + "\n" for tree in trees).encode("utf-8", "surrogatepass"))


def _change_records(path: Path, rng: random.Random) -> None:
    lines = path.read_bytes().splitlines()
    trees = [json.loads(line) for line in lines]
    how = rng.randrange(6)
    if how < 3:
        at = rng.randrange(len(trees))
        trees[at] = mutated_tree(trees[at], rng, trees)
        _write_records(path, trees)
    elif how == 3:  # the same change in every line
        seed = rng.random()
        _write_records(path, [mutated_tree(tree, random.Random(seed), trees, 1) for tree in trees])
    elif how == 4:
        kept = [tree for tree in trees for _ in range(rng.choice((0, 0, 1, 2)))]
        _write_records(path, kept)
    else:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))


def _change_header(path: Path, rng: random.Random, others: list[Any]) -> None:
    text = json.dumps(mutated_tree(json.loads(path.read_bytes()), rng, others))
    if rng.random() < 0.15:
        text = mutated_text(text, rng)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _change_file(run: Path, rng: random.Random) -> None:
    """A picture, a table, a figure: changed, gone, a folder, a link to something else."""
    path = rng.choice(sorted(p for p in run.rglob("*") if p.name != "records.jsonl"))
    how = rng.randrange(5)
    data = path.read_bytes() if path.is_file() else b"x"
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if how == 0:
        path.write_bytes(mutated_bytes(data, rng))
    elif how == 1:
        path.mkdir()
    elif how == 2:
        path.symlink_to(rng.choice(("/dev/null", "nowhere", path.name, "/etc/hostname", str(run))))
    elif how == 3:
        path.write_bytes(b"")


def prepare(work: Path) -> Attempt:
    """A changed run folder; every input takes all of the commands, and is compared with a run as it was."""
    runs = []
    for number, text in enumerate(SCENARIOS):
        folder = work / str(number)
        folder.mkdir()
        need("simulate", write(folder, text), "--out", str(folder / "run"), "--workers", "1")
        runs.append(folder / "run")
    headers = [json.loads((run / "run.json").read_bytes()) for run in runs]

    def attempt(rng: random.Random, folder: Path) -> str:
        run = folder / "run"
        shutil.copytree(runs[rng.random() < 0.75], run, copy_function=shutil.copyfile)
        changes = rng.sample(("header", "records", "file"), k=rng.choice((1, 1, 2)), counts=(4, 4, 2))
        if "header" in changes:
            _change_header(run / "run.json", rng, headers)
        if "records" in changes:
            _change_records(run / "records.jsonl", rng)
        if "file" in changes:
            _change_file(run, rng)
        metric = rng.choice(("psnr", "psnr", "ber", "nix", ""))
        options = rng.choice(([], [], ["--against", rng.choice(("qpsk", "linear", "schemes.bpg.mcs=3", "=", "x"))], ["--x", rng.choice(("cbr_total", "schemes.bpg.mcs", "x", ""))]))  # fmt: skip
        beside = ["report", str(run), str(rng.choice(runs)), "--out", str(folder / "both.html")]
        answers = (
            command("report", str(run)),
            command(*beside),
            command("plot", str(run), "--metric", metric, *options, "--out", str(folder / "figure.png")),
            command(
                "plot",
                str(run),
                "--ledger",
                "--out",
                str(folder / f"ledger.{rng.choice(('png', 'svg', 'pdf'))}"),
            ),
        )
        return "taken" if "taken" in answers else "refused"

    return attempt
