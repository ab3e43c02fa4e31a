"""One unit of a run again: what happened at every stage, and whether it is what the record says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from channels.arithmetic import abs_squared
from channels.checks import complaint
from channels.units import linear_to_db
from linksim.images.sets import image_digest, round_to_uint8
from linksim.kinds.context import Shared
from linksim.link import LinkOutput
from linksim.results.records import Record
from linksim.results.store import ResultStore, RunFolderError
from linksim.run.computing import recorded, send
from linksim.run.machine import Machine
from linksim.run.measuring import measure_of
from linksim.run.plan import Batch, Plan, make_plan
from linksim.scenario.files import load_scenario

__all__ = ["Replay", "find_unit", "plan_of", "replay", "save_pictures"]


@dataclass(frozen=True)
class Replay:
    """A unit that was run again.

    Args:
        stored: its record in the run.
        record: that of now.
        original, shown: [3, H, W] uint8.
        stages: intermediate pictures of the receiver by name, [3, H, W] uint8.
        out: what went over the link, of the whole batch that the unit was part of.
        row: of the unit in the batch.
    """

    stored: Record
    record: Record
    original: Tensor
    shown: Tensor
    stages: dict[str, Tensor]
    out: LinkOutput
    row: int

    @property
    def is_identical(self) -> bool:
        """Whether the record is that of the run to the last bit, but for the time that it took."""
        return replace(self.record, shown=self.stored.shown and self.record.shown) == self.stored

    def differences(self) -> list[str]:
        """Fields of the record that are others than in the run, see :meth:`Record.differences`."""
        return self.stored.differences(self.record)

    def lines(self) -> list[str]:
        """What happened, for people."""
        key, record = self.record.key, self.record
        point = "".join(f", {name} {value}" for name, value in key.point)
        unit = f"{key.channel}, {key.scheme}{point}, {key.snr_db:g} dB, image {key.image}, trial {key.trial}"
        found = [f"unit:     {unit}; seed {record.seed}", *self._link()]
        if record.info:
            found.append("facts:    " + ", ".join(f"{k} {_short(v)}" for k, v in record.info.items()))
        for name, (errors, trials) in record.counts.items():
            found.append(f"{name + ':':9} {errors} of {trials}")
        found.append(f"state:    {record.state}")
        values = (f"{name} {value:.6g}" for name, value in record.values.items())
        found.append("measured: " + (", ".join(values) or "nothing"))
        same = "the same to the last bit" if self.is_identical else "the same to six digits"
        found.append(f"in the run: {'; '.join(self.differences()) or same}")
        return found

    def _link(self) -> list[str]:
        """What was sent, and what the receiver was told of it."""
        sent = self.out.transmitted
        if sent is None:
            return ["sent:     nothing: a bound"]
        row, csi = self.row, sent.received.csi
        power = float(abs_squared(sent.symbols[row]).mean())
        of = self.record
        uses = f"{of.data_uses} data, {of.pilot_uses} pilot, {of.guard_uses} guard uses"
        times = f" in {of.transmissions} transmissions" if of.transmissions > 1 else ""
        gain = abs_squared(csi.h[row]).double()
        sinr_db = linear_to_db(csi.gamma[row].double().clamp_min(1e-12))
        low, middle, high = torch.quantile(sinr_db, sinr_db.new_tensor([0.05, 0.5, 0.95])).tolist()
        noise = float(csi.no[row].double().mean() + csi.err_var[row].double().mean())
        return [
            f"sent:     {uses}{times}, mean power {power:.3f}, {of.side_info_bits} bits beside",
            f"told:     mean |h|^2 {float(gain.mean()):.3g}, noise and errors {noise:.3g}; SINR of the uses "
            f"{low:.1f}, {middle:.1f}, {high:.1f} dB (5%, median, 95%)",
        ]


def _short(value: float | int | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# ----------------------------------------------------------------------------------------------- finding


def find_unit(store: ResultStore, unit: str) -> Record:
    """The record of a unit.

    Args:
        store: run folder.
        unit: its line in records.jsonl, from 1; or NAME=VALUE pairs with commas between: channel, scheme,
            snr_db, image, trial, state or a swept field. Of several units that fit the first is taken, in
            the order of records.

    Raises:
        RunFolderError: no such unit.
    """
    records = list(store.stored_records())
    if unit.strip().isdigit():
        line = int(unit)
        if not 1 <= line <= len(records):
            raise RunFolderError(complaint("unit", "no such line", line, f"1 to {len(records)}"))
        return records[line - 1]
    pairs = [part.partition("=") for part in _parts(unit)]
    wanted = {name.strip(): value.strip() for name, _, value in pairs}
    names = ("channel", "scheme", "snr_db", "image", "trial", "state")
    for name, between, _ in pairs:
        known = (*names, *(n for n, _ in records[0].key.point)) if records else names
        if not between or name.strip() not in known:
            expected = f"a line of records.jsonl, or NAME=VALUE with a name of {', '.join(known)}"
            raise RunFolderError(complaint("unit", "not understood", unit, expected))
    for record in records:
        facts = {**asdict(record.key), **dict(record.key.point), "state": record.state}
        if all(_is(facts[name], value) for name, value in wanted.items()):
            return record
    cure = "linksim.Run(folder).per_image() lists all units."
    raise RunFolderError(complaint("unit", "none fits", unit, f"one of {len(records)} units", cure))


def _parts(unit: str) -> list[str]:
    """Between commas; what has no = belongs to the name before it."""
    parts: list[str] = []
    for part in unit.split(","):
        if parts and "=" not in part:
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _is(fact: object, text: str) -> bool:
    """Whether a fact is what a text says; numbers in any notation."""
    if isinstance(fact, str):
        return fact == text
    if isinstance(fact, bool):
        return str(fact).lower() == text.lower()
    try:
        return float(text) == fact
    except ValueError:
        return False


# --------------------------------------------------------------------------------------------- replaying


def replay(store: ResultStore, stored: Record, device: torch.device) -> Replay:
    """Run the batch of a unit again.

    Args:
        store: run folder; nothing is written to it.
        stored: record of the unit.
        device: where.

    Raises:
        RunFolderError: the pictures are not those of the run any more.
        ScenarioError and its like: the scenario cannot be built here any more.
        RunError: it fails again.
    """
    plan = plan_of(store)
    variant = next((v for v in plan.variants if v.values == stored.key.point), None)
    if variant is None:
        raise RunFolderError(complaint("unit", "not swept any more", stored.key.point, "swept values"))
    machine = Machine(plan, variant, device, 1, Shared())
    batch = _batch_of(machine.batches(plan), stored)
    measure = measure_of(plan)
    out, shown = send(plan, machine, batch, device)
    row = batch.keys().index(stored.key)
    record = recorded(plan, machine, batch, measure, out, shown, stored.seconds)[row]
    stages = {name: round_to_uint8(picture[row].cpu()) for name, picture in out.reconstruction.stages.items()}
    return Replay(stored, record, plan.images[stored.key.image], shown[row], stages, out, row)


def plan_of(store: ResultStore, metrics: Sequence[str] = ()) -> Plan:
    """The plan of a run that was made earlier: its scenario, its pictures, its shard.

    Args:
        store: run folder.
        metrics: that are asked for beside its own.

    Raises:
        RunFolderError: the pictures are not those of the run any more.
        ScenarioError: the scenario cannot be built here any more, or no such metric.
    """
    header = store.header()
    own = header["scenario"].get("metrics", ["psnr"])
    asked = list(dict.fromkeys([*own, *metrics]))
    scenario = load_scenario(header["scenario"], [("metrics", asked)] if metrics else [])
    plan = make_plan(scenario, shard=tuple(header.get("shard", (1, 1))))
    return replace(plan, images=_pictures(store, header, plan.images))


def _batch_of(batches: Any, stored: Record) -> Batch:
    """The batch that a unit is part of: with the same neighbours networks give the same bits."""
    for batch in batches:
        if stored.key in batch.keys():  # noqa: SIM118
            found: Batch = batch
            return found
    expected = "a unit of its scenario"
    raise RunFolderError(complaint("unit", "not part of the run any more", stored.key, expected))


def _pictures(
    store: ResultStore, header: Mapping[str, Any], found: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Pictures of the run, in the order in which they stand in the set.

    Raises:
        RunFolderError: one that is gone or has other pixels.
    """
    for name, facts in header["images"].items():
        now = [*found[name].shape[1:], image_digest(found[name])] if name in found else "none"
        if now != facts:
            expected = f"{facts}, as in the run"
            raise RunFolderError(complaint(str(store.folder), f"image {name} has changed", now, expected))
    return {name: image for name, image in found.items() if name in header["images"]}


def save_pictures(replayed: Replay, folder: Path) -> Sequence[Path]:
    """Write the original, what was shown and the stages as PNG; returns their paths."""
    from PIL import Image

    written = []
    pictures = {"original": replayed.original, "shown": replayed.shown, **replayed.stages}
    pictures = {name: picture for name, picture in pictures.items() if picture.numel()}
    if not pictures:
        expected = "a unit with a picture: this frame carried random bits"
        raise RunFolderError(complaint("out", "nothing to write", folder, expected))
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        path = folder / f"{name}.png"
        Image.fromarray(np.ascontiguousarray(picture.numpy().transpose(1, 2, 0))).save(path)
        written.append(path)
    return written
