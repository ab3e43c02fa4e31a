"""Base of all descriptions, and physical quantities with their units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from linksim.files.places import PathText

__all__ = [
    "RANGE_PATTERN",
    "SNR_DB_RANGE",
    "Bool",
    "Carrier",
    "CsitName",
    "DelaySpread",
    "GainDb",
    "Int",
    "Name",
    "NaturalInt",
    "PathName",
    "Positive",
    "PositiveInt",
    "Quantity",
    "Ratio",
    "Real",
    "Seconds",
    "Share",
    "SnrDb",
    "SnrsDb",
    "Spacing",
    "Spec",
    "Speed",
    "Text",
    "expanded_range",
    "is_path",
    "kept_folder",
]


class Spec(BaseModel):
    """Base of every block: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Real = Annotated[float, Strict()]


def _number(value: float) -> str:
    return f"{value:g}"


@dataclass(frozen=True)
class Quantity:
    """Validator of a physical quantity whose message proposes the unit that was probably meant.

    Args:
        unit: name.
        low, high: bounds, in that unit.
        open_low: ``low`` itself is refused.
        rescale: factors to other units with their names.
    """

    unit: str
    low: float
    high: float
    open_low: bool = False
    rescale: tuple[tuple[float, str], ...] = ()

    def __call__(self, value: float) -> float:
        """The value.

        Raises:
            ValueError: out of bounds.
        """
        if self._holds(value):
            return value
        sign = "<" if self.open_low else "<="
        bounds = f"{_number(self.low)} {sign} value <= {_number(self.high)} {self.unit}"
        text = f"got {_number(value)} {self.unit}, expected {bounds}."
        for factor, name in self.rescale:
            if self._holds(value * factor):
                text += f" Did you mean {value * factor:g} ({_number(value)} {name})?"
                break
        raise ValueError(text)

    def _holds(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high


quantity = Quantity  # as it was called


SNR_DB_RANGE = (-60.0, 100.0)
SnrDb = Annotated[Real, AfterValidator(Quantity("dB", *SNR_DB_RANGE))]
GainDb = Annotated[Real, AfterValidator(Quantity("dB", -60, 60))]
DelaySpread = Annotated[Real, AfterValidator(Quantity("s", 0, 1e-5, rescale=((1e-9, "ns"), (1e-6, "us"))))]
Speed = Annotated[Real, AfterValidator(Quantity("m/s", 0, 500, rescale=((1 / 3.6, "km/h"),)))]
Carrier = Annotated[Real, AfterValidator(Quantity("Hz", 1e8, 1e12, rescale=((1e9, "GHz"), (1e6, "MHz"))))]
Spacing = Annotated[Real, AfterValidator(Quantity("Hz", 1e3, 1e6, rescale=((1e3, "kHz"),)))]
Seconds = Annotated[Real, AfterValidator(Quantity("s", 0, 1e7, open_low=True))]
Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
PositiveInt = Annotated[Int, Field(ge=1)]
NaturalInt = Annotated[Int, Field(ge=0)]
Text = Annotated[str, Strict()]


def _path(value: Any, check: ValidatorFunctionWrapHandler) -> PathText:
    """A text that can be a path, with the folder that it came with."""
    text = check(value)
    if not text.strip():
        raise ValueError(f"got {text!r}, expected the path or the name of something.")
    if not text.isprintable():
        raise ValueError(f"got {text[:80]!r}, expected a path without control characters.")
    if text.startswith("~"):
        try:
            Path(text).expanduser()
        except RuntimeError:
            got = text.partition("/")[0]
            raise ValueError(
                f"got {got!r}, expected ~ or ~user with a home folder on this machine."
            ) from None
    return value if isinstance(value, PathText) else PathText(text)


def is_path(part: object) -> bool:
    """Whether this metadata of a field makes it a path."""
    return isinstance(part, WrapValidator) and part.func is _path


def kept_folder(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Validate a text, and keep what it knows of its folder."""
    text = check(value)
    return value if isinstance(value, PathText) else text


PathName = Annotated[str, Strict(), WrapValidator(_path)]
Name = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$", max_length=60)]


_PLAIN = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
RANGE_PATTERN = rf"^\s*{_PLAIN}\s*:\s*{_PLAIN}\s*:\s*{_PLAIN}\s*$"
_MOST_VALUES = 1000


def expanded_range(value: object) -> object:
    """The values of a range ``from:step:to``, the last included where a step meets it; others as they are.

    Raises:
        ValueError: a step of 0 or away from the end, or more than 1000 values.

    Example:
        >>> expanded_range("-5:2.5:5"), expanded_range([1, 2])
        ([-5.0, -2.5, 0.0, 2.5, 5.0], [1, 2])
    """
    if not isinstance(value, str) or not re.fullmatch(RANGE_PATTERN, value):
        return value
    start, step, end = (Fraction(part.strip()) for part in value.split(":"))
    count = (end - start) / step if step else Fraction(-1)
    if not 0 <= count < _MOST_VALUES:
        cure = "Write from:step:to, such as -5:2:15."
        raise ValueError(f"got {value[:80]!r}, expected 1 to {_MOST_VALUES} values. {cure}")
    values = [start + i * step for i in range(int(count) + 1)]
    whole = all(v.denominator == 1 for v in (start, step)) and not re.search("[.eE]", value)
    return [int(v) if whole else float(v) for v in values]


SnrsDb = Annotated[tuple[SnrDb, ...], BeforeValidator(expanded_range)]  # a list, or a range


def _fraction(value: object) -> Fraction:
    """An exact ratio: "1/48", or a number that is one."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*/\s*\d+\s*", value):
        top, bottom = (int(part) for part in value.split("/"))
        if bottom:
            return Fraction(top, bottom)
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    near = Fraction(value).limit_denominator(10_000) if isinstance(value, float) and 0 < value <= 2 else None
    if near and abs(1 / near - round(1 / near)) < 0.1:  # people round 1/12 to 0.083
        near = Fraction(1, round(1 / near))
    cure = f" Did you mean {near}?" if near else ""
    raise ValueError(
        f"got {value!r}, expected an exact fraction such as 1/48 (complex data uses over 3·H·W).{cure}"
    )


def _ratio_in_range(value: Fraction) -> Fraction:
    if not 0 < value <= 2:
        cure = f" Did you mean 1/{value}?" if value > 2 and value.denominator == 1 else ""
        raise ValueError(f"got {value}, expected 0 < ratio <= 2 (complex data uses over 3·H·W).{cure}")
    return value


Ratio = Annotated[
    Fraction,
    BeforeValidator(_fraction),
    AfterValidator(_ratio_in_range),
    PlainSerializer(lambda v: f"{v.numerator}/{v.denominator}", return_type=str),
]

CsitName = Literal["none", "average_snr", "instantaneous_snr", "perfect"]
