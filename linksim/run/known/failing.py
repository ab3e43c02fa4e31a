"""Units that did not arrive, kept by a run while it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from linksim.results.failures import Failure, failure_file, failures, first_failures, write_index
from linksim.results.records import UnitKey
from linksim.results.store import ResultStore
from linksim.run.computing import Outcome
from linksim.run.machine import Machine
from linksim.run.panel_pictures import is_picture, save_png
from linksim.run.plan import Plan

__all__ = ["Lost"]


class Lost:
    """The first units of every channel and scheme that did not arrive, so far.

    Args:
        plan: of the run; with ``keep_failures`` 0 nothing is kept.
        machines: of its variants.
        store: its folder, open.
    """

    def __init__(self, plan: Plan, machines: Sequence[Machine], store: ResultStore) -> None:
        self._most, self._store = plan.keep_failures, store
        self._has_pictures = plan.has_pictures
        self._order: dict[UnitKey, tuple[int, int]] = {}
        self._found: list[Failure] = []
        if not self._most:
            return
        whole = (batch for machine in machines for batch in machine.batches(plan))  # also of other shards
        for index, batch in enumerate(whole):
            self._order |= {key: (index, i) for i, key in enumerate(batch.keys())}
        lost = [r for r in store.records() if r.state != "ok"]
        self._found = first_failures(Failure(self._order[r.key], self._most, r) for r in lost)

    def lacks(self, batch: Sequence[UnitKey]) -> bool:
        """Whether pictures of units of a batch that are kept are not there."""
        if not self._has_pictures:
            return False
        asked = {f.record.key: f.record for f in self._found}
        records = [asked[key] for key in batch if key in asked]
        return any(not is_picture(failure_file(self._store, record), record.shown) for record in records)

    def keep(self, outcome: Outcome) -> None:
        """Write pictures of a batch that are among the first ones that are known."""
        if not self._most:
            return
        pictures = dict(outcome.failed)
        known = {f.record.key for f in self._found}
        new = [r for r in outcome.records if r.state != "ok" and r.key not in known]
        found = [Failure(self._order[r.key], self._most, r) for r in new]
        self._found = first_failures([*self._found, *found])
        for failure in self._found:
            if failure.record.key in pictures:
                path = failure_file(self._store, failure.record)
                save_png(path, pictures[failure.record.key])

    def end(self) -> None:
        """Write the index, with the records of now: they may have been measured anew."""
        if not self._most and not failures(self._store):
            return
        records = {r.key: r for r in self._store.records()}
        if self._most:
            write_index(self._store, self._found, self._store.folder)
            return
        kept = [f for f in failures(self._store) if f.record.key in records]
        now = [Failure(f.order, f.most, records[f.record.key]) for f in kept]
        write_index(self._store, now, self._store.folder)
