"""What all schemes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.fields import Bool, CsitName, Name, Spec
from linksim.kinds.union import path_digests

if TYPE_CHECKING:
    from linksim.build.downloads import Download
    from linksim.kinds.context import BuildContext
    from linksim.kinds.networks import NetworkBase
    from linksim.metrics.info import SideLimit
    from linksim.schemes.base import Bound, Scheme

__all__ = ["AnalogSchemeBase", "Idle", "SchemeBase", "SentSchemeBase"]

Idle = dict[str, tuple[Any, Any]]


class SchemeBase(Spec):
    """Description of a scheme: a kind and a label. A kind has ``build``, and says with which of the facts
    below it differs; most derive from :class:`SentSchemeBase` or :class:`AnalogSchemeBase`.
    """

    REQUIRED: ClassVar[dict[str, str]] = {"build": "build(context) -> linksim.schemes.base.Scheme"}
    receiver_is_told: ClassVar[bool] = False  # whether its receiver makes anything of the SNR
    is_sent: ClassVar[bool] = False  # symbols go over the channel; False of limits
    has_bits: ClassVar[bool] = False  # there is something to count bit errors of
    sends_payload: ClassVar[bool] = False  # random bits, too: see linksim.schemes.base.PayloadScheme
    gpu_share: ClassVar[float] = 0.0  # of a GPU for a worker of a cluster that has some; 0: cores do

    kind: str
    name: Name = Field(description="label in results and figures")

    def build(self, context: BuildContext) -> Scheme | Bound:
        """The scheme, for the channel of the context.

        Raises:
            ValueError: what cannot be built; the message begins with the field.
        """
        raise NotImplementedError

    @property
    def starts_programs(self) -> bool:
        """Whether it starts programs that the scenario names and the user allows: a check starts none."""
        return False

    @property
    def told_by(self) -> CsitName:
        """What its transmitter is told of a channel."""
        return "none"

    def without_effect(self, channel: ChannelBase) -> Idle:
        """Fields that change nothing on a channel, by path: value and default."""
        return {}

    def interleaves(self, channel: ChannelBase) -> bool:
        """Whether its symbols are sent in a random order."""
        return False

    @property
    def adapts(self) -> bool:
        """Whether its MCS follows the SNR, by a link-adaptation table."""
        return False

    @property
    def calibrated_csit(self) -> CsitName:
        """What a scheme that chooses its MCS by a table is told; the table is measured with it."""
        return "none"

    def adapts_to_each_frame(self, channel: ChannelBase) -> bool:
        """Whether the frames of a batch may be coded differently, so that each goes alone."""
        return False

    def files(self) -> dict[str, str]:
        """Digest of every file that decides what the scheme does, by name: of those that its fields of type
        ``PathName`` name.
        """
        return path_digests(self)

    def tools(self, context: BuildContext) -> dict[str, str]:
        """Versions of what decides what it does beside linksim, by name.

        Raises:
            MetricUnavailable: weights that cannot be had.
        """
        return {}

    def networks(self) -> list[NetworkBase]:
        """Descriptions of the networks in its checkpoints, as far as these can be read."""
        return []

    def trained_on(self) -> dict[str, list[str] | None]:
        """Quality measures that its network was trained on, by the scheme's name; None where its checkpoint
        does not say; nothing for schemes without a trained network.
        """
        return {}

    def downloads(self) -> list[Download]:
        """What a run downloads first."""
        return []

    def on_this_machine(self) -> SchemeBase | None:
        """The scheme as far as nothing has to be downloaded for it; None: not at all."""
        return None if self.downloads() else self

    def side_limits(self) -> list[SideLimit]:
        """Measures that it uses, which need pictures of a size."""
        return []

    def of_pictures_only(self) -> Idle:
        """Fields that change nothing, or cannot be, where random bits are sent: value, and what to write."""
        return {}

    @property
    def bits_per_symbol_uncoded(self) -> int | None:
        """Of uncoded square QAM decided symbol by symbol, whose bit errors have closed forms; else None."""
        return None


class SentSchemeBase(SchemeBase):
    """A scheme that sends symbols, analog or digital, and not a limit."""

    is_sent: ClassVar[bool] = True

    interleave: Bool | None = Field(
        None,
        description="put the symbols on the channel uses of an image in a fixed random order; none: over a "
        "resource grid, where neighbours fade together; false: in order, frequency first as in TS 38.211",
    )

    def without_effect(self, channel: ChannelBase) -> Idle:
        """An order where all symbols fare alike; the SNR of a frame where all frames have the same."""
        found: Idle = {}
        if channel.fares_alike:
            found["interleave"] = self.interleave or None, None
        if self.told_by == "instantaneous_snr" and channel.is_constant:
            found["csit"] = self.told_by, "average_snr"
        return found

    def interleaves(self, channel: ChannelBase) -> bool:
        """As the scenario says, or else on a resource grid, where neighbours fade together. The same for all
        schemes that send symbols: a fade hits the code blocks of a picture as evenly as the values of a
        latent map.
        """
        return channel.has_grid if self.interleave is None else self.interleave


class AnalogSchemeBase(SentSchemeBase):
    """A scheme that sends analog symbols: what its transmitter is told, a field."""

    receiver_is_told: ClassVar[bool] = True

    csit: CsitName = Field(
        "average_snr",
        description="what the transmitter is told: nothing, the SNR averaged over draws of the channel, that "
        "of each frame with its fade, or the average and the gain of every symbol",
    )

    @property
    def told_by(self) -> CsitName:
        """What its transmitter is told of a channel."""
        return self.csit
