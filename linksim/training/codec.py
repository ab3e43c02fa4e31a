"""Training of JSCC codecs through the same run_link that evaluates them, over any mixture of channels.

Every random choice of a step (pictures, crops, SNR, channel, noise) is a function of the seed and the step,
so a training that was killed and resumed is the training that was not.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from channels.seeding import item_seed
from linksim.build.channels import recordings
from linksim.build.checkpoints import save_checkpoint
from linksim.build.objects import build_images
from linksim.metrics.distortion import psnr
from linksim.scenario.files import scenario_hash
from linksim.scenario.schema import PhaseSpec, TrainScenario
from linksim.training.acceleration import new_accelerator
from linksim.training.conditions import Conditions, ValidationPoint
from linksim.training.data.photographs import Photographs
from linksim.training.data.picture_list import survey
from linksim.training.extent import Extent
from linksim.training.folder import (
    HELD_OUT,
    STATE_FILE,
    TrainingDiverged,
    check_inputs,
    check_pictures,
    former_ends,
    opened,
    read_as_state,
    read_state,
    refuse_several_processes,
    write_state,
)
from linksim.training.link import Group, LinkModule, condition_channels
from linksim.training.loop import Report, Validation, averaged, of_pictures, prepare_machine, run_sitting
from linksim.training.muon import make_optimizers
from linksim.training.objective.adversary import Adversary
from linksim.training.objective.losses import Losses, PictureGradient
from linksim.training.phases import Position, last_phase_begin, position, rate_factor
from linksim.training.recipe import check_recipe, starting_codec
from linksim.weights.precision import resolve_precision

__all__ = ["TrainSummary", "TrainingDiverged", "check_recipe", "train"]

log = logging.getLogger("linksim.training.codec")
MODEL_FILE = "model.safetensors"
_RATE = "train.optimizer.learning_rate"
_CLIPPED = (-0.05, 1.05)  # what a critic is shown of a reconstruction
_SAMPLES = 4  # held-out pictures in the TensorBoard log


@dataclass(frozen=True)
class TrainSummary:
    """Result of a training.

    Args:
        checkpoint: the averaged weights.
        steps: optimiser steps done.
        seconds: time spent, over all sittings.
        validation_psnr_db: PSNR on the held-out pictures by SNR [dB], and by rate and realism of a codec with
            these dials.
        measured_on: which pictures these are of; empty: all that are held out.
    """

    checkpoint: Path
    steps: int
    seconds: float
    validation_psnr_db: dict[str, float]
    measured_on: str = ""


class Trainer:
    """State and loop of one training; see :func:`train`."""

    def __init__(
        self, scenario: TrainScenario, out: Path, device: torch.device, pictures_bytes: int | None = None
    ) -> None:
        self.scenario, self.spec, self.out = scenario, scenario.train, out
        mixed = "bf16" if resolve_precision(self.spec.precision, device) == torch.bfloat16 else "no"
        self.accelerator = new_accelerator(device, mixed)
        self.device = self.accelerator.device
        self.crop = max(phase.crop for phase in self.spec.plan)
        images = build_images(scenario.images)
        self.listed = survey(images)
        check_pictures(out, self.listed)
        self.inputs = recordings(scenario)
        check_inputs(out, self.inputs)
        self.photographs = Photographs(
            images,
            seed=scenario.seed,
            crop=self.crop,
            held_out=self.spec.validation_images,
            scale_low=self.spec.scale_low,
            device=self.device,
            listed=self.listed,
            memory_bytes=pictures_bytes,
        )
        self.inputs[HELD_OUT] = self.photographs.held_out_digest
        check_inputs(out, self.inputs)
        resumed = (out / STATE_FILE).is_file()
        codec, self.inherited = starting_codec(scenario, self.photographs, resumed=resumed)
        self.module = LinkModule(codec).to(self.device).to(memory_format=torch.channels_last)
        self.codec = codec
        if self.spec.compile:
            for end in ("encoder", "decoder"):
                codec.get_submodule(end).compile()
        self.link = self.accelerator.prepare(self.module)
        self.conditions = Conditions(scenario, codec, self.crop, self.device)
        self.step, self.seconds, self.closing_s = 0, 0.0, 0.0
        self.extent = Extent(self.spec.steps, self.spec.time_budget_s)
        self.validation_limit: int | None = None
        self.enter(0)

    # ---------------------------------------------------------------------------------- phases

    def enter(self, index: int) -> None:
        """Begin a phase: what is trained, optimisers, losses, average and critics are its own."""
        self.phase_index, self.phase_step = index, 0
        self.phase: PhaseSpec = self.spec.plan[index]
        torch.manual_seed(item_seed(self.scenario.seed, f"phase {index}", 0, "train") % 2**31)
        frozen = self.phase.frozen == "encoder"
        encoder: Any = self.codec.get_submodule("encoder") if frozen else None
        self.codec.requires_grad_(True)
        self.codec.zero_grad(set_to_none=True)  # of what is frozen now
        if encoder is not None:
            encoder.requires_grad_(False)
        self.optimizers = make_optimizers(self.phase.optimizer, self.codec)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.ema = {k: v.detach().clone() for k, v in self.codec.state_dict().items()}
        self.losses = Losses(self.phase.loss, self.device)
        self.gradient = PictureGradient(self.phase.loss)
        self.adversary = None
        if self.phase.loss.adversarial:
            told = condition_channels(self.codec)
            self.adversary = Adversary(self.phase, told, self.losses.lite, self.device)

    def _next_phase(self) -> None:
        """The averaged weights are kept, and are what the next phase begins with."""
        self.save_model({}, self.out / f"model-{self.phase_index + 1}-{self.phase.name}.safetensors")
        self.codec.load_state_dict(self.ema)
        self.enter(self.phase_index + 1)

    def whereabouts(self) -> str:
        """Step and phase, for a line of progress."""
        whole = "" if self.spec.steps is None else f" of {self.spec.steps}"
        phase = f" ({self.phase.name})" if len(self.spec.plan) > 1 else ""
        return f"step {self.step}{whole}{phase}"

    @property
    def time_budget_s(self) -> float | None:
        """See :class:`linksim.training.loop.Trainable`."""
        return self.spec.time_budget_s

    def progress(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is further."""
        return self.extent.progress(self.step, self.seconds, self.closing_s)

    # ------------------------------------------------------------------------------- one step

    def _generator(self, step: int) -> np.random.Generator:
        """All that is drawn in a step comes from it."""
        return np.random.default_rng(item_seed(self.scenario.seed, f"step {step}", 0, "train"))

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its losses, gradient norm and learning rate, for the log."""
        place = position(self.spec.plan, self.progress())
        while place.phase > self.phase_index:
            self._next_phase()
        phase, world = self.phase, self.accelerator
        rng = self._generator(self.step)
        image = self.photographs.batch(rng, phase.batch_size, phase.crop)
        self.photographs.expect(self._generator(self.step + 1), phase.batch_size, phase.crop)
        image = image.contiguous(memory_format=torch.channels_last)
        groups = self.conditions.groups(rng, phase)
        factor = rate_factor(phase.optimizer, self.phase_step, place.progress)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad()
        try:
            x_hat, condition = self.link(image, groups)
        except ValueError as problem:  # the channel refuses symbols that are not finite
            raise TrainingDiverged(self.step, str(problem), _RATE) from None
        said, gradient = self._picture_gradient(x_hat, condition, image, groups, place, factor)
        if not bool(torch.isfinite(gradient).all()):
            raise TrainingDiverged(self.step, f"the losses are {said}", _RATE)
        world.backward((x_hat * gradient).sum())
        norm = float(world.clip_grad_norm_(self.module.parameters(), phase.optimizer.clip_norm))
        if not np.isfinite(norm):
            raise TrainingDiverged(self.step, f"the norm of the gradient is {norm}", _RATE)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.phase_step += 1
        self._average()
        return {**said, "gradient_norm": norm, "learning_rate": self.base_rates[0][0] * factor}

    def _picture_gradient(
        self,
        x_hat: Tensor,
        condition: Tensor,
        image: Tensor,
        groups: list[Group],
        place: Position,
        rate: float,
    ) -> tuple[dict[str, float], Tensor]:
        """Losses by name, and the gradient of the mean loss at the reconstructions."""
        leaf = x_hat.detach().float().requires_grad_(True)
        realism = torch.cat([group.realism for group in groups])
        adversary, autocast = self.adversary, self.accelerator.autocast
        said: dict[str, float] = {}
        judged = adversary is not None and adversary.share(place.progress) > 0
        rows = torch.nonzero(realism > 0)[:, 0]
        if adversary is not None and len(rows) and adversary.is_training(place.progress):
            shown = leaf.detach()[rows].clamp(*_CLIPPED)
            said["critic"] = adversary.step(
                shown, image[rows], condition[rows], realism[rows], rate, autocast()
            )
        with autocast():
            terms = self.losses.distortion_terms(leaf, image)
            lite = self.losses.add_perceptual(terms, leaf[rows], image[rows]) if len(rows) else []
            if adversary is not None and judged and len(rows):
                adversary.judge(terms, leaf[rows], condition[rows], lite)
        share = adversary.share(place.progress) if adversary is not None else 0.0
        gradient = self.gradient(leaf, terms, realism[rows], share)
        said.update(terms.values())
        return said, gradient

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.phase.ema_decay, (1 + self.phase_step) / (10 + self.phase_step))
        for key, value in self.codec.state_dict().items():
            if value.is_floating_point():
                self.ema[key].lerp_(value, 1 - decay)
            else:
                self.ema[key].copy_(value)

    # ----------------------------------------------------------------------------- validation

    @torch.no_grad()
    def validate(self, writer: Any = None) -> Validation:
        """Means of PSNR [dB] and LPIPS (where the losses have it) of the averaged weights on the held-out
        pictures, on the first channel, by point; with sample pictures into a TensorBoard log.
        """
        self.module.eval()
        with averaged(self.codec, self.ema):
            result = {
                point.label: self._measured(point, writer) for point in self.conditions.validation_points()
            }
        self.module.train()
        return result

    def _measured(self, point: ValidationPoint, writer: Any) -> dict[str, float]:
        values: dict[str, list[Tensor]] = {"psnr_db": [], "lpips": []}
        batches = self.photographs.validation_batches(self.spec.validation_batch, self.validation_limit)
        for i, image in enumerate(batches):
            image = image.contiguous(memory_format=torch.channels_last)
            group = self.conditions.validation_group(point, i, len(image))
            x_hat = self.link(image, [group])[0].float()
            x_hat = (x_hat.clamp(0, 1) * 255).round() / 255
            values["psnr_db"].append(psnr(x_hat, image))
            if self.losses.lpips is not None:
                with self.accelerator.autocast():
                    features = (self.losses.lpips(x) for x in (x_hat, image))
                    values["lpips"].append(self.losses.lpips.distance(*features))
            if writer is not None and i == 0:
                shown = torch.cat([image[:_SAMPLES], x_hat[:_SAMPLES]])
                writer.add_images(f"held out/{point.label}", shown, self.step)
        return {name: round(float(torch.cat(v).mean()), 4) for name, v in values.items() if v}

    # -------------------------------------------------------------------------- state on disk

    def save_state(self) -> None:
        """Write everything that a resumed training needs, in one step."""
        state = {
            "step": self.step,
            "phase": self.phase_index,
            "phase_step": self.phase_step,
            "seconds": self.seconds,
            "progress": self.progress(),
            **self.extent.state(),
            "model": self.codec.state_dict(),
            "ema": self.ema,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "inherited": self.inherited,
            "ratios": dict(self.gradient.ratios),
            "adversary": self.adversary.state() if self.adversary is not None else {},
        }
        write_state(self.scenario, self.out, state)

    def load_state(self) -> None:
        """Continue where a former sitting stopped.

        Raises:
            ScenarioError: the folder belongs to another training, or its state is broken.
        """
        state = read_state(self.scenario, self.out, self.device)
        if state is None:
            return
        with read_as_state(self.out):
            self.enter(int(state["phase"]))
            self.codec.load_state_dict(state["model"])
            self.ema = state["ema"]
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.inherited = list(state["inherited"])
            self.gradient.ratios = dict(state["ratios"])
            if self.adversary is not None:
                self.adversary.load(state["adversary"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.phase_step = int(state["phase_step"])
            again_from = last_phase_begin(self.spec.plan)
            ends = former_ends(self.scenario, self.out, state)
            self.extent = self.extent.resumed(state, ends, self.scenario.block, again_from)
        log.info("resumed at step %d after %.0f s", self.step, self.seconds)

    def save_model(self, validation: Validation, path: Path) -> Path:
        """Write the averaged weights as a checkpoint."""
        recipe: dict[str, object] = {
            "scenario": self.scenario.model_dump(mode="json"),
            "scenario_hash": scenario_hash(self.scenario),
            "steps": self.step,
            "seconds": round(self.seconds),
            "training_pictures": len(self.photographs.training),
            "validation_psnr_db": {label: found["psnr_db"] for label, found in validation.items()},
            "trained_on": sorted(
                {name for p in self.spec.plan for name in p.loss.measures} | {*self.inherited}
            ),
            "torch": torch.__version__,
        }
        save_checkpoint(path, self.spec.codec, self.ema, recipe, torch.float32)
        return path


def train(
    scenario: TrainScenario,
    out: Path,
    device: torch.device,
    report: Report = lambda line: None,
    pictures_bytes: int | None = None,
) -> TrainSummary:
    """Train a codec, or go on with a training in the same folder.

    Args:
        scenario: recipe. Of a training that goes on, steps and time_budget_s may be others than before: what
            is left of its schedule is stretched over what is left then; a finished one goes through its last
            phase once more.
        out: folder for state, checkpoint and TensorBoard log.
        device: where to train.
        report: called with a line of progress now and then.
        pictures_bytes: see :class:`linksim.training.data.photographs.Photographs`.

    Raises:
        ScenarioError, ImageError, CheckpointError: recipe, pictures or state that cannot be used; a folder
            that another process trains in; several processes.
    """
    refuse_several_processes(scenario.block)
    started = time.monotonic()
    with opened(scenario, out):
        if not (out / STATE_FILE).is_file():
            check_recipe(scenario)
        prepare_machine()
        trainer = Trainer(scenario, out, device, pictures_bytes)
        validation = run_sitting(trainer, report, started)
        path = trainer.save_model(validation, out / MODEL_FILE)
    summary = {label: found["psnr_db"] for label, found in validation.items()}
    measured_on = of_pictures(trainer.validation_limit)
    return TrainSummary(path, trainer.step, trainer.seconds, summary, measured_on)
