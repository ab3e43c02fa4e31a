"""What is run next: everything that lacks, or with a stopping rule chunk after chunk of every point."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import NamedTuple

from linksim.results.records import Record, UnitKey
from linksim.results.stopping import PlaceKey, Rule, Tally, place_of
from linksim.results.time_left import TimeLeft
from linksim.run.plan import Batch, Plan

__all__ = ["Like", "Schedule", "likes", "pixels_of", "samples_first", "time_left"]


class Schedule:
    """Batches that may be run, as far as it is known that they are needed.

    Args:
        batches: of the work, in order.
        lacking: indices of those that lack a record or what else a run keeps.
        records: that are there.
        rule: of the run; None: everything that lacks is needed.
    """

    def __init__(
        self, batches: Sequence[Batch], lacking: Sequence[int], records: Iterable[Record], rule: Rule | None
    ) -> None:
        self._batches = batches
        self._rule = rule
        self._waiting = list(lacking)
        self._busy: Counter[PlaceKey] = Counter()  # batches that were handed out
        self._tallies: dict[PlaceKey, Tally] = {}
        self._at: dict[PlaceKey, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._undone: Counter[PlaceKey] = Counter()
        if rule is None:
            return
        for index in lacking:
            batch = batches[index]
            self._at[_place(batch)][batch.members[0][1] // rule.chunk].append(index)
        known: set[UnitKey] = set()
        for record in records:
            known.add(record.key)
            self._tally(place_of(record.key)).add(record)
        for index in lacking:
            self._undone[_place(batches[index])] += sum(key not in known for key in batches[index].keys())  # noqa: SIM118

    def _tally(self, place: PlaceKey) -> Tally:
        assert self._rule is not None
        return self._tallies.setdefault(place, Tally(self._rule))

    def ready(self) -> list[int]:
        """Batches to be run now, in order, that were not handed out yet; none while decisions wait for those
        that were, and in the end.
        """
        if self._rule is None:
            found, self._waiting = self._waiting, []
            return found
        ready: list[int] = []
        for places in self._curves():
            for place in places:
                ended = self._tally(place).ended()
                if ended is None:
                    ready += self._take(place, self._tally(place).complete() // self._rule.chunk + 1)
                    if self._rule.end_below is not None:
                        break  # whether SNRs above are run is not known yet
                    continue
                ready += self._take(place, -(-ended.trials // self._rule.chunk))
                if self._rule.end_below is not None and ended.high < self._rule.end_below:
                    break
        return sorted(ready)

    def _curves(self) -> list[list[PlaceKey]]:
        """Points of each curve, from the lowest SNR on."""
        curves: dict[tuple[object, ...], list[PlaceKey]] = defaultdict(list)
        for place in {*self._at, *self._tallies}:
            curves[place[:3]].append(place)
        return [sorted(places, key=lambda place: place[3]) for places in curves.values()]

    def _take(self, place: PlaceKey, chunks: int) -> list[int]:
        """Lacking batches of the first so many chunks of a point, if none of it is running."""
        at = self._at.get(place, {})
        if self._busy[place]:
            return []
        found = [index for chunk in sorted(at) if chunk < chunks for index in at[chunk]]
        for chunk in [chunk for chunk in at if chunk < chunks]:
            del at[chunk]
        self._busy[place] += len(found)
        return found

    def ended(self, index: int, records: Sequence[Record]) -> None:
        """Count what a batch gave: records that were not there before."""
        self._busy[_place(self._batches[index])] -= 1
        if self._rule is not None:
            for record in records:
                self._tally(place_of(record.key)).add(record)
                self._undone[place_of(record.key)] -= 1

    def not_needed(self) -> Counter[tuple[str, str]]:
        """Units, by channel and scheme, of which it came out since the last call that they are not run."""
        found: Counter[tuple[str, str]] = Counter()
        if self._rule is None:
            return found
        for places in self._curves():
            over = False
            for place in places:
                ended = self._tally(place).ended()
                if over or ended is not None:
                    found[place[0], place[1]] += self._undone.pop(place, 0)
                below = self._rule.end_below
                over = over or (below is not None and ended is not None and ended.high < below)
        return +found


NEW, NEXT, AGAIN = range(3)


class Like(NamedTuple):
    """What takes about the same time."""

    channel: str
    scheme: str
    what: int  # NEW: at the first point; NEXT: at others; AGAIN: with other noise

    @property
    def place(self) -> tuple[str, str]:
        """Channel and scheme."""
        return self[:2]


def likes(batches: Sequence[Batch]) -> list[Like]:
    """What each batch is like."""
    first: dict[tuple[str, str], object] = {}
    found = []
    for batch in batches:
        point = (batch.point, batch.snr_db)
        is_first = first.setdefault((batch.channel, batch.scheme), point) == point
        what = AGAIN if batch.members[0][1] else NEW if is_first else NEXT
        found.append(Like(batch.channel, batch.scheme, what))
    return found


def pixels_of(plan: Plan, key: UnitKey) -> int:
    """Of the picture of a unit; 1 of random bits."""
    height, width = plan.images[key.image].shape[1:]
    return max(height * width, 1)


def time_left(plan: Plan, batches: Sequence[Batch], todo: Collection[UnitKey]) -> TimeLeft:
    """Of the units of a run that are to be done."""
    units: Counter[Like] = Counter()
    pixels: Counter[Like] = Counter()
    for one, batch in zip(likes(batches), batches, strict=True):
        for key in batch.keys():  # noqa: SIM118
            if key in todo:
                units[one] += 1
                pixels[one] += pixels_of(plan, key)
    ordered: dict[Hashable, int] = {one: units[one] for one in sorted(units)}
    return TimeLeft(ordered, {one: pixels[one] / units[one] for one in units}, lambda like: like.place)


def samples_first(batches: Sequence[Batch], jobs: Sequence[int]) -> list[int]:
    """The order of work: one batch of every scheme on every channel, which loads and compiles; then one more
    with new pictures and one at the next point; then one with other noise; then the rest. So it is soon known
    how long all takes.
    """
    like, turns = likes(batches), dict.fromkeys(jobs, 3)
    seen: Counter[tuple[str, str]] = Counter()
    known: set[Like] = set()
    for index in sorted(jobs, key=lambda index: like[index].what):
        one = like[index]
        seen[one.place] += 1
        if seen[one.place] == 1:
            turns[index] = 0
        elif one not in known:
            turns[index] = 2 if one.what == AGAIN else 1
            known.add(one)
    return sorted(jobs, key=turns.__getitem__)


def _place(batch: Batch) -> PlaceKey:
    return batch.channel, batch.scheme, batch.point, batch.snr_db
