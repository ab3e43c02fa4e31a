"""Models with directions: clustered delay lines, and cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from channels.kinds import kind
from linksim.kinds.fields import Bool, DelaySpread, PositiveInt, Share, Spec, Speed
from linksim.kinds.models.base import DelayModelBase

if TYPE_CHECKING:
    from channels.models.base import DelayModel
    from channels.models.panel import Panel
    from linksim.kinds.context import BuildContext

__all__ = ["AntennaPanelSpec", "CdlSpec", "CellSpec"]


class AntennaPanelSpec(Spec):
    """A panel of antennas, half a wavelength apart (TR 38.901 sec. 7.3)."""

    rows: PositiveInt = Field(1, description="rows of antennas")
    columns: PositiveInt = Field(1, description="columns of antennas")
    polarization: Literal["single", "dual"] = Field("single", description="dual: two antennas per element")
    pattern: Literal["omni", "38.901"] = Field(
        "omni", description="of each antenna: the same to all sides, or that of TR 38.901"
    )

    @property
    def num_antennas(self) -> int:
        """Of the whole panel."""
        return self.rows * self.columns * (2 if self.polarization == "dual" else 1)

    def build(self) -> Panel:
        """The panel."""
        from channels.models.panel import Panel

        return Panel(**self.model_dump())


@kind("delay_model", "cdl")
class CdlSpec(DelayModelBase):
    """Clustered delay line of 3GPP TR 38.901 sec. 7.7.1: paths with directions between two panels."""

    kind: Literal["cdl"]
    profile: Literal["A", "B", "C", "D", "E"] = Field(
        description="of TR 38.901: A, B, C without line of sight, D, E with one"
    )
    delay_spread_s: DelaySpread = Field(description="root mean square delay spread")
    speed_mps: Speed = Field(0.0, description="speed of the receiver")
    transmitter: AntennaPanelSpec = Field(AntennaPanelSpec(), description="its panel of antennas")
    receiver: AntennaPanelSpec = Field(AntennaPanelSpec(), description="its panel of antennas")

    def build(self, context: BuildContext) -> DelayModel:
        """See :class:`DelayModelBase`."""
        from channels.models.cdl import CdlModel

        return CdlModel(
            self.profile,
            delay_spread_s=self.delay_spread_s,
            carrier_hz=context.carrier_hz,
            speed_mps=self.speed_mps,
            transmitter=self.transmitter.build(),
            receiver=self.receiver.build(),
            precision=context.precision,
        )

    @property
    def profile_label(self) -> str:
        """See :class:`DelayModelBase`."""
        return self.profile.lower()

    @property
    def transmit_antennas(self) -> int | None:
        """See :class:`DelayModelBase`."""
        return self.transmitter.num_antennas


@kind("delay_model", "umi")
@kind("delay_model", "uma")
@kind("delay_model", "rma")
@kind("delay_model", "inh")
class CellSpec(DelayModelBase):
    """A receiver dropped anew for every image into a cell of 3GPP TR 38.901 sec. 7.2 to 7.5."""

    kind: Literal["umi", "uma", "rma", "inh"] = Field(
        description="urban micro, urban macro, rural macro or indoor cell"
    )
    speed_mps: Speed = Field(0.0, description="speed of the receiver [m/s]")
    indoor_share: Share | None = Field(None, description="of the receivers; none: 0.8 (umi, uma), 0.5 (rma)")
    line_of_sight: Literal["random", "always", "never"] = Field(
        "random", description="drawn as often as the model says, always or never"
    )
    shadowing: Bool = Field(False, description="shadow fading between drops; its mean power is divided out")
    path_loss: Bool = Field(
        False, description="keep path and penetration loss: the mean SNR is then mostly that of close drops"
    )
    transmitter: AntennaPanelSpec = Field(AntennaPanelSpec(), description="its panel of antennas")
    receiver: AntennaPanelSpec = Field(AntennaPanelSpec(), description="its panel of antennas")

    def build(self, context: BuildContext) -> DelayModel:
        """See :class:`DelayModelBase`."""
        from channels.models.cell import CellModel

        return CellModel(
            self.kind,
            carrier_hz=context.carrier_hz,
            speed_mps=self.speed_mps,
            indoor_share=self.indoor_share,
            line_of_sight=self.line_of_sight,
            shadowing=self.shadowing,
            path_loss=self.path_loss,
            transmitter=self.transmitter.build(),
            receiver=self.receiver.build(),
            precision=context.precision,
        )

    @property
    def transmit_antennas(self) -> int | None:
        """See :class:`DelayModelBase`."""
        return self.transmitter.num_antennas

    @property
    def unequal_draws(self) -> bool:
        """See :class:`DelayModelBase`."""
        return True

    @property
    def path_loss_kept(self) -> bool:
        """See :class:`DelayModelBase`."""
        return self.path_loss

    @property
    def needs_path_loss(self) -> bool:
        """See :class:`DelayModelBase`."""
        return False

    def budget_complaint(self) -> str:
        """See :class:`DelayModelBase`."""
        return "" if self.path_loss else "model.path_loss: got false with a link_budget, expected true."
