"""What all channels have in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from linksim.kinds.fields import GainDb, Int, Name, Positive, Real, SnrDb, Spec
from linksim.kinds.impairments import ImpairmentBase
from linksim.kinds.union import KindOf, path_digests

if TYPE_CHECKING:
    from channels.base import ChannelOperator
    from linksim.kinds.context import BuildContext

__all__ = [
    "ChannelBase",
    "SingleCarrierBase",
    "ToldEndSpec",
    "ToldSpec",
    "ToldTransmitterSpec",
    "channel_name",
]

_SYMBOL_RATE_HZ = 1e6
Idle = dict[str, tuple[Any, Any]]


class ToldEndSpec(Spec):
    """What one end is told of the SNR: the truth, or a fixed value; an offset; an error."""

    fixed_db: SnrDb | None = Field(None, description="told whatever the SNR is")
    offset_db: GainDb = Field(0.0, description="told is so much more")
    error_db: Annotated[Real, Field(ge=0, le=20)] = Field(
        0.0, description="standard deviation of an error, Gaussian in dB, a new one for every frame"
    )


class ToldTransmitterSpec(ToldEndSpec):
    """What the transmitter is told of the SNR, where a scheme asks for it (csit)."""

    delay_slots: Annotated[Int, Field(ge=0, le=100)] = Field(
        0, description="age of the report that csit: instantaneous_snr is told [slots]; of ofdm"
    )


class ToldSpec(Spec):
    """What the ends are told of the SNR, where that is not the truth; the same for every scheme."""

    transmitter: ToldTransmitterSpec = Field(ToldTransmitterSpec(), description="what it is told, and when")
    receiver: ToldEndSpec = Field(ToldEndSpec(), description="what it is told")


class ChannelBase(Spec):
    """Description of a channel: a kind, a label, and what its ends are told of the SNR.

    A kind has ``build``, and says with which of the facts below it differs.
    """

    REQUIRED: ClassVar[dict[str, str]] = {"build": "build(context) -> channels.base.ChannelOperator"}

    kind: str
    name: Name | None = Field(None, description="label in results; needed to tell channels of one kind apart")
    told: ToldSpec = Field(ToldSpec(), description="what the ends are told of the SNR")

    def build(self, context: BuildContext) -> ChannelOperator:
        """The operator, on the device and in the precision of the context.

        Raises:
            ValueError: what cannot be built; the message begins with the field.
        """
        raise NotImplementedError

    def label(self, swept: Collection[str] = ()) -> str:
        """Name of a channel that has none: its kind and main parameters.

        Args:
            swept: fields that have several values, by path; a label names none of these.
        """
        return str(self.kind)

    def without_effect(self) -> Idle:
        """Fields that change nothing in this channel, by path: value and default."""
        return {"told.transmitter.delay_slots": (self.told.transmitter.delay_slots, 0)}  # no slots here

    @property
    def moves(self) -> bool:
        """Whether a later transmission meets the fades of an earlier one, gone on in time."""
        return False

    @property
    def is_constant(self) -> bool:
        """Whether every frame meets the same channel, and every symbol of it."""
        return False

    @property
    def fares_alike(self) -> bool:
        """Whether all symbols of an image fare alike, so that their order is of no importance."""
        return False

    @property
    def one_gain(self) -> bool:
        """Whether an image meets a single gain."""
        return False

    @property
    def has_grid(self) -> bool:
        """Whether symbols stand on a resource grid, where neighbours fade together."""
        return False

    @property
    def has_link_budget(self) -> bool:
        """Whether the SNR follows from transmit power and noise figure."""
        return False

    @property
    def has_path_loss(self) -> bool:
        """Whether draws differ by path loss, so that their average SNR says little of any of them."""
        return False

    def resulting_snr_db(self, operator: ChannelOperator) -> float | None:
        """Es/N0 per data use [dB] that a link budget gives, averaged over all draws, to a hundredth of a
        decibel; None without a link budget.

        Raises:
            ValueError: an SNR that no scenario may ask for.
        """
        return None

    def files(self) -> dict[str, str]:
        """SHA-256 of every file that decides what the channel does, by name: of those that its fields of type
        ``PathName`` name.
        """
        return path_digests(self)

    def untraced(self) -> ChannelBase:
        """A channel to count uses with, that takes no time to build.

        Raises:
            ValueError: what would be refused later.
        """
        return self

    def in_frequency(self) -> ChannelBase:
        """The same channel by its frequency response, where closed forms know the noise of it."""
        return self

    def closed_form(self) -> Any:
        """(fading of :mod:`linksim.report.theory`, share of the SNR of each branch) where bit errors of
        uncoded QAM have a closed form; None otherwise.
        """
        return None


class SingleCarrierBase(ChannelBase):
    """What channels without a resource grid have in common: imperfect radios at symbol rate. A kind builds
    the channel alone (``build_flat``).
    """

    REQUIRED: ClassVar[dict[str, str]] = {
        "build_flat": "build_flat(context) -> channels.base.ChannelOperator"
    }

    impairments: tuple[Annotated[ImpairmentBase, KindOf("impairment")], ...] = Field(
        (), description="of transmitter and receiver, in order"
    )
    symbol_rate_hz: Positive = Field(_SYMBOL_RATE_HZ, description="what offsets and phase noise refer to")

    def build_flat(self, context: BuildContext) -> ChannelOperator:
        """The operator between ideal radios."""
        raise NotImplementedError

    def build(self, context: BuildContext) -> ChannelOperator:
        """See :class:`ChannelBase`."""
        inner = self.build_flat(context)
        if not self.impairments:
            return inner
        from channels.flat.hardware import SingleCarrierChannel

        hardware = [imperfect.build() for imperfect in self.impairments]
        return SingleCarrierChannel(inner, hardware, symbol_rate_hz=self.symbol_rate_hz)

    def without_effect(self) -> Idle:
        """The rate, without impairments that refer to it."""
        found = super().without_effect()
        return (
            found if self.impairments else found | {"symbol_rate_hz": (self.symbol_rate_hz, _SYMBOL_RATE_HZ)}
        )


def channel_name(channel: ChannelBase, swept: Collection[str] = ()) -> str:
    """Label of a channel: its name, or one made of its kind and main parameters.

    Args:
        channel: which.
        swept: fields of it that have several values, by path; a label names none of these.
    """
    return channel.label(swept) if channel.name is None else channel.name
