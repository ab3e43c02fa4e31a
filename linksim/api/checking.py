"""Checking a scenario without running it: what ``linksim check`` prints and :func:`linksim.check` returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from channels.checks import complaint

if TYPE_CHECKING:
    from linksim.api.estimating import CostEstimate
    from linksim.build.downloads import Download
    from linksim.run.runner import Plan, Preflight
    from linksim.scenario.files import Source, Training
    from linksim.scenario.schema import DenoiserTrainScenario, Scenario, TrainScenario

__all__ = ["Check", "check", "check_scenario", "what_without"]


@dataclass(frozen=True, repr=False)
class Check:
    """A valid scenario and what it will cost.

    Args:
        scenario: evaluation or training.
        scenario_hash: over everything that can change a record.
        facts: lines about sizes, SNRs and channel uses.
        warnings: downloads, what is unusual of channels of other people, and pictures that can never
            arrive, a line each.
        costs: what the lines say, as plain values: images, units, SNRs, channel uses.
        estimate: of time and memory, where it was asked for.
    """

    scenario: Scenario | Training
    scenario_hash: str
    facts: tuple[str, ...]
    warnings: tuple[str, ...]
    costs: Mapping[str, Any] = field(default_factory=dict)
    estimate: CostEstimate | None = None

    @property
    def lines(self) -> list[str]:
        """What ``linksim check`` prints, without warnings."""
        estimate = [] if self.estimate is None else [str(self.estimate)]
        return [f"{self.scenario.name}: valid, hash {self.scenario_hash}", *self.facts, *estimate]

    def to_dict(self) -> dict[str, Any]:
        """What ``linksim check --json`` prints."""
        head = {"valid": True, "name": self.scenario.name, "hash": self.scenario_hash}
        estimate = None if self.estimate is None else self.estimate.to_dict()
        return {**head, **self.costs, "estimate": estimate, "warnings": list(self.warnings)}

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"warning: {text}" for text in self.warnings)])

    __repr__ = __str__


def check(
    scenario: Source, overrides: Mapping[str, Any] | None = None, *, estimate: bool = False, **fields: Any
) -> Check:
    """Validate a scenario or training, build all its parts, and say what it will cost; nothing runs.

    Args:
        scenario: see :func:`linksim.simulate`; trainings are checked, too.
        overrides: values by dotted path.
        estimate: also run some batches, for an estimate of time and memory.
        fields: overrides as keywords.

    Raises:
        ScenarioError and its like: what would stop the run.
    """
    from linksim.api.simulation import merged_overrides
    from linksim.scenario.files import load_any

    return check_scenario(load_any(scenario, merged_overrides(overrides, fields, check)), estimate=estimate)


def check_scenario(scenario: Scenario | Training, *, estimate: bool = False) -> Check:
    """:func:`check` of a scenario that was read."""
    from channels.models.rough import rough_statistics
    from linksim.api.errors import foreign_as_user_errors
    from linksim.api.estimating import estimate_costs
    from linksim.scenario.files import ScenarioError, scenario_hash
    from linksim.scenario.schema import Scenario as Evaluation

    found, began = None, time.monotonic()
    with foreign_as_user_errors():
        if isinstance(scenario, Evaluation):
            with rough_statistics():
                facts, warnings, costs, plan = _evaluation(scenario)
            found = estimate_costs(plan, time.monotonic() - began) if estimate else None
        else:
            if estimate:
                got, expected = "a training", "an evaluation; a training says how long it takes (--budget)"
                raise ScenarioError(complaint("--estimate", "no estimate", got, expected))
            with rough_statistics():
                facts, warnings, costs = _training(scenario)
    return Check(scenario, scenario_hash(scenario), tuple(facts), tuple(warnings), costs, found)


def _training(scenario: Training) -> tuple[list[str], list[str], dict[str, Any]]:
    import torch

    from linksim.build.channels import training_channels
    from linksim.build.objects import build_images
    from linksim.images.sets import ImageError

    recipe: Any = scenario.recipe
    of_block: dict[str, Callable[[Any], tuple[int, list[Download]]]] = {
        "train": _codec_training,
        "train_denoiser": _denoiser_training,
        "train_control": lambda scenario: (1, []),  # its codec comes with its model
    }
    num_uses, missing = of_block[scenario.block](scenario)
    training_channels(recipe.channels, torch.device("cpu"), num_uses, trace=False)
    images = build_images(scenario.images)
    if len(images) <= recipe.validation_images:
        expected = f"more than {scenario.block}.validation_images = {recipe.validation_images}"
        raise ImageError(complaint("images", "too few pictures for a training", len(images), expected))
    facts = [f"training: {_extent(recipe)}", f"images: {len(images)} from {images.origin}"]
    costs = {"kind": "training", "extent": _extent(recipe), "images": _images(len(images), images.origin)}
    return facts, [f"{download}; the training begins with it" for download in missing], costs


def _images(count: int, origin: str) -> dict[str, Any]:
    return {"count": count, "from": origin}


def _codec_training(scenario: TrainScenario) -> tuple[int, list[Download]]:
    """Symbols of a crop, and weights that losses lack."""
    from linksim.build.downloads import missing_losses
    from linksim.build.objects import build_codec
    from linksim.training.recipe import check_recipe

    missing = missing_losses(scenario.train)
    check_recipe(scenario, losses=not missing)
    crop = max(phase.crop for phase in scenario.recipe.plan)
    return build_codec(scenario.recipe.codec).num_symbols(crop, crop), missing


def _denoiser_training(scenario: DenoiserTrainScenario) -> tuple[int, list[Download]]:
    """Symbols of a crop; nothing is lacking."""
    from linksim.training.recipe import check_denoiser_recipe

    crop = scenario.recipe.crop
    return check_denoiser_recipe(scenario).num_symbols(crop, crop), []


def _extent(recipe: Any) -> str:
    """How long a training is, in words."""
    parts = getattr(recipe, "plan", (recipe,))
    size = " then ".join(dict.fromkeys(str(part.batch_size) for part in parts))
    limits = [] if recipe.steps is None else [f"{recipe.steps} steps"]
    limits += [] if recipe.time_budget_s is None else [f"{recipe.time_budget_s / 60:g} min"]
    return f"at most {' or '.join(limits)}, {size} crops a step"


def _evaluation(scenario: Scenario) -> tuple[list[str], list[str], dict[str, Any], Plan]:
    import torch

    from linksim.run.runner import make_plan, preflight

    plan = make_plan(scenario)
    found = preflight(plan, torch.device("cpu"))
    cure = "Such frames are source_unfit, which no block error rate counts: use a larger ratio or MCS."
    warnings = [what_without(download) for download in found.downloads]
    warnings += [*found.warnings, *(f"{line} {cure}" for line in found.unfit)]
    costs = _costs(plan, found)
    return list(_lines(plan, costs)), warnings, costs, plan


def what_without(download: Download) -> str:
    """What is not on this machine, and what that means for a run."""
    from linksim.build.downloads import at_hand

    if download.scheme:
        return f"{download}; a run begins with it, and its sizes were not checked"
    others = at_hand()
    cure = f" {others} could be measured without." if others else ""
    return f"{download}; a run leaves the metric out if that fails.{cure}"


def _costs(plan: Plan, found: Preflight) -> dict[str, Any]:
    """Units, SNRs and channel uses of a run."""
    from linksim.scenario.schema import channel_names

    scenario = plan.scenario
    parts = {
        "swept_points": len(plan.variants),
        "channels": len(scenario.channels),
        "schemes": len(scenario.schemes),
        "snrs": len(scenario.sweep.snr_db or (None,)),
        "images": len(plan.images),
        "trials": scenario.most_trials,
    }
    labels = channel_names(scenario)
    uses = [
        row
        for variant, built in zip(plan.variants, found.operators, strict=True)
        for label, spec in zip(labels, variant.scenario.channels, strict=True)
        for row in _uses(plan, variant, spec, built[label])
    ]
    return {
        "kind": "evaluation",
        "images": _images(len(plan.images) if plan.has_pictures else 0, plan.origin),
        "stop": None if scenario.stop is None else scenario.stop.text(scenario.sweep.trials),
        "units": {"total": plan.num_units, **parts},
        "snr_db": None if scenario.sweep.snr_db is None else list(scenario.sweep.snr_db),
        "uses": uses,
    }


def _uses(plan: Plan, variant: Any, spec: Any, channel: Any) -> Iterator[dict[str, Any]]:
    """What a channel costs pictures of each size."""
    from linksim.scenario.schema import channel_name

    snr_db = spec.untraced().resulting_snr_db(channel)
    sizes = {tuple(i.shape[1:]): name for name, i in plan.images.items()}
    for (height, width), name in sizes.items():
        uses = channel.uses(plan.budget(variant, name))
        values = 3 * height * width
        yield {
            "swept": dict(variant.values),
            "channel": channel_name(spec),
            "link_budget_snr_db": snr_db,
            "height": height,
            "width": width,
            **{"data": uses.data, "pilot": uses.pilot, "guard": uses.guard},
            "cbr_data": uses.data / values if values else None,
            "cbr_total": uses.total / values if values else None,
        }


def _lines(plan: Plan, costs: Mapping[str, Any]) -> Iterator[str]:
    """What a run costs, for people."""
    units, snr_db = costs["units"], costs["snr_db"]
    parts = {"swept_points": "swept points", "snrs": "SNRs"}
    counted = [f"{count} {parts.get(what, what)}" for what, count in units.items() if what != "total"]
    most = "at most " if costs["stop"] else ""
    yield f"images: {plan.images_text}"
    yield f"units: {most}{units['total']} = {' x '.join(counted)}"
    if costs["stop"]:
        yield costs["stop"]
    if snr_db is None:
        yield "SNR (Es/N0 per data use): from the link budget"
    else:
        yield f"SNR (Es/N0 per data use): {', '.join(f'{v:g}' for v in snr_db)} dB"
    rows = iter(costs["uses"])
    sizes = len({tuple(image.shape[1:]) for image in plan.images.values()})
    for variant in plan.variants:
        yield from (f"at {name} = {value}:" for name, value in variant.values)
        for _ in variant.scenario.channels:
            yield from _of_channel([next(rows) for _ in range(sizes)])


def _of_channel(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What one channel costs, for people."""
    if rows[0]["link_budget_snr_db"] is not None:
        yield f"  {rows[0]['channel']}: SNR {rows[0]['link_budget_snr_db']:g} dB, of the mean gain"
    for row in rows:
        counts = f"{row['data']} data + {row['pilot']} pilot + {row['guard']} guard uses"
        if row["cbr_data"] is None:
            yield f"  {row['channel']}, a frame: {counts}"
            continue
        yield (
            f"  {row['channel']}, {row['height']} x {row['width']} pixels: {counts}, "
            f"CBR {row['cbr_data']:.6f} data, {row['cbr_total']:.6f} in all "
            "(side information comes on top)"
        )
