"""Where, among qualities from the largest streams to the smallest, a budget is met."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["NEAR", "best_index", "best_neighbour"]

NEAR = 1.1  # a stream this much over a budget may have a better neighbour that fits


def best_index(size: Callable[[int], int], known: dict[int, int], budget: int) -> int:
    """Index of the best quality that fits.

    The logarithm of the size is nearly linear in the quality parameter, so the crossing is interpolated from
    what is known; in the end better neighbours are looked at, because sizes are not strictly monotone.

    Args:
        size: of the stream at an index [bytes].
        known: sizes that are known, by index; one of them fits. Grows.
        budget: largest stream allowed [bytes].
    """
    high = min(i for i, n in known.items() if n <= budget)  # fits; ``low`` does not
    low = max((i for i, n in known.items() if i < high and n > budget), default=-1)
    probes = 0
    while high - low > 1:
        probe = (low + high + 1) // 2
        if probes < 4:
            probe = _crossing(known, low, high, budget)
        known[probe] = size(probe)
        low, high = (low, probe) if known[probe] <= budget else (probe, high)
        probes += 1
    return best_neighbour(size, high, budget)


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


def _crossing(known: dict[int, int], low: int, high: int, budget: int) -> int:
    """Index between ``low`` (too large, or -1) and ``high`` (fits) where the size should meet the budget."""
    if low < 0:
        step = 7 * math.log2(max(budget, 1) / known[high])  # a size doubles in some seven steps of QP
        probe = high - math.ceil(step)
    else:
        share = math.log(known[low] / budget) / max(math.log(known[low] / known[high]), 1e-9)
        probe = low + math.ceil(share * (high - low))
    return min(max(probe, low + 1), high - 1)
