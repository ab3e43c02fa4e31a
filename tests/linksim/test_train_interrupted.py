"""A training that is stopped in the worst moments goes on as the one that was not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

import linksim.training.codec as codec_training
import linksim.training.denoiser as denoiser_training
from linksim.scenario.files import load_train_scenario, parse_overrides
from linksim.training.codec import Trainer, train
from linksim.training.objective.adversary import Adversary
from tests.linksim.test_train import tars  # noqa: F401 (a fixture)
from tests.linksim.test_train_phases import CPU, denoiser_recipe, recipe  # noqa: F401 (fixtures)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Programs that run in the background, as tests do at times, begin without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def saved(folder: Path) -> dict:
    return torch.load(folder / "state.pt", weights_only=True)


def flat(value: object, name: str = "") -> dict[str, torch.Tensor | float]:
    """Every tensor and number of a state, by its place."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{name}/{key}").items()}
    if isinstance(value, list):
        return flat(dict(enumerate(value)), name)
    return {name: value} if isinstance(value, torch.Tensor | float) else {}


def assert_same(a: Path, b: Path, *parts: str) -> None:
    of_a, of_b = (flat({part: saved(folder)[part] for part in parts}) for folder in (a, b))
    assert of_a.keys() == of_b.keys()
    for name, value in of_a.items():
        torch.testing.assert_close(value, of_b[name], rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def stop_within_a_step(patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in step 8, when the critics have learned and the codec has not."""
    calls: list[float] = []
    step = Adversary.step

    def stopped(self, *arguments):
        calls.append(step(self, *arguments))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return calls[-1]

    patch.setattr(Adversary, "step", stopped)


def stop_between_phases(patch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when the second phase has its number and nothing else yet."""
    enter = Trainer.enter

    def stopped(self, index: int) -> None:
        self.phase_index = index
        if index == 1:
            signal.raise_signal(signal.SIGINT)
        enter(self, index)

    patch.setattr(Trainer, "enter", stopped)


def stop_at(patch: pytest.MonkeyPatch, module: object, first: int) -> None:
    """A stop in a validation, when ``psnr`` has been called so often."""
    calls = iter(range(first))
    psnr = module.psnr

    def stopped(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return psnr(*arguments)

    patch.setattr(module, "psnr", stopped)


def test_a_training_goes_on_from_the_worst_moments(recipe, tmp_path, monkeypatch):  # noqa: F811
    """A stop waits for the end of its step, so that on disk is a whole one; one in a validation finds the
    averaged weights in the network, and keeps those that are trained. What follows is the training that was
    not stopped, to critics and ratios of gradients.
    """
    scenario = load_train_scenario(recipe, parse_overrides(["train.validation_every_steps=5"]))
    train(scenario, tmp_path / "whole", CPU)
    stops = {
        9: stop_within_a_step,
        7: stop_between_phases,
        5: lambda patch: stop_at(patch, codec_training, 1),
    }
    for at, stop in stops.items():
        out = tmp_path / f"cut {at}"
        with monkeypatch.context() as patch:
            stop(patch)
            with pytest.raises(KeyboardInterrupt):
                train(scenario, out, CPU)
        state = saved(out)
        assert (state["step"], state["phase"]) == (at, int(at > 6))
        assert any(not torch.equal(value, state["ema"][key]) for key, value in state["model"].items())
        train(scenario, out, CPU)
        assert_same(tmp_path / "whole", out, "model", "ema", "ratios", "adversary")


def test_a_stop_within_the_validation_of_a_denoiser_does_so_too(denoiser_recipe, tmp_path, monkeypatch):  # noqa: F811
    words = ["train_denoiser.steps=4", "train_denoiser.validation_every_steps=2"]
    scenario = load_train_scenario(denoiser_recipe, parse_overrides(words))
    denoiser_training.train_denoiser(scenario, tmp_path / "whole", CPU)
    with monkeypatch.context() as patch:
        stop_at(patch, denoiser_training, 1)
        with pytest.raises(KeyboardInterrupt):
            denoiser_training.train_denoiser(scenario, tmp_path / "cut", CPU)
    assert saved(tmp_path / "cut")["step"] == 2
    denoiser_training.train_denoiser(scenario, tmp_path / "cut", CPU)
    assert_same(tmp_path / "whole", tmp_path / "cut", "model", "ema")
