"""What a scenario may say of a scheme. Imports only pydantic and linksim.specs.fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema, model_validator

from linksim.specs.fields import Bool, CsitName, Int, Name, NaturalInt, PositiveInt, Real, SnrDb, Spec

__all__ = [
    "SCHEME_KINDS",
    "BoundBase",
    "CapacityBoundSpec",
    "DiffJsccSpec",
    "FiniteBlocklengthBoundSpec",
    "HarqSpec",
    "JsccSpec",
    "LinearAnalogSpec",
    "SchemeBase",
    "SchemeSpec",
    "SentSpec",
    "SeparationSpec",
    "SourceSpec",
    "UncodedSpec",
]


class SchemeBase(Spec):
    """What all schemes have in common: a label."""

    name: Name = Field(description="label in results and figures")


class SentSpec(SchemeBase):
    """A scheme whose symbols can be spread over the resource elements of an image."""

    interleave: Bool | None = Field(
        None,
        description="put the symbols on the channel uses of an image in a fixed random order; none: for "
        "analog schemes over a resource grid, where neighbours fade together",
    )


class JsccSpec(SentSpec):
    """A trained JSCC codec."""

    kind: Literal["jscc"]
    checkpoint: Annotated[str, Strict()] = Field(
        description="a bundled model (linksim list models), a file, a DiffJSCC folder, or owner/name"
    )
    csit: CsitName = "average_snr"


class DiffJsccSpec(SentSpec):
    """DiffJSCC: a JSCC codec with a latent diffusion behind its decoder."""

    kind: Literal["diffjscc"]
    checkpoint: Annotated[str, Strict()] = Field(
        description="the authors' folder, a folder of linksim convert diffjscc, or owner/name on a hub"
    )
    csit: CsitName = "average_snr"
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
    caption: Annotated[str, Strict()] = Field(
        "none", description="none, blip2, or an image-to-text model of transformers (folder or owner/name)"
    )
    control_snr_db: SnrDb | None = Field(
        None, description="ablation: tell the control module this SNR, whatever the channel"
    )
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
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


class LinearAnalogSpec(SentSpec):
    """Block KLT, water-filled power, LMMSE receiver."""

    kind: Literal["linear_analog"]
    scale: Literal["sent", "blind"] = Field(
        "sent", description="how the receiver learns the scale of an image"
    )
    csit: Literal["none", "average_snr"] = "average_snr"
    design_snr_db: SnrDb = Field(7.0, description="SNR that power is allocated for when csit is none")


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
        7e-3,
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
        "best_quality", description="of adaptive: highest expected PSNR, or highest rate within target_bler"
    )
    target_bler: Annotated[Real, Field(gt=0, lt=1)] = 0.1
    harq: HarqSpec | None = None
    calibration: Annotated[str, Strict()] | None = Field(
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
    def csit(self) -> CsitName:
        """An adaptive scheme is told the average SNR; a fixed one needs nothing."""
        return "average_snr" if self.mcs == "adaptive" else "none"


class BoundBase(SchemeBase):
    """What the limits have in common: a source codec, and what is known of the fade."""

    source: Source = SourceSpec()
    fading: Literal["realised", "ergodic", "outage"] = Field(
        "realised",
        description="realised: the rate that each frame's own fade allows, which nothing exceeds; outage: "
        "one rate for all fades, frames that do not carry it are lost; ergodic: as if every use had its fade",
    )


class CapacityBoundSpec(BoundBase):
    """Source codec at the capacity of the channel: no separation scheme with this codec exceeds it."""

    kind: Literal["capacity_bound"]
    outage_probability: Annotated[Real, Field(gt=0, lt=1)] = Field(0.1, description="of fading: outage")


class FiniteBlocklengthBoundSpec(BoundBase):
    """Source codec at the rate that n uses allow at a block error rate (normal approximation)."""

    kind: Literal["finite_blocklength_bound"]
    block_error: Annotated[Real, Field(ge=1e-12, lt=0.5)] = 1e-3


class UncodedSpec(SchemeBase):
    """Pixels of a reduced picture in uncoded QAM: the check of bit error rates against theory."""

    kind: Literal["uncoded"]
    bits_per_symbol: Literal[2, 4, 6, 8]


SchemeSpec = Annotated[
    JsccSpec
    | DiffJsccSpec
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
    LinearAnalogSpec,
    SeparationSpec,
    CapacityBoundSpec,
    FiniteBlocklengthBoundSpec,
    UncodedSpec,
)
