"""Limits of separation: a source codec at the capacity of the channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from channels.kinds import kind
from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.fields import Real
from linksim.kinds.schemes.base import Idle, SchemeBase
from linksim.kinds.schemes.source import Source, SourceCoded, make_source

if TYPE_CHECKING:
    from torch import Tensor

    from linksim.kinds.context import BuildContext
    from linksim.schemes.base import Bound
    from linksim.schemes.bound import BoundRate

    Sinrs = Callable[[int, float], Tensor]

__all__ = ["BoundBase", "CapacityBoundSpec", "FiniteBlocklengthBoundSpec"]

_OUTAGE = 0.1


class BoundBase(SourceCoded, SchemeBase):
    """What the limits have in common: a source codec, and what is known of the fade. A kind has ``rate``."""

    REQUIRED: ClassVar[dict[str, str]] = {"rate": "rate(sinrs) -> linksim.schemes.bound.BoundRate"}

    source: Source = Field(default_factory=make_source, description="codec of the picture")
    fading: Literal["realised", "ergodic", "outage"] = Field(
        "realised",
        description="realised: the rate that each frame's own fade allows at equal power per use; outage: "
        "one rate for all fades, frames that do not carry it are lost; ergodic: as if every use had its fade",
    )

    def without_effect(self, channel: ChannelBase) -> Idle:
        """What is known of a fade, where there is none."""
        found = super().without_effect(channel) | self.source.without_effect()
        if channel.is_constant:
            found["fading"] = self.fading, "realised"
        return found

    def rate(self, sinrs: Sinrs | None) -> BoundRate:
        """The rate of the limit; ``sinrs``: of sampled frames, where it needs them."""
        raise NotImplementedError

    def build(self, context: BuildContext) -> Bound:
        """See :class:`SchemeBase`."""
        from linksim.build.objects import sampled_sinrs
        from linksim.schemes.bound import SourceBound

        channel = context.channel
        assert channel is not None
        sinrs = None
        if self.fading != "realised":
            plain = channel.model_copy(update={"name": None})
            key = ("sinrs", type(plain), plain.model_dump_json(), tuple(channel.files().items()))
            sinrs = context.shared.once(key, lambda: sampled_sinrs(plain))
        return SourceBound(self.name, self.source.search(context), self.rate(sinrs))


@kind("scheme", "capacity_bound")
class CapacityBoundSpec(BoundBase):
    """Source codec at the capacity of the channel: no separation scheme with this codec exceeds it at equal
    power per use, in one transmission, and in the metric that it codes for.
    """

    kind: Literal["capacity_bound"]
    outage_probability: Annotated[Real, Field(gt=0, lt=1)] = Field(_OUTAGE, description="of fading: outage")

    def without_effect(self, channel: ChannelBase) -> Idle:
        """The probability of what is no outage."""
        found = super().without_effect(channel)
        if self.fading != "outage" or channel.is_constant:
            found["outage_probability"] = self.outage_probability, _OUTAGE
        return found

    def rate(self, sinrs: Sinrs | None) -> BoundRate:
        """See :class:`BoundBase`."""
        from linksim.schemes.bound import BoundRate

        return BoundRate(self.fading, None, self.outage_probability, sinrs)


@kind("scheme", "finite_blocklength_bound")
class FiniteBlocklengthBoundSpec(BoundBase):
    """Source codec at the rate that n uses allow at a block error rate (normal approximation)."""

    kind: Literal["finite_blocklength_bound"]
    block_error: Annotated[Real, Field(ge=1e-12, lt=0.5)] = Field(
        1e-3, description="block error rate of the approximation"
    )

    def rate(self, sinrs: Sinrs | None) -> BoundRate:
        """See :class:`BoundBase`."""
        from linksim.schemes.bound import BoundRate

        return BoundRate(self.fading, self.block_error, sinrs=sinrs)
