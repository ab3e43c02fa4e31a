"""In what runs differ, field by field: their scenarios, their pictures, and what they were made with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linksim.report.runs import Run

__all__ = ["Difference", "changed_fields", "channel_blocks", "differing", "same_pictures", "text_of"]

_LONGEST = 60  # letters of a value
_EACH = 4  # pictures that are named one by one
_FEW = 3  # pictures that stand for all of a run
_ABSENT = object()
# Beside the scenario: what a run was made with. Not when and on what machine.
_MADE_WITH = ("files", "tools", "kinds", "versions")
_MADE_BY = ("commit", "device")


@dataclass(frozen=True)
class Difference:
    """A field that is not the same in all runs.

    Args:
        field: its path.
        values: of each run, in words; "–" where a run has no such field.
    """

    field: str
    values: tuple[str, ...]


def differing(runs: Sequence[Run]) -> list[Difference]:
    """Fields in which runs differ: those of the scenario in its order, then pictures, and what they were made
    with. A scheme, channel or block that a run does not have is one field.

    Args:
        runs: from :func:`linksim.report.runs.load_runs`.
    """
    found = list(_changes("", [_scenario(run) for run in runs]))
    found += _pictures([run.header["images"] for run in runs])
    metrics = [{k: v["reference"] for k, v in run.header["metrics"].items()} for run in runs]
    common = set.intersection(*(set(of) for of in metrics))
    found += _changes("metrics", [{k: v for k, v in of.items() if k in common} for of in metrics])
    for block in _MADE_WITH:
        found += _changes(block, [run.header.get(block) or {} for run in runs])
    for name in _MADE_BY:
        found += _changes(name, [run.header.get(name) or _ABSENT for run in runs])
    return found


def changed_fields(path: str, blocks: Sequence[object], without: Iterable[str] = ()) -> list[Difference]:
    """Fields in which blocks of scenarios differ.

    Args:
        path: of the blocks.
        blocks: one of each run.
        without: paths that decide nothing, because they are swept.
    """
    left_out = set(without)
    return [found for found in _changes(path, blocks) if found.field not in left_out]


def channel_blocks(run: Run) -> dict[str, dict[str, Any]]:
    """Descriptions of the channels of a run without their names, by the names that results have for them."""
    blocks = [dict(block) for block in run.header["scenario"]["channels"]]
    found = {block["name"]: block for block in blocks if block.get("name")}
    unnamed = [block for block in blocks if not block.get("name")]
    labels = [c for c in dict.fromkeys(row.channel for row in run.rows) if c not in found]
    for label in labels:  # names that are made of descriptions begin with the kind
        own = [block for block in unnamed if label.startswith(str(block.get("kind")))]
        if len(own) > 1:
            from linksim.scenario.overrides import channel_label  # kinds load PyTorch

            own = [block for block in own if channel_label(block) == label]
        if len(own) == 1:
            found[label] = own[0]
    return {name: {k: v for k, v in block.items() if k != "name"} for name, block in found.items()}


def same_pictures(one: Run, other: Run) -> list[str]:
    """Names of pictures that two runs have with the same size and the same pixels."""
    images = other.header["images"]
    return [name for name, facts in one.header["images"].items() if images.get(name) == facts]


def text_of(value: object) -> str:
    """A value in a few words."""
    if value is _ABSENT:
        return "–"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping) and isinstance(value.get("kind"), str):
        return value["kind"]
    if isinstance(value, list | tuple) and not any(isinstance(v, list | tuple | Mapping) for v in value):
        text = _listed(value) or "none"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _scenario(run: Run) -> dict[str, Any]:
    """A scenario with its lists of named blocks by their names."""
    scenario = dict(run.header["scenario"])
    scenario["channels"] = channel_blocks(run)
    scenario["schemes"] = {
        s["name"]: {k: v for k, v in s.items() if k != "name"} for s in scenario["schemes"]
    }
    return scenario


def _changes(path: str, values: Sequence[object]) -> Iterator[Difference]:
    """Leaves that differ; of what is a block on one side only the whole."""
    if all(value == values[0] for value in values[1:]):
        return
    values = _by_place(values)
    if not all(isinstance(value, Mapping) for value in values):
        yield Difference(path, tuple(text_of(value) for value in _own_parts(values)))
        return
    blocks: list[Any] = list(values)
    for key in dict.fromkeys(key for block in blocks for key in block):
        yield from _changes(f"{path}.{key}" if path else str(key), [b.get(key, _ABSENT) for b in blocks])


def _own_parts(values: Sequence[Any]) -> Sequence[object]:
    """Of long lists what not all of them have, if there is something."""
    if not all(isinstance(value, list | tuple) for value in values):
        return values
    if all(len(_listed(value)) <= _LONGEST for value in values):
        return values
    own = [[v for v in value if not all(v in other for other in values)] for value in values]
    return [["…", *parts] if parts else "…" for parts in own] if any(own) else values


def _listed(values: Sequence[object]) -> str:
    return ", ".join(text_of(v) for v in values)


def _by_place(values: Sequence[object]) -> Sequence[object]:
    """Lists of blocks as blocks by their place."""
    lists = [value for value in values if isinstance(value, list | tuple)]
    if not any(isinstance(v, Mapping) for value in lists for v in value):
        return values
    return [
        {str(i): v for i, v in enumerate(value)} if isinstance(value, list | tuple) else value
        for value in values
    ]


def _pictures(images: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """Pictures that not all runs have, and those that are others under the same name."""
    if any(set(of) != set(images[0]) for of in images[1:]):
        yield Difference("pictures", tuple(_count(of) for of in images))
    common = [name for name in images[0] if all(name in of for of in images[1:])]
    others = [name for name in common if any(of[name] != images[0][name] for of in images[1:])]
    for name in others[:_EACH]:
        yield Difference(f"pictures.{name}", tuple(_picture(of[name]) for of in images))
    if others[_EACH:]:
        more = f"{len(others) - _EACH} more pictures of the same names"
        yield Difference(more, tuple("other pixels" if i else "" for i in range(len(images))))


def _count(images: Mapping[str, Any]) -> str:
    names = list(images)
    rest = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"{len(names)}: {', '.join(names[:_FEW])}{rest}" if names else "none"


def _picture(facts: Sequence[Any]) -> str:
    height, width, digest = facts
    return f"{width} × {height}, {digest}"
