"""What a run will do: variants, pictures, batches in their fixed order."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from channels.checks import complaint
from linksim.build.objects import (
    build_images,
)
from linksim.build.scenario_checks import check_payload_study, check_stop, check_tasks
from linksim.images.sets import ImageSet, read_all
from linksim.images.truth import Truth
from linksim.results.records import Point, UnitKey
from linksim.scenario.effects import check_effects
from linksim.scenario.files import ScenarioError, Variant, variants
from linksim.scenario.schema import (
    Scenario,
    channel_name,
    channel_names,
)
from linksim.scenario.sweeps import count_units

__all__ = ["Batch", "Plan", "make_plan"]

log = logging.getLogger("linksim.run.plan")


@dataclass(frozen=True, slots=True)
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
        shard: (i, N): every N-th batch from the i-th on, i from 1.
        keep_failures: of every channel and scheme, how many units that did not arrive are kept.
        truths: what pictures are known to say, by name.
    """

    scenario: Scenario
    variants: tuple[Variant, ...]
    images: dict[str, Tensor]
    origin: str = ""
    shard: tuple[int, int] = (1, 1)
    keep_failures: int = 0
    truths: Mapping[str, Truth | None] = field(default_factory=dict)

    def on_this_machine(self) -> Plan:
        """The part of the plan for which nothing has to be downloaded: without some schemes, or captions."""
        kept = []
        for variant in self.variants:
            schemes = [scheme.on_this_machine() for scheme in variant.scenario.schemes]
            scenario = variant.scenario.model_copy(update={"schemes": tuple(s for s in schemes if s)})
            kept.append(replace(variant, scenario=scenario))
        return replace(self, variants=tuple(kept))

    def with_schemes(self, names: Collection[str]) -> Plan:
        """The part of the plan that is of these schemes."""
        kept = []
        for variant in self.variants:
            schemes = tuple(scheme for scheme in variant.scenario.schemes if scheme.name in names)
            scenario = variant.scenario.model_copy(update={"schemes": schemes})
            kept.append(replace(variant, scenario=scenario))
        return replace(self, variants=tuple(kept))

    def budget(self, variant: Variant, image: str) -> int:
        """Data uses of an image."""
        height, width = self.images[image].shape[1:]
        return int(variant.scenario.bandwidth.uses(height, width))

    @property
    def images_text(self) -> str:
        """How many pictures from where, for people."""
        return f"{len(self.images)} from {self.origin}" if self.has_pictures else f"none, {self.origin}"

    @property
    def has_pictures(self) -> bool:
        """Whether frames carry pictures, not random bits."""
        return self.scenario.images.has_pictures

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
        step, most = self.scenario.sweep.trials, self.scenario.most_trials
        chunks = [range(first, min(first + step, most)) for first in range(0, most, step)]
        by_size: dict[tuple[int, ...], list[str]] = {}
        for name, image in self.images.items():
            by_size.setdefault(tuple(image.shape), []).append(name)
        labels = channel_names(self.scenario)  # swept values have columns of their own
        for channel, spec in zip(labels, variant.scenario.channels, strict=True):
            for scheme in variant.scenario.schemes:
                size = 1 if scheme.adapts_to_each_frame(spec) else variant.scenario.batch_size
                for point_db in snr_db[channel]:
                    for trials, names in itertools.product(chunks, by_size.values()):
                        group = [(name, trial) for trial in trials for name in names]
                        for i in range(0, len(group), size):  # different pictures side by side
                            part = tuple(group[i : i + size])
                            yield Batch(channel, scheme.name, variant.values, point_db, part)

    @property
    def num_units(self) -> int:
        """Units of the whole run."""
        return count_units(self.scenario, len(self.images))


def make_plan(
    scenario: Scenario,
    *,
    limit: int | None = None,
    shard: tuple[int, int] = (1, 1),
    keep_failures: int = 0,
) -> Plan:
    """Read the images and check that every ratio gives a whole number of uses.

    Raises:
        ImageError: images that cannot be used.
        ScenarioError: a ratio that does not fit an image.
    """
    images: ImageSet = build_images(scenario.images)
    if limit is not None and not scenario.images.has_pictures:
        raise ScenarioError(complaint("limit", "has no effect", limit, "none with images: none"))
    names = images.names[:limit]
    found = read_all(images, names)
    truths = {name: images.truth(name) for name in names}
    plan = Plan(scenario, tuple(variants(scenario)), found, images.origin, shard, keep_failures, truths)
    for variant in plan.variants:
        check_payload_study(variant.scenario)
    check_stop(scenario)
    check_tasks(scenario, truths)
    check_effects([variant.scenario for variant in plan.variants])
    _warn_of_averages(plan)
    for variant in plan.variants:
        ratio = variant.scenario.bandwidth.data_ratio
        for name, image in plan.images.items():
            height, width = image.shape[1:]
            uses = variant.scenario.bandwidth.uses(height, width)
            if uses.denominator != 1:
                got = f"{ratio} of 3 x {height} x {width} = {float(uses):g} uses ({name})"
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
