"""What all delay models have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from linksim.kinds.fields import Spec
from linksim.kinds.union import path_digests

if TYPE_CHECKING:
    from channels.models.base import DelayModel
    from linksim.kinds.context import BuildContext
    from linksim.kinds.models.tdl import TdlSpec

__all__ = ["DelayModelBase"]

Idle = dict[str, tuple[Any, Any]]


class DelayModelBase(Spec):
    """Description of a delay model. A kind has ``build`` and states those facts below in which it differs."""

    kind: str
    REQUIRED: ClassVar[dict[str, str]] = {"build": "build(context) -> channels.models.base.DelayModel"}

    def build(self, context: BuildContext) -> DelayModel:
        """The delay model, for the carrier and the bandwidth of the context.

        Raises:
            ValueError: what cannot be built; the message begins with the field.
        """
        raise NotImplementedError

    @property
    def label(self) -> str:
        """Short, for the name of a channel."""
        return str(self.kind)

    @property
    def profile_label(self) -> str:
        """What the label says of the profile, where a field ``profile`` is not swept."""
        return ""

    @property
    def transmit_antennas(self) -> int | None:
        """How many; None where only a file says it."""
        return 1

    @property
    def moves(self) -> bool:
        """Whether gains change within a frame and between frames."""
        return bool(getattr(self, "speed_mps", 0.0))

    @property
    def is_still(self) -> bool:
        """Whether nothing changes with time, so that what is old is as good as new."""
        return not self.moves

    @property
    def is_flat(self) -> bool:
        """Whether all subcarriers have the same gain."""
        return False

    @property
    def unequal_draws(self) -> bool:
        """Whether places differ by more than fading, so that receivers need a gain control."""
        return False

    @property
    def path_loss_kept(self) -> bool:
        """Whether draws have a path loss of their own."""
        return False

    @property
    def needs_path_loss(self) -> bool:
        """Whether a link budget has to say the path loss, because the model has none. If not, what ``build``
        returns has ``mean_power``, the mean power of its gains before they are normalised, linear.
        """
        return True

    def budget_complaint(self) -> str:
        """Why the model does not go with a link budget; empty if it does."""
        return ""

    def without_effect(self) -> Idle:
        """Fields of the model that change nothing, by path: value and default."""
        return {}

    @property
    def carrier_is_recorded(self) -> bool:
        """Whether gains are those of the carrier of a recording, whatever ``carrier_hz`` says."""
        return False

    def files(self) -> dict[str, str]:
        """SHA-256 of every file that decides what the model does, by name: of those that its fields of type
        ``PathName`` name.
        """
        return path_digests(self)

    def untraced(self, carrier_hz: float) -> TdlSpec | None:
        """A model with as many antennas that takes no time to build; None: this one takes none."""
        return None

    @property
    def rayleigh_branches(self) -> tuple[int, int] | None:
        """(receive, transmit) antennas, where all gains are independent and Rayleigh: what closed forms know;
        None otherwise.
        """
        return None
