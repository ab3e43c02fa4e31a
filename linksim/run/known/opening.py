"""A run folder opened for a plan: made to fit it, and left as it was where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from linksim.results.growth import Growth, fitted, take_back
from linksim.results.records import Record, UnitKey
from linksim.results.store import ResultStore
from linksim.run.known.completing import OnKept
from linksim.run.machine import failing

__all__ = ["Opened", "opened", "put_back"]


@dataclass(frozen=True)
class Opened:
    """A folder that is open.

    Args:
        growth: what became of its units, where its scenario was another, or units were put aside; else None.
        expected: records of units that have to be run again for further metrics.
        before: its header and its units, where its scenario was another.
    """

    growth: Growth | None
    expected: dict[UnitKey, Record]
    before: tuple[dict[str, Any], list[UnitKey]] | None


def opened(
    store: ResultStore, header: dict[str, Any], planned: Sequence[UnitKey], kept: OnKept | None = None
) -> Opened:
    """Open a folder and make it fit a plan.

    Args:
        store: the folder.
        header: of the run.
        planned: its units.
        kept: measures on what the folder keeps; None: what lacks metrics is run again.

    Raises:
        RunFolderError: it cannot be made to fit. Nothing was written.
    """
    found: list[Growth] = []
    before: list[tuple[dict[str, Any], list[UnitKey]]] = []

    def grow(old: dict[str, Any], new: dict[str, Any]) -> int | None:
        units = [record.key for record in store.stored_records()]
        growth = fitted(store, old, new, planned)
        if growth is None:
            return None
        found.append(growth)
        before.append((old, units))
        return growth.kept + growth.lacking

    store.open(header, grow)
    try:
        with failing("metrics of pictures that are kept"):
            back = take_back(store, planned, kept.complete if kept else lambda record, lacking: None)
    except BaseException:
        store.close()
        raise
    done = len(store.done()) - back.back - back.measured
    growth = found[0] if found else Growth(done, is_new=False)
    again = len(back.expected)
    growth = replace(growth, metrics=back.metrics, back=back.back, measured=back.measured, again=again)
    told = growth if found or back.back or back.measured or again else None
    return Opened(told, back.expected, before[0] if before else None)


def put_back(store: ResultStore, before: tuple[dict[str, Any], list[UnitKey]]) -> None:
    """Leave a folder as it was before it was opened; what was made since is put aside.

    Args:
        store: the folder, closed.
        before: see :class:`Opened`.
    """
    opened(store, *before)
    store.close()
