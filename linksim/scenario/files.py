"""Scenarios from files, mappings and objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from channels.checks import shown
from linksim.files.places import scenario_dir
from linksim.kinds.fields import expanded_range
from linksim.scenario.errors import ScenarioError
from linksim.scenario.json_schema import json_schema
from linksim.scenario.overrides import numbered, parse_overrides, set_path
from linksim.scenario.reading import extended, find_scenario, read_mapping
from linksim.scenario.schema import ControlTrainScenario, DenoiserTrainScenario, Scenario, TrainScenario
from linksim.scenario.sweeps import Training, Variant, as_written, scenario_hash, validated, variants

__all__ = [
    "ScenarioError",
    "Source",
    "Training",
    "Variant",
    "find_scenario",
    "json_schema",
    "load_any",
    "load_scenario",
    "load_train_scenario",
    "parse_overrides",
    "scenario_dir",
    "scenario_hash",
    "variants",
]


Source = str | Path | Mapping[str, Any] | Scenario | Training
"""A scenario: a file, the name of one that comes with linksim, what a file holds, or one that was read."""


def _load_mapping(source: Source, overrides: Sequence[tuple[str, Any]]) -> tuple[dict[str, Any], str]:
    """Keys and values of a scenario with overrides, and where it is from, for messages."""
    data, where = _read_source(source)
    paths = [numbered(data, key) for key, _ in overrides]
    for key, (_, value) in zip(paths, overrides, strict=True):
        set_path(data, key, as_written(value))
    if "sweep.snr_db" in paths and "panel.snr_db" not in paths:
        _narrow_panel(data)
    return data, where


def _read_source(source: Source) -> tuple[dict[str, Any], str]:
    if isinstance(source, BaseModel):
        return as_written(source.model_dump()), "scenario"
    if isinstance(source, Mapping):
        try:
            return extended(as_written(source), "scenario", Path()), "scenario"
        except RecursionError:
            got = "a mapping that is nested too deep, or holds itself"
            raise ScenarioError(f"scenario: got {got}, expected keys and values of a file.") from None
    if not isinstance(source, str | Path):
        expected = "a file, a name, a mapping or a Scenario"
        raise ScenarioError(f"scenario: got {shown(source)}, expected {expected}.")
    path = find_scenario(str(source))
    return read_mapping(path), str(path)


def _narrow_panel(data: dict[str, Any]) -> None:
    """Leave of the panel's SNRs what is swept after an override; none: the lowest and the highest."""
    try:
        swept, shown_db = (expanded_range((data.get(b) or {}).get("snr_db")) for b in ("sweep", "panel"))
    except (ValueError, AttributeError):  # what is wrong is said by the validation
        return
    if isinstance(swept, list) and isinstance(shown_db, list):
        kept = [value for value in shown_db if value in swept]
        data["panel"]["snr_db"] = kept or None


_TRAININGS = {kind.block: kind for kind in (TrainScenario, ControlTrainScenario, DenoiserTrainScenario)}


def load_any(source: Source, overrides: Sequence[tuple[str, Any]] = ()) -> Scenario | Training:
    """Read a scenario of either kind: a file with the key ``train``, ``train_control`` or
    ``train_denoiser`` is a training.

    Args:
        source: file, name of a scenario that comes with linksim, or what a file holds; relative paths of the
            latter begin in the working directory.
        overrides: paths and values, as from :func:`parse_overrides`.

    Raises:
        ScenarioError: every problem of the file, a line each.
    """
    return _any_of(*_load_mapping(source, overrides))


def _any_of(data: dict[str, Any], where: str) -> Scenario | Training:
    """A scenario of either kind, of what a file holds."""
    model: type[BaseModel] = Scenario
    for key, training in _TRAININGS.items():
        if key in data:
            model = training
            if not isinstance(data[key], dict):
                expected = "a block of keys and values, in a file that describes a training"
                raise ScenarioError(
                    f"{where}: {key}: not a block, got {shown(data[key])}, expected {expected}."
                )
    scenario = validated(model, data, where)
    if isinstance(scenario, Scenario):
        list(variants(scenario, where=where))
    assert isinstance(scenario, Scenario | Training)
    return scenario


def load_scenario(source: Source, overrides: Sequence[tuple[str, Any]] = ()) -> Scenario:
    """Read an evaluation scenario; arguments as of :func:`load_any`.

    Raises:
        ScenarioError: every problem of the file, or a training.
    """
    scenario = load_any(source, overrides)
    if not isinstance(scenario, Scenario):
        raise ScenarioError(
            f"{_named(source)}: train: got a training, expected an evaluation. Run it with linksim train."
        )
    return scenario


def load_train_scenario(
    source: Source, overrides: Sequence[tuple[str, Any]] = (), time_budget_s: float | None = None
) -> Training:
    """Read a training scenario.

    Args:
        source, overrides: as of :func:`load_any`.
        time_budget_s: in the place of that of the recipe, whichever kind of training it is.

    Raises:
        ScenarioError: every problem of the file, or an evaluation.
    """
    data, where = _load_mapping(source, overrides)
    for key in _TRAININGS:
        if time_budget_s is not None and isinstance(data.get(key), dict):
            data[key] = {**data[key], "time_budget_s": time_budget_s}
    scenario = _any_of(data, where)
    if not isinstance(scenario, Training):
        said = "missing, got an evaluation, expected a training. Run it with linksim simulate."
        raise ScenarioError(f"{_named(source)}: train: {said}")
    return scenario


def _named(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "scenario"
