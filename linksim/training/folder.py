"""The folder of a training: whose it is, who writes to it, and what resumes it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from channels.checks import complaint, in_words
from linksim.files.writing import LockedElsewhere, lock, remove_leftovers, whole_file, write_whole
from linksim.kinds.used import foreign_kinds
from linksim.link import RunError
from linksim.scenario.files import ScenarioError, Training, scenario_hash
from linksim.training.data.picture_list import Listed, changes, written

__all__ = [
    "HELD_OUT",
    "PICTURES_FILE",
    "RUN_FILE",
    "STATE_FILE",
    "TrainingDiverged",
    "check_inputs",
    "check_pictures",
    "former_ends",
    "opened",
    "read_state",
    "refuse_several_processes",
    "write_header",
    "write_state",
]

log = logging.getLogger("linksim.training.folder")
HELD_OUT = "held-out pictures"  # among the inputs of a training
STATE_FILE, RUN_FILE, PICTURES_FILE, LOCK_FILE = "state.pt", "train.json", "pictures.txt", "train.lock"
_SHOWN = 10  # fields in a message
_ENDS = ("steps", "time_budget_s")
_WITHOUT_EFFECT = ("validation_every_steps", "checkpoint_every_s")  # on what is trained
_PLACES = ("images.path", "images.paths")
_WORLD = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
Ends = tuple[int | None, float | None]


class TrainingDiverged(RunError):
    """Weights, gradients or symbols that are not finite any more; the last state on disk is good."""

    resumes = False

    def __init__(self, step: int, what: str, rate: str) -> None:
        cure = f"Lower {rate} and use another --out: the same command would come here again."
        super().__init__(f"training step {step}: diverged, {what}. {cure}")


def refuse_several_processes(block: str) -> None:
    """Refuse a launcher's second process: it would train and write the same as the first.

    Raises:
        ScenarioError: there are several, as of ``accelerate launch`` or ``torchrun``.
    """
    count = max((int(os.environ.get(name, "1") or 1) for name in _WORLD), default=1)
    if count > 1:
        cure = "Start it without accelerate launch, torchrun or mpirun; only train_control is shared."
        raise ScenarioError(complaint(block, "trains in one process", f"{count} processes", "one", cure))


@contextmanager
def opened(scenario: Training, out: Path) -> Iterator[None]:
    """The folder, made or checked before anything is loaded, and locked for the time of the block.

    Raises:
        ScenarioError: it cannot be made, holds other files, is in use by another process, or belongs to
            another training.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(out)
        file = (out / LOCK_FILE).open("ab")
    except OSError as problem:
        raise ScenarioError(
            complaint(str(out), "cannot be made", problem, "a folder", "Use another --out.")
        ) from None
    with file:
        try:
            lock(file, out)
        except LockedElsewhere as problem:
            cure = "Wait for it, or use another --out."
            raise ScenarioError(
                complaint(str(out), "in use by another training", problem, "no other process", cure)
            ) from None
        remove_leftovers(out)
        _refuse_other_training(scenario, out)
        yield


def _refuse_strangers(out: Path) -> None:
    own = (LOCK_FILE, PICTURES_FILE)
    begun = tuple(f".{name}." for name in (*own, RUN_FILE))  # of a start that was killed while it wrote them
    others = (p.name for p in out.iterdir() if p.name not in own and not p.name.startswith(begun))
    if not (out / RUN_FILE).is_file() and any(others):
        cure = "Use another --out."
        raise ScenarioError(
            complaint(str(out), "not empty and no training", "other files", "an empty folder", cure)
        )


# ------------------------------------------------------------------------------------------- the recipe


class _StoredHeader(BaseModel):
    """What readers of a training header rely on."""

    model_config = ConfigDict(extra="allow", strict=True)
    scenario_hash: str
    scenario: dict[str, Any]
    ends: dict[str, tuple[int | None, float | None]] | None = None
    inputs: dict[str, str] | None = None


def _header(out: Path) -> dict[str, Any] | None:
    """What :func:`write_header` wrote.

    Raises:
        ScenarioError: it cannot be read.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
        _StoredHeader.model_validate_json(data)
        header: dict[str, Any] = json.loads(data)
    except (OSError, ValueError, RecursionError) as problem:
        said = " ".join(str(problem).split())
        raise ScenarioError(complaint(str(path), "cannot be read", said, "a training header")) from None
    return header


def _refuse_other_training(scenario: Training, out: Path) -> None:
    """Compare the recipe field by field; a folder without a state belongs to nobody yet."""
    header = _header(out)
    if header is None or not (out / STATE_FILE).is_file():
        return
    mine, theirs = (
        _fields(scenario.model_dump(mode="json")),
        _fields(_completed(scenario, header["scenario"])),
    )
    _refuse_other_kinds(scenario, header, out)
    allowed = {f"{scenario.block}.{name}" for name in (*_ENDS, *_WITHOUT_EFFECT)} | {"question"}
    places = _PLACES if (out / PICTURES_FILE).is_file() else ()  # the pictures themselves are compared then
    lines = [
        complaint(field, f"not that of the training in {out}", mine.get(field), theirs.get(field))
        for field in dict.fromkeys((*theirs, *mine))
        if mine.get(field) != theirs.get(field) and field not in allowed and not field.startswith(places)
    ]
    if lines:
        more = [f"{len(lines) - _SHOWN} more such fields."] if len(lines) > _SHOWN else []
        cure = "Use another --out, or the scenario that made the folder; steps and time_budget_s may change."
        raise ScenarioError("\n".join([*lines[:_SHOWN], *more, f"{out}: folder of another training. {cure}"]))


def _refuse_other_kinds(scenario: Training, header: dict[str, Any], out: Path) -> None:
    """Code of other people that changed since."""
    before, now = header.get("kinds", {}), foreign_kinds(scenario)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            got, expected = (side.get(name, "none") for side in (now, before))
            cure = "Use another --out, or the code that made the folder."
            wrong = f"not that of the training in {out}"
            raise ScenarioError(complaint(f"kinds: {name}", wrong, got, expected, cure))


def _completed(scenario: Training, stored: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe with the fields that came later at their defaults."""
    try:
        return type(scenario).model_validate(stored).model_dump(mode="json")
    except ValidationError:  # its version had other fields: compare what it has
        return stored


def _fields(node: Any, path: str = "") -> dict[str, Any]:
    """Values by dotted path."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found: dict[str, Any] = {}
    for key, value in pairs:
        found |= _fields(value, f"{path}.{key}" if path else str(key))
    return found or {path: node}


def _ends(scenario: dict[str, Any], block: str) -> Ends:
    recipe = scenario.get(block)
    if not isinstance(recipe, dict):
        return None, None
    return recipe.get("steps"), recipe.get("time_budget_s")


def former_ends(scenario: Training, out: Path, state: dict[str, Any]) -> Ends:
    """Steps and time that a state was saved under."""
    header = _header(out) or {}
    known = header.get("ends") or {}
    if state["scenario_hash"] in known:
        steps, seconds = known[state["scenario_hash"]]
        return steps, seconds
    return _ends(header.get("scenario") or scenario.model_dump(mode="json"), scenario.block)


def write_header(
    scenario: Training, out: Path, listed: Sequence[Listed], inputs: dict[str, str] | None = None
) -> None:
    """Name the training that a folder belongs to, its pictures, and the digests of what else it reads."""
    header, digest, recipe = _header(out) or {}, scenario_hash(scenario), scenario.model_dump(mode="json")
    ends = dict(header.get("ends") or {})
    if (out / STATE_FILE).is_file() and "scenario" in header:
        ends.setdefault(header["scenario_hash"], _ends(header["scenario"], scenario.block))
    else:
        ends = {}
    ends[digest] = _ends(recipe, scenario.block)
    new = {"scenario_hash": digest, "scenario": recipe, "ends": ends, "inputs": inputs or {}}
    if foreign := foreign_kinds(scenario):
        new["kinds"] = foreign
    text = written(listed)
    if not (out / PICTURES_FILE).is_file() or (out / PICTURES_FILE).read_text(encoding="utf-8") != text:
        write_whole(out / PICTURES_FILE, text)
    if json.loads(json.dumps(new)) != header:
        write_whole(out / RUN_FILE, json.dumps(new, indent=1) + "\n")


# -------------------------------------------------------------------------------------------- its inputs


def check_pictures(out: Path, listed: Sequence[Listed]) -> None:
    """Refuse pictures other than those that the training in a folder began with.

    Raises:
        ScenarioError: says how many were added, removed and changed.
    """
    if not (out / STATE_FILE).is_file():
        return
    try:
        before = (out / PICTURES_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        log.warning("%s: begun by a version that noted no pictures: they are not compared", out)
        return
    except (OSError, UnicodeDecodeError) as problem:
        raise _broken_list(out, problem) from None
    try:
        found = changes(before, listed)
    except ValueError as problem:
        raise _broken_list(out, problem) from None
    if found:
        expected = f"the {before.count(chr(10))} pictures that the training began with"
        cure = "Put them back, or use another --out: what is held out of the training would be others now."
        raise ScenarioError(complaint("images", f"not those of the training in {out}", found, expected, cure))


def _broken_list(out: Path, problem: Exception) -> ScenarioError:
    cure = "Remove the file to go on without comparing the pictures."
    return ScenarioError(
        complaint(str(out / PICTURES_FILE), "cannot be read", problem, "a list of pictures", cure)
    )


def check_inputs(out: Path, inputs: dict[str, str]) -> None:
    """Refuse other files (recordings, frozen networks) than the training in a folder began with.

    Args:
        out: folder.
        inputs: digest of each, by the field and name that the scenario gives it.

    Raises:
        ScenarioError: names the field.
    """
    if not (out / STATE_FILE).is_file():
        return
    before = (_header(out) or {}).get("inputs") or {}
    if HELD_OUT in inputs and HELD_OUT not in before:
        log.warning(
            "%s: begun by a version that held out other pictures: validation sees what it was trained on", out
        )
    for name, digest in inputs.items():
        if before.get(name, digest) != digest:
            expected = f"{before[name]}, with which the training in {out} began"
            cure = "Put it back, or use another --out."
            raise ScenarioError(complaint(name, "changed", f"digest {digest}", expected, cure))


# --------------------------------------------------------------------------------------------- its state


def write_state(scenario: Training, out: Path, state: dict[str, Any]) -> None:
    """Write everything that a resumed training needs, in one step."""
    with whole_file(out / STATE_FILE) as partial, partial.open("wb") as file:
        torch.save({"scenario_hash": scenario_hash(scenario), **state}, file)


def read_state(scenario: Training, out: Path, device: torch.device) -> dict[str, Any] | None:
    """What :func:`write_state` wrote, or None where there is nothing yet.

    Raises:
        ScenarioError: the folder belongs to another training, or its state is broken.
    """
    path = out / STATE_FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        got = state["scenario_hash"]
    except Exception as problem:  # torch.load raises many types for a broken file
        raise broken_state(out, problem) from None
    header = _header(out) or {}
    known = {scenario_hash(scenario), header.get("scenario_hash"), *(header.get("ends") or {})}
    if not isinstance(got, str) or got not in known:
        cure = "Put back the one that was here, or use another --out."
        raise ScenarioError(
            complaint(str(path), "state of another training", got, sorted(map(str, known)), cure)
        )
    return state


@contextmanager
def read_as_state(out: Path) -> Iterator[None]:
    """What a state does not hold, or holds in another shape, is a state that cannot be used.

    Raises:
        ScenarioError: in place of the error.
    """
    try:
        yield
    except ScenarioError:
        raise
    except (LookupError, ValueError, RuntimeError, TypeError, AttributeError, ArithmeticError) as problem:
        raise broken_state(out, problem) from None


def broken_state(out: Path, problem: Exception) -> ScenarioError:
    """The message for a state that cannot be used."""
    got, cure = in_words(problem), "Remove the file to start again."
    return ScenarioError(complaint(str(out / STATE_FILE), "cannot be read", got, "a training state", cure))
