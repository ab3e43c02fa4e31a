"""The loop of a training: steps until the time or the steps are used up, log, validation, state on disk.

Ctrl-C and SIGTERM wait for the end of a step, so that no state on disk is half a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from channels.checks import complaint
from linksim.build.foreign import cause, place_of
from linksim.files.interruption import uninterrupted
from linksim.images.sets import ImageError
from linksim.link import RunError
from linksim.training.event_log import open_log
from linksim.training.folder import write_header

if TYPE_CHECKING:
    from linksim.training.codec import Trainer
    from linksim.training.denoiser import DenoiserTrainer

__all__ = [
    "NoStepFits",
    "Report",
    "Trainable",
    "Validation",
    "averaged",
    "of_pictures",
    "prepare_machine",
    "run_loop",
    "run_sitting",
]

Report = Callable[[str], None]
Validation = dict[str, dict[str, float]]
"""Measures by name of every validation point, by its label."""

_CLOSING = 2.0  # time kept for the last validation and the files, in units of one validation
_VALIDATION_SHARE = 0.03  # of a budget of time that one validation may take


class NoStepFits(RunError):
    """A budget of time that ends before the first step."""

    resumes = False


class Trainable(Protocol):
    """What the loop drives."""

    step: int
    seconds: float
    closing_s: float
    validation_limit: int | None

    @property
    def time_budget_s(self) -> float | None:
        """Time that the training may take; None where only steps end it."""
        ...

    def progress(self) -> float:
        """Share of the training that is done."""
        ...

    def train_step(self) -> dict[str, float]:
        """One optimiser step; what it has to log."""
        ...

    def validate(self, writer: Any = None) -> Validation:
        """Measures on the held-out pictures, on the first ``validation_limit`` of them."""
        ...

    def save_state(self) -> None:
        """Write what a resumed training needs."""
        ...

    def whereabouts(self) -> str:
        """Step and phase, for a line of progress."""
        ...


def run_sitting(trainer: Trainer | DenoiserTrainer, report: Report, started: float) -> Validation:
    """Go on where the former sitting stopped, to the end; returns the last validation.

    Args:
        trainer: as it begins, in an opened folder.
        report: called with a line of progress now and then.
        started: ``time.monotonic()`` at which this sitting began.

    Raises:
        ScenarioError: the folder belongs to another training, or its state is broken.
        NoStepFits, ImageError: as of :func:`run_loop`.
        RunError: code of other people failed.
    """
    trainer.load_state()
    # the first moment at which the folder is known to belong to a good recipe
    write_header(trainer.scenario, trainer.out, trainer.listed, trainer.inputs)
    if trainer.extent.from_step:
        report(f"extended: {trainer.extent}")
    with _foreign_as_failure(trainer):
        return run_loop(
            trainer,
            trainer.out,
            report,
            started=started,
            held_out=trainer.photographs.held_out,
            validation_every_steps=trainer.spec.validation_every_steps,
            checkpoint_every_s=trainer.spec.checkpoint_every_s,
        )


@contextmanager
def _foreign_as_failure(trainer: Trainable) -> Iterator[None]:
    """What code of other people raises within a step: the training can go on once it is mended."""
    try:
        yield
    except (RunError, ImageError):
        raise
    except Exception as problem:
        if place_of(problem) is None:
            raise
        raise RunError(f"step {trainer.step} of the training failed: {cause(problem)}") from problem


def run_loop(
    trainer: Trainable,
    out: Path,
    report: Report,
    *,
    started: float,
    held_out: int,
    validation_every_steps: int,
    checkpoint_every_s: float,
) -> Validation:
    """Train to the end; returns the last validation.

    Args:
        trainer: with its state loaded.
        out: folder of the TensorBoard log.
        report: called with a line of progress now and then.
        started: ``time.monotonic()`` at which this sitting began.
        held_out: pictures for validation. Within a budget of time fewer are taken where all of them would
            take more than a small share of it.
        validation_every_steps, checkpoint_every_s: how often to measure and to save.

    Raises:
        NoStepFits: a budget of time into which no step fits.
        ImageError: a picture that cannot be read any more; the state before it is saved.
    """
    writer = open_log(out, trainer.step)
    before, saved = trainer.seconds, time.monotonic()
    if trainer.time_budget_s is not None:
        report(_line(trainer, _plan_validation(trainer, trainer.time_budget_s, held_out), []))
    recent: list[dict[str, float]] = []
    trainer.seconds = before + time.monotonic() - started
    try:
        while trainer.progress() < 1:
            with uninterrupted():
                recent.append(trainer.train_step())
            trainer.seconds = before + time.monotonic() - started
            for name, value in recent[-1].items():
                writer.add_scalar(f"train/{name}", value, trainer.step)
            if trainer.step % validation_every_steps == 0:
                validation = trainer.validate(writer)
                _log(writer, validation, trainer.step)
                report(_line(trainer, validation, recent))
                recent.clear()
            if time.monotonic() - saved > checkpoint_every_s:
                trainer.save_state()
                saved = time.monotonic()
    except (KeyboardInterrupt, ImageError):
        trainer.save_state()
        raise
    if trainer.step == 0:
        got = f"{trainer.time_budget_s:g} s; loading and the first validation took {trainer.seconds:.0f} s"
        cure = "Give a larger --budget, or fewer validation_snr_db."
        raise NoStepFits(complaint("time_budget_s", "no step fits", got, "time for a step as well", cure))
    validation = trainer.validate(writer)
    _log(writer, validation, trainer.step)
    trainer.seconds = before + time.monotonic() - started
    trainer.save_state()
    writer.close()
    return validation


@contextmanager
def averaged(network: nn.Module, ema: Mapping[str, Tensor]) -> Iterator[None]:
    """The averaged weights in a network; those that are trained come back, whatever ends the block."""
    live = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        network.load_state_dict(ema)
        yield
    finally:
        with uninterrupted():
            network.load_state_dict(live)


def _plan_validation(trainer: Trainable, budget_s: float, held_out: int) -> Validation:
    """How many pictures a validation takes, and the time that the last one will; returns the first one."""
    trainer.validation_limit = 1
    begun = time.monotonic()
    found = trainer.validate()  # the first call of a size is slower than those that follow
    one_s = time.monotonic() - begun
    if one_s < _VALIDATION_SHARE * budget_s:
        begun = time.monotonic()
        found = trainer.validate()
        one_s = time.monotonic() - begun
    limit = max(1, min(held_out, int(_VALIDATION_SHARE * budget_s / one_s)))
    trainer.validation_limit = limit if limit < held_out else None
    trainer.closing_s = _CLOSING * one_s * limit
    return found if limit == 1 else trainer.validate()


def _log(writer: Any, validation: Validation, step: int) -> None:
    for label, found in validation.items():
        for name, value in found.items():
            writer.add_scalar(f"held out {name}/{label}", value, step)


def of_pictures(limit: int | None) -> str:
    """Of how many held-out pictures a validation is, where a budget of time leaves no room for all: means of
    fewer pictures are not to be compared with those of more.
    """
    if limit is None:
        return ""
    return f" (the first {limit} pictures)" if limit > 1 else " (the first picture)"


def _line(trainer: Trainable, validation: Validation, recent: list[dict[str, float]]) -> str:
    """A line of progress."""
    left = trainer.seconds / max(trainer.progress(), 1e-9) - trainer.seconds
    measured = "; ".join(
        f"{label}: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        for label, found in validation.items()
    )
    names = sorted({name for one in recent for name in one})
    means = "".join(f", {n} {np.mean([one[n] for one in recent if n in one]):.4g}" for n in names)
    return (
        f"{trainer.whereabouts()}{means}; held out{of_pictures(trainer.validation_limit)}: {measured}; "
        f"{trainer.seconds / 60:.1f} min done, about {left / 60:.0f} min left"
    )


def prepare_machine() -> None:
    """Muon's Gram matrices are full of denormals: 3.3 times slower on a CPU that keeps them."""
    torch.set_flush_denormal(True)
