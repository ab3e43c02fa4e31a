"""All figures of a run folder, and the folder as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import json
import logging
import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linksim.files.writing import write_whole
from linksim.report.figures import TRAINED, NoPairs, difference_figure, metric_figure, save_figure
from linksim.report.ledger import ledger, plot_ledger
from linksim.report.panels import plot_panel
from linksim.report.runs import default_x, load_rows, load_runs, metric_info, trained_schemes
from linksim.results.statistics import Row
from linksim.results.stopping import extent
from linksim.results.store import ResultStore, RunFolderError, file_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_run", "write_report"]

log = logging.getLogger("linksim.report.page")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color:
#222; } table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .6rem; text-align: right; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
img { max-width: 100%; height: auto; }
.note { background: #fff4d6; padding: .5rem 1rem; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""
_DEFINITIONS = (
    "SNR is Es/N0 per complex data channel use at the receiver, averaged over fading. CBR is complex "
    "channel uses over 3·H·W; the total adds pilots, guard and side information. Pictures are rounded "
    "to 8 bits before measuring. A picture that did not arrive is grey and stays in every mean, whatever "
    "the cause: its stream did not fit (source_unfit: an empty block is sent, which the block error rate "
    "does not count), its CRC failed, or what was decoded does not parse. Intervals of picture metrics are "
    "bootstrap intervals clustered by image, those of bit errors clustered by transmission, those of block "
    "errors Clopper-Pearson intervals; where no error was seen the upper limit is given (▼ in figures)."
)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _not_arrived(row: Row) -> str:
    """How many pictures were lost, their share, and for what cause."""
    if not row.num_failures:
        return "0"
    share = row.num_failures / sum((row.num_failures, row.num_arrived))
    causes = ", ".join(f"{count} {cause}" for cause, count in row.causes)
    return f"{row.num_failures} ({100 * share:.3g}%: {causes})"


def _table(rows: list[Row], metric: str, trained: Collection[str]) -> str:
    """HTML table of a metric; schemes that were trained on it are marked."""
    head = "".join(
        f"<th>{h}</th>"
        for h in (
            "channel",
            "scheme",
            "SNR [dB]",
            "swept",
            "mean",
            "interval",
            "images × trials",
            "not arrived",
            "mean without them",
            "CBR",
        )
    )
    lines = []
    for r in rows:
        if r.metric != metric:
            continue
        swept = ", ".join(f"{k} = {v}" for k, v in r.point)
        interval = f"{_number(r.ci_low)} to {_number(r.ci_high)}" if not math.isnan(r.ci_low) else "–"
        cells = (
            r.channel,
            f"{r.scheme} {TRAINED}" if r.scheme in trained else r.scheme,
            f"{r.snr_db:g}",
            swept,
            _number(r.mean),
            interval,
            f"{r.num_images} × {r.num_trials}",
            _not_arrived(r),
            _number(r.mean_ok) if r.num_failures else "–",
            f"{r.cbr_data:.5f} data, {r.cbr_total:.5f} in all",
        )
        lines.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>")
    note = f"<p>{TRAINED} trained on this measure: no evidence of quality.</p>" if trained else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{note}"


def _figure(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}"></figure>'


def _facts(header: dict[str, Any]) -> str:
    metrics = "".join(
        f"<li>{html.escape(name)}: {html.escape(info['reference'])}</li>"
        for name, info in header["metrics"].items()
    )
    missing = _training_facts(header) + "".join(
        f'<p class="note">{html.escape(text)}</p>' for text in header["unavailable"].values()
    )
    versions = ", ".join(f"{k} {v}" for k, v in header["versions"].items())
    files = "".join(
        f"; {name} {what}" for block in ("files", "tools") for name, what in header[block].items()
    )
    made = f"{versions}{files}; commit {header['commit'] or 'unknown'}; {header['machine']}."
    confidence = 100 * header["scenario"]["statistics"]["confidence"]
    scenario = html.escape(json.dumps(header["scenario"], indent=1))
    return (
        f"{missing}<h2>Definitions</h2><p>{_DEFINITIONS} Confidence level: {confidence:g}%.</p>"
        f"<ul>{metrics}</ul>"
        f"<h2>How it was made</h2>{_training_facts(header)}"
        f"<p>{html.escape(made)}</p><pre>{scenario}</pre>"
    )


def _training_facts(header: dict[str, Any]) -> str:
    """What the networks of the run were trained on, a line each."""
    lines = []
    for scheme, measures in header.get("trained_on", {}).items():
        known = "not recorded in its checkpoint" if measures is None else ", ".join(measures)
        lines.append(f"<p>{html.escape(scheme)} was trained on: {html.escape(known)}.</p>")
    return "".join(lines)


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


def write_report(store: ResultStore) -> Path:
    """Draw all figures of a run and write report.html; returns its path.

    Raises:
        RunFolderError: no run in the folder, or no records yet.
    """
    header = store.header()
    rows = load_rows(store)
    figures = plot_run(store)
    name, question = html.escape(header["name"]), html.escape(header["scenario"].get("question", ""))
    done, planned = extent(list(store.records()), header)
    note = f'<p class="note">Incomplete: {done} of {planned} units.</p>' if done < planned else ""
    body = [f"<h1>{name}</h1><p>{question}</p>{note}", *(_figure(path) for path in figures)]
    for metric in dict.fromkeys(r.metric for r in rows):
        info = metric_info([header], metric)
        heading = html.escape(f"{info.axis}, {info.better}")
        body.append(f"<h2>{heading}</h2>{_table(rows, metric, trained_schemes(header, info))}")
    body.append(_facts(header))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
    path = store.folder / "report.html"
    write_whole(path, page)
    return path
