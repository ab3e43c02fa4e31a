"""Batches by several processes of this machine."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count

from channels.runtime.child_processes import (
    deaf_to_the_keyboard,
    end_with,
    keep_growing_workers,
    safe_children,
)
from linksim.results.feature_files import FolderFeatures
from linksim.results.store import ResultStore
from linksim.run.computing import Outcome
from linksim.run.executors.batches import AHEAD, Executor, InProcess, Losses, Work
from linksim.run.executors.tasks import Task, bench, cannot_begin, task_of
from linksim.run.plan import Batch, Plan

__all__ = ["Processes"]


@dataclass(frozen=True)
class _Start:
    """What a process is told when it begins.

    Args:
        task: of the run.
        folder: of the run.
        alive: a file; when it is gone, so is whoever waits for results.
        driver: process id of who began it.
    """

    task: Task
    folder: str
    alive: str
    driver: int


class Processes(Executor):
    """Batches by several processes, each with its share of the threads; one that is killed is replaced, and
    its batches are computed again.

    Args:
        plan, work, folder: of the run.
        device: of all processes.
        num: of processes.

    Raises:
        ScenarioError: kinds that exist in this process only.
    """

    def __init__(
        self, plan: Plan, work: Sequence[Work], folder: Path, device: torch.device, num: int
    ) -> None:
        self._num = num
        threads = max(1, min(cpu_count(), torch.get_num_threads()) // num)
        self._work, self._folder, self._task = work, folder, task_of(plan, device, threads)

    @property
    def parallel(self) -> int:
        """See :class:`Executor`."""
        return self._num

    def run(self, jobs: deque[int], *, grows: bool = False) -> Iterator[tuple[int, Outcome]]:
        """See :class:`Executor`."""
        losses = Losses()
        while jobs:
            running: dict[Future[Outcome], int] = {}
            try:
                yield from self._run(jobs, running)
            except BrokenProcessPool as problem:
                lost = sorted(running.values())
                losses.note(lost, problem)
                jobs.extendleft(reversed(lost))

    def _run(self, jobs: deque[int], running: dict[Future[Outcome], int]) -> Iterator[tuple[int, Outcome]]:
        """The same with one set of processes; ``running`` is what they have when they are lost."""
        from joblib.externals.loky import ProcessPoolExecutor

        threads = {f"{name}_NUM_THREADS": str(self._task.threads) for name in ("OMP", "MKL", "OPENBLAS")}
        with safe_children(), tempfile.NamedTemporaryFile(prefix="linksim-run-") as alive:
            # also those processes that replace others import nothing from the working directory
            start = _Start(self._task, str(self._folder), alive.name, os.getpid())
            pool = ProcessPoolExecutor(self._num, initializer=_begin, initargs=(start,), env=threads)
            try:
                while running or jobs:
                    while len(running) < self._num * AHEAD and jobs:
                        with deaf_to_the_keyboard():
                            future = pool.submit(_compute, *self._work[jobs[0]])
                        running[future] = jobs.popleft()  # now that they have it
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        outcome = future.result()
                        yield running.pop(future), outcome
            finally:
                pool.shutdown(wait=True, kill_workers=True)


_STATE: dict[str, Any] = {}


def _begin(start: _Start) -> None:
    """Build everything that a run needs, in a worker process; what fails is said by the first batch."""
    keep_growing_workers()
    end_with(start.driver, Path(start.alive).exists)  # it may begin again with other processes
    try:
        _STATE["bench"] = bench(start.task, FolderFeatures(ResultStore(Path(start.folder))))
    except Exception as problem:  # a process that cannot begin would only be started again
        _STATE["failed"] = cannot_begin(problem)


def _compute(variant: int, batch: Batch) -> Outcome:
    if "failed" in _STATE:
        raise _STATE["failed"]
    found: InProcess = _STATE["bench"]
    return found.one(variant, batch)
