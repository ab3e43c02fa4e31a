"""Trainings that go on: with the same pictures and recipe only, further than they first should, in one process;
pictures that stay on disk give the same weights as pictures in memory.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linksim.cli.commands import main
from linksim.images.folders import FolderImages
from linksim.images.sets import SkimageImages
from linksim.scenario.files import ScenarioError, load_train_scenario, parse_overrides
from linksim.scenario.schema import OptimizerSpec
from linksim.training.codec import Trainer, TrainingDiverged, train
from linksim.training.data.photographs import Photographs
from linksim.training.data.picture_list import split, survey
from linksim.training.extent import Extent
from linksim.training.folder import RUN_FILE, opened
from linksim.training.phases import rate_factor

CPU = torch.device("cpu")
RECIPE = """
name: tiny-train
seed: 3
images: {{kind: folder, path: {path}, multiple_of: 1}}
train:
  codec: {{kind: lean, latent_channels: 8, width_8: 8, width_16: 8, encoder_blocks: [1, 1], decoder_blocks: [1, 1],
           klt_start: false}}
  channel: {{kind: awgn}}
  snr_db: {{low: 0, high: 14}}
  optimizer: {{kind: muon, learning_rate: 2e-3, warmup_steps: 2, decay_share: 0.5}}
  crop: 64
  scale_low: 0.8
  batch_size: 2
  steps: 4
  validation_images: 2
  validation_snr_db: [10]
  validation_every_steps: 100
  checkpoint_every_s: 1000
"""


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Twelve photographs of 80 to 102 x 90 pixels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = SkimageImages(["astronaut", "coffee", "chelsea", "rocket"])
    for name in images.names:
        for i in range(3):
            part = images[name][:, 40 * i : 40 * i + 80 + 2 * i + len(name), 60 : 60 + 90]
            Image.fromarray(part.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{name}-{i}.png")
    return folder


@pytest.fixture
def recipe(pictures, tmp_path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(path=pictures))
    return str(path)


def run(recipe: str, out: Path, *pairs: str, **options):
    return train(load_train_scenario(recipe, parse_overrides(pairs)), out, CPU, **options)


def state(out: Path) -> dict:
    return torch.load(out / "state.pt", weights_only=True)


def assert_same(a: Path, b: Path) -> None:
    """Weights, average and optimisers of two states, bit for bit."""
    one, two = state(a), state(b)
    for part in ("model", "ema"):
        assert all(torch.equal(value, two[part][key]) for key, value in one[part].items()), part
    assert str(one["optimizers"]) == str(two["optimizers"])
    assert one["step"] == two["step"]


def interrupt_at(patch, stop: int) -> None:
    step = Trainer.train_step

    def interrupted(self):
        if self.step == stop:
            raise KeyboardInterrupt
        return step(self)

    patch.setattr(Trainer, "train_step", interrupted)


# ------------------------------------------------------------------------------- the same pictures


def test_a_changed_set_of_pictures_is_refused_with_what_changed(recipe, pictures, tmp_path, capsys):
    out = tmp_path / "run"
    run(recipe, out)
    os.utime(pictures / "coffee-0.png", (1, 1))  # a copy has other times
    assert run(recipe, out).steps == 4
    before = (out / "state.pt").read_bytes()
    for name in ("rocket-0.png", "rocket-1.png", "coffee-2.png"):
        (pictures / name).unlink()
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(pictures / "new.png")
    Image.fromarray(np.zeros((82, 90, 3), np.uint8)).save(pictures / "chelsea-1.png")
    assert main(["train", recipe, "--out", str(out), "--set", "train.steps=8"]) == 2
    message = capsys.readouterr().err
    assert f"images: not those of the training in {out}, got 1 added (new.png), 3 removed (" in message
    assert "1 changed (chelsea-1.png), expected the 12 pictures that the training began with" in message
    assert (out / "state.pt").read_bytes() == before
    assert run(recipe, tmp_path / "other").steps == 4


def test_pictures_that_moved_are_the_same_pictures(recipe, pictures, tmp_path):
    run(recipe, tmp_path / "run")
    pictures.rename(tmp_path / "elsewhere")
    assert run(recipe, tmp_path / "run", f"images.path={tmp_path / 'elsewhere'}").steps == 4


def test_a_folder_of_an_older_version_goes_on_and_learns_its_pictures(recipe, tmp_path, caplog):
    """Its header has the recipe alone, without fields that came later; its state no place in the schedule."""
    from linksim.scenario.files import scenario_hash

    out, scenario = tmp_path / "run", load_train_scenario(recipe)
    run(recipe, out)
    (out / "pictures.txt").unlink()
    old = scenario.model_dump(mode="json")
    del old["train"]["compile"]
    (out / "train.json").write_text(json.dumps({"scenario_hash": "0123456789abcdef", "scenario": old}))
    known = {k: v for k, v in state(out).items() if not k.startswith(("from_", "progress"))}
    torch.save({**known, "scenario_hash": "0123456789abcdef"}, out / "state.pt")
    assert run(recipe, out, "train.steps=6").steps == 6
    assert "noted no pictures" in caplog.text
    assert len((out / "pictures.txt").read_text().splitlines()) == 12
    assert scenario_hash(scenario) not in json.loads((out / "train.json").read_text())["scenario_hash"]


def test_files_of_one_length_differ_by_their_begin_middle_and_end(tmp_path):
    values = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    digests = set()
    for place in (None, 0, 19_999, 39_999):
        changed = values.reshape(-1, 3).copy()
        if place is not None:
            changed[place] ^= 1
        Image.fromarray(changed.reshape(values.shape)).save(tmp_path / "a.bmp")
        (listed,) = survey(FolderImages(tmp_path))
        assert (listed.length, listed.rows, listed.cols) == (120_054, 200, 200)
        digests.add(listed.digest)
    assert len(digests) == 4


def test_a_recording_that_changed_is_named(recipe, tmp_path, capsys):
    from channels.models.recording import Recording, save_recorded

    def record(seed: int) -> None:
        rng = np.random.default_rng(seed)
        gains = rng.standard_normal((5, 2)) + 1j * rng.standard_normal((5, 2))
        save_recorded(tmp_path / "walk.npz", Recording(gains=gains, delays_s=np.array([0.0, 1e-7])))

    record(1)
    model = f"{{kind: recorded, path: {tmp_path / 'walk.npz'}}}"
    channel = f"train.channel={{kind: ofdm, num_subcarriers: 16, model: {model}, csi: {{kind: perfect}}}}"
    words = ["--set", channel, "--set", "train.steps=1"]
    assert main(["train", recipe, "--out", str(tmp_path / "run"), *words]) == 0
    record(2)
    assert main(["train", recipe, "--out", str(tmp_path / "run"), *words]) == 2
    assert "train.channels.0.channel.model.path: changed, got digest" in capsys.readouterr().err


# --------------------------------------------------------------------------- the same recipe, further


def test_a_finished_training_is_extended_with_its_optimisers(recipe, tmp_path, monkeypatch):
    """Four steps, then six more: the rate is that of the schedule over the six; the optimisers go on from
    where they were; and a kill on the way changes nothing.
    """
    rates = []
    step = Trainer.train_step

    def noted(self):
        said = step(self)
        rates.append((self.step, said["learning_rate"]))
        return said

    monkeypatch.setattr(Trainer, "train_step", noted)
    run(recipe, tmp_path / "a")
    run(recipe, tmp_path / "b")
    assert _steps(state(tmp_path / "a")) == {4}
    rates.clear()
    lines: list[str] = []
    assert run(recipe, tmp_path / "a", "train.steps=10", report=lines.append).steps == 10
    assert "extended: at most 6 steps more from step 4 on" in lines
    spec = OptimizerSpec(learning_rate=2e-3, warmup_steps=2, decay_share=0.5)
    expected = [(5 + i, 2e-3 * rate_factor(spec, 4 + i, i / 6)) for i in range(6)]
    assert [step for step, _ in rates] == [step for step, _ in expected]
    assert [rate for _, rate in rates] == pytest.approx([rate for _, rate in expected])
    assert rates[0][1] == 2e-3, "no warm-up: the optimisers are warm"

    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "b", "train.steps=10")
    assert _steps(state(tmp_path / "b")) == {5}
    run(recipe, tmp_path / "b", "train.steps=10")
    assert _steps(state(tmp_path / "b")) == {10}
    assert_same(tmp_path / "a", tmp_path / "b")


def _steps(saved: dict) -> set[int]:
    """How many steps AdamW counts, which Muon leaves vectors to."""
    return {int(s["step"]) for o in saved["optimizers"] for s in o["state"].values() if "step" in s}


def test_a_training_on_its_way_is_stretched_without_a_jump(recipe, tmp_path, monkeypatch):
    """Half of the schedule is done after two of four steps; the other half takes the eight that are left of ten."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, out)
    scenario = load_train_scenario(recipe, parse_overrides(["train.steps=10"]))
    trainer = Trainer(scenario, out, CPU)
    trainer.load_state()
    assert trainer.progress() == 0.5
    trainer.step = 6
    assert trainer.progress() == 0.75
    assert run(recipe, out, "train.steps=10").steps == 10
    assert run(recipe, out, "train.steps=10").steps == 10, "finished: the same command does nothing more"


def test_a_training_cannot_end_before_where_it_is(recipe, tmp_path, capsys):
    run(recipe, tmp_path / "run")
    before = (tmp_path / "run" / "train.json").read_bytes()
    assert main(["train", recipe, "--out", str(tmp_path / "run"), "--set", "train.steps=3"]) == 2
    message = capsys.readouterr().err
    assert "train.steps: nothing left, got 3 steps, expected more than the 4 that are done" in message
    words = ["--set", "train.time_budget_s=0.01", "--set", "train.steps=null"]
    assert main(["train", recipe, "--out", str(tmp_path / "run"), *words]) == 2
    assert "train.time_budget_s: nothing left, got 0.01 s" in capsys.readouterr().err
    assert (tmp_path / "run" / "train.json").read_bytes() == before


def test_a_larger_budget_extends_a_training_that_time_ended(recipe, tmp_path):
    first = run(recipe, tmp_path / "run", "train.steps=1000000", "train.time_budget_s=1.5")
    second = run(recipe, tmp_path / "run", "train.steps=1000000", "train.time_budget_s=4")
    assert second.steps > first.steps
    assert 2 < second.seconds < 20


def test_fields_that_change_no_weight_may_change(recipe, tmp_path):
    run(recipe, tmp_path / "run")
    words = ["train.checkpoint_every_s=5", "train.validation_every_steps=50", "question=why?"]
    assert run(recipe, tmp_path / "run", *words).steps == 4


@pytest.mark.parametrize(
    ("former", "place", "share"),
    [
        ((10, None), (5, 0.0), 0.5 + 0.5 * 5 / 15),  # half done; five steps on the way to step 20
        ((5, None), (5, 0.0), 0.7 + 0.3 * 5 / 15),  # finished: its last phase again
        ((None, 50.0), (5, 40.0), 0.8 + 0.2 * 5 / 15),
    ],
)
def test_the_rest_of_a_schedule_is_stretched(former, place, share):
    step, seconds = place
    extent = Extent(20, None).resumed({"step": step, "seconds": seconds}, former, "train", 0.7)
    assert extent.progress(step + 5, seconds) == pytest.approx(share)
    assert extent.progress(20, seconds) >= 1
    again = Extent(20, None).resumed({"step": 7, "seconds": 0.0, **extent.state()}, (20, None), "train", 0.7)
    assert again == extent


# --------------------------------------------------------------------------------------- one process


def test_a_second_process_is_refused(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from linksim.scenario.files import load_train_scenario\n"
        "from linksim.training.folder import RUN_FILE, opened\n"
        f"with opened(load_train_scenario({recipe!r}), Path({str(out)!r})):\n"
        "    print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"open\n"
    assert main(["train", recipe, "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert (
        f"{out}: in use by another training, got a lock on train.lock, expected no other process" in message
    )
    holder.communicate(b"")
    assert main(["train", recipe, "--out", str(out)]) == 0


def test_launchers_of_several_processes_are_refused(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", recipe, "--out", str(tmp_path / "run")]) == 2
    assert "train: trains in one process, got 2 processes, expected one" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main(["train", recipe, "--out", str(tmp_path / "run"), "--set", "train.steps=1"]) == 0


def test_a_lock_alone_makes_no_folder_of_a_training(recipe, tmp_path):
    with opened(load_train_scenario(recipe), tmp_path / "run"):
        pass
    assert run(recipe, tmp_path / "run").steps == 4
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(ScenarioError, match="not empty and no training"):
        run(recipe, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["notes.txt"]


# --------------------------------------------------------------------------------------- divergence


def test_divergence_does_not_promise_that_the_same_command_helps(recipe, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    words = ["--set", "train.optimizer={kind: adamw, learning_rate: 1e9, warmup_steps: 0}"]
    assert main(["train", recipe, "--out", str(out), *words]) == 1
    message = capsys.readouterr().err
    assert "Lower train.optimizer.learning_rate and use another --out" in message
    assert "resumes" not in message
    assert not (out / "state.pt").exists()
    assert run(recipe, out).steps == 4, "nothing was saved, so the folder is free for another rate"


def test_gradients_that_are_not_finite_reach_no_weight(recipe, tmp_path, monkeypatch):
    trainer = Trainer(load_train_scenario(recipe), tmp_path, CPU)
    before = {k: v.clone() for k, v in trainer.codec.state_dict().items()}
    next(trainer.codec.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(TrainingDiverged, match="the norm of the gradient is nan"):
        trainer.train_step()
    assert all(torch.equal(v, before[k]) for k, v in trainer.codec.state_dict().items())


# ------------------------------------------------------------------------------ pictures that stay on disk


def test_pictures_on_disk_give_the_weights_of_pictures_in_memory(recipe, tmp_path, monkeypatch, caplog):
    """Also where the training was interrupted; bit for bit."""
    run(recipe, tmp_path / "memory", "train.steps=6")
    assert "decoded as they are needed" not in caplog.text
    run(recipe, tmp_path / "disk", "train.steps=6", pictures_bytes=10_000)
    assert "pictures are decoded as they are needed" in caplog.text
    assert_same(tmp_path / "memory", tmp_path / "disk")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "cut", "train.steps=6", pictures_bytes=0)
    run(recipe, tmp_path / "cut", "train.steps=6", pictures_bytes=0)
    assert_same(tmp_path / "memory", tmp_path / "cut")


def test_no_more_than_the_squares_of_the_next_batch_are_kept(pictures):
    images = FolderImages(pictures)
    photographs = Photographs(images, seed=1, crop=48, held_out=2, scale_low=0.7, memory_bytes=0)
    kept = Photographs(images, seed=1, crop=48, held_out=2, scale_low=0.7)
    assert photographs.streamed
    assert not kept.streamed
    for step in range(8):
        rngs = [np.random.default_rng(step) for _ in range(2)]
        assert torch.equal(photographs.batch(rngs[0], 4, 32), kept.batch(rngs[1], 4, 32))
        assert rngs[0].random() == rngs[1].random()
        photographs.expect(np.random.default_rng(step + 1), 4, 32)
        waiting = [future.result() for future in photographs.training._coming.values()]
        assert 0 < len(waiting) <= 4
        assert all(max(square.shape) <= 32 / 0.7 + 1 for square in waiting)
        assert all(square.untyped_storage().nbytes() == square.numel() for square in waiting)
    singles = [np.random.default_rng([7, i]) for i in range(3)]
    photographs.expect_one_each([np.random.default_rng([7, i]) for i in range(3)])
    assert len(photographs.training._coming) >= 3
    again = [np.random.default_rng([7, i]) for i in range(3)]
    assert torch.equal(photographs.one_each(singles), kept.one_each(again))


def test_pictures_on_disk_are_decoded_at_once(pictures, monkeypatch):
    """Those of a batch wait for each other; the first decodings, of their sizes, are not among them."""
    monkeypatch.setattr("linksim.training.data.photographs.decoding_threads", lambda: 4)
    photographs = Photographs(FolderImages(pictures), seed=1, crop=48, held_out=2, memory_bytes=0)
    together, read = threading.Barrier(4, timeout=60), FolderImages.stored

    def stored(self, name):
        together.wait()
        return read(self, name)

    monkeypatch.setattr(FolderImages, "stored", stored)
    assert photographs.batch(np.random.default_rng(0), 4, 32).shape == (4, 3, 32, 32)


def test_the_same_pictures_are_held_out_of_more_or_fewer(pictures):
    """The learning curves of two sets can be compared where most pictures are in both."""
    listed = survey(FolderImages(pictures))
    held, trained = split(listed, 3, 4)
    assert len(held) == 4
    assert {*held, *trained} == set(listed)
    assert split(listed[::-1], 3, 4) == (held, trained)
    fewer = [one for one in listed if one not in trained[:5]]
    assert split(fewer, 3, 4)[0] == held
    renamed = [replace(one, name=f"a/{one.name}") for one in listed]
    assert [one.digest for one in split(renamed, 3, 4)[0]] == [one.digest for one in held]
    assert set(split(listed, 4, 4)[0]) != set(held)


def test_a_training_whose_held_out_pictures_would_be_others_is_refused(recipe, tmp_path, caplog):
    out = tmp_path / "run"
    run(recipe, out, "train.steps=2")
    header = json.loads((out / RUN_FILE).read_text())
    assert len(header["inputs"]["held-out pictures"]) == 16
    header["inputs"]["held-out pictures"] = "0" * 16  # as another version might have drawn them
    (out / RUN_FILE).write_text(json.dumps(header))
    with pytest.raises(ScenarioError, match="held-out pictures: changed"):
        run(recipe, out, "train.steps=2")
    del header["inputs"]["held-out pictures"]  # of a version that said nothing of them
    (out / RUN_FILE).write_text(json.dumps(header))
    run(recipe, out, "train.steps=3")
    assert "begun by a version that held out other pictures" in caplog.text


def test_what_is_smaller_than_the_crop_is_said(recipe, pictures, tmp_path, caplog, capsys):
    Image.fromarray(np.zeros((63, 90, 3), np.uint8)).save(pictures / "small.png")
    Image.fromarray(np.zeros((90, 40, 3), np.uint8)).save(pictures / "smaller.png")
    with caplog.at_level(logging.WARNING):
        run(recipe, tmp_path / "run")
    assert "train.crop: left out 2 of 14 pictures, smaller than 64 x 64 pixels" in caplog.text


def _cut_short(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_a_broken_picture_is_refused_in_memory_and_replaced_on_disk(pictures, caplog):
    images = FolderImages(pictures)
    held = Photographs(images, seed=1, crop=48, held_out=2, memory_bytes=0)
    name = held.training.names[3]
    _cut_short(pictures / name)
    from linksim.images.sets import ImageError

    with pytest.raises(ImageError, match=f"image {name}: cannot be decoded"):
        Photographs(images, seed=1, crop=48, held_out=2)
    photographs = Photographs(images, seed=1, crop=48, held_out=2, memory_bytes=0)
    again = Photographs(images, seed=1, crop=48, held_out=2, memory_bytes=0)
    one, two = (p.batch(np.random.default_rng(3), 64) for p in (photographs, again))
    assert torch.equal(one, two)
    said = [r.message for r in caplog.records if "taken in its place" in r.message]
    assert len(said) == 2, "once for each set"
    assert name in said[0]
    for other in photographs.training.names:
        if other != name:
            _cut_short(pictures / other)
    with pytest.raises(ImageError, match="cannot be decoded"):
        photographs.batch(np.random.default_rng(4), 1)


def test_a_picture_that_is_gone_stops_the_training_with_its_state(
    recipe, pictures, tmp_path, capsys, monkeypatch
):
    step = Trainer.train_step
    moved = tmp_path / "moved"

    def unplugged(self):
        if self.step == 3:
            pictures.rename(moved)
            self.photographs.training._coming = {}
        return step(self)

    run(recipe, tmp_path / "whole", "train.steps=5", pictures_bytes=0)
    words = ["--set", "train.steps=5", "--out", str(tmp_path / "run"), "--pictures-memory", "0MB"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", unplugged)
        assert main(["train", recipe, *words]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert state(tmp_path / "run")["step"] == 3
    moved.rename(pictures)
    assert main(["train", recipe, *words]) == 0
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("text", ["16", "GB", "-1GB", "4KB"])
def test_amounts_that_are_no_memory_are_refused(text, recipe, capsys):
    assert main(["train", recipe, f"--pictures-memory={text}"]) == 2
    assert "expected an amount such as 500MB or 16GB" in capsys.readouterr().err
