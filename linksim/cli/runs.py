"""The commands that make run folders and show them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from linksim.cli.output import check_writable, finite, say, say_json

if TYPE_CHECKING:
    from linksim.api.run import Run
    from linksim.results.store import ResultStore

__all__ = ["measure", "merge", "plot", "replay", "report", "results", "simulate"]


def simulate(args: argparse.Namespace) -> int:
    """Run a scenario, or the rest of it."""
    from linksim.api.checking import what_without
    from linksim.api.progress import ProgressLine
    from linksim.api.simulation import prepare
    from linksim.scenario.files import parse_overrides

    names = ("out", "device", "limit", "workers", "shard", "ray", "keep_failures")
    chosen = {name: getattr(args, name) for name in names}
    prepared = prepare(args.scenario, parse_overrides(args.overrides), **chosen, option="--")
    say(f"images: {prepared.plan.images_text}", file=sys.stderr)
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
        if (run.folder / "images").is_dir():
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


def measure(args: argparse.Namespace) -> int:
    """Measure further metrics of a run."""
    from linksim.api.measuring import measure
    from linksim.api.progress import ProgressLine
    from linksim.api.run import Run
    from linksim.results.store import ResultStore

    run, progress = Run(args.run), ProgressLine(sys.stderr)
    chosen = {name: getattr(args, name) for name in ("device", "workers")}
    summary = measure(ResultStore(run.folder), args.metric, progress, **chosen, option="--")
    for reason in summary.unavailable.values():
        say(f"not measured: {reason}", file=sys.stderr)
    units = f"{summary.measured} units measured on what is kept of them, {summary.again} run again"
    say(f"{', '.join(dict.fromkeys(args.metric))}: {units} in {summary.seconds:.0f} s")
    return _say_files(run, args)


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
    if args.compressai:
        return _write_compressai(store, args)
    if args.json:
        say_json(results_dict(store, args.metrics or ()))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        for line in results_lines(store, args.metrics or (), width):
            say(line)
    return 0


def _write_compressai(store: ResultStore, args: argparse.Namespace) -> int:
    """Write curves as CompressAI has them, and say where."""
    import json

    from linksim.api.results import compressai_results
    from linksim.files.writing import write_whole

    files = compressai_results(store, args.metrics or (), args.bpp)
    for name, contents in files.items():
        path = args.compressai / name
        check_writable(path, "--compressai")
        write_whole(path, json.dumps(finite(contents), indent=1, allow_nan=False) + "\n")
        say(path)
    return 0


def plot(args: argparse.Namespace) -> int:
    """Draw a metric of runs, or their ledger."""
    from linksim.api.plotting import figure_options, plot_runs
    from linksim.report import figures

    if args.out:
        check_writable(args.out, "--out")
    if args.ledger:
        return _plot_ledger(args)
    chosen = {name: getattr(args, name) for name in ("title", "size", "ylim", "overlay", "style")}
    options = figure_options(**chosen, ci=not args.no_ci, option="--")
    own = {"x": args.x, "against": args.against, "labels": args.label}
    figure, stem = plot_runs(args.run, args.metric, **own, options=options, option="--")
    out = args.out or args.run[0] / "figures" / f"{stem}.png"
    figures.save_figure(figure, out, options.settings)
    say(out)
    return 0


def _plot_ledger(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from linksim.report import figures
    from linksim.report.ledger import ledger, plot_ledger, to_csv
    from linksim.results.store import ResultStore, RunFolderError

    for option in ("x", "against", "label", "size", "ylim", "no_ci", "overlay", "style"):
        value = getattr(args, option)
        if value:
            shown = " ".join(value) if isinstance(value, list) else value
            word = option.replace("_", "-") + ("" if value is True else f" {shown}")
            got = f"--{word}: got it with --ledger"
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
    usual = f"{', '.join(dict.fromkeys(titles))}: channel uses"
    figures.save_figure(plot_ledger(entries, usual if args.title is None else args.title), out)
    say(to_csv(entries).rstrip("\n"))
    say(out, file=sys.stderr)
    return 0


def report(args: argparse.Namespace) -> int:
    """Write one page of runs."""
    from linksim.report.page import write_comparison

    if args.out:
        check_writable(args.out, "--out")
    say(write_comparison(args.run, args.out))
    return 0
