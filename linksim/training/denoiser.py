"""Training of the denoiser of latents: the codec is frozen, the levels are those that channels leave."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.seeding import item_seed
from channels.types import Csit
from linksim.build.channels import recordings, training_channels
from linksim.build.checkpoints import save_checkpoint, weights_digest
from linksim.build.objects import build_images, load_denoiser
from linksim.diffusion.latent_sampler import noised, reliability_of
from linksim.jscc.latent_denoiser import fit_deviation, sent_scale
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.scenario.files import scenario_hash
from linksim.scenario.schema import DenoiserTrainScenario
from linksim.schemes.latent_diffusion import LatentDiffusionOptions, LatentDiffusionScheme
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
from linksim.training.loop import Report, Validation, averaged, of_pictures, prepare_machine, run_sitting
from linksim.training.muon import make_optimizers
from linksim.training.phases import rate_factor
from linksim.training.recipe import check_denoiser_recipe, dial_codec
from linksim.weights.precision import resolve_precision

__all__ = ["DenoiserSummary", "DenoiserTrainer", "check_denoiser_recipe", "train_denoiser"]

MODEL_FILE = "model.safetensors"
_FITTED = 64  # pictures from which the deviations of the latents are taken
_LOG_SNR = (-6.0, 7.0)  # of levels, log r/(1 - r)
_AS_RECEIVED = 0.15  # share of the pictures at the levels of the channel, where every sampling begins
_RATE = "train_denoiser.optimizer.learning_rate"


@dataclass(frozen=True)
class DenoiserSummary:
    """Result of a training.

    Args:
        checkpoint: the averaged weights.
        steps: optimiser steps done.
        seconds: time spent, over all sittings.
        validation: measures on the held-out pictures by point.
        measured_on: which pictures these are of; empty: all that are held out.
    """

    checkpoint: Path
    steps: int
    seconds: float
    validation: Validation
    measured_on: str = ""


@dataclass(frozen=True)
class _Batch:
    """Clean values v/s [b, c, h, w], their levels, and what was told."""

    clean: Tensor
    reliability: Tensor
    csit: Csit | None
    rate: int


class DenoiserTrainer:
    """State and steps of one training; see :func:`train_denoiser`."""

    def __init__(
        self,
        scenario: DenoiserTrainScenario,
        out: Path,
        device: torch.device,
        pictures_bytes: int | None = None,
    ) -> None:
        self.scenario, self.spec, self.out, self.device = scenario, scenario.train_denoiser, out, device
        dtype = resolve_precision(self.spec.precision, device)
        self._cast = partial(torch.autocast, device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
        images = build_images(scenario.images)
        self.listed = survey(images)
        check_pictures(out, self.listed)
        codec = dial_codec(self.spec.codec)
        self.inputs = {**recordings(scenario), "train_denoiser.codec": weights_digest(codec)}
        check_inputs(out, self.inputs)
        self.codec = codec.to(device).to(memory_format=torch.channels_last)
        self.photographs = Photographs(
            images,
            seed=scenario.seed,
            crop=self.spec.crop,
            held_out=self.spec.validation_images,
            scale_low=self.spec.scale_low,
            block="train_denoiser",
            device=device,
            listed=self.listed,
            memory_bytes=pictures_bytes,
        )
        self.inputs[HELD_OUT] = self.photographs.held_out_digest
        check_inputs(out, self.inputs)
        torch.manual_seed(item_seed(scenario.seed, "weights", 0, "train") % 2**31)
        resumed = (out / STATE_FILE).is_file()
        network: Any
        if self.spec.initial is not None and not resumed:
            network = load_denoiser(self.spec.initial).network.requires_grad_(True)
        else:
            network = self.spec.network.build()
        self.network = network.to(device).to(memory_format=torch.channels_last).train()
        self.optimizers = make_optimizers(self.spec.optimizer, self.network)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        uses = self.codec.num_symbols(self.spec.crop, self.spec.crop)
        self.channels = training_channels(self.spec.channels, device, uses)
        weights = np.array([c.weight for c in self.spec.channels])
        self.channel_shares = weights / weights.sum()
        self.step, self.seconds, self.closing_s = 0, 0.0, 0.0
        self.extent = Extent(self.spec.steps, self.spec.time_budget_s)
        self.validation_limit: int | None = None
        if not resumed:
            self._fit_deviations()
        self.ema = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    # ------------------------------------------------------------------------------- latents

    @torch.no_grad()
    def _latent(self, image: Tensor, csit: Csit | None, rate: int) -> Tensor:
        """All channels of the latents of pictures, those that are sent of unit power."""
        with self._cast():
            z = self.codec.latent(image.contiguous(memory_format=torch.channels_last), csit, rate)
        return z / sent_scale(z, self.codec.config.rates[rate])

    def _fit_deviations(self) -> None:
        rng = np.random.default_rng(item_seed(self.scenario.seed, "deviations", 0, "train"))
        batches = [self.photographs.batch(rng, 16) for _ in range(_FITTED // 16)]
        snr_db = torch.full((16,), (self.spec.snr_db.low + self.spec.snr_db.high) / 2, device=self.device)
        for rate in range(len(self.codec.config.rates)):
            fit_deviation(self.network, rate, [self._latent(x, Csit(snr_db), rate) for x in batches])

    def batch(self, image: Tensor, rng: np.random.Generator) -> _Batch:
        """What the denoiser is to learn from pictures that share channel, rate and told CSI."""
        spec, size = self.spec, len(image)
        rates = self.codec.config.rates
        weights = np.array(spec.rate_weights or [1.0] * len(rates))
        rate = int(rng.choice(len(rates), p=weights / weights.sum()))
        snr_db = torch.from_numpy(rng.uniform(spec.snr_db.low, spec.snr_db.high, size)).float()
        snr_db = snr_db.to(self.device)
        seeds = [int(s) for s in rng.integers(0, 2**62, size)]
        channel = self.channels[int(rng.choice(len(self.channels), p=self.channel_shares))]
        told = spec.csit == "average_snr" and rng.random() >= spec.csit_dropout
        csit = Csit(self.codec.told(snr_db)) if told else None
        latent = self._latent(image, csit, rate)
        received = self._received_levels(latent, channel, snr_db, seeds, rate)
        clean = latent / self.network.deviation[rate][:, None, None]
        return _Batch(clean, self.levels(received, rng), csit, rate)

    @torch.no_grad()
    def _received_levels(
        self, latent: Tensor, channel: ChannelOperator, snr_db: Tensor, seeds: list[int], rate: int
    ) -> Tensor:
        """Reliability of every value after a channel, 0 of those that are not sent."""
        rows, cols = latent.shape[2:]
        budget = self.codec.num_symbols_at(rate, rows * self.codec.block, cols * self.codec.block)
        layout = self.codec.layout(rows * self.codec.block, cols * self.codec.block, budget)
        received = channel(layout.to_symbols(latent[:, : layout.channels]), snr_db, seeds)
        _, no_eff = equalize(received, "zf")
        pairs = layout.to_pair_map(no_eff / 2)
        sent = torch.cat([pairs, pairs], dim=1)
        level = torch.zeros_like(latent)
        level[:, : layout.channels] = reliability_of(self.network.variance(rate)[: layout.channels], sent)
        return level

    def levels(self, received: Tensor, rng: np.random.Generator) -> Tensor:
        """Levels on the way from the channel's to certainty; for a share of the pictures in no order."""
        size, channels = received.shape[:2]
        low, high = _LOG_SNR
        common = torch.from_numpy(rng.uniform(low, high, (size, 1, 1, 1))).float()
        free = torch.from_numpy(rng.uniform(low, high, (size, channels, 1, 1))).float()
        disorder = torch.from_numpy(rng.random((size, 1, 1, 1)) < self.spec.independent_share)
        arrived = torch.from_numpy(rng.random((size, 1, 1, 1)) < _AS_RECEIVED)
        common, free, disorder, arrived = (x.to(received.device) for x in (common, free, disorder, arrived))
        risen = torch.maximum(received, torch.sigmoid(common))
        risen = torch.where(arrived, received, risen)
        return torch.where(disorder, torch.sigmoid(free).expand_as(received), risen)

    # ---------------------------------------------------------------------------------- steps

    def whereabouts(self) -> str:
        """Step, for a line of progress."""
        return f"step {self.step}" + ("" if self.spec.steps is None else f" of {self.spec.steps}")

    @property
    def time_budget_s(self) -> float | None:
        """See :class:`linksim.training.loop.Trainable`."""
        return self.spec.time_budget_s

    def progress(self) -> float:
        """Share of the training that is done, by steps or by time, whichever is further."""
        return self.extent.progress(self.step, self.seconds, self.closing_s)

    def loss(self, batch: _Batch, noise: Tensor) -> Tensor:
        """Squared error of the network's part, mean over values: that of v̂ in units of 1 - r."""
        state = noised(batch.clean, batch.reliability, noise)
        with self._cast():
            estimate = self.network(state, batch.reliability, batch.csit, batch.rate)
        error = (estimate.float() - batch.clean).square()
        return (error / (1 - batch.reliability).clamp_min(1e-3)).mean()

    def _generators(self, step: int) -> tuple[np.random.Generator, torch.Generator]:
        """All that is drawn in a step comes from them."""
        rng = np.random.default_rng(item_seed(self.scenario.seed, f"step {step}", 0, "train"))
        return rng, torch.Generator().manual_seed(int(rng.integers(0, 2**62)))

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns its loss, gradient norm and learning rate."""
        rng, gen = self._generators(self.step)
        factor = rate_factor(self.spec.optimizer, self.step, self.progress())
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad()
        image = self.photographs.batch(rng, self.spec.batch_size)
        self.photographs.expect(self._generators(self.step + 1)[0], self.spec.batch_size)
        total = 0.0
        for part in image.chunk(self.spec.groups):
            batch = self.batch(part, rng)
            noise = torch.empty_like(batch.clean, device="cpu").normal_(generator=gen).to(self.device)
            loss = self.loss(batch, noise) / self.spec.groups
            loss.backward()
            total += float(loss.detach())
        if not np.isfinite(total):
            raise TrainingDiverged(self.step, f"the loss is {total}", _RATE)
        clipped = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.spec.optimizer.clip_norm)
        norm = float(clipped)
        if not np.isfinite(norm):
            raise TrainingDiverged(self.step, f"the norm of the gradient is {norm}", _RATE)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self._average()
        return {
            "loss": total,
            "gradient_norm": norm,
            "learning_rate": self.base_rates[0][0] * factor,
        }

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.spec.ema_decay, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            self.ema[key].lerp_(value, 1 - decay)

    @torch.no_grad()
    def validate(self, writer: Any = None) -> Validation:
        """Loss, and PSNR [dB] of four steps against the decoder alone at realism 1, of the averaged weights
        on the held-out pictures, by rate and SNR.
        """
        self.network.eval()
        result: Validation = {}
        rates = self.codec.config.rates
        batches = self.photographs.validation_batches(self.spec.validation_batch, self.validation_limit)
        with averaged(self.network, self.ema):
            for rate in sorted({0, len(rates) // 2}):
                for snr in self.spec.validation_snr_db:
                    found = self._measured(rate, snr, batches, writer)
                    result[f"C{rates[rate]} {snr:g} dB"] = found
        self.network.train()
        return result

    def _measured(self, rate: int, snr: float, batches: list[Tensor], writer: Any) -> dict[str, float]:
        options = LatentDiffusionOptions()
        scheme = LatentDiffusionScheme("validation", self.codec, self.network, options, self.spec.csit)
        losses, values = [], []
        for i, image in enumerate(batches):
            seeds = [item_seed(self.scenario.seed, f"{i} {j}", 0, "validation") for j in range(len(image))]
            snr_db = torch.full((len(image),), snr, device=self.device)
            csit = Csit(self.codec.told(snr_db)) if self.spec.csit == "average_snr" else None
            latent = self._latent(image, csit, rate)
            levels = self._received_levels(latent, self.channels[0], snr_db, seeds, rate)
            batch = _Batch(latent / self.network.deviation[rate][:, None, None], levels, csit, rate)
            gen = torch.Generator().manual_seed(seeds[0])
            noise = torch.empty_like(latent, device="cpu").normal_(generator=gen).to(self.device)
            losses.append(float(self.loss(batch, noise)))
            with self._cast():
                budget = self.codec.num_symbols_at(rate, *image.shape[2:])
                out = run_link(scheme, self.channels[0], image, snr_db, seeds, budget)
            shown = out.reconstruction.image.clamp(0, 1)
            values.append(psnr(shown, image))
            if writer is not None and i == 0:
                pair = torch.cat([image[:4], shown[:4]])
                writer.add_images(f"held out/C{self.codec.config.rates[rate]} {snr:g} dB", pair, self.step)
        return {"loss": float(np.mean(losses)), "psnr_db": round(float(torch.cat(values).mean()), 4)}

    # -------------------------------------------------------------------------- state on disk

    def save_state(self) -> None:
        """Write everything that a resumed training needs, in one step."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "progress": self.progress(),
            **self.extent.state(),
            "model": self.network.state_dict(),
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
        with read_as_state(self.out):
            self.network.load_state_dict(state["model"])
            self.ema = state["ema"]
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            ends = former_ends(self.scenario, self.out, state)
            self.extent = self.extent.resumed(state, ends, self.scenario.block, 0.0)

    def save_model(self, validation: Validation) -> Path:
        """Write the averaged weights as a checkpoint."""
        path = self.out / MODEL_FILE
        recipe: dict[str, object] = {
            "scenario": self.scenario.model_dump(mode="json"),
            "scenario_hash": scenario_hash(self.scenario),
            "encoder_digest": weights_digest(self.codec.encoder),
            "steps": self.step,
            "seconds": round(self.seconds),
            "training_pictures": len(self.photographs.training),
            "validation": validation,
            "trained_on": [],
            "torch": torch.__version__,
        }
        save_checkpoint(path, self.spec.network, self.ema, recipe, torch.float32)
        return path


def train_denoiser(
    scenario: DenoiserTrainScenario,
    out: Path,
    device: torch.device,
    report: Report = lambda line: None,
    pictures_bytes: int | None = None,
) -> DenoiserSummary:
    """Train a denoiser, or go on with a training in the same folder.

    Args:
        scenario: recipe; steps and time_budget_s may change as in :func:`linksim.training.codec.train`.
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
        check_denoiser_recipe(scenario)
        prepare_machine()
        trainer = DenoiserTrainer(scenario, out, device, pictures_bytes)
        validation = run_sitting(trainer, report, started)
        path = trainer.save_model(validation)
    measured_on = of_pictures(trainer.validation_limit)
    return DenoiserSummary(path, trainer.step, trainer.seconds, validation, measured_on)
