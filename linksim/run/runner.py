"""Running a scenario: units in a fixed order, batches that do not depend on what is already done, resume."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import item_seed
from linksim.build.downloads import Download, missing_weights
from linksim.build.foreign import cause
from linksim.build.objects import (
    Metrics,
    build_metrics,
)
from linksim.images.sets import ImageError, round_to_uint8
from linksim.kinds.context import BuildContext, Shared
from linksim.link import RunError, run_link
from linksim.results.growth import Growth, grown
from linksim.results.records import Record, UnitKey
from linksim.results.set_statistics import write_csv
from linksim.results.store import ResultStore, RunFolderError
from linksim.run.arrivals import not_arrived
from linksim.run.header import header_of
from linksim.run.machine import Machine, failing
from linksim.run.measuring import Measure, records_of
from linksim.run.panel_pictures import lacks_pictures, save_originals, save_panel
from linksim.run.plan import Batch, Plan, make_plan
from linksim.run.time_left import Estimate, TimeLeft
from linksim.scenario.files import ScenarioError

__all__ = ["Plan", "Preflight", "RunError", "RunSummary", "make_plan", "run", "work_of", "write_csv"]

Progress = Callable[[int, int, Estimate], None]
Work = tuple[Machine, Batch]

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
    """

    folder: Path
    units_run: int
    units_kept: int
    unavailable: dict[str, str]
    losses: list[str]
    seconds: float
    growth: Growth | None = None


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
    downloads += missing_weights(plan.scenario.metrics)
    plan = plan.on_this_machine()
    operators, warnings = [], []
    shared = Shared()
    for variant in plan.variants:
        machine = Machine(plan, variant, device, 1, shared, check=True)
        unfit += machine.cannot_fit(plan)
        operators.append(machine.operators)
        warnings += machine.warnings
    simple = tuple(name for name in plan.scenario.metrics if not name.startswith("lpips"))
    metrics = build_metrics(simple)
    _check_sizes(plan, metrics)
    if len(simple) == len(plan.scenario.metrics):
        _check_measures(plan, metrics)
    unfit, warnings = (list(dict.fromkeys(lines)) for lines in (unfit, warnings))
    return Preflight(unfit, list(dict.fromkeys(downloads)), operators, warnings)


def run(
    plan: Plan,
    folder: Path,
    device: torch.device,
    progress: Progress = lambda done, total, left: None,
    *,
    workers: int = 1,
) -> RunSummary:
    """Run a plan, or the rest of it, and write results.csv.

    Args:
        plan: from :func:`make_plan`.
        folder: run folder; an existing one of the same scenario is resumed.
        device: where networks and channels run.
        progress: called with (units done, units in all, time left).
        workers: processes that code pictures.

    Raises:
        ScenarioError and its like: bad input, before anything is written.
        RunError: a unit failed.
    """
    started = time.monotonic()
    metrics = build_metrics(plan.scenario.metrics)
    _check_sizes(plan, metrics)
    _check_measures(plan, metrics)
    shared = Shared()
    machines = [Machine(plan, variant, device, workers, shared) for variant in plan.variants]
    for line in dict.fromkeys(line for machine in machines for line in machine.warnings):
        log.warning("%s", line)
    measure = Measure(metrics)
    store = ResultStore(folder)
    work = work_of(plan, machines)
    planned = [key for _, batch in work for key in batch.keys()]  # noqa: SIM118
    header = header_of(plan, BuildContext(device, workers=workers, shared=shared), metrics, len(planned))
    growth = _opened(store, header, planned)
    for line in growth.lines(len(planned)) if growth is not None else ():
        log.warning("%s: %s", folder, line)
    try:
        done = _known_units(store, plan.scenario.seed, set(planned))
        with failing("features of the originals"):
            for image in plan.images.values():
                measure.keep_features(image, store)
        kept = len(done)
        _run_batches(plan, work, measure, store, device, done, progress)
    finally:
        store.close()
    save_originals(plan, store)
    write_csv(store, plan.scenario.model_dump(mode="json"))
    losses = not_arrived(store.records())
    seconds = time.monotonic() - started
    return RunSummary(folder, len(done) - kept, kept, metrics.unavailable, losses, seconds, growth)


def work_of(plan: Plan, machines: Sequence[Machine]) -> list[Work]:
    """Batches of a run in their fixed order, each with the machine that it runs on; of a shard, its part."""
    first, step = plan.shard
    return [(machine, batch) for machine in machines for batch in machine.batches(plan)][first - 1 :: step]


def _opened(store: ResultStore, header: dict[str, Any], planned: Sequence[UnitKey]) -> Growth | None:
    """Open a folder, made to fit the plan; what became of its units, where its scenario was another."""
    found: list[Growth] = []

    def grow(old: dict[str, Any], new: dict[str, Any]) -> bool:
        growth = grown(store, old, new, planned)
        found.extend([] if growth is None else [growth])
        return growth is not None

    store.open(header, grow)
    return found[0] if found else None


def _run_batches(
    plan: Plan,
    work: Sequence[Work],
    measure: Measure,
    store: ResultStore,
    device: torch.device,
    done: set[UnitKey],
    progress: Progress,
) -> None:
    """Run what has no record, pictures or features yet; ``done`` grows by what is written."""
    lost = {r.key for r in store.records() if measure.lacks_features(r.shown, store)}
    to_do = [b.scheme for _, b in work for key in b.keys() if key not in done]  # noqa: SIM118
    asked = len(done) + len(to_do)
    left = TimeLeft(Counter(to_do))
    progress(len(done), asked, left.estimate())
    for machine, batch in work:
        lacking = not lost.isdisjoint(batch.keys()) or lacks_pictures(plan, batch, store)
        if lacking or not done.issuperset(batch.keys()):
            began = time.monotonic()
            records = _run_batch(plan, machine, batch, measure, store, device)
            new = [r for r in records if r.key not in done]
            store.append(new)
            done.update(r.key for r in new)
            left.spent(batch.scheme, len(new), time.monotonic() - began)
            progress(len(done), asked, left.estimate())


def _check_measures(plan: Plan, metrics: Metrics) -> None:
    sends = any(scheme.is_sent for scheme in plan.scenario.schemes)
    shown = metrics.image or metrics.sets or metrics.state or metrics.unavailable
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
    infos = [*(m.info for m in metrics.image), *(m.info for m in metrics.sets)]
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


def _run_batch(
    plan: Plan, machine: Machine, batch: Batch, measure: Measure, store: ResultStore, device: torch.device
) -> list[Record]:
    scenario = machine.variant.scenario
    original = torch.stack([plan.images[name] for name, _ in batch.members])
    seeds = [item_seed(scenario.seed, name, trial, "link") for name, trial in batch.members]
    budget = plan.budget(machine.variant, batch.members[0][0])
    snr_db = torch.full((len(seeds),), batch.snr_db, device=device)
    began = time.monotonic()
    scheme, channel = (
        machine.schemes[batch.channel, batch.scheme],
        machine.channels[batch.channel, batch.scheme],
    )
    try:
        with torch.no_grad():
            told = machine.told[batch.channel]
            out = run_link(scheme, channel, original.to(device).float() / 255, snr_db, seeds, budget, told)
        if not bool(torch.isfinite(out.reconstruction.image).all()):
            raise ValueError("the reconstruction has values that are not finite. Check the weights.")
        seconds = (time.monotonic() - began) / len(seeds)
        shown = round_to_uint8(out.reconstruction.image).cpu()
        independent = channel.memoryless and vars(type(scheme)).get("memoryless", False)
        records = records_of(
            batch.keys(), seeds, original, shown, out, measure, seconds, channel, independent
        )
        for image in shown:
            measure.keep_features(image, store)
    except Exception as problem:
        name, trial = batch.members[0]
        where = f"{batch.channel}, {batch.scheme}, {batch.snr_db:g} dB, image {name}, trial {trial}"
        said = cause(problem, *machine.descriptions(plan, batch))
        raise RunError(f"unit ({where}, and {len(seeds) - 1} more of its batch) failed: {said}") from problem
    save_panel(scenario, batch, list(plan.images), shown, store)
    return records
