"""How long a run still takes, by what every scheme took so far on every channel."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

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
    """Rates of work that is alike: one scheme may take a hundred times as long as another, and pictures that
    are coded for the first time longer than others.

    The rate is the middle one of all batches: processes that begin load and compile, each for itself.

    Args:
        units: still to do, by what they are like.
        sizes: mean size of those units (pixels, say); without: all have the same.
        place: of what is alike, who loads once for several; nothing is known of a place of which no batch
            is done.
    """

    def __init__(
        self,
        units: Mapping[Hashable, int],
        sizes: Mapping[Hashable, float] | None = None,
        place: Callable[[Any], Hashable] = lambda like: like,
    ) -> None:
        self._left = Counter(units)
        self._sizes = dict(sizes or {})
        self._place = place
        self._first: dict[Hashable, float] = {}
        self._rates: dict[Hashable, list[float]] = {}

    def spent(self, like: Hashable, units: int, seconds: float, size: float | None = None) -> None:
        """Count a batch, of units of a ``size`` in all; the first one of a place, until there is another."""
        self._left[like] -= units
        if not units:
            return
        rate = seconds / max(units if size is None else size, 1)
        if self._place(like) in self._first:
            insort(self._rates.setdefault(like, []), rate)
        else:
            self._first[self._place(like)] = rate

    def dropped(self, place: Hashable, units: int) -> None:
        """Count units of a place that are not done after all: the last ones."""
        for like in reversed([like for like in self._left if self._place(like) == place]):
            fewer = min(units, max(self._left[like], 0))
            self._left[like] -= fewer
            units -= fewer

    @property
    def units(self) -> int:
        """Still to do."""
        return sum(units for units in self._left.values() if units > 0)

    def _rate(self, like: Hashable) -> float | None:
        """Of what is like it, else of what is next to it, else of the first batch of the place."""
        place = self._place(like)
        order = [other for other in self._left if self._place(other) == place]
        nearest = sorted(order, key=lambda other: abs(order.index(other) - order.index(like)))
        rates = next((self._rates[other] for other in nearest if other in self._rates), None)
        return self._first.get(place) if rates is None else rates[(len(rates) - 1) // 2]

    def estimate(self) -> Estimate:
        """Time left, as far as it is known."""
        seconds, unknown = 0.0, set()
        for like, units in self._left.items():
            if units > 0:
                rate = self._rate(like)
                if rate is None:
                    unknown.add(self._place(like))
                else:
                    seconds += units * self._sizes.get(like, 1.0) * rate
        return Estimate(seconds, len(unknown))
