"""How long a run still takes, by what every scheme took so far on every channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

__all__ = ["Estimate", "TimeLeft"]


@dataclass(frozen=True)
class Estimate:
    """Time left.

    Args:
        seconds: of the schemes that have begun.
        not_begun: schemes of which nothing is known yet; the time is then a lower limit.
    """

    seconds: float
    not_begun: int

    def __str__(self) -> str:
        shown = f"{self.seconds:.0f} s" if self.seconds < 600 else f"{self.seconds / 60:.0f} min"
        if not self.not_begun:
            return f"about {shown} left"
        schemes = "scheme" if self.not_begun == 1 else "schemes"
        return f"more than {shown} left ({self.not_begun} {schemes} not begun)"


class TimeLeft:
    """Rates per scheme: one may take a hundred times as long as another, and each begins slowly.

    Args:
        units: still to do, by scheme (and channel).
    """

    def __init__(self, units: Mapping[Hashable, int]) -> None:
        self._left = Counter(units)
        self._first: dict[Hashable, tuple[int, float]] = {}
        self._units: Counter[Hashable] = Counter()
        self._seconds: dict[Hashable, float] = {}

    def spent(self, scheme: Hashable, units: int, seconds: float) -> None:
        """Count a batch; the first one of a scheme, which loads and compiles, until there is another."""
        self._left[scheme] -= units
        if scheme not in self._first:
            self._first[scheme] = (units, seconds)
            return
        self._units[scheme] += units
        self._seconds[scheme] = self._seconds.get(scheme, 0.0) + seconds

    def dropped(self, scheme: Hashable, units: int) -> None:
        """Count units that are not done after all."""
        self._left[scheme] -= units

    @property
    def units(self) -> int:
        """Still to do."""
        return sum(units for units in self._left.values() if units > 0)

    def estimate(self) -> Estimate:
        """Time left, as far as it is known."""
        seconds, not_begun = 0.0, 0
        for scheme, units in self._left.items():
            if units <= 0:
                continue
            if scheme not in self._first:
                not_begun += 1
                continue
            first = self._first[scheme]
            known_units = self._units[scheme] or first[0]
            known_seconds = self._seconds.get(scheme, first[1])
            seconds += units * known_seconds / max(known_units, 1)
        return Estimate(seconds, not_begun)
