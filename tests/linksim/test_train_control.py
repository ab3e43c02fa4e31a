"""Training of DiffJSCC's control module on a tiny configuration: it learns, resumes exactly, and shares its work
between processes; through OFDM with estimated CSI as through AWGN.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.make_diffjscc_checkpoint import make
from linksim.build.convert import convert_diffjscc
from linksim.build.objects import load_codec
from linksim.cli.commands import main
from linksim.diffusion.model import DiffusionModel
from linksim.diffusion.receiver import DiffusionReceiver, SamplerOptions
from linksim.diffusion.start import from_stable_diffusion, new_control
from linksim.images.sets import SkimageImages
from linksim.scenario.files import load_train_scenario
from linksim.training.folder import opened
from linksim.weights.pickle_reader import ModelFormatError
from tests.linksim.tiny import write, write_tokenizer

SCENARIO = """
name: control
seed: 4
images: {kind: skimage, names: [astronaut, coffee, chelsea], crop: 128}
train_control:
  start: {model: MODEL}
  channel: CHANNEL
  snr_db: {low: 0, high: 14}
  crop: 64
  batch_size: 4
  steps: STEPS
  learning_rate: 1e-3
  ema_decay: 0.5
  validation_images: 1
  validation_every_steps: 10
  sample_steps: 2
  checkpoint_every_s: 0.001
"""
OFDM = "{kind: ofdm, model: {kind: tdl, profile: C, delay_spread_s: 300e-9}, csi: {kind: ls}}"


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("start") / "tiny", "tiny")


def recipe(start: Path, steps: int, channel: str = "{kind: awgn}") -> str:
    return SCENARIO.replace("MODEL", str(start)).replace("STEPS", str(steps)).replace("CHANNEL", channel)


def losses(folder: Path) -> list[float]:
    """Training losses of the TensorBoard log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(folder / "tensorboard"))
    log.Reload()
    return [event.value for event in log.Scalars("train/loss")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "state.pt", weights_only=True)
    return {**state["control"], **{f"ema {k}": v for k, v in state["ema"].items()}}


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", write(folder, recipe(start, 30)), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_loss_falls_and_only_the_control_module_changes(start, trained):
    values = losses(trained)
    assert len(values) == 30
    first, last = sum(values[:10]) / 10, sum(values[-10:]) / 10
    assert last < 0.9 * first
    before, after = DiffusionModel.load(trained / "model"), None
    after = DiffusionModel.load(trained / "model")
    from linksim.build.objects import load_diffjscc

    _, before = load_diffjscc(start)
    for name in ("unet", "vae", "text_encoder"):
        pairs = zip(
            before.parts()[name].state_dict().values(), after.parts()[name].state_dict().values(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs), name
    old, new = before.control.state_dict(), after.control.state_dict()
    changed = [k for k in old if not torch.equal(old[k], new[k])]
    fixed = {"controlnet_cond_embedding.conv_in.weight", "controlnet_cond_embedding.conv_in.bias"}
    assert set(old) - set(changed) <= fixed | {k for k in old if "conv_in.bias" in k}
    assert fixed <= set(old) - set(changed)


def test_validation_and_sample_grids_are_logged(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(trained / "tensorboard"))
    log.Reload()
    assert len(log.Scalars("validation/loss_at_1_db")) == 3
    norms, rates = log.Scalars("train/gradient_norm"), log.Scalars("train/learning_rate")
    assert [event.step for event in norms] == [event.step for event in rates] == list(range(1, 31))
    assert all(event.value > 0 for event in norms)
    assert rates[-1].value == pytest.approx(1e-3)
    assert log.Images("validation/original_initial_sample")


def test_trained_folder_is_a_scheme(trained, tmp_path):
    text = f"""
name: trained
images: {{kind: skimage, names: [coffee], crop: 64}}
bandwidth: {{data_ratio: 1/384}}
channel: {{kind: awgn}}
sweep: {{snr_db: [7]}}
schemes: [{{kind: diffjscc, name: dj, checkpoint: {trained / "model"}, steps: 2}}]
metrics: [psnr]
"""
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0


def test_map_of_the_snr_reaches_the_picture(start, tmp_path):
    """A new control module with the SNR of every position, over OFDM; without the map it says what is missing."""
    folder = tmp_path / "converted"
    convert_diffjscc(str(start), folder)
    text = recipe(start, 8, OFDM).replace(
        f"{{model: {start}}}", f"{{stable_diffusion: {folder}, codec: {start}, gamma_map: true}}"
    )
    assert main(["train", write(tmp_path, text), "--out", str(tmp_path / "run")]) == 0
    model = DiffusionModel.load(tmp_path / "run" / "model")
    assert model.gamma_map
    assert model.control.config.conditioning_channels == 5
    receiver = DiffusionReceiver(model, SamplerOptions("ddim", 2))
    initial = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    snr_db = torch.tensor([5.0])
    low, high = (receiver(initial, snr_db, [1], torch.full((1, 1, 4, 4), v)) for v in (-1.0, 2.0))
    assert (low - high).abs().max() > 1e-6
    with pytest.raises(ValueError, match="gamma_map: missing"):
        receiver(initial, snr_db, [1])


def test_captions_reach_the_training(start, tmp_path, capsys):
    """A captioner that cannot be had is one message before any work."""
    text = recipe(start, 2) + "  caption: /nowhere/captioner\n"
    assert main(["train", write(tmp_path, text), "--out", str(tmp_path / "run")]) == 2
    assert "/nowhere/captioner" in capsys.readouterr().err


def test_captions_change_what_the_denoiser_is_told(start, tmp_path, monkeypatch):
    """One step with two captions of two words, and none: three losses."""
    folder = tmp_path / "with words"
    convert_diffjscc(str(start), folder)
    write_tokenizer(folder / "tokenizer")
    found = []
    for name, words in (("none", ""), ("one", "a rocket"), ("two", "cup on a table")):

        class Captioner:
            def prepare(self):
                pass

            def __call__(self, image, words=words):
                return [words] * len(image)

        monkeypatch.setattr(
            "linksim.training.control.trainer.build_captioner", lambda *arguments, c=Captioner: c()
        )
        text = recipe(start, 1).replace(f"{{model: {start}}}", f"{{model: {folder}}}")
        assert main(["train", write(tmp_path, text), "--out", str(tmp_path / name)]) == 0
        found += losses(tmp_path / name)
    assert len(set(found)) == 3


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_weights(start, tmp_path):
    scenario = write(tmp_path, recipe(start, 12))
    assert main(["train", scenario, "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "linksim", "train", scenario, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None and not (out / "state.pt").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(out / "state.pt", weights_only=True)["step"]
    assert 0 < done < 12
    assert main(["train", scenario, "--out", str(out)]) == 0
    whole, resumed = weights(tmp_path / "whole"), weights(out)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(start, tmp_path):
    """accelerate, gloo: 6 steps, every loss within 1e-4. One thread each: with another number of threads sums
    round differently, and AdamW turns the rounding of vanishing gradients into whole steps.
    """
    scenario = write(tmp_path, recipe(start, 6).replace("learning_rate: 1e-3", "learning_rate: 1e-4"))
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--module"]
    found = []
    for name, start_with in (("one", ["-m"]), ("two", launch)):
        command = [sys.executable, *start_with, "linksim", "train", scenario, "--out", str(tmp_path / name)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--device", "cpu"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(losses(tmp_path / name))
    differences = [abs(a - b) for a, b in zip(*found, strict=True)]
    assert len(differences) == 6
    assert max(differences) < 1e-4, differences
    assert len({round(v, 3) for v in found[0]}) > 3, "losses that differ from step to step"


@pytest.mark.slow
def test_two_processes_are_told_alike_that_a_folder_is_in_use(start, tmp_path):
    """What stops the first process stops the second; neither waits for the other."""
    scenario = write(tmp_path, recipe(start, 2))
    out = tmp_path / "run"
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--module"]
    command = [sys.executable, *launch, "linksim", "train", scenario, "--out", str(out), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with opened(load_train_scenario(scenario), out):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
    assert done.returncode != 0
    assert "in use by another training" in done.stderr


def test_a_control_training_goes_on_with_the_same_pictures_and_model(start, tmp_path, capsys):
    """Also from disk, bit for bit; more steps are no other training."""
    model = tmp_path / "model"
    shutil.copytree(start, model)
    folder = tmp_path / "pictures"
    folder.mkdir()
    images = SkimageImages(["astronaut", "coffee", "chelsea"])
    for name in images.names:
        pixels = images[name][:, :100, :100].permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels).save(folder / f"{name}.png")
    text = recipe(model, 2).replace(
        "{kind: skimage, names: [astronaut, coffee, chelsea], crop: 128}", f"{{kind: folder, path: {folder}}}"
    )
    scenario = write(tmp_path, text)
    for name, words in (("memory", []), ("disk", ["--pictures-memory", "0MB"])):
        command = ["train", scenario, "--out", str(tmp_path / name), *words]
        assert main(command) == 0
        assert main([*command, "--set", "train_control.steps=3"]) == 0
    one, two = weights(tmp_path / "memory"), weights(tmp_path / "disk")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    saved = torch.load(tmp_path / "disk" / "state.pt", weights_only=True)
    assert {int(s["step"]) for s in saved["optimizer"]["state"].values()} == {3}
    capsys.readouterr()
    command = ["train", scenario, "--out", str(tmp_path / "disk")]
    assert main([*command, "--set", "train_control.learning_rate=0.1"]) == 2
    assert "train_control.learning_rate: not that of the training" in capsys.readouterr().err
    (folder / "coffee.png").rename(tmp_path / "coffee.png")
    assert main([*command, "--set", "train_control.steps=4"]) == 2
    assert "got 1 removed (coffee.png), expected the 3 pictures" in capsys.readouterr().err
    (tmp_path / "coffee.png").rename(folder / "coffee.png")
    extra = next(path for path in sorted(model.rglob("*")) if path.suffix in (".json", ".yaml"))
    extra.write_text(extra.read_text() + "\n")
    assert main([*command, "--set", "train_control.steps=4"]) == 2
    assert "train_control.start.model: changed, got digest" in capsys.readouterr().err


def test_training_through_ofdm_with_estimated_csi(start, tmp_path):
    scenario = write(tmp_path, recipe(start, 3, OFDM))
    assert main(["train", scenario, "--out", str(tmp_path / "run")]) == 0
    awgn = write(tmp_path, recipe(start, 3), "awgn.yaml")
    assert main(["train", awgn, "--out", str(tmp_path / "awgn")]) == 0
    assert losses(tmp_path / "run") != losses(tmp_path / "awgn")


def test_gradient_checkpointing_changes_no_loss(start, tmp_path):
    text = recipe(start, 3)
    assert main(["train", write(tmp_path, text), "--out", str(tmp_path / "a")]) == 0
    text = text.replace("  crop: 64", "  gradient_checkpointing: true\n  crop: 64")
    assert main(["train", write(tmp_path, text, "b.yaml"), "--out", str(tmp_path / "b")]) == 0
    for a, b in zip(losses(tmp_path / "a"), losses(tmp_path / "b"), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_new_control_module_says_nothing_at_first(start, tmp_path):
    """A copy of the UNet's encoder whose residuals are zero: the denoiser is what it was."""
    from linksim.build.objects import load_diffjscc

    _, model = load_diffjscc(start)
    control = new_control(model.unet)
    copied = control.state_dict()["down_blocks.0.resnets.0.conv1.weight"]
    assert torch.equal(copied, model.unet.state_dict()["down_blocks.0.resnets.0.conv1.weight"])
    z, hint = torch.randn(1, 4, 8, 16), torch.randn(1, 4, 8, 16)
    text = torch.randn(1, 77, 48)
    with torch.no_grad():
        down, middle = control(
            z, torch.tensor([5]), text, hint, class_labels=torch.tensor([100.0]), return_dict=False
        )
    assert not any(bool(r.any()) for r in (*down, middle))
    folder = tmp_path / "sd"
    for name in ("unet", "vae", "text_encoder"):
        model.parts()[name].save_pretrained(folder / name)
    again = from_stable_diffusion(folder, (0.0, 14.0))
    assert torch.equal(
        again.control.state_dict()["conv_in.weight"], model.unet.state_dict()["conv_in.weight"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("start: {model: MODEL}", "start: {}"), "expected one of them"),
        (("start: {model: MODEL}", "start: {stable_diffusion: /sd}"), "expected a JSCC checkpoint"),
        (("start: {model: MODEL}", "start: {model: /nowhere}"), "no such folder"),
        (("crop: 64", "crop: 60"), "crop"),
        (("steps: STEPS", "steps: 0"), "steps"),
        (("learning_rate: 1e-3", "learning_rat: 1e-3"), "learning_rate"),
    ],
)
def test_bad_recipes_are_one_message(start, tmp_path, change, message, capsys):
    text = SCENARIO.replace(*change).replace("MODEL", str(start)).replace("STEPS", "2")
    text = text.replace("CHANNEL", "{kind: awgn}")
    assert main(["train", write(tmp_path, text), "--out", str(tmp_path / "run")]) == 2
    message_seen = capsys.readouterr().err
    assert message in message_seen
    assert "Traceback" not in message_seen


def test_half_precision_trains_near_single_precision(start, tmp_path, capsys):
    """Four steps; the losses of bfloat16 are within 2% of those of float32."""
    pairs = []
    for kind in ("float32", "bfloat16"):
        scenario = write(tmp_path, recipe(start, 4) + f"  precision: {kind}\n")
        assert main(["train", scenario, "--out", str(tmp_path / kind)]) == 0
        pairs.append(losses(tmp_path / kind))
    assert pairs[1] == pytest.approx(pairs[0], rel=0.02)
    assert pairs[0] != pairs[1]
    scenario = write(tmp_path, recipe(start, 4) + "  precision: float16\n")
    assert main(["train", scenario, "--device", "cpu", "--out", str(tmp_path / "half")]) == 2
    assert "train_control.precision: needs a GPU, got float16" in capsys.readouterr().err


def test_any_codec_can_stand_before_the_control_module(start, tmp_path):
    """The bundled lean network in the place of the model's own; the range of the SNR is that of the training."""
    text = recipe(start, 1).replace(f"{{model: {start}}}", f"{{model: {start}, codec: lean-awgn-1-96}}")
    text = text.replace("{low: 0, high: 14}", "{low: 2, high: 20}")
    assert main(["train", write(tmp_path, text), "--out", str(tmp_path / "run")]) == 0
    assert load_codec(str(tmp_path / "run" / "model")).num_symbols(64, 64) == 128
    assert DiffusionModel.load(tmp_path / "run" / "model").snr_db == (2.0, 20.0)


def test_scheduler_of_stable_diffusion_is_read_and_must_predict_noise(start, tmp_path):
    folder = tmp_path / "sd"
    convert_diffjscc(str(start), folder)
    (folder / "scheduler").mkdir()
    path = folder / "scheduler" / "scheduler_config.json"
    config = {"num_train_timesteps": 1000, "beta_start": 0.0009, "beta_end": 0.013}
    config |= {"beta_schedule": "scaled_linear", "prediction_type": "epsilon"}
    path.write_text(json.dumps(config))
    assert from_stable_diffusion(folder, (0, 14)).schedule.beta_start == 0.0009
    path.write_text(json.dumps({**config, "prediction_type": "v_prediction"}))
    with pytest.raises(ModelFormatError, match=r"v_prediction.*expected a scheduler that predicts epsilon"):
        from_stable_diffusion(folder, (0, 14))
