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
from pathlib import Path

from linksim.cli.commands import main as linksim
from linksim.report.figures import metric_figure, save_figure, swept_text
from linksim.report.runs import Run, load_runs, metric_info
from linksim.results.paired import differences
from linksim.results.store import RunFolderError


def report(run: Run, metric: str, reference: str | None = None) -> str:
    """Markdown table of means and paired differences to a scheme, by default the separation scheme."""
    header = run.header
    specs = header["scenario"]["schemes"]
    names = [s["name"] for s in specs]
    if reference is not None and reference not in names:
        raise RunFolderError(f"--reference: got {reference!r}, expected one of {', '.join(names)}.")
    reference = reference or next((s["name"] for s in specs if s["kind"] == "separation"), None)
    if reference is None:
        expected = "one to compare with, or --reference NAME"
        raise RunFolderError(f"{run.store.folder}: schemes: got no separation scheme, expected {expected}.")
    info = metric_info([header], metric)
    if info.scope == "set":
        expected = "one of single pictures, which can be compared picture by picture"
        raise RunFolderError(f"--metric {metric}: got a metric of sets of pictures, expected {expected}.")
    statistics = header["scenario"]["statistics"]
    level, resamples = statistics["confidence"], statistics["resamples"]
    rows = [r for r in run.rows if r.metric == metric]
    against = ("scheme", reference)
    pairs = differences(run.store.records(), metric, against, level, resamples, is_share=info.is_share)
    paired = {(r.channel, r.scheme, r.point, r.snr_db): r for r in pairs}
    lines = [f"| channel | SNR [dB] | scheme | {info.axis} | difference to {reference} ({info.better}) |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        found = paired.get((row.channel, row.scheme, row.point, row.snr_db))
        text = "–" if found is None else f"{found.mean:+.3g} ({found.ci_low:+.3g} to {found.ci_high:+.3g})"
        swept = "".join(f", {swept_text(name, value)}" for name, value in row.point)
        place = f"| {row.channel}{swept} | {row.snr_db:g} | {row.scheme}"
        lines.append(f"{place} | {row.mean:.4g} | {text} |")
        record = {"channel": row.channel, "snr_db": row.snr_db, "point": row.point, "scheme": row.scheme}
        record |= {"reference": reference, "metric": metric, "mean": row.mean}
        if found is not None:
            record |= {"difference": found.mean, "ci_low": found.ci_low, "ci_high": found.ci_high}
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
    from linksim.scenario.files import ScenarioError, load_scenario, parse_overrides

    try:
        scenario = load_scenario(args.scenario, parse_overrides(args.overrides))
        folder = args.out or Path("runs") / scenario.name
        words = [word for pair in args.overrides for word in ("--set", pair)]
        code = linksim(["simulate", args.scenario, "--out", str(folder), *words])
        if code:
            return code
        [run] = load_runs([folder])
        print(report(run, args.metric, args.reference))
        figure = metric_figure([run], args.metric, x="snr_db", title=scenario.name)
        save_figure(figure, folder / "figures" / f"compare_{args.metric}.png")
    except (ScenarioError, RunFolderError) as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
