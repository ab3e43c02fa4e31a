"""All figures of a run folder, and the page of one or several runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linksim.files.writing import write_whole
from linksim.report.figures import NoPairs, difference_figure, metric_figure, save_figure
from linksim.report.interactive.html import page
from linksim.report.ledger import ledger, plot_ledger
from linksim.report.panels import plot_panel
from linksim.report.runs import default_x, load_runs, metric_info
from linksim.results.store import ResultStore, RunFolderError, file_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_run", "write_comparison", "write_report"]

log = logging.getLogger("linksim.report.page")


def plot_run(store: ResultStore) -> list[Path]:
    """All standard figures of a run, each as PNG and SVG, into its figures folder; returns the PNG files."""
    [run] = load_runs([store.folder])
    header = run.header
    x = default_x(header)
    place = x.split(".")[-1]
    written = []
    for metric in dict.fromkeys(r.metric for r in run.rows if r.metric in header["metrics"]):
        figure = metric_figure([run], metric, x=x, title=header["name"])
        written.append(_save_both(figure, store.figures / f"{metric}_vs_{place}"))
        if header["scenario"]["statistics"].get("against") and metric_info([header], metric).scope == "image":
            try:
                figure = difference_figure(run, metric, x=x, title=header["name"])
            except NoPairs:
                continue
            written.append(_save_both(figure, store.figures / f"{metric}_difference_vs_{place}"))
    figure = plot_ledger(ledger(store.records()), title=f"{header['name']}: channel uses")
    written.append(_save_both(figure, store.figures / "ledger"))
    shown = [name for name, facts in header["images"].items() if facts[0]]  # frames of bits have no pixels
    for image in shown[: header["scenario"]["panel"]["images"]]:
        for channel in dict.fromkeys(r.channel for r in run.rows):
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


def write_report(store: ResultStore, out: Path | None = None) -> Path:
    """Draw all figures of a run and write its page; returns the path of the page.

    Args:
        store: run folder.
        out: file to write; None for report.html in the folder.

    Raises:
        RunFolderError: no run in the folder, or no records yet.
        OSError: the file cannot be written; a former one is as it was.
    """
    runs = load_runs([store.folder])
    plot_run(store)
    return _written(page(runs), out or store.folder / "report.html")


def write_comparison(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write one page of several runs, told apart by as much of their paths as it takes.

    Args:
        folders: of the runs; of one alone this is :func:`write_report`.
        out: file to write; None for comparison.html in the first folder.

    Raises:
        RunFolderError: a folder that cannot be used.
        OSError: the file cannot be written; a former one is as it was.
    """
    runs = load_runs(folders)
    if len(runs) == 1:
        return write_report(runs[0].store, out)
    return _written(page(runs), out or folders[0] / "comparison.html")


def _written(text: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path
