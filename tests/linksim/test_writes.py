"""Commands write into the run folder, the cache and temporary folders alone, and start no program of their own accord.

Seen from within, by Python's audit events, on every system; system calls are looked at by tests/linksim/test_safety.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.crash.cases import RECIPE, pictures_tar
from tests.linksim.test_safety import NAMED, ROOT, foreign
from tests.linksim.tiny import write

SCENARIO = """
name: watched
images: {kind: skimage, names: [astronaut], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [8]}
schemes: [{kind: separation, name: bpg, mcs: 6}]
metrics: [psnr]
"""
# Runs commands one after the other and prints what they opened to write, made, renamed or removed, what they started,
# and the modules that were imported from the working directory.
WATCHER = """
import json, os, sys
seen = {"written": set(), "started": set(), "network": set()}
watching = [None]
def watch(event, arguments):
    if watching[0] is None:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        mode, flags = arguments[1], arguments[2] or 0
        if (mode and set(mode) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen["written"].add(os.path.abspath(os.fsdecode(arguments[0])))
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"):
        if isinstance(arguments[0], (str, bytes, os.PathLike)):
            seen["written"].add(os.path.abspath(os.fsdecode(arguments[0])))
    elif event in ("os.rename", "os.link", "os.symlink"):
        seen["written"] |= {os.path.abspath(os.fsdecode(name)) for name in arguments[:2]}
    elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        seen["started"].add(os.path.basename(os.fsdecode(arguments[0])))
    elif event in ("os.system", "pty.spawn"):
        seen["started"].add(str(arguments[0]))
    elif event in ("socket.connect", "socket.getaddrinfo"):
        seen["network"].add(str(arguments[1:]))
sys.addaudithook(watch)
from linksim.cli.commands import main
watching[0] = True
codes = {" ".join(command[:1]): main(command) for command in json.loads(sys.argv[1])}
watching[0] = None
here = os.path.abspath(os.getcwd())
files = {name: str(getattr(module, "__file__", None) or "") for name, module in list(sys.modules.items())}
imported = [name for name, file in files.items() if file.startswith(here + os.sep)]
sys.stderr.write(json.dumps({**{key: sorted(found) for key, found in seen.items()}, "imported": imported, "codes": codes}))
"""


def test_commands_write_nowhere_else_and_start_nothing(tmp_path):
    """simulate, check, report, plot and train one after the other, in a folder full of files that might be taken for code."""
    folder = foreign(tmp_path / "here")
    places = {name: tmp_path / name for name in ("home", "cache", "temporary", "out")}
    for place in places.values():
        place.mkdir()
    scenario = write(folder, SCENARIO)
    recipe = write(folder, RECIPE.replace("TAR", str(pictures_tar(tmp_path / "pictures.tar"))).replace("steps: 30", "steps: 2"), "recipe.yaml")  # fmt: skip
    run, training = str(places["out"] / "run"), str(places["out"] / "training")
    commands = [
        ["simulate", scenario, "--out", run, "--workers", "1", "--no-report"],
        ["check", scenario],
        ["report", run],
        ["plot", run, "--metric", "psnr"],
        ["train", recipe, "--out", training, "--device", "cpu"],
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(places["home"]),
        "LINKSIM_CACHE": str(places["cache"]), "TMPDIR": str(places["temporary"]), "XDG_CACHE_HOME": str(places["home"] / ".cache"),
    }  # fmt: skip
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)  # PyTorch sets it in the process of the tests
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, json.dumps(commands)], cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stderr.splitlines()[-1])
    assert seen["codes"] == dict.fromkeys(("simulate", "check", "report", "plot", "train"), 0), done.stderr
    allowed = (*map(str, places.values()), "/dev/")
    outside = [name for name in seen["written"] if not name.startswith(allowed) and "__pycache__" not in name]
    assert outside == []
    assert str(Path(run) / "records.jsonl") in seen["written"], "the watcher sees what is written"
    assert any(name.startswith(training) for name in seen["written"])
    assert set(seen["started"]) <= NAMED
    assert seen["network"] == []
    assert seen["imported"] == []
    assert list((folder / "marks").iterdir()) == []
