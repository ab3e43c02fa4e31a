"""Running a scenario: units in a fixed order, batches that do not depend on what is already done, resume."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from joblib import cpu_count

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import item_seed
from linksim.build.downloads import Download, missing_weights, without_weights
from linksim.build.objects import (
    Metrics,
    build_metrics,
)
from linksim.files.interruption import uninterrupted
from linksim.images.sets import ImageError
from linksim.kinds.context import BuildContext, Shared
from linksim.link import RunError
from linksim.results.feature_files import FolderFeatures, drop_features_of_others
from linksim.results.growth import Growth
from linksim.results.records import Record, UnitKey
from linksim.results.set_statistics import write_csv
from linksim.results.stopping import rule_of
from linksim.results.store import ResultStore, RunFolderError
from linksim.results.time_left import Estimate
from linksim.run.arrivals import not_arrived
from linksim.run.computing import keep_features
from linksim.run.executors import Executor, InProcess, OnRay, Processes, RayChoice, Schedule, work_of
from linksim.run.executors.scheduling import likes, pixels_of, samples_first, time_left
from linksim.run.header import header_of
from linksim.run.known.completing import Again, OnKept, Unlike
from linksim.run.known.failing import Lost
from linksim.run.known.opening import opened, put_back
from linksim.run.machine import Machine, failing
from linksim.run.measuring import Measure, measure_of
from linksim.run.panel_pictures import lacks_pictures, save_originals, save_panel
from linksim.run.plan import Plan, make_plan
from linksim.scenario.files import ScenarioError

__all__ = ["Plan", "Preflight", "RunError", "RunSummary", "make_plan", "run", "write_csv"]

Progress = Callable[[int, int, Estimate], None]

log = logging.getLogger("linksim.run.runner")


@dataclass(frozen=True)
class RunSummary:
    """What a run did.

    Args:
        folder: run folder.
        units_run: units computed now.
        units_kept: units found from before.
        unavailable: metrics that could not be computed, with the reason.
        losses: what did not arrive, a line for every scheme that it concerns.
        seconds: wall time.
        growth: what became of the units of a folder whose scenario was another.
        measured: units of before that were measured on what is kept of them.
        again: units of before that were run again, to be measured.
    """

    folder: Path
    units_run: int
    units_kept: int
    unavailable: dict[str, str]
    losses: list[str]
    seconds: float
    growth: Growth | None = None
    measured: int = 0
    again: int = 0


@dataclass(frozen=True)
class Preflight:
    """What a check found.

    Args:
        unfit: what can never arrive, a line each.
        downloads: what a run downloads first; schemes that need it were not checked any further.
        operators: of every variant of the plan, by the names of its channels; rays were not traced.
        warnings: what is unusual of channels of other people, a line each.
    """

    unfit: list[str]
    downloads: list[Download]
    operators: list[dict[str, ChannelOperator]]
    warnings: list[str] = field(default_factory=list)


def preflight(plan: Plan, device: torch.device) -> Preflight:
    """Build every scheme and channel that is on this machine and check it, and the metrics, against every
    image. No network is touched, and of large models only headers are read.

    Raises:
        ScenarioError, CheckpointError, CalibrationError, ...: what would stop the run.
    """
    unfit: list[str] = []
    downloads = [d for variant in plan.variants for s in variant.scenario.schemes for d in s.downloads()]
    classifier, asked = plan.scenario.classifier, plan.scenario.metrics
    downloads += missing_weights(asked, classifier)
    plan = plan.on_this_machine()
    operators, warnings = [], []
    shared = Shared()
    for variant in plan.variants:
        machine = Machine(plan, variant, device, 1, shared, check=True)
        unfit += machine.cannot_fit(plan)
        operators.append(machine.operators)
        warnings += machine.warnings
    simple = tuple(name for name in without_weights(asked) if not missing_weights((name,), classifier))
    metrics = build_metrics(simple, classifier)
    _check_sizes(plan, metrics)
    if len(simple) == len(asked):
        _check_measures(plan, metrics)
    unfit, warnings = (list(dict.fromkeys(lines)) for lines in (unfit, warnings))
    return Preflight(unfit, list(dict.fromkeys(downloads)), operators, warnings)


def run(
    plan: Plan,
    folder: Path,
    device: torch.device,
    progress: Progress = lambda done, total, left: None,
    *,
    workers: int | None = 1,
    ray: RayChoice | None = None,
    only_known: bool = False,
) -> RunSummary:
    """Run a plan, or the rest of it, and write results.csv.

    Args:
        plan: from :func:`make_plan`.
        folder: run folder; an existing one of the same scenario is resumed.
        device: where networks and channels run.
        progress: called with (units done, units in all, time left).
        workers: processes that run units; None: this one, with others that code pictures.
        ray: cluster whose workers run units in their place; None: no cluster.
        only_known: run no units but those that the folder has and that lack metrics.

    Raises:
        ScenarioError and its like: bad input, before anything is written.
        RunError: a unit failed.
        Unlike: a unit that was run again for further metrics came out unlike before; the folder is as it was.
    """
    started = time.monotonic()
    measure = measure_of(plan)
    metrics = measure.metrics
    _check_sizes(plan, metrics)
    _check_measures(plan, metrics)
    coding = cpu_count() if workers is None and ray is None else 1
    context = BuildContext(device, workers=coding, shared=Shared(), pictures=plan.has_pictures)
    store = ResultStore(folder)
    bench = _bench(plan, context, measure, store)
    with _executor(bench, folder, workers, ray) as executor:
        ran = _run_in(store, bench, executor, context, progress, only_known=only_known)
    save_originals(plan, store)
    write_csv(store, plan.scenario.model_dump(mode="json"))
    return RunSummary(
        *(folder, ran.done - ran.kept, ran.kept, metrics.unavailable, not_arrived(store.records())),
        *(time.monotonic() - started, ran.growth, ran.measured, ran.again),
    )


@contextmanager
def _executor(
    bench: InProcess, folder: Path, workers: int | None, ray: RayChoice | None
) -> Iterator[Executor]:
    """What computes a run, as long as the block lasts."""
    if ray is not None:
        with OnRay(bench.plan, bench.work, bench.device, workers, ray) as cluster:
            yield cluster
    elif workers is not None and workers > 1:
        yield Processes(bench.plan, bench.work, folder, bench.device, workers)
    else:
        yield bench


def _bench(plan: Plan, context: BuildContext, measure: Measure, store: ResultStore) -> InProcess:
    """Batches, with all that they need, built."""
    device, coding, shared = context.device, context.workers, context.shared
    machines = [Machine(plan, variant, device, coding, shared) for variant in plan.variants]
    for line in dict.fromkeys(line for machine in machines for line in machine.warnings):
        log.warning("%s", line)
    return InProcess(plan, machines, work_of(plan, machines), measure, FolderFeatures(store), device)


@dataclass(frozen=True)
class _Ran:
    """What was done in a folder.

    Args:
        done: units that have a record.
        kept: units that had one before.
        growth: what became of the folder, see :class:`linksim.run.known.opening.Opened`.
        measured: units that were measured on what was kept of them.
        again: units that were run again for metrics.
    """

    done: int
    kept: int
    growth: Growth | None
    measured: int
    again: int


def _run_in(
    store: ResultStore,
    bench: InProcess,
    executor: Executor,
    context: BuildContext,
    progress: Progress,
    *,
    only_known: bool,
) -> _Ran:
    """Open the folder and run what is missing in it."""
    plan, measure = bench.plan, bench.measure
    planned = [key for _, batch in bench.work for key in batch.keys()]  # noqa: SIM118
    header = executor.described(header_of(plan, context, measure.metrics, len(planned)))
    there = opened(store, header, planned, kept := OnKept(measure, plan.images, store))
    for line in there.growth.lines(len(planned)) if there.growth else ():
        log.warning("%s: %s", store.folder, line)
    try:
        done = _known_units(store, plan.scenario.seed, set(planned))
        drop_features_of_others(store, header)
        with failing("features of pictures"):
            measured, lost = _features(bench, kept, store)
        executor.tell(header, FolderFeatures(store))
        again, num_kept = Again(there.expected, lost), len(done)
        stored = {record.key for record in store.stored_records()}  # some may lie beyond the end of a point
        todo = set(again.aside) if only_known else set(planned) - stored
        failed = Lost(plan, bench.machines, store)
        _run_batches(bench, executor, store, _Task(done, todo, again, not only_known, failed), progress)
    except Unlike:
        store.close()
        if there.before is not None:
            put_back(store, there.before)
        raise
    finally:
        store.close()
    measured += there.growth.measured if there.growth else 0
    rerun = len(done & again.aside.keys()) + len(again.lost)
    return _Ran(len(done), num_kept, there.growth, measured, rerun)


def _features(bench: InProcess, kept: OnKept, store: ResultStore) -> tuple[int, dict[UnitKey, Record]]:
    """Features of the originals, and :meth:`OnKept.keep_features`; what is missing is said."""
    measure = bench.measure
    for image in bench.plan.images.values():
        keep_features(measure.features(image, bench.has), store)
    measured, lost = kept.keep_features(measure, bench.has)
    if measured or lost:
        names = ", ".join(metric.info.name for metric in measure.metrics.sets)
        how = f"{measured} units are measured on pictures that are kept, {len(lost)} are run again"
        log.warning("%s: features of %s are missing: %s", store.folder, names, how)
    return measured, lost


@dataclass(frozen=True)
class _Task:
    """What is to be done in a folder.

    Args:
        done: units that have a record; grows by what is written.
        todo: units that are to have one.
        again: of before, that are run again to be measured.
        pictures: whether units and pictures of the panel that are missing are made; else units are measured.
        lost: units that did not arrive and are kept.
    """

    done: set[UnitKey]
    todo: set[UnitKey]
    again: Again
    pictures: bool
    lost: Lost


def _run_batches(
    bench: InProcess, executor: Executor, store: ResultStore, task: _Task, progress: Progress
) -> None:
    """Run what has no record, pictures or features yet."""
    plan, work, done = bench.plan, bench.work, task.done
    shown = {r.key: r.shown for r in store.records()} if task.pictures else {}
    wanted = task.todo | task.again.lost.keys()
    lacking = []
    for index, (_, batch) in enumerate(work):
        lacks = task.pictures and lacks_pictures(plan, batch, store, shown)
        if lacks or task.lost.lacks(batch.keys()) or not wanted.isdisjoint(batch.keys()):
            lacking.append(index)
    batches = [batch for _, batch in work]
    rule = rule_of(store.header()) if task.pictures else None  # of what is only measured all is needed
    schedule = Schedule(batches, lacking, store.stored_records(), rule)
    like, left = likes(batches), time_left(plan, batches, task.todo)

    def told() -> None:
        for place, units in schedule.not_needed().items():
            left.dropped(place, units)
        progress(len(done), len(done) + left.units, left.estimate())

    told()
    queue = deque(samples_first(batches, schedule.ready()))
    for index, outcome in executor.run(queue, grows=rule is not None):
        task.again.check(outcome.records)
        new = [task.again.timed(r) for r in outcome.records if r.key in task.todo and r.key not in done]
        with uninterrupted():
            keep_features(outcome.features, store)
            save_panel(outcome.pictures, store)
            task.lost.keep(outcome)
            store.append(new)
        done.update(record.key for record in new)
        schedule.ended(index, new)
        queue.extend(schedule.ready())
        size = sum(pixels_of(plan, record.key) for record in new)
        left.spent(like[index], len(new), outcome.seconds / executor.parallel, size)
        told()
    task.lost.end()


def _check_measures(plan: Plan, metrics: Metrics) -> None:
    sends = any(scheme.is_sent for scheme in plan.scenario.schemes)
    shown = metrics.image or metrics.task or metrics.sets or metrics.state or metrics.unavailable
    if shown or (metrics.link and sends):
        return
    if not any(scheme.has_bits for scheme in plan.scenario.schemes):
        got = f"{', '.join(plan.scenario.metrics)} for schemes without bits"
        expected = "a metric of pictures, or a digital scheme"
        raise ScenarioError(complaint("metrics", "nothing to measure", got, expected, "Add psnr."))


def _known_units(store: ResultStore, seed: int, planned: set[UnitKey]) -> set[UnitKey]:
    """Units that have a record, each of this run and of its seed.

    Raises:
        RunFolderError: a record that this run would not have made.
    """
    seeds = {record.key: record.seed for record in store.records()}
    cure = "Remove its line; the unit is then run again."
    where = str(store.records_path)
    for key in sorted(seeds, key=lambda k: k.order):
        if key not in planned:
            raise RunFolderError(complaint(where, "record of no unit", key, "units of the run", cure))
        expected = item_seed(seed, key.image, key.trial, "link")
        if seeds[key] != expected:
            got, expected_text = f"{seeds[key]} of {key.image}, trial {key.trial}", f"{expected}"
            raise RunFolderError(complaint(where, "record of another seed", got, expected_text, cure))
    return set(seeds)


def _check_sizes(plan: Plan, metrics: Metrics) -> None:
    if metrics.sets and len(plan.images) < 2:
        name = metrics.sets[0].info.name
        got, cure = f"{len(plan.images)} image for {name}", f"Use more images, or take {name} out of metrics."
        raise ImageError(complaint("images", "too few for a metric of sets", got, "at least 2", cure))
    infos = [m.info for m in (*metrics.image, *metrics.task, *metrics.sets)]
    if not plan.has_pictures:
        return
    needed = [(info.name, info.min_side, f"Take {info.name} out of metrics") for info in infos]
    for scheme in plan.scenario.schemes:
        needed += [(limit.name, limit.min_side, limit.cure) for limit in scheme.side_limits()]
    for metric, min_side, cure in needed:
        for name, image in plan.images.items():
            side = min(image.shape[1:])
            if side < min_side:
                expected, cure = (
                    f"sides of at least {min_side} for {metric}",
                    f"{cure}, or use larger images.",
                )
                raise ImageError(
                    complaint(f"image {name}", "too small for a metric", f"{side}", expected, cure)
                )
