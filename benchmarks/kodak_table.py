"""The learned link against BPG + LDPC on Kodak: every figure that README and model cards claim, by a command.

    python benchmarks/kodak_table.py --images KODAK [--out runs] [--workers N] [--set PATH=VALUE]...

Runs (or resumes) the scenarios learned/kodak-rates, -diffusion, -separation, -fading and -told-snr, prints
the tables as Markdown on stderr and one JSON line per value on stdout: ``kind`` (learned or separation),
``scheme``,
``channel``, ``cbr``, ``snr_db``, ``metric``, ``mean``, ``ci_low``, ``ci_high`` (95%, clustered by picture),
``trained_on``; and at the end one line per goal: ``goal``, ``got``, ``ci_low``, ``ci_high``, ``wanted``,
``met``. Separation stands at its best for each metric. The intervals of goals are of differences (of LPIPS:
of the ratio) on the same pictures, 95% over pictures; ``met`` is what the mean says. ``--write`` puts the
tables into docs/dials.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

if not __package__:  # run as a file: neighbours are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.kodak_goals import Place, Table, Value, goals
from channels.flat.awgn import AwgnChannel
from linksim.api.display import was_trained
from linksim.build.objects import build_scheme, load_codec
from linksim.cli.commands import main as linksim
from linksim.link import run_link
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.report.runs import load_rows
from linksim.results.store import ResultStore
from linksim.scenario.schema import AwgnSpec, JsccSpec, LatentDiffusionSpec

RATES = ("kodak-rates", "kodak-diffusion", "kodak-separation")  # the same pictures and noise
SCENARIOS = (*RATES, "kodak-fading", "kodak-told-snr")
LEARNED = ("jscc", "latent_diffusion")
SHOWN = ("psnr", "ms_ssim", "lpips_squeeze", "haarpsi", "swd", "niqe", "spectrum_db", "kid_lite2")
RATIO = "bandwidth.data_ratio"
ARROWS = {True: "↑", False: "↓", None: "→ 0"}
ROOT = Path(__file__).resolve().parent.parent


def facts(store: ResultStore) -> dict[str, MetricInfo]:
    """Label, unit and direction of the metrics of a run."""
    return {name: read_facts(name, found) for name, found in store.header()["metrics"].items()}


def values(store: ResultStore) -> Iterator[Value]:
    """Every row of a run."""
    header, infos = store.header(), facts(store)
    kinds = {s["name"]: s["kind"] for s in header["scenario"]["schemes"]}
    ratio = str(header["scenario"]["bandwidth"]["data_ratio"])
    for row in load_rows(store):
        kind = "learned" if kinds[row.scheme] in LEARNED else "separation"
        cbr = str(dict(row.point).get(RATIO, ratio))
        seen = was_trained(row, infos, header)
        interval = (row.mean, row.ci_low, row.ci_high)
        yield Value(kind, row.scheme, row.channel, cbr, row.snr_db, row.metric, *interval, seen)


def by_picture(store: ResultStore) -> dict[Place, dict[str, float]]:
    """Mean over the trials of every picture, for metrics of single pictures."""
    ratio = str(store.header()["scenario"]["bandwidth"]["data_ratio"])
    found: dict[Place, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in {r.key: r for r in store.records()}.values():
        key = record.key
        cbr = str(dict(key.point).get(RATIO, ratio))
        for metric, value in record.values.items():
            found[key.scheme, key.channel, cbr, key.snr_db, metric][key.image].append(value)
    return {place: {i: float(np.mean(v)) for i, v in images.items()} for place, images in found.items()}


def markdown(table: Table, cbr: str, snr_db: float, infos: Mapping[str, MetricInfo]) -> str:
    """A row per scheme, a column per measure."""
    own = [v for v in table.values if (v.cbr, v.snr_db, v.channel) == (cbr, snr_db, "awgn")]
    schemes = list(dict.fromkeys(v.scheme for v in own))
    shown = [m for m in SHOWN if m in infos]
    heads = [f"{infos[m].axis} {ARROWS[infos[m].higher_is_better]}" for m in shown]
    lines = [f"| CBR {cbr}, {snr_db:g} dB | " + " | ".join(heads) + " |", "|---" * (len(shown) + 1) + "|"]
    for scheme in schemes:
        cells = []
        for metric in shown:
            found = [v for v in own if (v.scheme, v.metric) == (scheme, metric)]
            cells.append(_cell(found[0]) if found else "")
        lines.append(f"| {scheme} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Value) -> str:
    digits = {"psnr": 2, "niqe": 2, "spectrum_db": 1}.get(value.metric, 3)
    half = (value.ci_high - value.ci_low) / 2
    return f"{value.mean:.{digits}f} ± {half:.{digits}f}{'†' if value.trained_on else ''}"


def seconds_per_picture(repeats: int = 3) -> dict[str, float]:
    """Time of encoding and decoding one picture of 768 x 512 on the CPU, by scheme [s]."""
    specs = [
        JsccSpec(kind="jscc", name="realism", checkpoint="dial", realism=1.0),
        LatentDiffusionSpec(kind="latent_diffusion", name="diffusion", checkpoint="dial-denoiser", steps=4),
    ]
    image, snr = torch.rand(1, 3, 512, 768), torch.tensor([5.0])
    budget = int(Fraction(1, 96) * 3 * 512 * 768)
    found = {}
    for spec in specs:
        scheme = build_scheme(spec, AwgnSpec(kind="awgn"), torch.device("cpu"))
        times = []
        with torch.no_grad():
            for _ in range(repeats + 1):
                begun = time.perf_counter()
                run_link(scheme, AwgnChannel(), image, snr, [1], budget)
                times.append(time.perf_counter() - begun)
        found[spec.name] = min(times[1:])
    return found


def document(rates: Table, fading: Table, told: Table, infos: Mapping[str, MetricInfo]) -> str:
    """The tables as Markdown."""
    places = (("1/384", 1), ("1/384", 10), ("1/96", 1), ("1/96", 4), ("1/96", 10), ("1/24", 1), ("1/24", 10))
    run = {(v.cbr, v.snr_db) for v in rates.values}
    parts = [markdown(rates, cbr, snr, infos) for cbr, snr in places if (cbr, snr) in run]
    for table, metric in ((fading, "psnr"), (fading, "lpips_squeeze"), (told, "psnr")):
        if table.values:
            parts.append(across(table, metric, infos[metric].axis))
    parts.append("24 pictures; ± is half of the 95% interval over pictures; † was a loss in training.")
    return "\n\n".join(parts)


def across(table: Table, metric: str, axis: str) -> str:
    """A row per scheme, a column per channel and SNR."""
    own = [v for v in table.values if v.metric == metric]
    places = list(dict.fromkeys((v.channel, v.snr_db) for v in own))
    lines = [
        f"| {axis}, CBR 1/96 | " + " | ".join(f"{c}, {s:g} dB" for c, s in places) + " |",
        "|---" * (len(places) + 1) + "|",
    ]
    for scheme in dict.fromkeys(v.scheme for v in own):
        cells = [_cell(v) for p in places for v in own if v.scheme == scheme and (v.channel, v.snr_db) == p]
        lines.append(f"| {scheme} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(text: str, document: Path) -> None:
    """Put the tables into docs/dials.md between their marks."""
    whole = document.read_text()
    begin, end = "<!-- begin kodak -->\n", "<!-- end kodak -->"
    head, rest = whole.split(begin)
    document.write_text(f"{head}{begin}{text}\n{end}{rest.split(end)[1]}")


def main() -> int:
    """Run, print, compare with the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of the 24 Kodak pictures")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the run folders are")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="PATH=VALUE", help="of the rates"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that run units; results are the same"
    )
    parser.add_argument("--skip", nargs="*", default=[], choices=SCENARIOS[len(RATES) :], help="not run")
    parser.add_argument("--write", action="store_true", help="also write the tables into docs/dials.md")
    parser.add_argument("--documents", type=Path, default=ROOT, help="where docs/dials.md is written")
    args = parser.parse_args()
    load_codec("dial")
    tables: dict[str, Table] = {}
    infos: dict[str, MetricInfo] = {}
    for name in SCENARIOS:
        tables[name] = Table([])
        if name in args.skip:
            continue
        folder = args.out / name
        overrides = args.overrides if name in RATES else []
        words = [w for pair in (f"images.path={args.images}", *overrides) for w in ("--set", pair)]
        workers = ["--workers", str(args.workers)] if args.workers > 1 else []
        code = linksim(["simulate", f"learned/{name}", "--out", str(folder), *workers, *words])
        if code:
            return code
        store = ResultStore(folder)
        tables[name] = Table(list(values(store)), by_picture(store))
        infos = {**facts(store), **infos}
        for value in tables[name].values:
            print(json.dumps(vars(value)))
    rates = Table(
        [value for name in RATES for value in tables[name].values],
        {place: images for name in RATES for place, images in tables[name].pictures.items()},
    )
    ordered = (rates, tables["kodak-fading"], tables["kodak-told-snr"])
    text = document(*ordered, infos)
    print(text, file=sys.stderr)
    reached = list(goals(*ordered))
    for goal in reached:
        print(json.dumps(goal.facts()))
    for scheme, seconds in seconds_per_picture().items():
        print(
            json.dumps(
                {
                    "scheme": scheme,
                    "seconds_per_768x512": round(seconds, 2),
                    "threads": torch.get_num_threads(),
                }
            )
        )
    if args.write:
        write(text, args.documents / "docs" / "dials.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
