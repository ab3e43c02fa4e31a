"""A run folder that is asked for more, or for less: which of its units stay, and what they are compared by.

A unit is one picture, trial, channel, scheme and point. Its result depends on the seed, the bandwidth, the
descriptions of its channel and its scheme, the pixels, and the files and codecs that these use; not on what
else a scenario asks for. So a folder grows and shrinks with its scenario: units that are asked for stay, the
others are put aside in ``former/N``, a run folder of its own, and taken back when they are asked for again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from channels.checks import complaint
from linksim.files.writing import whole_folder
from linksim.results.records import Point, Record, UnitKey
from linksim.results.store import ResultStore, RunFolderError
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario, channel_names
from linksim.scenario.sweeps import validated, variants

__all__ = ["Growth", "grown", "meanings"]

Group = tuple[str, str, Point]  # channel, scheme, swept values
FORMER = "former"


@dataclass(frozen=True)
class Growth:
    """What became of the units of a folder.

    Args:
        kept: that stay.
        back: taken back from ``former``.
        aside: put aside into ``former``.
        folder: where they were put.
        metrics: that are new, so that every unit is run again.
    """

    kept: int
    back: int = 0
    aside: int = 0
    folder: Path | None = None
    metrics: tuple[str, ...] = ()

    def lines(self, asked: int) -> list[str]:
        """For people: what is kept and what is new, of ``asked`` units."""
        new = asked - self.kept - self.back
        found = [f"the scenario has changed: {self.kept} units of the folder are kept, {new} are new"]
        if self.back:
            found.append(f"{self.back} units are taken back from {FORMER}")
        if self.aside:
            why = f", since {', '.join(self.metrics)} was not measured" if self.metrics else ""
            found.append(f"{self.aside} units are put aside in {self.folder}{why}")
        return found


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


def grown(
    store: ResultStore, old: dict[str, Any], new: dict[str, Any], planned: Collection[UnitKey]
) -> Growth | None:
    """Make the records of a locked folder those of another scenario; run.json is written by the caller.

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
    added = tuple(sorted(_measured(new) - _measured(old)))
    wanted = set(planned)
    records = list(store.records())
    stay = [] if added else [r for r in records if r.key in wanted]
    back = list(_taken_back(store.folder, new, wanted - {r.key for r in stay}))
    metrics = _measured(new)
    kept = [_restricted(r, metrics) for r in (*stay, *back)]
    aside, folder = len(records) - len(stay), None
    if aside or kept[: len(stay)] != stay:
        folder = _put_aside(store)
        store.rewrite(kept)
    elif back:
        store.append(kept[len(stay) :])
    return Growth(len(stay), len(back), aside, folder if aside else None, added)


def _asked(header: dict[str, Any]) -> tuple[object, ...]:
    shard = header.get("shard")
    return header["scenario_hash"], sorted(header["images"]), sorted(_measured(header)), shard


def _measured(header: dict[str, Any]) -> set[str]:
    """Metrics whose values are in records: those of sets are in files of their own."""
    return {name for name, facts in header["metrics"].items() if facts.get("scope") != "set"}


def _restricted(record: Record, metrics: Collection[str]) -> Record:
    """Without values of metrics that are not asked for."""
    values = {k: v for k, v in record.values.items() if k in metrics}
    counts = {k: v for k, v in record.counts.items() if k in metrics}
    return replace(record, values=values, counts=counts)


# ----------------------------------------------------------------------------------------------- meaning


def _refuse_other_meaning(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    if old["name"] != new["name"]:
        got = f"{old['name']} (hash {old['scenario_hash']})"
        expected = f"{new['name']} (hash {new['scenario_hash']})"
        raise _refusal(folder, "folder of another scenario", got, expected)
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
    found = [path for path in (folder / FORMER).glob("*") if path.name.isdigit()]
    return sorted(found, key=lambda path: -int(path.name))


def _put_aside(store: ResultStore) -> Path:
    """Copy header and records into a run folder of their own."""
    number = max((int(path.name) for path in _formers(store.folder)), default=0) + 1
    target = store.folder / FORMER / str(number)
    target.parent.mkdir(exist_ok=True)
    with whole_folder(target) as partial:
        for path in (store.header_path, store.records_path):
            (partial / path.name).write_bytes(path.read_bytes())
    return target


def _taken_back(folder: Path, new: dict[str, Any], wanted: set[UnitKey]) -> Iterator[Record]:
    """Records that were put aside and mean what is asked for now."""
    groups = _meanings_of(folder, new) if wanted else {}
    for former in _formers(folder):
        if not wanted:
            return
        store = ResultStore(former)
        old = store.header()
        if not _measured(new) <= _measured(old) or not _alike(old, new):
            continue
        before = _meanings_of(former, old)
        for record in store.records():
            key = record.key
            group = (key.channel, key.scheme, key.point)
            same_picture = old["images"][key.image] == new["images"].get(key.image)
            if key in wanted and same_picture and before.get(group) == groups[group]:
                wanted.discard(key)
                yield record


def _alike(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether files, codecs, metrics and kinds that both name are the same."""
    for block in ("files", "tools", "kinds"):
        before, now = old.get(block, {}), new.get(block, {})
        if any(before[name] != now[name] for name in before.keys() & now.keys()):
            return False
    metrics = old["metrics"].keys() & new["metrics"].keys()
    return all(old["metrics"][m]["reference"] == new["metrics"][m]["reference"] for m in metrics)
