"""Running a scenario: what ``linksim simulate`` and :func:`linksim.simulate` do, step by step."""

from __future__ import annotations

import difflib
import inspect
import logging
import operator
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from channels.checks import complaint, shown

if TYPE_CHECKING:
    import torch

    from linksim.api.run import Run
    from linksim.build.downloads import Download
    from linksim.run.executors import RayChoice
    from linksim.run.runner import Plan, Progress
    from linksim.scenario.files import Source
    from linksim.scenario.schema import Scenario

__all__ = ["Simulation", "device_of", "load_scenario", "merged_overrides", "prepare", "simulate"]

log = logging.getLogger("linksim.api.simulation")

Overrides = Mapping[str, Any] | None


def simulate(
    scenario: Source,
    overrides: Overrides = None,
    *,
    out: str | Path | None = None,
    device: str | torch.device = "auto",
    limit: int | None = None,
    workers: int | None = None,
    shard: str | tuple[int, int] | None = None,
    ray: str | None = None,
    progress: bool | Progress = True,
    **fields: Any,
) -> Run:
    """Run a scenario, or the rest of it, as ``linksim simulate`` does: the same records, files and messages.

    Fields of the scenario are overridden as by ``--set``, in two ways. A mapping holds any path, also with
    names that Python does not allow (``{"channels.tdl-c.csi.kind": "ls"}``) or with two underscores. These
    mean a dot in keywords (``sweep__trials=1``). Values are Python's: lists, tuples, arrays, mappings.

    No report is written and no figure drawn: ``run.report()`` does.

    Args:
        scenario: a file, the name of one that comes with linksim ("quickstart"), a mapping with what a file
            holds, or a :class:`~linksim.scenario.schema.Scenario`. Relative paths in mappings begin in the
            working directory.
        overrides: values by dotted path.
        out: run folder; None for ``runs/NAME``. An existing one of the same scenario is resumed.
        device: "auto", "cpu", "cuda" or "cuda:1".
        limit: use the first so many images only.
        workers: processes that run units, each with its share of the cores; None: this one.
        shard: "I/N" or (I, N): the I-th of N parts of the work; :func:`linksim.merge` makes them one run.
        ray: whose workers run units: "local" (for this run), "auto" (the cluster of this process or machine),
            or HOST:PORT; ``workers`` counts those, None: as many as there are CPUs.
        progress: True: a line on stderr; False: none; or called with (units done, units in all, time left).
        fields: overrides as keywords.

    Returns:
        The run, opened.

    Raises:
        ScenarioError, ImageError, ...: bad input, before anything is written; see ``linksim.USER_ERRORS``.
        RunError: a unit failed; the same call goes on after the cause is removed.

    Example:
        run = linksim.simulate("quickstart", {"sweep.trials": 1}, limit=2, seed=3)
    """
    from linksim.api.checking import what_without

    display = _progress(progress)
    chosen = merged_overrides(overrides, fields, simulate)
    prepared = prepare(
        scenario, chosen, out=out, device=device, limit=limit, workers=workers, shard=shard, ray=ray
    )
    for download in prepared.downloads:
        log.warning("%s", what_without(download))
    run = prepared.run(display)
    assert run.summary is not None
    for reason in run.summary.unavailable.values():
        log.warning("not measured: %s", reason)
    return run


def load_scenario(scenario: Source, overrides: Overrides = None, **fields: Any) -> Scenario:
    """Read and validate a scenario, with overrides as of :func:`simulate`; nothing runs.

    Raises:
        ScenarioError: every problem of it, a line each.
    """
    from linksim.scenario import files as scenario_io

    return scenario_io.load_scenario(scenario, merged_overrides(overrides, fields, load_scenario))


def merged_overrides(overrides: Overrides, fields: Mapping[str, Any], function: Any) -> list[tuple[str, Any]]:
    """Paths and values of both ways to override a field.

    Args:
        overrides: by dotted path.
        fields: as keywords.
        function: whose keywords they are, for a hint about arguments that are mistyped.

    Raises:
        ScenarioError: no mapping, a field that is given twice, or a mistyped argument.
    """
    from linksim.scenario.files import ScenarioError
    from linksim.scenario.schema import Scenario

    if overrides is not None and not isinstance(overrides, Mapping):
        got, expected = f"a {type(overrides).__name__}", 'a mapping such as {"sweep.trials": 1}'
        raise ScenarioError(complaint("overrides", "not a mapping", got, expected))
    merged = {str(path).strip(): value for path, value in (overrides or {}).items()}
    arguments = [name for name in inspect.signature(function).parameters if name != "fields"]
    for keyword, value in fields.items():
        path = keyword.replace("__", ".")
        near = difflib.get_close_matches(keyword, arguments, n=1, cutoff=0.75)
        if near and keyword not in (*Scenario.model_fields, "channel", "extends"):
            got, expected = "no argument, and no field of a scenario", f"{near[0]}, or a field"
            raise ScenarioError(complaint(keyword, "unknown", got, expected, f"Did you mean {near[0]}?"))
        if path in merged:
            got, expected = "two values", "one"
            raise ScenarioError(complaint(path, "given twice", got, expected, "Remove one of them."))
        merged[path] = value
    return list(merged.items())


def _progress(value: bool | Progress) -> Progress:
    """The function that progress is told to, of the argument of :func:`simulate`.

    Raises:
        ScenarioError: neither a truth value nor a function.
    """
    from linksim.api.progress import ProgressLine
    from linksim.scenario.files import ScenarioError

    if not isinstance(value, bool):
        if not callable(value):
            expected = "True, False or a function of units done, units in all and time left"
            raise ScenarioError(complaint("progress", "wrong kind of value", repr(value), expected))
        return value
    return ProgressLine(sys.stderr) if value else _silent


def _silent(done: int, total: int, left: object) -> None:
    """No progress."""


# ------------------------------------------------------------------------------------------- the steps


@dataclass(frozen=True)
class Simulation:
    """A run that can begin.

    Args:
        plan: what it will do.
        folder: where.
        device: where networks and channels run.
        workers: processes that run units; None: this one.
        ray: cluster that runs units; None: this machine does.
    """

    plan: Plan
    folder: Path
    device: torch.device
    workers: int | None
    ray: RayChoice | None = None

    @property
    def downloads(self) -> list[Download]:
        """Weights of metrics that are not on this machine; without them the metric is left out."""
        from linksim.build.downloads import missing_weights

        return missing_weights(self.plan.scenario.metrics)

    def run(self, progress: Progress) -> Run:
        """Run it, or the rest of it.

        Raises:
            ScenarioError and its like: bad input, before anything is written.
            RunError: a unit failed.
        """
        from linksim.api.errors import foreign_as_user_errors
        from linksim.api.run import Run
        from linksim.run.runner import run

        with foreign_as_user_errors():
            summary = run(self.plan, self.folder, self.device, progress, workers=self.workers, ray=self.ray)
        return Run(self.folder, summary=summary)


def prepare(
    scenario: Source,
    overrides: Sequence[tuple[str, Any]] = (),
    *,
    out: str | Path | None = None,
    device: str | torch.device = "auto",
    limit: int | None = None,
    workers: int | None = None,
    shard: str | tuple[int, int] | None = None,
    ray: str | None = None,
    option: str = "",
) -> Simulation:
    """Read and check a scenario and its images, for a run.

    Args:
        scenario: see :func:`simulate`.
        overrides: paths and values.
        out, device, limit, workers, shard, ray: see :func:`simulate`.
        option: what stands in front of the names of arguments in messages: "--" on the command line.

    Raises:
        ScenarioError, ImageError, ...: bad input.
    """
    from linksim.api.errors import foreign_as_user_errors
    from linksim.run.runner import make_plan
    from linksim.scenario import files as scenario_io

    with foreign_as_user_errors():
        loaded = scenario_io.load_scenario(scenario, overrides)
    folder = Path("runs") / loaded.name if out is None else _folder(out, f"{option}out")
    cluster = _cluster(ray, device, f"{option}ray")
    # the GPUs of a cluster are its workers' alone, unless they are asked for by name
    chosen = device_of("cpu" if cluster and str(device) == "auto" else device, f"{option}device")
    counts = {"limit": limit, "workers": workers}
    limit, workers = (_count(value, f"{option}{name}") for name, value in counts.items())
    part = _part(shard, f"{option}shard")
    with foreign_as_user_errors():
        plan = make_plan(loaded, limit=limit, shard=part)
    return Simulation(plan, folder, chosen, workers, cluster)


def _cluster(where: str | None, device: str | torch.device, name: str) -> RayChoice | None:
    """The cluster that is meant; with ``cpu`` its GPUs are left alone."""
    if where is None:
        return None
    from linksim.run.executors import RayChoice

    return RayChoice(where, not str(device).startswith("cpu"), name)


def _folder(value: str | Path, name: str) -> Path:
    """A path that was given."""
    from channels.runtime.cache import expanded
    from linksim.scenario.files import ScenarioError

    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ScenarioError(complaint(name, "no folder", repr(value), "the path of a folder"))
    return expanded(name, str(value))


def _count(value: int | None, name: str) -> int | None:
    """A whole number of at least 1, or None."""
    from linksim.scenario.files import ScenarioError

    try:
        number = None if value is None else operator.index(value)
    except TypeError:
        number = 0
    if number is not None and (number < 1 or isinstance(value, bool)):
        raise ScenarioError(complaint(name, "wrong number", value, "a whole number of at least 1"))
    return number


def _part(value: str | tuple[int, int] | None, name: str) -> tuple[int, int]:
    """Which part of how many; (1, 1) is the whole."""
    from linksim.scenario.files import ScenarioError

    if value is None:
        return 1, 1
    numbers = value.split("/") if isinstance(value, str) else value
    try:
        part, parts = (int(number) for number in numbers)
    except (TypeError, ValueError):
        part, parts = 0, 0
    if not 1 <= part <= parts:
        raise ScenarioError(complaint(name, "no part", shown(value), "I/N with I from 1 to N, such as 2/4"))
    return part, parts


def device_of(name: str | torch.device, argument: str) -> torch.device:
    """The device that a name means; "auto" is CUDA where there is any.

    Raises:
        ScenarioError: no such device here.
    """
    import torch

    from linksim.scenario.files import ScenarioError

    name = str(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    known = name == "cpu" or (kind == "cuda" and (not index or index.isdigit()))
    if not known or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        expected = "auto, cpu" + (", cuda" if torch.cuda.is_available() else "; no CUDA device is there")
        raise ScenarioError(f"{argument}: got {name!r}, expected {expected}.")
    return torch.device("cuda:0" if name == "cuda" else name)
