"""Figures from run folders: curves with intervals. Reads stores only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    LEGEND_WIDTH,
    MARKERS,
    Looks,
    axis_grid,
    draw,
    keep_means_in_view,
    own_style,
    plain,
    plain_lines,
    save_figure,
    set_axis,
)
from linksim.report.lines import (
    TRAINED,
    NoPairs,
    difference_rows,
    figure_lines,
    gathered,
    interval_text,
)
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

_LEGEND_LINE = 0.21  # inches
_NOTE_WIDTH = 80  # characters below a field


@dataclass(frozen=True)
class _Field:
    """One field of a figure: its lines, and its title."""

    title: str
    lines: tuple[Curve, ...]


@own_style()
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
        title: above the figure.
        against: what the rows are differences to.
    """
    marked = set(trained)
    shown = replace(info, is_rate=False) if against else info  # a difference of rates is none
    many_snr = len({row.snr_db for row in rows}) > 1
    lines = figure_lines(rows, shown, x, bounds, steps, marked, theory)
    fields = _fields(lines, many_snr)
    by_variant = len({line.channel for line in lines}) < len(fields)
    looks = Looks.of(lines, by_variant=by_variant)
    entries = max(sum(_legend_lines(c) for c in field.lines) for field in fields) + 3
    figure, grid = axis_grid(len(fields), width=4.8, height=3.8 + _LEGEND_LINE * entries)
    for axes, field in zip(grid, fields, strict=True):
        draw(axes, field.lines, looks, x, is_rate=shown.is_rate)
        if any(line.scheme in marked for line in field.lines):
            axes.plot([], [], linestyle="none", label=f"{TRAINED} trained on this measure")
        _finish(axes, field, lines, x)
        if against:
            axes.axhline(0, color="black", linewidth=0.8)
    if not against:
        keep_means_in_view(grid[0], lines, is_rate=shown.is_rate)
    _label(grid, info, against)
    if title:
        figure.suptitle(plain(title), fontsize=12)
    note = interval_text(rows, shown, confidence)
    if note:
        columns = sum(axes.get_position().y0 == grid[0].get_position().y0 for axes in grid)
        figure.supxlabel(plain_lines(note, _NOTE_WIDTH * columns), fontsize=8)
    return figure


def _label(grid: Sequence[Axes], info: MetricInfo, against: str) -> None:
    """Vertical axes of the first column."""
    difference = f", difference to {against} ({info.better})" if against else f", {info.better}"
    for axes in grid:
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(plain_lines(info.axis + difference, 44))


def _finish(axes: Axes, field: _Field, lines: Sequence[Curve], x: str) -> None:
    """Title, horizontal axis and legend of a field."""
    axes.set_title(plain(field.title), fontsize=11)
    axes.set_xlabel(plain(axis_label(x)))
    set_axis(axes, lines, x)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)


def _legend_lines(line: Curve) -> int:
    return 0 if line.is_step or line.is_theory else 1 + len(line.label) // LEGEND_WIDTH


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


def metric_figure(runs: Sequence[Run], metric: str, *, x: str | None = None, title: str = "") -> Figure:
    """The figure of a metric of one or several runs, with all that they say of their schemes: which are
    bounds, fixed MCS or trained on the measure, and closed forms of bit error rates.

    Args:
        runs: from :func:`load_runs`.
        metric: one of theirs.
        x: see :func:`plot_metric`; None for :func:`default_x` of the first run.
        title: above the figure.

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
    )


def difference_figure(
    run: Run, metric: str, *, against: str | None = None, x: str | None = None, title: str = ""
) -> Figure:
    """Paired differences of a metric to a scheme, a channel or a swept value of the same run, with intervals.

    Args:
        run: from :func:`load_runs`.
        metric: one of single pictures or transmissions.
        against: a name (see :func:`linksim.scenario.comparison.references`); None for ``statistics.against``
            of the scenario.
        x: see :func:`plot_metric`.
        title: above the figure.

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
    )
