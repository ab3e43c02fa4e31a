"""What a scenario may say of the propagation behind an OFDM link. Imports only pydantic and
linksim.specs.fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from linksim.specs.fields import Bool, DelaySpread, PositiveInt, Real, Share, Spec, Speed

__all__ = ["MODEL_KINDS", "AntennaPanelSpec", "CdlSpec", "CellSpec", "ModelSpec", "TdlSpec"]

Correlation = Annotated[Real, Field(ge=0, le=0.999)]


class TdlSpec(Spec):
    """Tapped delay line of 3GPP TR 38.901 sec. 7.7.2 or TS 38.101-4."""

    kind: Literal["tdl"] = "tdl"
    profile: Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300"] = Field(
        description="A to E are scaled to a delay spread; the others are those of conformance tests"
    )
    delay_spread_s: DelaySpread | None = Field(
        None, description="RMS delay spread [s] of profiles A to E; the others have their own"
    )
    speed_mps: Speed = Field(0.0, description="speed of the receiver [m/s]")
    rx_antennas: PositiveInt = 1
    tx_antennas: PositiveInt = 1
    rx_correlation: Correlation = Field(0.0, description="of neighbouring antennas; 0: independent fades")
    tx_correlation: Correlation = 0.0

    @model_validator(mode="after")
    def _spread(self) -> TdlSpec:
        if len(self.profile) == 1 and self.delay_spread_s is None:
            raise ValueError("delay_spread_s: missing, expected seconds such as 100e-9.")
        if len(self.profile) > 1 and self.delay_spread_s is not None:
            own = f"profile {self.profile} has its own"
            raise ValueError(f"delay_spread_s: got {self.delay_spread_s:g} s, expected none: {own}.")
        return self


class AntennaPanelSpec(Spec):
    """A panel of antennas, half a wavelength apart (TR 38.901 sec. 7.3)."""

    rows: PositiveInt = 1
    columns: PositiveInt = 1
    polarization: Literal["single", "dual"] = Field("single", description="dual: two antennas per element")
    pattern: Literal["omni", "38.901"] = "omni"


class CdlSpec(Spec):
    """Clustered delay line of 3GPP TR 38.901 sec. 7.7.1: paths with directions between two panels."""

    kind: Literal["cdl"]
    profile: Literal["A", "B", "C", "D", "E"]
    delay_spread_s: DelaySpread
    speed_mps: Speed = 0.0
    transmitter: AntennaPanelSpec = AntennaPanelSpec()
    receiver: AntennaPanelSpec = AntennaPanelSpec()


class CellSpec(Spec):
    """A receiver dropped anew for every image into a cell of 3GPP TR 38.901 sec. 7.2 to 7.5."""

    kind: Literal["umi", "uma", "rma", "inh"]
    speed_mps: Speed = 0.0
    indoor_share: Share | None = Field(None, description="of the receivers; none: 0.8 (umi, uma), 0.5 (rma)")
    line_of_sight: Literal["random", "always", "never"] = "random"
    shadowing: Bool = Field(False, description="shadow fading between drops; its mean power is divided out")
    transmitter: AntennaPanelSpec = AntennaPanelSpec()
    receiver: AntennaPanelSpec = AntennaPanelSpec()


def _kind(value: Any) -> Any:
    """A model without a kind is a tapped delay line."""
    kind = value.get("kind", "tdl") if isinstance(value, dict) else getattr(value, "kind", None)
    return "cell" if kind in ("umi", "uma", "rma", "inh") else kind


ModelSpec = Annotated[
    Annotated[TdlSpec, Tag("tdl")] | Annotated[CdlSpec, Tag("cdl")] | Annotated[CellSpec, Tag("cell")],
    Discriminator(_kind),
]
MODEL_KINDS: tuple[type[Spec], ...] = (TdlSpec, CdlSpec, CellSpec)
