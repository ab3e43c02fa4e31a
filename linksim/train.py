"""Training of JSCC codecs through the same run_link that evaluates them, over any mixture of channels.

Every random choice of a step (pictures, crops, SNR, channel, noise) is a function of the seed and the step,
so a training that was killed and resumed is the training that was not.

May import: torch, accelerate, linksim.{build, link, scenario, images, checkpoints, optim, metrics, schemes}.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import item_seed
from linksim.build import build_channel, build_codec, build_images, load_codec
from linksim.checkpoints import CheckpointError, save_checkpoint
from linksim.images import ImageError
from linksim.jscc.block_klt import fit_block_klt
from linksim.jscc.lean import LeanCodec
from linksim.link import RunError, run_link
from linksim.metrics.distortion import MsSsim, ms_ssim, psnr
from linksim.metrics.perceptual import Lpips
from linksim.optim import Muon, split_parameters
from linksim.scenario import LossSpec, OptimizerSpec, TrainScenario
from linksim.scenario_io import ScenarioError, scenario_hash
from linksim.schemes.jscc import JsccScheme

__all__ = ["TrainSummary", "TrainingDiverged", "check_recipe", "train"]

log = logging.getLogger("linksim.train")
_MSE_FLOOR = 1e-5  # 50 dB: a flat crop must not outweigh all pictures
STATE_FILE, MODEL_FILE, RUN_FILE = "state.pt", "model.safetensors", "train.json"


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


class TrainingDiverged(RunError):
    """Weights or symbols that are not finite any more; the last state on disk is good."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"training step {step}: diverged, {what}. Lower train.optimizer.learning_rate.")


class Photographs:
    """All training pictures in memory as uint8, split into training and validation."""

    def __init__(self, scenario: TrainScenario) -> None:
        crop = scenario.train.crop
        images = build_images(scenario.images)
        pictures = []
        for name in images.names:
            picture = images[name]
            if min(picture.shape[1:]) >= crop:
                pictures.append(picture)
        held_out = scenario.train.validation_images
        if len(pictures) <= held_out:
            raise ImageError(
                complaint(
                    "images",
                    "too few pictures as large as train.crop",
                    f"{len(pictures)} of {len(images)} of at least {crop} x {crop} pixels",
                    f"more than train.validation_images = {held_out}",
                )
            )
        order = np.random.default_rng(scenario.seed).permutation(len(pictures))
        self.validation = [pictures[i] for i in order[:held_out]]
        self.training = [pictures[i] for i in order[held_out:]]
        self.crop = crop
        self.scale_low = scenario.train.scale_low

    def batch(self, rng: np.random.Generator, size: int) -> Tensor:
        """[size, 3, crop, crop] float in [0, 1]: random pictures, crops, scales and mirror images."""
        crops = []
        for index in rng.integers(0, len(self.training), size):
            crop = self._crop(rng, self.training[index])
            crops.append(crop.flip(2) if rng.random() < 0.5 else crop)
        return torch.stack(crops)

    def _crop(self, rng: np.random.Generator, picture: Tensor) -> Tensor:
        side = self.crop
        if self.scale_low < 1 and rng.random() < 0.5:
            side = min(round(self.crop / rng.uniform(self.scale_low, 1.0)), *picture.shape[1:])
        top = int(rng.integers(0, picture.shape[1] - side + 1))
        left = int(rng.integers(0, picture.shape[2] - side + 1))
        crop = picture[:, top : top + side, left : left + side].float() / 255
        if side == self.crop:
            return crop
        size = (self.crop, self.crop)
        shrunk = F.interpolate(crop[None], size, mode="bicubic", antialias=True, align_corners=False)
        return shrunk[0].clamp(0, 1)

    def validation_batches(self, size: int) -> list[Tensor]:
        """Centre crops of the held-out pictures, [<= size, 3, crop, crop] float each."""
        crops = []
        for picture in self.validation:
            top, left = ((side - self.crop) // 2 for side in picture.shape[1:])
            crops.append(picture[:, top : top + self.crop, left : left + self.crop])
        return [torch.stack(crops[i : i + size]).float() / 255 for i in range(0, len(crops), size)]


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
        self.photographs = Photographs(scenario)
        codec = self._start()
        self.module = _LinkModule(codec).to(self.device).to(memory_format=torch.channels_last)
        self.codec = codec
        self.optimizers = _optimizers(self.spec.optimizer, self.module)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.ema = {k: v.detach().clone() for k, v in codec.state_dict().items()}
        self.link = self.accelerator.prepare(self.module)
        self.losses = _Losses(self.spec.loss, self.spec.crop, self.device)
        self.channels = [build_channel(c.channel, self.device) for c in self.spec.channels]
        weights = np.array([c.weight for c in self.spec.channels])
        self.channel_shares = weights / weights.sum()
        self.step, self.seconds, self.clean = 0, 0.0, True

    def _start(self) -> nn.Module:
        if self.spec.initial is not None and not (self.out / STATE_FILE).is_file():
            codec: Any = load_codec(self.spec.initial)
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
            raise TrainingDiverged(self.step, str(problem)) from None
        loss = self.losses(x_hat.float(), image)
        if not bool(torch.isfinite(loss)):
            raise TrainingDiverged(self.step, f"the loss is {float(loss)}")
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
            "scenario_hash": scenario_hash(self.scenario),
            "step": self.step,
            "seconds": self.seconds,
            "model": self.codec.state_dict(),
            "ema": self.ema,
            "optimizers": [o.state_dict() for o in self.optimizers],
        }
        partial = self.out / (STATE_FILE + ".partial")
        torch.save(state, partial)
        partial.replace(self.out / STATE_FILE)

    def load_state(self) -> None:
        """Continue where a former sitting stopped.

        Raises:
            ScenarioError: the folder belongs to another training, or its state is broken.
        """
        path = self.out / STATE_FILE
        if not path.is_file():
            return
        expected = scenario_hash(self.scenario)
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            got = state["scenario_hash"]
            if got == expected:
                self.codec.load_state_dict(state["model"])
                self.ema = state["ema"]
                for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                    optimizer.load_state_dict(saved)
                self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except Exception as problem:  # torch.load raises many types for a broken file
            cure = "Remove the file to start again."
            reason = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
            raise ScenarioError(
                complaint(str(path), "cannot be read", reason, "a training state", cure)
            ) from None
        if got != expected:
            cure = "Use another --out, or the scenario that made the folder."
            raise ScenarioError(complaint(str(self.out), "folder of another training", got, expected, cure))
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


def _prepare(scenario: TrainScenario, out: Path) -> None:
    """Make the folder, or refuse one that belongs to another training before anything is loaded."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ScenarioError(
            complaint(str(out), "cannot be made", problem, "a folder", "Use another --out.")
        ) from None
    header = out / RUN_FILE
    expected = scenario_hash(scenario)
    if header.is_file():
        try:
            got = json.loads(header.read_bytes())["scenario_hash"]
        except (ValueError, KeyError, TypeError) as problem:
            raise ScenarioError(
                complaint(str(header), "cannot be read", problem, "a training header")
            ) from None
        if got != expected:
            cure = "Use another --out, or the scenario that made the folder."
            raise ScenarioError(complaint(str(out), "folder of another training", got, expected, cure))
        return
    if any(out.iterdir()):
        cure = "Use another --out."
        raise ScenarioError(
            complaint(str(out), "not empty and no training", "other files", "an empty folder", cure)
        )


def _write_header(scenario: TrainScenario, out: Path) -> None:
    header, expected = out / RUN_FILE, scenario_hash(scenario)
    if header.is_file():
        return
    text = json.dumps({"scenario_hash": expected, "scenario": scenario.model_dump(mode="json")}, indent=1)
    header.write_text(text + "\n")


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

    _prepare(scenario, out)
    if not (out / STATE_FILE).is_file():
        check_recipe(scenario)
    torch.set_flush_denormal(True)  # Muon's Gram matrices are full of denormals: 3.3 times slower on a CPU
    trainer = Trainer(scenario, out, device)
    trainer.load_state()
    _write_header(scenario, out)  # the first moment at which the folder is known to belong to a good recipe
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
