"""What a scenario may say of a channel. Imports only pydantic and linksim.specs.{fields, delay_model,
impairment}.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from linksim.specs.delay_model import CdlSpec, CellSpec, ModelSpec, RayTracedSpec, RecordedSpec, TdlSpec
from linksim.specs.fields import (
    Bool,
    Carrier,
    DelaySpread,
    GainDb,
    Int,
    Name,
    NaturalInt,
    Positive,
    PositiveInt,
    Real,
    SnrDb,
    Spacing,
    Spec,
    Speed,
)
from linksim.specs.impairment import ImpairmentSpec

__all__ = [
    "CHANNEL_KINDS",
    "AssumedSpec",
    "AwgnSpec",
    "ChannelBase",
    "ChannelSpec",
    "DmrsSpec",
    "FlatCsiSpec",
    "LinkBudgetSpec",
    "OfdmCsiSpec",
    "OfdmSpec",
    "PrecodingSpec",
    "RayleighSpec",
    "RicianSpec",
    "SingleCarrierBase",
    "ToldEndSpec",
    "ToldSpec",
    "ToldTransmitterSpec",
    "TransmissionSpec",
    "channel_name",
]


_USUAL_PILOTS, _REPORT_BITS, _SYMBOL_RATE_HZ = (2, 11), 4, 1e6


class ToldEndSpec(Spec):
    """What one end is told of the SNR: the truth, or a fixed value; an offset; an error."""

    fixed_db: SnrDb | None = Field(None, description="told whatever the SNR is")
    offset_db: GainDb = Field(0.0, description="told is so much more")
    error_db: Annotated[Real, Field(ge=0, le=20)] = Field(
        0.0, description="standard deviation of an error, Gaussian in dB, a new one for every frame"
    )


_TRUTH = ToldEndSpec().model_dump()


class ToldTransmitterSpec(ToldEndSpec):
    """What the transmitter is told of the SNR, where a scheme asks for it (csit)."""

    delay_slots: Annotated[Int, Field(ge=0, le=100)] = Field(
        0, description="age of the report that csit: instantaneous_snr is told [slots]; of ofdm"
    )


class ToldSpec(Spec):
    """What the ends are told of the SNR, where that is not the truth; the same for every scheme."""

    transmitter: ToldTransmitterSpec = ToldTransmitterSpec()
    receiver: ToldEndSpec = ToldEndSpec()


class ChannelBase(Spec):
    """What all channels have in common: a kind, a label, and what its ends are told of the SNR."""

    kind: str
    name: Name | None = Field(None, description="label in results; needed to tell channels of one kind apart")
    told: ToldSpec = Field(ToldSpec(), description="what the ends are told of the SNR")

    def without_effect(self) -> dict[str, tuple[Any, Any]]:
        """Fields that change nothing in this channel, by path: value and default."""
        return {"told.transmitter.delay_slots": (self.told.transmitter.delay_slots, 0)}  # no slots here

    @property
    def moves(self) -> bool:
        """Whether a later transmission meets the fades of an earlier one, gone on in time."""
        return False


class SingleCarrierBase(ChannelBase):
    """What channels without a resource grid have in common: imperfect radios at symbol rate."""

    impairments: tuple[ImpairmentSpec, ...] = Field((), description="of transmitter and receiver, in order")
    symbol_rate_hz: Positive = Field(_SYMBOL_RATE_HZ, description="what offsets and phase noise refer to")

    def without_effect(self) -> dict[str, tuple[Any, Any]]:
        """The rate, without impairments that refer to it."""
        found = super().without_effect()
        return (
            found if self.impairments else found | {"symbol_rate_hz": (self.symbol_rate_hz, _SYMBOL_RATE_HZ)}
        )


class AwgnSpec(SingleCarrierBase):
    """Additive white Gaussian noise."""

    kind: Literal["awgn"]


class FlatCsiSpec(Spec):
    """Channel knowledge on block fading: known, or estimated from pilots in front of every block."""

    kind: Literal["perfect", "ls", "lmmse"] = "perfect"
    pilots_per_block: NaturalInt = Field(0, description="pilot uses per coherence block, for ls and lmmse")

    @model_validator(mode="after")
    def _pilots(self) -> FlatCsiSpec:
        if (self.kind == "perfect") != (self.pilots_per_block == 0):
            expected = "0" if self.kind == "perfect" else "at least 1"
            got = f"got {self.pilots_per_block} with {self.kind}"
            raise ValueError(f"pilots_per_block: {got}, expected {expected}.")
        return self


class RayleighSpec(SingleCarrierBase):
    """Rayleigh block fading, one complex gain per block."""

    kind: Literal["rayleigh"]
    coherence_symbols: PositiveInt | None = Field(
        None, description="data symbols per block; none: one per image"
    )
    csi: FlatCsiSpec = FlatCsiSpec()


class RicianSpec(SingleCarrierBase):
    """Rician block fading with a line-of-sight part of K dB."""

    kind: Literal["rician"]
    k_factor_db: GainDb
    coherence_symbols: PositiveInt | None = None
    csi: FlatCsiSpec = FlatCsiSpec()


class DmrsSpec(Spec):
    """Demodulation reference signal of NR: mapping type A, one symbol each, type 1 (comb 2)."""

    additional_positions: Annotated[Int, Field(ge=0, le=3)] = Field(
        1, description="0: symbol 2; 1: 2, 11; 2: 2, 7, 11; 3: 2, 5, 8, 11 (TS 38.211 table 6.4.1.1.3-3)"
    )
    ports: tuple[Annotated[Int, Field(ge=0, le=3)], ...] | None = Field(
        None,
        description="antenna port of every stream, less 1000: 0 and 1 share every second subcarrier under a "
        "cover code, 2 and 3 the others; none: 0, and 2 for a second stream",
    )

    @model_validator(mode="after")
    def _different(self) -> DmrsSpec:
        if self.ports is not None and (not self.ports or len(set(self.ports)) != len(self.ports)):
            raise ValueError(f"ports: got {list(self.ports)}, expected a different one for every stream.")
        return self


class AssumedSpec(Spec):
    """Statistics that an estimator is designed for: exponential delay profile, Doppler spectrum of Clarke."""

    delay_spread_s: DelaySpread
    speed_mps: Speed = 0.0


class OfdmCsiSpec(Spec):
    """Channel knowledge on OFDM: perfect, or estimated from pilot symbols of every slot."""

    kind: Literal["perfect", "ls", "lmmse"]
    pilot_symbols: tuple[NaturalInt, ...] | None = Field(
        None, description="OFDM symbols of a slot that carry pilots; not given: 2 and 11, or those of dmrs"
    )
    dmrs: DmrsSpec | None = Field(None, description="pilots of NR, instead of pilot_symbols and comb")
    comb: PositiveInt | None = Field(
        None, description="a stream has every comb-th subcarrier of a pilot symbol; none: as many as streams"
    )
    boost_db: Annotated[Real, Field(ge=-10, le=10)] | None = Field(
        None,
        description="power of a pilot over a data element; none: 0 dB, with dmrs and one stream 3 dB",
    )
    interpolation: Literal["linear", "nearest"] = Field("linear", description="of ls estimates over the slot")
    assumed: AssumedSpec | Literal["robust"] | None = Field(
        None,
        description="statistics that the receiver assumes; robust: follow from the subcarrier spacing alone; "
        "none: those of the channel",
    )
    noise: Literal["known", "estimated"] = Field(
        "known", description="estimated: noise power, and with it the receiver's SNR, from the pilots"
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_pilots(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("dmrs") is None and "pilot_symbols" not in data:
            return {**data, "pilot_symbols": _USUAL_PILOTS}
        return data

    @property
    def pilot_places(self) -> tuple[int, ...]:
        """OFDM symbols with pilots."""
        if self.dmrs is None:
            return self.pilot_symbols or ()
        return ((2,), (2, 11), (2, 7, 11), (2, 5, 8, 11))[self.dmrs.additional_positions]

    @model_validator(mode="after")
    def _one_pattern(self) -> OfdmCsiSpec:
        if self.dmrs is None:
            if self.pilot_symbols is None:
                raise ValueError("pilot_symbols: got none, expected OFDM symbols, or dmrs.")
            return self
        if self.pilot_symbols not in (None, self.pilot_places):
            got = list(self.pilot_symbols or ())
            raise ValueError(f"pilot_symbols: got {got} with dmrs, expected null: dmrs has its own.")
        if self.comb is not None:
            raise ValueError(f"comb: got {self.comb} with dmrs, expected none: dmrs has its own, 2.")
        return self


class PrecodingSpec(Spec):
    """What an SVD-precoding transmitter knows of the channel."""

    csit: Literal["perfect", "quantised"] = "perfect"
    bits: Annotated[Int, Field(ge=1, le=12)] = Field(
        _REPORT_BITS, description="of a quantised report, per slot and subband"
    )
    delay_slots: Annotated[Int, Field(ge=0, le=100)] = Field(
        0, description="age of the transmitter's knowledge"
    )
    subband: PositiveInt | None = Field(None, description="subcarriers with one precoder; none: all")


class TransmissionSpec(Spec):
    """Streams and transmit antennas; the power of a resource element is shared equally by them."""

    kind: Literal["single", "alamouti", "multiplexing", "svd"] = "single"
    streams: PositiveInt | None = Field(None, description="of svd; multiplexing sends one per antenna")
    precoding: PrecodingSpec = Field(PrecodingSpec(), description="of svd")

    @model_validator(mode="after")
    def _streams(self) -> TransmissionSpec:
        if (self.kind == "svd") != (self.streams is not None):
            raise ValueError(f"streams: got {self.streams} with {self.kind}, expected a number for svd only.")
        return self


class LinkBudgetSpec(Spec):
    """Power and noise of the radios, from which the SNR follows; sweep its transmit_power_dbm."""

    transmit_power_dbm: Annotated[Real, Field(ge=-100, le=100)] = Field(
        description="of all antennas over the whole band [dBm]"
    )
    noise_figure_db: Annotated[Real, Field(ge=0, le=50)] = 9.0
    temperature_k: Annotated[Real, Field(ge=1, le=1e4)] = 290.0
    path_loss_db: Annotated[Real, Field(ge=0, le=300)] | None = Field(
        None, description="of tdl and cdl, antenna gains included; the other models have their own"
    )


def _transmit_antennas(model: ModelSpec) -> int | None:
    """How many a model has; None of a recording, whose file says it."""
    if isinstance(model, TdlSpec):
        return model.tx_antennas
    if isinstance(model, RayTracedSpec):
        return model.tx_array.num_antennas
    return None if isinstance(model, RecordedSpec) else model.transmitter.num_antennas


class OfdmSpec(ChannelBase):
    """OFDM over a channel model; slots of one image follow each other in time."""

    kind: Literal["ofdm"]
    model: ModelSpec
    carrier_hz: Carrier = 3.5e9
    subcarrier_spacing_hz: Spacing = 15e3
    num_subcarriers: Annotated[Int, Field(ge=2, le=4096)] = 64
    num_ofdm_symbols: Annotated[Int, Field(ge=2, le=140)] = 14
    cyclic_prefix_length: NaturalInt | None = Field(
        None, description="samples; none: the normal prefix of NR (7%)"
    )
    guard_subcarriers: tuple[NaturalInt, NaturalInt] = (0, 0)
    dc_null: Bool = False
    csi: OfdmCsiSpec = OfdmCsiSpec(kind="ls")
    transmission: TransmissionSpec = TransmissionSpec()
    link_budget: LinkBudgetSpec | None = Field(
        None, description="transmit power and noise figure, instead of sweep.snr_db"
    )
    waveform: Literal["frequency", "time"] = Field(
        "frequency",
        description="time: sample by sample, so that a short prefix and timing errors make interference",
    )
    impairments: tuple[ImpairmentSpec, ...] = Field((), description="of transmitter and receiver, in order")

    @model_validator(mode="before")
    @classmethod
    def _named_by_schemes(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("told_snr") is not None:
            cure = (
                "Every scheme says by its csit what it is told: average_snr, or instantaneous_snr of a frame."
            )
            raise ValueError(f"told_snr: got {data['told_snr']}, expected nothing. {cure}")
        return {k: v for k, v in data.items() if k != "told_snr"} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _grid(self) -> OfdmSpec:
        pilots = self.csi.pilot_places
        if len(set(pilots)) != len(pilots) or any(p >= self.num_ofdm_symbols for p in pilots):
            limit = self.num_ofdm_symbols - 1
            field = "csi.pilot_symbols" if self.csi.dmrs is None else "csi.dmrs"
            usual = " (the usual ones)" if self.csi.dmrs is None and pilots == _USUAL_PILOTS else ""
            raise ValueError(
                f"{field}: got {list(pilots)}{usual}, expected different indices from 0 to {limit}."
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
        if self.csi.comb is not None and self.csi.comb > self.num_subcarriers:
            got = f"got {self.csi.comb}, expected at most num_subcarriers = {self.num_subcarriers}."
            raise ValueError(f"csi.comb: {got}")
        if self.transmission.precoding.subband is not None and self.csi.kind != "perfect":
            got = f"got {self.transmission.precoding.subband} with csi {self.csi.kind}"
            raise ValueError(f"transmission.precoding.subband: {got}, expected none, or perfect CSI.")
        return self

    @model_validator(mode="after")
    def _path_loss(self) -> OfdmSpec:
        if self.link_budget is None:
            return self
        loss, model = self.link_budget.path_loss_db, self.model
        if isinstance(model, TdlSpec | CdlSpec):
            if loss is None:
                raise ValueError(f"link_budget.path_loss_db: missing, expected dB, as {model.kind} has none.")
            return self
        if loss is not None:
            own = f"none: {model.kind} has its own"
            raise ValueError(f"link_budget.path_loss_db: got {loss:g} dB, expected {own}.")
        if isinstance(model, CellSpec) and not model.path_loss:
            raise ValueError("model.path_loss: got false with a link_budget, expected true.")
        if isinstance(model, RecordedSpec | RayTracedSpec) and model.normalize != "ensemble":
            got = f"got {model.normalize} with a link_budget"
            raise ValueError(f"model.normalize: {got}, expected ensemble, which keeps path loss.")
        return self

    def without_effect(self) -> dict[str, tuple[Any, Any]]:
        """What other estimators, transmissions, antennas or models would use."""
        model = self.model
        found: dict[str, tuple[Any, Any]] = super().without_effect() if self._is_still else {}
        found |= self._idle_csi() | self._idle_transmission()
        if isinstance(model, TdlSpec):
            for end in ("rx", "tx"):
                if getattr(model, f"{end}_antennas") == 1:
                    found[f"model.{end}_correlation"] = getattr(model, f"{end}_correlation"), 0.0
        if isinstance(model, RecordedSpec) and self.csi.assumed is None:
            found["carrier_hz"] = self.carrier_hz, self.carrier_hz  # says what the recording is of
        return found

    @property
    def _is_still(self) -> bool:
        return getattr(self.model, "speed_mps", None) == 0

    def _idle_csi(self) -> dict[str, tuple[Any, Any]]:
        csi = self.csi
        found: dict[str, tuple[Any, Any]] = {}
        if csi.kind != "ls":
            found["csi.interpolation"] = csi.interpolation, "linear"
        if csi.kind == "perfect" and csi.noise == "known":
            found["csi.assumed"] = csi.assumed, None
            found["csi.boost_db"] = csi.boost_db, None
        if csi.noise == "estimated":  # such a receiver is not told, it measures
            for field, truth in _TRUTH.items():
                found[f"told.receiver.{field}"] = getattr(self.told.receiver, field), truth
        return found

    def _idle_transmission(self) -> dict[str, tuple[Any, Any]]:
        sent = self.transmission
        found: dict[str, tuple[Any, Any]] = {}
        one_stream = sent.kind == "multiplexing" or (sent.kind == "svd" and sent.streams == 1)
        if one_stream and _transmit_antennas(self.model) == 1:
            found["transmission.kind"] = sent.kind, "single"
        if sent.kind != "svd":
            return found | {"transmission.precoding": (sent.precoding, PrecodingSpec())}
        if sent.precoding.csit == "perfect":
            found["transmission.precoding.bits"] = sent.precoding.bits, _REPORT_BITS
        if self._is_still:
            found["transmission.precoding.delay_slots"] = sent.precoding.delay_slots, 0
        return found

    @property
    def moves(self) -> bool:
        """See :class:`ChannelBase`; a recording may move by itself."""
        return isinstance(self.model, RecordedSpec) or self.model.speed_mps > 0

    @property
    def has_unequal_draws(self) -> bool:
        """Whether places differ by more than fading, so that receivers need a gain control."""
        if isinstance(self.model, RecordedSpec | RayTracedSpec):
            return self.model.normalize == "ensemble"
        return isinstance(self.model, CellSpec)

    @property
    def has_path_loss(self) -> bool:
        """Whether draws differ by path loss, so that their average SNR says little of any of them."""
        if isinstance(self.model, CellSpec):
            return self.model.path_loss
        return self.link_budget is not None and not isinstance(self.model, TdlSpec | CdlSpec)


ChannelSpec = Annotated[AwgnSpec | RayleighSpec | RicianSpec | OfdmSpec, Field(discriminator="kind")]
CHANNEL_KINDS: tuple[type[ChannelBase], ...] = (AwgnSpec, RayleighSpec, RicianSpec, OfdmSpec)


def channel_name(channel: ChannelBase, swept: Collection[str] = ()) -> str:
    """Label of a channel: its name, or one made of its kind and main parameters.

    Args:
        channel: which.
        swept: fields of it that have several values, by path; a label names none of these.
    """
    if channel.name is not None:
        return channel.name
    if isinstance(channel, OfdmSpec):
        model = channel.model
        profile = model.profile.lower() if isinstance(model, TdlSpec | CdlSpec) else ""
        model_text = model.kind + ("" if "model.profile" in swept else profile)
        return "-".join(["ofdm", model_text, *([] if "csi.kind" in swept else [channel.csi.kind])])
    if isinstance(channel, RayleighSpec | RicianSpec) and channel.csi.kind != "perfect":
        return channel.kind if "csi.kind" in swept else f"{channel.kind}-{channel.csi.kind}"
    return str(channel.kind)
