"""Training of JSCC codecs through the same run_link that evaluates them, over any mixture of channels.

Every random choice of a step (pictures, crops, SNR, channel, noise) is a function of the seed and the step,
so a training that was killed and resumed is the training that was not.

May import: torch, accelerate, linksim.{build, link, scenario, images, checkpoints, optim, metrics, schemes}.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import item_seed
from linksim.build import build_codec, build_images, load_codec
from linksim.build_channel import training_channels
from linksim.checkpoints import CheckpointError, save_checkpoint
from linksim.images import ImageError
from linksim.jscc.block_klt import fit_block_klt
from linksim.jscc.lean import LeanCodec
from linksim.link import run_link
from linksim.metrics.distortion import MsSsim, ms_ssim, psnr
from linksim.metrics.perceptual import Lpips
from linksim.optim import Muon, split_parameters
from linksim.photographs import Photographs
from linksim.scenario import LossSpec, OptimizerSpec, TrainScenario
from linksim.scenario_io import ScenarioError, scenario_hash
from linksim.schemes.jscc import JsccScheme
from linksim.train_folder import (
    STATE_FILE,
    TrainingDiverged,
    broken_state,
    prepare_folder,
    read_state,
    write_header,
    write_state,
)

__all__ = ["TrainSummary", "TrainingDiverged", "check_recipe", "train"]

log = logging.getLogger("linksim.train")
_MSE_FLOOR = 1e-5  # 50 dB: a flat crop must not outweigh all pictures
MODEL_FILE = "model.safetensors"
_RATE = "train.optimizer.learning_rate"


@dataclass(frozen=True)
class TrainSummary:
    """Result of a training.

    Args:
        checkpoint: the averaged weights.
        steps: optimiser steps done.
        seconds: time spent, over all sittings.
        validation_psnr_db: PSNR on the held-out pictures by SNR [dB].
    """

    checkpoint: Path
    steps: int
    seconds: float
    validation_psnr_db: dict[str, float]


class _Losses:
    """Weighted sum of the loss terms."""

    def __init__(self, spec: LossSpec, crop: int, device: torch.device) -> None:
        if spec.ms_ssim and crop < MsSsim.info.min_side:
            got, expected = f"{crop} pixels", f"at least {MsSsim.info.min_side} for the MS-SSIM loss"
            raise ScenarioError(complaint("train.crop", "too small", got, expected))
        self.spec = spec
        self.lpips = Lpips(spec.lpips_net, device) if spec.lpips else None

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        mse = (x_hat - x).square().mean((1, 2, 3))
        total = self.spec.mse * mse
        if self.spec.log_mse:
            total = total + self.spec.log_mse * (mse + _MSE_FLOOR).log()
        if self.spec.ms_ssim:
            total = total + self.spec.ms_ssim * (1 - ms_ssim(x_hat, x))
        if self.lpips is not None:
            total = total + self.spec.lpips * self.lpips.loss(x_hat, x)
        return total.mean()


class _LinkModule(nn.Module):
    """run_link as a module, so that data parallelism and mixed precision wrap encoder and decoder
    together.
    """

    def __init__(self, codec: Any) -> None:
        super().__init__()
        self.codec = codec

    def forward(
        self,
        image: Tensor,
        snr_db: Tensor,
        seeds: Sequence[int],
        channel: ChannelOperator,
        scheme: JsccScheme,
    ) -> Tensor:
        budget = self.codec.num_symbols(image.shape[2], image.shape[3])
        return run_link(scheme, channel, image, snr_db, seeds, budget).reconstruction.image


def _optimizers(spec: OptimizerSpec, module: nn.Module) -> list[Optimizer]:
    if spec.kind == "adamw":
        return [
            AdamW(
                module.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay, betas=(0.9, 0.98)
            )
        ]
    hidden, rest = split_parameters(module)
    return [
        Muon(hidden, lr=spec.learning_rate, weight_decay=spec.weight_decay),
        AdamW(rest, lr=min(spec.learning_rate, 5e-4), weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def _rate(spec: OptimizerSpec, step: int, progress: float) -> float:
    """Factor of the learning rate: linear warm-up, constant, linear decay to zero."""
    warm = min(1.0, (step + 1) / max(1, spec.warmup_steps))
    left = (1 - progress) / max(spec.decay_share, 1e-9)
    return warm * min(1.0, max(0.0, left))


class Trainer:
    """State and loop of one training; see :func:`train`."""

    def __init__(self, scenario: TrainScenario, out: Path, device: torch.device) -> None:
        self.scenario, self.spec, self.out = scenario, scenario.train, out
        mixed = "bf16" if self.spec.precision == "bfloat16" else "no"
        self.accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed)
        self.device = self.accelerator.device
        self.photographs = Photographs(
            build_images(scenario.images),
            seed=scenario.seed,
            crop=self.spec.crop,
            held_out=self.spec.validation_images,
            scale_low=self.spec.scale_low,
        )
        codec = self._start()
        self.module = _LinkModule(codec).to(self.device).to(memory_format=torch.channels_last)
        self.codec = codec
        self.optimizers = _optimizers(self.spec.optimizer, self.module)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.ema = {k: v.detach().clone() for k, v in codec.state_dict().items()}
        self.link = self.accelerator.prepare(self.module)
        self.losses = _Losses(self.spec.loss, self.spec.crop, self.device)
        self.channels = training_channels(
            self.spec.channels,
            self.device,
            codec.num_symbols(self.spec.crop, self.spec.crop),  # type: ignore[operator]
        )
        weights = np.array([c.weight for c in self.spec.channels])
        self.channel_shares = weights / weights.sum()
        self.step, self.seconds, self.clean = 0, 0.0, True

    def _start(self) -> nn.Module:
        if self.spec.initial is not None and not (self.out / STATE_FILE).is_file():
            codec: Any = load_codec(self.spec.initial)
            codec.highest_snr_db = None  # this training sets it anew
            codec.train().requires_grad_(True)
            assert isinstance(codec, nn.Module)
            return codec
        torch.manual_seed(item_seed(self.scenario.seed, "weights", 0, "train") % 2**31)
        codec = build_codec(self.spec.codec)
        fresh = self.spec.initial is None and not (self.out / STATE_FILE).is_file()
        if fresh and isinstance(codec, LeanCodec) and getattr(self.spec.codec, "klt_start", False):
            log.info("fitting the block KLT of %d pictures", len(self.photographs.training))
            try:
                klt = fit_block_klt(self.photographs.training, self.spec.codec.latent_channels)
            except ValueError as problem:
                cure = "Use more pictures, or set train.codec.klt_start: false."
                raise ImageError(f"images: {problem} {cure}") from None
            codec.start_from_klt(klt)
        assert isinstance(codec, nn.Module)
        return codec.train()

    # ------------------------------------------------------------------------------- one step

    def progress(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is further."""
        share = self.step / self.spec.steps
        if self.spec.time_budget_s is not None:
            share = max(share, self.seconds / self.spec.time_budget_s)
        return share

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        spec, world = self.spec, self.accelerator
        rng = np.random.default_rng(
            item_seed(self.scenario.seed, f"step {self.step}", world.process_index, "train")
        )
        image = self.photographs.batch(rng, spec.batch_size).to(
            self.device, memory_format=torch.channels_last
        )
        snr_db = torch.from_numpy(rng.uniform(spec.snr_db.low, spec.snr_db.high, spec.batch_size)).float()
        seeds = [int(s) for s in rng.integers(0, 2**62, spec.batch_size)]
        channel = self.channels[int(rng.choice(len(self.channels), p=self.channel_shares))]
        told = spec.csit if rng.random() >= spec.csit_dropout else "none"
        scheme = JsccScheme("training", self.codec, told)  # type: ignore[arg-type]
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * _rate(spec.optimizer, self.step, self.progress())
            optimizer.zero_grad()
        try:
            x_hat = self.link(image, snr_db.to(self.device), seeds, channel, scheme)
        except ValueError as problem:  # the channel refuses symbols that are not finite
            raise TrainingDiverged(self.step, str(problem), _RATE) from None
        loss = self.losses(x_hat.float(), image)
        if not bool(torch.isfinite(loss)):
            raise TrainingDiverged(self.step, f"the loss is {float(loss)}", _RATE)
        world.backward(loss)
        world.clip_grad_norm_(self.module.parameters(), spec.optimizer.clip_norm)
        self.clean = False  # between here and the average a state on disk would be half a step
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self._average()
        self.clean = True
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.spec.ema_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.codec.state_dict().items():
            if value.is_floating_point():
                self.ema[key].lerp_(value, 1 - decay)
            else:
                self.ema[key].copy_(value)

    # ----------------------------------------------------------------------------- validation

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean PSNR [dB] of the averaged weights on the held-out pictures, on the first channel, by SNR."""
        live = {k: v.clone() for k, v in self.codec.state_dict().items()}
        self.codec.load_state_dict(self.ema)
        self.codec.eval()
        scheme = JsccScheme("validation", self.codec, self.spec.csit)  # type: ignore[arg-type]
        result = {}
        for snr in self.spec.validation_snr_db:
            values = []
            for i, image in enumerate(self.photographs.validation_batches(self.spec.batch_size)):
                seeds = [
                    item_seed(self.scenario.seed, f"{i} {j}", 0, "validation") for j in range(len(image))
                ]
                image = image.to(self.device)
                snr_db = torch.full((len(image),), snr, device=self.device)
                x_hat = self.module(image, snr_db, seeds, self.channels[0], scheme)
                values.append(psnr(x_hat.float().clamp(0, 1), image))
            result[f"{snr:g}"] = round(float(torch.cat(values).mean()), 3) if values else float("nan")
        self.codec.load_state_dict(live)
        self.codec.train()
        return result

    # -------------------------------------------------------------------------- state on disk

    def save_state(self) -> None:
        """Write everything that a resumed training needs, in one step."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.codec.state_dict(),
            "ema": self.ema,
            "optimizers": [o.state_dict() for o in self.optimizers],
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
        try:
            self.codec.load_state_dict(state["model"])
            self.ema = state["ema"]
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (KeyError, ValueError, RuntimeError, TypeError) as problem:
            raise broken_state(self.out, problem) from None
        log.info("resumed at step %d after %.0f s", self.step, self.seconds)

    def save_model(self, validation: dict[str, float], dtype: torch.dtype = torch.float32) -> Path:
        """Write the averaged weights as a checkpoint."""
        path = self.out / MODEL_FILE
        recipe: dict[str, object] = {
            "scenario": self.scenario.model_dump(mode="json"),
            "scenario_hash": scenario_hash(self.scenario),
            "steps": self.step,
            "seconds": round(self.seconds),
            "training_pictures": len(self.photographs.training),
            "validation_psnr_db": validation,
            "torch": torch.__version__,
        }
        save_checkpoint(path, self.spec.codec, self.ema, recipe, dtype)
        return path


def check_recipe(scenario: TrainScenario) -> None:
    """What can be told about a recipe without its pictures.

    Raises:
        ScenarioError, CheckpointError: an initial checkpoint that is missing or of another codec.
        MetricUnavailable: a loss whose weights are not to be had.
    """
    spec = scenario.train
    if spec.initial is not None:
        try:
            start: Any = load_codec(spec.initial)
        except CheckpointError as problem:
            raise ScenarioError(f"train.initial: {problem}") from None
        theirs, mine = (
            {k: tuple(v.shape) for k, v in codec.state_dict().items()}
            for codec in (start, build_codec(spec.codec))
        )
        other = sorted(k for k in {**theirs, **mine} if theirs.get(k) != mine.get(k))
        if other:
            cure = "Give train.codec the sizes of the checkpoint, or leave out train.initial."
            got, expected = (f"{other[0]} of shape {side.get(other[0])}" for side in (theirs, mine))
            raise ScenarioError(complaint("train.initial", "another codec", got, expected, cure))
    _Losses(spec.loss, spec.crop, torch.device("cpu"))


def train(
    scenario: TrainScenario,
    out: Path,
    device: torch.device,
    report: Callable[[str], None] = lambda line: None,
) -> TrainSummary:
    """Train a codec, or go on with a training in the same folder.

    Args:
        scenario: recipe.
        out: folder for state, checkpoint and TensorBoard log.
        device: where to train.
        report: called with a line of progress now and then.

    Raises:
        ScenarioError, ImageError, CheckpointError: recipe, pictures or state that cannot be used.
    """
    from torch.utils.tensorboard import SummaryWriter

    prepare_folder(scenario, out)
    if not (out / STATE_FILE).is_file():
        check_recipe(scenario)
    torch.set_flush_denormal(True)  # Muon's Gram matrices are full of denormals: 3.3 times slower on a CPU
    trainer = Trainer(scenario, out, device)
    trainer.load_state()
    write_header(scenario, out)  # the first moment at which the folder is known to belong to a good recipe
    writer = SummaryWriter(str(out / "tensorboard"), purge_step=trainer.step)
    started, before, saved = time.monotonic(), trainer.seconds, time.monotonic()
    recent: list[float] = []
    try:
        while trainer.progress() < 1:
            recent.append(trainer.train_step())
            trainer.seconds = before + time.monotonic() - started
            writer.add_scalar("train/loss", recent[-1], trainer.step)
            if trainer.step % scenario.train.validation_every_steps == 0:
                _report_validation(trainer, writer, recent, report)
            if time.monotonic() - saved > scenario.train.checkpoint_every_s:
                trainer.save_state()
                saved = time.monotonic()
    except KeyboardInterrupt:
        if trainer.clean:
            trainer.save_state()
        raise
    validation = trainer.validate()
    trainer.save_state()
    path = trainer.save_model(validation)
    writer.close()
    return TrainSummary(path, trainer.step, trainer.seconds, validation)


def _report_validation(
    trainer: Trainer, writer: Any, recent: list[float], report: Callable[[str], None]
) -> None:
    validation = trainer.validate()
    for snr, value in validation.items():
        writer.add_scalar(f"validation/psnr_db_at_{snr}_db", value, trainer.step)
    left = trainer.seconds / max(trainer.progress(), 1e-9) - trainer.seconds
    shown = ", ".join(f"{value:.2f} dB at {snr} dB" for snr, value in validation.items())
    report(
        f"step {trainer.step} of {trainer.spec.steps}, loss {np.mean(recent):.5f}, PSNR {shown}, "
        f"{trainer.seconds / 60:.1f} min done, about {left / 60:.0f} min left"
    )
    recent.clear()
