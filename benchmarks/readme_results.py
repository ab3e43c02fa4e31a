"""Write figures and tables of docs/project/results.md from run folders, so that they are what the code gives.

    linksim simulate kodak-1-96 --set images.path=/where/kodak
    make demo
    python benchmarks/plot_ber_vs_snr.py --out docs/figures/ber_vs_snr > docs/figures/ber_vs_snr.jsonl
    python benchmarks/readme_results.py --kodak runs/kodak-1-96 --quickstart runs/quickstart
    python benchmarks/readme_results.py --separation runs/separation-kodak-1-24 runs/separation-kodak-1-96
    python benchmarks/readme_results.py --staircase runs/separation-staircase --ldpc ldpc.jsonl
    python benchmarks/readme_results.py --conformance conformance.jsonl

Each part of a document between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is replaced; parts whose run
is not given stay as they are. Prints one JSON line per table.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from linksim.report.figures import TRAINED, metric_figure, save_figure
from linksim.report.panels import plot_panel
from linksim.report.runs import load_rows, load_runs, metric_info, step_names, trained_schemes
from linksim.results.statistics import Row, error_interval
from linksim.results.store import ResultStore, RunFolderError
from linksim.scenario.schema import Scenario

ROOT = Path(__file__).resolve().parent.parent
FIGURES = Path("docs") / "figures"
DIGITS = {"psnr": 2, "ssim": 3, "ms_ssim": 3, "bler": 3, "ber": 4}


def table(store: ResultStore, metric: str, channel: str) -> str:
    """Markdown table of a metric: a row per scheme, a column per SNR, mean and interval."""
    rows = [r for r in load_rows(store) if r.metric == metric and r.channel == channel]
    points = sorted({r.snr_db for r in rows})
    digits = DIGITS.get(metric, 3)
    header = store.header()
    info = metric_info([header], metric)
    trained = trained_schemes(header, info)
    lines = [
        f"| {info.axis} | " + " | ".join(f"{snr:g} dB" for snr in points) + " |",
        "|---" * (len(points) + 1) + "|",
    ]
    steps = step_names(header)
    for scheme in dict.fromkeys(r.scheme for r in rows if r.scheme not in steps):
        own = {r.snr_db: r for r in rows if r.scheme == scheme}
        cells = []
        for snr in points:
            row = own[snr]
            half = (row.ci_high - row.ci_low) / 2
            cells.append(f"{row.mean:.{digits}f} ± {half:.{digits}f}")
        name = f"{scheme} {TRAINED}" if scheme in trained else scheme
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    failures = {r.scheme: r.num_failures for r in rows if r.num_failures}
    print(json.dumps({"metric": metric, "channel": channel, "failures": failures}))
    return "\n".join(lines)


def draw(store: ResultStore, metric: str, name: str, root: Path = ROOT) -> str:
    """A figure into docs/figures of ``root``; returns the path as the page of results writes it."""
    figure = metric_figure(load_runs([store.folder]), metric, x="snr_db")
    save_figure(figure, root / FIGURES / f"{name}.png")
    return f"../figures/{name}.png"


def panel(store: ResultStore, image: str, channel: str, name: str, root: Path = ROOT) -> str:
    """A picture panel into docs/figures, as JPEG: photographs do not need to be lossless on a page."""
    path = root / FIGURES / f"{name}.png"
    save_figure(plot_panel(store, image, channel), path)
    with Image.open(path) as picture:
        picture.convert("RGB").save(path.with_suffix(".jpg"), quality=88)
    path.unlink()
    return f"../figures/{name}.jpg"


def facts(store: ResultStore) -> str:
    """One line: pictures, trials, intervals."""
    header = store.header()
    scenario = header["scenario"]
    confidence = round(100 * scenario["statistics"]["confidence"])
    images, trials = len(header["images"]), scenario["sweep"]["trials"]
    return (
        f"{images} pictures, {trials} channel realisation(s) each; ± is half of the {confidence}% bootstrap "
        f"interval over pictures. {TRAINED} marks networks that were trained on the measure shown."
    )


def current(folder: Path) -> ResultStore:
    """A run folder that was made with the weights and tables that are installed.

    Raises:
        RunFolderError: it was made with others.
    """
    store = ResultStore(folder)
    header = store.header()
    scenario = Scenario.model_validate(header["scenario"])
    now = {k: v for scheme in scenario.schemes for k, v in scheme.files().items()}
    old = sorted(name for name, digest in now.items() if header["files"].get(name) != digest)
    if old:
        raise RunFolderError(
            f"{folder}: got another {', '.join(old)}, expected the installed one. Run it again."
        )
    return store


def kodak(store: ResultStore, root: Path = ROOT) -> str:
    """The part of the page of results about Kodak."""
    psnr, lpips = (draw(store, m, f"kodak_1_96_{m}", root) for m in ("psnr", "lpips_squeeze"))
    return (
        f"| ![PSNR versus SNR]({psnr}) | ![LPIPS versus SNR]({lpips}) |\n|---|---|\n\n"
        f"{table(store, 'psnr', 'awgn')}\n{failed(load_rows(store), 'BPG + LDPC')}\n\n"
        f"{table(store, 'lpips_squeeze', 'awgn')}\n\n{facts(store)}"
    )


def failed(rows: Sequence[Row], scheme: str) -> str:
    """A table row: share of the frames of a scheme that showed a grey picture, by SNR; of none its limit."""
    own = sorted((r for r in rows if r.metric == "psnr" and r.scheme == scheme), key=lambda r: r.snr_db)
    cells = []
    for row in own:
        sent = row.num_images * row.num_trials
        limit = error_interval(0, sent, 0.95)[1]
        cells.append(f"{100 * row.num_failures / sent:.1f}%" if row.num_failures else f"< {100 * limit:.1f}%")
    return f"| {scheme}, failed frames (none: 95% limit) | " + " | ".join(cells) + " |"


def separation(stores: list[ResultStore], root: Path = ROOT) -> str:
    """The part of the page of results about BPG + LDPC at two ratios."""
    parts = []
    for store in stores:
        ratio = store.header()["scenario"]["bandwidth"]["data_ratio"]
        name = f"separation_{ratio.replace('/', '_')}"
        psnr, lpips = (draw(store, m, f"{name}_{m}", root) for m in ("psnr", "lpips_squeeze"))
        parts.append(
            f"CBR {ratio}:\n\n"
            f"| ![PSNR versus SNR at CBR {ratio}]({psnr}) | ![LPIPS versus SNR at CBR {ratio}]({lpips}) |\n"
            f"|---|---|\n\n{table(store, 'psnr', 'awgn')}\n{failed(load_rows(store), 'BPG + LDPC')}\n\n"
            f"{table(store, 'lpips_squeeze', 'awgn')}"
        )
    return "\n\n".join([*parts, facts(stores[-1])])


def staircase(store: ResultStore, root: Path = ROOT) -> str:
    """The figure of docs/flat-curve.md."""
    path = draw(store, "psnr", "staircase_psnr", root).removeprefix("../")  # from a page of docs itself
    return f"![Steps of fixed MCS, the best of them at each SNR, and the adaptive scheme]({path})"


def rate(value: float, blocks: int) -> str:
    """A block error rate; without errors, the 95% upper bound 3 / blocks."""
    if value > 0:
        return f"{value:.2g}"
    unit = 10.0 ** (math.floor(math.log10(3 / blocks)) - 1)
    return f"< {math.ceil(3 / blocks / unit) * unit:.2g}"


def ldpc(path: Path) -> str:
    """The table of docs/separation.md from the output of benchmarks/ldpc_decoder.py."""
    lines = [
        "| k, n | Eb/N0 | blocks | BLER | Sionna, 20 iterations | Mbit/s | Sionna | speed-up |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for text in path.read_text().splitlines():
        p = json.loads(text)
        lines.append(
            f"| {p['k']}, {p['n']} | {p['ebno_db']:g} dB | {p['blocks']} | {rate(p['bler'], p['blocks'])} | "
            f"{rate(p['sionna_bler'], p['blocks'])} | "
            f"{p['mbit_per_s']:.1f} | {p['sionna_mbit_per_s']:.2f} | {p['speedup']:.0f} |"
        )
    return "\n".join(lines)


def _receiver(point: dict[str, Any]) -> str:
    """Name of a column: the estimator, and what is known of the noise."""
    if point["estimator"] == "perfect":
        return "perfect CSI"
    return f"{point['estimator']}, noise {point['noise']}"


def conformance(path: Path) -> tuple[str, str]:
    """Both tables of docs/conformance.md from the output of benchmarks/conformance_38104.py: SNR at 70% of
    the throughput, with what the rounded value leaves to the requirement; and throughput where it is asked.
    """
    points = [json.loads(line) for line in path.read_text().splitlines()]
    rows = list(dict.fromkeys((p["channel"], p["antennas"], p["required_db"]) for p in points))
    found = {(p["channel"], p["antennas"], _receiver(p)): p for p in points}
    receivers = list(dict.fromkeys(map(_receiver, points)))
    measured = [r for r in receivers if r.endswith("estimated")]
    names = [r.removesuffix(", noise estimated") for r in measured]
    needed = [
        f"| channel, antennas | required | {' | '.join(receivers)} |",
        "|---" * (len(receivers) + 2) + "|",
    ]
    reached = [f"| channel, antennas | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for channel, antennas, required in rows:
        snrs = [float(f"{found[channel, antennas, r]['snr_db']:.1f}") for r in receivers]
        cells = [f"{snr:.1f} ({required - snr:+.1f})" for snr in snrs]
        needed.append(f"| {channel}, {antennas} | {required:.1f} | {' | '.join(cells)} |")
        own = [found[channel, antennas, r] for r in measured]
        cells = [f"{p['throughput']:.0%} ({100 * p['ci'][0]:.0f} to {100 * p['ci'][1]:.0f})" for p in own]
        reached.append(f"| {channel}, {antennas} | {' | '.join(cells)} |")
    return "\n".join(needed), "\n".join(reached)


def quickstart(store: ResultStore, root: Path = ROOT) -> str:
    """The part of the page of results about the quickstart."""
    figure = draw(store, "psnr", "quickstart_psnr", root)
    pictures = panel(store, "coffee", "tdl-c ls", "quickstart_panel", root)
    return (
        f"![PSNR versus SNR on two channels]({figure})\n\n{facts(store)}\n\n"
        f"![Original and reconstructions]({pictures})"
    )


def fill(text: str, name: str, content: str) -> str:
    """Replace the marked part ``name`` of a document.

    Raises:
        RunFolderError: no such part.
    """
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(\n?<!-- end {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise RunFolderError(f"document: got no part {name}, expected <!-- begin {name} --> and its end.")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2].lstrip()}", text)


def main() -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kodak", type=Path, help="run folder of kodak-1-96")
    parser.add_argument("--quickstart", type=Path, help="run folder of quickstart")
    parser.add_argument(
        "--separation", type=Path, nargs=2, help="run folders of separation/kodak-1-24 and -96"
    )
    parser.add_argument("--staircase", type=Path, help="run folder of separation/staircase")
    parser.add_argument("--conformance", type=Path, help="output of benchmarks/conformance_38104.py")
    parser.add_argument("--ldpc", type=Path, help="output of benchmarks/ldpc_decoder.py")
    parser.add_argument("--documents", type=Path, default=ROOT, help="folder with docs to write to")
    args = parser.parse_args()
    root = args.documents
    docs = root / "docs"
    results = docs / "project" / "results.md"
    try:
        if args.kodak:
            update(results, "kodak", kodak(current(args.kodak), root))
        if args.quickstart:
            update(results, "quickstart", quickstart(current(args.quickstart), root))
        if args.separation:
            update(results, "separation", separation([current(f) for f in args.separation], root))
        if args.staircase:
            update(docs / "flat-curve.md", "staircase", staircase(current(args.staircase), root))
        if args.conformance:
            for name, content in zip(("results", "throughput"), conformance(args.conformance), strict=True):
                update(docs / "conformance.md", name, content)
        if args.ldpc:
            update(docs / "separation.md", "ldpc", ldpc(args.ldpc))
    except RunFolderError as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def update(path: Path, name: str, content: str) -> None:
    """Replace a marked part of a file."""
    path.write_text(fill(path.read_text(), name, content))


if __name__ == "__main__":
    raise SystemExit(main())
