"""What scenarios and checkpoints say of a JSCC network. Imports only pydantic and linksim.specs.fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from linksim.specs.fields import Bool, Int, Real, Spec

__all__ = [
    "CnnYang2024Spec",
    "CodecSpec",
    "DialCodecSpec",
    "LatentDenoiserSpec",
    "LeanCodecSpec",
    "NetworkSpec",
    "SwinYang2024Spec",
]


# Far beyond any network that was trained; a header of a checkpoint cannot ask for hours of work.
Width = Annotated[Int, Field(ge=1, le=4096)]
Blocks = Annotated[Int, Field(ge=0, le=64)]
Side = Annotated[Int, Field(ge=1, le=65536)]
Latent = Annotated[Int, Field(ge=2, le=4096, multiple_of=2)]


class LeanCodecSpec(Spec):
    """The lean network (linksim.jscc.lean)."""

    kind: Literal["lean"]
    latent_channels: Latent = 16
    width_8: Width = 128
    width_16: Width = 256
    encoder_blocks: tuple[Blocks, Blocks] = (1, 3)
    decoder_blocks: tuple[Blocks, Blocks] = (2, 5)
    embedding: Width = 64
    klt_start: Bool = Field(True, description="start the linear path from the block KLT of the training set")


class DialCodecSpec(Spec):
    """The network with dials for rate, SNR and realism (linksim.jscc.dial)."""

    kind: Literal["dial"]
    rates: Annotated[tuple[Latent, ...], Field(min_length=1, max_length=64)] = Field(
        (4, 8, 16, 32, 64), description="latent channels that may be sent; CBR = channels / 1536"
    )
    width_4: Width = 64
    width_8: Width = 128
    width_16: Width = 256
    encoder_blocks: tuple[Blocks, Blocks] = (1, 4)
    decoder_blocks: tuple[Blocks, Blocks, Blocks] = (2, 3, 7)
    embedding: Width = 64
    pilot_share: Annotated[float, Field(ge=0, le=0.1)] = Field(
        0.0, description="of the power, to tell the receiver the scale of a picture; 0: it is inferred"
    )
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
    rates: Annotated[tuple[Latent, ...], Field(min_length=1, max_length=64)] = Field(
        (4, 8, 16, 32, 64), description="of the codec"
    )
    width: Width = 256
    blocks: Blocks = 8
    embedding: Width = 64


class CnnYang2024Spec(Spec):
    """The CNN of DiffJSCC (linksim.jscc.cnn_yang2024)."""

    kind: Literal["cnn_yang2024"]
    latent_channels: Latent = 16
    width: Width = 64
    max_width: Width = 512
    max_decoder_width: Width = 512
    blocks: Blocks = 2
    decoder_blocks: Blocks = 2
    csi: Literal["snr", "snr_h"] = "snr"


Stages = Annotated[tuple[Width, ...], Field(max_length=8)]
Depths = Annotated[tuple[Annotated[Int, Field(ge=1, le=64)], ...], Field(max_length=8)]


class SwinYang2024Spec(Spec):
    """The Swin transformer of DiffJSCC (linksim.jscc.swin_yang2024); empty decoder sizes mirror
    the encoder.
    """

    kind: Literal["swin_yang2024"]
    latent_channels: Latent = 16
    widths: Annotated[Stages, Field(min_length=1)] = (128, 192, 256, 320)
    depths: Depths = (2, 2, 2, 2)
    heads: Stages = (4, 6, 8, 10)
    decoder_widths: Stages = ()
    decoder_depths: Depths = ()
    decoder_heads: Stages = ()
    window: Annotated[Int, Field(ge=2, le=64, multiple_of=2)] = 8
    mlp_ratio: Annotated[Real, Field(gt=0, le=64)] = 4.0
    image_size: tuple[Side, Side] = (256, 256)

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
