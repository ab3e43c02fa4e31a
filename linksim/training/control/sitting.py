"""A sitting of the training of a control module: its processes, its log, its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from linksim.files.interruption import uninterrupted
from linksim.images.sets import ImageError
from linksim.scenario.files import ScenarioError
from linksim.scenario.schema import ControlTrainScenario
from linksim.training.acceleration import new_accelerator
from linksim.training.control.trainer import ControlTrainer
from linksim.training.event_log import open_log
from linksim.training.folder import opened, write_header
from linksim.weights.precision import resolve_precision

__all__ = ["ControlSummary", "train_control"]

_MIXED = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class ControlSummary:
    """Result of a training.

    Args:
        folder: the trained model, a DiffJSCC folder.
        steps: optimiser steps done.
        seconds: time spent, over all sittings.
        losses: mean loss of the first and of the last tenth of the steps of this sitting.
        validation_loss: of the averaged weights on the held-out pictures, by SNR [dB].
    """

    folder: Path
    steps: int
    seconds: float
    losses: tuple[float, float]
    validation_loss: dict[str, float]


def train_control(
    scenario: ControlTrainScenario,
    out: Path,
    device: torch.device,
    report: Callable[[str], None] = lambda line: None,
    pictures_bytes: int | None = None,
) -> ControlSummary:
    """Train a control module, or go on with a training in the same folder.

    Several processes share the work under ``accelerate launch``; the first one keeps the folder.

    Args:
        scenario: recipe. Of a training that goes on, steps and time_budget_s may be others than before.
        out: folder for state, model and TensorBoard log.
        device: where to train.
        report: called with a line of progress now and then.
        pictures_bytes: see :class:`linksim.training.data.photographs.Photographs`.

    Raises:
        ScenarioError, ImageError, ModelFormatError: recipe, pictures, model or state that cannot be used; a
            folder that another process trains in.
        TrainingDiverged: a loss that is not finite.
    """
    mixed = _MIXED[resolve_precision(scenario.train_control.precision, device)]
    accelerator = new_accelerator(device, mixed)
    with _opened_by_the_first(scenario, out, accelerator):
        trainer = ControlTrainer(scenario, out, accelerator, pictures_bytes)
        trainer.load_state()
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            write_header(scenario, out, trainer.listed, trainer.inputs)
            if trainer.extent.from_step:
                report(f"extended: {trainer.extent}")
        return _run(trainer, report)


@contextmanager
def _opened_by_the_first(
    scenario: ControlTrainScenario, out: Path, accelerator: Accelerator
) -> Iterator[None]:
    """The folder, opened by the first process; what stops it stops all."""
    with ExitStack() as stack:
        refusal = None
        if accelerator.is_main_process:
            try:
                stack.enter_context(opened(scenario, out))
            except ScenarioError as problem:
                refusal = problem
        if accelerator.num_processes > 1:
            (refusal,) = broadcast_object_list([refusal])
        if refusal is not None:
            raise refusal
        yield


def _run(trainer: ControlTrainer, report: Callable[[str], None]) -> ControlSummary:
    """Train to the end."""
    writer = open_log(trainer.out, trainer.step) if trainer.accelerator.is_main_process else None
    started, before, saved = time.monotonic(), trainer.seconds, time.monotonic()
    losses: list[float] = []
    try:
        while trainer.progress() < 1:
            with uninterrupted():
                said = trainer.train_step()
            losses.append(said["loss"])
            trainer.tell_seconds(before + time.monotonic() - started)
            if writer is not None:
                for name, value in said.items():
                    writer.add_scalar(f"train/{name}", value, trainer.step)
            if trainer.step % trainer.spec.validation_every_steps == 0:
                _report(trainer, writer, losses, report)
            if time.monotonic() - saved > trainer.spec.checkpoint_every_s:
                trainer.save_state()
                saved = time.monotonic()
    except (KeyboardInterrupt, ImageError):
        trainer.save_state()
        raise
    validation = trainer.validate()
    trainer.save_state()
    folder = trainer.save_model()
    if writer is not None:
        writer.close()
    tenth = max(1, len(losses) // 10)
    ends = (float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))) if losses else (np.nan, np.nan)
    return ControlSummary(folder, trainer.step, trainer.seconds, ends, validation)


def _report(trainer: ControlTrainer, writer: Any, losses: list[float], report: Callable[[str], None]) -> None:
    validation = trainer.validate()
    if writer is not None:
        for snr, value in validation.items():
            writer.add_scalar(f"validation/loss_at_{snr}_db", value, trainer.step)
        grid = trainer.samples()
        if grid is not None:
            writer.add_image("validation/original_initial_sample", grid, trainer.step)
    recent = losses[-trainer.spec.validation_every_steps :]
    shown = ", ".join(f"{value:.4f} at {snr} dB" for snr, value in validation.items())
    left = trainer.seconds / max(trainer.progress(), 1e-9) - trainer.seconds
    report(
        f"step {trainer.step} of {trainer.spec.steps}, loss {np.mean(recent):.4f}, validation {shown}, "
        f"{trainer.seconds / 60:.1f} min done, about {left / 60:.0f} min left"
    )
