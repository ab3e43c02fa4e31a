"""LPIPS (or any metric of results.csv) versus SNR, from one or more run folders.

    python benchmarks/plot_lpips_vs_snr.py runs/kodak-1-96 [runs/...] [--metric lpips_squeeze] [--out
    figure.png]

Without --metric the first perceptual metric found in the runs is drawn. Prints one JSON line per point.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from linksim.report.figures import metric_figure, save_figure
from linksim.report.runs import load_runs
from linksim.results.store import RunFolderError


def main() -> int:
    """Read, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of linksim simulate")
    parser.add_argument("--metric", help="e.g. lpips_alex; default: the first perceptual one")
    parser.add_argument("--x", default="snr_db", help="snr_db, cbr_data, cbr_total or a swept field")
    parser.add_argument("--out", type=Path, help="figure; default METRIC_vs_X.png in the first run folder")
    args = parser.parse_args()
    try:
        runs = load_runs(args.runs)
        perceptual = [name for run in runs for name in run.header["metrics"] if name.startswith("lpips")]
        metric = args.metric or (perceptual[0] if perceptual else None)
        if metric is None:
            print(
                "--metric: got none, expected one; the runs hold no LPIPS. Set LINKSIM_WEIGHTS.",
                file=sys.stderr,
            )
            return 2
        figure = metric_figure(runs, metric, x=args.x)
        out = args.out or args.runs[0] / "figures" / f"{metric}_vs_{args.x.split('.')[-1]}.png"
        save_figure(figure, out)
    except RunFolderError as problem:
        print(problem, file=sys.stderr)
        return 2
    for run in runs:
        for row in run.rows:
            if row.metric == metric:
                names = ("channel", "scheme", "snr_db", "mean", "ci_low", "ci_high")
                line = {name: getattr(row, name) for name in names}
                print(json.dumps({"run": str(run.store.folder), "metric": metric, **line}))
    print(out, file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
