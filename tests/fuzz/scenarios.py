"""Scenarios and recipes, changed as texts and as trees, through ``linksim check``."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

from linksim.scenario.files import scenario_dir
from tests.fuzz.harness import Attempt, command
from tests.fuzz.mutations import mutated_text, mutated_tree, strange_value

PICTURES = {"kind": "skimage", "names": ["astronaut", "coffee"], "crop": [192, 256]}
# Whole scenarios cost seconds; these bounds leave them every field, and a second at most.
_SMALL = {"bandwidth": {"data_ratio": "1/96"}, "images": PICTURES}


def corpus() -> dict[str, Any]:
    """Trees of all scenarios that come with linksim, on two small pictures."""
    found = {}
    for path in sorted(scenario_dir().rglob("*.yaml")):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "extends" in tree:
            tree["extends"] = str(path.parent / tree["extends"])
        name = str(path.relative_to(scenario_dir()))
        if not name.startswith("base"):
            found[name] = {**tree, "images": PICTURES}
            if "bandwidth" in tree and "/" in str(tree["bandwidth"].get("data_ratio", "")):
                found[name]["bandwidth"] = _SMALL["bandwidth"]
    return found


def prepare(work: Path) -> Attempt:
    """A changed scenario, at times changed by --set, checked."""
    trees = corpus()
    names = sorted(trees)

    def attempt(rng: random.Random, folder: Path) -> str:
        tree = trees[rng.choice(names)]
        if rng.random() < 0.7:
            changed = mutated_tree(tree, rng, list(trees.values()))
            text = yaml.safe_dump(changed, allow_unicode=True, sort_keys=False)
        else:
            text = mutated_text(yaml.safe_dump(tree, sort_keys=False), rng)
        path = folder / "scenario.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        pairs = []
        if rng.random() < 0.1:
            key = rng.choice(("sweep.trials", "channel.kind", "channels.0.csi", "schemes.0.mcs", "train.codec.kind", "images", "a.b", ""))  # fmt: skip
            pairs = ["--set", f"{key}={yaml.safe_dump(strange_value(rng), default_flow_style=True)}"]
        return command("check", str(path), *pairs)

    return attempt
