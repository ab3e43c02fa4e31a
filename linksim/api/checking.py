"""Checking a scenario without running it: what ``linksim check`` prints and :func:`linksim.check` returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    """

    scenario: Scenario | Training
    scenario_hash: str
    facts: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What ``linksim check`` prints, without warnings."""
        return [f"{self.scenario.name}: valid, hash {self.scenario_hash}", *self.facts]

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"warning: {text}" for text in self.warnings)])

    __repr__ = __str__


def check(scenario: Source, overrides: Mapping[str, Any] | None = None, **fields: Any) -> Check:
    """Validate a scenario or training, build all its parts, and say what it will cost; nothing runs.

    Args:
        scenario: see :func:`linksim.simulate`; trainings are checked, too.
        overrides: values by dotted path.
        fields: overrides as keywords.

    Raises:
        ScenarioError and its like: what would stop the run.
    """
    from linksim.api.simulation import merged_overrides
    from linksim.scenario.files import load_any

    return check_scenario(load_any(scenario, merged_overrides(overrides, fields, check)))


def check_scenario(scenario: Scenario | Training) -> Check:
    """:func:`check` of a scenario that was read."""
    from linksim.api.errors import foreign_as_user_errors
    from linksim.scenario.files import scenario_hash
    from linksim.scenario.schema import Scenario as Evaluation

    with foreign_as_user_errors():
        if isinstance(scenario, Evaluation):
            facts, warnings = _evaluation(scenario)
        else:
            facts, warnings = _training(scenario)
    return Check(scenario, scenario_hash(scenario), tuple(facts), tuple(warnings))


def _training(scenario: Training) -> tuple[list[str], list[str]]:
    import torch

    from linksim.build.channels import training_channels
    from linksim.build.objects import build_images

    recipe: Any = scenario.recipe
    of_block: dict[str, Callable[[Any], tuple[int, list[Download]]]] = {
        "train": _codec_training,
        "train_denoiser": _denoiser_training,
        "train_control": lambda scenario: (1, []),  # its codec comes with its model
    }
    num_uses, missing = of_block[scenario.block](scenario)
    training_channels(recipe.channels, torch.device("cpu"), num_uses, trace=False)
    images = build_images(scenario.images)
    facts = [f"training: {_extent(recipe)}", f"images: {len(images)} from {images.origin}"]
    return facts, [f"{download}; the training begins with it" for download in missing]


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


def _evaluation(scenario: Scenario) -> tuple[list[str], list[str]]:
    import torch

    from linksim.run.runner import make_plan, preflight

    plan = make_plan(scenario)
    found = preflight(plan, torch.device("cpu"))
    cure = "Such frames are source_unfit, which no block error rate counts: use a larger ratio or MCS."
    warnings = [what_without(download) for download in found.downloads]
    return list(_costs(plan, found)), [
        *warnings,
        *found.warnings,
        *(f"{line} {cure}" for line in found.unfit),
    ]


def what_without(download: Download) -> str:
    """What is not on this machine, and what that means for a run."""
    from linksim.build.downloads import at_hand

    if download.scheme:
        return f"{download}; a run begins with it, and its sizes were not checked"
    others = at_hand()
    cure = f" {others} could be measured without." if others else ""
    return f"{download}; a run leaves the metric out if that fails.{cure}"


def _costs(plan: Plan, found: Preflight) -> Iterator[str]:
    """Units, SNRs and channel uses of a run, a line each."""
    from linksim.scenario.schema import channel_names

    scenario = plan.scenario
    parts = {
        "swept points": len(plan.variants),
        "channels": len(scenario.channels),
        "schemes": len(scenario.schemes),
        "SNRs": len(scenario.sweep.snr_db or (None,)),
        "images": len(plan.images),
        "trials": scenario.most_trials,
    }
    most = "" if scenario.stop is None else "at most "
    yield f"images: {plan.images_text}"
    yield f"units: {most}{plan.num_units} = " + " x ".join(f"{n} {what}" for what, n in parts.items())
    if scenario.stop is not None:
        yield scenario.stop.text(scenario.sweep.trials)
    if scenario.sweep.snr_db is None:
        yield "SNR (Es/N0 per data use): from the link budget"
    else:
        yield f"SNR (Es/N0 per data use): {', '.join(f'{v:g}' for v in scenario.sweep.snr_db)} dB"
    labels = channel_names(scenario)
    for variant, built in zip(plan.variants, found.operators, strict=True):
        yield from (f"at {name} = {value}:" for name, value in variant.values)
        for label, spec in zip(labels, variant.scenario.channels, strict=True):
            yield from _uses(plan, variant, spec, built[label])


def _uses(plan: Plan, variant: Any, spec: Any, channel: Any) -> Iterator[str]:
    """What a channel costs pictures of each size."""
    from linksim.scenario.schema import channel_name

    snr_db = spec.untraced().resulting_snr_db(channel)
    if snr_db is not None:
        yield f"  {channel_name(spec)}: SNR {snr_db:g} dB, of the mean gain"
    sizes = {tuple(i.shape[1:]): name for name, i in plan.images.items()}
    for (height, width), name in sizes.items():
        uses = channel.uses(plan.budget(variant, name))
        counts = f"{uses.data} data + {uses.pilot} pilot + {uses.guard} guard uses"
        values = 3 * height * width
        if not values:
            yield f"  {channel_name(spec)}, a frame: {counts}"
            continue
        yield (
            f"  {channel_name(spec)}, {height} x {width} pixels: {counts}, "
            f"CBR {uses.data / values:.6f} data, {uses.total / values:.6f} in all "
            "(side information comes on top)"
        )
