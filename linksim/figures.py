"""Figures from run folders: curves with intervals and panels of pictures. Reads stores only.

May import: numpy, matplotlib, PIL, linksim.{results, statistics}.
"""

from __future__ import annotations

import logging
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from linksim.results import Record, ResultStore, RunFolderError, file_name, original_file, panel_file
from linksim.statistics import Row, in_scenario_order, summarise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "curves", "load_rows", "plot_metric", "plot_panel", "plot_run", "save_figure"]

log = logging.getLogger("linksim.figures")
# Okabe & Ito, "Color Universal Design", 2008; black is left for bounds.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 3)), (0, (3, 1)))
GREYS = ("black", "dimgrey", "grey")
DOTS: tuple[Any, ...] = (":", (0, (1, 3)), (0, (2, 2)), (0, (3, 2, 1, 2)), (0, (1, 1)), (0, (4, 3)))
LABELS = {
    "psnr": "PSNR [dB]",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips_alex": "LPIPS (alex)",
    "lpips_vgg": "LPIPS (vgg)",
    "lpips_squeeze": "LPIPS (squeeze)",
    "ber": "bit error rate",
    "bler": "block error rate",
}
LOWER_IS_BETTER = ("lpips_alex", "lpips_vgg", "lpips_squeeze", "ber", "bler")


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


def load_rows(store: ResultStore) -> list[Row]:
    """Rows of a run folder, with the statistics that its scenario asks for.

    Raises:
        RunFolderError: no run, a broken run, or no records yet.
    """
    statistics = store.header()["scenario"]["statistics"]
    rows = summarise(store.records(), statistics["confidence"], statistics["resamples"])
    rows = in_scenario_order(rows, store.header()["scenario"])
    if not rows:
        got = f"{store.folder}: records: got none, expected a run with results. Run linksim simulate first."
        raise RunFolderError(got)
    return rows


def _ratio(value: float) -> str:
    """A bandwidth ratio as people write it: 1/96, 1/72.9."""
    inverse = 1 / value
    return f"1/{inverse:.3g}" if inverse < 1000 else f"1/{inverse:.0f}"


def _swept_text(name: str, value: float | int | str) -> str:
    """The last word of a path says it for numbers (speed_mps 30), two for choices (csi.kind ls)."""
    words = name.split(".")
    return f"{'.'.join(words[-2:])} {value}" if isinstance(value, str) else f"{words[-1]} {value:g}"


def _swept_value(row: Row, x: str) -> float | int | str:
    if x in ("snr_db", "cbr_data", "cbr_total"):
        return float(getattr(row, x))
    for name, value in row.point:
        if name == x:
            return value
    known = ["snr_db", "cbr_data", "cbr_total", *(name for name, _ in row.point)]
    raise RunFolderError(f"--x {x}: got a field that was not swept, expected one of {', '.join(known)}.")


def _positions(rows: Sequence[Row], x: str) -> tuple[dict[float | int | str, float], tuple[str, ...]]:
    """Where every value of ``x`` stands on the axis: numbers and ratios at their value, other texts side by
    side in the order of the scenario, with tick labels.
    """
    values = list(dict.fromkeys(_swept_value(row, x) for row in rows))
    try:
        return {v: float(Fraction(v)) for v in values}, ()
    except ValueError:
        return {v: float(i) for i, v in enumerate(values)}, tuple(str(v) for v in values)


def curves(rows: Sequence[Row], metric: str, x: str, bounds: Iterable[str] = ()) -> list[Curve]:
    """Lines of a figure: one per channel, scheme and value of everything swept but ``x``.

    Raises:
        RunFolderError: no such metric in the rows, or ``x`` not swept.
    """
    chosen = [r for r in rows if r.metric == metric]
    if not chosen:
        known = ", ".join(sorted({r.metric for r in rows}))
        raise RunFolderError(f"--metric {metric}: got no such metric in the run, expected one of {known}.")
    groups: dict[tuple[str, str, Any], list[Row]] = {}
    for row in chosen:
        other = tuple(
            p for p in row.point if p[0] != x and not (x.startswith("cbr") and "data_ratio" in p[0])
        )
        if x != "snr_db":
            other = (*other, ("snr_db", row.snr_db))
        groups.setdefault((row.channel, row.scheme, other), []).append(row)
    places, ticks = _positions(chosen, x)
    many_snr = len({r.snr_db for r in chosen}) > 1
    result = []
    for (channel, scheme, other), members in groups.items():
        members.sort(key=lambda r: places[_swept_value(r, x)])
        shown = [_swept_text(name, value) for name, value in other]
        shown = [s.replace("snr_db", "SNR") + (" dB" if s.startswith("snr_db") else "") for s in shown]
        if x != "snr_db" and not many_snr:
            shown = [s for s in shown if not s.startswith("SNR")]
        label = ", ".join([scheme, *shown])
        if not x.startswith("cbr"):
            data, total = (
                _ratio(np.mean([getattr(r, c) for r in members])) for c in ("cbr_data", "cbr_total")
            )
            label += f" (CBR {data}" + (f", {total} in all)" if total != data else ")")
        column = {
            name: np.array([getattr(r, name) for r in members]) for name in ("mean", "ci_low", "ci_high")
        }
        zero = (column["mean"] == 0) & (metric in ("ber", "bler"))
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
            )
        )
    return result


def _axis_label(x: str) -> str:
    names = {
        "snr_db": "SNR = Es/N0 per data use [dB]",
        "cbr_data": "channel bandwidth ratio, data uses / (3·H·W)",
        "cbr_total": "channel bandwidth ratio, all uses / (3·H·W)",
    }
    return names.get(x, x)


def _style(
    line: Curve, schemes: Sequence[str], bounds: Sequence[str], variants: Sequence[Any]
) -> dict[str, Any]:
    """Colour by scheme and dashes by swept value; a single scheme has its colours for the swept values."""
    variant = variants.index(line.variant)
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
    schemes = list(dict.fromkeys(c.scheme for c in everything if not c.is_bound))
    bounds = list(dict.fromkeys(c.scheme for c in everything if c.is_bound))
    variants = list(dict.fromkeys(c.variant for c in everything))
    for line in lines:
        style = _style(line, schemes, bounds, variants)
        seen = ~line.upper_bound
        axes.plot(line.x[seen], line.mean[seen], label=textwrap.fill(line.label, 44), **style)
        has = seen & np.isfinite(line.low) & np.isfinite(line.high)
        if has.any() and not line.is_bound:
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
        axes.set_xticks(range(len(lines[0].ticks)), lines[0].ticks)
    if metric in ("ber", "bler"):
        axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)


def plot_metric(
    rows: Sequence[Row], metric: str, *, x: str = "snr_db", bounds: Iterable[str] = (), title: str = ""
) -> Figure:
    """A metric over ``x``: one field per channel, shaded confidence intervals, bounds dotted.

    Args:
        rows: from :func:`load_rows`.
        metric: column value of results.csv.
        x: "snr_db", "cbr_data", "cbr_total", or the path of a swept field.
        bounds: names of schemes that are limits.
        title: above the figure.
    """
    from matplotlib.figure import Figure

    lines = curves(rows, metric, x, bounds)
    channels = list(dict.fromkeys(line.channel for line in lines))
    columns = min(len(channels), 3)
    shape = (math.ceil(len(channels) / columns), columns)
    legend_height = 0.32 * max(sum(1 + len(c.label) // 44 for c in lines if c.channel == n) for n in channels)
    size = (1.0 + 4.8 * shape[1], (3.6 + legend_height) * shape[0] + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(*shape, squeeze=False, sharey=True)
    for i, axes in enumerate(grid.flat):
        if i >= len(channels):
            axes.set_visible(False)
            continue
        own = [line for line in lines if line.channel == channels[i]]
        _draw(axes, own, lines, metric)
        axes.set_title(channels[i], fontsize=11)
        axes.set_xlabel(_axis_label(x))
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    for row in grid:
        direction = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
        row[0].set_ylabel(f"{LABELS.get(metric, metric)}, {direction}")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its suffix says: png, svg or pdf.

    Raises:
        RunFolderError: another suffix, or a file that cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RunFolderError(f"--out {path}: got the suffix {path.suffix!r}, expected .png, .svg or .pdf.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=140, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
    except OSError as problem:
        raise RunFolderError(f"{path}: cannot be written, got {problem}, expected a file.") from None


# --------------------------------------------------------------------------------------- image panel


def _value_text(record: Record) -> str:
    parts = []
    for name, value in record.values.items():
        text = f"{value:.2f} dB" if name == "psnr" else f"{value:.3f}"
        parts.append(f"{LABELS.get(name, name).split(' [')[0]} {text}")
    if record.state != "ok":
        parts.insert(0, record.state)
    return textwrap.fill(", ".join(parts), 34)


def plot_panel(store: ResultStore, image: str, channel: str) -> Figure:
    """Original and every scheme at the panel's SNRs, with the metric values of just that picture.

    Raises:
        RunFolderError: pictures missing.
    """
    from matplotlib.figure import Figure

    records = [
        r
        for r in store.records()
        if r.key.image == image and r.key.channel == channel and r.key.trial == 0
        if panel_file(store, r.key).exists()
    ]
    points = list(dict.fromkeys((r.key.point, r.key.snr_db) for r in records))
    schemes = list(dict.fromkeys(r.key.scheme for r in records))
    original = original_file(store, image)
    if not records or not original.exists():
        raise RunFolderError(
            f"{store.images}: got no pictures of {image} on {channel}, expected those of the panel."
        )
    picture = _read_picture(original)
    aspect = picture.shape[0] / picture.shape[1]
    columns, rows = 1 + len(schemes), len(points)
    figure = Figure(figsize=(3.0 * columns, (3.0 * aspect + 0.8) * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    by_key = {(r.key.scheme, r.key.point, r.key.snr_db): r for r in records}
    for i, (point, snr_db) in enumerate(points):
        _show(grid[i][0], picture, f"original, {channel}", "")
        for j, scheme in enumerate(schemes):
            record = by_key.get((scheme, point, snr_db))
            if record is None:
                grid[i][j + 1].set_visible(False)
                continue
            swept = "".join(f", {_swept_text(name, value)}" for name, value in point)
            shown = _read_picture(panel_file(store, record.key))
            _show(grid[i][j + 1], shown, f"{scheme}, {snr_db:g} dB{swept}", _value_text(record))
    return figure


def _read_picture(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as problem:
        cure = "Remove it; the next linksim simulate of a new --out makes it again."
        raise RunFolderError(f"{path}: broken, got {problem}, expected a picture. {cure}") from None


def _show(axes: Axes, picture: np.ndarray, title: str, below: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(below, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])


# ------------------------------------------------------------------------------------------ whole run


def bound_names(header: dict[str, Any]) -> list[str]:
    """Schemes of a run that are limits."""
    return [s["name"] for s in header["scenario"]["schemes"] if s["kind"].endswith("_bound")]


def default_x(header: dict[str, Any]) -> str:
    """The natural horizontal axis of a run: SNR, or the swept field if there is but one SNR."""
    sweep = header["scenario"]["sweep"]
    if len(sweep["snr_db"]) == 1 and sweep["fields"]:
        first = next(iter(sweep["fields"]))
        return "cbr_total" if first.endswith("data_ratio") else first
    return "snr_db"


def plot_run(store: ResultStore) -> list[Path]:
    """All standard figures of a run, each as PNG and SVG, into its figures folder; returns the PNG files."""
    header = store.header()
    rows = load_rows(store)
    x = default_x(header)
    written = []
    for metric in dict.fromkeys(r.metric for r in rows):
        figure = plot_metric(rows, metric, x=x, bounds=bound_names(header), title=header["name"])
        written.append(_save_both(figure, store.figures / f"{metric}_vs_{x.split('.')[-1]}"))
    for image in list(header["images"])[: header["scenario"]["panel"]["images"]]:
        for channel in dict.fromkeys(r.channel for r in rows):
            try:
                figure = plot_panel(store, image, channel)
            except RunFolderError as problem:
                log.warning("no panel of %s on %s: %s", image, channel, problem)
                continue
            written.append(_save_both(figure, store.figures / file_name("panel", image, channel)))
    return written


def _save_both(figure: Figure, stem: Path) -> Path:
    for suffix in (".svg", ".png"):
        save_figure(figure, stem.with_name(stem.name + suffix))
    return stem.with_name(stem.name + ".png")


def rename(rows: Sequence[Row], prefix: str) -> list[Row]:
    """Rows with scheme names that say which run they are from, to draw several runs in one figure."""
    return [replace(row, scheme=f"{prefix} {row.scheme}") for row in rows]
