"""Kills at random moments: nothing is lost, doubled, different, or half written; see CONTRIBUTING.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.faults import can_mount
from tests.crash.harness import KILLS

ROOT = Path(__file__).resolve().parents[2]
SHARE = float(os.environ.get("LINKSIM_CRASH_SHARE", "1"))
SEED = os.environ.get("LINKSIM_CRASH_SEED", "0")


@pytest.mark.slow
@pytest.mark.parametrize("case", KILLS)
def test_a_killed_command_ends_as_one_that_was_not(case, tmp_path):
    """In a process of its own, which forks: libraries of this one may have threads already."""
    reason = can_mount(tmp_path) if case == "full_disk" else ""
    if reason:
        pytest.skip(reason)
    kills = max(1, round(SHARE * KILLS[case]))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.crash",
            case,
            "--kills",
            str(kills),
            "--seed",
            SEED,
            "--work",
            str(tmp_path / "w"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
