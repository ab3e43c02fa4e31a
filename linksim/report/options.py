"""What a figure is asked to look like: title, size, limits, labels of runs, settings of matplotlib."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from channels.checks import complaint, in_words, shown
from linksim.results.store import RunFolderError

__all__ = ["WIDTHS", "FigureOptions", "read_style", "size_of", "ylim_of"]

# Widths of a column and of the text of two-column papers (IEEE), and of a slide [inches].
WIDTHS = {"column": 3.5, "page": 7.16, "slide": 10.0}
_SMALLEST, _LARGEST = 1.0, 60.0
_NARROW = 4.5  # from here on letters have their usual size
_LONGEST_STYLE = 100_000  # bytes
# Settings of how things look; not those that name programs, files, or another way to draw.
_GROUPS = (
    *("axes", "errorbar", "figure", "font", "grid", "legend", "lines", "markers", "mathtext", "patch"),
    *("xtick", "ytick"),
)
_SINGLE = (
    *("text.color", "text.antialiased", "pdf.fonttype", "ps.fonttype", "svg.fonttype"),
    *("savefig.facecolor", "savefig.edgecolor", "savefig.transparent", "savefig.bbox", "savefig.pad_inches"),
)
_CODE = ("figure.hooks",)
_CYCLE = re.compile(r"cycler\(\s*(?:color\s*=|['\"]color['\"]\s*,)\s*\[(.*)\]\s*\)")
_SMALL_LETTERS = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "figure.titlesize": 9.0,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
}


@dataclass(frozen=True)
class FigureOptions:
    """How a figure of curves is drawn.

    Args:
        title: above it; None for the usual one, "" for none.
        width: [inches]; None as the fields need it.
        height: [inches]; None as fields and legends need it.
        ylim: limits of the vertical axis; None as the results need it.
        intervals: whether they are drawn.
        overlay: whether all channels are in one field, told apart by the style of their lines.
        style: settings of matplotlib.
    """

    title: str | None = None
    width: float | None = None
    height: float | None = None
    ylim: tuple[float, float] | None = None
    intervals: bool = True
    overlay: bool = False
    style: Mapping[str, Any] = field(default_factory=dict)

    @property
    def style_size(self) -> tuple[float | None, float | None]:
        """Width and height that the style asks for, where nothing else does."""
        if self.width is not None or "figure.figsize" not in self.style:
            return None, None
        width, height = self.style["figure.figsize"]
        return float(width), float(height)

    @property
    def settings(self) -> dict[str, Any]:
        """Of matplotlib: letters fit the width, unless the style says otherwise."""
        small = _SMALL_LETTERS if self.width is not None and self.width < _NARROW else {}
        return {**small, **self.style}


def _numbers(value: object, name: str, example: str) -> tuple[float, float]:
    """Two finite numbers of a text A,B or a sequence."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        one, two = (float(part) for part in parts)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        one = two = math.nan
    if not (math.isfinite(one) and math.isfinite(two)):
        raise RunFolderError(
            complaint(name, "not understood", shown(value), f"two numbers such as {example}")
        )
    return one, two


def size_of(value: str | Sequence[float] | None, name: str) -> tuple[float | None, float | None]:
    """Width and height of a figure [inches] of "W,H", a pair, or the name of a width.

    Raises:
        RunFolderError: another thing.
    """
    if value is None:
        return None, None
    if isinstance(value, str) and value.strip() in WIDTHS:
        return WIDTHS[value.strip()], None
    if isinstance(value, str) and "," not in value:
        expected = f"W,H in inches, such as 3.5,2.6, or one of {', '.join(WIDTHS)}"
        raise RunFolderError(complaint(name, "no size", shown(value), expected))
    width, height = _numbers(value, name, "3.5,2.6")
    if not (_SMALLEST <= width <= _LARGEST and _SMALLEST <= height <= _LARGEST):
        expected = f"{_SMALLEST:g} to {_LARGEST:g} inches each"
        raise RunFolderError(complaint(name, "no size of a figure", f"{width:g},{height:g}", expected))
    return width, height


def ylim_of(value: str | Sequence[float] | None, name: str) -> tuple[float, float] | None:
    """Limits of an axis of "LO,HI" or a pair.

    Raises:
        RunFolderError: another thing.
    """
    if value is None:
        return None
    low, high = _numbers(value, name, "20,35")
    if low >= high:
        raise RunFolderError(
            complaint(name, "no limits", f"{low:g},{high:g}", "the lower one, then the higher")
        )
    return low, high


# ------------------------------------------------------------------------------------------------ styles


def read_style(path: Path, name: str) -> dict[str, Any]:
    """Settings of a matplotlib style file: lines of KEY: VALUE. Nothing in it is executed: of a cycle only a
    list of colours is taken, and settings that start programs or read files are refused.

    Args:
        path: of the file.
        name: of the option, for messages.

    Raises:
        RunFolderError: a file that cannot be read, an unknown setting, or a value that it does not take.
    """
    try:
        data = path.read_bytes()
        text = data[:_LONGEST_STYLE].decode("utf-8")
    except (OSError, ValueError) as problem:
        raise RunFolderError(
            complaint(f"{name} {path}", "cannot be read", in_words(problem), "a style file")
        ) from None
    if len(data) > _LONGEST_STYLE:
        expected = f"at most {_LONGEST_STYLE} bytes"
        raise RunFolderError(complaint(f"{name} {path}", "too large", f"{len(data)} bytes", expected))
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        bare = _without_comment(line).strip()
        if bare:
            key, between, value = (part.strip() for part in bare.partition(":"))
            found[key] = _setting(f"{name} {path} line {number}", key, value if between else None)
    return found


def _without_comment(line: str) -> str:
    """Up to the first # that is not in quotes, where colours are."""
    quote = ""
    for i, letter in enumerate(line):
        if letter == "#" and not quote:
            return line[:i]
        if letter in "'\"":
            quote = "" if letter == quote else quote or letter
    return line


def _setting(where: str, key: str, text: str | None) -> Any:
    """The value of a setting, as matplotlib has it."""
    import matplotlib as mpl
    from matplotlib.rcsetup import cycler

    if text is None:
        raise RunFolderError(complaint(where, "not understood", shown(key), "KEY: VALUE"))
    known, group = key in mpl.rcParamsDefault, key.partition(".")[0]
    if not known or key in _CODE or (group not in _GROUPS and key not in _SINGLE):
        expected = f"settings of {', '.join(_GROUPS)}, or {', '.join(_SINGLE)}"
        what = "a setting that styles of linksim do not take" if known else "unknown setting"
        raise RunFolderError(complaint(where, what, shown(key), expected))
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    value: Any = text
    if key == "axes.prop_cycle":
        cycle = _CYCLE.fullmatch(text)
        if cycle is None:
            expected = "cycler(color=['#0072B2', ...])"
            raise RunFolderError(complaint(where, "not understood", shown(text), expected))
        value = [part.strip().strip("'\"") for part in cycle[1].split(",") if part.strip()]
    settings: Any = mpl.rcParams
    try:
        if key == "axes.prop_cycle":
            value = cycler(color=value)
        with mpl.rc_context():
            settings[key] = value
            return settings[key]
    except (ValueError, TypeError) as problem:
        said = str(problem).splitlines()[0]
        raise RunFolderError(complaint(where, f"wrong value of {key}", said, "one that it takes")) from None
