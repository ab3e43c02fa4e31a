"""Training through the link: loss falls, a kill changes nothing, every channel and loss has a gradient."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linksim.build.objects import load_codec
from linksim.cli.commands import main
from linksim.images.sets import SkimageImages
from linksim.scenario.files import ScenarioError, load_train_scenario, parse_overrides
from linksim.scenario.schema import LossSpec
from linksim.training.codec import Trainer, train
from linksim.training.muon import Muon, orthogonalise
from linksim.training.objective.losses import Losses

RECIPE = """
name: tiny-train
question: does it train?
seed: 3
images: {{kind: tar, paths: [{first}, {second}], multiple_of: 1}}
train:
  codec: {{kind: lean, latent_channels: 16, width_8: 8, width_16: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1]}}
  channel: {{kind: awgn}}
  snr_db: {{low: 0, high: 14}}
  csit_dropout: 0.2
  optimizer: {{kind: muon, learning_rate: 2e-3, warmup_steps: 5}}
  crop: 64
  scale_low: 0.8
  batch_size: 4
  steps: 40
  validation_images: 4
  validation_every_steps: 20
  checkpoint_every_s: 0.05
"""


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> tuple[Path, Path]:
    """Two tar files of 160 x 160 photographs (crops of those in scikit-image)."""
    folder = tmp_path_factory.mktemp("tars")
    images = SkimageImages(["astronaut", "coffee", "chelsea", "rocket"])
    paths = []
    for part, names in enumerate((images.names[:2], images.names[2:])):
        path = folder / f"part-{part}.tar"
        with tarfile.open(path, "w") as archive:
            for name in names:
                whole = images[name]
                for i in range(4):
                    crop = (
                        whole[:, 40 * i : 40 * i + 160, 60 * i : 60 * i + 160]
                        .permute(1, 2, 0)
                        .contiguous()
                        .numpy()
                    )
                    data = io.BytesIO()
                    Image.fromarray(np.ascontiguousarray(crop)).save(data, "PNG")
                    info = tarfile.TarInfo(f"{name}_{i}.png")
                    info.size = data.tell()
                    data.seek(0)
                    archive.addfile(info, data)
        paths.append(path)
    return paths[0], paths[1]


@pytest.fixture
def recipe(tars, tmp_path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(first=tars[0], second=tars[1]))
    return str(path)


def run(recipe: str, out: Path, *pairs: str):
    scenario = load_train_scenario(recipe, parse_overrides(pairs))
    return train(scenario, out, torch.device("cpu"))


def test_training_improves_on_the_linear_start_and_its_model_loads(recipe, tmp_path, capsys):
    export = tmp_path / "half.safetensors"
    pairs = ["train.steps=200", "train.optimizer.learning_rate=1e-3", "train.validation_every_steps=100"]
    arguments = ["train", recipe, "--out", str(tmp_path / "run"), "--device", "cpu", "--export", str(export)]
    assert main([*arguments, *(word for pair in pairs for word in ("--set", pair))]) == 0
    captured = capsys.readouterr()
    assert "step 100 of 200" in captured.err
    assert "left" in captured.err
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    for path in (tmp_path / "run" / "model.safetensors", export):
        load_codec(str(path))
    start = Trainer(load_train_scenario(recipe), tmp_path, torch.device("cpu")).validate()
    done = run(recipe, tmp_path / "run", *pairs).validation_psnr_db
    assert done["1"] > start["1"]["psnr_db"] + 0.1
    assert done["10"] > start["10"]["psnr_db"]


def test_killed_training_resumes_to_the_same_weights(recipe, tmp_path):
    whole = run(recipe, tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "linksim", "train", recipe, "--out", str(out), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (out / "state.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    step = torch.load(out / "state.pt", weights_only=True)["step"]
    assert 0 < step < 40
    resumed = run(recipe, out)
    a = torch.load(tmp_path / "whole" / "state.pt", weights_only=True)
    b = torch.load(out / "state.pt", weights_only=True)
    assert resumed.steps == whole.steps == 40
    for key in a["model"]:
        torch.testing.assert_close(a["model"][key], b["model"][key], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(a["ema"][key], b["ema"][key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "channel",
    [
        "{kind: rayleigh, coherence_symbols: 16, csi: {kind: lmmse, pilots_per_block: 1}}",
        "{kind: rician, k_factor_db: 3}",
        "{kind: ofdm, num_subcarriers: 16, num_ofdm_symbols: 6, model: {kind: tdl, profile: C, delay_spread_s: 1e-7},"
        " csi: {kind: ls, pilot_symbols: [1, 4]}}",
    ],
    ids=["rayleigh-lmmse", "rician", "ofdm-tdlc-ls"],
)
def test_any_channel_trains(channel, recipe, tmp_path):
    summary = run(recipe, tmp_path / "run", f"train.channel={channel}", "train.steps=3")
    assert np.isfinite(summary.validation_psnr_db["10"])


def test_mixture_of_channels_uses_each(recipe, tmp_path):
    mixture = "[{channel: {kind: awgn}, weight: 1}, {channel: {kind: rayleigh, name: r}, weight: 3}]"
    text = Path(recipe).read_text().replace("channel: {kind: awgn}", f"channels: {mixture}")
    Path(recipe).write_text(text)
    scenario = load_train_scenario(recipe)
    trainer = Trainer(scenario, tmp_path, torch.device("cpu"))
    assert trainer.conditions.channel_shares.tolist() == [0.25, 0.75]
    trainer.train_step()


GRID = "kind: ofdm, num_subcarriers: 32, csi: {kind: ls}"
TDL = "model: {kind: tdl, profile: A, delay_spread_s: 0.0}"


@pytest.mark.parametrize(
    ("channel", "expect"),
    [
        (f"{GRID}, model: {{kind: recorded, path: nothing.npz}}", "nothing.npz: cannot be read"),
        (f"{GRID}, {TDL}, transmission: {{kind: svd, streams: 2}}", "streams: too many, got 2 streams"),
        (f"{GRID}, {TDL}, impairments: [{{kind: interferer, sir_db: 0.0, frequency_hz: 1.0e8}}]",
         "channels.ofdm-tdla-ls: NarrowbandInterferer: frequency_hz: out of range"),
        (f"{GRID}, {TDL}, link_budget: {{transmit_power_dbm: 20, path_loss_db: 90}}",
         "train.channel.link_budget: got one in a training, expected none"),
        ("kind: awgn, symbol_rate_hz: 2.0e+6", "channels.awgn.symbol_rate_hz: has no effect"),
        ("kind: awgn, told: {receiver: {offset_db: 1.0}}", "train.channel.told: has no effect in a training"),
        ("kind: awgn}\n  csit: perfect #", "train.csit: got perfect for a codec lean"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "train"])
def test_training_refuses_what_a_simulation_refuses(command, channel, expect, recipe, tmp_path, capsys):
    text = Path(recipe).read_text().replace("channel: {kind: awgn}", f"channel: {{{channel}}}")
    Path(recipe).write_text(text)
    out = [] if command == "check" else ["--out", str(tmp_path / "out")]
    assert main([command, recipe, *out]) == 2
    message = capsys.readouterr().err
    assert expect in message
    assert "Traceback" not in message


def test_ms_ssim_loss_needs_crops_of_its_windows(recipe, tmp_path):
    with pytest.raises(ScenarioError, match="at least 161 for the MS-SSIM loss"):
        run(recipe, tmp_path / "run", "train.loss={mse: 0, ms_ssim: 1}", "train.steps=2")


def test_lpips_loss_trains(recipe, tmp_path, monkeypatch):
    import torchvision

    from linksim.weights.zoo import BACKBONES

    torch.save(
        torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / BACKBONES["squeeze"].file
    )
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path))
    summary = run(
        recipe, tmp_path / "run", "train.loss={mse: 1, lpips: 0.1, lpips_net: squeeze}", "train.steps=3"
    )
    assert summary.steps == 3


@pytest.mark.parametrize(
    "codec",
    [
        "{kind: cnn_yang2024, latent_channels: 16, width: 4, max_width: 8, max_decoder_width: 8}",
        "{kind: swin_yang2024, latent_channels: 16, widths: [8, 8, 8, 8], heads: [2, 2, 2, 2], window: 4}",
    ],
)
def test_other_codecs_train(recipe, tmp_path, codec):
    summary = run(
        recipe, tmp_path / "run", f"train.codec={codec}", "train.steps=4", "train.optimizer.kind=adamw"
    )
    assert load_codec(str(summary.checkpoint)).config.latent_channels == 16


def test_time_budget_ends_the_training(recipe, tmp_path):
    summary = run(recipe, tmp_path / "run", "train.steps=100000", "train.time_budget_s=2.0")
    assert 1 <= summary.seconds < 20
    assert summary.steps < 100000


def test_training_goes_on_from_a_checkpoint(recipe, tmp_path):
    first = run(recipe, tmp_path / "first")
    second = run(recipe, tmp_path / "second", f"train.initial={first.checkpoint}", "train.steps=5")
    assert second.validation_psnr_db["10"] > first.validation_psnr_db["10"] - 0.5


def test_folder_of_another_training_is_refused(recipe, tmp_path, capsys):
    out = str(tmp_path / "run")
    run(recipe, tmp_path / "run", "train.steps=2")
    before = (tmp_path / "run" / "state.pt").read_bytes()
    words = ["--set", "train.optimizer.learning_rate=3e-3", "--set", "train.batch_size=2"]
    assert main(["train", recipe, "--out", out, "--device", "cpu", *words]) == 2
    message = capsys.readouterr().err
    named = "train.optimizer.learning_rate: not that of the training in {}, got 0.003, expected 0.002."
    assert named.format(out) in message
    assert f"train.batch_size: not that of the training in {out}, got 2, expected 4." in message
    assert message.count("got") == 2
    assert "folder of another training" in message
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_broken_state_and_small_pictures_are_named(recipe, tmp_path, capsys):
    few = ["--set", "images.limit=6"]
    assert main(["train", recipe, "--out", str(tmp_path / "c"), "--device", "cpu", *few]) == 2
    assert "set train.codec.klt_start: false" in capsys.readouterr().err
    assert main(["train", recipe, "--out", str(tmp_path / "a"), "--set", "train.crop=320"]) == 2
    assert "too few pictures as large as the largest crop" in capsys.readouterr().err
    run(recipe, tmp_path / "b", "train.steps=2")
    (tmp_path / "b" / "state.pt").write_bytes(b"broken")
    assert main(["train", recipe, "--out", str(tmp_path / "b"), "--set", "train.steps=2"]) == 2
    assert "state.pt: cannot be read" in capsys.readouterr().err


def test_orthogonalise_flattens_the_spectrum():
    """Singular values end between 0.65 and 1.25, and the factorised form equals the plain iteration."""
    gen = torch.Generator().manual_seed(1)
    matrix = torch.randn(24, 100, generator=gen)
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert 0.65 < values.min() < values.max() < 1.25
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm()
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    torch.testing.assert_close(orthogonalise(matrix), x, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(orthogonalise(matrix.T), x.T, rtol=1e-3, atol=1e-5)


def test_muon_minimises_a_quadratic():
    gen = torch.Generator().manual_seed(2)
    target, weight = torch.randn(8, 3, 3, 3, generator=gen), torch.zeros(8, 3, 3, 3, requires_grad=True)
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    first = float((weight.detach() - target).square().sum())
    for _ in range(200):
        optimizer.zero_grad()
        loss = (weight - target).square().sum()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.02 * first


def test_initial_of_another_size_is_refused_before_training(recipe, tmp_path, capsys):
    run(recipe, tmp_path / "a", "train.steps=1")
    initial = tmp_path / "a" / "model.safetensors"
    words = ["--set", f"train.initial={initial}", "--set", "train.codec.width_16=24"]
    assert main(["train", recipe, "--out", str(tmp_path / "b"), *words]) == 2
    assert "train.initial: another codec" in capsys.readouterr().err
    assert main(["check", recipe, *words]) == 2
    assert main(["check", recipe, "--set", "train.initial=nowhere.safetensors"]) == 2
    assert main(["check", recipe, *words[:2]]) == 0
    capsys.readouterr()


def test_a_first_try_with_wrong_pictures_does_not_block_the_folder(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", recipe, "--out", str(out), "--set", "images.paths=[nowhere.tar]"]) == 2
    run(recipe, out, "train.steps=1")
    capsys.readouterr()


def test_resume_does_not_need_the_initial_checkpoint_any_more(recipe, tmp_path):
    run(recipe, tmp_path / "a", "train.steps=1")
    initial = tmp_path / "a" / "model.safetensors"
    words = [f"train.initial={initial}", "train.steps=2"]
    scenario = load_train_scenario(recipe, parse_overrides(words))
    trainer = Trainer(scenario, tmp_path / "a", torch.device("cpu"))
    assert trainer.step == 0
    run(recipe, tmp_path / "b", *words)
    initial.unlink()
    assert run(recipe, tmp_path / "b", *words).steps == 2


def test_ctrl_c_saves_the_state(recipe, tmp_path, monkeypatch):
    step = Trainer.train_step

    def interrupted(self):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self)

    words = ["train.checkpoint_every_s=1000", "train.steps=6"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "run", *words)
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 3
    straight = run(recipe, tmp_path / "straight", *words)
    resumed = run(recipe, tmp_path / "run", *words)
    assert resumed.checkpoint.read_bytes()[-1000:] == straight.checkpoint.read_bytes()[-1000:]


def test_divergence_is_said_with_its_cure(recipe, tmp_path, capsys):
    words = ["--set", "train.optimizer={kind: adamw, learning_rate: 1e9, warmup_steps: 0}"]
    assert main(["train", recipe, "--out", str(tmp_path / "run"), *words]) == 1
    message = capsys.readouterr().err
    assert "diverged" in message
    assert "train.optimizer.learning_rate" in message


@pytest.mark.parametrize("text", ["[]", "null", "3", "{}"])
def test_broken_training_folders(text, recipe, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "train.json").write_text(text)
    assert main(["train", recipe, "--out", str(out)]) == 2
    (out / "train.json").unlink()
    run(recipe, out, "train.steps=1")
    for state in ([1, 2], {"step": 1}, {"scenario_hash": 5}):
        torch.save(state, out / "state.pt")
        assert main(["train", recipe, "--out", str(out), "--set", "train.steps=1"]) == 2
        assert "state.pt" in (message := capsys.readouterr().err) or "another training" in message
    file = tmp_path / "file"
    file.write_text("x")
    assert main(["train", recipe, "--out", str(file)]) == 2
    assert main(["train", recipe, "--out", str(tmp_path / "e"), "--export", str(file / "x.safetensors")]) == 2
    assert not (tmp_path / "e").exists()
    capsys.readouterr()


def test_log_mse_weighs_every_picture_alike():
    x = torch.zeros(2, 3, 32, 32)
    x_hat = torch.stack([torch.full((3, 32, 32), 0.3), torch.full((3, 32, 32), 0.03)]).requires_grad_()
    losses = Losses(LossSpec(mse=0.0, log_mse=1.0), torch.device("cpu"))
    losses.distortion(x_hat, x).mean().backward()
    relative = (x_hat.grad * x_hat.detach()).sum((1, 2, 3))
    assert relative.tolist() == pytest.approx([1.0, 1.0], rel=0.02)
