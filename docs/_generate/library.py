"""Examples of blocks, taken from the scenarios of the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel

from linksim.files.places import scenario_dir
from linksim.scenario.files import load_any
from linksim.scenario.starting.comments import one_line
from linksim.scenario.sweeps import as_written

__all__ = ["Example", "example_of", "names", "scenarios"]

_MOST_LINES = 14


@dataclass(frozen=True)
class Example:
    """A block of a scenario.

    Args:
        scenario: name in the library.
        text: YAML.
    """

    scenario: str
    text: str


@cache
def scenarios() -> dict[str, BaseModel]:
    """All scenarios of the library, by name."""
    found = {}
    for path in sorted(scenario_dir().rglob("*.yaml")):
        if path.parent.name != "base":
            name = path.relative_to(scenario_dir()).with_suffix("").as_posix()
            found[name] = load_any(str(path))
    return found


def names() -> list[str]:
    """Of all scenarios."""
    return list(scenarios())


def _blocks(value: Any) -> Iterator[BaseModel]:
    """All descriptions in a description."""
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _blocks(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _blocks(item)
    elif isinstance(value, dict):
        yield from _blocks(list(value.values()))


@cache
def _all_blocks() -> list[tuple[str, BaseModel]]:
    return [(name, block) for name, scenario in scenarios().items() for block in _blocks(scenario)]


def example_of(model: type[BaseModel]) -> Example | None:
    """The block of the library that says most of a description on a few lines, else the shortest; None without any."""
    found: dict[str, Example] = {}
    for name, block in _all_blocks():
        if type(block) is model or (type(block).__name__, type(block).__module__) == (
            model.__name__,
            model.__module__,
        ):
            text = _text(block)
            if text.strip() != "{}":
                found.setdefault(text, Example(name, text))
    short = [e for e in found.values() if e.text.count("\n") < _MOST_LINES]
    if not short:
        return min(found.values(), key=lambda e: len(e.text), default=None)
    return max(short, key=lambda e: (len(e.text.splitlines()), -len(e.text)))


def _text(block: BaseModel) -> str:
    """What of a block is not usual, as YAML; small blocks in a line."""
    data = as_written(block.model_dump(exclude_defaults=True))
    lines = []
    for key, value in data.items():
        short = one_line(value)
        if isinstance(value, dict | list) and len(short) > 80:
            body = (
                yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True, width=100)
                .rstrip()
                .splitlines()
            )
            lines += [f"{key}:", *(f"  {line}" for line in body)]
        else:
            lines.append(f"{key}: {short}")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    """Values without what linksim knows of them beside."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
