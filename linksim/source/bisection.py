"""Where, among qualities from the largest streams to the smallest, a budget is met."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["NEAR", "best_neighbour", "crossing"]

NEAR = 1.1  # a stream this much over a budget may have a better neighbour that fits


def crossing(known: dict[int, int], low: int, high: int, budget: int) -> int:
    """Index between ``low`` (too large, or -1) and ``high`` (fits) where the size should meet the budget."""
    if low < 0:
        step = 7 * math.log2(max(budget, 1) / known[high])  # a size doubles in some seven steps of QP
        probe = high - math.ceil(step)
    else:
        share = math.log(known[low] / budget) / max(math.log(known[low] / known[high]), 1e-9)
        probe = low + math.ceil(share * (high - low))
    return min(max(probe, low + 1), high - 1)


def best_neighbour(size: Callable[[int], int], index: int, budget: int) -> int:
    """From a quality that fits to the one from which no better within three steps does, so that the result
    does not depend on where a search came from.
    """
    for better in range(index - 1, max(index - 4, -1), -1):
        if size(better) <= budget:
            return best_neighbour(size, better, budget)
        if size(better) > NEAR * budget:
            break
    return index
