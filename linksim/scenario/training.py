"""What a scenario may say of a training of a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from channels.runtime.moved import names_moved
from linksim.kinds.channels.base import ChannelBase, ToldSpec
from linksim.kinds.fields import (
    Bool,
    CsitName,
    Int,
    Name,
    NaturalInt,
    PathName,
    Positive,
    PositiveInt,
    Real,
    Seconds,
    Share,
    SnrDb,
    SnrsDb,
    Spec,
)
from linksim.kinds.images import PicturesSpec
from linksim.kinds.networks import CodecSpec
from linksim.kinds.union import KindOf

__all__ = [
    "LossSpec",
    "OptimizerSpec",
    "PhaseSpec",
    "RealismSharesSpec",
    "SnrRangeSpec",
    "TrainChannelSpec",
    "TrainScenario",
    "TrainSpec",
    "TrainingScenario",
    "channel_as_mixture",
]


class TrainChannelSpec(Spec):
    """A channel of the training mixture."""

    channel: Annotated[ChannelBase, KindOf("channel")] = Field(description="as in an evaluation")
    weight: Positive = Field(1.0, description="how often it is drawn, in proportion")

    @field_validator("channel")
    @classmethod
    def _no_budget(cls, channel: Any) -> Any:
        if channel.told != ToldSpec():
            cure = "train.told_snr_error_db is for trainings."
            raise ValueError(f"told: has no effect in a training, got some, expected none. {cure}")
        if channel.has_link_budget:
            cure = "train.snr_db gives the SNR."
            raise ValueError(f"link_budget: got one in a training, expected none. {cure}")
        return channel


class SnrRangeSpec(Spec):
    """SNR drawn uniformly in dB for every image."""

    low: SnrDb = Field(description="lowest SNR [dB]")
    high: SnrDb = Field(description="highest SNR [dB]")

    @model_validator(mode="after")
    def _order(self) -> SnrRangeSpec:
        if self.low > self.high:
            raise ValueError(f"got low {self.low:g} dB above high {self.high:g} dB.")
        return self


class LossSpec(Spec):
    """Weights of the loss terms of each image: MSE, ln(MSE) (the mean PSNR: every picture and SNR
    counts alike), 1 - MS-SSIM of values in [0, 1], LPIPS of a named backbone.

    The perceptual terms (LPIPS and what follows it) count as much as the realism that a picture is asked for.
    Wasserstein distortion and critics are balanced: their weight is the length of their gradient at the
    picture against that of LPIPS (of the distortion, without LPIPS).
    """

    mse: Annotated[Real, Field(ge=0)] = Field(1.0, description="weight of the mean squared error")
    log_mse: Annotated[Real, Field(ge=0)] = Field(0.0, description="weight of its logarithm")
    ms_ssim: Annotated[Real, Field(ge=0)] = Field(0.0, description="weight of 1 - MS-SSIM")
    lpips: Annotated[Real, Field(ge=0)] = Field(0.0, description="weight of LPIPS")
    lpips_net: Literal["alex", "vgg", "squeeze"] = Field("vgg", description="backbone of LPIPS")
    wasserstein: Annotated[Real, Field(ge=0)] = Field(0.0, description="of local statistics of features")
    wasserstein_features: tuple[Literal["rgb", "lpips", "lite0"], ...] = Field(
        ("rgb", "lpips"), description="what its statistics are of; lite0 needs linksim-wireless[realism]"
    )
    wasserstein_pool: Annotated[Int, Field(ge=2)] = Field(4, description="side of its windows [positions]")
    patch_gan: Annotated[Real, Field(ge=0)] = Field(0.0, description="critic of patches, told the latent")
    projected_gan: Annotated[Real, Field(ge=0)] = Field(
        0.0, description="critic of EfficientNet-Lite0 features; needs linksim-wireless[realism]"
    )

    @property
    def measures(self) -> list[str]:
        """Names of what a network sees of quality measures through this loss, for ``trained_on``."""
        lpips, lite0 = (name in self.wasserstein_features for name in ("lpips", "lite0"))
        seen = {
            "psnr": self.mse + self.log_mse,
            "ms_ssim": self.ms_ssim,
            f"lpips_{self.lpips_net}": self.lpips + (lpips and self.wasserstein),
            "efficientnet_lite0": self.projected_gan + (lite0 and self.wasserstein),
        }
        return [name for name, weight in seen.items() if weight]

    @property
    def perceptual(self) -> bool:
        """Whether there are terms that count by the realism that a picture is asked for."""
        return self.lpips + self.wasserstein > 0 or self.adversarial

    @property
    def adversarial(self) -> bool:
        """Whether critics are trained."""
        return self.patch_gan > 0 or self.projected_gan > 0

    @model_validator(mode="after")
    def _some(self) -> LossSpec:
        if self.wasserstein and not self.wasserstein_features:
            raise ValueError("wasserstein_features: got none with wasserstein, expected one or more.")
        if self.mse + self.log_mse + self.ms_ssim + self.lpips == 0:
            raise ValueError("mse, log_mse, ms_ssim and lpips are all 0, expected at least one above.")
        return self


class OptimizerSpec(Spec):
    """Optimiser and learning rate: linear warm-up, constant, then linear decay to zero."""

    kind: Literal["adamw", "muon"] = Field(
        "adamw", description="AdamW, or Muon for matrices and AdamW for the rest"
    )
    learning_rate: Positive = Field(5e-4, description="the highest one")
    weight_decay: Annotated[Real, Field(ge=0)] = Field(0.01, description="decoupled")
    warmup_steps: NaturalInt = Field(100, description="steps in which the learning rate grows")
    decay_share: Share = Field(0.4, description="share of the training over which the rate falls to zero")
    clip_norm: Positive = Field(0.1, description="longer gradients are shortened to it")


class RealismSharesSpec(Spec):
    """How often a picture of the training is asked for fidelity (0), for realism (1), or for something drawn
    uniformly between the two; of codecs that have the dial.
    """

    fidelity: Share = Field(0.5, description="share of pictures asked for realism 0")
    between: Share = Field(0.0, description="share asked for something between")
    full: Share = Field(0.5, description="share asked for realism 1")

    @model_validator(mode="after")
    def _whole(self) -> RealismSharesSpec:
        total = self.fidelity + self.between + self.full
        if abs(total - 1) > 1e-6:
            raise ValueError(f"got shares that add up to {total:g}, expected 1.")
        return self


class PhaseSpec(Spec):
    """A part of a training with losses of its own."""

    name: Name = Field(description="of the phase, in the log")
    share: Annotated[Real, Field(gt=0, le=1)] = Field(description="of the whole training, by time or steps")
    loss: LossSpec = Field(LossSpec(), description="weights of the terms of the loss")
    optimizer: OptimizerSpec = Field(OptimizerSpec(), description="optimiser and learning rate")
    batch_size: PositiveInt = Field(8, description="crops per step")
    crop: Annotated[Int, Field(ge=32, multiple_of=16)] = Field(256, description="side of the crops [pixels]")
    frozen: Literal["none", "encoder"] = Field("none", description="what is not trained in this phase")
    realism: RealismSharesSpec = Field(
        RealismSharesSpec(), description="how often which realism is asked for"
    )
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.999, description="of the averaged weights, per step"
    )
    critic_rate: Positive = Field(4e-4, description="learning rate of the critics")
    critic_width: PositiveInt = Field(64, description="channels of the first layer of the patch critic")
    critic_start: Share = Field(0.0, description="share of the phase before the critics are trained")
    critic_delay: Share = Field(0.05, description="share of the phase from there until they are listened to")

    @model_validator(mode="after")
    def _critics_that_are_heard(self) -> PhaseSpec:
        begin = self.critic_start + self.critic_delay
        if self.loss.adversarial and begin >= 1:
            got = f"critic_start + critic_delay = {begin:g}"
            raise ValueError(f"critics are never listened to, got {got}, expected less than 1.")
        return self


class TrainSpec(Spec):
    """How a codec is trained."""

    codec: CodecSpec = Field(description="the network that is trained")
    initial: PathName | None = Field(None, description="checkpoint to start from")
    channels: Annotated[tuple[TrainChannelSpec, ...], Field(min_length=1)] = Field(
        description="mixture of channels"
    )
    snr_db: SnrRangeSpec = Field(description="range that SNRs are drawn from")
    csit: CsitName = Field("average_snr", description="what the encoder is told of the channel")
    csit_dropout: Share = Field(
        0.0, description="share of the steps in which the transmitter is told nothing"
    )
    loss: LossSpec = Field(LossSpec(), description="weights of the terms of the loss")
    optimizer: OptimizerSpec = Field(OptimizerSpec(), description="optimiser and learning rate")
    crop: Annotated[Int, Field(ge=32, multiple_of=16)] = Field(256, description="side of the crops [pixels]")
    scale_low: Annotated[Real, Field(gt=0, le=1)] = Field(
        1.0, description="half of the crops are taken larger and shrunk by a factor between this and 1"
    )
    batch_size: PositiveInt = Field(8, description="crops per step")
    steps: PositiveInt | None = Field(None, description="optimiser steps of the whole training")
    time_budget_s: Seconds | None = Field(
        None, description="the training ends in this time, reading of pictures and validation included"
    )
    phases: tuple[PhaseSpec, ...] = Field(
        (), description="instead of loss, optimizer, batch_size, crop and ema_decay: parts one after another"
    )
    groups: PositiveInt = Field(
        1, description="parts of a batch with a channel, a rate and told CSI of their own"
    )
    rate_weights: tuple[Positive, ...] = Field((), description="how often each rate of a dial codec is sent")
    told_snr_error_db: Annotated[Real, Field(ge=0, le=20)] = Field(
        0.0, description="standard deviation of what either end is told of the SNR"
    )
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.999, description="of the averaged weights, per step; 0: none"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the networks; auto: bfloat16 where the device is faster in it, else float32"
    )
    compile: Bool = Field(False, description="torch.compile both networks: minutes of start, faster steps")
    validation_images: NaturalInt = Field(32, description="pictures held out of the training")
    validation_batch: PositiveInt = Field(8, description="pictures per call of the validation")
    validation_snr_db: SnrsDb = Field((1.0, 10.0), description="SNRs of the validation [dB]")
    validation_every_steps: PositiveInt = Field(500, description="steps between validations")
    checkpoint_every_s: Seconds = Field(120.0, description="time between checkpoints [s]")

    @property
    def plan(self) -> tuple[PhaseSpec, ...]:
        """The phases, or the one that the plain fields describe."""
        if self.phases:
            return self.phases
        return (
            PhaseSpec(
                name="training",
                share=1.0,
                loss=self.loss,
                optimizer=self.optimizer,
                batch_size=self.batch_size,
                crop=self.crop,
                ema_decay=self.ema_decay,
            ),
        )

    @model_validator(mode="after")
    def _end(self) -> TrainSpec:
        if self.steps is None and self.time_budget_s is None:
            raise ValueError("got neither steps nor time_budget_s, expected one or both.")
        return self

    @model_validator(mode="after")
    def _gain_for_those_who_use_it(self) -> TrainSpec:
        if self.csit == "perfect" and getattr(self.codec, "csi", "snr") != "snr_h":
            got = f"got perfect for a codec {self.codec.kind} that makes nothing of the gain"
            raise ValueError(f"csit: {got}, expected none, average_snr or instantaneous_snr.")
        return self

    @model_validator(mode="after")
    def _phases_alone(self) -> TrainSpec:
        for name in ("loss", "optimizer", "batch_size", "crop", "ema_decay") if self.phases else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: got one beside phases, expected it within each phase.")
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"phases: got the names {names}, expected different ones.")
        if self.phases and abs(sum(p.share for p in self.phases) - 1) > 1e-6:
            got = sum(p.share for p in self.phases)
            raise ValueError(f"phases: got shares that add up to {got:g}, expected 1.")
        for phase in self.plan:
            if phase.batch_size % self.groups:
                raise ValueError(f"groups: got {self.groups}, expected a divisor of {phase.batch_size}.")
        return self

    @model_validator(mode="after")
    def _dials(self) -> TrainSpec:
        rates = self.codec.dialled_rates
        sent: tuple[int, ...] = getattr(self.codec, "rates", ())
        if not rates and len(sent) > 1:
            several = f"{len(sent)} rates of {self.codec.kind}, which is trained at one"
            raise ValueError(f"codec.rates: got {several}, expected one, such as [{sent[-1]}].")
        if self.rate_weights and not rates:
            raise ValueError(f"rate_weights: got some for a codec {self.codec.kind}, expected none.")
        if self.rate_weights and len(self.rate_weights) != len(rates):
            got, expected = len(self.rate_weights), len(rates)
            raise ValueError(f"rate_weights: got {got} numbers, expected {expected}, as codec.rates.")
        if not rates and any(phase.loss.patch_gan or phase.frozen != "none" for phase in self.plan):
            raise ValueError(f"phases: patch_gan and frozen fit codec dial only, got {self.codec.kind}.")
        if not rates and any(phase.realism != RealismSharesSpec() for phase in self.plan):
            raise ValueError(f"phases: realism fits codec dial only, got {self.codec.kind}.")
        for phase in self.plan if rates else ():
            if phase.loss.perceptual and phase.realism.fidelity == 1:
                said = "got realism.fidelity = 1 with perceptual losses, which no picture would count"
                raise ValueError(f"phases: {phase.name}: {said}, expected less, or their weights 0.")
        return self

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        return channel_as_mixture(data)


def channel_as_mixture(data: Any) -> Any:
    """``channel: X`` means ``channels: [{channel: X}]``."""
    if isinstance(data, dict) and "channel" in data and "channels" not in data:
        data = {**data, "channels": [{"channel": data["channel"]}]}
        del data["channel"]
    return data


class TrainingScenario(Spec):
    """What all trainings have; a kind of training adds the block that says how."""

    block: ClassVar[str]

    schema_version: Literal[1] = Field(1, description="of this file format")
    name: Name = Field(description="of the run folder")
    question: str = Field("", description="the question that this file answers, for linksim list scenarios")
    seed: NaturalInt = Field(0, description="of weights, crops, noise and fading")
    images: PicturesSpec = Field(description="pictures to train on, in files")


class TrainScenario(TrainingScenario):
    """A training: pictures in, a checkpoint out."""

    train: TrainSpec = Field(description="how the codec is trained")
    block: ClassVar[str] = "train"

    @property
    def recipe(self) -> TrainSpec:
        """The block that says how."""
        return self.train


_MOVED = (
    "ControlStartSpec",
    "ControlTrainScenario",
    "ControlTrainSpec",
    "DenoiserTrainScenario",
    "DenoiserTrainSpec",
)
if not TYPE_CHECKING:  # a checker would take it for any name
    __getattr__ = names_moved(__name__, dict.fromkeys(_MOVED, "linksim.scenario.training_diffusion"))
