"""The figures of the DiffJSCC paper, remade: quality against CBR (its figure 4), against SNR (its figure 5).

    python benchmarks/paper_figures.py  # scikit-image's photographs, what is bundled
    python benchmarks/paper_figures.py --images KODAK --authors MODELS  # with the authors' checkpoints
    python benchmarks/paper_figures.py --channel ofdm                   # over OFDM, TDL-C, least-squares CSI
    python benchmarks/paper_figures.py --faces CELEBA --authors MODELS  # the CelebA points, too
    python benchmarks/paper_figures.py --only ablation-guidance --images KODAK --authors MODELS

Subjects: the bundled network with dials (fidelity, realism, diffusion of its latents), BPG + LDPC with link
adaptation, BPG at capacity; a learned codec behind LDPC where CompressAI and its weights are at hand
(``--codec``); DiffJSCC where the authors' checkpoints are: folders of MODELS named as their repositories, or
the cache of the Hugging Face hub. No model is downloaded: what is absent is named on stderr, with the command
that gets it; weights of metrics are, once.

Each figure is a run that can be stopped and resumed. The ablations need the authors' checkpoint at CBR 1/384,
see ablation_figures.py. Writes figure-4, figure-5, ablation-* (and celeba) as PNG, PDF and
JSON into --out, prints a JSON line per point: ``figure``, ``scheme``, ``cbr``, ``snr_db``, ``metric``,
``mean``, ``ci_low``, ``ci_high``, ``trained_on`` (null where a checkpoint does not say), and ``lost`` of
``frames``: pictures that did not arrive are in the means, as grey ones, and the figures say how many.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a file: neighbours are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import linksim
from benchmarks.ablation_figures import ABLATIONS, ablation, repository_of
from linksim.api.display import was_trained
from linksim.cli.output import finite
from linksim.demo import choices
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.report.drawing import COLOURS, MARKERS
from linksim.report.runs import load_rows
from linksim.results.statistics import Row
from linksim.results.store import ResultStore

RATES = ("1/384", "1/192", "1/96", "1/48", "1/24")
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
OPENIMAGE = {"1/384": "DiffJSCC-OpenImage-CBR-1-384", "1/96": "DiffJSCC-OpenImage-CBR-1-96"}
FACES = {"1/768": "DiffJSCC-CelebA-CBR-1-768", "1/192": "DiffJSCC-CelebA-CBR-1-192"}
OWNER = "Mingyuyang"
RATIO = "bandwidth.data_ratio"
WANTED = ("psnr", "ms_ssim", "lpips_alex", "lpips_squeeze", "fid", "kid_lite2", "haarpsi")
SEPARATION: list[dict[str, Any]] = [
    {
        "kind": "separation",
        "name": "BPG + LDPC",
        "source": {"codec": "bpg", "chroma": "420"},
        "mcs": "adaptive",
    },
    {"kind": "capacity_bound", "name": "BPG + capacity", "source": {"codec": "bpg", "chroma": "420"}},
]
BUNDLED: list[dict[str, Any]] = [
    {"kind": "jscc", "name": "fidelity", "checkpoint": "dial", "realism": 0.0},
    {"kind": "jscc", "name": "realism", "checkpoint": "dial", "realism": 1.0},
    {"kind": "latent_diffusion", "name": "diffusion", "checkpoint": "dial-denoiser", "steps": 4},
]
CHANNELS: dict[str, dict[str, Any]] = {  # the demo's, under linksim's own names
    name: {key: value for key, value in choices.CHANNELS[chosen].items() if key != "name"}
    for name, chosen in (("awgn", "AWGN"), ("ofdm", "OFDM TDL-C LS"))
}


@dataclass(frozen=True)
class Panel:
    """A column of a figure: what is fixed, and what the points lie over."""

    title: str
    x: str
    cbr: str | None = None
    snr_db: float | None = None

    def holds(self, point: Point) -> bool:
        """Whether a point belongs to it."""
        return point.cbr == self.cbr if self.cbr is not None else point.row.snr_db == self.snr_db

    def place(self, point: Point) -> float:
        """Where it stands on the axis."""
        return point.row.snr_db if self.x == "snr_db" else float(Fraction(point.cbr))


@dataclass(frozen=True)
class Point:
    """A mean with its interval (95%, clustered by picture), pictures that were lost in it, and whether the
    metric was a loss of the network (None: its checkpoint does not say).
    """

    figure: str
    cbr: str
    trained_on: bool | None
    row: Row

    @property
    def frames(self) -> int:
        """Pictures that were sent."""
        return self.row.num_failures + self.row.num_arrived

    def line(self) -> dict[str, Any]:
        """What is printed of it."""
        own = {key: getattr(self.row, key) for key in ("snr_db", "metric", "mean", "ci_low", "ci_high")}
        place = {"figure": self.figure, "scheme": self.row.scheme, "cbr": self.cbr}
        fate = {"lost": self.row.num_failures, "frames": self.frames}
        return {**place, **own, "trained_on": self.trained_on, **fate}


@dataclass(frozen=True)
class Figure:
    """A figure of the paper: SNRs, rates, and how its columns divide them."""

    name: str
    snr_db: tuple[float, ...]
    rates: tuple[str, ...]
    panels: tuple[Panel, ...]
    models: Mapping[str, str]
    bundled: bool = True


FIGURES = (
    Figure(
        "figure-4",
        (1.0, 10.0),
        RATES,
        tuple(Panel(f"{snr:g} dB", "cbr", snr_db=snr) for snr in (1.0, 10.0)),
        OPENIMAGE,
    ),
    Figure(
        "figure-5",
        SNR_DB,
        ("1/384", "1/96"),
        tuple(Panel(f"CBR {cbr}", "snr_db", cbr=cbr) for cbr in ("1/384", "1/96")),
        OPENIMAGE,
    ),
)
CELEBA = Figure(
    "celeba",
    (1.0, 4.0, 7.0, 10.0),
    tuple(FACES),
    tuple(Panel(f"CBR {cbr}", "snr_db", cbr=cbr) for cbr in FACES),
    FACES,
    bundled=False,
)


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------- what is at hand


def authors_folder(models: Path | None, name: str) -> Path | None:
    """Where a checkpoint of the authors lies: below ``models`` or in the cache of the hub; None: nowhere."""
    if models is not None and (models / name).is_dir():
        return (models / name).resolve()
    import huggingface_hub

    try:
        found = huggingface_hub.snapshot_download(f"{OWNER}/{name}", local_files_only=True)
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError):
        return None
    return Path(found)


def metrics_at_hand(asked: Sequence[str]) -> list[str]:
    """Those that can be measured here; of LPIPS one backbone is enough."""
    from linksim.build.objects import build_metrics

    kept: list[str] = []
    for name in asked:
        if name.startswith("lpips") and any(k.startswith("lpips") for k in kept):
            continue
        unavailable = build_metrics((name,)).unavailable
        if unavailable:
            say(f"not measured: {name}: {next(iter(unavailable.values()))}")
        else:
            kept.append(name)
    return kept


# ------------------------------------------------------------------------------------------- the runs


def scenario(
    figure: Figure, args: argparse.Namespace, schemes: list[dict[str, Any]], name: str
) -> dict[str, Any]:
    """One study of a figure, as a scenario file holds it."""
    pictures = args.faces if figure is CELEBA else args.images
    images = (
        {"kind": "skimage", "crop": args.crop, "multiple_of": 16}
        if pictures is None
        else {"kind": "folder", "path": str(Path(pictures).resolve()), "multiple_of": 16}
    )
    return {
        "schema_version": 1,
        "name": name,
        "question": f"{figure.name} of the DiffJSCC paper with linksim's subjects?",
        "seed": 2404,
        "images": images,
        "bandwidth": {"data_ratio": figure.rates[0]},
        "channel": CHANNELS[args.channel],
        "sweep": {"snr_db": list(figure.snr_db), "trials": args.trials, RATIO: list(figure.rates)},
        "schemes": schemes,
        "metrics": args.metrics,
        "panel": {"images": 1, "snr_db": [figure.snr_db[0]]},
    }


def studies(figure: Figure, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The scenarios of a figure: one of what serves all rates, one of each checkpoint for one rate."""
    schemes = [*(BUNDLED if figure.bundled else []), *SEPARATION]
    if args.codec:
        source = {
            "codec": "compressai",
            "architecture": args.codec,
            "weights": [str(p) for p in args.codec_weights],
        }
        learned = {
            "kind": "separation",
            "name": f"{args.codec} + LDPC",
            "source": source,
            "policy": "target_bler",
        }
        schemes.append({**learned, "target_bler": 0.01})
    yield scenario(figure, args, schemes, figure.name)
    for cbr, repository in figure.models.items():
        folder = authors_folder(args.authors, repository)
        if folder is None:
            target = args.authors or Path("MODELS")
            say(
                f"{figure.name}: no DiffJSCC at {cbr}: get it with: hf download {OWNER}/{repository} "
                f"--local-dir {target / repository}; then --authors {target}"
            )
            continue
        model = {"checkpoint": str(folder)}
        own = [
            {"kind": "diffjscc", "name": "DiffJSCC", "steps": args.steps, "caption": args.caption, **model},
            {"kind": "jscc", "name": "its JSCC stage", **model},
        ]
        yield scenario(replace(figure, rates=(cbr,)), args, own, f"{figure.name}-{repository}")


def points(figure: Figure, store: ResultStore) -> Iterator[Point]:
    """What a run has measured."""
    header = store.header()
    infos = {name: read_facts(name, found) for name, found in header["metrics"].items()}
    only = str(header["scenario"]["bandwidth"]["data_ratio"])
    for row in load_rows(store):
        known = header.get("trained_on", {}).get(row.scheme, ()) is not None  # none of what is no network
        seen = was_trained(row, infos, header) if known else None
        yield Point(figure.name, str(dict(row.point).get(RATIO, only)), seen, row)


def remarks(found: Sequence[Point]) -> str:
    """What a reader of the figure must know of its points."""
    lost: dict[str, Point] = {}
    for point in found:
        before = lost.get(point.row.scheme)
        if point.row.num_failures > (before.row.num_failures if before else 0):
            lost[point.row.scheme] = point
    most = [
        f"{name} {p.row.num_failures} of {p.frames} (CBR {p.cbr}, {p.row.snr_db:g} dB)"
        for name, p in lost.items()
    ]
    unknown = ", half hollow: not known" if any(p.trained_on is None for p in found) else ""
    return f"hollow: was a loss{unknown}" + (
        f"\nlost and in the means, at most: {'; '.join(most)}" if most else ""
    )


# ------------------------------------------------------------------------------------------- drawing


def draw(
    figure: Figure, found: Sequence[Point], infos: Mapping[str, MetricInfo], out: Path, note: str
) -> None:
    """A row per metric, a column per panel; intervals as bars; hollow marks where the metric was a loss."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    metrics = [name for name in infos if any(p.row.metric == name and np.isfinite(p.row.mean) for p in found)]
    schemes = list(dict.fromkeys(p.row.scheme for p in found))
    size = (4.6 * len(figure.panels), 2.5 * len(metrics) + 0.9)
    sheet, grid = plt.subplots(len(metrics), len(figure.panels), figsize=size, squeeze=False, sharex="col")
    for row, metric in zip(grid, metrics, strict=True):
        for axes, panel in zip(row, figure.panels, strict=True):
            for number, scheme in enumerate(schemes):
                own = [p for p in found if (p.row.scheme, p.row.metric) == (scheme, metric)]
                line = [p for p in own if panel.holds(p)]
                _draw_line(axes, panel, sorted(line, key=panel.place), scheme, number)
            _keep_means_in_view(
                axes, [p.row.mean for p in found if p.row.metric == metric and panel.holds(p)]
            )
            axes.grid(alpha=0.3)
            axes.set_title(panel.title if metric == metrics[0] else "", fontsize=10)
        row[0].set_ylabel(f"{infos[metric].axis}\n({infos[metric].better})", fontsize=9)
    for axes, panel in zip(grid[-1], figure.panels, strict=True):
        _label_x(axes, panel, figure)
    handles = {
        label: h for axes in grid.flat for h, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    sheet.legend(handles.values(), handles.keys(), loc="lower center", ncols=3, fontsize=8, frameon=False)
    sheet.suptitle(note, fontsize=9)
    sheet.tight_layout(rect=(0, 0.9 / size[1] * 0.75, 1, 1))
    for suffix in ("png", "pdf"):
        sheet.savefig(out / f"{figure.name}.{suffix}", dpi=150)
    plt.close(sheet)


def _draw_line(axes: Any, panel: Panel, line: Sequence[Point], scheme: str, number: int) -> None:
    rows = [p.row for p in line if np.isfinite(p.row.mean)]
    line = [p for p in line if np.isfinite(p.row.mean)]
    if not line:
        return
    x, mean = [panel.place(p) for p in line], np.array([r.mean for r in rows])
    ends = np.array([[r.mean - r.ci_low for r in rows], [r.ci_high - r.mean for r in rows]])
    look = {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 4,
    }
    if any(p.trained_on for p in line):
        look["markerfacecolor"] = "white"
    elif any(p.trained_on is None for p in line):
        look |= {"fillstyle": "left", "markerfacecoloralt": "white"}
    errors = np.where(np.isfinite(ends), ends.clip(0), 0)
    axes.errorbar(x, mean, yerr=errors, label=scheme, linewidth=1.2, elinewidth=0.7, capsize=2, **look)


def _keep_means_in_view(axes: Any, means: Sequence[float]) -> None:
    """As linksim's own figures: intervals of a few pictures would leave nothing of the curves."""
    finite = [mean for mean in means if np.isfinite(mean)]
    room, (bottom, top) = 0.5 * (max(finite, default=0) - min(finite, default=0)), axes.get_ylim()
    if room > 0:
        axes.set_ylim(max(bottom, min(finite) - room), min(top, max(finite) + room))


def _label_x(axes: Any, panel: Panel, figure: Figure) -> None:
    if panel.x == "snr_db":
        axes.set_xlabel("SNR, Es/N0 per data use [dB]")
        axes.set_xticks(figure.snr_db)
        return
    axes.set_xscale("log")
    axes.set_xlabel("CBR, data uses per colour value")
    axes.set_xticks([float(Fraction(cbr)) for cbr in figure.rates], figure.rates)
    axes.minorticks_off()


def make(figure: Figure, args: argparse.Namespace) -> list[Point]:
    """Run the studies of a figure, draw it, and say what it was made of."""
    began, found, infos, pictures = time.monotonic(), [], {}, 0
    for study in studies(figure, args):
        run = linksim.simulate(study, out=args.out / study["name"], limit=args.limit, workers=args.workers)
        store = ResultStore(run.folder)
        header = store.header()
        infos |= {
            name: read_facts(name, facts) for name, facts in header["metrics"].items() if name in args.metrics
        }
        found += [p for p in points(figure, store) if p.row.metric in args.metrics]
        pictures = max(pictures, len(header["images"]))
    channel = "AWGN" if args.channel == "awgn" else "OFDM, TDL-C 300 ns, 1 m/s, LS CSI"
    note = f"{channel}; {pictures} pictures, {args.trials} trial(s), 95% intervals; {remarks(found)}"
    draw(figure, found, infos, args.out, note)
    made = {"figure": figure.name, "note": note, "seconds": round(time.monotonic() - began, 1)}
    (args.out / f"{figure.name}.json").write_text(
        json.dumps(finite({**made, "points": [p.line() for p in found]}), indent=1)
    )
    say(f"{args.out / figure.name}.png, .pdf, .json: {made['seconds']:.0f} s")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Make the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=Path, help="folder of pictures, such as Kodak's; default scikit-image's"
    )
    parser.add_argument("--faces", type=Path, help="folder of CelebA-HQ at 512 x 512, for the CelebA points")
    parser.add_argument("--authors", type=Path, metavar="MODELS", help="folder with the authors' checkpoints")
    parser.add_argument("--steps", type=int, default=100, help="of DiffJSCC's sampler")
    parser.add_argument("--caption", default="blip2", help="of DiffJSCC; none: without")
    parser.add_argument("--codec", metavar="ARCHITECTURE", help="a learned codec of CompressAI behind LDPC")
    parser.add_argument(
        "--codec-weights", type=Path, nargs="*", default=[], help="its files; none: CompressAI's zoo"
    )
    parser.add_argument("--channel", choices=CHANNELS, default="awgn")
    parser.add_argument("--metrics", nargs="+", default=list(WANTED))
    parser.add_argument(
        "--only", choices=[*(f.name for f in FIGURES), *ABLATIONS], nargs="*", help="of the figures"
    )
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--limit", type=int, help="use the first so many pictures only")
    parser.add_argument(
        "--crop", type=int, nargs=2, default=[256, 384], metavar=("H", "W"), help="of its pictures"
    )
    parser.add_argument("--workers", type=int, help="processes that run units")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    args.metrics = metrics_at_hand(args.metrics)
    chosen = [f for f in FIGURES if args.only is None or f.name in args.only]
    for figure in [*chosen, *([CELEBA] if args.faces else [])]:
        for point in make(figure, args):
            print(json.dumps(finite(point.line())), flush=True)
    for name in (n for n in ABLATIONS if args.only is None or n in args.only):
        folder = authors_folder(args.authors, repository_of(name).removeprefix(f"{OWNER}/"))
        for line in ablation(name, args, folder):
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
