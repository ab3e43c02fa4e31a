"""What a description is given when it comes to life."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

    from channels.base import Precision
    from linksim.kinds.channels.base import ChannelBase

__all__ = ["BuildContext", "Shared"]

T = TypeVar("T")


class Shared:
    """What several parts of a run have in common and is made once: models, searches, tables. It lasts as long
    as the run.

    Args:
        streams: folder of coded pictures; None: that of the user, which knows pictures of earlier runs.
    """

    def __init__(self, streams: Path | None = None) -> None:
        self.streams = streams
        self._made: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is there under a key; made if nothing is."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found


@dataclass(frozen=True)
class BuildContext:
    """Where and for what something is built.

    Args:
        device: where networks and channels run.
        precision: of channels, "single" or "double".
        channel: of a scheme, the channel that it will run on (link adaptation is per channel).
        workers: processes that code pictures.
        weights: False for a check: of large models only the headers are read.
        carrier_hz: of a delay model, the carrier frequency [Hz].
        bandwidth_hz: of a delay model, that of the whole grid [Hz]; recordings are normalised over it.
        shared: of the run.
        pictures: False where frames carry random bits.
    """

    device: torch.device
    precision: Precision = "single"
    channel: ChannelBase | None = None
    workers: int = 1
    weights: bool = True
    carrier_hz: float = 0.0
    bandwidth_hz: float = 0.0
    shared: Shared = field(default_factory=Shared)
    pictures: bool = True
