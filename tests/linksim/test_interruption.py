"""Ctrl-C and SIGTERM end a run in order: what was computed is on disk, workers end, the folder is free."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from linksim.cli.commands import main
from linksim.files.interruption import uninterrupted
from linksim.results.store import ResultStore
from tests.linksim.tiny import TINY, write

LONG = TINY.replace("trials: 2", "trials: 900")
GOES_ON = "stopped; the same command goes on from here"


def wait_for_records(folder: Path, seconds: float = 120) -> None:
    """Until a run has written something."""
    end = time.monotonic() + seconds
    while not (folder / "records.jsonl").exists() or not (folder / "records.jsonl").stat().st_size:
        assert time.monotonic() < end
        time.sleep(0.02)


def assert_whole_and_free(folder: Path) -> None:
    """Every line is a record, each of another unit; nobody has the lock."""
    assert (folder / "records.jsonl").read_bytes().endswith(b"}\n")
    keys = [record.key for record in ResultStore(folder).records()]
    assert len(set(keys)) == len(keys) > 0
    with (folder / "records.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture(autouse=True)
def _ctrl_c():
    """As at a terminal: who starts tests in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_in_order(number, code, tmp_path, capsys):
    def stop() -> None:
        wait_for_records(tmp_path / "run")
        os.kill(os.getpid(), number)

    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    thread = threading.Thread(target=stop)
    thread.start()
    words = ["--set", "sweep.trials=900", "--set", "schemes=[{kind: uncoded, name: q, bits_per_symbol: 2}]"]
    assert main(["simulate", write(tmp_path), *words, "--out", str(tmp_path / "run")]) == code
    thread.join()
    assert capsys.readouterr().err.splitlines()[-1] == GOES_ON
    assert_whole_and_free(tmp_path / "run")
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_what_is_being_written_is_written():
    steps = []

    def stop(number: int, frame: object) -> None:
        steps.append("stopped")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012 (both are what is tested)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            steps.append("written")
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
    assert steps == ["written", "stopped"]


WAYS = {
    "alone": ["--workers", "1"],
    "workers": ["--workers", "2"],
    "ray": ["--ray", "local", "--workers", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("keyboard", [True, False], ids=["keyboard", "sigterm"])
def test_a_signal_ends_all_processes(way, keyboard, tmp_path):
    """A keyboard's Ctrl-C goes to every process of the group, workers included; SIGTERM to the driver alone."""
    command = [sys.executable, "-m", "linksim", "simulate", write(tmp_path, LONG), "--no-report", *WAYS[way]]
    driver = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for_records(tmp_path / "run")
        children = psutil.Process(driver.pid).children(recursive=True)
        if keyboard:
            os.killpg(driver.pid, signal.SIGINT)
        else:
            driver.send_signal(signal.SIGTERM)
        said = driver.communicate(timeout=60)[1]
        _, alive = psutil.wait_procs(children, timeout=20)
    finally:
        driver.kill()
    assert driver.returncode == (130 if keyboard else 143), said
    assert not alive
    assert len(children) >= (0 if way == "alone" else 2)
    lines = [line for line in said.splitlines() if line]
    assert lines[-1] == GOES_ON
    assert "Traceback" not in said
    assert_whole_and_free(tmp_path / "run")
