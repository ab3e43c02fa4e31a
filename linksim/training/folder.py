"""The folder of a training: whose it is, and what resumes it.

May import: torch, channels.checks, linksim.{files, link (its error), scenario_io}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from channels.checks import complaint
from linksim.files import whole_file, write_whole
from linksim.link import RunError
from linksim.scenario_io import ScenarioError, Training, scenario_hash

__all__ = [
    "RUN_FILE",
    "STATE_FILE",
    "TrainingDiverged",
    "prepare_folder",
    "read_state",
    "write_header",
    "write_state",
]

STATE_FILE, RUN_FILE = "state.pt", "train.json"


class TrainingDiverged(RunError):
    """Weights or symbols that are not finite any more; the last state on disk is good."""

    def __init__(self, step: int, what: str, rate: str) -> None:
        super().__init__(f"training step {step}: diverged, {what}. Lower {rate}.")


def prepare_folder(scenario: Training, out: Path) -> None:
    """Make the folder, or refuse one that belongs to another training before anything is loaded."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ScenarioError(
            complaint(str(out), "cannot be made", problem, "a folder", "Use another --out.")
        ) from None
    header = out / RUN_FILE
    expected = scenario_hash(scenario)
    if header.is_file():
        try:
            got = json.loads(header.read_bytes())["scenario_hash"]
        except (ValueError, KeyError, TypeError) as problem:
            raise ScenarioError(
                complaint(str(header), "cannot be read", problem, "a training header")
            ) from None
        if got != expected:
            cure = "Use another --out, or the scenario that made the folder."
            raise ScenarioError(complaint(str(out), "folder of another training", got, expected, cure))
        return
    if any(out.iterdir()):
        cure = "Use another --out."
        raise ScenarioError(
            complaint(str(out), "not empty and no training", "other files", "an empty folder", cure)
        )


def write_header(scenario: Training, out: Path) -> None:
    """Name the training that a folder belongs to."""
    header, expected = out / RUN_FILE, scenario_hash(scenario)
    if header.is_file():
        return
    text = json.dumps({"scenario_hash": expected, "scenario": scenario.model_dump(mode="json")}, indent=1)
    write_whole(header, text + "\n")


def write_state(scenario: Training, out: Path, state: dict[str, Any]) -> None:
    """Write everything that a resumed training needs, in one step."""
    with whole_file(out / STATE_FILE) as partial, partial.open("wb") as file:
        torch.save({"scenario_hash": scenario_hash(scenario), **state}, file)


def read_state(scenario: Training, out: Path, device: torch.device) -> dict[str, Any] | None:
    """What :meth:`write_state` wrote, or None where there is nothing yet.

    Raises:
        ScenarioError: the folder belongs to another training, or its state is broken.
    """
    path = out / STATE_FILE
    if not path.is_file():
        return None
    expected = scenario_hash(scenario)
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        got = state["scenario_hash"]
    except Exception as problem:  # torch.load raises many types for a broken file
        raise broken_state(out, problem) from None
    if got != expected:
        cure = "Use another --out, or the scenario that made the folder."
        raise ScenarioError(complaint(str(out), "folder of another training", got, expected, cure))
    return state


def broken_state(out: Path, problem: Exception) -> ScenarioError:
    """The message for a state that cannot be used."""
    first = str(problem).splitlines()[0] if str(problem) else ""
    reason = f"{type(problem).__name__}: {first}"
    cure = "Remove the file to start again."
    return ScenarioError(complaint(str(out / STATE_FILE), "cannot be read", reason, "a training state", cure))
