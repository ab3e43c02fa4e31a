"""What scenarios and checkpoints say of a JSCC network. Imports only pydantic and linksim.specs.fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from linksim.specs.fields import Bool, Int, NaturalInt, Positive, PositiveInt, Spec

__all__ = [
    "CnnYang2024Spec",
    "CodecSpec",
    "DialCodecSpec",
    "LatentDenoiserSpec",
    "LeanCodecSpec",
    "NetworkSpec",
    "SwinYang2024Spec",
]


class LeanCodecSpec(Spec):
    """The lean network (linksim.jscc.lean)."""

    kind: Literal["lean"]
    latent_channels: Annotated[Int, Field(ge=2, multiple_of=2)] = 16
    width_8: PositiveInt = 128
    width_16: PositiveInt = 256
    encoder_blocks: tuple[NaturalInt, NaturalInt] = (1, 3)
    decoder_blocks: tuple[NaturalInt, NaturalInt] = (2, 5)
    embedding: PositiveInt = 64
    klt_start: Bool = Field(True, description="start the linear path from the block KLT of the training set")


class DialCodecSpec(Spec):
    """The network with dials for rate, SNR and realism (linksim.jscc.dial)."""

    kind: Literal["dial"]
    rates: Annotated[tuple[Annotated[Int, Field(ge=2, multiple_of=2)], ...], Field(min_length=1)] = Field(
        (4, 8, 16, 32, 64), description="latent channels that may be sent; CBR = channels / 1536"
    )
    width_4: PositiveInt = 64
    width_8: PositiveInt = 128
    width_16: PositiveInt = 256
    encoder_blocks: tuple[NaturalInt, NaturalInt] = (1, 4)
    decoder_blocks: tuple[NaturalInt, NaturalInt, NaturalInt] = (2, 3, 7)
    embedding: PositiveInt = 64
    klt_start: Bool = Field(True, description="start the linear path from the block KLT of the training set")

    @field_validator("rates")
    @classmethod
    def _rising(cls, rates: tuple[int, ...]) -> tuple[int, ...]:
        if list(rates) != sorted(set(rates)):
            raise ValueError(f"got {list(rates)}, expected numbers that rise.")
        return rates

    @property
    def latent_channels(self) -> int:
        """Channels of the whole latent map."""
        return self.rates[-1]


class LatentDenoiserSpec(Spec):
    """The denoiser of the latents of a dial codec (linksim.jscc.latent_denoiser)."""

    kind: Literal["latent_denoiser"]
    rates: Annotated[tuple[Annotated[Int, Field(ge=2, multiple_of=2)], ...], Field(min_length=1)] = Field(
        (4, 8, 16, 32, 64), description="of the codec"
    )
    width: PositiveInt = 256
    blocks: NaturalInt = 8
    embedding: PositiveInt = 64


class CnnYang2024Spec(Spec):
    """The CNN of DiffJSCC (linksim.jscc.cnn_yang2024)."""

    kind: Literal["cnn_yang2024"]
    latent_channels: Annotated[Int, Field(ge=2, multiple_of=2)] = 16
    width: PositiveInt = 64
    max_width: PositiveInt = 512
    max_decoder_width: PositiveInt = 512
    blocks: NaturalInt = 2
    decoder_blocks: NaturalInt = 2
    csi: Literal["snr", "snr_h"] = "snr"


Stages = tuple[PositiveInt, ...]


class SwinYang2024Spec(Spec):
    """The Swin transformer of DiffJSCC (linksim.jscc.swin_yang2024); empty decoder sizes mirror
    the encoder.
    """

    kind: Literal["swin_yang2024"]
    latent_channels: Annotated[Int, Field(ge=2, multiple_of=2)] = 16
    widths: Annotated[Stages, Field(min_length=1)] = (128, 192, 256, 320)
    depths: Stages = (2, 2, 2, 2)
    heads: Stages = (4, 6, 8, 10)
    decoder_widths: Stages = ()
    decoder_depths: Stages = ()
    decoder_heads: Stages = ()
    window: Annotated[Int, Field(ge=2, multiple_of=2)] = 8
    mlp_ratio: Positive = 4.0
    image_size: tuple[PositiveInt, PositiveInt] = (256, 256)

    @model_validator(mode="after")
    def _stages_agree(self) -> SwinYang2024Spec:
        levels = len(self.widths)
        for name in ("depths", "heads", "decoder_widths", "decoder_depths", "decoder_heads"):
            got = len(getattr(self, name))
            if got != levels and not (name.startswith("decoder") and got == 0):
                raise ValueError(f"{name}: got {got} stages, expected {levels}, as in widths.")
        pairs = (("widths", "heads"), ("decoder_widths", "decoder_heads"))
        for widths, heads in pairs:
            for width, head in zip(getattr(self, widths), getattr(self, heads), strict=False):
                if width % head:
                    raise ValueError(f"{widths}: got {width} channels for {head} heads, expected a multiple.")
        return self


CodecSpec = Annotated[
    LeanCodecSpec | DialCodecSpec | CnnYang2024Spec | SwinYang2024Spec, Field(discriminator="kind")
]
NetworkSpec = Annotated[
    LeanCodecSpec | DialCodecSpec | LatentDenoiserSpec | CnnYang2024Spec | SwinYang2024Spec,
    Field(discriminator="kind"),
]
