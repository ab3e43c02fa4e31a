"""Results of a run folder as pandas tables with typed columns. Reads stores only."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from channels.checks import complaint
from linksim.results.records import Record, UnitKey, side_info_uses
from linksim.results.set_statistics import run_rows
from linksim.results.statistics import CSV_COLUMNS, to_csv
from linksim.results.store import ResultStore, RunFolderError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MissingPackage", "results_table", "units_in_order", "units_table"]

_TEXTS = ("channel", "scheme", "metric", "stopped_by")
_WHOLE = ("num_images", "num_trials", "num_failures")


class MissingPackage(ImportError):
    """A package that is asked for and not installed."""


def _pandas() -> ModuleType:
    try:
        import pandas as pd
    except ImportError as problem:
        cure = "Install pandas, or read results.csv and records.jsonl of the run folder."
        said = f"pandas: not installed, got {problem}, expected it for tables. {cure}"
        raise MissingPackage(said, name="pandas") from None
    return pd


def results_table(store: ResultStore) -> pd.DataFrame:
    """results.csv: a row per channel, scheme, swept point, SNR and metric; columns with the types of their
    values, swept ones as the scenario has them.

    Of a run that was stopped it holds what is there so far.

    Raises:
        RunFolderError: no run, or a broken one.
        MissingPackage: no pandas.
    """
    pd = _pandas()
    header = store.header()
    try:
        text = store.csv_path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = to_csv(run_rows(store, header))
    except (OSError, ValueError) as problem:
        raise RunFolderError(_broken(store, problem)) from None
    try:
        columns = _typed_columns(text, header["scenario"]["sweep"]["fields"])
    except (ValueError, IndexError, csv.Error) as problem:
        raise RunFolderError(_broken(store, problem)) from None
    return pd.DataFrame(columns)


def _broken(store: ResultStore, problem: Exception) -> str:
    cure = "Remove it; the table is then made from the records."
    return complaint(str(store.csv_path), "broken", problem, "results.csv of a run", cure)


def _typed_columns(text: str, swept: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Columns of results.csv by name.

    Raises:
        ValueError, IndexError: what is no such table.
    """
    names, *lines = list(csv.reader(io.StringIO(text)))
    if not set(CSV_COLUMNS) <= set(names) or len(set(names)) < len(names):
        raise ValueError(f"the columns {', '.join(names)}")
    columns: dict[str, list[Any]] = {}
    for i, name in enumerate(names):
        column = [line[i] for line in lines]
        if name in swept:
            known = {str(value): value for value in swept[name]}
            if not set(column) <= set(known):
                raise ValueError(f"a value of {name} that was not swept")
            columns[name] = [known[entry] for entry in column]
        elif name in _WHOLE:
            columns[name] = [int(entry) for entry in column]
        else:
            columns[name] = column if name in _TEXTS else [float(entry or "nan") for entry in column]
    return columns


def units_table(store: ResultStore) -> pd.DataFrame:
    """A row per unit: one image through one scheme and channel at one swept point, once.

    Columns: channel, scheme, swept fields, snr_db, image, trial, state ("ok", or why the picture did not
    arrive), a column per metric of pictures and transmissions, ``NAME_errors`` and ``NAME_trials`` per metric
    that counts (their sums make the rate), channel uses, transmissions, side information, ``cbr_data``,
    ``cbr_total``, seconds, and facts of the transmitter as ``info.NAME`` (MCS, QP, bytes). What a scheme does
    not have is missing. Metrics of sets of pictures have no value of a unit.

    Raises:
        RunFolderError: no run, or a broken one.
        MissingPackage: no pandas.
    """
    pd = _pandas()
    header = store.header()
    units = units_in_order(store, header)
    table = pd.DataFrame([_unit(record) for record in units])
    if table.empty:
        return table
    table = table[_columns(units, header)]
    whole = {f"{name}_{part}" for r in units for name in r.counts for part in ("errors", "trials")}
    facts = {f"info.{name}": type(value) for r in units for name, value in r.info.items()}
    whole |= {name for name, kind in facts.items() if kind is int and _all_whole(units, name)}
    return table.astype(dict.fromkeys(whole, "Int64"))  # whole, and missing where there are none


def _all_whole(units: Sequence[Record], column: str) -> bool:
    name = column.removeprefix("info.")
    return all(type(r.info[name]) is int for r in units if name in r.info)


def units_in_order(store: ResultStore, header: Mapping[str, Any]) -> list[Record]:
    """Units of a run, each once; channels, schemes, swept values and images in the order of the scenario."""
    units = {r.key: r for r in store.records()}
    scenario = header["scenario"]
    schemes = [s["name"] for s in scenario["schemes"]]
    named = [c.get("name") for c in scenario["channels"]]
    channels = list(dict.fromkeys((*named, *sorted({key.channel for key in units}))))
    images, swept = list(header["images"]), scenario["sweep"]["fields"]

    def place(key: UnitKey) -> tuple[object, ...]:
        point = tuple(swept[name].index(value) for name, value in key.point)
        where = channels.index(key.channel), schemes.index(key.scheme)
        return (*where, point, key.snr_db, images.index(key.image), key.trial)

    return [units[key] for key in sorted(units, key=place)]


def _unit(record: Record) -> dict[str, Any]:
    key = record.key
    found: dict[str, Any] = {"channel": key.channel, "scheme": key.scheme, **dict(key.point)}
    found |= {"snr_db": key.snr_db, "image": key.image, "trial": key.trial, "state": record.state}
    found |= {_column(name): value for name, value in record.values.items()}
    for name, (errors, trials) in record.counts.items():
        found |= {f"{name}_errors": errors, f"{name}_trials": trials}
    found |= {name: getattr(record, name) for name in _USES}
    found["side_info_uses"] = side_info_uses(record.side_info_bits)
    found |= {"cbr_data": record.cbr_data, "cbr_total": record.cbr_total, "seconds": record.seconds}
    return found | {f"info.{name}": value for name, value in record.info.items()}


def _column(metric: str) -> str:
    """The column of a metric: its name, unless a column of another thing has it."""
    return f"metric.{metric}" if metric in _OTHERS else metric


_USES = ("data_uses", "pilot_uses", "guard_uses", "transmissions", "side_info_bits")
_PLACE, _FATE = ("channel", "scheme"), ("snr_db", "image", "trial", "state")
_COSTS = (*_USES, "side_info_uses", "cbr_data", "cbr_total", "seconds")
_OTHERS = {*_PLACE, *_FATE, *_COSTS}


def _columns(units: Sequence[Record], header: Mapping[str, Any]) -> list[str]:
    """Names in a fixed order, whatever the first unit has."""
    measured = [_column(name) for name in header["metrics"] if any(name in r.values for r in units)]
    counted = [name for name in header["metrics"] if any(name in r.counts for r in units)]
    facts = dict.fromkeys(f"info.{name}" for r in units for name in r.info)
    return [
        *(*_PLACE, *header["scenario"]["sweep"]["fields"], *_FATE),
        *measured,
        *(f"{name}_{part}" for name in counted for part in ("errors", "trials")),
        *_COSTS,
        *facts,
    ]
