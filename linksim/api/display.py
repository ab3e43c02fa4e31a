"""How a run shows itself: a line of text, and for notebooks a small table with intervals."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from linksim.metrics.info import MetricInfo
from linksim.results.set_statistics import run_rows
from linksim.results.statistics import Row
from linksim.results.stopping import extent
from linksim.results.store import ResultStore, RunFolderError

__all__ = ["TRAINED_NOTE", "arrival_text", "cell_text", "run_html", "run_text", "was_trained"]

_ROWS = 40  # lines of the table
_TRAINED = "†"  # as in figures and reports
TRAINED_NOTE = f"{_TRAINED} trained on this measure: no evidence of quality"
_ARROWS = {True: "↑", False: "↓", None: "→ 0"}


def run_text(store: ResultStore) -> str:
    """Folder, size, what was measured and what is missing, in one line; it never raises."""
    try:
        header = store.header()
        done, asked = extent(list(store.records()), header)
    except RunFolderError as problem:
        return f"<Run {store.folder}: {problem}>"
    sizes = {what: len(header["scenario"][f"{what}s"]) for what in ("channel", "scheme")}
    sizes["image"] = len(header["images"])
    text = ", ".join(f"{n} {what}" + ("s" if n > 1 else "") for what, n in sizes.items())
    metrics = ", ".join(header["metrics"])
    units = f"{done} of {asked} units"
    lacking = f"; not measured: {', '.join(header['unavailable'])}" if header["unavailable"] else ""
    return f"<Run {header['name']} in {store.folder}: {text}; {metrics}; {units}{lacking}>"


def _missing(header: Mapping[str, Any], done: int, asked: int) -> list[str]:
    """What the run lacks, a sentence each."""
    most = "at most " if header["scenario"].get("stop") else ""
    found = [f"Incomplete: {done} of {most}{asked} units."] if done < asked else []
    return [*found, *(f"Not measured: {reason}" for reason in header["unavailable"].values())]


def run_html(store: ResultStore) -> str:
    """Means with intervals, a line per channel, scheme, swept values and SNR, a column per metric; above it
    what is missing. It never raises.
    """
    try:
        header = store.header()
        rows = run_rows(store, header)
        infos, (done, asked) = store.metrics(), extent(list(store.records()), header)
    except RunFolderError as problem:
        return f"<p><b>Run</b> {html.escape(f'{store.folder}: {problem}')}</p>"
    level = f"{100 * header['scenario']['statistics']['confidence']:g}% intervals"
    size = f"{done} of {asked} units, {len(header['images'])} images"
    name, folder = html.escape(header["name"]), html.escape(str(store.folder))
    head = f"<p><b>{name}</b> ({folder}): {size}; means with {level}"
    texts = _missing(header, done, asked)
    texts += [TRAINED_NOTE] if any(was_trained(row, infos, header) for row in rows) else []
    notes = "".join(f"<br>{html.escape(text)}" for text in texts)
    return (
        f"{head}{notes}</p>{_table(rows, infos, header)}" if rows else f"{head}{notes}<br>No records yet.</p>"
    )


def _table(rows: Sequence[Row], infos: Mapping[str, MetricInfo], header: Mapping[str, Any]) -> str:
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.channel, row.scheme, row.point, row.snr_db), {})[row.metric] = row
    shown = [name for name in infos if any(name in cells for cells in lines.values())]
    is_swept = any(point for _, _, point, _ in lines)
    heads = ["channel", "scheme", *(["swept"] if is_swept else []), "SNR [dB]"]
    heads += [f"{infos[name].axis} {_ARROWS[infos[name].higher_is_better]}" for name in shown]
    body = []
    for (channel, scheme, point, snr_db), cells in list(lines.items())[:_ROWS]:
        swept = ", ".join(f"{name} = {value}" for name, value in point)
        texts = [channel, scheme, *([swept] if is_swept else []), f"{snr_db:g}"]
        texts += [
            cell_text(cells[name], was_trained(cells[name], infos, header)) if name in cells else "–"
            for name in shown
        ]
        texts.append(arrival_text(next(iter(cells.values()))))
        body.append("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in texts) + "</tr>")
    top = "".join(f"<th>{html.escape(text)}</th>" for text in (*heads, "not arrived"))
    left = len(lines) - _ROWS
    more = f"<p>{left} more lines: run.table() has all.</p>" if left > 0 else ""
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table>{more}"


def was_trained(row: Row, infos: Mapping[str, MetricInfo], header: Mapping[str, Any]) -> bool:
    """Whether the network of a row's scheme was trained on the metric of the row, as run.json says."""
    info = infos.get(row.metric)  # none of a row of one cause of losses
    return info is not None and info.was_loss(header.get("trained_on", {}).get(row.scheme) or ())


def cell_text(row: Row, trained: bool = False) -> str:
    """Mean, a mark where the network was trained on the metric, and interval."""
    mean = f"{row.mean:.4g}{_TRAINED if trained else ''}"
    if math.isnan(row.ci_low) or math.isnan(row.ci_high):
        return mean
    return f"{mean} [{row.ci_low:.4g}, {row.ci_high:.4g}]"


def arrival_text(row: Row) -> str:
    """How many did not arrive, and why."""
    if not row.num_failures:
        return "0"
    causes = ", ".join(f"{count} {cause}" for cause, count in row.causes)
    return f"{row.num_failures} of {row.num_failures + row.num_arrived} ({causes})"
