"""Trainings of two steps: held-out table, and the norm of every tensor that comes out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from tests.frozen.door import main, read_checkpoint
from tests.frozen.pictures import write_tar
from tests.frozen.runs import same, working_in

_HEAD = """
schema_version: 1
name: {name}
seed: 3
images: {{kind: tar, paths: [training.tar], multiple_of: 1}}
"""
_TAIL = """
  snr_db: {{low: 0, high: 14}}
  csit_dropout: 0.2
  steps: {steps}
  precision: float32
  validation_images: 2
  validation_snr_db: [1, 10]
  validation_every_steps: 100
  checkpoint_every_s: 1000
"""
_MIXTURE = """
  channels:
    - {{channel: {{kind: awgn}}, weight: 1}}
    - {{channel: {{kind: rayleigh, coherence_symbols: 8, csi: {{kind: lmmse, pilots_per_block: 1}}}}, weight: 2}}
"""
_LEAN = """train:
  codec: {{kind: lean, latent_channels: 16, width_8: 8, width_16: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1]}}
  optimizer: {{kind: muon, learning_rate: 2.0e-3, warmup_steps: 2}}
  loss: {{mse: 0, log_mse: 1}}
  crop: 64
  scale_low: 0.8
  batch_size: 4
"""
_CNN = """train:
  codec: {{kind: cnn_yang2024, latent_channels: 4, width: 4, max_width: 16, max_decoder_width: 16, blocks: 1, decoder_blocks: 1}}
  channel: {{kind: ofdm, num_subcarriers: 16, num_ofdm_symbols: 6, model: {{kind: tdl, profile: C, delay_spread_s: 1.0e-7}}, csi: {{kind: ls, pilot_symbols: [1, 4]}}}}
  optimizer: {{kind: adamw, learning_rate: 1.0e-3, warmup_steps: 2}}
  crop: 64
  batch_size: 4
"""
_DIAL = """train:
  codec: {{kind: dial, rates: [4, 8, 16], width_4: 8, width_8: 8, width_16: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1, 1]}}
  told_snr_error_db: 1.0
  groups: 2
  rate_weights: [2, 1, 1]
  phases:
    - {{name: first, share: 0.5, batch_size: 4, crop: 64, loss: {{mse: 0, log_mse: 1}}, optimizer: {{kind: muon, learning_rate: 1.0e-3, warmup_steps: 2, clip_norm: 5}}}}
    - name: second
      share: 0.5
      batch_size: 2
      crop: 64
      frozen: encoder
      realism: {{fidelity: 0.2, between: 0.2, full: 0.6}}
      loss: {{mse: 0, log_mse: 1, wasserstein: 1, wasserstein_features: [rgb], patch_gan: 0.5}}
      optimizer: {{kind: adamw, learning_rate: 1.0e-3, warmup_steps: 2, clip_norm: 5}}
      critic_width: 4
"""
_DENOISER = """train_denoiser:
  codec: trained/dial/model.safetensors
  network: {{kind: latent_denoiser, rates: [4, 8, 16], width: 16, blocks: 1}}
  groups: 2
  crop: 64
  batch_size: 4
  optimizer: {{kind: muon, learning_rate: 2.0e-3, warmup_steps: 2, clip_norm: 1}}
"""


@dataclass(frozen=True)
class Training:
    """A training.

    Args:
        name: of its folder.
        text: the scenario.
    """

    name: str
    text: str


def _training(name: str, body: str, steps: int = 2) -> Training:
    return Training(name, (_HEAD + body + _TAIL).format(name=name, steps=steps))


TRAININGS = [
    _training("lean", _LEAN + _MIXTURE.strip("\n")),
    _training("cnn-ofdm", _CNN.rstrip("\n")),
    _training("dial", _DIAL + _MIXTURE.strip("\n"), steps=4),
    _training("denoiser", _DENOISER + _MIXTURE.strip("\n")),  # of what dial has made
]


def train(training: Training, folder: Path) -> Path:
    """Run a training in a workplace; returns its checkpoint.

    Raises:
        RuntimeError: the command failed.
    """
    if not (folder / "training.tar").exists():
        write_tar(folder / "training.tar")
    scenario, out = folder / f"train-{training.name}.yaml", Path("trained") / training.name
    scenario.write_text(training.text)
    with working_in(folder):
        code = main(
            ["train", scenario.name, "--out", str(out), "--device", "cpu", "--pictures-memory", "100MB"]
        )
    if code != 0:
        raise RuntimeError(f"train {training.name}: exit code {code}")
    return folder / out / "model.safetensors"


def outcome(checkpoint: Path) -> dict[str, Any]:
    """What is stored of a training: the held-out table and the L2 norm of every tensor, six digits."""
    recipe = read_checkpoint(checkpoint).recipe
    table = recipe.get("validation_psnr_db") or recipe["validation"]
    norms = {name: float(f"{t.double().norm().item():.6g}") for name, t in load_file(checkpoint).items()}
    return {
        "scenario_hash": recipe["scenario_hash"],
        "steps": recipe["steps"],
        "held_out": table,
        "trained_on": recipe["trained_on"],
        "norms": dict(sorted(norms.items())),
    }


# Measured as those of runs: PSNR moves by up to 1e-5 of itself, tensors by up to 4e-4; those that begin at zero (and
# are small after two steps) by up to 1.7e-2 between processors: their first steps are signs of small gradients.
OF_TABLES, OF_NORMS, OF_BEGUN_AT_ZERO, SMALL = 1e-4, 3e-3, 4e-2, 0.01


def changes(stored: Any, found: Any, where: str) -> list[str]:
    """What is not as it was, a line each: numbers to a relative tolerance, all else exactly."""
    if isinstance(stored, dict) and isinstance(found, dict):
        names = sorted({*stored, *found})
        return [line for n in names for line in changes(stored.get(n), found.get(n), f"{where}.{n}")]
    tolerance = OF_NORMS if ".norms." in where else OF_TABLES
    if ".norms." in where and isinstance(stored, float) and stored < SMALL:
        tolerance = OF_BEGUN_AT_ZERO
    if isinstance(stored, float) and isinstance(found, float) and same(str(stored), str(found), tolerance):
        return []
    return [] if stored == found else [f"{where}: {stored} became {found}"]


def keep(checkpoint: Path, target: Path) -> None:
    """Digest of every tensor and the whole held-out table, alike to the byte on one machine."""
    target.mkdir(parents=True)
    found = outcome(checkpoint)
    found["digests"] = {
        name: hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest()
        for name, t in sorted(load_file(checkpoint).items())
    }
    (target / "training.json").write_text(json.dumps(found, indent=1) + "\n")
