"""linksim with small sizes: what the commands of the documents call when they are tried (tests/shell_blocks.py).

One picture of a set, one or two realisations, three steps of a training; everything else is as the command says.
"""

from __future__ import annotations

import os
import re
import sys
from itertools import pairwise
from typing import Any

SIDE = 192
TRIALS = re.compile(r"sweep\.trials=(\d+)")


def smaller(words: list[str]) -> list[str]:
    """The same command at small sizes."""
    if not words or words[0] not in ("simulate", "train", "calibrate"):
        return words
    words = [TRIALS.sub(lambda m: f"sweep.trials={1 if int(m[1]) < 8 else 2}", word) for word in words]
    for option, value in (("--frames", "8"), ("--budget", "5s"), ("--workers", "2")):
        words = _replaced(words, option, value)
    if words[0] == "calibrate":
        return words
    add = _of_training(words) if words[0] == "train" else _of_simulation(words)
    return [*words, *(part for change in add for part in ("--set", change))]


def _replaced(words: list[str], option: str, value: str) -> list[str]:
    return [value if before == option else word for before, word in zip(["", *words], words, strict=False)]


def _loaded(words: list[str]) -> Any:
    from linksim.scenario.files import load_any, parse_overrides

    sets = [word for before, word in pairwise(words) if before == "--set"]
    return load_any(words[1], parse_overrides(sets))


def _of_simulation(words: list[str]) -> list[str]:
    scenario = _loaded(words)
    changes = [] if any(TRIALS.fullmatch(word) for word in words) else ["sweep.trials=1"]
    if scenario.images is not None and scenario.images.kind == "skimage":
        changes += [f"images.crop={SIDE}", "images.names=[coffee]"]
    return changes


def _of_training(words: list[str]) -> list[str]:
    training = _loaded(words)
    spec = getattr(training, "train", None)
    if spec is None:
        return [
            "train_denoiser.batch_size=4",
            "train_denoiser.crop=128",
            "train_denoiser.validation_images=1",
        ]
    changes = ["train.validation_images=1", "train.validation_batch=1"]
    phases = [f"train.phases.{index}" for index in range(len(spec.phases))] or ["train"]
    changes += [f"{phase}.{field}" for phase in phases for field in ("batch_size=2",)]
    if spec.crop > 128:
        changes += [f"{phase}.crop=128" for phase in phases]
    changes += ["train.groups=1"] if spec.groups > 1 else []
    return [*changes, *(["train.steps=3"] if spec.steps else [])]


def main() -> None:
    """The command, in this process."""
    words = smaller(sys.argv[1:])
    if words and words[0] == "simulate" and "--limit" not in words:
        words += ["--limit", "1"]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.argv = ["linksim", *words]
    from linksim.cli.commands import entry_point

    entry_point()


if __name__ == "__main__":
    main()
