"""The crash harness sees damage: a cache that writes in place, a command that fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def crash(code: str) -> str:
    """Kill a case of which something was changed, in a process of its own; what it says."""
    script = "import sys; sys.path.insert(0, {root!r})\nfrom tests.crash import cases, harness\n{code}\n"
    script += "harness.import_all = lambda: None\nraise SystemExit(harness.main(['cache', '--kills', '3', '--work', sys.argv[1]]))"
    return script.format(root=str(ROOT), code=textwrap.dedent(code))


def run(code: str, tmp_path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", crash(code), str(tmp_path / "w")], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_entries_that_are_written_in_place_are_damage(tmp_path):
    code = """
    import time
    from linksim.source.stream_cache import StreamCache
    cases.Cache.COUNT = 20
    def put(self, key, data):
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(self._digest(key, data) + data[:5])
            file.flush()
            time.sleep(0.05)
            file.write(data[5:])
    StreamCache.put = put
    """
    status, said = run(code, tmp_path)
    assert status == 1
    assert "is not whole" in said
    assert "seed 0, killed after" in said


def test_whole_entries_are_none(tmp_path):
    status, said = run("cases.Cache.COUNT = 200", tmp_path)
    assert status == 0
    assert '"kills": 3' in said or '"kills": 4' in said
