"""Nothing foreign runs: files of the working directory, other programs; nothing is written outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from channels.child_processes import safe_children, safe_environment
from tests.linksim.tiny import write

ROOT = Path(__file__).parents[2]

CODED = """
name: coded
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [8]}
schemes: [{kind: separation, name: bpg, mcs: 6}]
metrics: [psnr]
"""
# What the parent, its workers and their helpers import, as modules that leave a mark.
MARKED = (
    "joblib",
    "numpy",
    "av",
    "PIL",
    "torch",
    "linksim",
    "channels",
    "multiprocessing",
    "pickle",
    "random",
    "json",
)


def foreign(folder: Path) -> Path:
    """A folder with files that Python, libraries and shells might pick up; each leaves a mark when it runs."""
    folder.mkdir()
    mark = folder / "marks"
    mark.mkdir()
    for name in (*MARKED, "sitecustomize", "usercustomize", "evil_backend", "conftest"):
        (folder / f"{name}.py").write_text(f"open({str(mark)!r} + '/{name}', 'w').close()\n")
    (folder / "matplotlibrc").write_text("backend: module://evil_backend\ntext.usetex: True\n")
    (folder / ".numba_config.yaml").write_text("disable_jit: 1\n")
    for tool in ("git", "gs", "latex", "ldconfig", "bpgenc", "uname"):
        (folder / tool).write_text(f"#!/bin/sh\n: > {mark}/{tool}\n")
        (folder / tool).chmod(0o755)
    return folder


def console(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The console script, started in a folder: sys.path begins with the folder of the script, as installed."""
    script = folder.parent / "bin" / "linksim"
    script.parent.mkdir(exist_ok=True)
    script.write_text("from linksim.cli import entry_point\nentry_point()\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    environment.pop("PYTHONSAFEPATH", None)
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_files_of_the_working_directory_do_not_run(tmp_path):
    """Two worker processes and their resource trackers, figures and the report included."""
    folder = foreign(tmp_path / "here")
    done = console(
        folder, "simulate", write(folder, CODED), "--workers", "2", LINKSIM_CACHE=str(tmp_path / "cache")
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (folder / "marks").iterdir()) == []
    assert (folder / "runs" / "coded" / "report.html").is_file()


def test_python_m_looks_into_the_working_directory_for_linksim_alone(tmp_path):
    folder = foreign(tmp_path / "here")
    for name in ("linksim", "channels"):  # python -m itself looks for these there
        (folder / f"{name}.py").unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "linksim", "list", "metrics"], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((folder / "marks").iterdir()) == []


@pytest.mark.parametrize("how", [["-m", "json"], ["-c", "import json.tool"]])
def test_children_have_the_safe_path(how, tmp_path):
    folder = foreign(tmp_path / "here")
    subprocess.run(
        [sys.executable, *how],
        cwd=folder,
        env=safe_environment(),
        input=b"{}",
        capture_output=True,
        check=False,
    )
    with safe_children():
        subprocess.run([sys.executable, *how], cwd=folder, input=b"{}", capture_output=True, check=False)
    assert list((folder / "marks").iterdir()) == []
    assert "PYTHONSAFEPATH" not in os.environ
