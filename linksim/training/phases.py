"""Where a training stands: which phase, how far, and the learning rate there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from linksim.scenario.schema import OptimizerSpec, PhaseSpec

__all__ = ["Position", "last_phase_begin", "position", "rate_factor"]

_LONGEST_WARM_UP = 0.1  # of a phase


@dataclass(frozen=True)
class Position:
    """A place in a training.

    Args:
        phase: index.
        progress: 0 to 1, of this phase.
    """

    phase: int
    progress: float


def position(phases: Sequence[PhaseSpec], progress: float) -> Position:
    """The place at a share of the whole training, 0 to 1."""
    begin = 0.0
    for index, phase in enumerate(phases):
        last = index == len(phases) - 1
        if progress < begin + phase.share or last:
            return Position(index, min(1.0, (progress - begin) / phase.share))
        begin += phase.share
    raise ValueError("phases: got none, expected one or more.")


def last_phase_begin(phases: Sequence[PhaseSpec]) -> float:
    """Share of the whole training in front of the last phase, as :func:`position` adds it up."""
    begin = 0.0
    for phase in phases[:-1]:
        begin += phase.share
    return begin


def rate_factor(spec: OptimizerSpec, step: int, progress: float) -> float:
    """Factor of the learning rate: linear warm-up, constant, linear decay to zero.

    The warm-up ends after the steps of the recipe or a tenth of the phase, whichever is sooner: a short
    budget of time may hold fewer steps than it asks for.

    Args:
        spec: recipe.
        step: of the phase.
        progress: of the phase, 0 to 1.
    """
    warm = min(1.0, max((step + 1) / max(1, spec.warmup_steps), progress / _LONGEST_WARM_UP))
    left = (1 - progress) / max(spec.decay_share, 1e-9)
    return warm * min(1.0, max(0.0, left))
