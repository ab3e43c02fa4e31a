"""Link adaptation, measured: block error rate of every MCS on a channel, and PSNR of a codec against its
rate.

The measurement has its own seeds and training pictures. Its result is a frozen file that scenarios read;
nothing in a test run ever changes the choice of the MCS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from channels.runtime.extras import package_version
from linksim import __version__
from linksim.build.channels import (
    build_channel,
    calibration_key,
    refused_as_input,
    sent_over,
    try_channel,
)
from linksim.build.objects import make_search
from linksim.coding.calibration import (
    Calibration,
    ChannelCalibration,
    QualityCurve,
    too_few_blocks,
)
from linksim.coding.mcs import ALL_MCS
from linksim.images.sets import ImageSet, image_digest
from linksim.metrics.selection import Selection
from linksim.run.calibrate_channel import measure_channel
from linksim.run.runner import Plan
from linksim.scenario.schema import ChannelBase, Scenario, SchemeSpec, SeparationSpec, channel_name
from linksim.source.quality_search import QualitySearch, Wish

__all__ = ["FORMAT", "calibrate", "links", "measure_channel", "measure_quality", "merge"]

FORMAT = "linksim-mcs-3"
BITS_PER_PIXEL = (
    0.001,
    0.0015,
    0.0023,
    0.0035,
    0.005,
    0.007,
    *map(float, np.geomspace(0.01, 3.0, 25).round(5)),
)
_SAVED_TOGETHER = 15  # MCS, which an interrupted calibration does not measure again
Report = Callable[[str], None]


def measure_quality(search: QualitySearch, pictures: Sequence[torch.Tensor], images: str) -> QualityCurve:
    """Mean quality of the best stream within a rate, for a grid of rates; what does not fit is grey.

    Args:
        search: codec; quality is what it selects by.
        pictures: [3, H, W] uint8 each.
        images: what they are, for the record.
    """
    measure = search.measure or Selection("psnr")
    originals = [p.permute(1, 2, 0).contiguous().numpy() for p in pictures]
    digests = [image_digest(p) for p in pictures]
    grey = [measure(np.full_like(rgb, 128), rgb) for rgb in originals]
    means = []
    for rate in BITS_PER_PIXEL:
        room = [int(rate * rgb.shape[0] * rgb.shape[1] / 8) for rgb in originals]
        fits = search.best_of([Wish(*wish) for wish in zip(originals, digests, room, strict=True)])
        values = list(grey)
        for i, fit in enumerate(fits):
            if fit is not None:
                values[i] = measure(search.decode(fit.stream, originals[i].shape[:2]), originals[i])
        means.append(round(float(np.mean(values)), 4))
    return QualityCurve(
        codec=search.name,
        images=images,
        measure=measure.name,
        higher_is_better=measure.higher_is_better,
        bits_per_pixel=BITS_PER_PIXEL,
        values=tuple(means),
        failure=round(float(np.mean(grey)), 4),
    )


def _versions() -> dict[str, str]:
    return {name: package_version(name) for name in ("sionna", "torch", "av", "numba")}


def merge(
    old: Calibration | None,
    channels: Sequence[ChannelCalibration],
    quality: Sequence[QualityCurve],
    unfinished: Sequence[ChannelCalibration] = (),
) -> Calibration:
    """A table with new measurements in place of old ones of the same channel and length, or codec.

    Unfinished ones, with some of their MCS only, are kept beside them and replace nothing.
    """

    def others(
        stored: Iterable[ChannelCalibration], new: Sequence[ChannelCalibration]
    ) -> Iterator[ChannelCalibration]:
        replaced = {(repr(sorted(c.channel.items())), c.num_uses) for c in new}
        for c in stored:
            if (repr(sorted(c.channel.items())), c.num_uses) not in replaced:
                yield c

    names = {q.codec for q in quality}
    kept = [q for q in (old.quality if old else ()) if q.codec not in names]
    return Calibration(
        format=FORMAT,
        versions=_versions(),
        channels=(*others(old.channels if old else (), channels), *channels),
        quality=(*kept, *quality),
        unfinished=(*others(old.unfinished if old else (), (*channels, *unfinished)), *unfinished),
    )


def calibrate(
    plan: Plan,
    table: Calibration | None,
    *,
    num_frames: int,
    pictures: ImageSet | None,
    num_pictures: int,
    seed: int = 1,
    every: int = 1,
    workers: int = 1,
    report: Report = lambda line: None,
) -> Iterator[Calibration]:
    """Measure every channel of a scenario and, with calibration pictures, every source codec of it.

    Curves that the table already holds for a channel at the same block length with as many frames and the
    same seed are kept.

    Args:
        plan: scenario with its images, whose median number of uses is the block length.
        table: to extend, or None.
        num_frames: transport blocks per MCS.
        pictures: calibration pictures for the quality curves; None keeps those of the table.
        num_pictures: how many of them, evenly spaced.
        seed: of payloads, fades and noise; another than that of any test.
        every: measure every so many-th MCS in rising efficiency; fewer steps to choose from, in less time.
        workers: processes that code pictures.
        report: called with lines of progress.

    Yields:
        The table after each measurement, to be saved at once.
    """
    command = (
        f"linksim {__version__}: linksim calibrate {plan.scenario.name} --frames {num_frames} --seed {seed}"
    )
    if every > 1:
        command += f" --every {every}"
    if pictures is not None:
        names = pictures.names[:: max(1, len(pictures) // num_pictures)][:num_pictures]
        chosen = [pictures[name] for name in names]
        found = (search_of(scheme, workers) for scheme in plan.scenario.schemes)
        searches = {search.name: search for search in found if search is not None}
        for name, search in searches.items():
            report(f"quality of {name} over {len(names)} pictures")
            curve = measure_quality(search, chosen, f"{len(names)} training pictures")
            table = merge(table, [], [curve])
            yield table
    for variant in plan.variants:
        num_uses = plan.median_budget(variant)
        for spec, scheme, key in links(variant.scenario):
            what = f"{channel_name(spec)} {dict(variant.values)}: {num_uses} uses, {num_frames} frames"
            known = table.measured(key, num_uses, num_frames, seed) if table is not None else ()
            missing = [m for m in ALL_MCS[::every] if m not in {c.scheme for c in known}]
            with refused_as_input(f"channels.{channel_name(spec)}"):
                channel = sent_over(scheme, spec, build_channel(spec, torch.device("cpu")))
                try_channel(channel, num_uses)
            report(f"{what}, {len(missing)} MCS to measure")
            few = too_few_blocks(num_frames)
            if missing and few:
                report(f"warning: {few}")
            for first in range(0, len(missing), _SAVED_TOGETHER):
                new = measure_channel(
                    channel,
                    key,
                    num_uses,
                    num_frames=num_frames,
                    seed=seed,
                    csit=scheme.calibrated_csit,
                    table=missing[first : first + _SAVED_TOGETHER],
                    command=command,
                    report=report,
                )
                known = tuple(sorted((*known, *new.curves), key=lambda c: c.scheme.efficiency))
                part = [new.model_copy(update={"curves": known})]
                done = first + _SAVED_TOGETHER >= len(missing)
                table = merge(table, part, []) if done else merge(table, [], [], part)
                yield table
    if table is not None:
        yield table


def links(scenario: Scenario) -> list[tuple[ChannelBase, SchemeSpec, dict[str, object]]]:
    """Every channel of a scenario with a separation scheme and their key in a table, once for each way in
    which adaptive schemes use it; without any such scheme, as one would by default.
    """
    adaptive = [scheme for scheme in scenario.schemes if scheme.adapts]
    found: dict[str, tuple[ChannelBase, SchemeSpec, dict[str, object]]] = {}
    for channel in scenario.channels:
        for scheme in adaptive or [SeparationSpec(kind="separation", name="any")]:
            key = calibration_key(channel, scheme)
            found.setdefault(repr(key), (channel, scheme, key))
    return list(found.values())


def search_of(scheme: Any, workers: int = 1) -> QualitySearch | None:
    """The quality search of a scheme whose MCS is chosen by the quality of its source codec."""
    by_quality = scheme.adapts and scheme.policy == "best_quality"
    return make_search(scheme.source, workers) if by_quality else None
