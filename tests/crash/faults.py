"""What else happens to runs: workers that are killed, lines that were half written, disks that are full, two
drivers. They end as a run that nobody disturbed. Cases of :mod:`tests.crash.harness`:

    python -m tests.crash mixed       # killed drivers, alone and with two workers in turn
    python -m tests.crash ray         # killed workers of Ray
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from tests.crash.cases import CASES, Disturbed, Simulate
from tests.crash.child import Child, Damage, in_child, linksim
from tests.crash.harness import KILLS

__all__ = ["FAULTS", "can_mount", "workers_of"]


class Mixed(Simulate):
    """The driver is killed; it computes alone and with two workers in turn. What it said was done stays."""

    def start(self, folder: Path) -> int:
        with (folder / "starts").open("ab") as file:
            file.write(b".")
        return self.run(folder, workers=2 if (folder / "starts").stat().st_size % 2 else 1)

    def run(self, folder: Path, out: Path | None = None, **where: Any) -> int:
        """Run, and note what is reported as done at once."""
        from linksim import simulate

        os.environ["LINKSIM_CACHE"] = str(folder / "cache")
        reported = os.open(folder / "reported", os.O_WRONLY | os.O_CREAT)

        def report(done: int, total: int, left: object) -> None:
            os.pwrite(reported, b"%9d" % done, 0)

        simulate(str(self.scenario), out=out or folder / "run", progress=report, **where)
        return 0

    def disturb(self, folder: Path, whole: Path, rng: random.Random, kills: int, whole_s: float) -> Disturbed:
        """A few times each: on a busy machine a run might never end by itself."""
        return super().disturb(folder, whole, rng, min(kills, rng.randrange(1, 5)), whole_s)

    def after_kill(self, folder: Path, whole: Path) -> bool:
        self._seen(folder)
        return False

    def _seen(self, folder: Path) -> None:
        """What was reported is in the file, and what was in the file before is there still, in its place.

        Raises:
            Damage: it is not.
        """
        records, reported, seen = folder / "run" / "records.jsonl", folder / "reported", folder / "seen"
        data = records.read_bytes() if records.exists() else b""
        lines = data.splitlines(keepends=True)
        lines = [line for line in lines if line.endswith(b"\n")]
        done = int(reported.read_bytes() or 0) if reported.exists() else 0
        if len(lines) < done:
            raise Damage(f"{done} units were reported as done, {len(lines)} have a record")
        before = seen.read_bytes() if seen.exists() else b""
        if not data.startswith(before):
            raise Damage("records that were there have changed")
        seen.write_bytes(b"".join(lines))

    def facts(self, folder: Path) -> dict[str, Any]:
        self._seen(folder)
        return super().facts(folder)


def workers_of(pid: int, word: str) -> list[psutil.Process]:
    """Worker processes below a process, by a word of their command line."""
    found = []
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    for child in children:
        try:
            if any(word in part for part in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


class Loky(Mixed):
    """A worker process is killed, at any moment from its start to its end; its driver goes on."""

    word = "LokyProcess"

    def start(self, folder: Path) -> int:
        return self.run(folder, workers=2)

    def disturb(self, folder: Path, whole: Path, rng: random.Random, kills: int, whole_s: float) -> Disturbed:
        moment, lot = rng.uniform(0, whole_s), rng.random()
        with Child(lambda: self.start(folder)) as child:
            while not child.ended():
                found = workers_of(child.pid, self.word) if child.passed_s() > moment else []
                if found:
                    victim = found[int(lot * len(found))]
                    victim.kill()
                    break
                time.sleep(0.01)
            ended = child.ended()
            code = child.wait()
            if code:
                raise Damage(f"exit code {code} after a worker was killed: {child.said()[-3000:]}")
        said = f"a worker killed after {moment:.3f} s"
        return Disturbed(0 if ended else 1, said, whole_s)


class Ray(Loky):
    """A worker of a Ray cluster of this machine is killed."""

    word = "ray::_Worker"

    def start(self, folder: Path) -> int:
        return self.run(folder, workers=2, ray="local")


class Torn(Mixed):
    """A part of the records, the last line of it cut at any byte, as after a loss of power."""

    def disturb(self, folder: Path, whole: Path, rng: random.Random, kills: int, whole_s: float) -> Disturbed:
        shutil.copytree(whole / "run", folder / "run")
        (folder / "run" / "results.csv").unlink()
        records = folder / "run" / "records.jsonl"
        length = rng.randrange(records.stat().st_size)
        os.truncate(records, length)
        in_child(lambda: self.run(folder, workers=1), None)
        return Disturbed(1, f"torn after {length} bytes", whole_s)


def can_mount(folder: Path) -> str:
    """Why no file system can be mounted on a folder; empty if one can."""
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if not shutil.which("mount"):
        return "mount: no such program, got none, expected it for a small disk"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"mount: not permitted, got {done.stderr.strip()}, expected a small disk"
    subprocess.run(["umount", str(folder)], check=True)
    return ""


class FullDisk(Mixed):
    """A disk of 256 kB, some of it taken, is full at some moment of the run; then there is room."""

    def disturb(self, folder: Path, whole: Path, rng: random.Random, kills: int, whole_s: float) -> Disturbed:
        needed = sum(
            -(-path.stat().st_size // 4096) * 4 for path in (whole / "run").rglob("*") if path.is_file()
        )
        taken = 256 - rng.randrange(4, needed * 3 // 4, 4)
        disk = folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=True)
        try:
            (disk / "taken").write_bytes(bytes(1024 * taken))
            self._fill(folder, disk / "run")
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            in_child(lambda: self.run(folder, out=disk / "run", workers=1), None)
            shutil.copytree(disk / "run", folder / "run")
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
        return Disturbed(1, f"full after {256 - taken} kB", whole_s)

    def _fill(self, folder: Path, run: Path) -> None:
        """Run until the disk is full: one line says so, and what was reported is there."""
        words = ["simulate", str(self.scenario), "--out", str(run), "--no-report", "--workers", "1"]
        with Child(lambda: linksim(words)) as child:
            code, said = child.wait(), child.said()
        if code != 1 or "No space left on device" not in said or "Traceback" in said:
            raise Damage(f"exit code {code} on a full disk: {said[-3000:]}")


class TwoDrivers(Mixed):
    """Two drivers begin in one folder at nearly the same moment: one runs, the other one is refused."""

    def disturb(self, folder: Path, whole: Path, rng: random.Random, kills: int, whole_s: float) -> Disturbed:
        later_s = rng.uniform(0, 1)  # while the first one reads, builds, opens or computes
        words = [
            "simulate",
            str(self.scenario),
            "--out",
            str(folder / "run"),
            "--no-report",
            "--workers",
            "1",
        ]
        with Child(lambda: linksim(words)) as one:
            time.sleep(later_s)
            with Child(lambda: linksim(words)) as other:
                codes = [other.wait(), one.wait()]
                said = one.said() + other.said()
        if sorted(codes) != [0, 2] or "in use" not in said or "Traceback" in said:
            raise Damage(f"exit codes {codes} of two drivers, {later_s:.3f} s apart: {said[-3000:]}")
        return Disturbed(1, f"two drivers, {later_s:.3f} s apart", whole_s)


FAULTS = {
    "mixed": (Mixed, 40),
    "loky": (Loky, 15),
    "ray": (Ray, 15),
    "torn": (Torn, 10),
    "full_disk": (FullDisk, 5),
    "two_drivers": (TwoDrivers, 5),
}
CASES.update({name: case for name, (case, _) in FAULTS.items()})
KILLS.update({name: times for name, (_, times) in FAULTS.items()})
