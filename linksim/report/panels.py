"""Panels of pictures: the original and what every scheme made of it. Reads stores only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from linksim.metrics.info import MetricInfo
from linksim.report.figures import own_style, plain, plain_lines, swept_text
from linksim.results.records import Record
from linksim.results.store import ResultStore, RunFolderError, original_file, panel_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_panel", "read_picture", "value_text"]


def value_text(record: Record, infos: Mapping[str, MetricInfo]) -> str:
    """Values of a picture with names and units, and why it did not arrive."""
    parts = [] if record.state == "ok" else [record.state]
    for name, value in record.values.items():
        info = infos[name]
        text = f"{value:.3f}" if info.unit == "1" else f"{value:.2f} {info.unit}"
        parts.append(f"{info.title} {text}")
    return ", ".join(parts)


@own_style()
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
    infos = store.metrics()
    points = list(dict.fromkeys((r.key.point, r.key.snr_db) for r in records))
    schemes = list(dict.fromkeys(r.key.scheme for r in records))
    original = original_file(store, image)
    if not records or not original.exists():
        raise RunFolderError(
            f"{store.images}: got no pictures of {image} on {channel}, expected those of the panel."
        )
    picture = np.asarray(read_picture(original))
    aspect = picture.shape[0] / picture.shape[1]
    columns, rows = 1 + len(schemes), len(points)
    figure = Figure(figsize=(3.0 * columns, (3.0 * aspect + 0.8) * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    by_key = {(r.key.scheme, r.key.point, r.key.snr_db): r for r in records}
    for i, (point, snr_db) in enumerate(points):
        _show(grid[i][0], picture, plain(f"original, {channel}"), "")
        for j, scheme in enumerate(schemes):
            record = by_key.get((scheme, point, snr_db))
            if record is None:
                grid[i][j + 1].set_visible(False)
                continue
            swept = "".join(f", {swept_text(name, value)}" for name, value in point)
            shown = np.asarray(read_picture(panel_file(store, record.key)))
            title = plain(f"{scheme}, {snr_db:g} dB{swept}")
            _show(grid[i][j + 1], shown, title, plain_lines(value_text(record, infos), 34))
    return figure


def read_picture(path: Path) -> Image.Image:
    """A picture of a run, RGB.

    Raises:
        RunFolderError: gone or broken.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError) as problem:
        cure = "Remove it; linksim simulate with the same --out makes it again."
        raise RunFolderError(f"{path}: broken, got {problem}, expected a picture. {cure}") from None


def _show(axes: Axes, picture: np.ndarray, title: str, below: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(below, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
