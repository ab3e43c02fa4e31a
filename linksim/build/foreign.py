"""Code of other people that fails: whose it is, where, and what was expected, in one line.

Built-in kinds keep raising what they raise: a fault of linksim has to stay visible.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import BaseModel

from channels import kinds
from channels.checks import complaint, in_words
from channels.kinds import Kind
from linksim.kinds.used import foreign_kinds
from linksim.metrics.base import MetricUnavailable
from linksim.scenario.errors import ScenarioError

__all__ = [
    "Place",
    "built",
    "cause",
    "foreign_as_input",
    "foreign_parts",
    "place_of",
    "promise",
    "refusal",
]

Part = BaseModel | Kind | None
_PROMISES = {
    "impairment": "draw and apply as linksim.Impairment has them: samples [B, A, N] in, as many out",
    "source_codec": "the attributes and methods of linksim.SourceCodec",
    "metric": "a class without arguments, and what its base promises",
    "sampler": "the arguments and result of linksim.diffusion.sampler.Sampler",
}
_METHODS = ("__call__", "apply", "features", "encode")
_RUNS = "code that runs"
_CURE = "--verbose shows the whole traceback."


@dataclass(frozen=True)
class Place:
    """Where code of other people is.

    Args:
        kind: whose it is; None where a file has several.
        file: name of it; "" of a session.
        line: in it; 0 where none is known.
        ran: the code itself was running, not linksim with what it gave.
    """

    kind: Kind | None
    file: str
    line: int
    ran: bool

    def __str__(self) -> str:
        file = self.file + (f", line {self.line}" if self.line else "")
        if self.kind is None:
            return file
        return f"kind {self.kind.name}" + (f" of {file}" if file else "")


def foreign_parts(*parts: Part) -> list[Kind]:
    """Kinds in descriptions that are not built in."""
    found: list[Kind] = []
    for part in parts:
        if isinstance(part, Kind):
            found += [part] if part.origin is not None else []
        elif part is not None:
            named = (text.split(" ", 1) for text in foreign_kinds(part))
            of = [kinds.find(family, name) for family, name in named]
            found += sorted(of, key=lambda k: getattr(k.target, "__name__", "") != type(part).__name__)
    return found


def place_of(problem: BaseException | None, *parts: Part) -> Place | None:
    """Where an exception comes from, if code of other people had to do with it.

    Args:
        problem: with its traceback; None for the place of the first foreign part.
        parts: descriptions that were in use.
    """
    involved = foreign_parts(*parts)
    frames = [] if problem is None else _frames(problem)
    everyone = kinds.foreign()
    for frame, line in reversed(frames):
        owners = [k for k in everyone if _owns(k, frame)]
        if owners:
            file = frame.f_code.co_filename
            return Place(
                _whose(owners, involved, frames), "" if file[:1] == "<" else Path(file).name, line, True
            )
    if not involved:
        return None
    return Place(involved[0], *_source(involved[0]), ran=False)


def _frames(problem: BaseException) -> list[tuple[FrameType, int]]:
    trace, found = problem.__traceback__, []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _owns(kind: Kind, frame: FrameType) -> bool:
    """Whether a frame is of the module of a kind, or of its package."""
    own, running = getattr(kind.target, "__module__", ""), str(frame.f_globals.get("__name__", ""))
    return bool(own) and running.split(".", maxsplit=1)[0] == own.split(".")[0]


def _whose(owners: list[Kind], involved: list[Kind], frames: list[tuple[FrameType, int]]) -> Kind | None:
    running = {frame.f_code.co_qualname.split(".")[0] for frame, _ in frames}
    by_class = [k for k in owners if getattr(k.target, "__qualname__", "").split(".")[0] in running]
    for some in ([k for k in by_class if k in involved], by_class, [k for k in owners if k in involved]):
        if some:
            return some[0]
    return owners[0] if len(owners) == 1 else None


def _source(kind: Kind) -> tuple[str, int]:
    """File of a kind, and the line of what it promises to have."""
    names = (*getattr(kind.target, "REQUIRED", {}), *_METHODS)
    file = getattr(sys.modules.get(getattr(kind.target, "__module__", "")), "__file__", None) or ""
    for name in names:
        code = getattr(getattr(kind.target, name, None), "__code__", None)
        if code is not None and code.co_filename == file:
            return Path(file).name, code.co_firstlineno
    return Path(file).name, 0


def promise(kind: Kind | None) -> str:
    """What a kind has to have, in words."""
    if kind is None:
        return _RUNS
    required = getattr(kind.target, "REQUIRED", {})
    return _PROMISES.get(kind.family) or ", ".join(required.values()) or _RUNS


def refusal(where: str, problem: BaseException, place: Place) -> ScenarioError:
    """The message for what code of other people raised before a run."""
    at = f"{where}: {place}" if where else str(place)
    expected = _RUNS if place.ran else promise(place.kind)
    return ScenarioError(complaint(at, "failed", in_words(problem), expected, _CURE))


def cause(problem: BaseException, *parts: Part) -> str:
    """Why something failed on the way: the message of an exception of linksim, else its type as well; of code
    of other people kind, file and line.
    """
    place = place_of(problem, *parts)
    if isinstance(problem, ValueError) and str(problem) and (place is None or not place.ran):
        return str(problem)
    return in_words(problem) if place is None else f"{place}: {in_words(problem)}"


@contextmanager
def foreign_as_input(where: str, *parts: Part, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """What code of other people raises is bad input, with kind, file and line; all else is raised as it is.

    Args:
        where: field that the message is to name; "" for none.
        parts: descriptions that are in use.
        passing: exceptions that are messages already.

    Raises:
        ScenarioError: in place of what foreign code raised.
    """
    said: tuple[type[Exception], ...] = (ScenarioError, MetricUnavailable, *passing)
    try:
        yield
    except said:
        raise
    except Exception as problem:
        place = place_of(problem, *parts)
        if place is None:
            raise
        raise refusal(where, problem, place) from problem


def built(where: str, value: Any, wanted: type | tuple[type, ...], *parts: Part) -> None:
    """Refuse what a foreign kind built where it is another thing.

    Raises:
        ScenarioError: names kind, file and line.
    """
    if isinstance(value, wanted):
        return
    place = place_of(None, *parts)
    if place is not None:
        got = "None" if value is None else f"a {type(value).__name__}"
        at = f"{where}: {place}" if where else str(place)
        raise ScenarioError(complaint(at, "built something else", got, promise(place.kind)))
