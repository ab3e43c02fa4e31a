"""Every combination of swept fields, and the hash of what decides about records."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from linksim.kinds.union import refresh
from linksim.kinds.used import foreign_kinds
from linksim.scenario.errors import ScenarioError
from linksim.scenario.messages import explain
from linksim.scenario.overrides import numbered, set_path
from linksim.scenario.schema import ControlTrainScenario, DenoiserTrainScenario, Scenario, TrainScenario

__all__ = ["Training", "Variant", "count_units", "scenario_hash", "validated", "variants"]

Training = TrainScenario | ControlTrainScenario | DenoiserTrainScenario


def validated(model: type[BaseModel], data: dict[str, Any], where: str) -> Any:
    """The description that data are.

    Raises:
        ScenarioError: every problem, a line each.
    """
    refresh()
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        lines = explain(model, data, problem)
        raise ScenarioError("\n".join(f"{where}: {line}" for line in lines)) from None


def scenario_hash(scenario: Scenario | Training) -> str:
    """SHA-256 over everything that can change a record, 16 hex digits: not ``question``, ``panel``,
    ``statistics`` and ``batch_size``, but the origin of kinds that are not built in.
    """
    data = scenario.model_dump(mode="json", exclude={"question", "panel", "statistics", "batch_size"})
    foreign = foreign_kinds(scenario)
    if foreign:
        data["kinds"] = foreign
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Variant:
    """A scenario at one combination of swept fields.

    Args:
        values: (path, value) of each swept field beside snr_db, in file order.
        scenario: with these values set and nothing left to sweep but snr_db.
    """

    values: tuple[tuple[str, float | int | str], ...]
    scenario: Scenario


def variants(scenario: Scenario, where: str = "sweep") -> Iterator[Variant]:
    """Every combination of the swept fields.

    Raises:
        ScenarioError: a swept path that does not exist or a value that is not allowed there.
    """
    fields = scenario.sweep.fields
    for path in fields:
        _check_sweepable(path, where)
    seen: dict[str, object] = {}
    untouched = scenario.model_dump(mode="json")
    written = as_written(scenario.model_dump(exclude_defaults=True))
    paths = {path: numbered(untouched, path) for path in fields}
    for combination in itertools.product(*fields.values()):
        data = as_written(scenario.model_dump())
        data["sweep"]["fields"] = {}
        data["statistics"]["against"] = None  # it may name what is swept
        values = tuple(zip(fields, combination, strict=True))
        for path, value in values:
            if path.endswith(".kind"):
                _leave_what_is_written(data, written, paths[path].split(".")[:-1])
            set_path(data, paths[path], value)
        place = f"{where}: sweep {dict(values)}" if values else where
        variant = Variant(values, validated(Scenario, data, place))
        digest = scenario_hash(variant.scenario)
        if digest in seen:
            raise ScenarioError(f"{place}: got the same experiment as {seen[digest]}, expected another one.")
        seen[digest] = dict(values)
        yield variant


def _leave_what_is_written(data: Any, written: Any, path: list[str]) -> None:
    """Remove defaults of a kind from the block at a path: another kind may not have such fields."""
    if path and path[0] == "channel" and "channels" in data:
        for block, own in zip(data["channels"], written["channels"], strict=True):
            _leave_what_is_written(block, own, path[1:])
    elif path:
        lists = isinstance(data, list)
        step: Any = int(path[0]) if lists else path[0]
        _leave_what_is_written(data[step], written[step] if lists else written.get(step, {}), path[1:])
    else:
        for name in set(data) - set(written) - {"kind"}:
            del data[name]


def count_units(scenario: Scenario, images: int) -> int:
    """Units of a scenario with so many pictures."""
    points = len(scenario.channels) * len(scenario.sweep.snr_db or (None,)) * len(list(variants(scenario)))
    return points * len(scenario.schemes) * scenario.most_trials * images


def as_written(node: Any) -> Any:
    """Blocks as a file has them, from a dump or from Python: lists in the place of tuples and arrays, texts
    in the place of paths.
    """
    if isinstance(node, BaseModel):
        node = node.model_dump()
    elif hasattr(node, "tolist"):  # an array, a tensor, or a number of one
        node = node.tolist()
    if isinstance(node, Mapping):
        return {key: as_written(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [as_written(value) for value in node]
    return str(node) if isinstance(node, Path) else node


def _check_sweepable(path: str, where: str) -> None:
    """Only what is built anew for every point can be swept; a label or the set of pictures is not."""
    parts = path.split(".")
    first, last = parts[0], parts[-1]
    if first in ("channel", "channels", "schemes", "bandwidth") and last not in ("name", "kind"):
        return
    if first in ("channel", "channels") and last == "kind" and path.endswith("csi.kind"):
        return
    expected = "a field of channel, channels, schemes or bandwidth other than a name"
    raise ScenarioError(
        f"{where}: sweep.{path}: cannot be swept, got {path!r}, expected {expected}. Use two scenario files."
    )
