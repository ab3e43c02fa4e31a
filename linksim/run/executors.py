"""Who computes the batches of a run: this process, or several of their own. The driver alone writes."""

from __future__ import annotations

import importlib
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray

from channels import kinds
from channels.checks import complaint, in_words
from channels.kinds.loading import load_file, loaded_files
from channels.runtime.child_processes import safe_children
from linksim.build.objects import build_metrics
from linksim.kinds.context import Shared
from linksim.kinds.used import foreign_kinds
from linksim.link import RunError
from linksim.results.store import ResultStore
from linksim.run.computing import Outcome, compute
from linksim.run.machine import Machine
from linksim.run.measuring import Measure
from linksim.run.plan import Batch, Plan
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario
from linksim.scenario.sweeps import as_written, validated, variants

__all__ = ["Executor", "InProcess", "Processes", "Work", "work_of"]

Work = tuple[Machine, Batch]
_AHEAD = 2  # batches that wait for every process
_ATTEMPTS = 3  # at a batch whose processes were killed


def work_of(plan: Plan, machines: Sequence[Machine]) -> list[Work]:
    """Batches of a run in their fixed order, each with the machine that it runs on; of a shard, its part."""
    first, step = plan.shard
    return [(machine, batch) for machine in machines for batch in machine.batches(plan)][first - 1 :: step]


class Executor(Protocol):
    """What computes batches."""

    @property
    def parallel(self) -> int:
        """How many at a time."""
        ...

    def run(self, jobs: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """Outcomes of batches, by their index in the work, in any order.

        Raises:
            RunError: a unit failed.
        """
        ...


@dataclass(frozen=True)
class InProcess:
    """Batches one after the other, in this process.

    Args:
        plan, work, measure, store, device: see :func:`linksim.run.computing.compute`.
    """

    plan: Plan
    work: Sequence[Work]
    measure: Measure
    store: ResultStore
    device: torch.device
    parallel: int = 1

    def run(self, jobs: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """See :class:`Executor`."""
        for job in jobs:
            machine, batch = self.work[job]
            yield job, compute(self.plan, machine, batch, self.measure, self.store, self.device)


# --------------------------------------------------------------------------------------------- processes


@dataclass(frozen=True)
class _Task:
    """What a worker process is told; it makes the rest itself."""

    scenario: dict[str, Any]
    kind_sources: tuple[tuple[str, str], ...]
    images: Mapping[str, NDArray[np.uint8]]
    shard: tuple[int, int]
    keep_failures: int
    folder: str
    device: str
    threads: int
    alive: str = ""  # a file; when it is gone, so is whoever waits for results


class Processes:
    """Batches by several processes, each with its share of the threads; one that is killed is replaced, and
    its batches are computed again.

    Args:
        plan: of the run.
        folder: of the run.
        device: of all processes.
        num: of processes.

    Raises:
        ScenarioError: kinds that exist in this process only.
    """

    def __init__(self, plan: Plan, folder: Path, device: torch.device, num: int) -> None:
        self.parallel = num
        images = {name: image.numpy() for name, image in plan.images.items()}
        threads = max(1, min(cpu_count(), torch.get_num_threads()) // num)
        scenario = as_written(plan.scenario.model_dump())  # paths know the folder that they begin in
        self._task = _Task(
            *(scenario, _kind_sources(plan), images, plan.shard, plan.keep_failures),
            *(str(folder), str(device), threads),
        )

    def run(self, jobs: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        """See :class:`Executor`."""
        left, attempts = list(jobs), dict.fromkeys(jobs, 0)
        while left:
            try:
                for job, outcome in self._run(left):
                    left.remove(job)
                    yield job, outcome
            except BrokenProcessPool as problem:
                waiting = left[: self.parallel * _AHEAD]
                for job in waiting:
                    attempts[job] += 1
                if max(attempts[job] for job in waiting) >= _ATTEMPTS:
                    got = f"processes that were killed {_ATTEMPTS} times at the same batches"
                    cure = "Where memory is short, use fewer --workers or a smaller batch_size."
                    expected = "processes that live as long as the run"
                    raise RunError(complaint("workers", "lost", got, expected, cure)) from problem

    def _run(self, jobs: Sequence[int]) -> Iterator[tuple[int, Outcome]]:
        from joblib.externals.loky import ProcessPoolExecutor

        threads = {f"{name}_NUM_THREADS": str(self._task.threads) for name in ("OMP", "MKL", "OPENBLAS")}
        running: dict[Future[Outcome], int] = {}
        ahead = deque(jobs)
        with safe_children(), tempfile.NamedTemporaryFile(prefix="linksim-run-") as alive:
            # also those processes that replace others import nothing from the working directory
            task = replace(self._task, alive=alive.name)
            pool = ProcessPoolExecutor(self.parallel, initializer=_begin, initargs=(task,), env=threads)
            try:
                while running or ahead:
                    while len(running) < self.parallel * _AHEAD and ahead:
                        job = ahead.popleft()
                        running[pool.submit(_compute, job)] = job
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        yield running.pop(future), future.result()
            finally:
                pool.shutdown(wait=True, kill_workers=True)


def _kind_sources(plan: Plan) -> tuple[tuple[str, str], ...]:
    """What other processes load to have the same kinds: ("file", path) or ("module", name), sorted.

    Raises:
        ScenarioError: a kind that is in no file and no package.
    """
    used, files = foreign_kinds(plan.scenario), {str(path) for path in loaded_files()}
    sources = set()
    for found in kinds.foreign():
        origin, module = found.origin, getattr(found.target, "__module__", "__main__")
        if origin is None or f"{found.family} {found.name}" not in used:
            continue
        if origin.path in files:
            sources.add(("file", origin.path))
        elif origin.source == "session" or module == "__main__":
            got = f"{found.family} {found.name}, made in this Python session"
            cure = "Put it into a file (linksim.load_file, --with), or use workers=1."
            expected = "kinds in files or packages"
            raise ScenarioError(complaint("workers", "kind unknown elsewhere", got, expected, cure))
        elif origin.path:
            sources.add(("module", module))
    return tuple(sorted(sources))


_STATE: dict[str, Any] = {}


def _begin(task: _Task) -> None:
    """Build everything that a run needs, in a worker process; what fails is said by the first batch."""
    threading.Thread(target=_end_with, args=(os.getppid(), Path(task.alive)), daemon=True).start()
    try:
        _STATE["executor"] = _executor(task)
    except Exception as problem:  # a process that cannot begin would only be started again
        said = str(problem) if isinstance(problem, ScenarioError) else in_words(problem)
        _STATE["failed"] = RunError(f"workers: cannot begin: {said}")


def _end_with(parent: int, alive: Path) -> None:
    """End this process when the driver is gone, or has begun again with other processes."""
    while os.getppid() == parent and alive.exists():
        time.sleep(1.0)
    os._exit(1)


def _executor(task: _Task) -> InProcess:
    torch.set_num_threads(task.threads)
    for what, name in task.kind_sources:
        if what == "file":
            load_file(Path(name))
        else:
            importlib.import_module(name)
    scenario = validated(Scenario, task.scenario, "scenario")
    images = {name: torch.from_numpy(np.array(image)) for name, image in task.images.items()}
    plan = Plan(
        scenario, tuple(variants(scenario)), images, shard=task.shard, keep_failures=task.keep_failures
    )
    device, shared = torch.device(task.device), Shared()
    machines = [Machine(plan, variant, device, 1, shared) for variant in plan.variants]
    measure = Measure(build_metrics(scenario.metrics))
    store = ResultStore(Path(task.folder))
    return InProcess(plan, work_of(plan, machines), measure, store, device)


def _compute(job: int) -> Outcome:
    if "failed" in _STATE:
        raise _STATE["failed"]
    executor: InProcess = _STATE["executor"]
    ((_, outcome),) = executor.run([job])
    return outcome
