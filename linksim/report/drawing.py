"""How figures look: colours, texts, fields, lines with their intervals and limits, files."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.files.writing import whole_file
from linksim.report.curves import Axis, Curve, axis_of, connected, step_points
from linksim.results.store import RunFolderError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "LEGEND_WIDTH",
    "MARKERS",
    "Looks",
    "axis_grid",
    "columns_of",
    "draw",
    "keep_means_in_view",
    "own_style",
    "plain",
    "plain_lines",
    "save_figure",
    "set_axis",
]

# Okabe & Ito, "Color Universal Design", 2008; black is left for bounds.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 3)), (0, (3, 1)))
GREYS = ("black", "dimgrey", "grey")
DOTS: tuple[Any, ...] = (":", (0, (1, 3)), (0, (2, 2)), (0, (3, 2, 1, 2)), (0, (1, 1)), (0, (4, 3)))
_STEP_COLOUR = "#7FA8C9"
_DOWN, _DOWN_LIMIT = "v", 7  # markers; 7 is a caret whose tip is the value
LEGEND_WIDTH = 50


def plain(text: str) -> str:
    """A text as it is to be drawn: dollar signs begin no formula, control characters are boxes, and a leading
    underscore does not hide it from the legend.
    """
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return (" " if visible.startswith("_") else "") + visible.replace("$", r"\$")


def plain_lines(text: str, width: int) -> str:
    """:func:`plain`, in lines of so many characters."""
    return "\n".join(plain(line) for line in textwrap.wrap(text, width))


_USUAL = {
    "axes.titlesize": 11,
    "figure.titlesize": 12,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.markersize": 5,
    "svg.hashsalt": "linksim",  # names within the file: the same figure is the same file
}


@contextmanager
def own_style(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Matplotlib's own settings and those of linksim: figures do not depend on a matplotlibrc, which may lie
    in any folder; ``settings`` of a style that was asked for come on top.
    """
    import matplotlib as mpl

    current: Any = mpl.rcParams
    with mpl.rc_context():
        mpl.rcdefaults()
        current.update(_USUAL)
        current.update(settings or {})
        yield


def columns_of(count: int) -> int:
    """How many of so many fields stand side by side."""
    return min(count, 2 if count in (2, 4) else 3)


def axis_grid(
    count: int, width: float, height: float, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` fields of a size in inches each, side by side up to ``columns`` (none: as fits
    their number).
    """
    from matplotlib.figure import Figure

    columns = columns or columns_of(count)
    shape = (math.ceil(count / columns), columns)
    figure = Figure(figsize=(1.0 + width * shape[1], height * shape[0] + 0.4), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False, sharey=True)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


@dataclass(frozen=True)
class Looks:
    """Colour by scheme and dashes by swept value; a single scheme has its colours for the swept values.

    Args:
        schemes: names of the schemes that have a colour.
        bounds: names of those that are black.
        variants: swept values, with the run where there are several.
        in_theory: (channel, scheme, variant) of results that a closed form is drawn for: they are points.
        channels: that stand in one field, each with dashes of its own; empty where each has a field.
    """

    schemes: tuple[str, ...]
    bounds: tuple[str, ...]
    variants: tuple[Any, ...]
    in_theory: frozenset[Any] = frozenset()
    channels: tuple[str, ...] = ()

    @classmethod
    def of(cls, lines: Sequence[Curve], *, by_variant: bool = False, overlay: bool = False) -> Looks:
        """Those that tell some lines apart; ``by_variant`` where each field shows one scheme, ``overlay``
        where one shows several channels.
        """
        schemes = tuple(dict.fromkeys(c.own_scheme for c in lines if not c.is_bound and not c.is_step))
        return cls(
            schemes[:1] if by_variant else schemes,
            tuple(dict.fromkeys(c.own_scheme for c in lines if c.is_bound)),
            tuple(dict.fromkeys((c.variant, c.run) for c in lines)),
            frozenset((c.channel, c.scheme, c.variant) for c in lines if c.is_theory),
            tuple(dict.fromkeys(c.channel for c in lines)) if overlay else (),
        )

    def style(self, line: Curve) -> dict[str, Any]:
        """How a line is drawn."""
        from matplotlib import rcParams

        variant, width = self.variants.index((line.variant, line.run)), rcParams["lines.linewidth"]
        channel = self.channels.index(line.channel) if self.channels else 0
        if line.is_step:
            dashes = DASHES[channel % len(DASHES)]
            return {"color": _STEP_COLOUR, "linestyle": dashes, "linewidth": 0.55 * width}
        if line.is_bound:
            bound = self.bounds.index(line.own_scheme)
            other = channel + max(1, len(self.channels)) * variant
            dots = DOTS[(bound + len(self.bounds) * other) % len(DOTS)]
            return {"color": GREYS[bound % len(GREYS)], "linestyle": dots, "linewidth": width}
        scheme = self.schemes.index(line.own_scheme) if len(self.schemes) > 1 else 0
        colour, dash = (scheme, variant) if len(self.schemes) > 1 else (variant, 0)
        colours = _colours()
        style: dict[str, Any] = {"color": colours[colour % len(colours)]}
        if line.is_theory:
            return style | {"linestyle": DASHES[channel % len(DASHES)], "linewidth": 0.6 * width}
        points = (line.channel, line.scheme, line.variant) in self.in_theory
        mark = scheme if len(self.variants) == 1 else variant
        mark, dash = (mark + channel if points else mark, channel) if self.channels else (mark, dash)
        return style | {
            "marker": MARKERS[(mark + mark // len(colours)) % len(MARKERS)],  # of more than there are colours
            "linestyle": "none" if points else DASHES[dash % len(DASHES)],
        }


def _colours() -> Sequence[str]:
    """Those of a style that has some, else those of linksim."""
    from matplotlib import rcParams, rcParamsDefault

    cycle = rcParams["axes.prop_cycle"]
    return COLOURS if cycle == rcParamsDefault["axes.prop_cycle"] else cycle.by_key().get("color", COLOURS)


def draw(
    axes: Axes, lines: Sequence[Curve], looks: Looks, x: str, *, is_rate: bool, intervals: bool = True
) -> None:
    """The lines of a field, with intervals, limits, and a legend entry for all that needs one; ``is_rate`` of
    shares of errors.
    """
    for line in lines:
        style = looks.style(line)
        if line.is_step:
            _draw_step(axes, line, style, x)
        elif line.is_theory:
            axes.plot(line.x, line.mean, **style)
        else:
            _draw_line(axes, line, style, is_rate=is_rate, intervals=intervals)
    if any(line.is_theory for line in lines):
        axes.plot([], [], color="grey", linewidth=0.9, label="lines without points: closed form")
    gone = [line.scheme.rsplit(" ", 1)[-1] for line in lines if line.is_step and line.lost.all()]
    if gone:
        text = f"not drawn, no picture arrives: MCS {', '.join(gone)}"
        axes.plot([], [], linestyle="none", label=plain_lines(text, LEGEND_WIDTH))
    if is_rate:
        _draw_limits(axes, lines, looks)
        if not np.isfinite(axes.dataLim.minposy):  # nothing above 0 is drawn: MCS without errors, or all lost
            axes.set_ylim(1e-3, 1.0)
        axes.set_yscale("log")
    else:
        _mark_lost(axes, lines, looks)


def _draw_line(axes: Axes, line: Curve, style: dict[str, Any], *, is_rate: bool, intervals: bool) -> None:
    x, mean, low, high = connected(line, is_rate=is_rate)
    axes.plot(x, mean, label=plain_lines(line.label, LEGEND_WIDTH), **style)
    if "marker" not in style:
        alone = _alone(mean)
        axes.plot(x[alone], mean[alone], ".", color=style["color"])
    has = np.isfinite(mean) & np.isfinite(low) & np.isfinite(high)
    if not intervals or not has.any() or line.is_bound:
        return
    if style.get("linestyle") == "none":
        ends = np.maximum([mean - low, high - mean], 0)[:, has]
        axes.errorbar(x[has], mean[has], ends, color=style["color"], linestyle="none", capsize=2)
    else:
        axes.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)


def _alone(values: np.ndarray) -> np.ndarray:
    """Points that no line leads to or from."""
    there = np.isfinite(values)
    beside = np.append(there[1:], False) | np.insert(there[:-1], 0, False)
    return there & ~beside


def _draw_step(axes: Axes, line: Curve, style: dict[str, Any], x: str) -> None:
    """A thin line with its name at the right end, instead of a place in the legend."""
    xs, means = step_points(line, x)
    if len(xs):
        axes.plot(xs, means, **style, marker="_", markersize=4)
        name = plain(line.scheme.rsplit(" ", 1)[-1])
        place: dict[str, Any] = {"textcoords": "offset points", "fontsize": 6, "va": "center"}
        axes.annotate(name, (xs[-1], means[-1]), (2, 0), **place)


def _mark_lost(axes: Axes, lines: Sequence[Curve], looks: Looks) -> None:
    """Hollow points where no picture arrived at all: what the mean shows there is grey, not a bad picture."""
    found = False
    for line in lines:
        at = line.lost & np.isfinite(line.mean)
        if at.any() and not line.is_step and not line.is_theory:
            style = looks.style(line)
            marker = style.get("marker", "o")
            edge = {"markerfacecolor": "white", "markeredgecolor": style["color"]}
            axes.plot(line.x[at], line.mean[at], marker=marker, linestyle="none", **edge)
            found = True
    if found:
        edge = {"markerfacecolor": "white", "markeredgecolor": "grey"}
        axes.plot([], [], "o", **edge, label="hollow: no picture arrived, all are grey")


def telling_limits(line: Curve, lines: Sequence[Curve]) -> np.ndarray:
    """Which upper limits say something: those below what the curve shows elsewhere, or, where no error was
    seen at all, below the worst curve of the field. Few transmissions have limits above everything.
    """
    own = line.mean[~line.upper_bound]
    others = [c.mean[~c.upper_bound].max() for c in lines if not c.is_theory and (~c.upper_bound).any()]
    reference = own.min() if len(own) else max(others, default=math.inf)
    return line.upper_bound & (line.high < reference)


def _draw_limits(axes: Axes, lines: Sequence[Curve], looks: Looks) -> None:
    """Upper limits at their value; those that say nothing as hollow marks at the lower edge."""
    from matplotlib.transforms import blended_transform_factory

    edge = blended_transform_factory(axes.transData, axes.transAxes)
    worst, told = 0.0, False
    for line in lines:
        if not line.upper_bound.any() or line.is_bound:  # what cannot fail has no limit
            continue
        colour = looks.style(line)["color"]
        telling = telling_limits(line, lines)
        told |= bool(telling.any())
        at = {"color": colour, "marker": _DOWN_LIMIT, "linestyle": "none", "markersize": 7}
        axes.plot(line.x[telling], line.high[telling], **at)
        mute = line.upper_bound & ~telling
        if mute.any():
            worst = max(worst, float(line.high[mute].max()))
            hollow = {"markerfacecolor": "white", "markeredgecolor": colour, "markersize": 6}
            low = np.full(mute.sum(), 0.03)
            axes.plot(line.x[mute], low, _DOWN, **hollow, transform=edge, clip_on=False)
    grey: dict[str, Any] = {"color": "grey", "linestyle": "none"}
    if told:
        axes.plot([], [], **grey, marker=_DOWN_LIMIT, label="none seen: upper limit")
    if worst:
        text = f"none seen, at the edge: too few for a limit below the curves (up to {worst:.2g})"
        label = plain_lines(text, LEGEND_WIDTH)
        axes.plot([], [], **grey, marker=_DOWN, markerfacecolor="white", label=label)


def set_axis(axes: Axes, lines: Sequence[Curve], x: str) -> Axis:
    """Scale and ticks of the horizontal axis."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    axis = axis_of(lines, x)
    if axis.scale == "symlog":
        axes.set_xscale("symlog", linthresh=axis.linear_to, linscale=0.5)
    elif axis.scale == "log":
        axes.set_xscale("log")
    if axis.ticks:
        axes.set_xticks(axis.ticks, [plain(text) for text in axis.labels])
        axes.xaxis.set_minor_locator(NullLocator())
    elif axis.scale == "linear":
        whole = all(float(v).is_integer() for line in lines for v in line.x)
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=whole))
    return axis


def keep_means_in_view(axes: Axes, lines: Sequence[Curve], *, is_rate: bool) -> None:
    """Limit the vertical axis to the means and half as much again: intervals of two or three pictures reach
    far beyond everything, and would leave nothing of the curves. Steps count where most pictures arrive:
    grey ones have no quality to be compared.
    """
    if is_rate:
        _keep_results_in_view(axes, lines)
        return
    shown = [line.mean[line.mostly_there] if line.is_step else line.mean for line in lines]
    means = np.concatenate(shown)
    if not np.isfinite(means).any():
        return
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    room = 0.5 * (high - low)
    bottom, top = axes.get_ylim()
    if room > 0:
        axes.set_ylim(max(bottom, low - room), min(top, high + room))


def _keep_results_in_view(axes: Axes, lines: Sequence[Curve]) -> None:
    """Let closed forms leave a logarithmic axis a decade below the least that was seen."""
    results = [line for line in lines if not line.is_theory]
    seen = [
        v for c in results for v in (*c.mean[~c.upper_bound], *c.high[telling_limits(c, results)]) if v > 0
    ]
    if seen and len(results) < len(lines):
        axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.1 * min(seen)))


def save_figure(figure: Figure, path: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Write a figure as its suffix says: png, svg or pdf; ``settings`` of its style.

    Raises:
        RunFolderError: another suffix, or a file that cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RunFolderError(f"--out {path}: got the suffix {path.suffix!r}, expected .png, .svg or .pdf.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.lower().removeprefix(".")
        with whole_file(path) as partial:
            undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
            quick: dict[str, Any] = {"pil_kwargs": {"compress_level": 4}} if kind == "png" else {}
            with own_style(settings):
                figure.savefig(partial, format=kind, dpi=140, metadata=undated, **quick)
    except OSError as problem:
        raise RunFolderError(f"{path}: cannot be written, got {problem}, expected a file.") from problem
