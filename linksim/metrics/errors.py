"""Bit and block errors, and pictures that did not arrive, as counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.checks import complaint
from linksim.kinds import kind
from linksim.metrics.base import CountMetric, MetricInfo, StateMetric

__all__ = ["Ber", "Bler", "Outage"]


@kind("metric", "ber")
@dataclass(frozen=True)
class Ber(CountMetric):
    """Errors of payload bits after decoding."""

    info = MetricInfo(
        "ber", "1", False, "wrong payload bits after the receiver / payload bits sent", label="bit error rate"
    )

    def __call__(self, hat: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Errors and trials [B] int64 of bits [B, k]."""
        if hat.shape != true.shape:
            raise ValueError(complaint("ber", "wrong shape", list(hat.shape), list(true.shape)))
        return (hat != true).sum(1), torch.full((hat.shape[0],), hat.shape[1], dtype=torch.int64)


@kind("metric", "bler")
@dataclass(frozen=True)
class Bler(CountMetric):
    """Transport blocks (one per image) with at least one wrong bit."""

    info = MetricInfo(
        *("bler", "1", False, "transport blocks with a wrong payload bit / transport blocks sent"),
        label="block error rate",
    )

    def __call__(self, hat: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Errors and trials [B] int64 of bits [B, k]."""
        if hat.shape != true.shape:
            raise ValueError(complaint("bler", "wrong shape", list(hat.shape), list(true.shape)))
        return (hat != true).any(1).long(), torch.ones(hat.shape[0], dtype=torch.int64)


@kind("metric", "outage")
@dataclass(frozen=True)
class Outage(StateMetric):
    """Pictures that did not arrive, for whatever cause: frames whose receiver shows a failure."""

    info = MetricInfo(
        *("outage", "1", False, "pictures that did not arrive / pictures sent, of any scheme"),
        label="pictures that did not arrive",
    )

    def __call__(self, states: Sequence[str]) -> list[tuple[int, int]]:
        """(lost, sent) of every picture, by its state."""
        return [(int(state != "ok"), 1) for state in states]
