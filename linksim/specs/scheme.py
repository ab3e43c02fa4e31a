"""What a scenario may say of a scheme. Imports only pydantic and linksim.specs.{fields, channel}."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from linksim.specs.channel import AwgnSpec, ChannelBase, RayleighSpec, RicianSpec
from linksim.specs.fields import (
    Bool,
    CsitName,
    Int,
    Name,
    NaturalInt,
    PathName,
    PositiveInt,
    Real,
    Share,
    SnrDb,
    Spec,
)

__all__ = [
    "SCHEME_KINDS",
    "BoundBase",
    "CapacityBoundSpec",
    "DiffJsccSpec",
    "FiniteBlocklengthBoundSpec",
    "HarqSpec",
    "JsccSpec",
    "LatentDiffusionSpec",
    "LinearAnalogSpec",
    "SchemeBase",
    "SchemeSpec",
    "SentSpec",
    "SeparationSpec",
    "SourceSpec",
    "UncodedSpec",
]


_DESIGN_SNR_DB, _TARGET_BLER, _OUTAGE, _ROUND_TRIP_S = 7.0, 0.1, 0.1, 7e-3
Idle = dict[str, tuple[Any, Any]]


class SchemeBase(Spec):
    """What all schemes have in common: a label."""

    receiver_is_told: ClassVar[bool] = False  # whether its receiver makes anything of the SNR

    name: Name = Field(description="label in results and figures")

    @property
    def told_by(self) -> CsitName:
        """What its transmitter is told of a channel."""
        return "none"

    def without_effect(self, channel: ChannelBase) -> Idle:
        """Fields that change nothing on a channel, by path: value and default."""
        return {}


class SentSpec(SchemeBase):
    """A scheme that sends symbols, analog or digital, and not a limit."""

    interleave: Bool | None = Field(
        None,
        description="put the symbols on the channel uses of an image in a fixed random order; none: over a "
        "resource grid, where neighbours fade together; false: in order, frequency first as in TS 38.211",
    )

    def without_effect(self, channel: ChannelBase) -> Idle:
        """An order where all symbols fare alike; the SNR of a frame where all frames have the same."""
        found: Idle = {}
        if _fares_alike(channel):
            found["interleave"] = self.interleave or None, None
        if self.told_by == "instantaneous_snr" and isinstance(channel, AwgnSpec):
            found["csit"] = self.told_by, "average_snr"
        return found


def _fares_alike(channel: ChannelBase) -> bool:
    """Whether the order of the symbols of an image is of no importance."""
    if isinstance(channel, RayleighSpec | RicianSpec):
        return channel.coherence_symbols is None and not channel.impairments
    return isinstance(channel, AwgnSpec) and not channel.impairments


class CodecBase(SentSpec):
    """A scheme that sends analog symbols: what its transmitter is told, a field."""

    receiver_is_told: ClassVar[bool] = True

    csit: CsitName = Field(
        "average_snr",
        description="what the transmitter is told: nothing, the SNR averaged over draws of the channel, that "
        "of each frame with its fade, or the average and the gain of every symbol",
    )

    @property
    def told_by(self) -> CsitName:
        """What its transmitter is told of a channel."""
        return self.csit


class JsccSpec(CodecBase):
    """A trained JSCC codec."""

    kind: Literal["jscc"]
    checkpoint: PathName = Field(
        description="a bundled model (linksim list models), a file, a DiffJSCC folder, or owner/name"
    )
    realism: Share | None = Field(
        None, description="0 (nearest picture) to 1 (most natural one), of codecs with this dial; none: 0"
    )


class DiffJsccSpec(CodecBase):
    """DiffJSCC: a JSCC codec with a latent diffusion behind its decoder."""

    kind: Literal["diffjscc"]
    checkpoint: PathName = Field(
        description="the authors' folder, a folder of linksim convert diffjscc, or owner/name on a hub"
    )
    sampler: Literal["ancestral", "ddim", "dpmsolver++", "unipc"] = Field(
        "ancestral", description="ancestral: the authors'"
    )
    steps: Annotated[Int, Field(ge=1, le=1000)] = 100
    start: Literal["noise", "condition"] = Field(
        "noise", description="condition: the latent of the initial reconstruction, noised to strength"
    )
    strength: Annotated[Real, Field(gt=0, le=1)] = Field(1.0, description="of start: condition")
    guidance: Annotated[Real, Field(ge=0)] = Field(
        0.0, description="pull toward the initial reconstruction (Λ); the authors' example has 100"
    )
    color_fix: Literal["wavelet", "adain", "none"] = "wavelet"
    caption: PathName = Field(
        "none", description="none, blip2, or an image-to-text model of transformers (folder or owner/name)"
    )
    control_snr_db: SnrDb | None = Field(
        None, description="ablation: tell the control module this SNR, whatever the channel"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the networks; auto: bfloat16 where the device is faster in it, else float32"
    )
    tile: NaturalInt = Field(
        1024, description="pixels (multiple of 32) beyond which the diffusion works on tiles; 0: never"
    )
    compile: Bool = Field(
        False, description="torch.compile: the first pictures of a size take minutes longer"
    )

    @model_validator(mode="after")
    def _strength(self) -> DiffJsccSpec:
        if self.strength < 1 and self.start == "noise":
            raise ValueError(f"strength: got {self.strength:g} with start: noise, expected start: condition.")
        if self.tile % 32 or 0 < self.tile < 256:
            raise ValueError(f"tile: got {self.tile} pixels, expected 0 or a multiple of 32 from 256 on.")
        return self


class LatentDiffusionSpec(CodecBase):
    """A codec with dials, and a diffusion on its latents that goes on where the channel stopped."""

    kind: Literal["latent_diffusion"]
    checkpoint: PathName = Field(description="denoiser: a bundled model (linksim list models), or a file")
    codec: PathName = Field(
        "dial", description="codec whose latents it was trained on: a bundled model, or a file"
    )
    steps: Annotated[Int, Field(ge=1, le=1000)] = Field(4, description="evaluations of the denoiser")
    eta: Share = Field(0.0, description="0: probability flow; 1: samples of the posterior")
    realism: Share = Field(1.0, description="of the decoder behind the diffusion")
    samples: Annotated[Int, Field(ge=1, le=64)] = Field(
        1, description="pictures per frame; from two on, a map of where they differ is kept as a stage"
    )


class LinearAnalogSpec(CodecBase):
    """Block KLT, water-filled power, LMMSE receiver."""

    kind: Literal["linear_analog"]
    scale: Literal["sent", "blind"] = Field(
        "sent", description="how the receiver learns the scale of an image"
    )
    csit: Literal["none", "average_snr", "instantaneous_snr"] = Field(
        "average_snr", description="what the transmitter is told, as of jscc; it makes nothing of gains"
    )
    design_snr_db: SnrDb = Field(
        _DESIGN_SNR_DB, description="SNR that power is allocated for when csit is none"
    )

    def without_effect(self, channel: ChannelBase) -> Idle:
        """The SNR of the design, where the transmitter is told one."""
        found = super().without_effect(channel)
        if self.csit != "none":
            found["design_snr_db"] = self.design_snr_db, _DESIGN_SNR_DB
        return found


class SourceSpec(Spec):
    """Source codec of a digital scheme."""

    codec: Literal["bpg", "bpg_external", "jpeg", "jpeg2000", "webp", "avif", "heic"] = Field(
        "bpg", description="bpg_external: by the tools bpgenc and bpgdec, if they are installed"
    )
    chroma: Literal["420", "444"] = "420"
    effort: Literal["best", "fast"] = Field("best", description="of the encoder: small files or little time")
    resolutions: Literal["full", "reduced"] = Field(
        "reduced", description="reduced: half and quarter size are coded where that shows more"
    )
    select: Literal["psnr", "ssim", "ms_ssim", "lpips_alex", "lpips_vgg", "lpips_squeeze"] = Field(
        "psnr",
        description="what shows more, and what an adaptive MCS makes as good as it can: by this metric",
    )


def _source(value: object) -> object:
    return {"codec": value} if isinstance(value, str) else value


Source = Annotated[SourceSpec, BeforeValidator(_source)]


class HarqSpec(Spec):
    """Retransmission of frames that failed; every transmission takes the uses that the bandwidth grants."""

    max_transmissions: Annotated[Int, Field(ge=1, le=16)] = Field(4, description="first one included")
    combining: Literal["ir", "chase"] = Field(
        "ir", description="ir: other code bits every time; chase: the same again"
    )
    round_trip_s: Annotated[Real, Field(ge=0, le=10)] = Field(
        _ROUND_TRIP_S,
        description="from the end of a transmission to the begin of the next [s]; fading goes on meanwhile",
    )


_MCS_ROW = {"type": "integer", "minimum": 0, "maximum": 28}
_MCS_SCHEMA = {
    "anyOf": [{"const": "adaptive"}, _MCS_ROW, {"type": "array", "items": _MCS_ROW, "minItems": 1}]
}
McsName = Annotated[
    Literal["adaptive"] | Annotated[Int, Field(ge=0, le=28)],
    WithJsonSchema(_MCS_SCHEMA),  # a list is taken apart by the scenario
]


class SeparationSpec(SentSpec):
    """Source codec, CRC, 5G LDPC and QAM, adapted to the SNR by a frozen table."""

    receiver_is_told: ClassVar[bool] = True

    kind: Literal["separation"]
    source: Source = SourceSpec()
    mcs: McsName = Field(
        "adaptive",
        description="adaptive, or a fixed index of a table of TS 38.214; a list of indices makes a scheme "
        "of each, named after it",
    )
    mcs_table: Literal["any", 1, 2, 3] = Field(
        "any",
        description="table 5.1.3.1-1, -2 or -3; any: adaptive chooses from all, an index is one of table 1",
    )
    policy: Literal["best_quality", "target_bler"] = Field(
        "best_quality",
        description="of adaptive: best expected quality (source.select), or highest rate within target_bler",
    )
    target_bler: Annotated[Real, Field(gt=0, lt=1)] = _TARGET_BLER
    csit: Literal["average_snr", "instantaneous_snr"] = Field(
        "average_snr",
        description="of adaptive: the SNR that it goes by, the average over draws of the channel, or that of "
        "each frame with its fade",
    )
    harq: HarqSpec | None = None
    calibration: PathName | None = Field(
        None, description="link-adaptation table; none: the bundled one (made by linksim calibrate)"
    )
    decoder: Literal["auto", "layered", "sionna"] = Field(
        "auto", description="LDPC decoder; auto: Sionna's on a GPU where it takes the code, else ours"
    )
    decoder_iterations: PositiveInt = 50

    @model_validator(mode="after")
    def _row(self) -> SeparationSpec:
        if self.mcs_table == 2 and self.mcs == 28:
            raise ValueError("mcs: got 28, expected at most 27 in mcs_table: 2.")
        if self.policy == "target_bler" and self.mcs != "adaptive":
            raise ValueError(f"policy: got target_bler with mcs: {self.mcs}, expected mcs: adaptive.")
        if self.decoder == "sionna" and self.harq is not None and self.harq.max_transmissions > 1:
            raise ValueError("decoder: got sionna with harq, expected layered (or auto).")
        return self

    @property
    def told_by(self) -> CsitName:
        """An adaptive scheme is told an SNR; a fixed one needs nothing."""
        return self.csit if self.mcs == "adaptive" else "none"

    def without_effect(self, channel: ChannelBase) -> Idle:
        """What only other policies, a choice of MCS, or retransmissions make use of."""
        by_quality = self.mcs == "adaptive" and self.policy == "best_quality"
        found = super().without_effect(channel) | _idle_source(self.source, adapts=by_quality)
        if self.mcs != "adaptive":
            found["csit"] = self.csit, "average_snr"
            found["calibration"] = self.calibration, None
        if self.mcs != "adaptive" or self.policy != "target_bler":
            found["target_bler"] = self.target_bler, _TARGET_BLER
        if self.harq is not None and self.harq.max_transmissions == 1:
            found["harq.combining"] = self.harq.combining, "ir"
        if self.harq is not None and (self.harq.max_transmissions == 1 or not channel.moves):
            found["harq.round_trip_s"] = self.harq.round_trip_s, _ROUND_TRIP_S  # nothing changes meanwhile
        return found


def _idle_source(source: SourceSpec, *, adapts: bool = False) -> Idle:
    """What a picture codec makes nothing of."""
    found: Idle = {}
    if source.codec in ("jpeg", "jpeg2000"):
        found["source.effort"] = source.effort, "best"
    if source.resolutions == "full" and not adapts:
        found["source.select"] = source.select, "psnr"
    return found


def _is_constant(channel: ChannelBase) -> bool:
    """Whether every frame meets the same channel."""
    return isinstance(channel, AwgnSpec)


class BoundBase(SchemeBase):
    """What the limits have in common: a source codec, and what is known of the fade."""

    source: Source = SourceSpec()
    fading: Literal["realised", "ergodic", "outage"] = Field(
        "realised",
        description="realised: the rate that each frame's own fade allows at equal power per use; outage: "
        "one rate for all fades, frames that do not carry it are lost; ergodic: as if every use had its fade",
    )

    def without_effect(self, channel: ChannelBase) -> Idle:
        """What is known of a fade, where there is none."""
        found = super().without_effect(channel) | _idle_source(self.source)
        if _is_constant(channel):
            found["fading"] = self.fading, "realised"
        return found


class CapacityBoundSpec(BoundBase):
    """Source codec at the capacity of the channel: no separation scheme with this codec exceeds it at equal
    power per use, in one transmission, and in the metric that it codes for.
    """

    kind: Literal["capacity_bound"]
    outage_probability: Annotated[Real, Field(gt=0, lt=1)] = Field(_OUTAGE, description="of fading: outage")

    def without_effect(self, channel: ChannelBase) -> Idle:
        """The probability of what is no outage."""
        found = super().without_effect(channel)
        if self.fading != "outage" or _is_constant(channel):
            found["outage_probability"] = self.outage_probability, _OUTAGE
        return found


class FiniteBlocklengthBoundSpec(BoundBase):
    """Source codec at the rate that n uses allow at a block error rate (normal approximation)."""

    kind: Literal["finite_blocklength_bound"]
    block_error: Annotated[Real, Field(ge=1e-12, lt=0.5)] = 1e-3


class UncodedSpec(SentSpec):
    """Pixels of a reduced picture in uncoded QAM: the check of bit error rates against theory."""

    kind: Literal["uncoded"]
    bits_per_symbol: Literal[2, 4, 6, 8]


SchemeSpec = Annotated[
    JsccSpec
    | DiffJsccSpec
    | LatentDiffusionSpec
    | LinearAnalogSpec
    | SeparationSpec
    | CapacityBoundSpec
    | FiniteBlocklengthBoundSpec
    | UncodedSpec,
    Field(discriminator="kind"),
]
SCHEME_KINDS: tuple[type[SchemeBase], ...] = (
    JsccSpec,
    DiffJsccSpec,
    LatentDiffusionSpec,
    LinearAnalogSpec,
    SeparationSpec,
    CapacityBoundSpec,
    FiniteBlocklengthBoundSpec,
    UncodedSpec,
)
