"""Machines without a home, folders with other people's files: compiled code runs, and nothing foreign does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DECODE = """
import numpy as np
from linksim.files import compiled
from linksim.coding.ldpc_decoder import deposit
words = np.zeros((1, 3), np.float32)
deposit(np.ones((1, 2), np.float32), np.array([0, 2]), words)
from numba.core import config
print(words.tolist(), bool(config.DISABLE_JIT), repr(config.CACHE_DIR))
"""


def decode(folder: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | variables
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-c", DECODE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_functions_are_compiled_where_no_cache_can_be_written(tmp_path):
    """Numba's only place of a cache is one that a plain file cannot have: as in a read-only installation."""
    assert decode(tmp_path, NUMBA_CACHE_LOCATOR_CLASSES="IPythonCacheLocator") == "[[1.0, 0.0, 1.0]] False ''"


def test_numba_takes_no_configuration_from_the_working_directory(tmp_path):
    """It could name a folder of pickles as the cache."""
    (tmp_path / ".numba_config.yaml").write_text(f"disable_jit: 1\ncache_dir: {tmp_path}\n")
    assert decode(tmp_path) == "[[1.0, 0.0, 1.0]] False ''"
    assert [p.name for p in tmp_path.iterdir()] == [".numba_config.yaml"]
