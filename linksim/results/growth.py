"""A run folder that is asked for more, or for less: which of its units stay, and what they are compared by.

A unit is one picture, trial, channel, scheme and point. Its result depends on the seed, the bandwidth, the
descriptions of its channel and its scheme, the pixels, and the files and codecs that these use; not on what
else a scenario asks for. So a folder grows and shrinks with its scenario: units that are asked for stay, the
others are put aside in ``former/N``, a run folder of its own, and taken back when they are asked for again.
Where metrics are asked for that were not measured all units are put aside, and taken back as their values
come: those whose pictures are kept are only measured, others are run again and must come out as they were.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from channels.checks import complaint
from linksim.files.writing import whole_folder
from linksim.results.records import Point, Record, UnitKey
from linksim.results.store import FORMER, ResultStore, RunFolderError
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario, channel_names
from linksim.scenario.sweeps import validated, variants

__all__ = ["Complete", "Growth", "Returned", "fitted", "meanings", "take_back"]

log = logging.getLogger("linksim.results.growth")

Group = tuple[str, str, Point]  # channel, scheme, swept values
Complete = Callable[[Record, frozenset[str]], Record | None]
"""A record with the values of metrics that it lacks; None where its unit has to be run again for them."""


@dataclass(frozen=True)
class Growth:
    """What became of the units of a folder.

    Args:
        kept: that stay.
        aside: that are not asked for any more.
        folder: where a copy of what was there was put; None where there is one already.
        lacking: that are asked for and lack values of metrics.
        metrics: that they lack.
        measured: of them, those that were measured on pictures that are kept.
        again: of them, those that are run again.
        back: taken back from ``former`` as they were.
        is_new: whether the scenario is another one than before.
    """

    kept: int
    aside: int = 0
    folder: Path | None = None
    lacking: int = 0
    metrics: tuple[str, ...] = ()
    measured: int = 0
    again: int = 0
    back: int = 0
    is_new: bool = True

    def lines(self, asked: int) -> list[str]:
        """For people: what is kept and what is new, of ``asked`` units."""
        new = asked - self.kept - self.back - self.measured - self.again
        said = f"the scenario has changed: {self.kept} units of the folder are kept, {new} are new"
        found = [said] if self.is_new and (self.kept or new or not self.metrics) else []
        if self.metrics:
            found.append(
                f"not measured before: {', '.join(self.metrics)}; {self.measured} units are measured on what "
                f"is kept of them, {self.again} are run again"
            )
        if self.back:
            found.append(f"{self.back} units are taken back from {FORMER}")
        if self.aside:
            found.append(f"{self.aside} units are put aside in {self.folder or FORMER}")
        elif self.folder:
            what = "records as they were" if self.lacking else "values of metrics that are not asked for"
            found.append(f"{what} are kept in {self.folder}")
        return found


@dataclass(frozen=True)
class Returned:
    """What :func:`take_back` did.

    Args:
        back: units that were taken back as they were.
        measured: units that were taken back with values of further metrics.
        expected: records of units that have to be run again for further metrics.
        metrics: that were lacking.
    """

    back: int = 0
    measured: int = 0
    expected: dict[UnitKey, Record] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()


def meanings(scenario: Scenario) -> dict[Group, dict[str, Any]]:
    """What decides the results of every combination of channel, scheme and swept values, by field."""
    found: dict[Group, dict[str, Any]] = {}
    labels = channel_names(scenario)
    for variant in variants(scenario):
        same = {"seed": scenario.seed, "bandwidth": variant.scenario.bandwidth.model_dump(mode="json")}
        for label, channel in zip(labels, variant.scenario.channels, strict=True):
            by_channel = channel.model_dump(mode="json", exclude={"name"})
            for scheme in variant.scenario.schemes:
                by_scheme = scheme.model_dump(mode="json", exclude={"name"})
                place = {**same, f"channels.{label}": by_channel, f"schemes.{scheme.name}": by_scheme}
                found[label, scheme.name, variant.values] = place
    return found


def fitted(
    store: ResultStore, old: dict[str, Any], new: dict[str, Any], planned: Collection[UnitKey]
) -> Growth | None:
    """Leave those records in a locked folder that another scenario asks for, too. Afterwards the caller
    writes run.json, then calls :func:`take_back`: at any moment records and header fit each other.

    Args:
        store: the folder.
        old: its run.json.
        new: of the scenario that is asked for.
        planned: units of that scenario.

    Returns:
        What became of the units; None where the folder is of the same scenario.

    Raises:
        RunFolderError: units of the folder mean another thing than those that are asked for; the message
            names the field. Nothing was written.
    """
    asked, before = (_asked(header) for header in (new, old))
    if asked == before:
        return None
    _refuse_other_meaning(store.folder, old, new)
    added = _measured(new) - _measured(old)
    wanted, records = set(planned), list(store.stored_records())
    compared = any(facts.get("scope") == "set" for facts in new["metrics"].values())
    stay = [r for r in records if r.key in wanted and (r.shown or not compared)]
    kept = [] if added else [r.restricted(_measured(new)) for r in stay]
    folder = None
    if kept != records:
        lost = [r for r, k in zip(stay, kept, strict=True) if r != k] if kept else stay
        staying = {r.key for r in stay}
        lost += [r for r in records if r.key not in staying]
        folder = None if _is_aside(store.folder, old, lost) else _put_aside(store)
        store.rewrite(kept)
    lacking = len(stay) if added else 0
    return Growth(len(kept), len(records) - len(stay), folder, lacking)


def take_back(store: ResultStore, planned: Collection[UnitKey], complete: Complete) -> Returned:
    """Append units that were put aside and are asked for.

    Args:
        store: a locked folder with the header of what is asked for.
        planned: units of its scenario.
        complete: gives records what they lack.
    """
    formers = _formers(store.folder)
    there = {record.key for record in store.stored_records()} if formers else set()
    missing = set(planned) - there if formers else set()
    if not missing:
        return Returned()
    header = store.header()
    asked = _measured(header)
    whole: dict[UnitKey, Record] = {}
    partial: dict[UnitKey, tuple[Record, frozenset[str]]] = {}
    for record, lacking in _found_aside(store.folder, formers, header, missing):
        if not lacking:
            whole.setdefault(record.key, record.restricted(asked))
        else:
            partial.setdefault(record.key, (record.restricted(asked), lacking))
    store.append(list(whole.values()))
    expected: dict[UnitKey, Record] = {}
    metrics: set[str] = set()
    measured = 0
    for key in [key for key in partial if key not in whole]:
        record, lacking = partial[key]
        metrics |= lacking
        now = complete(record, lacking)
        if now is None:
            expected[key] = record
        else:
            store.append([now])
            measured += 1
    return Returned(len(whole), measured, expected, tuple(sorted(metrics)))


def _asked(header: dict[str, Any]) -> tuple[object, ...]:
    scenario, shard = header["scenario"], header.get("shard")
    batches = scenario.get("batch_size") if shard else None  # decides which units a shard has
    sets = sorted(set(header["metrics"]) - _measured(header))
    swept = list(scenario["sweep"]["fields"])
    images, metrics = sorted(header["images"]), sorted(_measured(header))
    return header["scenario_hash"], swept, images, metrics, sets, shard, batches


def _measured(header: dict[str, Any]) -> set[str]:
    """Metrics whose values are in records: those of sets are in files of their own."""
    return {name for name, facts in header["metrics"].items() if facts.get("scope") != "set"}


# ----------------------------------------------------------------------------------------------- meaning


def _refuse_other_meaning(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    if old["name"] != new["name"]:
        got = f"{old['name']} (hash {old['scenario_hash']})"
        expected = f"{new['name']} (hash {new['scenario_hash']})"
        raise _refusal(folder, "folder of another scenario", got, expected)
    swept = [list(side["scenario"]["sweep"]["fields"]) for side in (old, new)]
    if swept[0] != swept[1] and sorted(swept[0]) == sorted(swept[1]):
        cure = "Write them in that order, or use another --out. Nothing was overwritten."
        what = "sweep.fields: in another order"
        raise RunFolderError(complaint(str(folder), what, swept[1], swept[0], cure))
    lost = sorted(set(old["metrics"]) & set(new["unavailable"]))
    if lost:
        cure = f"Take {lost[0]} out of metrics to go on without it. Nothing was overwritten."
        what, got = f"metrics.{lost[0]}: measured before", new["unavailable"][lost[0]]
        raise RunFolderError(complaint(str(folder), what, got, "what it was measured with", cure))
    difference = _difference(_meanings_of(folder, old), _meanings_of(folder, new))
    if difference is not None:
        path, *values = difference
        raise _refusal(folder, f"{path}: made with another value", *values)


def _refusal(folder: Path, what: str, got: object, expected: object) -> RunFolderError:
    cure = "Use another --out. Nothing was overwritten."
    return RunFolderError(complaint(str(folder), what, got, expected, cure))


def _meanings_of(folder: Path, header: dict[str, Any]) -> dict[Group, dict[str, Any]]:
    """Of a run.json.

    Raises:
        RunFolderError: the scenario of another version, or of kinds that are not registered.
    """
    try:
        return meanings(validated(Scenario, header["scenario"], str(folder)))
    except ScenarioError as problem:
        first = str(problem).splitlines()[0]
        expected = "one that this version reads"
        raise _refusal(folder, "scenario of the folder", first, expected) from None


def _difference(
    old: dict[Group, dict[str, Any]], new: dict[Group, dict[str, Any]]
) -> tuple[str, object, object] | None:
    """The first field in which groups of both differ, with both values."""
    for group in sorted(old.keys() & new.keys(), key=repr):
        found = _first_change("", old[group], new[group])
        if found is not None:
            return found
    return None


def _first_change(path: str, old: object, new: object) -> tuple[str, object, object] | None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            at = f"{path}.{key}" if path else str(key)
            found = _first_change(at, old.get(key), new.get(key))
            if found is not None:
                return found
        return None
    return None if old == new else (path, old, new)


# ------------------------------------------------------------------------------------------------ former


def _formers(folder: Path) -> list[Path]:
    """Folders of what was put aside, the latest first."""
    found = [path for path in (folder / FORMER).glob("*") if re.fullmatch("[0-9]{1,9}", path.name)]
    return sorted(found, key=lambda path: -int(path.name))


def _put_aside(store: ResultStore) -> Path:
    """Copy header and records into a run folder of their own."""
    number = max((int(path.name) for path in _formers(store.folder)), default=0) + 1
    target = store.folder / FORMER / str(number)
    try:
        target.parent.mkdir(exist_ok=True)
        with whole_folder(target) as partial:
            for path in (store.header_path, store.records_path):
                (partial / path.name).write_bytes(path.read_bytes())
    except FileExistsError:
        cure = "Move it away."
        raise RunFolderError(complaint(str(target.parent), "no folder", "a file", "a folder", cure)) from None
    return target


def _is_aside(folder: Path, old: dict[str, Any], lost: Collection[Record]) -> bool:
    """Whether all of some records are in one former folder already, made with the same things."""
    for former in _formers(folder):
        with _told_if_unreadable(former):
            store = ResultStore(former)
            header = store.header()
            if _alike(header, old) and _measured(old) <= _measured(header):
                kept = {r.key: r.restricted(_measured(old)) for r in store.stored_records()}
                if all(kept.get(r.key) == r for r in lost):
                    return True
    return False


def _found_aside(
    folder: Path, formers: Sequence[Path], new: dict[str, Any], missing: Collection[UnitKey]
) -> Iterator[tuple[Record, frozenset[str]]]:
    """Records that were put aside and mean what is asked for now, and metrics that they lack."""
    groups = _meanings_of(folder, new)
    compared = any(facts.get("scope") == "set" for facts in new["metrics"].values())
    for former in formers:
        with _told_if_unreadable(former):
            store = ResultStore(former)
            old = store.header()
            if not _alike(old, new):
                continue
            before, lacking = _meanings_of(former, old), frozenset(_measured(new) - _measured(old))
            for record in store.stored_records():
                key = record.key
                group = (key.channel, key.scheme, key.point)
                same_picture = old["images"][key.image] == new["images"].get(key.image)
                same = same_picture and group in groups and before.get(group) == groups[group]
                if key in missing and same and (record.shown or not compared):
                    yield record, lacking


@contextmanager
def _told_if_unreadable(former: Path) -> Iterator[None]:
    """What was put aside by another version, or is damaged, is no reason not to run: units are run again."""
    try:
        yield
    except RunFolderError as problem:
        log.warning("%s: left as it is, its units are run again: %s", former, problem)


def _alike(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether files, codecs, metrics and kinds that both name are the same."""
    for block in ("files", "tools", "kinds"):
        before, now = old.get(block, {}), new.get(block, {})
        if any(before[name] != now[name] for name in before.keys() & now.keys()):
            return False
    metrics = old["metrics"].keys() & new["metrics"].keys()
    return all(old["metrics"][m]["reference"] == new["metrics"][m]["reference"] for m in metrics)
