"""Batches of a run, what computes them, and how often one of them may be lost."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor as Executing
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch

from channels.checks import complaint
from linksim.build.foreign import foreign_parts
from linksim.link import RunError
from linksim.results.feature_files import FolderFeatures
from linksim.run.computing import Outcome, Sent, begin, compute, measured, prepares, sent
from linksim.run.machine import Machine
from linksim.run.measuring import HasFeatures, Measure, is_ours
from linksim.run.plan import Batch, Plan
from linksim.source.coders import busy, each, waited

__all__ = ["AHEAD", "ATTEMPTS", "Executor", "InProcess", "Losses", "Work", "lost_for_good", "work_of"]

Work = tuple[int, Batch]  # number of the variant in the plan
AHEAD = 2  # batches that wait for every worker
_CODED_AHEAD = 64, 1 << 28  # batches whose pictures other processes code beforehand, and their pixels [bytes]
_BESIDE_CODERS = (
    2 / 3
)  # share of the time that a batch would take if the cores were its own; measured .55 to .7
ATTEMPTS = 3  # at a batch whose workers were killed


def work_of(plan: Plan, machines: Sequence[Machine]) -> list[Work]:
    """Batches of a run in their fixed order, each with the number of its variant; of a shard, its part."""
    first, step = plan.shard
    work = [(i, batch) for i, machine in enumerate(machines) for batch in machine.batches(plan)]
    if plan.scenario.stop is None:
        return work[first - 1 :: step]
    curves = [(batch.channel, batch.scheme, batch.point) for _, batch in work]
    numbers = {curve: i for i, curve in enumerate(dict.fromkeys(curves))}  # what decides stays together
    return [one for one, curve in zip(work, curves, strict=True) if numbers[curve] % step == first - 1]


class Executor:
    """What computes batches."""

    @property
    def parallel(self) -> int:
        """How many at a time."""
        return 1

    def described(self, header: dict[str, Any]) -> dict[str, Any]:
        """A run.json that also says what computes results elsewhere, where it is another thing."""
        return header

    def tell(self, header: Mapping[str, Any], known: FolderFeatures) -> None:
        """The folder is open.

        Args:
            header: its run.json.
            known: features that it has.
        """

    def run(self, jobs: deque[int], *, grows: bool = False) -> Iterator[tuple[int, Outcome]]:
        """Outcomes of batches, by their index in the work, in any order, until nothing waits or is computed.

        Args:
            jobs: that wait; they are taken away. Who takes outcomes may append more.
            grows: whether that is so: who is idle then waits for work.

        Raises:
            RunError: a unit failed.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class InProcess(Executor):
    """Batches one after the other, in this process. Where it has others that code pictures for it, these
    begin with those of batches that come next, and what one batch showed is measured by a thread while the
    next one is sent.

    Args:
        plan, measure, has, device: see :func:`linksim.run.computing.compute`.
        machines: of all variants.
        work: batches of the run.
    """

    plan: Plan
    machines: Sequence[Machine]
    work: Sequence[Work]
    measure: Measure
    has: HasFeatures
    device: torch.device

    def run(self, jobs: deque[int], *, grows: bool = False) -> Iterator[tuple[int, Outcome]]:
        """See :class:`Executor`."""
        if all(machine.workers == 1 for machine in self.machines):
            while jobs:
                job = jobs.popleft()
                yield job, self.one(*self.work[job])
            return
        try:
            with _AtOnce() if self._is_foreign() else ThreadPoolExecutor(1, "linksim-measuring") as thread:
                yield from self._overlapped(jobs, thread)
        except BaseException:
            for some in each():
                some.stop()
            raise
        for some in each():
            some.forget()

    def _is_foreign(self) -> bool:
        """Whether code of other people takes part, which two threads may not be fit to call at a time."""
        specs = [
            s for m in self.machines for s in (*m.variant.scenario.channels, *m.variant.scenario.schemes)
        ]
        metrics = self.measure.metrics
        own = (*metrics.image, *metrics.task, *metrics.count, *metrics.link, *metrics.sets, *metrics.state)
        return any(map(foreign_parts, specs)) or not all(map(is_ours, own))

    def _overlapped(self, jobs: deque[int], thread: Executing) -> Iterator[tuple[int, Outcome]]:
        """The same, with a thread that measures."""
        ahead: dict[int, None] = {}  # whose pictures are being coded
        measuring: deque[tuple[int, float, float, Future[tuple[Outcome, float]]]] = deque()
        problem: Exception | None = None
        ended = 0.0
        while measuring or (jobs and problem is None):
            if jobs and problem is None and len(measuring) < 2:
                self._begin(jobs, ahead)
                began, job, before = time.monotonic(), jobs.popleft(), waited()
                try:
                    given = self._sent(*self.work[job])
                except RunError as failed:  # what was sent before is not lost
                    problem = failed
                    jobs.clear()
                    continue
                # pictures that are coded in good time are not waited for
                began += min(waited() - before, max(time.monotonic() - max(began, ended), 0.0))
                share = _BESIDE_CODERS if busy() else 1.0
                future = thread.submit(self._measured, *self.work[job], given)
                measuring.append((job, began, share, future))
                continue
            job, began, share, future = measuring.popleft()
            outcome, now = future.result()
            # the time by which the run became longer, of which each batch has its own
            yield job, replace(outcome, seconds=share * (now - max(began, ended)))
            ended = now
        if problem is not None:
            raise problem

    def _begin(self, jobs: deque[int], ahead: dict[int, None]) -> None:
        """Let other processes code pictures of batches that come next."""
        most, left = _CODED_AHEAD
        for job in islice(jobs, most):
            variant, batch = self.work[job]
            if prepares(self.machines[variant], batch):
                left -= sum(self.plan.images[name].numel() for name, _ in batch.members)
            if left < 0:
                return
            if job not in ahead:
                ahead[job] = None
                begin(self.plan, self.machines[variant], batch, self.device)

    def _sent(self, variant: int, batch: Batch) -> Sent:
        return sent(self.plan, self.machines[variant], batch, self.device)

    def _measured(self, variant: int, batch: Batch, given: Sent) -> tuple[Outcome, float]:
        """What was sent, measured, and when that was done."""
        outcome = measured(self.plan, self.machines[variant], batch, self.measure, self.has, given)
        return outcome, time.monotonic()

    def one(self, variant: int, batch: Batch) -> Outcome:
        """What a batch gives.

        Raises:
            RunError: a unit failed.
        """
        return compute(self.plan, self.machines[variant], batch, self.measure, self.has, self.device)


class _AtOnce(Executing):
    """Does what it is asked before it comes back."""

    def submit(self, function: Any, /, *args: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **keywords))
        except Exception as problem:
            future.set_exception(problem)
        return future


class Losses:
    """How often batches were lost together with who computed them."""

    def __init__(self) -> None:
        self._times: Counter[int] = Counter()

    def note(self, jobs: Collection[int], problem: BaseException | None) -> None:
        """Batches are lost, to be computed again.

        Raises:
            RunError: one of them was lost too often.
        """
        self._times.update(jobs)
        if any(self._times[job] >= ATTEMPTS for job in jobs):
            raise lost_for_good() from problem


def lost_for_good() -> RunError:
    """What ends a run whose workers do not live."""
    got = f"processes that were killed {ATTEMPTS} times at the same batches"
    cure = "Where memory is short, use fewer --workers or a smaller batch_size."
    return RunError(complaint("workers", "lost", got, "processes that live as long as the run", cure))
