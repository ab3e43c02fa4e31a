"""Every kind of labkit through every command, in one process: run by test_plugins.py with labkit installed.

python -m tests.plugins.whole_way FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from linksim.cli.commands import main

ALL = """
schema_version: 1
name: labkit
images: {kind: waves, count: 2, side: 128}
bandwidth: {data_ratio: 1/48}
channels:
  - {kind: nakagami, m: 2.0, coherence_symbols: 32}
  - kind: ofdm
    name: grid
    model: {kind: two_path}
    csi: {kind: smoothing, width: 3}
    impairments: [{kind: dc_offset, level_db: -30}]
sweep: {snr_db: [10, 20], trials: 1}
schemes:
  - {kind: average, name: means}
  - {kind: jscc, name: trained, checkpoint: trained.safetensors}
  - {kind: separation, name: command, mcs: 16, source: {codec: pnm_by_command, method: 0}}
metrics: [psnr, mean_error, outage]
"""
DIFFUSION = """
schema_version: 1
name: labkit-diffusion
images: {kind: waves, count: 2, side: 64}
bandwidth: {data_ratio: 1/384}
channel: {kind: awgn}
sweep: {snr_db: [10]}
schemes:
  - {kind: diffjscc, name: euler, checkpoint: CHECKPOINT, sampler: euler, steps: 2}
metrics: [mean_error]
"""
TRAIN = """
schema_version: 1
name: labkit-train
images: {kind: folder, path: pictures, multiple_of: 1}
train:
  codec: {kind: pooling, latent_channels: 32}
  channel: {kind: nakagami, m: 1.5}
  snr_db: {low: 5, high: 15}
  crop: 64
  batch_size: 2
  steps: 3
  validation_images: 1
  optimizer: {learning_rate: 1.0e-3, warmup_steps: 1}
"""


def command(*words: object) -> None:
    """A command that must succeed."""
    code = main([str(word) for word in words])
    if code:
        raise SystemExit(f"{words}: exit code {code}")


def whole_way(folder: Path) -> None:
    """Train, simulate, resume, plot, report, list."""
    for name, text in (("all", ALL), ("train", TRAIN), ("diffusion", DIFFUSION)):
        text = text.replace("CHECKPOINT", str(folder / "checkpoint"))
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    trained = folder / "trained.safetensors"
    command("train", folder / "train.yaml", "--out", folder / "training", "--export", trained)
    run = folder / "run"
    command("check", folder / "all.yaml")
    command("simulate", folder / "all.yaml", "--out", run, "--workers", 2, "--no-report")
    table = (run / "results.csv").read_bytes()
    records = (run / "records.jsonl").read_text().splitlines(keepends=True)
    (run / "records.jsonl").write_text("".join(records[: len(records) // 2]))
    (run / "results.csv").unlink()
    command("simulate", folder / "all.yaml", "--out", run, "--no-report")
    if (run / "results.csv").read_bytes() != table:
        raise SystemExit("a run that was resumed is another one")
    command("plot", run, "--metric", "mean_error", "--out", folder / "mean_error.svg")
    command("report", run)
    if (folder / "checkpoint").is_dir():
        command("simulate", folder / "diffusion.yaml", "--out", folder / "diffusion", "--no-report")
    command("list", "kinds")
    command("list", "channels")


if __name__ == "__main__":
    whole_way(Path(sys.argv[1]))
