"""What a run lacks, a sentence each: it is said at the top of the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from linksim.report.interactive.facts import shard_of
from linksim.report.runs import Run
from linksim.results.stopping import extent, rule_of

__all__ = ["missing"]


def missing(run: Run) -> list[str]:
    """Units that were not run, metrics that could not be measured, schemes and channels without results.

    Args:
        run: from :func:`linksim.report.runs.load_runs`.

    Raises:
        RunFolderError: records that cannot be read.
    """
    return [
        *_not_run(run),
        *_left_out(run),
        *(f"Not measured: {reason}" for reason in run.header["unavailable"].values()),
        *_not_measured(run),
    ]


def _not_run(run: Run) -> Iterator[str]:
    records, shard = run.records, shard_of(run)
    done, planned = extent(records, run.header)
    if shard:
        yield f"Part {shard} of the work: linksim merge makes one run of all parts."
    if done >= planned:
        return
    if rule_of(run.header) is not None:
        unfinished = len(
            {(r.channel, r.scheme, r.point, r.snr_db) for r in run.rows if r.stopped_by == "unfinished"}
        )
        yield f"Incomplete: {done} units, at most {planned}; {unfinished} points that were begun go on."
        return
    counts = Counter((r.key.channel, r.key.scheme) for r in records)
    most = max(counts.values())
    fewer = [f"{scheme} on {channel} {n} of {most}" for (channel, scheme), n in counts.items() if n < most]
    uneven = f" So far behind: {', '.join(fewer)}." if fewer else ""
    yield f"Incomplete: {len(records)} of {planned} units.{uneven}"


def _left_out(run: Run) -> Iterator[str]:
    scenario, done = run.header["scenario"], {r.key.scheme for r in run.records}
    for scheme in scenario["schemes"]:
        if scheme["name"] not in done:
            yield f"Left out: {scheme['name']} has no unit yet."
    channels = {r.key.channel for r in run.records}
    lacking = len(scenario["channels"]) - len(channels)
    if lacking > 0:
        named = [c.get("name") for c in scenario["channels"]]
        which = ", ".join(name for name in named if name and name not in channels)
        yield f"Left out: {which or f'{lacking} of {len(named)} channels'} without a unit yet."


def _not_measured(run: Run) -> Iterator[str]:
    """Metrics without any value, and those that some schemes do not have."""
    having: dict[str, set[str]] = defaultdict(set)
    for record in run.records:
        for name in (*record.values, *record.counts):
            having[name].add(record.key.scheme)
    measured, schemes = {row.metric for row in run.rows}, {r.key.scheme for r in run.records}
    partly: dict[frozenset[str], list[str]] = {}
    for name, info in run.store.metrics().items():
        if name not in measured:
            whole = ": it needs whole sets of pictures" if info.scope == "set" else ""
            yield f"No value of {info.title} yet{whole}."
        elif info.scope == "image" and having[name] < schemes:
            partly.setdefault(frozenset(having[name]), []).append(info.title)
    for only, titles in partly.items():
        named = [s["name"] for s in run.header["scenario"]["schemes"] if s["name"] in only]
        yield f"Of {', '.join(named)} alone, the others do not have it: {', '.join(titles)}."
