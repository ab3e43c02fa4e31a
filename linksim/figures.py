"""Figures from run folders: curves with intervals. Reads stores only.

May import: numpy, matplotlib, linksim.{files, results, statistics, set_statistics, metrics.info}.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.files import whole_file
from linksim.metrics.info import MetricInfo
from linksim.results import ResultStore, RunFolderError
from linksim.set_statistics import run_rows
from linksim.statistics import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Curve",
    "axis_grid",
    "axis_label",
    "curves",
    "envelope",
    "load_rows",
    "metric_info",
    "own_style",
    "plain",
    "plain_lines",
    "plot_metric",
    "save_figure",
    "swept_text",
    "trained_schemes",
]

# Okabe & Ito, "Color Universal Design", 2008; black is left for bounds.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 3)), (0, (3, 1)))
GREYS = ("black", "dimgrey", "grey")
DOTS: tuple[Any, ...] = (":", (0, (1, 3)), (0, (2, 2)), (0, (3, 2, 1, 2)), (0, (1, 1)), (0, (4, 3)))
UNITS = {"db": "dB", "dbm": "dBm", "hz": "Hz", "s": "s", "m": "m", "mps": "m/s", "deg": "°", "k": "K"}
TRAINED = "†"  # marks a scheme whose training had the measure shown as a loss


def is_error_rate(metric: str) -> bool:
    """Whether a metric is a share of errors, drawn on a logarithmic axis with upper limits for none."""
    return metric in ("ber", "bler") or metric.startswith("outage")


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Args:
        channel, scheme: names.
        label: for the legend, with the bandwidth ratio.
        is_bound: drawn dotted and black.
        variant: the other swept values.
        x, mean, low, high: values; low and high nan without an interval.
        ticks: labels of x = 0, 1, ... where x is no number.
        upper_bound: true where zero errors were seen: only ``high`` means something.
        is_step: one of many fixed schemes, drawn thin.
    """

    channel: str
    scheme: str
    label: str
    is_bound: bool
    variant: tuple[Any, ...]
    ticks: tuple[str, ...]
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    upper_bound: np.ndarray
    is_step: bool = False


def plain(text: str) -> str:
    """A text as it is to be drawn: dollar signs begin no formula, control characters are boxes, and a leading
    underscore does not hide it from the legend.
    """
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return (" " if visible.startswith("_") else "") + visible.replace("$", r"\$")


def plain_lines(text: str, width: int) -> str:
    """:func:`plain`, in lines of so many characters."""
    return "\n".join(plain(line) for line in textwrap.wrap(text, width))


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's own settings: figures do not depend on a matplotlibrc, which may lie in any folder."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        yield


def load_rows(store: ResultStore) -> list[Row]:
    """Rows of a run folder, with the statistics that its scenario asks for.

    Raises:
        RunFolderError: no run, a broken run, or no records yet.
    """
    rows = run_rows(store, store.header())
    if not rows:
        got = f"{store.folder}: records: got none, expected a run with results. Run linksim simulate first."
        raise RunFolderError(got)
    return rows


def _ratio(value: float) -> str:
    """A bandwidth ratio as people write it: 1/96, 1/72.9."""
    inverse = 1 / value
    return f"1/{inverse:.3g}" if inverse < 1000 else f"1/{inverse:.0f}"


def swept_text(name: str, value: float | int | str) -> str:
    """The last word of a path says it for numbers (speed_mps 30), two for choices (csi.kind ls)."""
    words = name.split(".")
    if isinstance(value, bool):
        value = str(value).lower()
    return f"{'.'.join(words[-2:])} {value}" if isinstance(value, str) else f"{words[-1]} {value:g}"


def _swept_value(row: Row, x: str) -> float | int | str:
    if x in ("snr_db", "cbr_data", "cbr_total"):
        return float(getattr(row, x))
    for name, value in row.point:
        if name == x:
            return value
    known = ["snr_db", "cbr_data", "cbr_total", *(name for name, _ in row.point)]
    raise RunFolderError(f"--x {x}: got a field that was not swept, expected one of {', '.join(known)}.")


def _variant_texts(variant: Sequence[tuple[str, Any]], many_snr: bool) -> list[str]:
    """What tells a curve from others of its scheme; the SNR only where there are several."""
    texts = [f"SNR {v:g} dB" if name == "snr_db" else swept_text(name, v) for name, v in variant]
    return texts if many_snr else [text for text in texts if not text.startswith("SNR")]


def _positions(rows: Sequence[Row], x: str) -> tuple[dict[float | int | str, float], tuple[str, ...]]:
    """Where every value of ``x`` stands on the axis: numbers and ratios at their value, other texts side by
    side in the order of the scenario, with tick labels.
    """
    values = list(dict.fromkeys(_swept_value(row, x) for row in rows))
    if any(isinstance(v, bool) for v in values):
        return {v: float(i) for i, v in enumerate(values)}, tuple(str(v).lower() for v in values)
    try:
        return {v: float(Fraction(v)) for v in values}, ()
    except ValueError:
        return {v: float(i) for i, v in enumerate(values)}, tuple(str(v) for v in values)


def curves(
    rows: Sequence[Row], metric: str, x: str, bounds: Iterable[str] = (), steps: Iterable[str] = ()
) -> list[Curve]:
    """Lines of a figure: one per channel, scheme and value of everything swept but ``x``.

    Raises:
        RunFolderError: no such metric in the rows, or ``x`` not swept.
    """
    chosen = [r for r in rows if r.metric == metric]
    if not chosen:
        known = ", ".join(sorted({r.metric for r in rows}))
        raise RunFolderError(f"--metric {metric}: got no such metric in the run, expected one of {known}.")
    points: dict[tuple[str, Any], set[float]] = {}
    for row in chosen:
        points.setdefault((row.channel, row.point), set()).add(row.snr_db)
    derived = all(
        len(snrs) == 1 for snrs in points.values()
    )  # as from a link budget: no parameter of its own
    groups: dict[tuple[str, str, Any], list[Row]] = {}
    for row in chosen:
        other = tuple(
            p for p in row.point if p[0] != x and not (x.startswith("cbr") and "data_ratio" in p[0])
        )
        if x != "snr_db" and not derived:
            other = (*other, ("snr_db", row.snr_db))
        groups.setdefault((row.channel, row.scheme, other), []).append(row)
    places, ticks = _positions(chosen, x)
    many_snr = len({r.snr_db for r in chosen}) > 1
    result = []
    for (channel, scheme, other), members in groups.items():
        members.sort(key=lambda r: places[_swept_value(r, x)])
        label = ", ".join([scheme, *_variant_texts(other, many_snr)])
        if not x.startswith("cbr"):
            data, total = (
                _ratio(np.mean([getattr(r, c) for r in members])) for c in ("cbr_data", "cbr_total")
            )
            label += f" (CBR {data}" + (f", {total} in all)" if total != data else ")")
        column = {
            name: np.array([getattr(r, name) for r in members]) for name in ("mean", "ci_low", "ci_high")
        }
        zero = (column["mean"] == 0) & is_error_rate(metric)
        result.append(
            Curve(
                channel,
                scheme,
                label,
                scheme in set(bounds),
                other,
                ticks,
                np.array([places[_swept_value(r, x)] for r in members]),
                column["mean"],
                column["ci_low"],
                column["ci_high"],
                np.asarray(zero),
                scheme in set(steps),
            )
        )
    return result


def envelope(lines: Sequence[Curve], info: MetricInfo) -> Curve:
    """The best of several curves at every x, without an interval.

    It is chosen after the fact, on the very results that it shows: a limit of adaptation among these schemes,
    not a scheme.
    """
    places = sorted({float(x) for line in lines for x in line.x})
    best = []
    for x in places:
        values = [float(line.mean[line.x == x][0]) for line in lines if x in line.x]
        best.append(info.best(values))
    nothing = np.full(len(places), np.nan)
    return replace(
        lines[0],
        scheme="envelope",
        label=f"envelope of {len(lines)} fixed MCS, chosen on these results",
        is_bound=False,
        is_step=False,
        x=np.array(places),
        mean=np.array(best),
        low=nothing,
        high=nothing,
        upper_bound=np.zeros(len(places), bool),
    )


def axis_label(x: str) -> str:
    """What an axis shows, with its unit: an SNR, a bandwidth ratio, or a swept field by its path."""
    names = {
        "snr_db": "SNR = Es/N0 per data use [dB]",
        "cbr_data": "channel bandwidth ratio, data uses / (3·H·W)",
        "cbr_total": "channel bandwidth ratio, all uses / (3·H·W)",
    }
    if x in names:
        return names[x]
    *path, last = x.split(".")
    words = [*path[-1:], last] if last == "kind" else last.split("_")
    unit = UNITS.get(words[-1]) if len(words) > 1 else None
    return " ".join(words if unit is None else [*words[:-1], f"[{unit}]"])


def _style(
    line: Curve, schemes: Sequence[str], bounds: Sequence[str], variants: Sequence[Any]
) -> dict[str, Any]:
    """Colour by scheme and dashes by swept value; a single scheme has its colours for the swept values."""
    variant = variants.index(line.variant)
    if line.is_step:
        return {"color": "#7FA8C9", "linestyle": "-", "linewidth": 0.8}
    if line.is_bound:
        bound = bounds.index(line.scheme)
        dots = DOTS[(bound + len(bounds) * variant) % len(DOTS)]
        return {"color": GREYS[bound % len(GREYS)], "linestyle": dots, "linewidth": 1.5}
    scheme = schemes.index(line.scheme)
    colour, dashes = (scheme, variant) if len(schemes) > 1 else (variant, 0)
    return {
        "color": COLOURS[colour % len(COLOURS)],
        "marker": MARKERS[(scheme if len(variants) == 1 else variant) % len(MARKERS)],
        "linestyle": DASHES[dashes % len(DASHES)],
        "markersize": 5,
        "linewidth": 1.5,
    }


def _draw(axes: Axes, lines: Sequence[Curve], everything: Sequence[Curve], metric: str) -> None:
    schemes = list(dict.fromkeys(c.scheme for c in everything if not c.is_bound and not c.is_step))
    bounds = list(dict.fromkeys(c.scheme for c in everything if c.is_bound))
    variants = list(dict.fromkeys(c.variant for c in everything))
    for line in lines:
        style = _style(line, schemes, bounds, variants)
        seen = ~line.upper_bound
        label = "" if line.is_step else plain_lines(line.label, 44)
        axes.plot(line.x[seen], line.mean[seen], label=label, **style)
        if line.is_step:
            _name_step(axes, line)
        has = seen & np.isfinite(line.low) & np.isfinite(line.high)
        if has.any() and not line.is_bound and not line.is_step:
            axes.fill_between(
                line.x[has], line.low[has], line.high[has], color=style["color"], alpha=0.15, linewidth=0
            )
        if line.upper_bound.any():
            top = line.high[line.upper_bound]
            at = line.x[line.upper_bound]
            axes.plot(at, top, color=style["color"], marker=7, linestyle="none", markersize=7)
    if any(line.upper_bound.any() for line in lines):
        axes.plot([], [], color="grey", marker=7, linestyle="none", label="no error seen: upper limit")
    if lines and lines[0].ticks:
        axes.set_xticks(range(len(lines[0].ticks)), [plain(tick) for tick in lines[0].ticks])
    if is_error_rate(metric):
        axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)


def _keep_means_in_view(axes: Axes, lines: Sequence[Curve], metric: str) -> None:
    """Limit the vertical axis to the means and as much again: intervals of two or three pictures reach far
    beyond everything, and would leave nothing of the curves.
    """
    if is_error_rate(metric) or not lines:
        return
    means = np.concatenate([line.mean for line in lines])
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    room = 0.5 * (high - low)
    bottom, top = axes.get_ylim()
    if room > 0:
        axes.set_ylim(max(bottom, low - room), min(top, high + room))


def _name_step(axes: Axes, line: Curve) -> None:
    """The name of a thin line at its right end, instead of a place in the legend."""
    name = plain(line.scheme.rsplit(" ", 1)[-1])
    axes.annotate(
        name, (line.x[-1], line.mean[-1]), (2, 0), textcoords="offset points", fontsize=6, va="center"
    )


def axis_grid(count: int, width: float, height: float, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` fields, up to ``columns`` side by side, of a size in inches each."""
    from matplotlib.figure import Figure

    columns = min(count, columns)
    shape = (math.ceil(count / columns), columns)
    figure = Figure(figsize=(1.0 + width * shape[1], height * shape[0] + 0.4), layout="constrained")
    grid = figure.subplots(*shape, squeeze=False, sharey=True)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


@own_style()
def plot_metric(
    rows: Sequence[Row],
    info: MetricInfo,
    *,
    x: str = "snr_db",
    bounds: Iterable[str] = (),
    steps: Iterable[str] | Mapping[str, str] = (),
    trained: Iterable[str] = (),
    title: str = "",
) -> Figure:
    """A metric over ``x``: one field per channel, shaded confidence intervals, bounds dotted.

    Args:
        rows: from :func:`load_rows`.
        info: the metric, from :func:`metric_info`.
        x: "snr_db", "cbr_data", "cbr_total", or the path of a swept field.
        bounds: names of schemes that are limits.
        steps: names of schemes with a fixed MCS, drawn thin with their envelope; a mapping says which of them
            belong together (of several runs). Other bandwidths and swept values have envelopes of their own.
        trained: names of schemes whose training had the metric as a loss, marked †.
        title: above the figure.
    """
    marked = set(trained)
    lines = [_marked(c) if c.scheme in marked else c for c in curves(rows, info.name, x, bounds, steps)]
    channels = list(dict.fromkeys(line.channel for line in lines))
    group_of = dict(steps) if isinstance(steps, Mapping) else dict.fromkeys(steps, "")
    families: dict[tuple[Any, ...], list[Curve]] = {}
    for line in lines:
        if line.is_step:
            families.setdefault((line.channel, group_of[line.scheme], line.variant), []).append(line)
    for (_, group, variant), members in families.items():
        best = envelope(members, info)
        of = [group] if group else []
        of += _variant_texts(variant, len({row.snr_db for row in rows}) > 1)
        name = " ".join(["envelope", *filter(None, [group])])
        lines.append(replace(best, scheme=name, label=", ".join([best.label, *of])))
    named = [line for line in lines if not line.is_step]
    legend_height = 0.32 * max(sum(1 + len(c.label) // 44 for c in named if c.channel == n) for n in channels)
    figure, grid = axis_grid(len(channels), width=4.8, height=3.6 + legend_height)
    for axes, channel in zip(grid, channels, strict=True):
        own = [line for line in lines if line.channel == channel]
        _draw(axes, own, lines, info.name)
        if any(line.scheme in marked for line in own):
            axes.plot([], [], linestyle="none", label=f"{TRAINED} trained on this measure")
        axes.set_title(plain(channel), fontsize=11)
        axes.set_xlabel(plain(axis_label(x)))
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    _keep_means_in_view(grid[0], lines, info.name)
    for axes in grid[::3]:
        axes.set_ylabel(plain_lines(f"{info.axis}, {info.better}", 44))
    if title:
        figure.suptitle(plain(title), fontsize=12)
    return figure


def _marked(line: Curve) -> Curve:
    return replace(line, label=f"{line.scheme} {TRAINED}{line.label.removeprefix(line.scheme)}")


@own_style()
def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its suffix says: png, svg or pdf.

    Raises:
        RunFolderError: another suffix, or a file that cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RunFolderError(f"--out {path}: got the suffix {path.suffix!r}, expected .png, .svg or .pdf.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.lower().removeprefix(".")
        with whole_file(path) as partial:
            figure.savefig(partial, format=kind, dpi=140, metadata={"Date": None} if kind == "svg" else None)
    except OSError as problem:
        raise RunFolderError(f"{path}: cannot be written, got {problem}, expected a file.") from None


# ------------------------------------------------------------------------------------------ whole run


def metric_info(headers: Iterable[Mapping[str, Any]], metric: str) -> MetricInfo:
    """What run.json of some runs says of a metric.

    Raises:
        RunFolderError: none of them measured it.
    """
    known: dict[str, Any] = {}
    for header in headers:
        known = {**header["metrics"], **known}
    whole, _, cause = metric.partition("_")
    if whole == "outage" and cause and whole in known:  # a share of it
        info = MetricInfo.from_run(whole, known[whole])
        return replace(info, name=metric, label=f"{info.title}: {cause}")
    if metric not in known:
        names = ", ".join(sorted(known))
        raise RunFolderError(f"--metric {metric}: got no such metric in the run, expected one of {names}.")
    return MetricInfo.from_run(metric, known[metric])


def trained_schemes(header: Mapping[str, Any], info: MetricInfo) -> list[str]:
    """Schemes of a run whose training had a metric as a loss."""
    return [name for name, measures in header.get("trained_on", {}).items() if info.was_loss(measures or ())]


def bound_names(header: dict[str, Any]) -> list[str]:
    """Schemes of a run that are limits."""
    return [s["name"] for s in header["scenario"]["schemes"] if s["kind"].endswith("_bound")]


def step_names(header: dict[str, Any]) -> list[str]:
    """Schemes of a run with a fixed MCS, if there are several: the steps of a staircase. Not those with
    retransmissions, which take more uses.
    """
    schemes = header["scenario"]["schemes"]
    fixed = [s["name"] for s in schemes if isinstance(s.get("mcs"), int) and not s.get("harq")]
    return fixed if len(fixed) > 1 else []


def default_x(header: dict[str, Any]) -> str:
    """The natural horizontal axis of a run: SNR, or the swept field if there is but one SNR."""
    sweep = header["scenario"]["sweep"]
    if len(sweep["snr_db"] or ()) <= 1 and sweep["fields"]:
        first = next(iter(sweep["fields"]))
        return "cbr_total" if first.endswith("data_ratio") else first
    return "snr_db"


def run_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Run folders, each once, and the shortest ends of their paths that tell them apart.

    Example:
        >>> list(run_names([Path("/x/a/same"), Path("/x/b/same"), Path("/x/b/same")]).values())
        ['a/same', 'b/same']
    """
    distinct = list({folder.resolve(): folder for folder in folders}.values())
    parts = [folder.absolute().parts for folder in distinct]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return dict(zip(distinct, names, strict=True))


def rename(rows: Sequence[Row], prefix: str) -> list[Row]:
    """Rows with scheme names that say which run they are from, to draw several runs in one figure."""
    return [replace(row, scheme=f"{prefix} {row.scheme}") for row in rows]
