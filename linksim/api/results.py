"""The results of a run as lines of a terminal, or as plain values for other programs. Reads stores only."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from channels.checks import check_choice, complaint
from linksim.api.display import TRAINED_NOTE, arrival_text, cell_text, was_trained
from linksim.metrics.info import MetricInfo
from linksim.results.records import Point
from linksim.results.set_statistics import run_rows
from linksim.results.statistics import Row
from linksim.results.stopping import extent
from linksim.results.store import ResultStore, RunFolderError

__all__ = ["compressai_results", "results_dict", "results_lines"]

_GAP = 2  # columns between cells
_BPP = {
    "bits": "bits of the coded picture per pixel, mean over all units, arrived or not",
    "uses": "complex channel uses per pixel, pilots, guard and side information included; no bits",
}
_BANDWIDTH = "bandwidth."
_BESIDE = ("snr_db", "cbr_data", "cbr_total", "ci_low", "ci_high", "num_images", "num_failures")
_COMPRESSAI_NAMES = {"psnr": "psnr-rgb", "ms_ssim": "ms-ssim-rgb"}


def _chosen(
    store: ResultStore, header: Mapping[str, Any], metrics: Sequence[str]
) -> tuple[list[Row], dict[str, MetricInfo]]:
    """Rows and facts of some metrics, in the order of the run; all for none.

    Raises:
        RunFolderError: a metric that the run has not.
    """
    known = store.metrics()
    for name in metrics:
        if name not in known:
            where = f"{store.folder}: --metric"
            raise RunFolderError(complaint(where, "not measured", name, f"one of {', '.join(known)}"))
    infos = {name: info for name, info in known.items() if not metrics or name in metrics}
    return [row for row in run_rows(store, header) if row.metric in infos], infos


def results_dict(store: ResultStore, metrics: Sequence[str] = ()) -> dict[str, Any]:
    """What ``linksim results --json`` prints: what was run, and a row per channel, scheme, swept point, SNR
    and metric.

    Args:
        store: run folder.
        metrics: names; none for all.

    Raises:
        RunFolderError: no run, a broken one, or no such metric.
    """
    header = store.header()
    rows, infos = _chosen(store, header, metrics)
    facts = ("label", "unit", "higher_is_better", "scope", "reference", "network")
    return {
        "name": header["name"],
        "folder": str(store.folder),
        "hash": header["scenario_hash"],
        "units": dict(zip(("done", "planned"), extent(list(store.records()), header), strict=True)),
        "confidence": header["scenario"]["statistics"]["confidence"],
        "metrics": {name: {fact: getattr(info, fact) for fact in facts} for name, info in infos.items()},
        "unavailable": dict(header["unavailable"]),
        "rows": [{**_plain(row), "trained_on": was_trained(row, infos, header)} for row in rows],
    }


def _plain(row: Row) -> dict[str, Any]:
    values = asdict(row)
    values["swept"] = dict(values.pop("point"))
    values["causes"] = dict(values["causes"])
    first = ("channel", "scheme", "swept", "snr_db", "metric")
    return {name: values[name] for name in (*first, *(n for n in values if n not in first))}


def results_lines(store: ResultStore, metrics: Sequence[str] = (), width: int = 100) -> Iterator[str]:
    """Lines of a table: a row per channel, scheme, swept point and SNR, a column per metric with its
    interval. Metrics that do not fit beside each other have a table of their own below.

    Args:
        store: run folder.
        metrics: names; none for all.
        width: of the terminal [characters].

    Raises:
        RunFolderError: no run, a broken one, or no such metric.
    """
    header = store.header()
    rows, infos = _chosen(store, header, metrics)
    done, planned = extent(list(store.records()), header)
    level = f"{100 * header['scenario']['statistics']['confidence']:g}%"
    state = "complete" if done == planned else "incomplete"
    yield f"{header['name']}: {done} of {planned} units ({state}); means with {level} intervals"
    yield from (f"not measured: {reason}" for reason in header["unavailable"].values())
    if not rows:
        yield "no records yet"
        return
    lines: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.channel, row.scheme, row.point, row.snr_db), {})[row.metric] = row
    shown = [name for name in infos if any(name in cells for cells in lines.values())]
    head = _heads(list(lines), [arrival_text(next(iter(cells.values()))) for cells in lines.values()])
    columns = [["stopped by", *(next(iter(c.values())).stopped_by for c in lines.values())]]
    columns = columns if any(columns[0][1:]) else []

    def cell(row: Row | None) -> str:
        return "-" if row is None else cell_text(row, was_trained(row, infos, header))

    columns += [[infos[n].axis, *(cell(c.get(n)) for c in lines.values())] for n in shown]
    for part in _fitting(columns, width - sum(map(_wide, head)) - _GAP * len(head)):
        yield ""
        yield from _aligned([*head, *part])
    if any(was_trained(row, infos, header) for row in rows):
        yield from ("", TRAINED_NOTE)


def _heads(places: Sequence[tuple[Any, ...]], arrived: Sequence[str]) -> list[list[str]]:
    """Columns that every table has."""
    channels, schemes, points, snrs = zip(*places, strict=True)
    swept = [", ".join(f"{name} = {value}" for name, value in point) for point in points]
    columns = [["channel", *channels], ["scheme", *schemes]]
    columns += [["swept", *swept]] if any(swept) else []
    return [*columns, ["SNR [dB]", *(f"{value:g}" for value in snrs)], ["not arrived", *arrived]]


def _wide(column: Sequence[str]) -> int:
    return max(map(len, column))


def _fitting(columns: Sequence[list[str]], room: int) -> Iterator[list[list[str]]]:
    """Columns in groups that fit into ``room`` characters, one at least in each."""
    group: list[list[str]] = []
    used = 0
    for column in columns:
        if group and used + _wide(column) + _GAP > room:
            yield group
            group, used = [], 0
        group.append(column)
        used += _wide(column) + _GAP
    if group:
        yield group


def _aligned(columns: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [_wide(column) for column in columns]
    for cells in zip(*columns, strict=True):
        text = (" " * _GAP).join(f"{cell:{size}}" for cell, size in zip(cells, widths, strict=True))
        yield text.rstrip()


def compressai_results(
    store: ResultStore, metrics: Sequence[str] = (), bpp: str = "bits"
) -> dict[str, dict[str, Any]]:
    """Curves as CompressAI has results of codecs, by file name: what ``linksim results --compressai`` writes.

    A file holds one scheme on one channel by one metric. Where a bandwidth was swept it is a curve over the
    bandwidth at one SNR, else one over the SNR.

    Args:
        store: run folder.
        metrics: names; none for all.
        bpp: what stands under "bpp": "bits" of the coded picture per pixel, mean over all units, of schemes
            that have a coded picture; "uses", all complex channel uses per pixel, of all schemes.

    Raises:
        RunFolderError: no run, no such metric, or nothing that has an abscissa.
        ValueError: another ``bpp``.
    """
    check_choice("bpp", bpp, tuple(_BPP))
    rows, infos = _chosen(store, store.header(), metrics)
    bits = _bits_per_pixel(store)
    curves: dict[tuple[str, ...], list[tuple[float, Row]]] = defaultdict(list)
    for row in rows:
        place = (row.channel, row.scheme, row.point, row.snr_db)
        x = 3 * row.cbr_total if bpp == "uses" else bits.get(place, math.nan)
        if math.isfinite(x) and math.isfinite(row.mean):
            curves[*_curve_of(row), row.metric].append((x, row))
    if not curves:
        got, cure = (
            f"{len(rows)} rows without any",
            "Take --bpp uses: channel uses per pixel, of every scheme.",
        )
        what = "coded pictures (a separation scheme)" if bpp == "bits" else "pictures"
        raise RunFolderError(complaint(f"{store.folder}: bpp", "nothing to write", got, what, cure))
    files: dict[str, dict[str, Any]] = {}
    for (*parts, metric), points in curves.items():
        points.sort(key=lambda point: (point[0], point[1].snr_db))
        file = "_".join(re.sub(r"[^A-Za-z0-9.=-]+", "-", part) for part in [*parts, metric])
        if f"{file}.json" in files:  # names that differ in what no file name has
            file = f"{file}_{len(files)}"
        files[f"{file}.json"] = {
            "name": ", ".join(parts),
            "description": f"linksim, {infos[metric].title}; bpp: {_BPP[bpp]}; lost pictures are in the mean",
            "results": {
                "bpp": [x for x, _ in points],
                _COMPRESSAI_NAMES.get(metric, metric): [row.mean for _, row in points],
                **{key: [getattr(row, key) for _, row in points] for key in _BESIDE},
            },
        }
    return files


def _curve_of(row: Row) -> Iterator[str]:
    """In words, of which curve a row is a point: over the bandwidth if one was swept, else over the SNR."""
    yield from (row.scheme, row.channel)
    yield from (f"{path}={value}" for path, value in row.point if not path.startswith(_BANDWIDTH))
    if any(path.startswith(_BANDWIDTH) for path, _ in row.point):
        yield f"{row.snr_db:g} dB"


def _bits_per_pixel(store: ResultStore) -> dict[tuple[str, str, Point, float], float]:
    """Of the coded pictures, mean over the units of a point; of schemes that code none nothing."""
    found: dict[tuple[str, str, Point, float], list[float]] = defaultdict(list)
    for record in store.records():
        size, key = record.info.get("bytes"), record.key
        if record.source_values and isinstance(size, int):
            place = (key.channel, key.scheme, key.point, key.snr_db)
            found[place].append(8 * size / (record.source_values / 3))
    return {place: math.fsum(values) / len(values) for place, values in found.items()}
