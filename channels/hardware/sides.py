"""Both ends of a link with their hardware: who has which impairment, and the randomness of both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from channels import seeding
from channels.hardware.impairment import FrontEnd, Impairment

__all__ = ["ROTATING", "TRIAL_SEEDS", "both_sides", "draw_both"]

ROTATING = ("turns", "shifts")
TRIAL_SEEDS = tuple(range(38104, 38112))


def both_sides(impairments: Sequence[Impairment]) -> tuple[FrontEnd, FrontEnd]:
    """Transmitter and receiver, each with its impairments in their order."""
    return (
        FrontEnd([i for i in impairments if i.side == "transmitter"]),
        FrontEnd([i for i in impairments if i.side == "receiver"]),
    )


def draw_both(
    transmitter: FrontEnd,
    receiver: FrontEnd,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    rate_hz: float,
    devices: Sequence[int],
    seeds: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Randomness of both sides, [B, K] and [B, K'] float64: of the seeds ``devices`` what lasts, of ``seeds``
    the rest; ``sizes``: antennas and samples of each.
    """

    def drawn(seed: int) -> list[Tensor]:
        gen = seeding.generator(seeding.derived_seed(seed, "hardware"))
        sides = zip((transmitter, receiver), sizes, strict=True)
        return [side.draw(*size, rate_hz, gen) for side, size in sides]

    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    for device, seed in zip(devices, seeds, strict=True):
        states = drawn(seed)
        if device != seed:
            triples = zip((transmitter, receiver), drawn(device), states, sizes, strict=True)
            states = [side.later(old, new, *size) for side, old, new, size in triples]
        for column, state in zip(rows, states, strict=True):
            column.append(state)
    return torch.stack(rows[0]), torch.stack(rows[1])
