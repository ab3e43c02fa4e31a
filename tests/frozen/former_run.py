"""A run folder as a former version made it, in data/run: it must stay readable. Rewriting it needs a reason: the
point is that it is old.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.frozen.door import main
from tests.frozen.runs import working_in

FOLDER = Path(__file__).parent / "data" / "run"
SCENARIO = """
schema_version: 1
name: former
question: Can runs of a former version be drawn?
seed: 7
images: {kind: folder, path: pictures, crop: 64}
bandwidth: {data_ratio: 1/2}
channels:
  - {kind: awgn}
  - {kind: ofdm, num_subcarriers: 32, model: {kind: tdl, profile: A, delay_spread_s: 100.0e-9}}
sweep: {snr_db: [2, 14]}
schemes:
  - {kind: linear_analog, name: linear}
  - {kind: separation, name: jpeg, mcs: 11, source: {codec: jpeg}}
  - {kind: uncoded, name: qpsk, bits_per_symbol: 2}
  - {kind: capacity_bound, name: bound, source: {codec: jpeg}}
metrics: [psnr, ber]
statistics: {resamples: 200, against: awgn}
panel: {images: 1, snr_db: [14]}
"""
_OF_THIS_MACHINE = {"machine": "x86_64 Linux, 1 threads", "commit": "", "started": "2026-11-28T00:00:00Z"}


def write(folder: Path) -> None:
    """Make the folder anew in a workplace."""
    scenario = folder / "former.yaml"
    scenario.write_text(SCENARIO)
    with working_in(folder):
        code = main(
            ["simulate", scenario.name, "--out", "former", "--workers", "1", "--device", "cpu", "--no-report"]
        )
    if code != 0:
        raise RuntimeError(f"former run: exit code {code}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    shutil.copytree(folder / "former", FOLDER)
    header = json.loads((FOLDER / "run.json").read_text())
    header |= {name: value for name, value in _OF_THIS_MACHINE.items() if name in header}
    (FOLDER / "run.json").write_text(json.dumps(header, indent=1) + "\n")
