"""Printed numbers against measured ones: reading both, and judging. What benchmarks/all.py rests on.

A printed number is *same* if the measured value rounds to it, *inside* if it lies in the measured interval
(of the benchmark, or a tolerance that benchmarks/printed.yaml states), else *outside*.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

WORDS = (
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
PART = {"half a": 0.5, "a quarter of an": 0.25}
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
WORD = "|".join([*PART, *WORDS])
TAKE: dict[str, Callable[[list[float]], float]] = {
    "max": max,
    "min": min,
    "mean": statistics.fmean,
    "median": statistics.median,
    "count": len,
}
Verdict = Literal["same", "inside", "outside"]
Line = Mapping[str, Any]


class ManifestError(ValueError):
    """benchmarks/printed.yaml asks for what is not there: a text of a page, or a value of a benchmark."""


@dataclass(frozen=True)
class Finding:
    """One printed number, what was measured, and the interval that it was judged by."""

    file: str
    place: str
    printed: str
    measured: float | str
    low: float | None
    high: float | None
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


# ------------------------------------------------------------------------------------- reading a page


def pattern(text: str) -> re.Pattern[str]:
    """A text of a page, in which # stands for a number and a blank for any white space."""
    parts = [r"\s+".join(re.escape(word) for word in part.split(" ")) for part in text.split("#")]
    return re.compile(f"({NUMBER}|{WORD})".join(parts))


def numbers_in(page: str, text: str) -> tuple[str, ...]:
    """The numbers at the one place of a page that reads like ``text``.

    Raises:
        ManifestError: there is no such place, or more than one.
    """
    found = list(pattern(text).finditer(page))
    if len(found) != 1:
        raise ManifestError(f"{text!r}: got {len(found)} places, expected one. Mend benchmarks/printed.yaml.")
    return found[0].groups()


def block_in(page: str, name: str) -> str:
    """What stands between the marks of a block.

    Raises:
        ManifestError: there is no such block, or more than one.
    """
    found = re.findall(
        rf"<!-- begin {re.escape(name)} -->\n(.*?)\n?<!-- end {re.escape(name)} -->", page, re.DOTALL
    )
    if len(found) != 1:
        raise ManifestError(f"block {name}: got {len(found)}, expected one. Mend benchmarks/printed.yaml.")
    return str(found[0])


def value_of(printed: str) -> float:
    """A number in digits or words."""
    if printed in PART:
        return PART[printed]
    return float(WORDS.index(printed) if printed in WORDS else printed)


def rounding(printed: str) -> float:
    """Half a unit of the last digit."""
    digits = len(printed.partition(".")[2]) if printed not in PART else 2
    return 0.5 * 10.0**-digits


# ---------------------------------------------------------------------------- reading a benchmark's output


def flat(value: Any) -> Iterator[float]:
    """All numbers in a value of JSON."""
    if isinstance(value, Mapping):
        for part in value.values():
            yield from flat(part)
    elif isinstance(value, list):
        for part in value:
            yield from flat(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def matches(line: Line, where: Line) -> bool:
    """Whether a line has all these values; a list means one of them, a mapping limits (above, below)."""
    for key, wanted in where.items():
        got = line.get(key)
        if isinstance(wanted, Mapping):
            if not isinstance(got, int | float):
                return False
            if got <= wanted.get("above", float("-inf")) or got >= wanted.get("below", float("inf")):
                return False
        elif got not in (wanted if isinstance(wanted, list) else [wanted]) or key not in line:
            return False
    return True


def at(line: Any, path: Sequence[Any]) -> Any:
    """A value inside a line; None if it is not there."""
    for key in path:
        if not isinstance(line, Mapping) or key not in line:
            return None
        line = line[key]
    return line


def measured(lines: Sequence[Line], spec: Line) -> tuple[float, tuple[float, float] | None]:
    """The value that an entry of the manifest asks for, and its interval if the benchmark gives one.

    ``where`` selects lines, ``of`` is a path in them, ``take`` makes one number of several,
    ``scale`` multiplies and ``plus`` adds before.

    Raises:
        ManifestError: nothing, or more than asked for, was found.
    """
    own = [line for line in lines if matches(line, spec.get("where", {}))]
    path, take, scale, plus = spec["of"], spec.get("take"), float(spec.get("scale", 1)), spec.get("plus", 0)
    found = [plus + scale * number for line in own for number in flat(at(line, path))]
    if not found and take != "count":
        raise ManifestError(
            f"{dict(spec)}: the benchmark printed no such value. Mend benchmarks/printed.yaml."
        )
    if take:
        return float(TAKE[take](found)), None
    if len(found) != 1:
        raise ManifestError(f"{dict(spec)}: got {len(found)} values, expected one; say which to take.")
    interval = None
    of = (
        "difference" if "difference" in own[0] else "mean"
    )  # a line with both has the interval of the difference
    if path[-1] == of and own[0].get("ci_low") is not None:
        low, high = sorted((scale * own[0]["ci_low"], scale * own[0]["ci_high"]))
        interval = (low, high)
    return found[0], interval


# ---------------------------------------------------------------------------------------------- judging


def around(value: float, tolerance: Line) -> tuple[float, float]:
    """The interval that a stated tolerance makes: ``absolute``, ``relative``, or a ``factor`` either way."""
    half = tolerance.get("absolute", 0.0) + tolerance.get("relative", 0.0) * abs(value)
    factor = tolerance.get("factor", 1.0)
    return min(value / factor, value * factor) - half, max(value / factor, value * factor) + half


def judge(printed: str, value: float, low: float, high: float) -> Verdict:
    """Same, inside, or outside; what a printed number lost by rounding is on its side."""
    shown, lost = value_of(printed), rounding(printed) * (1 + 1e-9)
    if abs(shown - value) <= lost:
        return "same"
    return "inside" if low - lost <= shown <= high + lost else "outside"


def compare_numbers(
    file: str, page: str, spec: Line, lines: Sequence[Line], tolerance: Line
) -> list[Finding]:
    """Every # of a text, in order, against the values of its entry; a stated tolerance decides, else the
    interval of the benchmark. ``falling``: the sentence also says that the values fall, which they must.
    """
    printed = numbers_in(page, spec["text"])
    if len(printed) != len(spec["values"]):
        raise ManifestError(f"{spec['text']!r}: got {len(spec['values'])} values for {len(printed)} numbers.")
    found = []
    for text, wanted in zip(printed, spec["values"], strict=True):
        value, interval = measured(lines, wanted)
        stated = wanted.get("tolerance", tolerance)
        low, high = interval if interval and not stated else around(value, stated)
        found.append(Finding(file, spec["text"], text, value, low, high, judge(text, value, low, high)))
    again = [float(f.measured) for f in found]
    if spec.get("falling") and again != sorted(again, reverse=True):
        found.append(
            Finding(file, spec["text"], "falling", " ".join(f"{v:g}" for v in again), None, None, "outside")
        )
    return found


INTERVAL = re.compile(rf"({NUMBER}) ± ({NUMBER})")
RANGE = re.compile(rf"({NUMBER})%? \(({NUMBER}) to ({NUMBER})\)")
BRACKETS = re.compile(rf"({NUMBER})†? \[({NUMBER}), ({NUMBER})\]")
LIMITED = re.compile(rf"(<\s*)?({NUMBER})")
WIDER = 1.5  # factor by which the half of an interval may differ: it is estimated, too
Judgement = tuple[str, float | str, float | None, float | None, Verdict]


def _with_interval(printed: Sequence[str], again: Sequence[str]) -> list[Judgement]:
    """A value and what stands of its interval (its half, or both ends) against the same, measured again."""
    value = float(again[0])
    halves = [float(again[1])] if len(again) == 2 else [value - float(again[1]), float(again[2]) - value]
    found = [_judgement(printed[0], value, value - halves[0], value + halves[-1])]
    if len(again) == 2:
        return [*found, _judgement(printed[1], halves[0], halves[0] / WIDER, halves[0] * WIDER)]
    for text, end, side, half in zip(printed[1:], again[1:], (-1, 1), halves, strict=True):
        limits = sorted(value_of(printed[0]) + side * half * by for by in (1 / WIDER, WIDER))
        found.append(_judgement(text, float(end), *limits))
    return found


def _judgement(printed: str, value: float, low: float, high: float) -> Judgement:
    return printed, value, low, high, judge(printed, value, low, high)


def _plain(printed: str, now: str, tolerance: Line) -> Iterator[Judgement]:
    """Every number of a text against the same place of the other; "<" says that it is a limit."""
    for (limit, text), (other, again) in zip(LIMITED.findall(printed), LIMITED.findall(now), strict=True):
        low, high = around(float(again), tolerance)
        if other and not limit:  # measured: below a limit; everything from there down may have been printed
            low = 0.0
        if limit and not other:  # printed: below a limit
            high = float("inf")
        yield _judgement(text, float(again), low, high)


def _cell(printed: str, now: str, tolerance: Line) -> list[Judgement]:
    """Judgements of the numbers of a cell against the same cell, measured again."""
    if LIMITED.sub("#", printed) != LIMITED.sub("#", now):
        return [(printed, now, None, None, "outside")]
    if not tolerance:
        for form in (INTERVAL, RANGE, BRACKETS):
            if (ours := form.search(printed)) and (theirs := form.search(now)):
                rest = (text.replace(found[0], "", 1) for text, found in ((printed, ours), (now, theirs)))
                return [*_with_interval(ours.groups(), theirs.groups()), *_plain(*rest, tolerance)]
    return list(_plain(printed, now, tolerance))


def compare_blocks(file: str, spec: Line, printed: str, now: str) -> list[Finding]:
    """Every number of the tables of a block against the same block, made again.

    Heads, first columns and words must be the same. Numbers are judged by the tolerance of their column
    (``columns``) or of the block (``tolerance``): an interval over pictures says nothing of a measurement
    that is repeated with the same pictures and seeds. Without a tolerance those with an interval of their own
    (a ± b, a (b to c), a [b, c]) are judged by it, and its halves by the factor ``WIDER``.
    """
    name = spec["name"]
    ours, theirs = printed.splitlines(), now.splitlines()
    if len(ours) != len(theirs):
        return [Finding(file, name, f"{len(ours)} lines", f"{len(theirs)} lines", None, None, "outside")]
    found: list[Finding] = []
    head: list[str] = []
    for index, (line, again) in enumerate(zip(ours, theirs, strict=True)):
        follower = ours[index + 1] if index + 1 < len(ours) else ""
        is_head = follower.startswith("|---")
        if is_head:
            head = [cell.strip() for cell in line.split("|")[1:-1]]
        if is_head or not line.startswith("|") or line.startswith("|---"):
            if line != again:
                found.append(Finding(file, name, line, again, None, None, "outside"))
            continue
        cells, others = ([c.strip() for c in text.split("|")[1:-1]] for text in (line, again))
        if cells[0] != others[0] or len(cells) != len(others):
            found.append(Finding(file, name, line, again, None, None, "outside"))
            continue
        for column, (cell, other) in enumerate(zip(cells, others, strict=True)):
            own = spec.get("columns", {}).get(
                head[column] if column < len(head) else "", spec.get("tolerance", {})
            )
            for judged in _cell(cell, other, own) if column else ():
                found.append(Finding(file, f"{name}: {cells[0]}, {head[column]}", *judged))
    return found
