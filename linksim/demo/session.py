"""What the demo does, without its page: one unit of a scenario through the link, as a run does it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from linksim.build.objects import Metrics, build_metrics
from linksim.demo.choices import Settings, scenario_of
from linksim.demo.pictures import DemoPicture
from linksim.images.sets import image_digest
from linksim.kinds.context import Shared
from linksim.results.records import Record
from linksim.run.computing import recorded, send
from linksim.run.machine import Machine
from linksim.run.measuring import Measure
from linksim.run.plan import Batch, Plan
from linksim.scenario.files import load_scenario, variants

__all__ = ["Arrival", "Session", "what_happened"]

_KEPT = 8  # built links that are remembered
_FATES = {
    "ok": "arrived",
    "crc_failed": "lost: CRC failed, a grey picture is shown",
    "parse_failed": "lost: the stream could not be decoded, a grey picture is shown",
    "source_unfit": "lost: no coding of the picture fits into so few bits, a grey picture is shown",
    "outage": "lost: the channel carries fewer bits than any coding of the picture has",
}


@dataclass(frozen=True)
class Arrival:
    """What arrived of a picture.

    Args:
        original, shown: [3, H, W] uint8.
        record: of the unit, as a run would write it.
        seconds: link, receiver and metrics.
        note: what was done to the picture before it was sent.
    """

    original: Tensor
    shown: Tensor
    record: Record
    seconds: float
    note: str


@dataclass(frozen=True)
class _Link:
    """A built link: scenario and picture, and what a run makes of them."""

    plan: Plan
    machine: Machine


class Session:
    """Sends pictures; models are loaded once and links remembered. One picture at a time: calls wait for each
    other.

    Args:
        device: where networks and channels run.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self._shared = Shared()
        self._links: OrderedDict[Any, _Link] = OrderedDict()
        self._metrics: dict[tuple[str, ...], Metrics] = {}
        self._lock = threading.Lock()

    def send(self, picture: DemoPicture, settings: Settings) -> Arrival:
        """Send a picture: the first unit of the scenario of :func:`linksim.demo.choices.scenario_of`.

        Raises:
            ScenarioError and its like: settings that no scenario may have, or a picture that they do not fit.
        """
        with self._lock:
            began = time.monotonic()
            link = self._link(picture, settings)
            (channel,), (scheme,) = link.machine.operators, link.plan.scenario.schemes
            batch = Batch(channel, scheme.name, (), float(settings.snr_db), ((picture.name, 0),))
            sent_at = time.monotonic()
            out, shown = send(link.plan, link.machine, batch, self.device)
            seconds = time.monotonic() - sent_at
            measure = Measure(self._measures(link.plan.scenario.metrics), link.plan.truths)
            (record,) = recorded(link.plan, link.machine, batch, measure, out, shown, seconds)
            return Arrival(picture.pixels, shown[0], record, time.monotonic() - began, picture.note)

    def _link(self, picture: DemoPicture, settings: Settings) -> _Link:
        """The link of some settings; the SNR is no part of it."""
        scenario = load_scenario(scenario_of(settings, picture))
        key = (replace(settings, snr_db=0.0), picture.name, image_digest(picture.pixels))
        if key not in self._links:
            plan = Plan(scenario, tuple(variants(scenario)), {picture.name: picture.pixels})
            machine = Machine(plan, plan.variants[0], self.device, 1, self._shared)
            self._links[key] = _Link(plan, machine)
            while len(self._links) > _KEPT:
                self._links.popitem(last=False)
        self._links.move_to_end(key)
        return self._links[key]

    def _measures(self, names: tuple[str, ...]) -> Metrics:
        if names not in self._metrics:
            self._metrics[names] = build_metrics(names)
        return self._metrics[names]

    def titles(self) -> dict[str, tuple[str, str]]:
        """Label and unit of every metric that was measured, by its name."""
        known = [info for metrics in self._metrics.values() for info in metrics.infos()]
        return {info.name: (info.title, info.unit) for info in known}


def what_happened(arrival: Arrival) -> str:
    """The fate of a picture in words."""
    state = arrival.record.state
    return _FATES.get(state, f"lost: {state}")
