"""Who computes the units of a run makes no difference: this process, others, others that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from PIL import Image

import linksim
from channels.kinds import unregister
from linksim.build.checkpoints import save_checkpoint
from linksim.cli.commands import main
from linksim.results.store import ResultStore
from linksim.scenario.schema import LeanCodecSpec
from tests.crash.faults import workers_of
from tests.linksim.tiny import TINY, write

WHOLE = yaml.safe_load(TINY)


def simulate(out: Path, changes: dict | None = None, workers: int | None = 2, **options):
    return linksim.simulate(WHOLE, changes or {}, out=out, workers=workers, progress=False, **options)


def units(folder: Path) -> dict:
    """Records by unit, without the time that they took."""
    return {r.key: replace(r, seconds=0.0) for r in ResultStore(folder).records()}


def assert_same(one: Path, other: Path) -> None:
    """Counts and what is sent the same, metrics to six digits."""
    first, second = units(one), units(other)
    assert first.keys() == second.keys()
    for key, record in first.items():
        assert second[key].values == pytest.approx(record.values, rel=1e-6)
        assert replace(second[key], values={}, shown="") == replace(record, values={}, shown="")


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("alone") / "run", workers=1).folder


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    return simulate(tmp_path_factory.mktemp("together") / "run").folder


def test_two_processes_give_what_one_gives(alone, together):
    assert_same(alone, together)
    assert {p.relative_to(together) for p in together.rglob("*.png")} == {
        p.relative_to(alone) for p in alone.rglob("*.png")
    }


@pytest.mark.slow
def test_the_rest_of_a_run_may_be_run_by_others(together, tmp_path):
    """Half of the records cut off: the same table to the last byte, whoever runs them."""
    out = Path(shutil.copytree(together, tmp_path / "run"))
    lines = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
    (out / "records.jsonl").write_bytes(b"".join(lines[:31]) + lines[31][:40])
    (out / "results.csv").unlink()
    summary = simulate(out).summary
    assert (summary.units_kept, summary.units_run) == (31, 33)
    assert (out / "results.csv").read_bytes() == (together / "results.csv").read_bytes()


@pytest.mark.slow
def test_features_of_sets_are_those_of_one_process(tmp_path):
    """Workers compute them, the driver writes them."""
    changes = {"metrics": ["psnr", "kid_lite2"], "sweep.trials": 1, "sweep.snr_db": [2]}
    changes["schemes"] = WHOLE["schemes"][:2]
    one, two = (simulate(tmp_path / str(n), changes, workers=n) for n in (1, 2))
    assert_same(one.folder, two.folder)
    tables = [run.table().query("metric == 'kid_lite2'") for run in (one, two)]
    assert len(tables[0]) == 4
    assert list(tables[1]["mean"]) == pytest.approx(list(tables[0]["mean"]), rel=1e-6)


@contextlib.contextmanager
def killing(times: int, word: str = "LokyProcess") -> Iterator[list[int]]:
    """Kill workers that have begun, some times; the numbers of those that were killed."""
    killed: list[int] = []
    ended = threading.Event()

    def hunt() -> None:
        while len(killed) < times and not ended.wait(0.05):
            for child in workers_of(os.getpid(), word):
                with contextlib.suppress(psutil.Error):
                    if child.pid not in killed and child.cpu_times().user > 1.0:
                        killed.append(child.pid)
                        os.kill(child.pid, signal.SIGKILL)
                        break

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield killed
    finally:
        ended.set()
        hunter.join()


def test_a_process_that_is_killed_is_replaced(alone, tmp_path):
    with killing(1) as killed:
        run = simulate(tmp_path / "run")
    assert len(killed) == 1
    assert run.summary.units_run == 64
    assert_same(alone, run.folder)


@pytest.mark.slow
def test_processes_that_are_killed_again_and_again_end_the_run(tmp_path):
    lost = pytest.raises(linksim.RunError, match="workers: lost, got processes that were killed 3 times")
    with killing(20) as killed, lost:
        simulate(tmp_path / "run", {"sweep.trials": 500})
    assert len(killed) >= 3
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in lines)
    assert not [
        c for c in psutil.Process().children(recursive=True) if "LokyProcess" in " ".join(c.cmdline())
    ]


FILE = '''
import linksim, torch

@linksim.kind("metric", "{name}")
class Largest(linksim.ImageMetric):
    """Largest error of a picture."""
    info = linksim.MetricInfo("{name}", "1", False, "here")
    def __call__(self, hat, true):
        {first}
        return (hat - true).abs().flatten(1).amax(1)
'''


@pytest.mark.slow
def test_paths_begin_in_the_folder_of_the_file(tmp_path, monkeypatch):
    """As in one process: pictures beside a scenario, which is run from elsewhere."""
    (tmp_path / "there" / "pictures").mkdir(parents=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "there" / "pictures" / f"{number}.png")
    text = TINY.replace(
        "{kind: skimage, names: [astronaut, coffee], crop: 64}", "{kind: folder, path: pictures}"
    )
    text = text.replace("trials: 2", "trials: 1").replace(
        "name: linear}", "name: linear, checkpoint: CHECKPOINT}"
    )
    text = text.replace("kind: linear_analog", "kind: jscc").replace("CHECKPOINT", "mine.safetensors")
    config = {"kind": "lean", "latent_channels": 128, "width_8": 8, "width_16": 8, "embedding": 8}
    spec = LeanCodecSpec(**config)
    save_checkpoint(
        tmp_path / "there" / "mine.safetensors", spec, spec.build().state_dict(), {}, torch.float32
    )
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "there", text)
    one, two = (
        linksim.simulate(path, out=tmp_path / str(n), workers=n, progress=False).folder for n in (1, 2)
    )
    assert_same(one, two)


@pytest.mark.slow
def test_kinds_of_a_file_are_known_to_all_processes(tmp_path, capsys):
    (tmp_path / "own.py").write_text(FILE.format(name="largest_a", first="pass"))
    try:
        words = ["--with", str(tmp_path / "own.py"), "--set", "metrics=[psnr, largest_a]", "--no-report"]
        for workers in (1, 2):
            out = str(tmp_path / str(workers))
            assert main(["simulate", write(tmp_path), *words, "--out", out, "--workers", str(workers)]) == 0
    finally:
        unregister("metric", "largest_a")
    assert_same(tmp_path / "1", tmp_path / "2")
    capsys.readouterr()


GROWS = """
import os, time
import numpy as np
import linksim

KEPT = []


@linksim.kind("metric", "grows")
class Grows(linksim.ImageMetric):
    \"\"\"Keeps 400 MB from its second call on, as a model would that later batches ask for.\"\"\"

    info = linksim.MetricInfo("grows", "1", higher_is_better=True, reference="here")

    def __call__(self, x_hat, x):
        with open(PIDS, "a") as file:
            file.write(f"{os.getpid()}\\n")
        KEPT.append(np.ones(50_000_000 if len(KEPT) == 1 else 1))
        time.sleep(1.1)  # loky looks once a second
        return x.double().mean((1, 2, 3))
"""


@pytest.mark.slow
def test_a_process_that_keeps_what_it_loaded_is_not_replaced(tmp_path):
    """Eight batches by two processes; a third would have loaded everything again."""
    (tmp_path / "own.py").write_text(GROWS.replace("PIDS", repr(str(tmp_path / "pids"))))
    words = [
        "--set",
        "metrics=[psnr, grows]",
        "--set",
        "batch_size=1",
        "--set",
        "sweep.trials=4",
        "--limit",
        "1",
    ]
    words += ["--set", "schemes=[{kind: linear_analog, name: linear}]", "--set", "channels=[{kind: awgn}]"]
    words += [
        "--with",
        str(tmp_path / "own.py"),
        "--no-report",
        "--workers",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    try:
        assert main(["simulate", write(tmp_path), *words]) == 0
    finally:
        unregister("metric", "grows")
    calls = (tmp_path / "pids").read_text().split()
    assert len(calls) >= 8
    assert len(set(calls)) <= 3  # the driver tries a metric once


def test_what_fails_elsewhere_is_said_as_here(tmp_path, capsys):
    (tmp_path / "own.py").write_text(FILE.format(name="largest_b", first='{}["x"]'))
    said = []
    try:
        words = ["--with", str(tmp_path / "own.py"), "--set", "metrics=[psnr, largest_b]", "--no-report"]
        words += ["--set", "sweep.snr_db=[2]", "--set", "sweep.trials=1", "--limit", "1"]
        for workers in ("1", "2"):
            out = str(tmp_path / workers)
            assert main(["simulate", write(tmp_path), *words, "--out", out, "--workers", workers]) == 1
            said.append(capsys.readouterr().err.splitlines()[-1])
    finally:
        unregister("metric", "largest_b")
    assert "failed: kind largest_b of own.py, line 9: KeyError: 'x'" in said[0]
    assert said[1].partition("failed")[2] == said[0].partition("failed")[2]


def test_kinds_of_this_session_are_refused_before_anything_is_written(tmp_path):
    code: dict = {"__name__": "notebook"}
    exec(compile(FILE.format(name="largest_c", first="pass"), "cell", "exec"), code)
    try:
        with pytest.raises(
            linksim.ScenarioError, match="workers: kind unknown elsewhere, got metric largest_c"
        ):
            simulate(tmp_path / "run", {"metrics": ["psnr", "largest_c"]})
    finally:
        unregister("metric", "largest_c")
    assert not (tmp_path / "run").exists()


def test_what_keeps_processes_from_beginning_is_said(tmp_path, capfd):
    """Once, and no process is started again."""
    text = FILE.format(name="largest_d", first="pass")
    text += "import multiprocessing\nif 'Loky' in multiprocessing.current_process().name:\n"
    text += "    raise OSError('no licence')\n"
    (tmp_path / "own.py").write_text(text)
    try:
        words = ["--with", str(tmp_path / "own.py"), "--set", "metrics=[psnr, largest_d]", "--no-report"]
        out = str(tmp_path / "run")
        assert main(["simulate", write(tmp_path), *words, "--out", out, "--workers", "2"]) == 1
    finally:
        unregister("metric", "largest_d")
    said = capfd.readouterr().err
    assert "workers: cannot begin: " in said
    assert "no licence" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, None])
def test_workers_end_with_their_driver(workers, tmp_path):
    """Killed, not stopped: nothing could be cleaned up. Without workers there are those that code pictures."""
    more = f"{{'sweep.trials': 9000}}, out={str(tmp_path / 'run')!r}, workers={workers}"
    code = f"import linksim, yaml\nlinksim.simulate(yaml.safe_load({TINY!r}), {more})\n"
    driver = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 100
        while time.monotonic() < end:
            children = psutil.Process(driver.pid).children(recursive=True)
            records = tmp_path / "run" / "records.jsonl"
            if len(children) >= 2 and records.exists() and records.stat().st_size:
                break
            time.sleep(0.2)
        driver.kill()
        _, alive = psutil.wait_procs(children, timeout=20)
    finally:
        driver.kill()
        driver.wait()
    assert len(children) >= 2
    assert not alive


@pytest.mark.slow
def test_a_script_without_a_guard_may_use_processes(tmp_path):
    """``python script.py`` from a folder with files that other programs would import."""
    (tmp_path / "joblib.py").write_text("open('executed', 'w')\n")
    (tmp_path / "script.py").write_text(
        "import sys; sys.path.pop(0)\nimport linksim, yaml\n"
        f"run = linksim.simulate(yaml.safe_load({TINY!r}), {{'sweep.trials': 1}}, workers=2, progress=False)\n"
        "print(run.summary.units_run)\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["32"]
    assert not (tmp_path / "executed").exists()
