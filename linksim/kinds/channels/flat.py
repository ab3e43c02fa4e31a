"""Block fading: one complex gain per block."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from channels.kinds import kind
from linksim.kinds.channels.base import SingleCarrierBase
from linksim.kinds.fields import GainDb, NaturalInt, PositiveInt, Spec

if TYPE_CHECKING:
    from channels.base import ChannelOperator
    from linksim.kinds.context import BuildContext

__all__ = ["FlatCsiSpec", "FlatFadingBase", "RayleighSpec", "RicianSpec"]


class FlatCsiSpec(Spec):
    """Channel knowledge on block fading: known, or estimated from pilots in front of every block."""

    kind: Literal["perfect", "ls", "lmmse"] = Field(
        "perfect", description="what the receiver knows: the gains themselves, or estimates from pilots"
    )
    pilots_per_block: NaturalInt = Field(0, description="pilot uses per coherence block, for ls and lmmse")

    @model_validator(mode="after")
    def _pilots(self) -> FlatCsiSpec:
        if (self.kind == "perfect") != (self.pilots_per_block == 0):
            expected = "0" if self.kind == "perfect" else "at least 1"
            got = f"got {self.pilots_per_block} with {self.kind}"
            raise ValueError(f"pilots_per_block: {got}, expected {expected}.")
        return self


class FlatFadingBase(SingleCarrierBase):
    """What block fading has in common, whatever the law of its gains."""

    coherence_symbols: PositiveInt | None = Field(
        None, description="data symbols per block; none: one per image"
    )
    csi: FlatCsiSpec = Field(FlatCsiSpec(), description="what the receiver knows of the gains")

    @property
    def fares_alike(self) -> bool:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        return self.coherence_symbols is None and not self.impairments

    @property
    def one_gain(self) -> bool:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        return self.coherence_symbols is None

    def label(self, swept: Collection[str] = ()) -> str:
        """With the estimator, unless gains are known."""
        if self.csi.kind == "perfect" or "csi.kind" in swept:
            return str(self.kind)
        return f"{self.kind}-{self.csi.kind}"

    @property
    def rice_factor_db(self) -> float | None:
        """Of the line of sight [dB]; None: there is none."""
        return None

    def build_flat(self, context: BuildContext) -> ChannelOperator:
        """See :class:`SingleCarrierBase`."""
        from channels.flat.fading import FlatFadingChannel

        return FlatFadingChannel(
            coherence_symbols=self.coherence_symbols,
            k_factor_db=self.rice_factor_db,
            csi=self.csi.kind,
            pilots_per_block=self.csi.pilots_per_block,
            device=context.device,
            precision=context.precision,
        )


@kind("channel", "rayleigh")
class RayleighSpec(FlatFadingBase):
    """Rayleigh block fading, one complex gain per block."""

    kind: Literal["rayleigh"]

    def closed_form(self) -> Any:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        from linksim.report.theory import rayleigh

        return None if self.impairments or self.csi.kind != "perfect" else (rayleigh(1), 1.0)


@kind("channel", "rician")
class RicianSpec(FlatFadingBase):
    """Rician block fading with a line-of-sight part of K dB."""

    kind: Literal["rician"]
    k_factor_db: GainDb = Field(description="power of the line of sight over that of the scattered part")

    @property
    def rice_factor_db(self) -> float | None:
        """See :class:`FlatFadingBase`."""
        return self.k_factor_db

    def closed_form(self) -> Any:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        from channels.units import db_to_linear
        from linksim.report.theory import rician

        if self.impairments or self.csi.kind != "perfect":
            return None
        return rician(db_to_linear(self.k_factor_db)), 1.0
