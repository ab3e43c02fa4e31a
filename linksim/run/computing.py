"""What becomes of a batch of units: link, receiver, metrics, pictures to keep. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from channels.base import ChannelOperator
from channels.seeding import item_seed
from linksim.build.foreign import cause
from linksim.images.sets import image_digest, round_to_uint8
from linksim.link import LinkOutput, RunError, Told, prepare, run_link
from linksim.results.feature_files import FeatureFiles
from linksim.results.records import Record, UnitKey
from linksim.results.store import ResultStore
from linksim.run.machine import Machine
from linksim.run.measuring import Features, HasFeatures, Measure, records_of
from linksim.run.panel_pictures import in_panel, png_of
from linksim.run.plan import Batch, Plan
from linksim.schemes.base import Bound, PreparingBound, PreparingScheme, Scheme

__all__ = [
    "Outcome",
    "Sent",
    "begin",
    "compute",
    "keep_features",
    "measured",
    "prepares",
    "recorded",
    "send",
    "sent",
]


@dataclass(frozen=True)
class Outcome:
    """What a batch gave.

    Args:
        records: of its units, in order.
        pictures: PNG files of what the panel shows, by unit.
        failed: likewise, of the first units that did not arrive, where such are kept.
        features: that metrics of sets compare and the run lacks.
        seconds: that it took.
    """

    records: list[Record]
    pictures: list[tuple[UnitKey, bytes]]
    failed: list[tuple[UnitKey, bytes]]
    features: list[Features]
    seconds: float


def send(plan: Plan, machine: Machine, batch: Batch, device: torch.device) -> tuple[LinkOutput, Tensor]:
    """Send a batch; what went over the link, and what is shown, [B, 3, H, W] uint8.

    Raises:
        ValueError, ...: whatever a scheme or a channel raises; a reconstruction that is not finite.
    """
    with torch.no_grad():
        out = run_link(*_frames(plan, machine, batch, device))
    if not bool(torch.isfinite(out.reconstruction.image).all()):
        raise ValueError("the reconstruction has values that are not finite. Check the weights.")
    return out, round_to_uint8(out.reconstruction.image).cpu()


def prepares(machine: Machine, batch: Batch) -> bool:
    """Whether other processes can do a part of what the scheme of a batch does."""
    return isinstance(machine.schemes[batch.channel, batch.scheme], PreparingScheme | PreparingBound)


def begin(plan: Plan, machine: Machine, batch: Batch, device: torch.device) -> None:
    """Let other processes begin with a batch that will be sent, see :func:`linksim.link.prepare`. What fails
    will fail again when it is sent, and is said then.
    """
    if prepares(machine, batch) and plan.has_pictures and machine.workers > 1:
        with suppress(Exception), torch.no_grad():
            prepare(*_frames(plan, machine, batch, device))


def _frames(
    plan: Plan, machine: Machine, batch: Batch, device: torch.device
) -> tuple[Scheme | Bound, ChannelOperator, Tensor, Tensor, list[int], int, Told]:
    """Arguments of :func:`linksim.link.run_link`."""
    original = torch.stack([plan.images[name] for name, _ in batch.members]).to(device).float() / 255
    budget = plan.budget(machine.variant, batch.members[0][0])
    snr_db = torch.full((len(batch.members),), batch.snr_db, device=device)
    place, told = (batch.channel, batch.scheme), machine.told[batch.channel]
    link = machine.schemes[place], machine.channels[place]
    return *link, original, snr_db, _seeds(machine, batch), budget, told


def recorded(
    plan: Plan,
    machine: Machine,
    batch: Batch,
    measure: Measure,
    out: LinkOutput,
    shown: Tensor,
    seconds: float,
) -> list[Record]:
    """Records of a batch that was sent."""
    original = torch.stack([plan.images[name] for name, _ in batch.members])
    place = (batch.channel, batch.scheme)
    scheme, channel = machine.schemes[place], machine.channels[place]
    independent = channel.memoryless and vars(type(scheme)).get("memoryless", False)
    seeds = _seeds(machine, batch)
    return records_of(batch.keys(), seeds, original, shown, out, measure, seconds, channel, independent)


def _seeds(machine: Machine, batch: Batch) -> list[int]:
    """Of the channel draws."""
    return [item_seed(machine.variant.scenario.seed, name, trial, "link") for name, trial in batch.members]


def compute(
    plan: Plan, machine: Machine, batch: Batch, measure: Measure, has: HasFeatures, device: torch.device
) -> Outcome:
    """Send a batch and measure what arrives; features that the run ``has`` are not made again.

    Raises:
        RunError: names the unit.
    """
    return measured(plan, machine, batch, measure, has, sent(plan, machine, batch, device))


@dataclass(frozen=True)
class Sent:
    """What a batch showed and is not measured yet.

    Args:
        out, shown: see :func:`send`.
        seconds: that it took.
    """

    out: LinkOutput
    shown: Tensor
    seconds: float


def sent(plan: Plan, machine: Machine, batch: Batch, device: torch.device) -> Sent:
    """The first half of :func:`compute`."""
    began = time.monotonic()
    with _blaming(plan, machine, batch):
        out, shown = send(plan, machine, batch, device)
    return Sent(out, shown, time.monotonic() - began)


def measured(
    plan: Plan, machine: Machine, batch: Batch, measure: Measure, has: HasFeatures, given: Sent
) -> Outcome:
    """The second half of :func:`compute`; another thread may send meanwhile."""
    began = time.monotonic()
    shown = given.shown
    with _blaming(plan, machine, batch):
        seconds = given.seconds / len(batch.members)
        records = recorded(plan, machine, batch, measure, given.out, shown, seconds)
        features = [found for image in shown for found in measure.features(image, has)]
    asked = in_panel(machine.variant.scenario, batch, list(plan.images))
    units = zip(batch.keys(), shown, asked, strict=True)
    pictures = [(key, png_of(image.numpy())) for key, image, wanted in units if wanted]
    lost = [i for i, record in enumerate(records) if record.state != "ok"][: plan.keep_failures]
    failed = [(records[i].key, png_of(shown[i].numpy())) for i in lost if plan.has_pictures]
    return Outcome(records, pictures, failed, features, given.seconds + time.monotonic() - began)


@contextmanager
def _blaming(plan: Plan, machine: Machine, batch: Batch) -> Iterator[None]:
    """What fails within the block is said with the unit that it concerns."""
    try:
        yield
    except Exception as problem:
        name, trial = _blamed(plan, batch, problem)
        where = f"{batch.channel}, {batch.scheme}, {batch.snr_db:g} dB, image {name}, trial {trial}"
        said, more = cause(problem, *machine.descriptions(plan, batch)), len(batch.members) - 1
        raise RunError(f"unit ({where}, and {more} more of its batch) failed: {said}") from problem


def _blamed(plan: Plan, batch: Batch, problem: Exception) -> tuple[str, int]:
    """The picture and trial of a batch that an exception names the pixels of; else its first."""
    pixels = getattr(problem, "digest", "").partition("/")[0]
    named = (member for member in batch.members if pixels and image_digest(plan.images[member[0]]) == pixels)
    return next(named, batch.members[0])


def keep_features(features: list[Features], store: ResultStore) -> None:
    """Write features that the folder lacks."""
    for name, digest, found in features:
        FeatureFiles(store.features, name).keep(digest, partial(np.asarray, found))
