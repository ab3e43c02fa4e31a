"""How large a figure is, and how its texts keep out of each other's way."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from channels.checks import complaint
from linksim.report.curves import Axis
from linksim.report.drawing import LEGEND_WIDTH, plain
from linksim.report.options import FigureOptions
from linksim.results.store import RunFolderError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Extent", "add_legend", "clear_ticks", "letters", "points", "thin_names"]

_LETTER = 0.58  # width of a letter over the size of the letters, on average
_TURN = 30  # degrees
_FIELD, _MARGIN = 4.8, 1.0  # widths of a field with its labels, and of what is beside all [inches]
_SHAPE = 0.79  # height of a field without its legend over its width
_HANDLE = 0.45  # of a legend, the line in front of the text [inches]
_FURTHER = 3  # entries of a legend that are no curve's
_LETTER_OF_LONG = 0.5  # as _LETTER, of texts so long that wide and narrow letters are even
_BETWEEN = 0.15  # columns of a legend [inches]
_MANY = 5  # entries of a column of a legend, at least
_NARROWEST = 2.3  # field beside another one [inches]
_LEAST = 0.7  # side of axes that show something [inches]


def points(setting: str) -> float:
    """The size of letters that a setting of matplotlib has now [points]."""
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties

    settings: Any = mpl.rcParams
    return float(FontProperties(size=settings[setting]).get_size_in_points())


def letters(inches: float, setting: str) -> int:
    """How many letters fit a length, in the size that a setting of matplotlib has now."""
    return max(12, int(72 * inches / (_LETTER * points(setting))))


@dataclass(frozen=True)
class Extent:
    """Size of a figure [inches].

    Args:
        width, height: of the figure.
        field_width, field_height: of each field with labels and legend.
        columns: how many fields stand side by side.
        legend_width: of a line of a legend [letters].
        legend_columns: of the entries of a legend.
        legend_height: of the highest legend.
        is_fixed: the height was asked for, whatever has to fit.
    """

    width: float
    height: float
    field_width: float
    field_height: float
    columns: int
    legend_width: int
    legend_columns: int
    legend_height: float
    is_fixed: bool

    @classmethod
    def of(cls, legends: Sequence[Sequence[str]], options: FigureOptions, columns: int) -> Extent:
        """Of fields with these entries in their legends, side by side in at most so many columns."""
        asked = options.width or options.style_size[0]
        if asked is not None:
            columns = max(1, min(columns, int(asked / _NARROWEST)))
        rows = math.ceil(len(legends) / columns)
        width = asked or _MARGIN + _FIELD * columns
        margin = _MARGIN if asked is None else min(_MARGIN, 0.15 * width)
        field_width = (width - margin) / columns
        letters_wide = min(LEGEND_WIDTH, letters(field_width - _HANDLE, "legend.fontsize"))
        line = 1.9 * points("legend.fontsize") / 72
        beside = _legend_columns(legends, width / columns, letters_wide)
        lines = [[len(textwrap.wrap(text, letters_wide)) for text in texts] for texts in legends]
        most = max(sum(of) if beside == 1 else max(of) * math.ceil(len(of) / beside) for of in lines)
        legend = line * (most + _FURTHER)
        height = options.height or options.style_size[1]
        usual = rows * (_SHAPE * field_width + legend) + 0.4
        return cls(
            *(width, height or usual, field_width, ((height or usual) - 0.4) / rows),
            *(columns, letters_wide, beside, legend),
            height is not None,
        )

    @property
    def axes_width(self) -> float:
        """About that of the axes alone."""
        return max(_LEAST, self.field_width - 0.05 * points("axes.labelsize"))

    @property
    def axes_height(self) -> float:
        """About that of the axes alone."""
        return max(_LEAST, self.field_height - self.legend_height - 0.05 * points("axes.labelsize"))

    def check(self, figure: Figure, grid: Sequence[Axes]) -> None:
        """Refuse a height that was asked for and leaves nothing of the axes.

        Raises:
            RunFolderError: with a height that is enough.
        """
        if not self.is_fixed:
            return
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            figure.draw_without_rendering()
        no_room = any("constrained_layout" in str(warning.message) for warning in found)
        boxes = [axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted()) for axes in grid]
        if no_room or min(min(box.width, box.height) for box in boxes) < _LEAST:
            enough = self.height + max(_LEAST, self.legend_height)
            got, cure = f"{self.width:g},{self.height:g}", "Give the width alone by a name, such as column."
            expected = f"room for axes beside titles and legends, such as {self.width:g},{enough:.1f}"
            raise RunFolderError(complaint("size", "too small", got, expected, cure))


def _legend_columns(legends: Sequence[Sequence[str]], width: float, most: int) -> int:
    """Columns of the legends of fields of a width [inches]: more than one where there are many entries."""
    entries = max(len(texts) for texts in legends)
    longest = max(min(len(text), most) for texts in legends for text in texts) if entries else most
    letter = _LETTER_OF_LONG * points("legend.fontsize") / 72
    return max(1, min(3, entries // _MANY, int(width / (_HANDLE + _BETWEEN + longest * letter))))


def add_legend(axes: Axes, size: Extent, ticks: float) -> None:
    """The legend below the label of the horizontal axis; ``ticks``: how high labels of ticks are [points]."""
    from matplotlib import rcParams
    from matplotlib.transforms import ScaledTranslation

    handles, labels = axes.get_legend_handles_labels()
    own = ["\n".join(textwrap.wrap(" ".join(text.split("\n")), size.legend_width)) or " " for text in labels]
    lines = 1 + axes.get_xlabel().count("\n")
    below = rcParams["xtick.major.size"] + rcParams["xtick.major.pad"] + 1.2 * ticks
    below += rcParams["axes.labelpad"] + 1.3 * lines * points("axes.labelsize") + 5
    place = axes.transAxes + ScaledTranslation(0, -below / 72, axes.figure.dpi_scale_trans)
    axes.legend(
        *(handles, own),
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=place,
        borderaxespad=0,
        ncols=size.legend_columns,
    )


def thin_names(axes: Axes, size: Extent) -> None:
    """Leave out names at the ends of lines that would stand on others, from the top."""
    low, high = axes.get_ylim()
    scale = 72 * size.axes_height / (high - low)  # points
    last: dict[float, float] = {}
    for name in sorted((text for text in axes.texts if hasattr(text, "xy")), key=lambda text: -text.xy[1]):
        x, y = name.xy
        if x in last and (last[x] - y) * scale < 1.4 * float(name.get_fontsize()):
            name.set_visible(False)
        else:
            last[x] = y


def clear_ticks(axes: Axes, axis: Axis, width: float) -> float:
    """Let labels of ticks not run into each other: of names they are turned, of numbers some are left out.

    Args:
        axes: with limits and scale.
        axis: of :func:`linksim.report.drawing.set_axis`.
        width: of the axes [inches].

    Returns:
        How high the labels are [points].
    """
    size = points("xtick.labelsize")
    if not axis.ticks:
        return size
    ends = axes.transData.transform([(v, 1.0) for v in axis.ticks])[:, 0]
    left, right = axes.transAxes.transform([(0, 0), (1, 0)])[:, 0]
    places = (ends - left) / (right - left) * width
    halves = [0.5 * _LETTER * size * len(text) / 72 for text in axis.labels]
    kept: list[int] = []
    for i, place in enumerate(places):
        if not kept or place - halves[i] > places[kept[-1]] + halves[kept[-1]] + _LETTER * size / 72:
            kept.append(i)
    if len(kept) == len(axis.ticks):
        return size
    if not all(_is_number(text) for text in axis.labels):
        axes.tick_params(axis="x", rotation=_TURN)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
        return size + 144 * max(halves) * math.sin(math.radians(_TURN))
    texts = [text if i in kept else "" for i, text in enumerate(axis.labels)]
    axes.set_xticks(axis.ticks, [plain(text) for text in texts])
    return size


def _is_number(text: str) -> bool:
    return text.replace(".", "").replace("/", "").replace("-", "").replace("e", "").isdigit()
