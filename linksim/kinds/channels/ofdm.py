"""OFDM over a delay model: grid, waveform, antennas, receiver."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from channels.kinds import kind
from linksim.kinds.channels.base import ChannelBase, Idle, ToldEndSpec
from linksim.kinds.channels.csi import USUAL_PILOTS, EstimatorBase, OfdmCsiSpec
from linksim.kinds.fields import (
    SNR_DB_RANGE,
    Bool,
    Carrier,
    Int,
    NaturalInt,
    PositiveInt,
    Real,
    Spacing,
    Spec,
)
from linksim.kinds.impairments import ImpairmentBase
from linksim.kinds.models.base import DelayModelBase
from linksim.kinds.union import KindOf

if TYPE_CHECKING:
    from channels.antennas.transmission import Transmission
    from channels.base import ChannelOperator
    from channels.models.base import Covariance
    from linksim.kinds.context import BuildContext

__all__ = ["LinkBudgetSpec", "OfdmSpec", "PrecodingSpec", "TransmissionSpec"]

_REPORT_BITS = 4
_TRUTH = ToldEndSpec().model_dump()


def _usual_model(value: Any) -> Any:
    """A model without a kind is a tapped delay line."""
    return {"kind": "tdl", **value} if isinstance(value, dict) else value


class PrecodingSpec(Spec):
    """What an SVD-precoding transmitter knows of the channel."""

    csit: Literal["perfect", "quantised"] = Field(
        "perfect", description="what the transmitter knows of the gains: all of them, or a report of few bits"
    )
    bits: Annotated[Int, Field(ge=1, le=12)] = Field(
        _REPORT_BITS, description="of a quantised report, per slot and subband"
    )
    delay_slots: Annotated[Int, Field(ge=0, le=100)] = Field(
        0, description="age of the transmitter's knowledge"
    )
    subband: PositiveInt | None = Field(None, description="subcarriers with one precoder; none: all")


class TransmissionSpec(Spec):
    """Streams and transmit antennas; the power of a resource element is shared equally by them."""

    kind: Literal["single", "alamouti", "multiplexing", "svd"] = Field(
        "single",
        description="one stream, Alamouti's code, a stream from each antenna, or along singular vectors",
    )
    streams: PositiveInt | None = Field(None, description="of svd; multiplexing sends one per antenna")
    precoding: PrecodingSpec = Field(PrecodingSpec(), description="of svd")

    def build(self) -> Transmission:
        """The transmission."""
        from channels.antennas.transmission import Precoding, Transmission

        precoding = Precoding(**self.precoding.model_dump()) if self.kind == "svd" else Precoding()
        return Transmission(self.kind, self.streams, precoding)

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
    noise_figure_db: Annotated[Real, Field(ge=0, le=50)] = Field(9.0, description="of the receiver")
    temperature_k: Annotated[Real, Field(ge=1, le=1e4)] = Field(290.0, description="of the thermal noise")
    path_loss_db: Annotated[Real, Field(ge=0, le=300)] | None = Field(
        None, description="of tdl and cdl, antenna gains included; the other models have their own"
    )


@kind("channel", "ofdm")
class OfdmSpec(ChannelBase):
    """OFDM over a channel model; slots of one image follow each other in time."""

    kind: Literal["ofdm"]
    model: Annotated[DelayModelBase, KindOf("delay_model"), BeforeValidator(_usual_model)] = Field(
        description="paths between the antennas: their delays and how they move"
    )
    carrier_hz: Carrier = Field(3.5e9, description="carrier frequency [Hz]")
    subcarrier_spacing_hz: Spacing = Field(15e3, description="spacing of the subcarriers [Hz]")
    num_subcarriers: Annotated[Int, Field(ge=2, le=4096)] = Field(
        64, description="subcarriers, guards included"
    )
    num_ofdm_symbols: Annotated[Int, Field(ge=2, le=140)] = Field(14, description="OFDM symbols of a slot")
    cyclic_prefix_length: NaturalInt | None = Field(
        None, description="samples; none: the normal prefix of NR (7%)"
    )
    guard_subcarriers: tuple[NaturalInt, NaturalInt] = Field(
        (0, 0), description="unused subcarriers at the lower and the upper edge"
    )
    dc_null: Bool = Field(False, description="leave the middle subcarrier unused")
    csi: Annotated[EstimatorBase, KindOf("estimator")] = Field(
        OfdmCsiSpec(kind="ls"), description="what the receiver knows of the gains, and its pilots"
    )
    transmission: TransmissionSpec = Field(
        TransmissionSpec(), description="streams, and how transmit antennas are used"
    )
    link_budget: LinkBudgetSpec | None = Field(
        None, description="transmit power and noise figure, instead of sweep.snr_db"
    )
    waveform: Literal["frequency", "time"] = Field(
        "frequency",
        description="time: sample by sample, so that a short prefix and timing errors make interference",
    )
    impairments: tuple[Annotated[ImpairmentBase, KindOf("impairment")], ...] = Field(
        (), description="of transmitter and receiver, in order"
    )

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
            usual = " (the usual ones)" if self.csi.dmrs is None and pilots == USUAL_PILOTS else ""
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
        if self.transmission.precoding.subband is not None and not self.csi.is_perfect:
            got = f"got {self.transmission.precoding.subband} with csi {self.csi.kind}"
            raise ValueError(f"transmission.precoding.subband: {got}, expected none, or perfect CSI.")
        return self

    @model_validator(mode="after")
    def _path_loss(self) -> OfdmSpec:
        if self.link_budget is None:
            return self
        loss, model = self.link_budget.path_loss_db, self.model
        if model.needs_path_loss:
            if loss is None:
                raise ValueError(f"link_budget.path_loss_db: missing, expected dB, as {model.kind} has none.")
            return self
        if loss is not None:
            own = f"none: {model.kind} has its own"
            raise ValueError(f"link_budget.path_loss_db: got {loss:g} dB, expected {own}.")
        if model.budget_complaint():
            raise ValueError(model.budget_complaint())
        return self

    @property
    def bandwidth_hz(self) -> float:
        """Of the whole grid [Hz]."""
        return self.num_subcarriers * self.subcarrier_spacing_hz

    def build(self, context: BuildContext) -> ChannelOperator:
        """See :class:`ChannelBase`."""
        from channels.ofdm.link import OfdmChannel
        from channels.ofdm.time import TimeDomainOfdmChannel

        model = self.model.build(
            replace(context, carrier_hz=self.carrier_hz, bandwidth_hz=self.bandwidth_hz, channel=self)
        )
        transmission = self.transmission.build()
        streams = transmission.streams(model.num_tx_antennas, model.num_rx_antennas)
        waveform = {"frequency": OfdmChannel, "time": TimeDomainOfdmChannel}[self.waveform]
        return waveform(
            model,
            num_subcarriers=self.num_subcarriers,
            subcarrier_spacing_hz=self.subcarrier_spacing_hz,
            num_ofdm_symbols=self.num_ofdm_symbols,
            pilots=self.csi.pilots(streams),
            csi=self.csi.knowledge,
            interpolation=self.csi.interpolating,
            assumed=self._assumed(),
            noise=self.csi.noise,
            gain_control=self.has_unequal_draws,
            report_delay_slots=self.told.transmitter.delay_slots,
            transmission=transmission,
            impairments=[imperfect.build() for imperfect in self.impairments],
            cyclic_prefix_length=self.cyclic_prefix_length,
            guard_subcarriers=self.guard_subcarriers,
            dc_null=self.dc_null,
            device=context.device,
            precision=context.precision,
        )

    def _assumed(self) -> Covariance | Literal["robust"] | None:
        """What the estimator is designed for."""
        assumed = self.csi.assumed
        if assumed is None or assumed == "robust":
            return assumed
        from channels.models.base import ExponentialCovariance

        return ExponentialCovariance(
            delay_spread_s=assumed.delay_spread_s, carrier_hz=self.carrier_hz, speed_mps=assumed.speed_mps
        )

    def resulting_snr_db(self, operator: ChannelOperator) -> float | None:
        """See :class:`ChannelBase`."""
        if self.link_budget is None:
            return None
        from channels.checks import complaint
        from channels.link_budget import LinkBudget
        from channels.ofdm.link import OfdmChannel
        from channels.units import linear_to_db

        assert isinstance(operator, OfdmChannel)
        given = self.link_budget
        if given.path_loss_db is not None:
            gain_db = -given.path_loss_db
        else:
            gain_db = linear_to_db(self._mean_power(operator.model))
        budget = LinkBudget(given.transmit_power_dbm, given.noise_figure_db, given.temperature_k)
        snr_db = round(budget.snr_db(gain_db, operator.bandwidth_hz), 2)
        low, high = SNR_DB_RANGE
        if not low <= snr_db <= high:
            got = f"{snr_db:g} dB with a mean gain of {gain_db:.1f} dB"
            cure = "Change transmit_power_dbm or the path loss."
            expected = f"{low:g} to {high:g} dB"
            raise ValueError(complaint("link_budget: resulting SNR", "out of range", got, expected, cure))
        return snr_db

    def _mean_power(self, built: object) -> float:
        """Mean gain of a built model that has a path loss of its own."""
        from channels.checks import complaint
        from linksim.build.foreign import place_of

        power = getattr(built, "mean_power", None)
        if not isinstance(power, float | int) or not 0 < power < math.inf:
            of = place_of(None, self.model) or f"model {self.model.kind}"
            what = f"{of}: {type(built).__name__}.mean_power"
            expected = "the mean power of its gains before they are normalised, linear"
            cure = "A model says needs_path_loss where it has none."
            raise ValueError(complaint(what, "missing" if power is None else "wrong", power, expected, cure))
        return power

    def files(self) -> dict[str, str]:
        """See :class:`ChannelBase`."""
        return self.model.files()

    def untraced(self) -> ChannelBase:
        """See :class:`ChannelBase`."""
        plain = self.model.untraced(self.carrier_hz)
        return self if plain is None else self.model_copy(update={"model": plain, "link_budget": None})

    def in_frequency(self) -> ChannelBase:
        """See :class:`ChannelBase`."""
        return self.model_copy(update={"waveform": "frequency"})

    def closed_form(self) -> Any:
        """See :class:`ChannelBase`."""
        from linksim.report.theory import rayleigh

        known = self.csi.is_perfect and self.csi.noise == "known" and self.link_budget is None
        antennas, kind = self.model.rayleigh_branches, self.transmission.kind
        if self.impairments or not known or antennas is None:
            return None
        receive, transmit = antennas
        if kind == "single" and transmit == 1:
            return rayleigh(receive), 1.0
        # the same gain for both symbols of a pair
        alike = self.model.is_still and self.model.is_flat
        return (rayleigh(2 * receive), 0.5) if kind == "alamouti" and alike else None

    def label(self, swept: Collection[str] = ()) -> str:
        """With the model, its profile and the estimator."""
        profile = "" if "model.profile" in swept else self.model.profile_label
        estimator = [] if "csi.kind" in swept else [self.csi.kind]
        return "-".join(["ofdm", self.model.label + profile, *estimator])

    def without_effect(self) -> Idle:
        """What other estimators, transmissions, antennas or models would use."""
        found: Idle = super().without_effect() if self.model.is_still else {}
        found |= self._idle_csi() | self._idle_transmission()
        found |= {f"model.{path}": pair for path, pair in self.model.without_effect().items()}
        if self.model.carrier_is_recorded and self.csi.assumed is None:
            found["carrier_hz"] = self.carrier_hz, self.carrier_hz  # says what the recording is of
        return found

    def _idle_csi(self) -> Idle:
        found = {f"csi.{path}": pair for path, pair in self.csi.without_effect().items()}
        if self.csi.noise == "estimated":  # such a receiver is not told, it measures
            for field, truth in _TRUTH.items():
                found[f"told.receiver.{field}"] = getattr(self.told.receiver, field), truth
        return found

    def _idle_transmission(self) -> Idle:
        sent = self.transmission
        found: Idle = {}
        one_stream = sent.kind == "multiplexing" or (sent.kind == "svd" and sent.streams == 1)
        if one_stream and self.model.transmit_antennas == 1:
            found["transmission.kind"] = sent.kind, "single"
        if sent.kind != "svd":
            return found | {"transmission.precoding": (sent.precoding, PrecodingSpec())}
        if sent.precoding.csit == "perfect":
            found["transmission.precoding.bits"] = sent.precoding.bits, _REPORT_BITS
        if self.model.is_still:
            found["transmission.precoding.delay_slots"] = sent.precoding.delay_slots, 0
        return found

    @property
    def moves(self) -> bool:
        """See :class:`ChannelBase`."""
        return self.model.moves

    @property
    def has_grid(self) -> bool:
        """See :class:`ChannelBase`."""
        return True

    @property
    def has_link_budget(self) -> bool:
        """See :class:`ChannelBase`."""
        return self.link_budget is not None

    @property
    def has_unequal_draws(self) -> bool:
        """Whether places differ by more than fading, so that receivers need a gain control."""
        return self.model.unequal_draws

    @property
    def has_path_loss(self) -> bool:
        """See :class:`ChannelBase`."""
        return self.model.path_loss_kept or (self.has_link_budget and not self.model.needs_path_loss)
