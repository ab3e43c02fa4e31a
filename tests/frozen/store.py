"""The stored values: JSON files in data/, written by ``python -m tests.frozen --write``."""

from __future__ import annotations

import difflib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"
DECIDING = ("torch", "numpy", "scipy", "sionna", "numba", "av", "pillow", "scikit-image", "pydantic")


def read(name: str) -> Any:
    """Contents of data/NAME.json."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str, values: object) -> None:
    """Write data/NAME.json."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Of what results depend on beside the project."""
    return {name: importlib.metadata.version(name) for name in DECIDING}


def moved(what: str, lines: list[str], most: int = 30) -> str:
    """A message: what moved, and whether other libraries may be the reason."""
    here, then = versions(), read("versions")
    other = [
        f"{name} {then.get(name)} then, {version} now"
        for name, version in here.items()
        if then.get(name) != version
    ]
    reason = f"\nOther libraries than those of the stored values: {'; '.join(other)}." if other else ""
    more = f"\nand {len(lines) - most} more" if len(lines) > most else ""
    listed = "\n".join(lines[:most])
    return f"{what}: what must not move has moved:\n{listed}{more}{reason}"


def unlike(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Stored entries that are others now, or gone, a line each; new ones are welcome. Of texts their lines."""
    said = []
    for name, before in stored.items():
        after = found.get(name, "nothing")
        if isinstance(before, list) and isinstance(after, list):
            changed = (line for line in difflib.ndiff(before, after) if line[0] in "+-")
            said += [f"{name}: {line}" for line in changed]
        elif before != after:
            said.append(f"{name}: {before} became {after}")
    return said
