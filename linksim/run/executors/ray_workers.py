"""Batches by workers of a Ray cluster: actors, each where it has the cores or the share of a GPU that it
needs. One that is lost, alone or with its node, is replaced, and its batches are computed again.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import ModuleType, TracebackType
from typing import Any

import torch
from joblib import cpu_count

from channels.checks import complaint
from linksim import __version__
from linksim.kinds.context import BuildContext
from linksim.link import RunError
from linksim.results.feature_files import FolderFeatures, RememberedFeatures
from linksim.run.computing import Outcome
from linksim.run.executors.batches import AHEAD, ATTEMPTS, Executor, InProcess, Losses, Work, lost_for_good
from linksim.run.executors.ray_cluster import RayChoice, connected, rooms_of
from linksim.run.executors.tasks import Task, bench, cannot_begin, task_of
from linksim.run.header import made_with
from linksim.run.plan import Batch, Plan
from linksim.scenario.errors import ScenarioError

__all__ = ["OnRay", "shares_of"]

log = logging.getLogger("linksim.run.executors.ray_workers")

_GPU_SHARE = 0.5  # of whoever is sent to a GPU by --device
_LOOK_S = 10.0  # between looks at what the cluster has
_PATIENCE_S = 60.0  # without any worker, until it is said

Made = dict[str, dict[str, str]]


def shares_of(plan: Plan, device: torch.device, choice: RayChoice, gpus: float) -> dict[str, float]:
    """The share of a GPU that workers of every scheme take, by its name.

    Args:
        plan: of the run.
        device: of the driver: with CUDA everything goes to GPUs.
        choice: of the cluster.
        gpus: that the cluster has.
    """
    found = {}
    for scheme in plan.scenario.schemes:
        share = scheme.gpu_share if choice.gpus and gpus else 0.0
        found[scheme.name] = share or (_GPU_SHARE if device.type == "cuda" else 0.0)
    return found


# ---------------------------------------------------------------------------------------------- the workers


class _Failed:
    """What a worker gives in the place of an outcome."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        self.said = traceback.format_exc()


class _Elsewhere(Exception):
    """Where in a worker something failed, as a text."""


class _Worker:
    """Computes batches; models are loaded once."""

    def begin(self, task: Task, known: frozenset[tuple[str, str]], schemes: Sequence[str]) -> Made | _Failed:
        """Build everything; what the results depend on here, to be compared with the driver."""
        try:
            if task.device == "cuda" and not torch.cuda.is_available():
                got, expected = "a GPU that PyTorch cannot use", "one of CUDA"
                raise ScenarioError(complaint("workers", "no CUDA", got, expected, "Use --device cpu."))
            self._bench: InProcess = bench(task, RememberedFeatures(known), schemes)
            made = made_with(self._bench.plan, BuildContext(torch.device(task.device)))
        except Exception as problem:
            return _Failed(problem if isinstance(problem, RunError) else cannot_begin(problem))
        return {**made, "versions": {"linksim": __version__}}

    def compute(self, variant: int, batch: Batch) -> Outcome | _Failed:
        """What a batch gives."""
        try:
            return self._bench.one(variant, batch)
        except Exception as problem:
            return _Failed(problem)


@dataclass(eq=False)
class _Crew:
    """Workers with the same needs, and what they have to do.

    Args:
        schemes: that they compute.
        share: of a GPU that each takes; 0: a core for every thread.
        task: what they are told, in the object store.
        threads: of each.
    """

    schemes: tuple[str, ...]
    share: float
    task: Any
    threads: int
    ahead: deque[int] = field(default_factory=deque)
    members: list[_Member] = field(default_factory=list)


@dataclass(eq=False)
class _Member:
    """A worker.

    Args:
        actor: its handle.
        crew: that it belongs to.
        made: what its results depend on; None until it has begun.
        running: batches that it was given, by reference to what will come of them; None: its beginning.
    """

    actor: Any
    crew: _Crew
    made: Made | None = None
    running: dict[Any, int | None] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether it has begun."""
        return self.made is not None

    @property
    def jobs(self) -> list[int]:
        """Batches that it was given."""
        return [job for job in self.running.values() if job is not None]


# ----------------------------------------------------------------------------------------------- the driver


class OnRay(Executor):
    """See the module.

    Args:
        plan, work: of the run.
        device: of the driver.
        workers: of each sort, those with a GPU and those without; None: as many as the cluster has room for.
        choice: of the cluster.

    Raises:
        ScenarioError: kinds that exist in this process only.
    """

    def __init__(
        self, plan: Plan, work: Sequence[Work], device: torch.device, workers: int | None, choice: RayChoice
    ) -> None:
        self._plan, self._work, self._device = plan, work, device
        self._num, self._choice = workers, choice
        self._task = task_of(plan, device, 1)
        self._stack = ExitStack()
        self._ray: ModuleType | None = None
        self._remote: Any = None
        self._crews: list[_Crew] = []
        self._unborn = 0  # workers lost one after the other before any has begun
        self._looked = self._at_work = 0.0
        self._header: Mapping[str, Any] = {}
        self._known: frozenset[tuple[str, str]] = frozenset()  # features that the run has

    def __enter__(self) -> OnRay:
        if self._choice.where != "local":  # one that is not there is noticed before anything is written
            self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._dismiss()
        finally:
            self._stack.close()

    @property
    def parallel(self) -> int:
        """How many workers have begun."""
        return max(1, sum(member.ready for crew in self._crews for member in crew.members))

    def described(self, header: dict[str, Any]) -> dict[str, Any]:
        """With the tools of schemes that GPUs compute which the driver does not have: a worker says."""
        shared = any(scheme.gpu_share for scheme in self._plan.scenario.schemes)
        if self._device.type == "cuda" or not (self._choice.gpus and shared):
            return header
        ray = self._connect()
        tools, devices = dict(header["tools"]), {header["device"]}
        self._at_work = time.monotonic()
        for crew in self._crews:
            if crew.share:
                member = self._hired(crew)
                (reference,) = member.running
                while not self._ended([reference]):
                    self._look_around(False)
                try:
                    member.made, member.running = self._value(ray.get(reference)), {}
                except ray.exceptions.RayError as problem:
                    raise lost_for_good() from problem
                tools |= member.made["tools"]
                devices.add("cuda")
        return {**header, "tools": tools, "device": ", ".join(sorted(devices))}

    def tell(self, header: Mapping[str, Any], known: FolderFeatures) -> None:
        """See :class:`Executor`."""
        self._header = header
        sets = [facts for facts in header["metrics"].values() if facts["scope"] == "set"]
        self._known = known.known({facts["features"] for facts in sets})
        for member in (member for crew in self._crews for member in crew.members):
            self._compare(member)

    def _connect(self) -> ModuleType:
        """Ray; the first time the task is put into the object store."""
        if self._ray is None:
            size = sum(image.numel() for image in self._plan.images.values())
            self._ray = self._stack.enter_context(connected(self._choice, self._num, size))
            self._crews = self._made_crews(self._ray)
            self._remote = self._ray.remote(_Worker)
        return self._ray

    def _made_crews(self, ray: ModuleType) -> list[_Crew]:
        rooms = rooms_of(ray)
        cores = min(rooms.cpus, cpu_count()) if self._choice.where == "local" else rooms.cpus
        threads = max(1, min(cores // self._num, rooms.smallest)) if self._num else 1
        shares = shares_of(self._plan, self._device, self._choice, rooms.gpus)
        crews = []
        for share in sorted(set(shares.values()), reverse=True):  # who needs a GPU is placed first
            schemes = tuple(name for name, of in shares.items() if of == share)
            device = "cuda" if share else "cpu"
            task = ray.put(replace(self._task, device=device, threads=threads))
            crews.append(_Crew(schemes, share, task, threads))
        return crews

    # ------------------------------------------------------------------------------------------- batches

    def run(self, jobs: deque[int], *, grows: bool = False) -> Iterator[tuple[int, Outcome]]:
        """See :class:`Executor`."""
        if not jobs:
            return
        ray, losses = self._connect(), Losses()
        self._at_work = time.monotonic()
        while self._deal(jobs):
            self._hire()
            self._give(keep=grows)
            given = {ref: member for crew in self._crews for member in crew.members for ref in member.running}
            ended = self._ended(list(given))
            for reference in ended:
                member = given[reference]
                try:
                    found = ray.get(reference)
                except ray.exceptions.RayError as problem:
                    self._lost(member, losses, problem)
                    continue
                job, value = member.running.pop(reference), self._value(found)
                if job is None:
                    member.made, self._unborn = value, 0
                    self._compare(member)
                else:
                    yield job, value
            self._look_around(bool(ended))

    def _deal(self, jobs: deque[int]) -> bool:
        """Batches that wait to the crews that compute them; whether there is anything to do."""
        while jobs:
            job = jobs.popleft()
            scheme = self._work[job][1].scheme
            next(crew for crew in self._crews if scheme in crew.schemes).ahead.append(job)
        return any(crew.ahead or any(member.jobs for member in crew.members) for crew in self._crews)

    def _ended(self, given: list[Any]) -> list[Any]:
        """What has ended of some references, within a while."""
        if given:
            ended: list[Any] = self._connect().wait(given, timeout=_LOOK_S)[0]
            return ended
        time.sleep(1.0)  # no room in the cluster
        return []

    @staticmethod
    def _value(found: Any) -> Any:
        """What a worker gave.

        Raises:
            RunError: it failed.
        """
        if isinstance(found, _Failed):
            raise found.problem from _Elsewhere(found.said)
        return found

    def _give(self, *, keep: bool) -> None:
        """Batches to workers that have begun, a few to each; those without any are sent home, or kept."""
        for crew in self._crews:
            for member in [member for member in crew.members if member.ready]:
                while crew.ahead and len(member.running) < AHEAD:
                    job = crew.ahead.popleft()
                    member.running[member.actor.compute.remote(*self._work[job])] = job
                if not member.running and not keep:
                    self._send_home(member)

    def _compare(self, member: _Member) -> None:
        """Refuse a worker that has other things than the driver.

        Raises:
            ScenarioError: names the first one that differs.
        """
        for block, facts in (member.made or {}).items():
            for name, value in facts.items():
                own = self._header.get(block, {}).get(name, value)
                if own != value:
                    what, got = f"a worker has other {block}", f"{name}: {value}"
                    cure = "Give all nodes the same files and versions."
                    raise ScenarioError(complaint("ray", what, got, f"{own}, as the driver has", cure))

    # ------------------------------------------------------------------------------------------- workers

    def _hire(self) -> None:
        """As many workers as there is room and work for; nodes may have come or gone."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        rooms = rooms_of(self._connect())
        cpus = rooms.cpus
        for crew in self._crews:
            room = int(rooms.gpus / crew.share + 1e-6) if crew.share else max(1, cpus // crew.threads)
            wanted = room if self._num is None else self._num
            wanted = min(wanted, room) if crew.share else wanted
            wanted = min(wanted, len(crew.ahead) + sum(bool(member.jobs) for member in crew.members))
            for _ in range(wanted - len(crew.members)):
                self._hired(crew)
            cpus -= len(crew.members) if crew.share else 0  # a core each, though it is not asked for

    def _hired(self, crew: _Crew) -> _Member:
        self._connect()
        threads = {f"{name}_NUM_THREADS": str(crew.threads) for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        needs = {"num_gpus": crew.share, "num_cpus": 0} if crew.share else {"num_cpus": crew.threads}
        environment = {"env_vars": {**threads, "PYTHONSAFEPATH": "1"}}
        actor = self._remote.options(max_restarts=0, runtime_env=environment, **needs).remote()
        member = _Member(actor, crew)
        member.running[actor.begin.remote(crew.task, self._known, crew.schemes)] = None
        crew.members.append(member)
        return member

    def _lost(self, member: _Member, losses: Losses, problem: Exception) -> None:
        """A worker died, with or without its node: its batches are the next ones.

        Raises:
            RunError: the same ones were lost too often, or no worker lives to begin.
        """
        log.info("a worker is lost: %s", problem)
        jobs = member.jobs
        self._send_home(member)
        member.crew.ahead.extendleft(reversed(jobs))
        self._looked = 0.0  # hire another one
        if member.ready:
            losses.note(jobs, problem)
            return
        self._unborn += 1
        if self._unborn >= ATTEMPTS * (1 + len(member.crew.members)):
            raise lost_for_good() from problem

    def _send_home(self, member: _Member) -> None:
        member.crew.members.remove(member)
        member.running = {}
        self._connect().kill(member.actor)

    def _dismiss(self) -> None:
        for crew in self._crews:
            for member in list(crew.members):
                self._send_home(member)

    def _look_around(self, heard: bool) -> None:
        """Say so where nobody can work: no node has what a worker needs."""
        now = time.monotonic()
        if heard or any(m.ready for crew in self._crews for m in crew.members):
            self._at_work = now
        elif now - self._at_work > _PATIENCE_S:
            self._at_work = now
            rooms = rooms_of(self._connect())
            has = f"{rooms.cpus} CPUs and {rooms.gpus:g} GPUs"
            log.warning("ray: no worker has begun for %.0f s, the cluster has %s: waiting", _PATIENCE_S, has)
