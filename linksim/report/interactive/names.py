"""Numbers that stand for names and places in the data of a page, so that each is written once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from linksim.report.curves import BEST_OF_STEPS
from linksim.report.runs import Run, bound_names, step_names
from linksim.results.records import Point, UnitKey
from linksim.results.statistics import Row

__all__ = ["Index", "Names", "number", "scheme_name", "swept_key", "swept_values"]

Value = TypeVar("Value", bound=Hashable)


def number(value: float) -> float | int | None:
    """A number with six significant digits, whole ones as such; None of what is none.

    Example:
        >>> number(1 / 3), number(2.0), number(float("nan"))
        (0.333333, 2, None)
    """
    if not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


class Index(Generic[Value]):
    """Values in the order of their first use, and the place of each."""

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._places: dict[Value, int] = {}
        for value in values:
            self(value)

    def __call__(self, value: Value) -> int:
        """The place of a value, a new one of a value that is new."""
        return self._places.setdefault(value, len(self._places))

    def get(self, value: Value) -> int | None:
        """The place of a value; None of one that is not there."""
        return self._places.get(value)

    @property
    def values(self) -> list[Value]:
        """All of them, in order."""
        return list(self._places)


@dataclass
class Names:
    """What a page names by numbers.

    Args:
        channels, images, states: their names.
        schemes: names that tell the runs apart, too.
        places: swept values with an SNR [dB].
        facts: of each scheme: its run, its name there, whether it is a limit or a fixed MCS.
        runs: names of the runs; "" of one alone.
    """

    channels: Index[str] = field(default_factory=Index)
    schemes: Index[str] = field(default_factory=Index)
    images: Index[str] = field(default_factory=Index)
    states: Index[str] = field(default_factory=lambda: Index(["ok"]))
    places: Index[tuple[Point, float]] = field(default_factory=Index)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Names:
        """Those of some runs, in the order of their scenarios."""
        found = cls()
        for number_of_run, run in enumerate(runs):
            found.runs.append(run.name)
            bounds, steps = bound_names(run.header), step_names(run.header)
            for scheme in run.header["scenario"]["schemes"]:
                name = scheme_name(run, scheme["name"])
                found.schemes(name)
                kind = "bound" if scheme["name"] in bounds else "step" if scheme["name"] in steps else "line"
                found.facts[name] = {"run": number_of_run, "own": scheme["name"], "kind": kind}
            if steps:
                best = {"run": number_of_run, "own": BEST_OF_STEPS, "kind": "derived"}
                found.facts.setdefault(scheme_name(run, BEST_OF_STEPS), best)
            for image in run.header["images"]:
                found.images(image)
            for row in run.rows:
                found.channels(row.channel)
        for point, snr_db in sorted(
            {(r.point, r.snr_db) for run in runs for r in run.rows}, key=_order(runs)
        ):
            found.places((point, snr_db))
        return found

    def place(self, thing: Row | UnitKey) -> int:
        """The place of a row or a unit."""
        return self.places((thing.point, thing.snr_db))

    def described(self) -> dict[str, Any]:
        """All of it for the page; schemes that no scenario has (the best of some) are derived."""
        return {
            "runs": self.runs,
            "channels": self.channels.values,
            "schemes": [{"name": n, **self.facts[n]} for n in self.schemes.values],
            "images": self.images.values,
            "states": self.states.values,
            "places": [[[list(pair) for pair in point], number(snr)] for point, snr in self.places.values],
        }


def scheme_name(run: Run, scheme: str) -> str:
    """A scheme of a run, told from those of other runs."""
    return f"{run.name} {scheme}" if run.name else scheme


def _order(runs: Sequence[Run]) -> Any:
    """Sort key of places: swept values in the order of the scenarios, then the SNR."""
    known: dict[str, Index[Any]] = {}
    for run in runs:
        for path, values in run.header["scenario"]["sweep"]["fields"].items():
            for value in values:
                known.setdefault(path, Index())(swept_key(value))
    return lambda place: ([(name, known[name](swept_key(value))) for name, value in place[0]], place[1])


def swept_key(value: float | int | str) -> tuple[bool, float | int | str]:
    """What a swept value is known by: 1 and 1.0 are one value, 1 and true are two."""
    return isinstance(value, bool), value


def swept_values(runs: Sequence[Run], path: str) -> list[Any]:
    """Values of a swept field, in the order of the scenarios."""
    return list(
        dict.fromkeys(v for run in runs for v in run.header["scenario"]["sweep"]["fields"].get(path, ()))
    )
