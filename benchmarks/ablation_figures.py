"""The ablations of DiffJSCC as figures of ``paper_figures.py``.

What text, SNR, colour correction, guidance, steps and samplers are worth; variants, SNRs and ratio are those
of ``scenarios/diffjscc/ablation-*.yaml``. A figure has a row per metric, the variants along its axis and a
mark per SNR. Its JSON has the ``differences`` of each variant to the first one, too: paired by picture, with
their interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import linksim
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.report.drawing import COLOURS, MARKERS
from linksim.report.runs import load_rows
from linksim.results.paired import differences
from linksim.results.statistics import Row
from linksim.results.store import ResultStore
from linksim.scenario.files import load_scenario
from linksim.scenario.schema import Scenario

__all__ = ["ABLATIONS", "ablation", "repository_of", "study"]

ABLATIONS = ("ablation-conditions", "ablation-guidance", "ablation-steps")
_OWN_STEPS = "ablation-steps"  # its variants are steps and samplers


def _scenario(name: str) -> Scenario:
    return load_scenario(f"diffjscc/{name}")


def repository_of(name: str) -> str:
    """The checkpoint of an ablation, owner/name on the Hugging Face hub.

    Example:
        >>> repository_of("ablation-guidance")
        'Mingyuyang/DiffJSCC-OpenImage-CBR-1-384'
    """
    (found,) = {str(getattr(scheme, "checkpoint")) for scheme in _scenario(name).schemes}  # noqa: B009
    return found


def _variants(name: str, folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Its schemes with the checkpoint at hand; without those that a --caption makes the same as another."""
    kept: list[dict[str, Any]] = []
    for scheme in _scenario(name).schemes:
        fields = scheme.model_dump(mode="json") | {"checkpoint": str(folder)}
        if fields["caption"] != "none":
            fields["caption"] = args.caption
        if name != _OWN_STEPS:
            fields["steps"] = args.steps
        same = [one["name"] for one in kept if {**one, "name": ""} == {**fields, "name": ""}]
        if same:
            print(
                f"{name}: {fields['name']} left out, with --caption {args.caption} it is {same[0]}",
                file=sys.stderr,
            )
        else:
            kept.append(fields)
    return kept


def study(name: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The run of an ablation, as a scenario file holds it.

    Args:
        name: of :data:`ABLATIONS`.
        folder: of the authors' checkpoint.
        args: of ``paper_figures.py``.
    """
    own = _scenario(name)
    if args.images is None:
        images: dict[str, Any] = {"kind": "skimage", "crop": args.crop, "multiple_of": 16}
    else:
        images = {"kind": "folder", "path": str(args.images.resolve()), "multiple_of": 16}
    return {
        "schema_version": 1,
        "name": name,
        "question": own.question,
        "seed": own.seed,
        "images": images,
        "bandwidth": own.bandwidth.model_dump(mode="json"),
        "channel": {"kind": "awgn"},
        "sweep": {"snr_db": list(own.sweep.snr_db or ()), "trials": args.trials},
        "schemes": _variants(name, folder, args),
        "metrics": args.metrics,
        "panel": {"images": 1},
        "batch_size": 1,
    }


def ablation(name: str, args: argparse.Namespace, folder: Path | None) -> list[dict[str, Any]]:
    """Run an ablation, draw it, write its JSON; without a checkpoint say what to download.

    Args:
        name: of :data:`ABLATIONS`.
        args: of ``paper_figures.py``.
        folder: of the authors' checkpoint; None: not on this machine.

    Returns:
        Its points, as they are printed; none without a checkpoint.
    """
    if folder is None:
        repository, models = repository_of(name), args.authors or Path("MODELS")
        target = models / repository.partition("/")[2]
        print(
            f"{name}: no DiffJSCC: get it with: hf download {repository} --local-dir {target}; "
            f"then --authors {models}",
            file=sys.stderr,
        )
        return []
    began = time.monotonic()
    whole = study(name, folder, args)
    run = linksim.simulate(whole, out=args.out / name, limit=args.limit, workers=args.workers)
    store = ResultStore(run.folder)
    header = store.header()
    infos = {m: read_facts(m, facts) for m, facts in header["metrics"].items() if m in args.metrics}
    rows = [row for row in load_rows(store) if row.metric in infos]
    first, *others = [scheme["name"] for scheme in whole["schemes"]]
    ratio = whole["bandwidth"]["data_ratio"]
    pictures = f"{len(header['images'])} pictures, {args.trials} trial(s), 95% intervals"
    note = f"DiffJSCC on AWGN, CBR {ratio}; {pictures}"
    _draw([first, *others], rows, infos, args.out / name, note)
    trained = header.get("trained_on", {})
    points = [
        _line(name, row, ratio) | {"trained_on": _was_loss(infos[row.metric], trained.get(row.scheme))}
        for row in rows
    ]
    made = {"figure": name, "note": note, "seconds": round(time.monotonic() - began, 1), "points": points}
    if others:
        records, rules = list(store.records()), header["scenario"]["statistics"]
        how = (("scheme", first), rules["confidence"], rules["resamples"])
        paired = [row for metric in infos for row in differences(records, metric, *how)]
        made |= {"against": first, "differences": [_line(name, row, ratio) for row in paired]}
    (args.out / f"{name}.json").write_text(json.dumps(made, indent=1))
    print(f"{args.out / name}.png, .pdf, .json: {made['seconds']:.0f} s", file=sys.stderr, flush=True)
    return points


def _line(name: str, row: Row, ratio: str) -> dict[str, Any]:
    own = {key: getattr(row, key) for key in ("scheme", "snr_db", "metric", "mean", "ci_low", "ci_high")}
    return {"figure": name, "cbr": ratio, **own}


def _was_loss(info: MetricInfo, measures: Sequence[str] | None) -> bool | None:
    """Whether a metric was a loss of a network; None where its checkpoint does not say."""
    return None if measures is None else info.was_loss(measures)


def _draw(
    variants: Sequence[str], rows: Sequence[Row], infos: Mapping[str, MetricInfo], out: Path, note: str
) -> None:
    """A row per metric: a mark per variant and SNR, intervals as bars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    levels = sorted({row.snr_db for row in rows})
    size = (0.9 * len(variants) + 3.0, 2.2 * len(infos) + 1.4)
    sheet, grid = plt.subplots(len(infos), 1, figsize=size, squeeze=False, sharex=True)
    for axes, (metric, info) in zip(grid[:, 0], infos.items(), strict=True):
        for number, snr_db in enumerate(levels):
            shown = {r.scheme: r for r in rows if (r.metric, r.snr_db) == (metric, snr_db)}
            places = [i for i, v in enumerate(variants) if v in shown and np.isfinite(shown[v].mean)]
            kept = [shown[variants[i]] for i in places]
            ends = np.array([[r.mean - r.ci_low for r in kept], [r.ci_high - r.mean for r in kept]])
            axes.errorbar(
                [i + 0.12 * (number - (len(levels) - 1) / 2) for i in places],
                [r.mean for r in kept],
                yerr=np.where(np.isfinite(ends), ends.clip(0), 0),
                label=f"{snr_db:g} dB",
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle="none",
                markersize=5,
                elinewidth=0.8,
                capsize=2,
            )
        axes.set_ylabel(f"{info.axis}\n({info.better})", fontsize=9)
        axes.grid(alpha=0.3)
    grid[0, 0].legend(fontsize=8, ncols=len(levels))
    grid[-1, 0].set_xticks(range(len(variants)), variants, rotation=30, ha="right", fontsize=8)
    sheet.suptitle(note, fontsize=9)
    sheet.tight_layout()
    for suffix in ("png", "pdf"):
        sheet.savefig(out.with_name(f"{out.name}.{suffix}"), dpi=150)
    plt.close(sheet)
