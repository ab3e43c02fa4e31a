"""Make docs/gallery.md: every scenario of the library with its question and the figure of a reduced run.

    python benchmarks/gallery.py                      # all, a quarter of an hour on two cores
    python benchmarks/gallery.py --only mimo/alamouti
    python benchmarks/gallery.py --page               # only write the page and the README's table again

Runs are kept in runs/gallery and resumed. A scenario without a figure stays in the list and says so. Prints
one JSON line per scenario.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from readme_results import update

from linksim import figures
from linksim.cli import main as linksim
from linksim.results import ResultStore
from linksim.scenario_io import load_scenario, scenario_dir

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "gallery"
RUNS = ROOT / "runs" / "gallery"
PICTURES = "images={kind: skimage, names: [astronaut, coffee], crop: 256, multiple_of: 16}"
MOST_TRIALS = 2
THEMES = {
    "theory": "Checks against theory",
    "awgn": "AWGN",
    "fading": "Block fading",
    "ofdm": "OFDM",
    "mobility": "Motion",
    "mimo": "Antennas",
    "csi": "Channel state information",
    "impairments": "Imperfect radios",
    "38901": "Channel models of TR 38.901",
    "raytraced": "Ray tracing",
    "recorded": "Recorded channels",
    "paper": "Settings of papers",
}


def files(theme: str) -> list[Path]:
    """Scenario files of a theme."""
    return sorted((scenario_dir() / theme).glob("*.yaml"))


def overrides(path: Path) -> list[str]:
    """The reduced size of a scenario: two pictures of 256 x 256, few realisations, no LPIPS."""
    scenario = load_scenario(str(path))
    metrics = [m for m in scenario.metrics if not m.startswith(("lpips", "ms_ssim"))]
    result = [PICTURES, f"metrics=[{', '.join(metrics)}]"]
    if all(scheme.kind == "uncoded" for scheme in scenario.schemes):
        result = result[1:]
    if scenario.sweep.trials > MOST_TRIALS and scenario.name != "diversity":
        result.append(f"sweep.trials={MOST_TRIALS}")
    return result


def shown(store: ResultStore, names: list[str]) -> str:
    """The metric of a scenario's figure: bit errors of uncoded links, else PSNR."""
    return "ber" if names[0] == "ber" else "psnr"


def make(path: Path) -> dict[str, object]:
    """Run a scenario in small and draw its figure."""
    began = time.monotonic()
    folder = RUNS / path.parent.name / path.stem
    arguments = ["simulate", str(path), "--out", str(folder)]
    for pair in overrides(path):
        arguments += ["--set", pair]
    code = linksim(arguments)
    line: dict[str, object] = {"scenario": f"{path.parent.name}/{path.stem}", "exit": code}
    if code == 0:
        store = ResultStore(folder)
        header, rows = store.header(), figures.load_rows(store)
        metric = shown(store, list(header["scenario"]["metrics"]))
        info = figures.metric_info([header], metric)
        figure = figures.plot_metric(
            rows,
            info,
            x=figures.default_x(header),
            bounds=figures.bound_names(header),
            steps=figures.step_names(header),
            trained=figures.trained_schemes(header, info),
        )
        FIGURES.mkdir(parents=True, exist_ok=True)
        figures.save_figure(figure, FIGURES / f"{path.parent.name}-{path.stem}.png")
        line |= {"metric": metric, "units": header["num_units"]}
    return line | {"seconds": round(time.monotonic() - began, 1)}


def page() -> str:
    """docs/gallery.md between its markers."""
    parts = []
    for theme, title in THEMES.items():
        parts.append(f"## {title}\n")
        for path in files(theme):
            scenario = load_scenario(str(path))
            name = f"{theme}/{path.stem}"
            comment = [line[2:] for line in path.read_text().splitlines() if line.startswith("# ")]
            parts.append(
                f"### [`{name}`](../scenarios/{name}.yaml)\n\n**{scenario.question}** {' '.join(comment)}\n"
            )
            picture = FIGURES / f"{theme}-{path.stem}.png"
            if picture.is_file():
                parts.append(f"![{scenario.question}](gallery/{picture.name})\n")
            else:
                parts.append("No figure yet: run `python benchmarks/gallery.py` where it can be simulated.\n")
    return "\n".join(parts).rstrip()


def index() -> str:
    """The README's table: a row per theme."""
    lines = ["| theme | scenarios |", "|---|---|"]
    for theme, title in THEMES.items():
        names = ", ".join(f"[`{p.stem}`](scenarios/{theme}/{p.name})" for p in files(theme))
        lines.append(f"| {title} | {names} |")
    return "\n".join(lines)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", help="theme/name of some scenarios")
    parser.add_argument("--page", action="store_true", help="run nothing")
    args = parser.parse_args()
    failed = 0
    for path in [] if args.page else [p for theme in THEMES for p in files(theme)]:
        if args.only is None or f"{path.parent.name}/{path.stem}" in args.only:
            line = make(path)
            failed += line["exit"] != 0
            print(json.dumps(line), flush=True)
    update(ROOT / "docs" / "gallery.md", "gallery", page())
    update(ROOT / "README.md", "scenarios", index())
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
