"""What a description is given when it comes to life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from channels.base import Precision
    from linksim.kinds.channels.base import ChannelBase

__all__ = ["BuildContext"]


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
    """

    device: torch.device
    precision: Precision = "single"
    channel: ChannelBase | None = None
    workers: int = 1
    weights: bool = True
    carrier_hz: float = 0.0
    bandwidth_hz: float = 0.0
