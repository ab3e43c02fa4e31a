"""Hashes of all scenarios: what run folders, trainings and checkpoints are known by."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from tests.frozen.door import load_any, read_checkpoint, scenario_dir, scenario_hash, zoo

PARTS = "base"  # files that others extend are no scenarios


def scenario_hashes() -> dict[str, str]:
    """Hash of every scenario file, by its name."""
    found = {}
    for path in sorted(scenario_dir().rglob("*.yaml")):
        name = path.relative_to(scenario_dir()).with_suffix("").as_posix()
        if not name.startswith(f"{PARTS}/"):
            found[name] = scenario_hash(load_any(str(path)))
    return found


def bundled_networks() -> dict[str, dict[str, object]]:
    """What the bundled networks are read as: their sizes, their losses, and how their training is called."""
    found = {}
    for name in sorted(zoo.BUNDLED_MODELS):
        path = zoo.asset(zoo.BUNDLED_FILES[name])
        stored = read_checkpoint(path)
        found[name] = {
            "codec": json.loads(json.dumps(stored.codec.model_dump(mode="json"))),
            "tensors": tensors(path),
            "trained_on": list(stored.trained_on or ()),
            "highest_snr_db": stored.highest_snr_db,
            "scenario_hash": stored.recipe.get("scenario_hash"),
        }
    return found


def tensors(path: Path) -> int:
    """How many tensors a file has."""
    with safe_open(path, "pt") as file:
        return len(list(file.keys()))
