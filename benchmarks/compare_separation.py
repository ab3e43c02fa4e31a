"""One scenario, learned coding against separation coding: a table with paired intervals, and a figure.

Runs the scenario (or resumes its run folder) and compares every scheme with the separation scheme (or with
``--reference``) on the same images, fades and noise: mean difference per SNR with a bootstrap interval
clustered by image. Prints the table as Markdown on stdout and one JSON line per comparison on stderr.

    python benchmarks/compare_separation.py quickstart [--metric psnr] [--out runs/quickstart] [--set
    PATH=VALUE]...
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from linksim.cli import main as linksim
from linksim.figures import (
    bound_names,
    load_rows,
    metric_info,
    plot_metric,
    save_figure,
    trained_schemes,
)
from linksim.results import Record, ResultStore, RunFolderError
from linksim.statistics import bootstrap_interval

Key = tuple[str, float]


def paired_differences(
    records: list[Record], scheme: str, reference: str, metric: str
) -> dict[Key, list[np.ndarray]]:
    """For every channel and SNR, scheme minus reference per image (over its trials) on the same draws."""
    values = {
        (r.key.channel, r.key.scheme, r.key.point, r.key.snr_db, r.key.image, r.key.trial): r.values[metric]
        for r in records
        if metric in r.values
    }
    groups: dict[Key, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (channel, name, point, snr_db, image, trial), value in values.items():
        other = values.get((channel, reference, point, snr_db, image, trial))
        if name == scheme and other is not None:
            groups[channel, snr_db][image].append(value - other)
    return {key: [np.array(v) for v in images.values()] for key, images in sorted(groups.items())}


def report(store: ResultStore, metric: str, reference: str | None = None) -> str:
    """Markdown table of means and paired differences to a scheme, by default the separation scheme."""
    header = store.header()
    specs = header["scenario"]["schemes"]
    names = [s["name"] for s in specs]
    if reference is not None and reference not in names:
        raise RunFolderError(f"--reference: got {reference!r}, expected one of {', '.join(names)}.")
    reference = reference or next((s["name"] for s in specs if s["kind"] == "separation"), None)
    if reference is None:
        expected = "one to compare with, or --reference NAME"
        raise RunFolderError(f"{store.folder}: schemes: got no separation scheme, expected {expected}.")
    info = metric_info([header], metric)
    if info.scope == "set":
        expected = "one of single pictures, which can be compared picture by picture"
        raise RunFolderError(f"--metric {metric}: got a metric of sets of pictures, expected {expected}.")
    rows = {(r.channel, r.scheme, r.snr_db): r for r in load_rows(store) if r.metric == metric}
    statistics, records = header["scenario"]["statistics"], list(store.records())
    lines = [f"| channel | SNR [dB] | scheme | {info.axis} | difference to {reference} ({info.better}) |"]
    lines.append("|---|---|---|---|---|")
    for scheme in names:
        pairs = paired_differences(records, scheme, reference, metric)
        for (channel, snr_db), groups in pairs.items():
            mean = float(np.mean([g.mean() for g in groups]))
            low, high = bootstrap_interval(groups, statistics["confidence"], statistics["resamples"], 1)
            text = "–" if scheme == reference else f"{mean:+.3g} ({low:+.3g} to {high:+.3g})"
            value = rows[channel, scheme, snr_db].mean
            lines.append(f"| {channel} | {snr_db:g} | {scheme} | {value:.4g} | {text} |")
            record = {"channel": channel, "snr_db": snr_db, "scheme": scheme, "reference": reference}
            record |= {"metric": metric, "mean": value, "difference": mean, "ci_low": low, "ci_high": high}
            print(json.dumps(record), file=sys.stderr)
    return "\n".join(lines)


def main() -> int:
    """Run, compare, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", help="scenario file or name")
    parser.add_argument("--metric", default="psnr")
    parser.add_argument("--reference", help="scheme to compare with; default the separation scheme")
    parser.add_argument("--out", type=Path, help="run folder; default runs/NAME")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="PATH=VALUE")
    args = parser.parse_args()
    from linksim.scenario_io import ScenarioError, load_scenario, parse_overrides

    try:
        scenario = load_scenario(args.scenario, parse_overrides(args.overrides))
        folder = args.out or Path("runs") / scenario.name
        words = [word for pair in args.overrides for word in ("--set", pair)]
        code = linksim(["simulate", args.scenario, "--out", str(folder), *words])
        if code:
            return code
        store = ResultStore(folder)
        print(report(store, args.metric, args.reference))
        header = store.header()
        info = metric_info([header], args.metric)
        trained = trained_schemes(header, info)
        figure = plot_metric(
            load_rows(store), info, bounds=bound_names(header), trained=trained, title=scenario.name
        )
        save_figure(figure, folder / "figures" / f"compare_{args.metric}.png")
    except (ScenarioError, RunFolderError) as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
