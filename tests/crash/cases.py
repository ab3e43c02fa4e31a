"""Commands that are killed, where they write, and what must be there afterwards."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from linksim.source.stream_cache import StreamCache
from tests.crash.child import Damage, in_child, linksim
from tests.linksim.tiny import TINY

__all__ = ["CASES", "RECIPE", "SMALL", "Case", "Disturbed", "Simulate", "pictures_tar"]

SCENARIO = (
    TINY.replace("name: tiny", "name: crash")
    .replace("  - {kind: capacity_bound, name: bound}\n", "")
    .replace("batch_size: 3", "statistics: {resamples: 100}\nbatch_size: 1")
)
SMALL = (
    SCENARIO.replace("trials: 2", "trials: 1")
    .replace("ssim, ", "")
    .replace("  - {kind: rayleigh, coherence_symbols: 128, csi: {kind: lmmse, pilots_per_block: 2}}\n", "")
)
RECIPE = """
name: crash-train
seed: 3
images: {kind: tar, paths: [TAR], multiple_of: 1}
train:
  codec: {kind: lean, latent_channels: 4, width_8: 8, width_16: 8, encoder_blocks: [0, 1], decoder_blocks: [1, 0], embedding: 4}
  channel: {kind: awgn}
  snr_db: {low: 0, high: 14}
  optimizer: {kind: muon, learning_rate: 2e-3, warmup_steps: 5}
  crop: 64
  batch_size: 2
  steps: 30
  validation_images: 2
  validation_every_steps: 15
  checkpoint_every_s: 0.01
"""


@dataclass(frozen=True)
class Disturbed:
    """What was done to a command until it finished.

    Args:
        times: how often it was disturbed.
        how: in words, with the moments.
        whole_s: time of an undisturbed one, as far as it is known.
    """

    times: int
    how: str
    whole_s: float


class Case:
    """A command, where it writes, and what must be there afterwards.

    Args:
        work: folder with what all attempts share.
    """

    def __init__(self, work: Path) -> None:
        self.work = work

    def start(self, folder: Path) -> int:
        """Run the command in a child; its exit code."""
        raise NotImplementedError

    def begin(self, folder: Path) -> None:
        """Make a fresh folder ready."""
        folder.mkdir()

    def disturb(self, folder: Path, whole: Path, rng: random.Random, kills: int, whole_s: float) -> Disturbed:
        """Disturb the command until it has finished: here, kill it again and again at random moments.

        Args:
            folder: that it writes to.
            whole: of the undisturbed one.
            rng: of the moments.
            kills: at most so many.
            whole_s: time of the undisturbed one.

        Raises:
            Damage: with what was done before.
        """
        moments: list[float] = []
        done = False
        try:
            while not done:
                moment = rng.uniform(0, whole_s) if len(moments) < kills else None
                took_s = in_child(lambda: self.start(folder), moment)
                done = took_s is not None
                if took_s is not None and not moments:  # others may be faster, with warm caches
                    whole_s = min(whole_s, took_s)
                if not done:
                    moments.append(round(moment or 0, 3))
                    done = self.after_kill(folder, whole)
        except Damage as problem:
            raise Damage(f"killed after {moments} s: {problem}") from None
        return Disturbed(len(moments), f"killed after {moments} s", whole_s)

    def after_kill(self, folder: Path, whole: Path) -> bool:
        """Look at what a killed command left; whether there is nothing left to do for it."""
        return False

    def facts(self, folder: Path) -> dict[str, Any]:
        """What an undisturbed and a killed command must agree in: contents by name, without times."""
        raise NotImplementedError


def _files(folder: Path) -> dict[str, bytes]:
    """All files but what killed processes leave under names of their own, which nobody reads."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(".partial"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def _without(text: bytes, *names: str) -> Any:
    tree = json.loads(text)
    for name in names:
        tree.pop(name)
    return tree


class Simulate(Case):
    """``linksim simulate`` with its cache."""

    text = SCENARIO

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.scenario = work / "scenario.yaml"
        self.scenario.write_text(self.text)

    def start(self, folder: Path) -> int:
        os.environ["LINKSIM_CACHE"] = str(folder / "cache")
        options = [
            "--out",
            str(folder / "run"),
            "--workers",
            "1",
            "--no-report",
        ]  # Report has a case of its own
        return linksim(["simulate", str(self.scenario), *options])

    def facts(self, folder: Path) -> dict[str, Any]:
        files = _files(folder / "run")
        facts: dict[str, Any] = dict(files)
        facts["run.json"] = _without(files["run.json"], "started")
        facts["records.jsonl"] = [_without(line, "seconds") for line in files["records.jsonl"].splitlines()]
        keys = [json.dumps(record["key"]) for record in facts["records.jsonl"]]
        facts["records.jsonl"].sort(key=json.dumps)  # what is missing begins with a sample of every scheme
        if len(set(keys)) != len(keys):
            raise Damage("a unit has two records")
        facts["results.csv"] = _without_seconds(files["results.csv"].decode())
        entries = [
            p for p in (folder / "cache").rglob("*") if p.is_file() and not p.name.endswith(".partial")
        ]
        cache = StreamCache(folder / "cache" / "streams")
        # which streams a search looks at depends on what it finds there; each is whole, whoever wrote it
        facts["damaged streams"] = [
            p.name for p in entries if "streams" in p.parts and cache.get(p.name) is None
        ]
        return facts


def _without_seconds(text: str) -> list[list[str]]:
    rows = [line.split(",") for line in text.splitlines()]
    kept = [i for i, name in enumerate(rows[0]) if "second" not in name]
    return [[row[i] for i in kept if i < len(row)] for row in rows if not any("second" in c for c in row[:8])]


class Report(Case):
    """``linksim report`` over a finished run."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        scenario = work / "scenario.yaml"
        scenario.write_text(SMALL)
        in_child(
            lambda: linksim(
                ["simulate", str(scenario), "--out", str(work / "run"), "--no-report", "--workers", "1"]
            ),
            None,
        )

    def begin(self, folder: Path) -> None:
        folder.mkdir()
        shutil.copytree(self.work / "run", folder / "run")

    def start(self, folder: Path) -> int:
        return linksim(["report", str(folder / "run")])

    def after_kill(self, folder: Path, whole: Path) -> bool:
        good = _files(whole / "run")
        for name, data in _files(folder / "run").items():
            if data != good[name]:
                raise Damage(f"{name} is not whole")
        return False

    def facts(self, folder: Path) -> dict[str, Any]:
        return _files(folder / "run")


class Calibrate(Case):
    """``linksim calibrate``, which saves its table after every part."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.scenario = work / "scenario.yaml"
        self.scenario.write_text(SMALL)
        self.pictures = pictures_tar(work / "pictures.tar")

    def start(self, folder: Path) -> int:
        options = [
            "--frames",
            "6",
            "--every",
            "2",
            "--quality-images",
            str(self.pictures),
            "--quality-limit",
            "1",
        ]
        os.environ["LINKSIM_CACHE"] = str(self.work / "cache")
        return linksim(["calibrate", str(self.scenario), "--out", str(folder / "table.json"), *options])

    def after_kill(self, folder: Path, whole: Path) -> bool:
        from linksim.build.channels import load_calibration

        if (folder / "table.json").exists():
            load_calibration(folder / "table.json")
        return False

    def facts(self, folder: Path) -> dict[str, Any]:
        return {
            "table.json": json.loads((folder / "table.json").read_bytes()),
            "files": sorted(_files(folder)),
        }


class Train(Case):
    """``linksim train``: the weights are those of a training that went through."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.recipe = work / "recipe.yaml"
        self.recipe.write_text(RECIPE.replace("TAR", str(pictures_tar(work / "pictures.tar"))))

    def start(self, folder: Path) -> int:
        return linksim(["train", str(self.recipe), "--out", str(folder / "run"), "--device", "cpu"])

    def facts(self, folder: Path) -> dict[str, Any]:
        from linksim.build.checkpoints import read_checkpoint

        run = folder / "run"
        model = read_checkpoint(run / "model.safetensors")
        recipe = {k: v for k, v in model.recipe.items() if k != "seconds"}
        state = torch.load(run / "state.pt", weights_only=True)
        facts = {f"model {k}": v.numpy().tobytes() for k, v in model.tensors.items()}
        facts |= {f"state {k}": v.numpy().tobytes() for k, v in state["model"].items()}
        top = sorted(p.name for p in run.iterdir() if not p.name.endswith(".partial"))
        return {
            **facts,
            "recipe": recipe,
            "step": state["step"],
            "files": top,
            "train.json": (run / "train.json").read_bytes(),
        }


class Convert(Case):
    """``linksim convert diffjscc``: the folder is whole or not there."""

    def __init__(self, work: Path) -> None:
        from benchmarks.make_diffjscc_checkpoint import make

        super().__init__(work)
        self.source = make(work / "authors", "tiny")

    def start(self, folder: Path) -> int:
        return linksim(["convert", "diffjscc", str(self.source), str(folder / "model")])

    def after_kill(self, folder: Path, whole: Path) -> bool:
        if not (folder / "model").exists():
            return False
        if self.facts(folder) != self.facts(whole):
            raise Damage("the folder is not whole")
        return True

    def facts(self, folder: Path) -> dict[str, Any]:
        return dict(_files(folder / "model"))


class Cache(Case):
    """Writing coded streams: an entry is whole or absent, whoever reads it."""

    COUNT = 2000

    @staticmethod
    def _data(number: int) -> bytes:
        return random.Random(number).randbytes(200 + 37 * (number % 100))

    def start(self, folder: Path) -> int:
        cache = StreamCache(folder / "streams")
        for number in range(self.COUNT):
            cache.put(StreamCache.key("entry", number), self._data(number))
        return 0

    def after_kill(self, folder: Path, whole: Path) -> bool:
        cache = StreamCache(folder / "streams")
        for number in range(self.COUNT):
            key = StreamCache.key("entry", number)
            path = folder / "streams" / key[:2] / key
            if path.exists() and cache.get(key) != self._data(number):
                raise Damage(f"entry {number} is not whole")
        return False

    def facts(self, folder: Path) -> dict[str, Any]:
        return dict(_files(folder))


CASES: dict[str, type[Case]] = {
    "simulate": Simulate, "report": Report, "calibrate": Calibrate, "train": Train, "convert": Convert, "cache": Cache,
}  # fmt: skip


def pictures_tar(path: Path) -> Path:
    """Eight pictures of 192 x 192 pixels."""
    rng = np.random.default_rng(2)
    with tarfile.open(path, "w") as archive:
        for number in range(8):
            blocks = rng.integers(0, 256, (24, 24, 3))
            data = io.BytesIO()
            Image.fromarray(np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)).save(data, "PNG")
            info = tarfile.TarInfo(f"{number}.png")
            info.size = data.tell()
            data.seek(0)
            archive.addfile(info, data)
    return path


# ------------------------------------------------------------------------------------------- killing
