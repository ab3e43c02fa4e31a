"""Checks of arguments with one message grammar: field: what is wrong, got, expected, cure."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Unit",
    "check_at_least",
    "check_choice",
    "check_fields",
    "check_positive",
    "check_range",
    "check_symbols",
    "complaint",
    "cut",
    "field_hints",
    "in_words",
    "shown",
]

POWER_TOLERANCE = 0.05


_LONGEST, _LONGEST_EXPECTED = 300, 1000  # characters of what a message shows
_ITEMS, _LEVELS = 20, 5


def cut(text: str, longest: int = _LONGEST) -> str:
    """A text for a message, cut where it is longer than anybody reads.

    Example:
        >>> cut("abcdefgh", 3)
        'abc... (8 characters)'
    """
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def in_words(problem: BaseException) -> str:
    """Type and message of an exception in one line: ``KeyError: 'x'``."""
    said = cut(" ".join(str(problem).split()))
    return f"{type(problem).__name__}: {said}" if said else type(problem).__name__


def shown(value: object) -> str:
    """``repr`` for a message, cut: of containers the first items, whatever is nested in them.

    Example:
        >>> shown({"a": [1, "two"]}), len(shown("x" * 10**6)) < 400
        ("{'a': [1, 'two']}", True)
    """
    return _repr(value, _LEVELS)


def _repr(value: object, levels: int) -> str:
    if isinstance(value, str):
        text = str(value)
        more = f"... ({len(text)} characters)" if len(text) > _LONGEST else ""
        return repr(text[:_LONGEST]) + more
    if not isinstance(value, list | tuple | dict) or not value:
        return cut(repr(value))
    if not levels:
        return "..."
    items = list(islice(value.items() if isinstance(value, dict) else value, _ITEMS + 1))
    if isinstance(value, dict):
        parts = [f"{_repr(k, 0)}: {_repr(v, levels - 1)}" for k, v in items[:_ITEMS]]
    else:
        parts = [_repr(item, levels - 1) for item in items[:_ITEMS]]
    text = cut(", ".join(parts)) + (", ..." if len(items) > _ITEMS else "")
    if isinstance(value, dict):
        return f"{{{text}}}"
    return f"[{text}]" if isinstance(value, list) else f"({text}{',' if len(value) == 1 else ''})"


def complaint(field: str, wrong: str, got: object, expected: object, cure: str = "") -> str:
    """One error message: ``field: what is wrong, got X, expected Y. Cure.`` Long values are cut.

    Example:
        >>> complaint("snr_db", "out of range", "400 dB", "-60 to 100 dB", "Es/N0 is given in dB.")
        'snr_db: out of range, got 400 dB, expected -60 to 100 dB. Es/N0 is given in dB.'
    """
    got = shown(got) if isinstance(got, list | tuple | dict) else cut(str(got))
    head = f"{cut(field)}: {wrong}, got {got}, expected {cut(str(expected), _LONGEST_EXPECTED)}."
    return f"{head} {cure}" if cure else head


def check_choice(field: str, value: object, allowed: Collection[object], cure: str = "") -> None:
    """Raise ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        names = ", ".join(repr(a) for a in allowed)
        raise ValueError(complaint(field, "unknown choice", repr(value), f"one of {names}", cure))


def check_positive(field: str, value: float, unit: str = "", cure: str = "") -> None:
    """Raise ValueError unless ``value`` is finite and > 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            complaint(field, "not positive", f"{value} {unit}".strip(), "a finite value > 0", cure)
        )


def check_at_least(field: str, value: int, minimum: int, cure: str = "") -> None:
    """Raise ValueError unless the whole number ``value`` is at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        expected = f"a whole number >= {minimum}"
        raise ValueError(complaint(field, "out of range", repr(value), expected, cure))


def check_range(field: str, value: float, low: float, high: float, unit: str = "", cure: str = "") -> None:
    """Raise ValueError unless ``low <= value <= high``."""
    if not (low <= value <= high):
        expected = f"{low} to {high} {unit}".strip()
        raise ValueError(complaint(field, "out of range", f"{value} {unit}".strip(), expected, cure))


@dataclass(frozen=True)
class Unit:
    """Unit of a field, beside its bounds: ``Annotated[float, Interval(ge=0, le=60), Unit("dB")]``."""

    name: str


@cache
def field_hints(kind: Any) -> dict[str, Any]:
    """Annotations of a dataclass with their metadata.

    Raises:
        ValueError: names that cannot be found.
    """
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError as problem:  # an annotation of a class that was made within a function
        expected = "names that its module has at its top"
        raise ValueError(
            complaint(f"{kind.__name__}: annotations", "not readable", problem, expected)
        ) from None


def check_fields(instance: Any) -> None:
    """Check the fields of a dataclass against their annotations: bounds (``annotated_types``), choices
    (``Literal``).

    Raises:
        ValueError: names class and field.
    """
    kind: Any = type(instance)
    hints = field_hints(kind)
    for field in fields(instance):
        _check_value(
            f"{type(instance).__name__}: {field.name}", getattr(instance, field.name), hints[field.name]
        )


def _check_value(where: str, value: Any, hint: Any) -> None:
    if get_origin(hint) is Literal:
        check_choice(where, value, get_args(hint))
    metadata = getattr(hint, "__metadata__", ())
    if metadata:
        _check_annotated(where, value, get_args(hint)[0], metadata)
    elif value is not None:
        for part in get_args(hint):  # one of a union
            if getattr(part, "__metadata__", ()):
                _check_value(where, value, part)


def _check_annotated(where: str, value: Any, kind: Any, metadata: Sequence[object]) -> None:
    unit = next((part.name for part in metadata if isinstance(part, Unit)), "")
    if kind is int:
        check_at_least(where, value, min(value, 0) if isinstance(value, int) else 0)
    for part in metadata:
        if isinstance(part, Interval) and part.ge is not None and part.le is not None:
            check_range(where, value, part.ge, part.le, unit)  # type: ignore[arg-type]
        elif isinstance(part, Gt) and part.gt == 0:
            check_positive(where, value, unit)
        elif isinstance(part, Interval | Gt | Ge | Lt | Le):
            _check_bounds(where, value, part, unit)


_SIGNS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}


def _check_bounds(where: str, value: Any, part: object, unit: str) -> None:
    for name, (sign, holds) in _SIGNS.items():
        bound = getattr(part, name, None)
        if bound is not None and not holds(value, bound):
            got, expected = f"{value} {unit}".strip(), f"a value {sign} {bound} {unit}".strip()
            raise ValueError(complaint(where, "out of range", got, expected))


def check_symbols(owner: str, x: Tensor, snr_db: Tensor, seeds: Sequence[int]) -> None:
    """Check the arguments of a channel call.

    Args:
        owner: class name of the operator, for the message.
        x: [B, n] complex with mean |x|² = 1 for every image, within 0.05 or, for short frames, within
            seven standard deviations of the mean power of n random constellation points (no frame of a
            digital scheme fails by chance: 1e-12).
        snr_db: [B] float, Es/N0 [dB].
        seeds: B whole numbers, one per image.

    Raises:
        TypeError: x is not complex, snr_db not floating point.
        ValueError: wrong shape, number of seeds, power, or values that are not finite.
    """
    from torch import Tensor

    if not (isinstance(x, Tensor) and x.is_complex()):
        kind = getattr(x, "dtype", type(x).__name__)
        raise TypeError(complaint(f"{owner}: x", "not complex", kind, "a complex tensor [B, n]"))
    if x.dim() != 2 or x.shape[1] == 0:
        raise ValueError(complaint(f"{owner}: x", "wrong shape", list(x.shape), "[B, n] with n >= 1"))
    if not (isinstance(snr_db, Tensor) and snr_db.is_floating_point()):
        kind = getattr(snr_db, "dtype", type(snr_db).__name__)
        raise TypeError(complaint(f"{owner}: snr_db", "wrong type", kind, "a float tensor [B]"))
    batch = x.shape[0]
    if snr_db.shape != (batch,):
        raise ValueError(complaint(f"{owner}: snr_db", "wrong shape", list(snr_db.shape), [batch]))
    if len(seeds) != batch:
        raise ValueError(complaint(f"{owner}: seeds", "wrong length", len(seeds), f"{batch}, one per image"))
    if not all(map(math.isfinite, snr_db.tolist())):
        raise ValueError(complaint(f"{owner}: snr_db", "not finite", snr_db.tolist(), "finite values in dB"))
    _check_power(owner, x)


def _check_power(owner: str, x: Tensor) -> None:
    import torch

    tolerance = max(POWER_TOLERANCE, 7 * 0.62 / math.sqrt(x.shape[1]))
    parts = torch.view_as_real(x.detach().resolve_conj()).flatten(1)
    for i, norm in enumerate(torch.linalg.vector_norm(parts, dim=1).tolist()):
        power = norm**2 / x.shape[1]
        if not abs(power - 1) <= tolerance:
            raise ValueError(
                f"{owner}: mean power of x is {power:.3g} (image {i + 1} of {len(x)}), "
                f"expected 1.00 +/- {tolerance:.2f}. Call SymbolLayout.normalize before the channel."
            )
