"""Tapped delay lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from channels.kinds import kind
from linksim.kinds.fields import DelaySpread, PositiveInt, Real, Speed
from linksim.kinds.models.base import DelayModelBase, Idle

if TYPE_CHECKING:
    from channels.models.base import DelayModel
    from linksim.kinds.context import BuildContext

__all__ = ["TdlSpec"]

Correlation = Annotated[Real, Field(ge=0, le=0.999)]
_RAYLEIGH_PROFILES = ("A", "B", "C", "A10", "A30", "B100", "C60", "C300")


@kind("delay_model", "tdl")
class TdlSpec(DelayModelBase):
    """Tapped delay line of 3GPP TR 38.901 sec. 7.7.2 or TS 38.101-4."""

    kind: Literal["tdl"] = "tdl"
    profile: Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300"] = Field(
        description="A to E are scaled to a delay spread; the others are those of conformance tests"
    )
    delay_spread_s: DelaySpread | None = Field(
        None, description="RMS delay spread [s] of profiles A to E; the others have their own"
    )
    speed_mps: Speed = Field(0.0, description="speed of the receiver [m/s]")
    rx_antennas: PositiveInt = Field(1, description="antennas of the receiver")
    tx_antennas: PositiveInt = Field(1, description="antennas of the transmitter")
    rx_correlation: Correlation = Field(0.0, description="of neighbouring antennas; 0: independent fades")
    tx_correlation: Correlation = Field(
        0.0, description="of neighbouring transmit antennas; 0: independent fades"
    )

    @model_validator(mode="after")
    def _spread(self) -> TdlSpec:
        if len(self.profile) == 1 and self.delay_spread_s is None:
            raise ValueError("delay_spread_s: missing, expected seconds such as 100e-9.")
        if len(self.profile) > 1 and self.delay_spread_s is not None:
            own = f"profile {self.profile} has its own"
            raise ValueError(f"delay_spread_s: got {self.delay_spread_s:g} s, expected none: {own}.")
        return self

    def build(self, context: BuildContext) -> DelayModel:
        """See :class:`DelayModelBase`."""
        from channels.models.tdl import TdlModel

        return TdlModel(
            self.profile,
            delay_spread_s=self.delay_spread_s,
            carrier_hz=context.carrier_hz,
            speed_mps=self.speed_mps,
            num_rx_antennas=self.rx_antennas,
            num_tx_antennas=self.tx_antennas,
            rx_correlation=self.rx_correlation,
            tx_correlation=self.tx_correlation,
            precision=context.precision,
        )

    @property
    def profile_label(self) -> str:
        """See :class:`DelayModelBase`."""
        return self.profile.lower()

    @property
    def is_flat(self) -> bool:
        """See :class:`DelayModelBase`."""
        return self.delay_spread_s == 0

    @property
    def transmit_antennas(self) -> int | None:
        """See :class:`DelayModelBase`."""
        return self.tx_antennas

    def without_effect(self) -> Idle:
        """Correlations of a single antenna."""
        ends = ("rx", "tx")
        alone = [end for end in ends if getattr(self, f"{end}_antennas") == 1]
        return {f"{end}_correlation": (getattr(self, f"{end}_correlation"), 0.0) for end in alone}

    @property
    def rayleigh_branches(self) -> tuple[int, int] | None:
        """See :class:`DelayModelBase`."""
        correlated = (self.rx_antennas > 1 and self.rx_correlation) or (
            self.tx_antennas > 1 and self.tx_correlation
        )
        if self.profile not in _RAYLEIGH_PROFILES or correlated:
            return None
        return self.rx_antennas, self.tx_antennas
