"""What workers are told of a run, once, and what they make of it."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from channels import kinds
from channels.checks import complaint, in_words
from channels.kinds.loading import file_group, load_file, loaded_files
from channels.runtime.cache import cache_folder
from linksim.files.writing import whole_file
from linksim.images.truth import Truth
from linksim.kinds.context import Shared
from linksim.kinds.used import foreign_kinds
from linksim.link import RunError
from linksim.run.executors.batches import InProcess
from linksim.run.machine import Machine
from linksim.run.measuring import HasFeatures, measure_of
from linksim.run.plan import Plan
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario
from linksim.scenario.sweeps import as_written, validated, variants

__all__ = ["KindSource", "Task", "bench", "cannot_begin", "task_of"]


@dataclass(frozen=True)
class KindSource:
    """Where a worker finds kinds of other people.

    Args:
        module: of an installed package; "" for a file.
        path: of a file that was loaded.
        files: that file and the modules beside it that it imports, by their path below its folder.
    """

    module: str = ""
    path: str = ""
    files: tuple[tuple[str, bytes], ...] = ()

    def load(self) -> None:
        """Load it; a file that is not on this machine, or is another one here, from its contents."""
        if self.module:
            importlib.import_module(self.module)
            return
        path = Path(self.path)
        there = {path.parent / name: text for name, text in self.files}
        if any(not place.is_file() or place.read_bytes() != text for place, text in there.items()):
            digest = hashlib.sha256(repr(self.files).encode()).hexdigest()[:16]
            folder = cache_folder("kinds") / digest
            for name, text in self.files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with whole_file(folder / name) as partial:
                    partial.write_bytes(text)
            path = folder / path.name
        load_file(path)


@dataclass(frozen=True)
class Task:
    """What a worker is told; it makes the rest itself.

    Args:
        scenario: as written; paths begin in the folder of its file.
        kind_sources: of kinds that are not built in.
        images: pictures by name, [3, H, W] uint8.
        shard, keep_failures: see :class:`Plan`.
        device: where networks and channels run.
        threads: of a worker.
        truths: what pictures are known to say, by name.
    """

    scenario: dict[str, Any]
    kind_sources: tuple[KindSource, ...]
    images: Mapping[str, NDArray[np.uint8]]
    shard: tuple[int, int]
    keep_failures: int
    device: str
    threads: int
    truths: Mapping[str, Truth | None]


def task_of(plan: Plan, device: torch.device, threads: int) -> Task:
    """What workers of a plan are told.

    Raises:
        ScenarioError: kinds that exist in this process only.
    """
    images = {name: image.numpy() for name, image in plan.images.items()}
    scenario = as_written(plan.scenario.model_dump())  # paths know the folder that they begin in
    how = plan.shard, plan.keep_failures
    return Task(scenario, _kind_sources(plan), images, *how, str(device), threads, plan.truths)


def _kind_sources(plan: Plan) -> tuple[KindSource, ...]:
    """What other processes load to have the same kinds.

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
            path = Path(origin.path)
            group = [(str(f.relative_to(path.parent)), f.read_bytes()) for f in file_group(path)]
            sources.add(KindSource(path=origin.path, files=tuple(group)))
        elif origin.source == "session" or module == "__main__":
            got = f"{found.family} {found.name}, made in this Python session"
            cure = "Put it into a file (linksim.load_file, --with), or use workers=1."
            expected = "kinds in files or packages"
            raise ScenarioError(complaint("workers", "kind unknown elsewhere", got, expected, cure))
        elif origin.path:
            sources.add(KindSource(module=module))
    return tuple(sorted(sources, key=lambda source: (source.path, source.module)))


def bench(task: Task, has: HasFeatures, schemes: Collection[str] | None = None) -> InProcess:
    """Everything that batches need, built in a worker.

    Args:
        task: of the driver.
        has: see :func:`linksim.run.computing.compute`.
        schemes: that the worker computes, by name; None: all.
    """
    torch.set_num_threads(task.threads)
    for source in task.kind_sources:
        source.load()
    scenario = validated(Scenario, task.scenario, "scenario")
    images = {name: torch.from_numpy(np.array(image)) for name, image in task.images.items()}
    how: dict[str, Any] = {"shard": task.shard, "keep_failures": task.keep_failures, "truths": task.truths}
    plan = Plan(scenario, tuple(variants(scenario)), images, **how)
    if schemes is not None:
        plan = plan.with_schemes(schemes)
    device, shared = torch.device(task.device), Shared()
    machines = [Machine(plan, variant, device, 1, shared) for variant in plan.variants]
    return InProcess(plan, machines, (), measure_of(plan), has, device)


def cannot_begin(problem: Exception) -> RunError:
    """What a worker says in the place of its first batch when it could not be built."""
    said = str(problem) if isinstance(problem, ScenarioError) else in_words(problem)
    return RunError(f"workers: cannot begin: {said}")
