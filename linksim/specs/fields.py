"""Base of all specifications, and physical quantities with their units. Imports only pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable
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

__all__ = [
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
    "PathText",
    "Positive",
    "PositiveInt",
    "Ratio",
    "Real",
    "Seconds",
    "Share",
    "SnrDb",
    "Spacing",
    "Spec",
    "Speed",
    "Text",
    "kept_folder",
    "quantity",
]


class Spec(BaseModel):
    """Base of every block: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]
Real = Annotated[float, Strict()]


def _number(value: float) -> str:
    return f"{value:g}"


def quantity(
    unit: str, low: float, high: float, *, open_low: bool = False, rescale: tuple[tuple[float, str], ...] = ()
) -> Callable[[float], float]:
    """Validator of a physical quantity whose message proposes the unit that was probably meant."""

    def check(value: float) -> float:
        below = value <= low if open_low else value < low
        if not below and value <= high:
            return value
        sign = "<" if open_low else "<="
        text = f"got {_number(value)} {unit}, expected {_number(low)} {sign} value <= {_number(high)} {unit}."
        for factor, name in rescale:
            fits = (value * factor > low if open_low else value * factor >= low) and value * factor <= high
            if fits:
                text += f" Did you mean {value * factor:g} ({_number(value)} {name})?"
                break
        raise ValueError(text)

    return check


SNR_DB_RANGE = (-60.0, 100.0)
SnrDb = Annotated[Real, AfterValidator(quantity("dB", *SNR_DB_RANGE))]
GainDb = Annotated[Real, AfterValidator(quantity("dB", -60, 60))]
DelaySpread = Annotated[Real, AfterValidator(quantity("s", 0, 1e-5, rescale=((1e-9, "ns"), (1e-6, "us"))))]
Speed = Annotated[Real, AfterValidator(quantity("m/s", 0, 500, rescale=((1 / 3.6, "km/h"),)))]
Carrier = Annotated[Real, AfterValidator(quantity("Hz", 1e8, 1e12, rescale=((1e9, "GHz"), (1e6, "MHz"))))]
Spacing = Annotated[Real, AfterValidator(quantity("Hz", 1e3, 1e6, rescale=((1e3, "kHz"),)))]
Seconds = Annotated[Real, AfterValidator(quantity("s", 0, 1e7, open_low=True))]
Positive = Annotated[Real, Field(gt=0)]
Share = Annotated[Real, Field(ge=0, le=1)]
PositiveInt = Annotated[Int, Field(ge=1)]
NaturalInt = Annotated[Int, Field(ge=0)]
Text = Annotated[str, Strict()]


class PathText(str):
    """A path as a scenario file says it, and the folder of that file: relative paths begin there.

    Args:
        text: as written; equality, hash and JSON are those of this text.
        folder: of the file; None of the command line and of Python.
    """

    folder: Path | None

    def __new__(cls, text: str, folder: Path | None = None) -> PathText:
        made = super().__new__(cls, text)
        made.folder = folder
        return made


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


def kept_folder(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Validate a text, and keep what it knows of its folder."""
    text = check(value)
    return value if isinstance(value, PathText) else text


PathName = Annotated[str, Strict(), WrapValidator(_path)]
Name = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$", max_length=60)]


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
    raise ValueError(
        f"got {value!r}, expected an exact fraction such as 1/48 (complex data uses over 3·H·W)."
    )


def _ratio_in_range(value: Fraction) -> Fraction:
    if not 0 < value <= 2:
        raise ValueError(f"got {value}, expected 0 < ratio <= 2 (complex data uses over 3·H·W).")
    return value


Ratio = Annotated[
    Fraction,
    BeforeValidator(_fraction),
    AfterValidator(_ratio_in_range),
    PlainSerializer(lambda v: f"{v.numerator}/{v.denominator}", return_type=str),
]

CsitName = Literal["none", "average_snr", "instantaneous_snr", "perfect"]
