"""Runs to be drawn: their rows, their names, and what they say of their schemes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.results.records import Record
from linksim.results.set_statistics import run_rows
from linksim.results.statistics import Row
from linksim.results.store import ResultStore, RunFolderError

__all__ = [
    "Run",
    "bound_names",
    "default_x",
    "load_rows",
    "load_runs",
    "metric_info",
    "rename",
    "run_names",
    "step_names",
    "trained_schemes",
]


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
        info = read_facts(whole, known[whole])
        return replace(info, name=metric, label=f"{info.title}: {cause}")
    if metric not in known:
        names = ", ".join(sorted(known))
        raise RunFolderError(f"--metric {metric}: got no such metric in the run, expected one of {names}.")
    return read_facts(metric, known[metric])


def trained_schemes(header: Mapping[str, Any], info: MetricInfo) -> list[str]:
    """Schemes of a run whose training had a metric as a loss."""
    return [name for name, measures in header.get("trained_on", {}).items() if info.was_loss(measures or ())]


def bound_names(header: Mapping[str, Any]) -> list[str]:
    """Schemes of a run that are limits."""
    return [s["name"] for s in header["scenario"]["schemes"] if s["kind"].endswith("_bound")]


def step_names(header: Mapping[str, Any]) -> list[str]:
    """Schemes of a run with a fixed MCS, if there are several: the steps of a staircase. Not those with
    retransmissions, which take more uses.
    """
    schemes = header["scenario"]["schemes"]
    fixed = [s["name"] for s in schemes if isinstance(s.get("mcs"), int) and not s.get("harq")]
    return fixed if len(fixed) > 1 else []


def default_x(header: Mapping[str, Any]) -> str:
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
        >>> list(run_names([Path("/x/run-1/out"), Path("/x/run-2/out"), Path("/x/other")]).values())
        ['run-1/out', 'run-2/out', 'other']
    """
    distinct = list({folder.resolve(): folder for folder in folders}.values())
    parts = [Path(os.path.normpath(folder.absolute())).parts for folder in distinct]
    ends = [_own_end(own, [other for other in parts if other is not own]) for own in parts]
    return {folder: "/".join(end).replace("//", "/") for folder, end in zip(distinct, ends, strict=True)}


def _own_end(own: tuple[str, ...], others: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The shortest end of a path that none of the others has."""
    for depth in range(1, len(own)):
        if all(other[-depth:] != own[-depth:] for other in others):
            return own[-depth:]
    return own


def rename(rows: Sequence[Row], prefix: str) -> list[Row]:
    """Rows with scheme names that say which run they are from, to draw several runs in one figure."""
    return [replace(row, scheme=f"{prefix} {row.scheme}") for row in rows]


@dataclass(frozen=True)
class Run:
    """A run that is drawn.

    Args:
        store: its folder.
        name: that tells it from others in one figure; "" of one alone.
        header: contents of run.json.
        rows: of its results.
    """

    store: ResultStore
    name: str
    header: dict[str, Any]
    rows: list[Row]

    @cached_property
    def records(self) -> list[Record]:
        """Its units, each once, read when they are first asked for.

        Raises:
            RunFolderError: records that cannot be read.
        """
        return list({record.key: record for record in self.store.records()}.values())


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Runs to be drawn in one figure.

    Raises:
        RunFolderError: a folder that cannot be used.
    """
    names = run_names(folders)
    stores = {ResultStore(folder): name if len(names) > 1 else "" for folder, name in names.items()}
    return [Run(store, name, store.header(), load_rows(store)) for store, name in stores.items()]
