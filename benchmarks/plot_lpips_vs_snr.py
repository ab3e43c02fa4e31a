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

from linksim.figures import (
    bound_names,
    load_rows,
    metric_info,
    plot_metric,
    rename,
    save_figure,
    trained_schemes,
)
from linksim.results import ResultStore, RunFolderError
from linksim.statistics import Row


def collect(folders: list[Path]) -> tuple[list[Row], list[str]]:
    """Rows of all runs, and the names of their bounds; several runs get their folder's name in front."""
    rows: list[Row] = []
    bounds: list[str] = []
    for folder in folders:
        store = ResultStore(folder)
        own, limits = load_rows(store), bound_names(store.header())
        if len(folders) > 1:
            own, limits = rename(own, folder.name), [f"{folder.name} {name}" for name in limits]
        rows += own
        bounds += limits
    return rows, bounds


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
        rows, bounds = collect(args.runs)
        perceptual = [r.metric for r in rows if r.metric.startswith("lpips")]
        metric = args.metric or (perceptual[0] if perceptual else None)
        if metric is None:
            print(
                "--metric: got none, expected one; the runs hold no LPIPS. Set LINKSIM_WEIGHTS.",
                file=sys.stderr,
            )
            return 2
        headers = [ResultStore(folder).header() for folder in args.runs]
        info = metric_info(headers, metric)
        trained = [
            f"{folder.name} {name}" if len(args.runs) > 1 else name
            for folder, header in zip(args.runs, headers, strict=True)
            for name in trained_schemes(header, info)
        ]
        figure = plot_metric(rows, info, x=args.x, bounds=bounds, trained=trained)
        out = args.out or args.runs[0] / "figures" / f"{metric}_vs_{args.x.split('.')[-1]}.png"
        save_figure(figure, out)
    except RunFolderError as problem:
        print(problem, file=sys.stderr)
        return 2
    for row in rows:
        if row.metric == metric:
            line = {k: getattr(row, k) for k in ("channel", "scheme", "snr_db", "mean", "ci_low", "ci_high")}
            print(json.dumps({"metric": metric, **line}))
    print(out, file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
