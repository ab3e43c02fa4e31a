"""How long a run will take on this machine, and how much memory: some of its batches are run and timed."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linksim.run.machine import Machine
    from linksim.run.measuring import HasFeatures
    from linksim.run.plan import Batch, Plan

__all__ = ["CostEstimate", "estimate_costs"]

_LONG_S = 20.0  # a batch that takes longer than this is measured with one picture instead

_WRITES = 10  # that are timed


@dataclass(frozen=True)
class CostEstimate:
    """About what ``linksim simulate`` takes, without ``--workers`` and from empty caches.

    Args:
        units: of the whole run.
        seconds: until results.csv; figures and the report come on top.
        memory_bytes: largest resident memory, of processes that code pictures included.
        measured_units: that were run for it.
        measured_seconds: how long that took.
        limit: "at most " with a stopping rule: all points as long as they may be.
    """

    units: int
    seconds: float
    memory_bytes: int
    measured_units: int
    measured_seconds: float
    limit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"estimate: {self.units} units, "
            f"{self.limit}about {_duration(self.seconds)} on the CPU of this machine with one process, "
            f"{self.memory_bytes / 1e9:.1f} GB peak (from {self.measured_units} units in "
            f"{_duration(self.measured_seconds)}; an estimate: other load, caches and outliers change it; "
            "figures and report come on top)"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass
class _Rates:
    """What a scheme takes on a channel, per pixel: of a picture at an SNR for the first time, which is coded
    then, and again. ``begin`` is what the first unit takes more [s]: loading, compiling.
    """

    begin: float = 0.0
    fresh: float = 0.0
    again: float = 0.0


def estimate_costs(plan: Plan, start_seconds: float = 0.0) -> CostEstimate:
    """Run some batches of every scheme on every channel, at the first and the last swept point, and reckon
    what all would take.

    Args:
        plan: of an evaluation.
        start_seconds: that loading and building took already, as in every run.

    Raises:
        ScenarioError: a model that would have to be downloaded.
        RunError: a unit fails.
    """
    from linksim.results.feature_files import FolderFeatures
    from linksim.results.store import ResultStore

    began = time.monotonic()
    _refuse_downloads(plan)
    with tempfile.TemporaryDirectory(prefix="linksim-estimate-") as folder:
        bench = _Bench(plan, Path(folder) / "streams", FolderFeatures(ResultStore(Path(folder) / "run")))
        seconds = start_seconds + time.monotonic() - began  # building is part of every run
        seconds += bench.num_batches * _writing_seconds(Path(folder))
        last = len(plan.variants) - 1
        for channel, scheme in bench.places():
            rates = [bench.measured(index, channel, scheme) for index in dict.fromkeys((0, last))]
            mean = _Rates(
                rates[0].begin,
                sum(r.fresh for r in rates) / len(rates),
                sum(r.again for r in rates) / len(rates),
            )
            seconds += bench.whole(channel, scheme, mean)
        memory = _peak_bytes()
    limit = "" if plan.scenario.stop is None else "at most "
    return CostEstimate(plan.num_units, seconds, memory, bench.units, time.monotonic() - began, limit)


def _refuse_downloads(plan: Plan) -> None:
    from channels.checks import complaint
    from linksim.scenario.files import ScenarioError

    for variant in plan.variants:
        for scheme in variant.scenario.schemes:
            for download in scheme.downloads():
                got, expected = f"{download}", "models that are here"
                raise ScenarioError(complaint("--estimate", "cannot run a scheme", got, expected))


class _Bench:
    """The parts of a run, and what was measured of them."""

    def __init__(self, plan: Plan, streams: Path, has: HasFeatures) -> None:
        import torch
        from joblib import cpu_count

        from linksim.build.downloads import missing_weights
        from linksim.build.objects import build_metrics
        from linksim.kinds.context import Shared
        from linksim.run.machine import Machine
        from linksim.run.measuring import Measure

        self.plan, self.has, self.device = plan, has, torch.device("cpu")
        chosen = plan.scenario.classifier
        here = [name for name in plan.scenario.metrics if not missing_weights((name,), chosen)]
        self.measure = Measure(build_metrics(tuple(here), chosen), plan.truths)
        shared = Shared(streams)
        self.machines = [Machine(plan, v, self.device, cpu_count(), shared) for v in plan.variants]
        self.batches = [list(machine.batches(plan)) for machine in self.machines]
        self.units = 0

    @property
    def num_batches(self) -> int:
        """Of the whole run; the records of each are written at once."""
        return sum(map(len, self.batches))

    def places(self) -> Iterator[tuple[str, str]]:
        """Names of every channel and scheme."""
        yield from dict.fromkeys((batch.channel, batch.scheme) for batch in self.batches[0])

    def _time(self, machine: Machine, batch: Batch) -> float:
        """Seconds by which a batch makes a run longer: while it is measured the next one is sent, as far as
        the cores of this machine allow.
        """
        from linksim.run.computing import measured, sent

        began, busy = time.monotonic(), time.process_time()
        given = sent(self.plan, machine, batch, self.device)
        measured(self.plan, machine, batch, self.measure, self.has, given)
        self.units += len(batch.members)
        whole, busy = time.monotonic() - began, time.process_time() - busy
        if machine.workers == 1:
            return whole
        return max(given.seconds, whole - given.seconds, busy / machine.workers)

    def _pixels(self, members: Sequence[tuple[str, int]]) -> int:
        """Of pictures; frames of random bits count as one each."""
        sizes = (self.plan.images[name].shape[1:] for name, _ in members)
        return sum(max(height * width, 1) for height, width in sizes)

    def measured(self, index: int, channel: str, scheme: str) -> _Rates:
        """Rates of a scheme on a channel at a swept point.

        One picture at the first SNR loads and compiles; the pictures of the largest batch at another SNR are
        coded for the first time; then the same pictures once more, with other noise.
        """
        from dataclasses import replace

        machine = self.machines[index]
        own = [b for b in self.batches[index] if (b.channel, b.scheme) == (channel, scheme)]
        snrs = list(dict.fromkeys(b.snr_db for b in own))
        largest = max(own, key=lambda b: self._pixels(b.members))
        names = list(dict.fromkeys(name for name, _ in largest.members))
        first = replace(largest, snr_db=snrs[0], members=((names[0], 0),))
        begin = self._time(machine, first)
        single = begin / self._pixels(first.members)
        batch = largest if begin * len(largest.members) < _LONG_S else first
        other_db, size = snrs[len(snrs) // 2], len(batch.members)
        fresh_members = tuple((name, 0) for name in names)[:size]
        if other_db == snrs[0]:
            fresh_members = fresh_members[1:]  # the first one is known
        fresh = single
        if fresh_members:
            fresh = self._rate(machine, replace(batch, snr_db=other_db, members=fresh_members))
        again = fresh
        trials = self.plan.scenario.sweep.trials
        later = tuple((name, trial) for trial in range(1, trials) for name in names)[:size]
        if later:
            again = self._rate(machine, replace(batch, snr_db=other_db, members=later))
        return _Rates(max(begin - fresh * self._pixels(first.members), 0.0), fresh, again)

    def _rate(self, machine: Machine, batch: Batch) -> float:
        return self._time(machine, batch) / self._pixels(batch.members)

    def whole(self, channel: str, scheme: str, rates: _Rates) -> float:
        """Seconds of all units of a scheme on a channel."""
        seconds, seen = rates.begin, set()
        for batches in self.batches:
            for batch in (b for b in batches if (b.channel, b.scheme) == (channel, scheme)):
                for member in batch.members:
                    what = (batch.point, batch.snr_db, member[0])
                    rate = rates.again if what in seen else rates.fresh
                    seen.add(what)
                    seconds += rate * self._pixels([member])
        return seconds


def _writing_seconds(folder: Path) -> float:
    """What it takes to write the records of a batch so that they are on the disk."""
    began = time.monotonic()
    with (folder / "records").open("ab", buffering=0) as file:
        for _ in range(_WRITES):
            file.write(b"0" * 4000)
            os.fsync(file.fileno())
    return (time.monotonic() - began) / _WRITES


def _peak_bytes() -> int:
    """Largest resident memory of this process so far, and what its children have now."""
    import psutil

    if sys.platform == "win32":
        peak = psutil.Process().memory_info().peak_wset
    else:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    children = 0
    for child in psutil.Process().children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.Error:  # gone meanwhile
            continue
    return int(peak) + children
