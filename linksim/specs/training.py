"""What a scenario may say of a training. Imports only pydantic and linksim.specs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator, model_validator

from linksim.specs.channel import ChannelSpec, OfdmSpec
from linksim.specs.codec import CodecSpec
from linksim.specs.fields import (
    Bool,
    CsitName,
    Int,
    Name,
    NaturalInt,
    Positive,
    PositiveInt,
    Real,
    Seconds,
    Share,
    SnrDb,
    Spec,
)
from linksim.specs.images import ImagesSpec

__all__ = [
    "ControlStartSpec",
    "ControlTrainScenario",
    "ControlTrainSpec",
    "LossSpec",
    "OptimizerSpec",
    "SnrRangeSpec",
    "TrainChannelSpec",
    "TrainScenario",
    "TrainSpec",
]


class TrainChannelSpec(Spec):
    """A channel of the training mixture."""

    channel: ChannelSpec
    weight: Positive = 1.0

    @field_validator("channel")
    @classmethod
    def _no_budget(cls, channel: Any) -> Any:
        if isinstance(channel, OfdmSpec) and channel.link_budget is not None:
            cure = "train.snr_db gives the SNR."
            raise ValueError(f"link_budget: got one in a training, expected none. {cure}")
        return channel


class SnrRangeSpec(Spec):
    """SNR drawn uniformly in dB for every image."""

    low: SnrDb
    high: SnrDb

    @model_validator(mode="after")
    def _order(self) -> SnrRangeSpec:
        if self.low > self.high:
            raise ValueError(f"got low {self.low:g} dB above high {self.high:g} dB.")
        return self


class LossSpec(Spec):
    """Weights of the loss terms of each image: MSE, ln(MSE) (the mean PSNR: every picture and SNR
    counts alike), 1 - MS-SSIM of values in [0, 1], LPIPS of a named backbone.
    """

    mse: Annotated[Real, Field(ge=0)] = 1.0
    log_mse: Annotated[Real, Field(ge=0)] = 0.0
    ms_ssim: Annotated[Real, Field(ge=0)] = 0.0
    lpips: Annotated[Real, Field(ge=0)] = 0.0
    lpips_net: Literal["alex", "vgg", "squeeze"] = "vgg"

    @model_validator(mode="after")
    def _some(self) -> LossSpec:
        if self.mse + self.log_mse + self.ms_ssim + self.lpips == 0:
            raise ValueError("all weights are 0, expected at least one above.")
        return self


class OptimizerSpec(Spec):
    """Optimiser and learning rate: linear warm-up, constant, then linear decay to zero."""

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: Positive = 5e-4
    weight_decay: Annotated[Real, Field(ge=0)] = 0.01
    warmup_steps: NaturalInt = 100
    decay_share: Share = Field(0.4, description="share of the training over which the rate falls to zero")
    clip_norm: Positive = 0.1


class TrainSpec(Spec):
    """How a codec is trained."""

    codec: CodecSpec
    initial: Annotated[str, Strict()] | None = Field(None, description="checkpoint to start from")
    channels: Annotated[tuple[TrainChannelSpec, ...], Field(min_length=1)]
    snr_db: SnrRangeSpec
    csit: CsitName = "average_snr"
    csit_dropout: Share = Field(
        0.0, description="share of the steps in which the transmitter is told nothing"
    )
    loss: LossSpec = LossSpec()
    optimizer: OptimizerSpec = OptimizerSpec()
    crop: Annotated[Int, Field(ge=32, multiple_of=16)] = 256
    scale_low: Annotated[Real, Field(gt=0, le=1)] = Field(
        1.0, description="half of the crops are taken larger and shrunk by a factor between this and 1"
    )
    batch_size: PositiveInt = 8
    steps: PositiveInt = Field(description="optimiser steps of the whole training")
    time_budget_s: Seconds | None = Field(
        None, description="stop (and decay) earlier when this time is used up"
    )
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    validation_images: NaturalInt = Field(32, description="pictures held out of the training")
    validation_snr_db: tuple[SnrDb, ...] = (1.0, 10.0)
    validation_every_steps: PositiveInt = 500
    checkpoint_every_s: Seconds = 120.0

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        return _channel_as_mixture(data)


class ControlStartSpec(Spec):
    """Start of the training of a control module: a DiffJSCC model, or Stable Diffusion and a codec."""

    model: Annotated[str, Strict()] | None = Field(
        None, description="DiffJSCC folder or owner/name: its control module is trained further"
    )
    stable_diffusion: Annotated[str, Strict()] | None = Field(
        None,
        description="folder or owner/name of Stable Diffusion 2.x: a new control module, a copy of its UNet",
    )
    codec: Annotated[str, Strict()] | None = Field(
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

    start: ControlStartSpec
    channels: Annotated[tuple[TrainChannelSpec, ...], Field(min_length=1)]
    snr_db: SnrRangeSpec
    csit: CsitName = "average_snr"
    crop: Annotated[Int, Field(ge=64, multiple_of=64)] = 512
    batch_size: PositiveInt = Field(8, description="pictures per step, over all processes")
    steps: PositiveInt = 25_000
    time_budget_s: Seconds | None = None
    learning_rate: Positive = 1e-4
    weight_decay: Annotated[Real, Field(ge=0)] = 0.01
    warmup_steps: NaturalInt = 0
    clip_norm: Positive = 1.0
    ema_decay: Annotated[Real, Field(ge=0, lt=1)] = 0.999
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: Bool = False
    validation_images: NaturalInt = 8
    validation_snr_db: tuple[SnrDb, ...] = (1.0, 10.0)
    validation_every_steps: PositiveInt = 500
    sample_steps: PositiveInt = Field(10, description="of the sample grids in the TensorBoard log")
    caption: Annotated[str, Strict()] = Field(
        "none", description="of the initial reconstruction, as in scheme diffjscc"
    )
    checkpoint_every_s: Seconds = 300.0

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        return _channel_as_mixture(data)


def _channel_as_mixture(data: Any) -> Any:
    """``channel: X`` means ``channels: [{channel: X}]``."""
    if isinstance(data, dict) and "channel" in data and "channels" not in data:
        data = {**data, "channels": [{"channel": data["channel"]}]}
        del data["channel"]
    return data


class ControlTrainScenario(Spec):
    """A training of the control module: pictures in, a DiffJSCC folder out."""

    schema_version: Literal[1] = 1
    name: Name
    question: str = ""
    seed: NaturalInt = 0
    images: ImagesSpec
    train_control: ControlTrainSpec


class TrainScenario(Spec):
    """A training: pictures in, a checkpoint out."""

    schema_version: Literal[1] = 1
    name: Name
    question: str = ""
    seed: NaturalInt = 0
    images: ImagesSpec
    train: TrainSpec
