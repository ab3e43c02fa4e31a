"""Linear analog coding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from channels.kinds import kind
from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.fields import SnrDb
from linksim.kinds.schemes.base import AnalogSchemeBase, Idle

if TYPE_CHECKING:
    from linksim.kinds.context import BuildContext
    from linksim.schemes.base import Scheme

__all__ = ["LinearAnalogSpec"]

_DESIGN_SNR_DB = 7.0
_BLOCK_KLT = "block-klt-16.safetensors"


@kind("scheme", "linear_analog")
class LinearAnalogSpec(AnalogSchemeBase):
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

    def build(self, context: BuildContext) -> Scheme:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        from linksim.jscc.block_klt import BlockKlt
        from linksim.jscc.linear_analog import LinearAnalogCodec
        from linksim.schemes.jscc import JsccScheme
        from linksim.schemes.repetition import RepeatingCodec
        from linksim.weights import zoo

        klt = BlockKlt.load(zoo.asset(_BLOCK_KLT))
        linear = LinearAnalogCodec(klt, scale=self.scale, design_snr_db=self.design_snr_db)
        return JsccScheme(self.name, RepeatingCodec(linear), self.csit)

    def files(self) -> dict[str, str]:
        """Its transform."""
        from linksim.build.checkpoints import place_digest
        from linksim.weights import zoo

        return {_BLOCK_KLT: place_digest(zoo.asset(_BLOCK_KLT))}
