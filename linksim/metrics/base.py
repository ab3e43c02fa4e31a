"""What a metric is. May import: torch, channels.{base, types}."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from channels.base import ChannelOperator
from channels.types import Draw, Received

__all__ = ["CountMetric", "ImageMetric", "LinkMetric", "MetricInfo", "MetricUnavailable"]


@dataclass(frozen=True)
class MetricInfo:
    """Facts about a metric, recorded with every run.

    Args:
        name: column value in results.csv.
        unit: "dB", "1", ...
        higher_is_better: direction.
        reference: paper, package and version, digest of weights.
        min_side: smallest image side it is defined for [pixels].
    """

    name: str
    unit: str
    higher_is_better: bool
    reference: str
    min_side: int = 1


class MetricUnavailable(RuntimeError):
    """A metric that cannot be computed here, with the reason and the cure."""


class ImageMetric(Protocol):
    """Quality of images, one value each; means belong to ``linksim.statistics``."""

    @property
    def info(self) -> MetricInfo:
        """Facts."""
        ...

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1], both already rounded to 8 bits."""
        ...


class CountMetric(Protocol):
    """Errors and trials, one pair per image; never a ratio."""

    @property
    def info(self) -> MetricInfo:
        """Facts."""
        ...

    def __call__(self, hat: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Errors [B], trials [B] int64."""
        ...


class LinkMetric(Protocol):
    """A fact of the transmission, one value per image, whatever the scheme makes of it."""

    @property
    def info(self) -> MetricInfo:
        """Facts."""
        ...

    def __call__(self, symbols: Tensor, received: Received, channel: ChannelOperator, draw: Draw) -> Tensor:
        """[B] float64 of sent symbols [B, n], what was received, and the channel with its draw."""
        ...
