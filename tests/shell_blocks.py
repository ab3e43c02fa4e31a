"""Shell commands of the documents, and a folder in which they run as they stand, at small sizes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
from copy import copy
from pathlib import Path

import yaml
from PIL import Image

__all__ = ["BASH", "DOCUMENTS", "NOT_RUN", "ROOT", "Scratch", "commands", "why_not"]

ROOT = Path(__file__).resolve().parent.parent
BASH = shutil.which("bash")
_MADE = {"generated", "_build"}  # pages that are made from the code
_PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if not _MADE & set(p.parts))
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + _PAGES
_INDENTED = r"^    (?P<line>(?:linksim|python|pip|make|docker|accelerate|tensorboard) [^\n]*)"

# What is not run, and why. Every pattern must still be in a document.
NOT_RUN = {
    r"^(git clone|python3 -m venv|pip |make )": "installs, or runs whole suites: jobs of the workflow do",
    r"^docker ": "make docker builds and runs it",
    r"^sbatch --nodes": "needs the nodes of an allocation",
    r"^accelerate ": "needs several processes of DiffJSCC",
    r"^linksim demo": "waits for visitors; tests/linksim/test_demo.py",
    r"head:6379": "needs a Ray cluster that is there; tests/linksim/test_ray.py",
    r"CIFAR10\(|cifar10": "needs a download of 170 MB; tests/linksim/test_bourtsoulatze2019.py",
    r"compressai\.utils\.plot": "needs CompressAI and its repository; tests/linksim/test_json.py holds the files",
    r"Mingyuyang/|MODELS": "downloads 10 GB a model",
    r"diffjscc/kodak|runs/diffjscc": "needs a model of 10 GB",
    r"train/diffjscc-control": "needs Stable Diffusion, 5 GB",
    r"pytest -m slow|python -m tests\.crash|python benchmarks/(check|import)_times": "minutes to hours",
    r"tests\.fuzz pictures --count": "minutes",
    r"benchmarks/conformance_38104\.py": "hours",
    r"convert swinjscc|learned/swinjscc": "needs the authors' checkpoints; tests/linksim/test_swinjscc.py",
    r"train/dial(-large|-denoiser)? ": "needs weights of LPIPS, a download; tests/linksim/test_train_phases.py",
    r"benchmarks/record_scene\.py": "needs a ray tracer with LLVM or a GPU",
}


def commands(path: Path) -> list[str]:
    """Commands of a document in their order: of shell blocks, and of indented lines; a loop is one."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    found: list[str] = []
    pattern = re.compile(rf"^ *```(?:sh|bash)\n(?P<block>.*?)^ *```|{_INDENTED}", re.DOTALL | re.MULTILINE)
    for match in pattern.finditer(text):
        if match["block"] is None:
            found.append(match["line"])
        elif not match["block"].lstrip().startswith("#!"):
            found += _statements(textwrap.dedent(match["block"]))
    return found


def _statements(block: str) -> list[str]:
    done, loop = [], []
    for line in block.splitlines():
        if loop or line.startswith("for "):
            loop.append(line)
            if line.startswith("done"):
                done.append("\n".join(loop))
                loop = []
        elif line.strip() and not line.lstrip().startswith("#"):
            done.append(line)
    return done


def why_not(command: str) -> str:
    """Why a command is not run; empty for one that is."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), "")


# ------------------------------------------------------------------------------------------ where they run

_SMALL = ROOT / "tests" / "small_linksim.py"
_SIDE = 192  # of the pictures: enough for MS-SSIM
_PLACES = {
    "/where/kodak": "KODAK",
    "SCENARIO": "my-link.yaml",
    "train-0.tar train-1.tar": "A.tar B.tar",
    " ...": "",
    "--metric gmsd --metric lpips_squeeze": "--metric gmsd --metric vif",  # LPIPS: weights are a download
}
_GIVEN = {  # runs that a page takes for granted
    "docs/json.md": ("study",),
    "docs/report.md": ("quickstart", "a", "b"),
    "docs/runs.md": ("a", "b"),
    "docs/tasks.md": ("my-link",),
}
_FIRST = {  # what a page leaves to its reader
    r"^linksim merge parts/1 ": "for i in 2 3 4; do linksim simulate my-link.yaml --shard $i/4 --out parts/$i; done",
    r"^sbatch --array": "rm -rf parts runs/my-link",  # another way to the same run
    r"my-link.yaml --ray local": "rm -rf runs/my-link",
}


class Scratch:
    """A folder with what the documents take for granted: scenarios, pictures, runs, a small linksim in the PATH.

    Args:
        folder: new.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("docs", "benchmarks", "scenarios", "tests"):
            (folder / name).symlink_to(ROOT / name)
        for name in ("KODAK", "data/kodak", "my/pictures"):
            _pictures(folder / name, 2)
        for name in ("A.tar", "B.tar", "a.tar", "b.tar"):
            _tar(folder / name, folder / "KODAK")
        (folder / "my-link.yaml").write_text(_yaml(ROOT / "README.md", "my-link"))
        (folder / "vvc.yaml").write_text(_yaml(ROOT / "docs" / "opponents.md", "vvc"))
        (folder / "paper.mplstyle").write_text("lines.linewidth: 1\n")
        self._programs(folder / "bin")
        done = self._shell("linksim simulate my-link.yaml --no-report --out earlier")
        assert done.returncode == 0, done.stderr

    def of_page(self, path: Path, folder: Path) -> Scratch:
        """A copy for a page, with the runs that it expects."""
        shutil.copytree(self.folder, folder, symlinks=True)
        made = copy(self)
        made.folder = folder
        for name in _GIVEN.get(path.relative_to(ROOT).as_posix(), ()):
            shutil.copytree(folder / "earlier", folder / "runs" / name)
        return made

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a command of a document says and does, after what the document leaves to its reader."""
        for pattern, first in _FIRST.items():
            if re.search(pattern, command):
                done = self._shell(first)
                assert done.returncode == 0, done.stderr
        for said, meant in _PLACES.items():
            command = command.replace(said, meant)
        return self._shell(command)

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}
        environment["PYTHONPATH"] = str(ROOT)
        environment["LINKSIM_ALLOW_COMMANDS"] = "vvc-enc:vvc-dec"  # an export lasts as long as a shell
        return subprocess.run(
            [str(BASH), "-euo", "pipefail", "-c", command],
            check=False,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )

    @staticmethod
    def _programs(folder: Path) -> None:
        folder.mkdir()
        _script(folder / "linksim", f'#!/bin/sh\nexec {sys.executable} -P {_SMALL} "$@"\n')
        _script(folder / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        _script(folder / "ffmpeg", f"#!{sys.executable}\n{_FFMPEG}")
        _script(folder / "sbatch", _SBATCH)
        text = (ROOT / "docs" / "opponents.md").read_text(encoding="utf-8")
        for name in ("vvc-enc", "vvc-dec"):
            found = re.search(rf"```sh\n(#!/bin/sh -e\n# {name} .*?)```", text, re.DOTALL)
            assert found, name
            _script(folder / name, found[1])


# An array of two tasks, one after the other.
_SBATCH = """#!/bin/bash -eu
shift
export SLURM_ARRAY_TASK_COUNT=2 SLURM_CPUS_PER_TASK=1
for SLURM_ARRAY_TASK_ID in 1 2; do export SLURM_ARRAY_TASK_ID; bash "$@"; done
"""
_FFMPEG = """import sys
from PIL import Image
source, target = sys.argv[sys.argv.index("-i") + 1], sys.argv[-1]
with Image.open(source) as picture:
    if "-qp" in sys.argv:
        picture.save(target, "WEBP", quality=max(0, 100 - 2 * int(sys.argv[sys.argv.index("-qp") + 1])))
    else:
        picture.convert("RGB").save(target, "PNG")
"""


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _yaml(path: Path, name: str) -> str:
    """The scenario of a document with a name."""
    blocks = re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    whole = [b for b in blocks if b.startswith("schema_version") and yaml.safe_load(b)["name"] == name]
    assert len(whole) == 1, (path, name)
    return whole[0]


def _pictures(folder: Path, count: int) -> None:
    from skimage import data

    folder.mkdir(parents=True)
    for index in range(count):
        pixels = data.coffee()[40 * index : 40 * index + _SIDE, : _SIDE + 64]
        Image.fromarray(pixels).save(folder / f"kodim{index + 1:02d}.png")


def _tar(path: Path, folder: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for index in range(2):
            for file in sorted(folder.iterdir()):
                tar.add(file, f"{index}/{file.name}")
