"""The scenario: what a YAML file may say. Imports nothing of the project, only pydantic.

Field names carry units. Every union is told apart by ``kind``. Unknown keys are errors. Names of kinds are
turned into objects by ``linksim.build``, never by a dotted path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    WithJsonSchema,
    model_validator,
)

__all__ = ["CHANNEL_KINDS", "SCHEME_KINDS", "ControlTrainScenario", "Scenario", "TrainScenario"]


class Spec(BaseModel):
    """Base of every block: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Real = Annotated[float, Strict()]


def _number(value: float) -> str:
    return f"{value:g}"


def _quantity(
    unit: str, low: float, high: float, *, open_low: bool = False, rescale: tuple[tuple[float, str], ...] = ()
) -> Callable[[float], float]:
    """Validator of a physical quantity whose message proposes the unit that was probably meant."""

    def check(value: float) -> float:
        below = value <= low if open_low else value < low
        if not below and value <= high:
            return value
        sign = "<" if open_low else "<="
        text = f"got {_number(value)} {unit}, expected {_number(low)} {sign} value <= {_number(high)} {unit}."
        for factor, name in rescale:
            fits = (value * factor > low if open_low else value * factor >= low) and value * factor <= high
            if fits:
                text += f" Did you mean {value * factor:g} ({_number(value)} {name})?"
                break
        raise ValueError(text)

    return check


SnrDb = Annotated[Real, AfterValidator(_quantity("dB", -60, 100))]
GainDb = Annotated[Real, AfterValidator(_quantity("dB", -60, 60))]
DelaySpread = Annotated[Real, AfterValidator(_quantity("s", 0, 1e-5, rescale=((1e-9, "ns"), (1e-6, "us"))))]
Speed = Annotated[Real, AfterValidator(_quantity("m/s", 0, 500, rescale=((1 / 3.6, "km/h"),)))]
Carrier = Annotated[Real, AfterValidator(_quantity("Hz", 1e8, 1e12, rescale=((1e9, "GHz"), (1e6, "MHz"))))]
Spacing = Annotated[Real, AfterValidator(_quantity("Hz", 1e3, 1e6, rescale=((1e3, "kHz"),)))]
Seconds = Annotated[Real, AfterValidator(_quantity("s", 0, 1e7, open_low=True))]
Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
PositiveInt = Annotated[Int, Field(ge=1)]
NaturalInt = Annotated[Int, Field(ge=0)]
Name = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$", max_length=60)]


def _fraction(value: object) -> Fraction:
    """An exact ratio: "1/48", or a number that is one."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*/\s*\d+\s*", value):
        top, bottom = (int(part) for part in value.split("/"))
        if bottom:
            return Fraction(top, bottom)
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    raise ValueError(
        f"got {value!r}, expected an exact fraction such as 1/48 (complex data uses over 3·H·W)."
    )


def _ratio_in_range(value: Fraction) -> Fraction:
    if not 0 < value <= 2:
        raise ValueError(f"got {value}, expected 0 < ratio <= 2 (complex data uses over 3·H·W).")
    return value


Ratio = Annotated[
    Fraction,
    BeforeValidator(_fraction),
    AfterValidator(_ratio_in_range),
    PlainSerializer(lambda v: f"{v.numerator}/{v.denominator}", return_type=str),
]


# ---------------------------------------------------------------------------------------------- images


def _crop(value: object) -> object:
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value


class ImagesBase(Spec):
    """What all sets of pictures have in common: cutting to size."""

    crop: Annotated[tuple[PositiveInt, PositiveInt] | None, BeforeValidator(_crop)] = Field(
        None, description="centre crop to [height, width] pixels, or one number for a square"
    )
    multiple_of: PositiveInt = Field(16, description="cut the sides down to multiples of this many pixels")


class FolderImagesSpec(ImagesBase):
    """All pictures of a folder, sorted by name."""

    kind: Literal["folder"]
    path: Annotated[str, Strict()]
    limit: PositiveInt | None = Field(None, description="use the first so many pictures only")
    convert: Literal["none", "rgb"] = Field(
        "none", description="rgb: also take grey, palette and alpha pictures"
    )


class TarImagesSpec(ImagesBase):
    """All pictures in tar files, sorted by file and name."""

    kind: Literal["tar"]
    paths: Annotated[tuple[Annotated[str, Strict()], ...], Field(min_length=1)]
    limit: PositiveInt | None = None
    convert: Literal["none", "rgb"] = "none"


class SkimageImagesSpec(ImagesBase):
    """Photographs that ship with scikit-image."""

    kind: Literal["skimage"]
    names: Annotated[tuple[Annotated[str, Strict()], ...], Field(min_length=1)] = (
        "astronaut",
        "coffee",
        "chelsea",
        "rocket",
        "motorcycle",
    )


ImagesSpec = Annotated[FolderImagesSpec | TarImagesSpec | SkimageImagesSpec, Field(discriminator="kind")]


class BandwidthSpec(Spec):
    """How many complex data uses an image gets."""

    data_ratio: Ratio = Field(description="complex data uses / (3·H·W), an exact fraction such as 1/48")


# -------------------------------------------------------------------------------------------- channels


class ChannelBase(Spec):
    """What all channels have in common: a kind and a label."""

    kind: str
    name: Name | None = Field(None, description="label in results; needed to tell channels of one kind apart")


class AwgnSpec(ChannelBase):
    """Additive white Gaussian noise."""

    kind: Literal["awgn"]


class FlatCsiSpec(Spec):
    """Channel knowledge on block fading: known, or estimated from pilots in front of every block."""

    kind: Literal["perfect", "ls", "lmmse"] = "perfect"
    pilots_per_block: NaturalInt = Field(0, description="pilot uses per coherence block, for ls and lmmse")

    @model_validator(mode="after")
    def _pilots(self) -> FlatCsiSpec:
        if (self.kind == "perfect") != (self.pilots_per_block == 0):
            raise ValueError("pilots_per_block must be 0 for perfect CSI and at least 1 for ls and lmmse.")
        return self


class RayleighSpec(ChannelBase):
    """Rayleigh block fading, one complex gain per block."""

    kind: Literal["rayleigh"]
    coherence_symbols: PositiveInt | None = Field(
        None, description="data symbols per block; none: one per image"
    )
    csi: FlatCsiSpec = FlatCsiSpec()


class RicianSpec(ChannelBase):
    """Rician block fading with a line-of-sight part of K dB."""

    kind: Literal["rician"]
    k_factor_db: GainDb
    coherence_symbols: PositiveInt | None = None
    csi: FlatCsiSpec = FlatCsiSpec()


class TdlSpec(Spec):
    """Tapped delay line of 3GPP TR 38.901 sec. 7.7.2 or TS 38.101-4, single antenna."""

    kind: Literal["tdl"] = "tdl"
    profile: Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300"] = Field(
        description="A to E are scaled to a delay spread; the others are those of conformance tests"
    )
    delay_spread_s: DelaySpread | None = Field(
        None, description="RMS delay spread [s] of profiles A to E; the others have their own"
    )
    speed_mps: Speed = Field(0.0, description="speed of the receiver [m/s]")

    @model_validator(mode="after")
    def _spread(self) -> TdlSpec:
        if len(self.profile) == 1 and self.delay_spread_s is None:
            raise ValueError("delay_spread_s: missing, expected seconds such as 100e-9.")
        if len(self.profile) > 1 and self.delay_spread_s is not None:
            own = f"profile {self.profile} has its own"
            raise ValueError(f"delay_spread_s: got {self.delay_spread_s:g} s, expected none: {own}.")
        return self


class OfdmCsiSpec(Spec):
    """Channel knowledge on OFDM: perfect, or estimated from pilot symbols of every slot."""

    kind: Literal["perfect", "ls", "lmmse"]
    pilot_symbols: tuple[NaturalInt, ...] = Field(
        (2, 11), description="OFDM symbols of a slot that carry pilots"
    )
    interpolation: Literal["linear", "nearest"] = Field("linear", description="of ls estimates over the slot")


class OfdmSpec(ChannelBase):
    """OFDM over a 3GPP channel model; slots of one image follow each other in time."""

    kind: Literal["ofdm"]
    model: TdlSpec
    carrier_hz: Carrier = 3.5e9
    subcarrier_spacing_hz: Spacing = 15e3
    num_subcarriers: Annotated[Int, Field(ge=2, le=4096)] = 64
    num_ofdm_symbols: Annotated[Int, Field(ge=1, le=140)] = 14
    cyclic_prefix_length: NaturalInt | None = Field(
        None, description="samples; none: the normal prefix of NR (7%)"
    )
    guard_subcarriers: tuple[NaturalInt, NaturalInt] = (0, 0)
    dc_null: Bool = False
    csi: OfdmCsiSpec = OfdmCsiSpec(kind="ls")

    @model_validator(mode="after")
    def _grid(self) -> OfdmSpec:
        pilots = self.csi.pilot_symbols
        if len(set(pilots)) != len(pilots) or any(p >= self.num_ofdm_symbols for p in pilots):
            limit = self.num_ofdm_symbols - 1
            raise ValueError(
                f"csi.pilot_symbols: got {list(pilots)}, expected different indices from 0 to {limit}."
            )
        if not pilots or len(pilots) >= self.num_ofdm_symbols:
            raise ValueError(
                f"csi.pilot_symbols: got {len(pilots)}, expected 1 to {self.num_ofdm_symbols - 1} symbols."
            )
        if self.cyclic_prefix_length is not None and self.cyclic_prefix_length > self.num_subcarriers:
            got = (
                f"got {self.cyclic_prefix_length}, expected at most num_subcarriers = {self.num_subcarriers}."
            )
            raise ValueError(f"cyclic_prefix_length: {got}")
        unused = sum(self.guard_subcarriers) + int(self.dc_null)
        if unused >= self.num_subcarriers:
            limit = self.num_subcarriers - 1
            raise ValueError(
                f"guard_subcarriers: nothing left for data, got {unused} unused, expected <= {limit}."
            )
        return self


ChannelSpec = Annotated[AwgnSpec | RayleighSpec | RicianSpec | OfdmSpec, Field(discriminator="kind")]
CHANNEL_KINDS: tuple[type[ChannelBase], ...] = (AwgnSpec, RayleighSpec, RicianSpec, OfdmSpec)

# --------------------------------------------------------------------------------------------- schemes

CsitName = Literal["none", "average_snr", "perfect"]


class SchemeBase(Spec):
    """What all schemes have in common: a label."""

    name: Name = Field(description="label in results and figures")


class JsccSpec(SchemeBase):
    """A trained JSCC codec."""

    kind: Literal["jscc"]
    checkpoint: Annotated[str, Strict()] = Field(
        description="a bundled model (linksim list models), a file, a DiffJSCC folder, or owner/name"
    )
    csit: CsitName = "average_snr"


class DiffJsccSpec(SchemeBase):
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


class LinearAnalogSpec(SchemeBase):
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


_MCS_ROW = {"type": "integer", "minimum": 0, "maximum": 28}
_MCS_SCHEMA = {
    "anyOf": [{"const": "adaptive"}, _MCS_ROW, {"type": "array", "items": _MCS_ROW, "minItems": 1}]
}
McsName = Annotated[
    Literal["adaptive"] | Annotated[Int, Field(ge=0, le=28)],
    WithJsonSchema(_MCS_SCHEMA),  # a list is taken apart by the scenario
]


class SeparationSpec(SchemeBase):
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

# --------------------------------------------------------------------------------------------- the rest

MetricName = Literal[
    "psnr", "ssim", "ms_ssim", "lpips", "lpips_alex", "lpips_vgg", "lpips_squeeze", "ber", "bler"
]


class SweepSpec(Spec):
    """Swept points. Beside ``snr_db``, any numeric field by its path: ``channel.model.speed_mps: [1,
    10]``.
    """

    snr_db: Annotated[tuple[SnrDb, ...], Field(min_length=1)]
    trials: PositiveInt = Field(1, description="noise and fading realisations per image")
    fields: dict[str, tuple[Real | Int | str, ...]] = Field(
        {}, description="path: values (written beside snr_db)"
    )

    @model_validator(mode="before")
    @classmethod
    def _paths(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        paths = {key: value for key, value in data.items() if isinstance(key, str) and "." in key}
        plain = {key: value for key, value in data.items() if key not in paths}
        if paths:
            plain["fields"] = {**plain.get("fields", {}), **paths}
        return plain

    @model_validator(mode="after")
    def _distinct(self) -> SweepSpec:
        for key, values in {"snr_db": self.snr_db, **self.fields}.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{key}: got {list(values)}, expected one or more different values.")
        return self


class PanelSpec(Spec):
    """Which pictures the image panel shows."""

    images: PositiveInt = Field(2, description="the first so many images")
    snr_db: tuple[SnrDb, ...] | None = Field(None, description="none: the lowest and the highest swept value")


class StatisticsSpec(Spec):
    """Confidence intervals: bootstrap clustered by image."""

    confidence: Annotated[Real, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[Int, Field(ge=100)] = 2000


class Scenario(Spec):
    """One experiment: channels x swept points x schemes x images x trials."""

    schema_version: Literal[1] = 1
    name: Name
    question: str = Field("", description="the question that this file answers, for linksim list scenarios")
    seed: NaturalInt = 0
    images: ImagesSpec
    bandwidth: BandwidthSpec
    channels: Annotated[tuple[ChannelSpec, ...], Field(min_length=1)]
    sweep: SweepSpec
    schemes: Annotated[tuple[SchemeSpec, ...], Field(min_length=1)]
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = ("psnr",)
    statistics: StatisticsSpec = StatisticsSpec()
    panel: PanelSpec = PanelSpec()
    batch_size: PositiveInt = Field(8, description="images per call; results do not depend on it")

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        if isinstance(data, dict) and "channel" in data:
            if "channels" in data:
                raise ValueError("got both channel and channels, expected one of them.")
            data = {**data, "channels": [data["channel"]]}
            del data["channel"]
        return data

    @model_validator(mode="before")
    @classmethod
    def _list_of_mcs(cls, data: Any) -> Any:
        """A separation scheme with a list of MCS becomes one scheme per MCS."""
        if not isinstance(data, dict) or not isinstance(data.get("schemes"), list | tuple):
            return data
        schemes: list[Any] = []
        for scheme in data["schemes"]:
            rows = scheme.get("mcs") if isinstance(scheme, dict) else None
            if isinstance(rows, list | tuple) and rows:
                schemes += [{**scheme, "mcs": row, "name": f"{scheme.get('name')} {row}"} for row in rows]
            else:
                schemes.append(scheme)
        return {**data, "schemes": schemes}

    @model_validator(mode="after")
    def _unique_names(self) -> Scenario:
        for field, names in (
            ("schemes", [s.name for s in self.schemes]),
            ("channels", [channel_name(c) for c in self.channels]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{field}: got the name {twice[0]!r} twice, expected different names.")
        panel = self.panel.snr_db or ()
        if not set(panel) <= set(self.sweep.snr_db):
            got, expected = (", ".join(f"{v:g}" for v in values) for values in (panel, self.sweep.snr_db))
            raise ValueError(f"panel.snr_db: got {got} dB, expected some of sweep.snr_db: {expected} dB.")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError(f"metrics: got {list(self.metrics)}, expected each once.")
        return self


def channel_name(channel: ChannelBase) -> str:
    """Label of a channel: its name, or one made of its kind and main parameters."""
    if channel.name is not None:
        return channel.name
    if isinstance(channel, OfdmSpec):
        return f"ofdm-tdl{channel.model.profile.lower()}-{channel.csi.kind}"
    if isinstance(channel, RayleighSpec | RicianSpec) and channel.csi.kind != "perfect":
        return f"{channel.kind}-{channel.csi.kind}"
    return str(channel.kind)


# -------------------------------------------------------------------------------------------- training


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


CodecSpec = Annotated[LeanCodecSpec | CnnYang2024Spec | SwinYang2024Spec, Field(discriminator="kind")]


class TrainChannelSpec(Spec):
    """A channel of the training mixture."""

    channel: ChannelSpec
    weight: Positive = 1.0


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


def is_whole(value: Fraction) -> bool:
    """Whether a number of channel uses is whole."""
    return value.denominator == 1 and math.isfinite(value.numerator)
