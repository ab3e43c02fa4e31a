"""Training of DiffJSCC's control module through the same run_link that evaluates it.

UNet, autoencoder, text tower and JSCC codec are frozen. Every random choice (pictures, crops, SNR, channel,
noise, time) is a function of the seed, the step and the place of a picture in the whole batch, so a training
that was killed and resumed, or that runs in several processes, is the training that was not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import derived_seed, item_seed, real_normal
from linksim.build.channels import recordings, training_channels
from linksim.build.convert import save_codec
from linksim.build.objects import build_captioner, build_images
from linksim.diffusion.receiver import DiffusionReceiver, SamplerOptions
from linksim.files.writing import whole_folder
from linksim.jscc.csi_embedding import csi_kind, csi_vector, gamma_map
from linksim.kinds.schemes.jscc import uses_gain
from linksim.link import run_link
from linksim.scenario.files import ScenarioError
from linksim.scenario.schema import ControlTrainScenario, ControlTrainSpec
from linksim.schemes.jscc import JsccScheme
from linksim.training.control.start import frozen_files, frozen_start
from linksim.training.data.photographs import Photographs
from linksim.training.data.picture_list import survey
from linksim.training.extent import Extent
from linksim.training.folder import (
    HELD_OUT,
    TrainingDiverged,
    check_inputs,
    check_pictures,
    former_ends,
    read_as_state,
    read_state,
    write_state,
)
from linksim.training.loop import averaged
from linksim.weights.precision import resolve_precision

__all__ = ["ControlTrainer"]

log = logging.getLogger("linksim.training.control")
MODEL_FOLDER = "model"
_RATE = "train_control.learning_rate"


@dataclass(frozen=True)
class _Batch:
    """Pictures of one process and what is drawn for each.

    Args:
        image: [B, 3, H, W] in [0, 1].
        snr_db: [B].
        seeds: of the channel.
        times: [B] int64, diffusion times.
        noise: [B, c, h, w], what the denoiser must predict.
    """

    image: Tensor
    snr_db: Tensor
    seeds: list[int]
    times: Tensor
    noise: Tensor


@dataclass(frozen=True)
class _Seen:
    """What the receiver has of a batch before the diffusion.

    Args:
        initial: [B, 3, H, W], reconstructions of the codec.
        snr_db: [B], what the control module is told.
        gamma_map: [B, 1, h, w], see :func:`linksim.jscc.csi_embedding.gamma_map`.
    """

    initial: Tensor
    snr_db: Tensor
    gamma_map: Tensor


class ControlTrainer:
    """State and loop of one training; see :func:`linksim.training.control.sitting.train_control`."""

    def __init__(
        self,
        scenario: ControlTrainScenario,
        out: Path,
        accelerator: Accelerator,
        pictures_bytes: int | None = None,
    ) -> None:
        self.scenario, self.spec, self.out = scenario, scenario.train_control, out
        self.accelerator, self.device = accelerator, accelerator.device
        _check_machine(self.spec, accelerator)
        images = build_images(scenario.images)
        self.listed = survey(images)
        check_pictures(out, self.listed)
        self.inputs = {**recordings(scenario), **frozen_files(self.spec)}
        check_inputs(out, self.inputs)
        self.photographs = Photographs(
            images,
            seed=scenario.seed,
            crop=self.spec.crop,
            held_out=self.spec.validation_images,
            block="train_control",
            listed=self.listed,
            memory_bytes=pictures_bytes,
        )
        self.inputs[HELD_OUT] = self.photographs.held_out_digest
        check_inputs(out, self.inputs)
        torch.manual_seed(item_seed(scenario.seed, "weights", 0, "train") % 2**31)
        self.codec, self.model = frozen_start(self.spec)
        if self.spec.csit == "perfect" and not uses_gain(self.codec):
            what, expected = "has no effect: the codec makes nothing of the gain", "average_snr or none"
            raise ScenarioError(complaint("train_control.csit", what, "perfect", expected))
        if isinstance(self.codec, nn.Module):
            self.codec.to(self.device)
        dtype = resolve_precision(self.spec.precision, self.device)
        captioner = build_captioner(self.spec.caption, self.device, dtype)
        options = SamplerOptions("dpmsolver++", self.spec.sample_steps)
        self.receiver = DiffusionReceiver(self.model, options, captioner, device=self.device)
        if captioner is not None:
            captioner.prepare()
        self.control = self.model.control.train().requires_grad_(True)
        self.control.controlnet_cond_embedding.conv_in.requires_grad_(False)  # see diffusion.hint
        if self.spec.gradient_checkpointing:
            self.control.enable_gradient_checkpointing()
            self.model.unet.enable_gradient_checkpointing()
        trained = [p for p in self.control.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=self.spec.learning_rate, weight_decay=self.spec.weight_decay
        )
        self.ema = {k: v.detach().clone() for k, v in self.control.state_dict().items()}
        self.wrapped, self.optimizer = self.accelerator.prepare(self.control, self.optimizer)
        self.channels = training_channels(
            self.spec.channels,
            self.device,
            self.codec.num_symbols(self.spec.crop, self.spec.crop),  # type: ignore[attr-defined]
        )
        weights = np.array([c.weight for c in self.spec.channels])
        self.shares = weights / weights.sum()
        self.levels = self.model.schedule.alphas_cumprod.to(self.device)
        self.step, self.seconds = 0, 0.0
        self.extent = Extent(self.spec.steps, self.spec.time_budget_s)

    def progress(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is further."""
        return self.extent.progress(self.step, self.seconds)

    # ------------------------------------------------------------------------------------ one step

    def _seed(self, step: int, place: int) -> int:
        return item_seed(self.scenario.seed, f"step {step} picture {place}", 0, "control")

    def _generator(self, step: int, place: int) -> np.random.Generator:
        """All that is drawn for a picture comes from it and from its seed."""
        return np.random.default_rng(self._seed(step, place))

    def _draw(self) -> _Batch:
        """The pictures of this process, out of the batch of all processes."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = range(rank, self.spec.batch_size, world)
        rngs = [self._generator(self.step, place) for place in mine]
        image = self.photographs.one_each(rngs)
        self.photographs.expect_one_each([self._generator(self.step + 1, place) for place in mine])
        snr_db, seeds, times, noises = [], [], [], []
        factor, channels = self.model.latent_factor, int(self.model.vae.config.latent_channels)
        shape = (channels, self.spec.crop // factor, self.spec.crop // factor)
        for place, rng in zip(mine, rngs, strict=True):
            seed = self._seed(self.step, place)
            snr_db.append(rng.uniform(self.spec.snr_db.low, self.spec.snr_db.high))
            times.append(int(rng.integers(0, self.model.schedule.num_train_timesteps)))
            seeds.append(seed)
            noises.append(real_normal(shape, derived_seed(seed, "diffusion noise")))
        return _Batch(
            image.to(self.device),
            torch.tensor(snr_db, dtype=torch.float32, device=self.device),
            seeds,
            torch.tensor(times, device=self.device),
            torch.stack(noises).to(self.device),
        )

    @torch.no_grad()
    def _link(self, batch: _Batch, channel: ChannelOperator) -> _Seen:
        """What the diffusion is given of the received symbols."""
        seen: list[tuple[Tensor, Tensor]] = []
        kind = csi_kind(self.codec)

        class Listening(JsccScheme):
            def receive(self, received: Any, layout: Any, seeds: Any) -> Any:
                told = csi_vector(received.csi, kind)[:, 0], gamma_map(received.csi, layout.symbols)
                seen.append(told)
                return super().receive(received, layout, seeds)

        scheme = Listening("training", self.codec, self.spec.csit)
        height, width = batch.image.shape[2:]
        budget = self.codec.num_symbols(height, width)  # type: ignore[attr-defined]
        out = run_link(scheme, channel, batch.image, batch.snr_db, batch.seeds, budget)
        snr_db, spread = seen[0]
        return _Seen(out.reconstruction.image, snr_db.to(self.device), spread.to(self.device))

    def loss(self, control: nn.Module, batch: _Batch, channel: ChannelOperator) -> Tensor:
        """Mean squared error of the predicted noise, the denoiser's own training loss.

        Source: Ho et al., "Denoising Diffusion Probabilistic Models", 2020, eq. 14.
        """
        seen = self._link(batch, channel)
        with torch.no_grad():
            target = self.receiver.encode(self.model.vae, batch.image)
            condition = self.receiver.encode(self.model.condition_vae, seen.initial)
            height, width = batch.image.shape[2:]
            hint = self.receiver.hint(condition, seen.gamma_map, (height, width))
            text = self.receiver.text(self.receiver.captions(seen.initial))
        alpha = self.levels[batch.times].float()[:, None, None, None]
        z = alpha.sqrt() * target + (1 - alpha).sqrt() * batch.noise
        with self.accelerator.autocast():
            down, middle = control(
                z,
                batch.times,
                encoder_hidden_states=text,
                controlnet_cond=hint,
                class_labels=self.model.snr_scale * seen.snr_db - self.model.min_snr,
                return_dict=False,
            )
            eps = self.model.unet(
                z,
                batch.times,
                encoder_hidden_states=text,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            ).sample
        return (eps.float() - batch.noise).square().mean()

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the loss over the whole batch, of all processes, gradient norm before
        clipping and learning rate, for the log.
        """
        seed = item_seed(self.scenario.seed, f"step {self.step}", 0, "control channel")
        channel = self.channels[int(np.random.default_rng(seed).choice(len(self.channels), p=self.shares))]
        warm = min(1.0, (self.step + 1) / max(1, self.spec.warmup_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = warm * self.spec.learning_rate
        self.optimizer.zero_grad()
        loss = self.loss(self.wrapped, self._draw(), channel)
        whole = float(self.accelerator.gather(loss.detach()).mean())
        if not np.isfinite(whole):  # in every process alike
            raise TrainingDiverged(self.step, f"the loss is {whole}", _RATE)
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.control.parameters(), self.spec.clip_norm)
        if self.accelerator.scaler is None and not np.isfinite(float(norm)):  # a scaler skips such steps
            raise TrainingDiverged(self.step, f"the norm of the gradient is {float(norm)}", _RATE)
        self.optimizer.step()
        self.step += 1
        self._average()
        return {"loss": whole, "gradient_norm": float(norm), "learning_rate": warm * self.spec.learning_rate}

    def tell_seconds(self, seconds: float) -> None:
        """Time spent so far, by the clock of the first process: all must see the same progress."""
        told = torch.tensor([seconds], dtype=torch.float64, device=self.device)
        self.seconds = float(broadcast(told)) if self.accelerator.num_processes > 1 else seconds

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.spec.ema_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.control.state_dict().items():
            self.ema[key].lerp_(value, 1 - decay)

    # ---------------------------------------------------------------------------------- validation

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss of the averaged weights on the held-out pictures, on the first channel, by SNR; the same times
        and noises every time.
        """
        with averaged(self.control, self.ema):
            return {f"{snr:g}": self._validation_loss(snr) for snr in self.spec.validation_snr_db}

    def _validation_loss(self, snr: float) -> float:
        values = []
        for i, image in enumerate(self.photographs.validation_batches(1)):
            seed = item_seed(self.scenario.seed, f"{i}", 0, "validation")
            rng = np.random.default_rng(seed)
            factor = self.model.latent_factor
            shape = (int(self.model.vae.config.latent_channels), *(s // factor for s in image.shape[2:]))
            batch = _Batch(
                image.to(self.device),
                torch.full((1,), snr, device=self.device),
                [seed],
                torch.tensor([int(rng.integers(0, len(self.levels)))], device=self.device),
                real_normal(shape, seed)[None].to(self.device),
            )
            values.append(float(self.loss(self.control, batch, self.channels[0])))
        return round(float(np.mean(values)), 5) if values else float("nan")

    @torch.no_grad()
    def samples(self, count: int = 4) -> Tensor | None:
        """Held-out originals, initial reconstructions and samples of the averaged weights, one row each."""
        pictures = self.photographs.validation_batches(count)
        if not pictures:
            return None
        image = pictures[0].to(self.device)
        seeds = [item_seed(self.scenario.seed, f"{i}", 0, "samples") for i in range(len(image))]
        snr_db = torch.full((len(image),), self.spec.validation_snr_db[0], device=self.device)
        empty = torch.zeros(0, device=self.device)
        with averaged(self.control, self.ema):
            seen = self._link(_Batch(image, snr_db, seeds, empty, empty), self.channels[0])
            shown = self.receiver(seen.initial, seen.snr_db, seeds, seen.gamma_map)
        rows = [torch.cat(list(part.clamp(0, 1)), dim=2) for part in (image, seen.initial, shown)]
        return torch.cat(rows, dim=1).cpu()

    # ------------------------------------------------------------------------------ state on disk

    def save_state(self) -> None:
        """Write everything that a resumed training needs, in one step; by the first process."""
        if self.accelerator.is_main_process:
            state = {
                "step": self.step,
                "seconds": self.seconds,
                "progress": self.progress(),
                **self.extent.state(),
                "control": self.control.state_dict(),
                "ema": self.ema,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
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
            self.control.load_state_dict(state["control"])
            self.ema = state["ema"]
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            ends = former_ends(self.scenario, self.out, state)
            self.extent = self.extent.resumed(state, ends, self.scenario.block, 0.0)
        log.info("resumed at step %d after %.0f s", self.step, self.seconds)

    def save_model(self) -> Path:
        """Write the model with the averaged weights as a DiffJSCC folder."""
        folder = self.out / MODEL_FOLDER
        if self.accelerator.is_main_process:
            with averaged(self.control, self.ema), whole_folder(folder) as partial:
                self.model.save(partial)
                save_codec(self.codec, partial, {"scenario": self.scenario.name, "steps": self.step})
        return folder


def _check_machine(spec: ControlTrainSpec, accelerator: Accelerator) -> None:
    """ScenarioError for what does not fit device and processes."""
    if spec.precision == "float16" and accelerator.device.type == "cpu":
        expected = "bfloat16 or float32 on a CPU"
        raise ScenarioError(complaint("train_control.precision", "needs a GPU", "float16", expected))
    world = accelerator.num_processes
    if spec.batch_size % world:
        expected = f"a multiple of the {world} processes"
        raise ScenarioError(complaint("train_control.batch_size", "does not fit", spec.batch_size, expected))
