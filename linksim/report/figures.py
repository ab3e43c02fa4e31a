"""Figures from run folders: curves with intervals. Reads stores only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from channels.checks import complaint
from linksim.metrics.info import MetricInfo
from linksim.report.curves import (
    Curve,
    axis_label,
    best_of,
    curves,
    swept_text,
    variant_texts,
)
from linksim.report.drawing import (
    COLOURS,
    MARKERS,
    Looks,
    axis_grid,
    columns_of,
    draw,
    keep_means_in_view,
    own_style,
    plain,
    plain_lines,
    save_figure,
    set_axis,
)
from linksim.report.extent import Extent, add_legend, clear_ticks, letters, points, thin_names
from linksim.report.lines import (
    TRAINED,
    NoPairs,
    difference_rows,
    figure_lines,
    gathered,
    interval_text,
)
from linksim.report.options import FigureOptions
from linksim.report.runs import (
    Run,
    bound_names,
    default_x,
    load_rows,
    load_runs,
    metric_info,
    rename,
    run_names,
    step_names,
    trained_schemes,
)
from linksim.results.statistics import Row
from linksim.results.store import RunFolderError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "MARKERS",
    "TRAINED",
    "Curve",
    "NoPairs",
    "Run",
    "axis_grid",
    "axis_label",
    "best_of",
    "bound_names",
    "curves",
    "default_x",
    "difference_figure",
    "load_rows",
    "load_runs",
    "metric_figure",
    "metric_info",
    "own_style",
    "plain",
    "plain_lines",
    "plot_metric",
    "rename",
    "run_names",
    "save_figure",
    "step_names",
    "swept_text",
    "trained_schemes",
]

_USUAL = FigureOptions()
_GRID = {"axes.grid": True, "grid.alpha": 0.3}


@dataclass(frozen=True)
class _Field:
    """One field of a figure: its lines, and its title."""

    title: str
    lines: tuple[Curve, ...]


def plot_metric(
    rows: Sequence[Row],
    info: MetricInfo,
    *,
    x: str = "snr_db",
    bounds: Iterable[str] = (),
    steps: Iterable[str] | Mapping[str, str] = (),
    trained: Iterable[str] = (),
    theory: Sequence[Row] = (),
    confidence: float | None = None,
    title: str = "",
    against: str = "",
    runs: Mapping[str, str] | None = None,
    options: FigureOptions = _USUAL,
) -> Figure:
    """A metric over ``x``: one field per channel, or per scheme where one channel has several swept values;
    shaded confidence intervals, bounds dotted.

    Args:
        rows: from :func:`load_rows`.
        info: the metric, from :func:`metric_info`.
        x: "snr_db", "cbr_data", "cbr_total", or the path of a swept field.
        bounds: names of schemes that are limits.
        steps: names of schemes with a fixed MCS, drawn thin with the best of them; a mapping says which of
            them belong together (of several runs). Other bandwidths and swept values are apart, too.
        trained: names of schemes whose training had the metric as a loss, marked †.
        theory: rows of closed forms; results that have one are drawn as points.
        confidence: of the intervals, for the line that says what they are.
        title: above the figure, where the options have none.
        against: what the rows are differences to.
        runs: the run of every scheme, of several runs: its name begins that of the scheme. Schemes of one
            name have one colour, runs dashes.
        options: size, limits, and what else may be asked for.

    Raises:
        RunFolderError: no such metric, ``x`` not swept, or a size or limits that leave nothing to be seen.
    """
    marked = set(trained)
    shown = replace(info, is_rate=False) if against else info  # a difference of rates is none
    many_snr = len({row.snr_db for row in rows}) > 1
    lines = figure_lines(rows, shown, x, bounds, steps, marked, theory, runs)
    if options.overlay:
        lines = [_with_channel(line) for line in lines]
        fields = [_Field("", tuple(lines))]
    else:
        fields = _fields(lines, many_snr)
    marks = {line.scheme for line in lines} & marked
    note = interval_text(rows, shown, confidence) if options.intervals else ""
    with own_style({**_GRID, **options.settings}):
        return _drawn(
            fields, lines, shown, x, options,
            marked=marks, note=note, title=title if options.title is None else options.title, against=against,
        )  # fmt: skip


def _drawn(
    fields: Sequence[_Field],
    lines: Sequence[Curve],
    info: MetricInfo,
    x: str,
    options: FigureOptions,
    *,
    marked: Collection[str],
    note: str,
    title: str,
    against: str,
) -> Figure:
    """The figure of fields, in the style of now."""
    by_variant = not options.overlay and len({line.channel for line in lines}) < len(fields)
    looks = Looks.of(lines, by_variant=by_variant, overlay=options.overlay)
    entries = [[c.label for c in field.lines if not c.is_step and not c.is_theory] for field in fields]
    size = Extent.of(entries, options, columns_of(len(fields)))
    figure, grid = axis_grid(len(fields), size.field_width, size.field_height, size.columns)
    figure.set_size_inches(size.width, size.height)
    for axes, field in zip(grid, fields, strict=True):
        draw(axes, field.lines, looks, x, is_rate=info.is_rate, intervals=options.intervals)
        if any(line.scheme in marked for line in field.lines):
            axes.plot([], [], linestyle="none", label=f"{TRAINED} trained on this measure")
        _finish(axes, field, lines, x, size)
        if against:
            axes.axhline(0, color="black", linewidth=0.8)
    if options.ylim is not None:
        _set_limits(grid[0], options.ylim, is_rate=info.is_rate)
    elif not against:
        keep_means_in_view(grid[0], lines, is_rate=info.is_rate)
    _label(grid, info, against, size)
    for axes in grid:
        thin_names(axes, size)
    if title:
        figure.suptitle(plain_lines(title, letters(size.width - 0.2, "figure.titlesize")))
    if note:
        figure.supxlabel(
            plain_lines(note, letters(size.width - 0.2, "legend.fontsize")),
            fontsize=points("legend.fontsize"),
        )
    size.check(figure, grid)
    return figure


def _set_limits(axes: Axes, ylim: tuple[float, float], *, is_rate: bool) -> None:
    if is_rate and ylim[0] <= 0:
        got, expected = f"{ylim[0]:g},{ylim[1]:g}", "limits above 0 of a logarithmic axis, such as 1e-4,1"
        raise RunFolderError(complaint("ylim", "not above 0", got, expected))
    axes.set_ylim(*ylim)


def _with_channel(line: Curve) -> Curve:
    """With a label that says the channel, too."""
    own = line.label.startswith(line.scheme)
    rest = line.label.removeprefix(line.scheme) if own else ""
    head = f"{line.scheme}{TRAINED if rest.startswith(TRAINED) else ''}" if own else line.label
    return replace(line, label=f"{head}, {line.channel}{rest}")


def _label(grid: Sequence[Axes], info: MetricInfo, against: str, size: Extent) -> None:
    """Vertical axes of the first column."""
    difference = f", difference to {against} ({info.better})" if against else f", {info.better}"
    for axes in grid:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(plain_lines(info.axis + difference, letters(size.axes_height, "axes.labelsize")))


def _finish(axes: Axes, field: _Field, lines: Sequence[Curve], x: str, size: Extent) -> None:
    """Title, horizontal axis and legend of a field."""
    axes.set_title(plain_lines(field.title, letters(size.axes_width, "axes.titlesize")))
    axes.set_xlabel(plain_lines(axis_label(x), letters(size.axes_width, "axes.labelsize")))
    ticks = clear_ticks(axes, set_axis(axes, lines, x), size.axes_width)
    add_legend(axes, size, ticks)


def _fields(lines: Sequence[Curve], many_snr: bool) -> list[_Field]:
    """A field per channel. One channel with several schemes and swept values has one per scheme: what is
    compared with each other then stands in one field, under the name of the scheme.
    """
    channels = list(dict.fromkeys(line.channel for line in lines))
    schemes = list(dict.fromkeys(line.scheme for line in lines if not line.is_bound))
    variants = {line.variant for line in lines}
    crowded = len(channels) == 1 and len(schemes) > 1 and len(variants) > 1
    if not crowded or any(line.is_step for line in lines):
        return [_Field(c, tuple(line for line in lines if line.channel == c)) for c in channels]
    found = []
    for scheme in schemes:
        own = [_shorter(line, many_snr) for line in lines if line.scheme == scheme]
        limits = [line for line in lines if line.is_bound]
        found.append(_Field(f"{scheme}, {channels[0]}", (*own, *limits)))
    return found


def _shorter(line: Curve, many_snr: bool) -> Curve:
    """With a label of the swept values alone, where the title says the scheme."""
    texts = variant_texts(line.variant, many_snr)
    bandwidth = line.label.rpartition(" (CBR ")[2] if " (CBR " in line.label else ""
    mark = f" {TRAINED}" if line.label.startswith(f"{line.scheme} {TRAINED}") else ""
    label = ", ".join(texts) + mark + (f" (CBR {bandwidth}" if bandwidth else "")
    return replace(line, label=label)


def metric_figure(
    runs: Sequence[Run],
    metric: str,
    *,
    x: str | None = None,
    title: str = "",
    options: FigureOptions = _USUAL,
) -> Figure:
    """The figure of a metric of one or several runs, with all that they say of their schemes: which are
    bounds, fixed MCS or trained on the measure, and closed forms of bit error rates.

    Args:
        runs: from :func:`load_runs`.
        metric: one of theirs.
        x: see :func:`plot_metric`; None for :func:`default_x` of the first run.
        title, options: see :func:`plot_metric`.

    Raises:
        RunFolderError: no such metric, or ``x`` not swept.
    """
    x = x or default_x(runs[0].header)
    found = gathered(runs, metric, x)
    return plot_metric(
        *(found.rows, found.info),
        x=x,
        bounds=found.bounds,
        steps=found.steps,
        trained=found.trained,
        theory=found.theory,
        confidence=found.confidence,
        title=title,
        runs=found.runs,
        options=options,
    )


def difference_figure(
    run: Run,
    metric: str,
    *,
    against: str | None = None,
    x: str | None = None,
    title: str = "",
    options: FigureOptions = _USUAL,
) -> Figure:
    """Paired differences of a metric to a scheme, a channel or a swept value of the same run, with intervals.

    Args:
        run: from :func:`load_runs`.
        metric: one of single pictures or transmissions.
        against: a name (see :func:`linksim.scenario.comparison.references`); None for ``statistics.against``
            of the scenario.
        x, title, options: see :func:`plot_metric`.

    Raises:
        RunFolderError: nothing to compare with, a metric of sets.
        NoPairs: the reference has no values of the metric (bit errors of an analog scheme).
    """
    found = difference_rows(run, metric, against)
    return plot_metric(
        *(found.rows, found.info),
        x=x or default_x(run.header),
        bounds=bound_names(run.header),
        trained=trained_schemes(run.header, found.info),
        confidence=run.header["scenario"]["statistics"]["confidence"],
        title=title,
        against=found.against,
        options=options,
    )
