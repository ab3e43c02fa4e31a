"""What a scenario may say of trainings of diffusion models: control modules, latent denoisers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from linksim.kinds.fields import (
    Bool,
    CsitName,
    Int,
    NaturalInt,
    PathName,
    Positive,
    PositiveInt,
    Real,
    Seconds,
    Share,
    SnrsDb,
    Spec,
)
from linksim.kinds.networks import LatentDenoiserSpec
from linksim.scenario.training import (
    OptimizerSpec,
    SnrRangeSpec,
    TrainChannelSpec,
    TrainingScenario,
    channel_as_mixture,
)

__all__ = [
    "ControlStartSpec",
    "ControlTrainScenario",
    "ControlTrainSpec",
    "DenoiserTrainScenario",
    "DenoiserTrainSpec",
]


class ControlStartSpec(Spec):
    """Start of the training of a control module: a DiffJSCC model, or Stable Diffusion and a codec."""

    model: PathName | None = Field(
        None, description="DiffJSCC folder or owner/name: its control module is trained further"
    )
    stable_diffusion: PathName | None = Field(
        None,
        description="folder or owner/name of Stable Diffusion 2.x: a new control module, a copy of its UNet",
    )
    codec: PathName | None = Field(
        None, description="JSCC checkpoint, with stable_diffusion (or in the place of the model's own)"
    )
    gamma_map: Bool = Field(
        False, description="show a new control module the SNR of every position, for fades within a picture"
    )

    @model_validator(mode="after")
    def _one(self) -> ControlStartSpec:
        if (self.model is None) == (self.stable_diffusion is None):
            raise ValueError("got both or none of model and stable_diffusion, expected one of them.")
        if self.stable_diffusion is not None and self.codec is None:
            raise ValueError("codec: missing, expected a JSCC checkpoint beside stable_diffusion.")
        if self.gamma_map and self.model is not None:
            raise ValueError("gamma_map: got true with model, which has its own; expected stable_diffusion.")
        return self


class ControlTrainSpec(Spec):
    """How the control module of DiffJSCC is trained; UNet, autoencoder, text tower and codec are frozen."""

    start: ControlStartSpec = Field(description="the models that the training starts from")
    channels: Annotated[tuple[TrainChannelSpec, ...], Field(min_length=1)] = Field(
        description="mixture of channels"
    )
    snr_db: SnrRangeSpec = Field(description="of every picture, drawn uniformly in dB")
    csit: CsitName = Field("average_snr", description="what the encoder is told of the channel")
    crop: Annotated[Int, Field(ge=64, multiple_of=64)] = Field(512, description="side of the crops [pixels]")
    batch_size: PositiveInt = Field(8, description="pictures per step, over all processes")
    steps: PositiveInt = Field(25_000, description="of the training")
    time_budget_s: Seconds | None = Field(None, description="the training ends in this time")
    learning_rate: Positive = Field(1e-4, description="the highest one")
    weight_decay: Annotated[Real, Field(ge=0)] = Field(0.01, description="decoupled")
    warmup_steps: NaturalInt = Field(0, description="steps in which the learning rate grows")
    clip_norm: Positive = Field(1.0, description="longer gradients are shortened to it")
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.999, description="of the averaged weights, per step"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the networks; auto: bfloat16 where the device is faster in it, else float32"
    )
    gradient_checkpointing: Bool = Field(False, description="less memory, more time")
    validation_images: NaturalInt = Field(8, description="pictures held out of the training")
    validation_snr_db: SnrsDb = Field((1.0, 10.0), description="SNRs of the validation")
    validation_every_steps: PositiveInt = Field(500, description="steps between validations")
    sample_steps: PositiveInt = Field(10, description="of the sample grids in the TensorBoard log")
    caption: PathName = Field("none", description="of the initial reconstruction, as in scheme diffjscc")
    checkpoint_every_s: Seconds = Field(300.0, description="time between checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        return channel_as_mixture(data)


class ControlTrainScenario(TrainingScenario):
    """A training of the control module: pictures in, a DiffJSCC folder out."""

    train_control: ControlTrainSpec = Field(description="what is trained, and how")
    block: ClassVar[str] = "train_control"

    @property
    def recipe(self) -> ControlTrainSpec:
        """The block that says how."""
        return self.train_control


class DenoiserTrainSpec(Spec):
    """How the denoiser of a dial codec's latents is trained; the codec is frozen."""

    codec: PathName = Field(description="checkpoint of the dial codec")
    network: LatentDenoiserSpec = Field(
        LatentDenoiserSpec(kind="latent_denoiser"), description="the denoiser that is trained"
    )
    initial: PathName | None = Field(None, description="checkpoint to start from")
    channels: Annotated[tuple[TrainChannelSpec, ...], Field(min_length=1)] = Field(
        description="mixture of channels"
    )
    snr_db: SnrRangeSpec = Field(description="of every picture, drawn uniformly in dB")
    csit: Literal["none", "average_snr"] = Field(
        "average_snr", description="what the encoder is told of the channel"
    )
    csit_dropout: Share = Field(
        0.0, description="share of the steps in which the transmitter is told nothing"
    )
    rate_weights: tuple[Positive, ...] = Field((), description="how often each rate is sent")
    independent_share: Share = Field(
        0.2, description="share of the pictures whose values have levels drawn without any order"
    )
    optimizer: OptimizerSpec = Field(
        OptimizerSpec(kind="muon", learning_rate=1e-3, clip_norm=1.0),
        description="optimiser and learning rate",
    )
    crop: Annotated[Int, Field(ge=32, multiple_of=16)] = Field(256, description="side of the crops [pixels]")
    scale_low: Annotated[Real, Field(gt=0, le=1)] = Field(
        1.0, description="half of the crops are taken larger and shrunk by a factor between this and 1"
    )
    batch_size: PositiveInt = Field(32, description="crops per step")
    groups: PositiveInt = Field(
        1, description="parts of a batch with a channel, a rate and told CSI of their own"
    )
    steps: PositiveInt | None = Field(None, description="of the training")
    time_budget_s: Seconds | None = Field(None, description="the training ends in this time")
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = Field(
        0.999, description="of the averaged weights, per step"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the network; auto: bfloat16 where the device is faster in it, else float32"
    )
    validation_images: NaturalInt = Field(16, description="pictures held out of the training")
    validation_batch: PositiveInt = Field(8, description="pictures per call of the validation")
    validation_snr_db: SnrsDb = Field((1.0, 10.0), description="SNRs of the validation")
    validation_every_steps: PositiveInt = Field(500, description="steps between validations")
    checkpoint_every_s: Seconds = Field(120.0, description="time between checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        return channel_as_mixture(data)

    @model_validator(mode="after")
    def _end(self) -> DenoiserTrainSpec:
        if self.steps is None and self.time_budget_s is None:
            raise ValueError("got neither steps nor time_budget_s, expected one or both.")
        if self.batch_size % self.groups:
            raise ValueError(f"groups: got {self.groups}, expected a divisor of {self.batch_size}.")
        if self.rate_weights and len(self.rate_weights) != len(self.network.rates):
            got, expected = len(self.rate_weights), len(self.network.rates)
            raise ValueError(f"rate_weights: got {got} numbers, expected {expected}, as network.rates.")
        return self


class DenoiserTrainScenario(TrainingScenario):
    """A training of a latent denoiser: pictures and a codec in, a checkpoint out."""

    train_denoiser: DenoiserTrainSpec = Field(description="what is trained, and how")
    block: ClassVar[str] = "train_denoiser"

    @property
    def recipe(self) -> DenoiserTrainSpec:
        """The block that says how."""
        return self.train_denoiser
