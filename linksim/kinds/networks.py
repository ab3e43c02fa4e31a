"""Networks: what scenarios and checkpoints say of their sizes, and how they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from channels.kinds import kind
from linksim.kinds.fields import Bool, Int, Real, Spec
from linksim.kinds.union import KindOf

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Bourtsoulatze2019Spec",
    "CnnYang2024Spec",
    "CodecSpec",
    "DialCodecSpec",
    "LatentDenoiserSpec",
    "LeanCodecSpec",
    "NetworkBase",
    "NetworkSpec",
    "SwinJsccSpec",
    "SwinYang2024Spec",
]


# Far beyond any network that was trained; a header of a checkpoint cannot ask for hours of work.
Width = Annotated[Int, Field(ge=1, le=4096)]
Blocks = Annotated[Int, Field(ge=0, le=64)]
Side = Annotated[Int, Field(ge=1, le=65536)]
Window = Annotated[
    Int, Field(ge=2, le=64, multiple_of=2, description="side of the attention windows [positions]")
]
MlpRatio = Annotated[Real, Field(gt=0, le=64, description="width of the hidden layer over that of the block")]
ImageSize = Annotated[
    tuple[Side, Side], Field(description="height and width that masks are made for [pixels]")
]
Latent = Annotated[Int, Field(ge=2, le=4096, multiple_of=2)]


class NetworkBase(Spec):
    """Description of a network. A kind has ``build``, and says with which of the facts below it differs."""

    REQUIRED: ClassVar[dict[str, str]] = {
        "build": "build() -> linksim.schemes.jscc.AnalogCodec (an nn.Module)"
    }
    is_codec: ClassVar[bool] = True  # a JSCC codec: encoder and decoder

    kind: str

    @property
    def dialled_rates(self) -> tuple[int, ...]:
        """Latent channels that may be sent, of networks with dials for rate, reliability and realism."""
        return ()

    def build(self) -> nn.Module:
        """The untrained network."""
        raise NotImplementedError

    def sizes(self, *without: str) -> dict[str, Any]:
        """The fields but for ``kind`` and some others."""
        return self.model_dump(exclude={"kind", *without})


@kind("network", "lean")
class LeanCodecSpec(NetworkBase):
    """The lean network (linksim.jscc.lean)."""

    kind: Literal["lean"]
    latent_channels: Latent = Field(16, description="real values per 16 x 16 pixels")
    width_8: Width = Field(128, description="channels at an eighth of the sides")
    width_16: Width = Field(256, description="channels at a sixteenth of the sides")
    encoder_blocks: tuple[Blocks, Blocks] = Field(
        (1, 3), description="residual blocks at an eighth and a sixteenth of the sides"
    )
    decoder_blocks: tuple[Blocks, Blocks] = Field((2, 5), description="of the decoder, likewise")
    embedding: Width = Field(64, description="width of the embedding of the SNR")
    klt_start: Bool = Field(True, description="start the linear path from the block KLT of the training set")

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.lean import LeanCodec, LeanConfig

        return LeanCodec(LeanConfig(**self.sizes("klt_start")))


@kind("network", "dial")
class DialCodecSpec(NetworkBase):
    """The network with dials for rate, SNR and realism (linksim.jscc.dial)."""

    kind: Literal["dial"]
    rates: Annotated[tuple[Latent, ...], Field(min_length=1, max_length=64)] = Field(
        (4, 8, 16, 32, 64), description="latent channels that may be sent; CBR = channels / 1536"
    )
    width_4: Width = Field(64, description="channels at a quarter of the sides")
    width_8: Width = Field(128, description="channels at an eighth of the sides")
    width_16: Width = Field(256, description="channels at a sixteenth of the sides")
    encoder_blocks: tuple[Blocks, Blocks] = Field(
        (1, 4), description="residual blocks of the encoder, at an eighth and a sixteenth of the sides"
    )
    decoder_blocks: tuple[Blocks, Blocks, Blocks] = Field(
        (2, 3, 7),
        description="residual blocks of the decoder, at a quarter, an eighth and a sixteenth of the sides",
    )
    embedding: Width = Field(64, description="width of the embedding of what the network is told")
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
    def dialled_rates(self) -> tuple[int, ...]:
        """See :class:`NetworkBase`."""
        return self.rates

    @property
    def latent_channels(self) -> int:
        """Channels of the whole latent map."""
        return self.rates[-1]

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.dial import DialCodec, DialConfig

        return DialCodec(DialConfig(**self.sizes("klt_start")))


@kind("network", "latent_denoiser")
class LatentDenoiserSpec(NetworkBase):
    """The denoiser of the latents of a dial codec (linksim.jscc.latent_denoiser)."""

    is_codec: ClassVar[bool] = False

    kind: Literal["latent_denoiser"]
    rates: Annotated[tuple[Latent, ...], Field(min_length=1, max_length=64)] = Field(
        (4, 8, 16, 32, 64), description="of the codec"
    )
    width: Width = Field(256, description="channels of the layers")
    blocks: Blocks = Field(8, description="residual blocks")
    embedding: Width = Field(64, description="width of the embedding of what the network is told")

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.latent_denoiser import LatentDenoiser, LatentDenoiserConfig

        return LatentDenoiser(LatentDenoiserConfig(**self.sizes()))


@kind("network", "cnn_yang2024")
class CnnYang2024Spec(NetworkBase):
    """The CNN of DiffJSCC (linksim.jscc.cnn_yang2024)."""

    kind: Literal["cnn_yang2024"]
    latent_channels: Latent = Field(16, description="real values per 16 x 16 pixels; CBR = channels / 1536")
    width: Width = Field(
        64, description="channels of the first layer; each halving of the sides doubles them"
    )
    max_width: Width = Field(512, description="most channels of the encoder")
    max_decoder_width: Width = Field(512, description="most channels of the decoder")
    blocks: Blocks = Field(2, description="residual blocks of the encoder")
    decoder_blocks: Blocks = Field(2, description="residual blocks of the decoder")
    csi: Literal["snr", "snr_h"] = Field(
        "snr", description="what both ends are told: the SNR, or SNR and gain of a block-fading channel"
    )

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.authors import make_codec
        from linksim.jscc.cnn_yang2024 import CnnYang2024Config

        return make_codec(CnnYang2024Config(**self.sizes()))


Stages = Annotated[tuple[Width, ...], Field(max_length=8)]
Depths = Annotated[tuple[Annotated[Int, Field(ge=1, le=64)], ...], Field(max_length=8)]


@kind("network", "swin_yang2024")
class SwinYang2024Spec(NetworkBase):
    """The Swin transformer of DiffJSCC (linksim.jscc.swin_yang2024); empty decoder sizes mirror
    the encoder.
    """

    kind: Literal["swin_yang2024"]
    latent_channels: Latent = Field(16, description="real values per 16 x 16 pixels; CBR = channels / 1536")
    widths: Annotated[Stages, Field(min_length=1)] = Field(
        (128, 192, 256, 320), description="channels of the stages"
    )
    depths: Depths = Field((2, 2, 2, 2), description="blocks of the stages")
    heads: Stages = Field((4, 6, 8, 10), description="attention heads of the stages")
    decoder_widths: Stages = Field((), description="of the decoder; empty: as the encoder")
    decoder_depths: Depths = Field((), description="of the decoder; empty: as the encoder")
    decoder_heads: Stages = Field((), description="of the decoder; empty: as the encoder")
    window: Window = 8
    mlp_ratio: MlpRatio = 4.0
    image_size: ImageSize = (256, 256)

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

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.authors import make_codec
        from linksim.jscc.swin_yang2024 import SwinYang2024Config

        return make_codec(SwinYang2024Config(**self.sizes()))


@kind("network", "swinjscc")
class SwinJsccSpec(NetworkBase):
    """SwinJSCC, and WITT before it (linksim.jscc.swin); by default the authors' base network that adapts to
    SNR and rate.
    """

    kind: Literal["swinjscc"]
    adaptive: Literal["none", "snr", "rate", "snr_rate"] = Field(
        "snr_rate", description="what both ends adapt to"
    )
    rates: Annotated[tuple[Latent, ...], Field(min_length=1, max_length=64)] = Field(
        (32, 64, 96, 128, 192),
        description="latent channels that may be sent; one number unless adaptive says rate",
    )
    widths: Annotated[Stages, Field(min_length=1)] = Field(
        (128, 192, 256, 320), description="channels of each stage; that of the last is of the latent"
    )
    depths: Depths = Field((2, 2, 6, 2), description="2, 2, 2, 2 is the small, 2, 2, 18, 2 the large network")
    heads: Stages = Field((4, 6, 8, 10), description="attention heads of each stage")
    window: Window = 8
    mlp_ratio: MlpRatio = 4.0
    image_size: ImageSize = (256, 256)

    @model_validator(mode="after")
    def _fits(self) -> SwinJsccSpec:
        from linksim.jscc.swin.sizes import SwinJsccConfig

        SwinJsccConfig(**self.sizes()).check()
        return self

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.swin.codec import SwinJscc
        from linksim.jscc.swin.sizes import SwinJsccConfig

        return SwinJscc(SwinJsccConfig(**self.sizes()))


@kind("network", "bourtsoulatze2019")
class Bourtsoulatze2019Spec(NetworkBase):
    """The first DeepJSCC, small, for one SNR (linksim.jscc.bourtsoulatze2019)."""

    kind: Literal["bourtsoulatze2019"]
    latent_channels: Latent = Field(16, description="real values per 4 x 4 pixels; CBR = channels / 96")

    def build(self) -> nn.Module:
        """See :class:`NetworkBase`."""
        from linksim.jscc.bourtsoulatze2019 import Bourtsoulatze2019

        return Bourtsoulatze2019(self.latent_channels)


CodecSpec = Annotated[NetworkBase, KindOf("network", but=("latent_denoiser",))]
NetworkSpec = Annotated[NetworkBase, KindOf("network")]
