"""The commands that make run folders and show them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from linksim.cli.output import say, say_json

if TYPE_CHECKING:
    from linksim.api.run import Run

__all__ = ["merge", "plot", "replay", "report", "results", "simulate"]


def simulate(args: argparse.Namespace) -> int:
    """Run a scenario, or the rest of it."""
    from linksim.api.checking import what_without
    from linksim.api.progress import ProgressLine
    from linksim.api.simulation import prepare
    from linksim.scenario.files import parse_overrides

    chosen = {name: getattr(args, name) for name in ("out", "device", "limit", "workers", "shard")}
    prepared = prepare(args.scenario, parse_overrides(args.overrides), **chosen, option="--")
    say(f"images: {len(prepared.plan.images)} from {prepared.plan.origin}", file=sys.stderr)
    for download in prepared.downloads:
        say(what_without(download), file=sys.stderr)
    run = prepared.run(ProgressLine(sys.stderr))
    summary = run.summary
    assert summary is not None
    for reason in summary.unavailable.values():
        say(f"not measured: {reason}", file=sys.stderr)
    for line in summary.losses:
        say(f"not arrived: {line}", file=sys.stderr)
    say(f"{summary.units_run} units in {summary.seconds:.0f} s, {summary.units_kept} kept from before")
    return _say_files(run, args)


def _say_files(run: Run, args: argparse.Namespace) -> int:
    """Where the files of a run are, with figures and report unless they are not wanted."""
    from linksim.results.store import ResultStore

    say(f"results: {run.folder / 'results.csv'}")
    if not ResultStore(run.folder).done():
        say("no units yet: no report")
    elif not args.no_report:
        say(f"report:  {run.report()}")
        say(f"figures: {run.folder / 'figures'}")
        say(f"images:  {run.folder / 'images'}")
    return 0


def merge(args: argparse.Namespace) -> int:
    """Make one run of several."""
    from linksim.api.run import Run
    from linksim.results.merging import merge

    merged = merge(args.run, args.out)
    missing = f", {merged.missing} are missing: linksim simulate runs them" if merged.missing else ""
    say(f"{merged.units} units of {len(args.run)} runs{missing}")
    return _say_files(Run(merged.folder), args)


def replay(args: argparse.Namespace) -> int:
    """Run one unit of a run again and say what happened."""
    from linksim.api.run import Run
    from linksim.run.replaying import save_pictures

    found = Run(args.run).replay(args.unit, args.device)
    for line in found.lines():
        say(line)
    if args.out:
        for path in save_pictures(found, args.out):
            say(path)
    return 1 if found.differences() else 0


def results(args: argparse.Namespace) -> int:
    """Print the table of a run, for people or as JSON."""
    import shutil

    from linksim.api.results import results_dict, results_lines
    from linksim.results.store import ResultStore

    store = ResultStore(args.run)
    if args.json:
        say_json(results_dict(store, args.metrics or ()))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        for line in results_lines(store, args.metrics or (), width):
            say(line)
    return 0


def plot(args: argparse.Namespace) -> int:
    """Draw a metric of runs, or their ledger."""
    from linksim.api.plotting import plot_runs
    from linksim.report import figures

    if args.ledger:
        return _plot_ledger(args)
    figure, stem = plot_runs(args.run, args.metric, x=args.x, against=args.against)
    out = args.out or args.run[0] / "figures" / f"{stem}.png"
    figures.save_figure(figure, out)
    say(out)
    return 0


def _plot_ledger(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from linksim.report import figures
    from linksim.report.ledger import ledger, plot_ledger, to_csv
    from linksim.results.store import ResultStore, RunFolderError

    for option in ("x", "against"):
        if getattr(args, option):
            got = f"--{option} {getattr(args, option)}: got it with --ledger"
            raise RunFolderError(f"{got}, expected it with --metric only.")
    entries, titles = [], []
    runs = figures.run_names(args.run)
    for folder, name in runs.items():
        store = ResultStore(folder)
        titles.append(store.header()["name"])
        prefix = f"{name} " if len(runs) > 1 else ""
        entries += [replace(e, scheme=prefix + e.scheme) for e in ledger(store.records())]
    if not entries:
        got = f"{args.run[0]}: records: got none, expected a run with results. Run linksim simulate first."
        raise RunFolderError(got)
    out = args.out or args.run[0] / "figures" / "ledger.png"
    figures.save_figure(plot_ledger(entries, f"{', '.join(dict.fromkeys(titles))}: channel uses"), out)
    say(to_csv(entries).rstrip("\n"))
    say(out, file=sys.stderr)
    return 0


def report(args: argparse.Namespace) -> int:
    """Write report.html of a run folder."""
    from linksim.report.page import write_report
    from linksim.results.store import ResultStore

    say(write_report(ResultStore(args.run)))
    return 0
