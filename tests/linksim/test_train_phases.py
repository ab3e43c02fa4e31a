"""Trainings in phases: what is frozen, how a killed one goes on, how a budget of time is kept, and the denoiser's."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from linksim.build.objects import load_codec, load_denoiser
from linksim.cli.commands import main
from linksim.scenario.files import ScenarioError, load_train_scenario, parse_overrides
from linksim.scenario.schema import LossSpec, OptimizerSpec, PhaseSpec
from linksim.training.codec import Trainer, train
from linksim.training.phases import position, rate_factor
from linksim.weights.precision import bfloat16_gain, resolve_precision
from tests.linksim.test_train import tars  # noqa: F401 (a fixture)

CPU = torch.device("cpu")
CODEC = "{kind: dial, rates: [4, 8, 16], width_4: 8, width_8: 8, width_16: 16, encoder_blocks: [1, 1], decoder_blocks: [1, 1, 1]}"
RECIPE = """
schema_version: 1
name: phases
seed: 5
images: {{kind: tar, paths: [{first}, {second}], multiple_of: 1}}
train:
  codec: {codec}
  channels:
    - {{channel: {{kind: awgn}}, weight: 1}}
    - {{channel: {{kind: rayleigh, coherence_symbols: 1}}, weight: 1}}
  snr_db: {{low: 0, high: 14}}
  csit_dropout: 0.2
  told_snr_error_db: 1.0
  groups: 2
  rate_weights: [2, 1, 1]
  steps: 12
  phases:
    - name: first
      share: 0.5
      batch_size: 4
      crop: 64
      loss: {{mse: 0, log_mse: 1, lpips: 1, lpips_net: squeeze}}
      optimizer: {{kind: muon, learning_rate: 1e-3, warmup_steps: 2, clip_norm: 5}}
    - name: second
      share: 0.5
      batch_size: 2
      crop: 96
      frozen: encoder
      realism: {{fidelity: 0.2, between: 0.2, full: 0.6}}
      loss: {{mse: 0, log_mse: 1, lpips: 1, lpips_net: squeeze, wasserstein: 1, patch_gan: 0.5}}
      optimizer: {{kind: adamw, learning_rate: 1e-3, warmup_steps: 2, clip_norm: 5}}
      critic_width: 4
      critic_delay: 0.1
  validation_images: 2
  validation_snr_db: [10]
  validation_every_steps: 100
  checkpoint_every_s: 1000
"""


@pytest.fixture
def recipe(tars, tmp_path, monkeypatch) -> str:  # noqa: F811
    import torchvision

    from linksim.weights.zoo import BACKBONES

    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = torchvision.models.squeezenet1_1(weights=None)
    torch.save(network.state_dict(), tmp_path / BACKBONES["squeeze"].file)
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path))
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(first=tars[0], second=tars[1], codec=CODEC))
    return str(path)


def trainer_of(recipe: str, out: Path, *pairs: str) -> Trainer:
    return Trainer(load_train_scenario(recipe, parse_overrides(pairs)), out, CPU)


def test_phases_follow_their_shares():
    phases = [PhaseSpec(name=str(i), share=s) for i, s in enumerate((0.5, 0.2, 0.3))]
    found = [position(phases, p) for p in (0.0, 0.49, 0.5, 0.69, 0.71, 1.0)]
    assert [f.phase for f in found] == [0, 0, 1, 1, 2, 2]
    assert found[1].progress == pytest.approx(0.98)
    assert found[2].progress == pytest.approx(0.0)
    assert found[5].progress == 1.0


def test_rate_warms_up_holds_and_falls_to_zero():
    spec = OptimizerSpec(warmup_steps=10, decay_share=0.4)
    assert rate_factor(spec, 0, 0.0) == pytest.approx(0.1)
    assert rate_factor(spec, 10, 0.5) == 1.0
    assert rate_factor(spec, 1000, 0.8) == pytest.approx(0.5)
    assert rate_factor(spec, 1000, 1.0) == 0.0
    few_steps = OptimizerSpec(warmup_steps=100, decay_share=0.4)
    assert rate_factor(few_steps, 3, 0.05) == pytest.approx(0.5)
    assert rate_factor(few_steps, 6, 0.1) == 1.0, "a budget of 2 minutes may have 30 steps"


def test_the_second_phase_leaves_the_encoder_alone_and_starts_from_the_average(recipe, tmp_path):
    trainer = trainer_of(recipe, tmp_path)
    while trainer.phase_index == 0:
        trainer.train_step()
    encoder = {k: v.clone() for k, v in trainer.codec.encoder.state_dict().items()}
    decoder = {k: v.clone() for k, v in trainer.codec.decoder.state_dict().items()}
    stored = load_codec(str(tmp_path / "model-1-first.safetensors")).state_dict()
    for key, value in encoder.items():
        torch.testing.assert_close(value, stored[f"encoder.{key}"])
    said = trainer.train_step()
    assert all(torch.equal(v, encoder[k]) for k, v in trainer.codec.encoder.state_dict().items())
    assert any(not torch.equal(v, decoder[k]) for k, v in trainer.codec.decoder.state_dict().items())
    assert {"critic", "wasserstein", "lpips", "distortion", "gradient_norm", "learning_rate"} <= set(said)


def test_a_training_interrupted_in_any_phase_ends_in_the_same_weights(recipe, tmp_path, monkeypatch):
    def run(out: Path):
        return train(load_train_scenario(recipe), out, CPU)

    run(tmp_path / "whole")
    step = Trainer.train_step
    for stop in (3, 9):

        def interrupted(self, stop=stop):
            if self.step == stop:
                raise KeyboardInterrupt
            return step(self)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "train_step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path / "cut")
        assert torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["step"] == stop
    run(tmp_path / "cut")
    a, b = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "cut"))
    for part in ("model", "ema"):
        for key in a[part]:
            torch.testing.assert_close(a[part][key], b[part][key], rtol=1e-5, atol=1e-6)
    for key, value in a["adversary"]["critics"][0].items():
        torch.testing.assert_close(value, b["adversary"]["critics"][0][key], rtol=1e-5, atol=1e-6)
    assert a["ratios"].keys() == b["ratios"].keys() == {"wasserstein", "patch"}


def test_realism_shares_are_those_of_the_recipe(recipe, tmp_path):
    """4,000 draws: each share within 5 standard errors."""
    trainer = trainer_of(recipe, tmp_path)
    trainer.enter(1)
    drawn = trainer.conditions.realism(np.random.default_rng(1), 4000, trainer.phase).numpy()
    for got, share in (((drawn == 0).mean(), 0.2), ((drawn == 1).mean(), 0.6)):
        assert abs(got - share) < 5 * (share * (1 - share) / 4000) ** 0.5
    between = drawn[(drawn > 0) & (drawn < 1)]
    assert abs(between.mean() - 0.5) < 5 * (1 / 12 / len(between)) ** 0.5


def test_groups_differ_in_rate_and_channel(recipe, tmp_path):
    """200 steps of two groups: every rate and channel occurs as often as its weight says, within 5 standard errors."""
    trainer = trainer_of(recipe, tmp_path)
    groups = [
        g for s in range(200) for g in trainer.conditions.groups(np.random.default_rng(s), trainer.phase)
    ]
    assert len(groups) == 400
    first = np.mean([g.rate == 0 for g in groups])
    assert abs(first - 0.5) < 5 * 0.5 / 20
    assert len({id(g.channel) for g in groups}) == 2
    errors = torch.stack([g.told_error_db for g in groups]).flatten()
    assert abs(float(errors.std()) - 1) < 5 / (2 * len(errors)) ** 0.5


def test_budget_of_time_is_kept_and_every_phase_gets_its_part(recipe, tmp_path, capsys):
    out = tmp_path / "timed"
    started = time.monotonic()
    words = [
        "--set",
        "train.steps=null",
        "--set",
        "train.time_budget_s=null",
        "--budget",
        "8s",
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    assert main(["train", recipe, *words]) == 0
    assert time.monotonic() - started < 8 + 10
    assert (out / "model-1-first.safetensors").is_file()
    capsys.readouterr()
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["phase"] == 1
    assert state["seconds"] > 4


@pytest.mark.parametrize(
    ("pair", "expect"),
    [
        ("train.phases.0.share=0.6", "shares that add up to 1.1"),
        ("train.loss={mse: 2}", "loss: got one beside phases"),
        ("train.groups=3", "groups: got 3, expected a divisor of 4"),
        ("train.rate_weights=[1, 2]", "rate_weights: got 2 numbers, expected 3"),
        ("train.codec={kind: lean}", "rate_weights: got some for a codec lean"),
        ("train.phases.1.name=first", "expected different ones"),
        ("train.phases.1.realism={fidelity: 0.5, full: 0.1}", "shares that add up to 0.6"),
        ("train.steps=null", "got neither steps nor time_budget_s"),
        ("train.phases.1.loss={mse: 0, patch_gan: 1}", "are all 0"),
        ("train.codec.rates=[8, 4]", "expected numbers that rise"),
        (
            "train.phases.1.critic_start=0.9",
            "never listened to, got critic_start . critic_delay = 1, expected less",
        ),
        (
            "train.phases.0.realism={fidelity: 1, between: 0, full: 0}",
            "first: got realism.fidelity = 1 with perceptual losses",
        ),
        (
            "train={codec: {kind: lean}, channel: {kind: awgn}, snr_db: {low: 0, high: 9}, steps: 1, phases: "
            "[{name: a, share: 1, realism: {fidelity: 0.2, full: 0.8}}]}",
            "realism fits codec dial only, got lean",
        ),
    ],
)
def test_recipes_that_cannot_be_meant_are_refused(recipe, pair, expect):
    with pytest.raises(ScenarioError, match=expect):
        load_train_scenario(recipe, parse_overrides([pair]))


@pytest.mark.parametrize("text", ["9", "m", "9x", "0s"])
def test_budgets_that_are_no_time_are_refused(text, recipe, capsys):
    assert main(["train", recipe, "--budget", text]) == 2
    assert "expected a time such as 540s, 9m or 2h" in capsys.readouterr().err


def test_auto_precision_is_what_is_faster_here():
    """Whatever it says, a network in it is not slower than half as fast as in float32."""
    dtype = resolve_precision("auto", CPU)
    assert dtype in (torch.float32, torch.bfloat16)
    assert resolve_precision("bfloat16", CPU) is torch.bfloat16


@pytest.mark.parametrize(("seconds", "chosen", "said"), [
    ({torch.float32: 1.0, torch.bfloat16: 27.0}, torch.float32, "precision: bfloat16 is 27.0 times slower than float32"),
    ({torch.float32: 1.0, torch.bfloat16: 0.2}, torch.bfloat16, ""),
])  # fmt: skip
def test_who_asks_for_an_emulated_bfloat16_is_told_what_it_costs(monkeypatch, caplog, seconds, chosen, said):
    """As measured on a CPU without instructions for it, and on one that has them."""
    monkeypatch.setattr("linksim.weights.precision._convolution_seconds", lambda dtype: seconds[dtype])
    bfloat16_gain.cache_clear()
    try:
        assert resolve_precision("auto", CPU) is chosen
        assert not caplog.records
        assert resolve_precision("bfloat16", CPU) is torch.bfloat16
    finally:
        bfloat16_gain.cache_clear()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == bool(said)
    assert all(message.startswith(said) and "precision: auto" in message for message in messages)


def test_awgn_and_fading_train_without_sionna(recipe, tmp_path):
    """The training works where Sionna cannot be imported at all."""
    code = (
        "import sys; sys.modules['sionna'] = None\n"
        "from linksim.cli.commands import main\n"
        f"sys.exit(main(['train', {recipe!r}, '--set', 'train.steps=2', '--out', {str(tmp_path / 'o')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


DENOISER = """
schema_version: 1
name: denoiser
seed: 6
images: {{kind: tar, paths: [{first}, {second}], multiple_of: 1}}
train_denoiser:
  codec: {codec}
  network: {{kind: latent_denoiser, rates: [4, 8, 16], width: 16, blocks: 1}}
  channels:
    - {{channel: {{kind: awgn}}, weight: 1}}
    - {{channel: {{kind: rayleigh, coherence_symbols: 1}}, weight: 1}}
  snr_db: {{low: 0, high: 14}}
  csit_dropout: 0.2
  groups: 2
  crop: 64
  batch_size: 8
  optimizer: {{kind: muon, learning_rate: 2e-3, warmup_steps: 5, clip_norm: 1}}
  steps: {steps}
  precision: float32
  validation_images: 2
  validation_snr_db: [5]
  validation_every_steps: 1000
  checkpoint_every_s: 1000
"""


@pytest.fixture
def denoiser_recipe(recipe, tars, tmp_path) -> str:  # noqa: F811
    first = train(load_train_scenario(recipe, parse_overrides(["train.steps=2"])), tmp_path / "codec", CPU)
    path = tmp_path / "denoiser.yaml"
    path.write_text(DENOISER.format(first=tars[0], second=tars[1], codec=first.checkpoint, steps=150))
    return str(path)


def test_a_denoiser_learns_what_the_linear_estimate_does_not_know(denoiser_recipe, tmp_path):
    """It starts as the linear estimate, whose loss is near 1. On 16 fixed batches the loss falls by 2% at least in 120
    steps: neighbours of a latent are alike.
    """
    from linksim.training.denoiser import DenoiserTrainer

    trainer = DenoiserTrainer(load_train_scenario(denoiser_recipe), tmp_path, CPU)

    @torch.no_grad()
    def loss() -> float:
        found = []
        for seed in range(16):
            rng, gen = np.random.default_rng(1000 + seed), torch.Generator().manual_seed(seed)
            batch = trainer.batch(trainer.photographs.batch(rng, 8), rng)
            noise = torch.empty_like(batch.clean).normal_(generator=gen)
            found.append(float(trainer.loss(batch, noise)))
        return float(np.mean(found))

    before = loss()
    assert 0.8 < before < 1.2
    for _ in range(120):
        trainer.train_step()
    assert loss() < 0.98 * before


def test_a_trained_denoiser_loads_and_is_checked(denoiser_recipe, tmp_path, capsys):
    out = tmp_path / "out"
    words = [
        "--set",
        "train_denoiser.steps=2",
        "--out",
        str(out),
        "--export",
        str(tmp_path / "half.safetensors"),
    ]
    assert main(["train", denoiser_recipe, *words]) == 0
    for file in (out / "model.safetensors", tmp_path / "half.safetensors"):
        loaded = load_denoiser(str(file))
        assert loaded.network.deviation.shape == (3, 16)
        assert bool((loaded.network.deviation > 0).all())
        assert len(loaded.encoder_digest) == 16
    assert main(["check", denoiser_recipe]) == 0
    assert "150 steps, 8 crops a step" in capsys.readouterr().out


def test_levels_of_a_denoiser_training_begin_at_the_channel_s(denoiser_recipe, tmp_path):
    from linksim.training.denoiser import DenoiserTrainer

    trainer = DenoiserTrainer(load_train_scenario(denoiser_recipe), tmp_path, CPU)
    received = torch.full((400, 16, 2, 2), 0.5)
    received[:, 8:] = 0
    levels = trainer.levels(received, np.random.default_rng(3))
    ordered = (levels >= received).flatten(1).all(1)
    assert 0.75 < float(ordered.float().mean()) < 0.9, "a fifth of the pictures has levels in no order"
    as_received = (levels == received).flatten(1).all(1).float().mean()
    assert abs(float(as_received) - 0.15 * 0.8) < 5 * (0.12 * 0.88 / 400) ** 0.5
    assert bool(((levels >= 0) & (levels < 1)).all())


def test_a_denoiser_of_another_set_of_rates_is_refused(denoiser_recipe, tmp_path, capsys):
    words = ["--set", "train_denoiser.network.rates=[4, 8]", "--out", str(tmp_path / "o")]
    assert main(["train", denoiser_recipe, *words]) == 2
    assert "network.rates: not those of the codec, got [4, 8], expected [4, 8, 16]" in capsys.readouterr().err
    words = ["--set", "train_denoiser.codec=lean-awgn-1-96", "--out", str(tmp_path / "o")]
    assert main(["train", denoiser_recipe, *words]) == 2
    assert "train_denoiser.codec: another codec, got LeanCodec" in capsys.readouterr().err


def test_a_killed_denoiser_training_resumes_to_the_same_weights(denoiser_recipe, tmp_path, monkeypatch):
    from linksim.training.denoiser import DenoiserTrainer, train_denoiser

    scenario = load_train_scenario(denoiser_recipe, parse_overrides(["train_denoiser.steps=6"]))
    train_denoiser(scenario, tmp_path / "whole", CPU)
    step = DenoiserTrainer.train_step

    def interrupted(self):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(DenoiserTrainer, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_denoiser(scenario, tmp_path / "cut", CPU)
    train_denoiser(scenario, tmp_path / "cut", CPU)
    a, b = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "cut"))
    for key in a["ema"]:
        torch.testing.assert_close(a["ema"][key], b["ema"][key], rtol=1e-5, atol=1e-6)


def test_a_denoiser_goes_on_with_its_pictures_and_its_codec_alone(denoiser_recipe, tmp_path, capsys):
    """Changed pictures, a changed codec and a changed rate are refused, each with its name; more steps are not."""
    words = ["--set", "train_denoiser.steps=2", "--out", str(tmp_path / "out")]
    assert main(["train", denoiser_recipe, *words]) == 0
    fewer = [*words, "--set", "images.limit=12"]
    assert main(["train", denoiser_recipe, *fewer]) == 2
    assert "images.limit: not that of the training" in capsys.readouterr().err
    rate = [*words, "--set", "train_denoiser.optimizer.learning_rate=0.001"]
    assert main(["train", denoiser_recipe, *rate]) == 2
    message = capsys.readouterr().err
    assert "train_denoiser.optimizer.learning_rate: not that of the training in" in message
    assert "got 0.001, expected 0.002" in message
    (tar,) = load_train_scenario(denoiser_recipe).images.paths[:1]
    kept = Path(tar).read_bytes()
    copy = tmp_path / Path(tar).name
    copy.write_bytes(kept)
    text = Path(denoiser_recipe).read_text().replace(str(tar), str(copy))
    Path(denoiser_recipe).write_text(text)
    assert main(["train", denoiser_recipe, *words, "--set", "train_denoiser.steps=3"]) == 0, (
        "moved, not changed"
    )
    with tarfile.open(copy) as archive:
        member = archive.getmembers()[1]
    data = bytearray(kept)
    data[member.offset_data + member.size - 5] ^= 1  # of the checksum of the last chunk
    copy.write_bytes(bytes(data))
    assert main(["train", denoiser_recipe, *words, "--set", "train_denoiser.steps=4"]) == 2
    assert f"got 1 changed ({copy.stem}/{member.name}), expected the 16 pictures" in capsys.readouterr().err
    copy.write_bytes(kept)
    codec = Path(load_train_scenario(denoiser_recipe).train_denoiser.codec)
    other = parse_overrides(["train.steps=3"])
    train(load_train_scenario(str(tmp_path / "recipe.yaml"), other), tmp_path / "other", CPU)
    codec.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    assert main(["train", denoiser_recipe, *words, "--set", "train_denoiser.steps=4"]) == 2
    assert "train_denoiser.codec: changed, got digest" in capsys.readouterr().err


def test_an_extended_denoiser_keeps_its_optimisers_and_streams_the_same(denoiser_recipe, tmp_path):
    from linksim.training.denoiser import train_denoiser

    short, long = (
        load_train_scenario(denoiser_recipe, parse_overrides([f"train_denoiser.steps={n}"])) for n in (2, 4)
    )
    for name, room in (("memory", None), ("disk", 0)):
        train_denoiser(short, tmp_path / name, CPU, pictures_bytes=room)
        assert train_denoiser(long, tmp_path / name, CPU, pictures_bytes=room).steps == 4
    a, b = (torch.load(tmp_path / n / "state.pt", weights_only=True) for n in ("memory", "disk"))
    assert all(torch.equal(value, b["ema"][key]) for key, value in a["ema"].items())
    counted = {int(s["step"]) for o in a["optimizers"] for s in o["state"].values() if "step" in s}
    assert counted == {4}
    assert (a["from_step"], a["from_progress"]) == (2, 0.0)


def test_a_finished_training_in_phases_is_extended_by_its_last_phase(recipe, tmp_path):
    out = tmp_path / "run"
    train(load_train_scenario(recipe), out, CPU)
    longer = load_train_scenario(recipe, parse_overrides(["train.steps=14"]))
    encoder = torch.load(out / "state.pt", weights_only=True)
    assert train(longer, out, CPU).steps == 14
    after = torch.load(out / "state.pt", weights_only=True)
    assert (after["phase"], after["from_progress"], after["phase_step"]) == (
        1,
        0.5,
        encoder["phase_step"] + 2,
    )
    frozen = [k for k in encoder["model"] if k.startswith("encoder.")]
    assert frozen
    assert all(torch.equal(encoder["model"][k], after["model"][k]) for k in frozen)
    assert any(not torch.equal(v, after["model"][k]) for k, v in encoder["model"].items() if k not in frozen)


def test_a_checkpoint_says_what_it_and_its_start_were_trained_on(recipe, tmp_path, monkeypatch):
    from linksim.build.checkpoints import read_checkpoint

    first = train(load_train_scenario(recipe, parse_overrides(["train.steps=2"])), tmp_path / "a", CPU)
    assert read_checkpoint(first.checkpoint).trained_on == ("lpips_squeeze", "psnr")
    plain = "train.phases=[{name: only, share: 1.0, batch_size: 2, crop: 64, loss: {mse: 1}}]"
    words = [plain, f"train.initial={first.checkpoint}", "train.steps=1"]
    second = train(load_train_scenario(recipe, parse_overrides(words)), tmp_path / "b", CPU)
    assert read_checkpoint(second.checkpoint).trained_on == ("lpips_squeeze", "psnr")
    of_lite0 = LossSpec(wasserstein=1.0, wasserstein_features=("lite0",))
    assert of_lite0.measures == ["psnr", "efficientnet_lite0"]


def test_tensorflow_is_left_alone_where_it_is_installed(tmp_path):
    """Writing a log imports no package of that name, which here would fail."""
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from pathlib import Path\n"
        "from linksim.training.event_log import open_log\n"
        f"log = open_log(Path({str(tmp_path)!r}), 0); log.add_scalar('x', 1.0, 0); log.close()\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize(("share", "said"), [
    (0.0, " (the first picture): "), pytest.param(1e9, ": ", marks=pytest.mark.slow),
])  # fmt: skip
def test_of_how_many_pictures_a_validation_is_is_said(recipe, tmp_path, capsys, monkeypatch, share, said):
    """A budget of time may leave no room for all four; a mean of fewer is another number."""
    monkeypatch.setattr("linksim.training.loop._VALIDATION_SHARE", share)
    words = ["--set", "train.steps=null", "--set", "train.validation_images=4", "--budget", "3s"]
    assert main(["train", recipe, *words, "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert f"; held out{said}" in printed.err
    assert f"validation{said.rstrip(': ')} PSNR" in printed.out


def test_a_budget_into_which_no_step_fits_is_said_and_leaves_no_model(recipe, tmp_path, capsys):
    assert main(["train", recipe, "--budget", "0.001s", "--out", str(tmp_path / "run")]) == 1
    message = capsys.readouterr().err
    assert "time_budget_s: no step fits, got 0.001 s" in message
    assert "Give a larger --budget" in message
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_check_counts_the_pictures(recipe, capsys):
    assert main(["check", recipe, "--set", "train.validation_images=16"]) == 2
    expected = (
        "images: too few pictures for a training, got 16, expected more than train.validation_images = 16"
    )
    assert expected in capsys.readouterr().err
