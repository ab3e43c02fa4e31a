"""Additive white Gaussian noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from channels.kinds import kind
from linksim.kinds.channels.base import SingleCarrierBase

if TYPE_CHECKING:
    from channels.base import ChannelOperator
    from linksim.kinds.context import BuildContext

__all__ = ["AwgnSpec"]


@kind("channel", "awgn")
class AwgnSpec(SingleCarrierBase):
    """Additive white Gaussian noise."""

    kind: Literal["awgn"]

    def build_flat(self, context: BuildContext) -> ChannelOperator:
        """See :class:`SingleCarrierBase`."""
        from channels.flat.awgn import AwgnChannel

        return AwgnChannel(device=context.device, precision=context.precision)

    @property
    def is_constant(self) -> bool:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        return True

    @property
    def fares_alike(self) -> bool:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        return not self.impairments

    @property
    def one_gain(self) -> bool:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        return True

    def closed_form(self) -> Any:
        """See :class:`linksim.kinds.channels.base.ChannelBase`."""
        from linksim.report.theory import awgn

        return None if self.impairments else (awgn, 1.0)
