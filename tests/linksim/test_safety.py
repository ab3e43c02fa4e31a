"""Nothing foreign runs: files of the working directory, other programs; nothing is written outside."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from channels.raytraced.model import _start_tracer
from channels.runtime.child_processes import safe_children, safe_environment
from linksim.images.folders import FolderImages
from linksim.images.picture_file import read_image
from linksim.images.sets import ImageError
from tests.crash.cases import RECIPE, pictures_tar
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


def console(
    folder: Path, *arguments: str, before: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """The console script, started in a folder: sys.path begins with the folder of the script, as installed."""
    script = folder.parent / "bin" / "linksim"
    script.parent.mkdir(exist_ok=True)
    script.write_text("from linksim.cli.commands import entry_point\nentry_point()\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    for name in ("PYTHONSAFEPATH", *(("LINKSIM_CACHE",) if "LINKSIM_CACHE" not in variables else ())):
        environment.pop(name, None)
    return subprocess.run(
        [*before, sys.executable, str(script), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def files_below(*folders: Path) -> dict[str, tuple[int, int]]:
    """Sizes and times of all files; bytecode and compiled code are caches of Python and Numba."""
    found = (
        p for folder in folders for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts
    )
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


def test_files_of_the_working_directory_do_not_run_and_nothing_is_written_outside(tmp_path):
    """Two worker processes and their resource trackers, figures and the report included."""
    folder = foreign(tmp_path / "here")
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    code = [ROOT / name for name in ("linksim", "channels", "scenarios", "docs")]
    scenario = write(folder, CODED)
    before = files_below(folder, home, *code)
    variables = {"LINKSIM_CACHE": str(cache), "HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    done = console(folder, "simulate", scenario, "--workers", "2", **variables)
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (folder / "marks").iterdir()) == []
    assert (folder / "runs" / "coded" / "report.html").is_file()
    run = str(folder / "runs" / "coded") + os.sep
    after = {
        name: facts for name, facts in files_below(folder, home, *code).items() if not name.startswith(run)
    }
    assert after == before


# Programs that may start, see SECURITY.md, and where may be written.
NAMED = {"git", "fc-list", "ldconfig", Path(sys.executable).name}
_OPENED = re.compile(r'openat\(AT_FDCWD, "([^"]*)", ([A-Z_|]*)')
_CHANGED = re.compile(r"(?:mkdir|rename|unlink|symlink|link|creat|rmdir)(?:at2?)?\((.*)\) += 0")


def traced(log: str) -> tuple[set[str], set[str], set[str]]:
    """Programs that started, files that were read, and files that were written, made or removed."""
    programs, read, written = set(), set(), set()
    for line in log.splitlines():
        started = re.search(r'execve\("([^"]*)".*\) += 0', line)
        if started:
            programs.add(started.group(1))
        opened = _OPENED.search(line)
        if opened and not re.search(r"= -1 ", line):
            name, flags = opened.groups()
            (written if re.search("O_WRONLY|O_RDWR|O_CREAT", flags) else read).add(name)
        changed = _CHANGED.search(line)
        if changed:
            written |= set(re.findall(r'"([^"]*)"', changed.group(1)))
    return programs, read, written


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("command", ["simulate", "report", "check", "plot", "train"])
def test_system_calls_start_no_other_program_and_write_nowhere_else(command, tmp_path):
    folder = foreign(tmp_path / "here")
    scenario, log = write(folder, CODED), tmp_path / "log"
    recipe = RECIPE.replace("TAR", str(pictures_tar(tmp_path / "pictures.tar"))).replace(
        "steps: 30", "steps: 2"
    )
    places = {name: str(tmp_path / name) for name in ("home", "temporary")}
    for place in places.values():
        Path(place).mkdir()
    variables = {"HOME": places["home"], "TMPDIR": places["temporary"]}
    arguments = {
        "simulate": ["simulate", scenario, "--workers", "2"],
        "report": ["report", "runs/coded"],
        "check": ["check", scenario],
        "plot": ["plot", "runs/coded", "--metric", "psnr"],
        "train": ["train", write(folder, recipe, "recipe.yaml"), "--device", "cpu"],
    }
    if command in ("report", "plot"):
        assert console(folder, *arguments["simulate"], **variables).returncode == 0
    calls = "execve,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,rmdir"
    strace = ["strace", "-f", "-s", "4096", "-o", str(log), "-e", f"trace={calls}"]
    done = console(folder, *arguments[command], before=strace, **variables)
    assert done.returncode == 0, done.stderr
    programs, read, written = traced(log.read_text(errors="replace"))
    assert {Path(name).name for name in programs} <= NAMED | {"python3", "python3.11", "python3.12"}
    assert not any(name.startswith(str(folder)) or "/" not in name for name in programs)
    code = {name for name in read if name.endswith((".py", ".pyc", ".so")) and not name.startswith("/")}
    assert not code | {
        name for name in read if name.startswith(str(folder)) and name.endswith((".py", ".so"))
    }
    allowed = (str(folder / "runs"), "runs/", *places.values(), "/dev/", "/proc/self/", "runs")
    outside = {name for name in written if not name.startswith(allowed) and "__pycache__" not in name}
    assert outside == set()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


def test_a_picture_that_is_postscript_starts_no_ghostscript(tmp_path, monkeypatch):
    folder = foreign(tmp_path / "here")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")  # where gs leaves a mark
    (folder / "a.png").write_bytes(EPS)
    Image.new("RGB", (64, 64)).save(folder / "b.png")
    assert FolderImages(folder).names == ("b.png",)
    with pytest.raises(ImageError, match=r"a\.png: cannot be decoded, got a layout that is not known here"):
        read_image(folder / "a.png", "a.png")
    assert list((folder / "marks").iterdir()) == []


def test_pictures_are_opened_in_named_formats_alone():
    """Pillow would try everything it knows, which includes starting programs."""
    calls = 0
    for path in [*ROOT.glob("linksim/**/*.py"), *ROOT.glob("channels/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                assert any(k.arg == "formats" for k in node.keywords), f"{path}:{node.lineno}"
                calls += 1
    assert calls >= 4


def test_texts_are_read_and_written_as_utf_8():
    """Whatever the locale says: no text file without an encoding."""
    for path in [*ROOT.glob("linksim/**/*.py"), *ROOT.glob("channels/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                text = node.func.attr in ("read_text", "write_text") and ast.unparse(node.func) != "read_text"
                assert not text or any(k.arg == "encoding" for k in node.keywords), f"{path}:{node.lineno}"


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


def test_the_ray_tracer_runs_nothing_of_the_working_directory(tmp_path, monkeypatch):
    """Its process ends for want of a request, long after its imports."""
    folder = foreign(tmp_path / "here")
    for name in ("linksim", "channels"):
        (folder / f"{name}.py").unlink()
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"open({str(folder / 'marks' / name)!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with pytest.raises(RuntimeError, match="ray tracing: the process failed, got exit code"):
        _start_tracer("llvm_ad_mono_polarized", os.devnull, {})
    assert list((folder / "marks").iterdir()) == []
