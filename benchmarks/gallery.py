"""Make docs/gallery.md: every scenario of the library with its question and the figure of a reduced run.

    python benchmarks/gallery.py                      # all, half an hour on two cores
    python benchmarks/gallery.py --only mimo/alamouti
    python benchmarks/gallery.py --page               # only write the page again

Runs are kept in runs/gallery and resumed. Every figure says below it what was reduced. A scenario without a
figure stays in the list and says so. Prints one JSON line per scenario.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from readme_results import update

from linksim.cli.commands import main as linksim
from linksim.kinds.images import DrawnImagesSpec
from linksim.report import figures
from linksim.scenario.files import load_scenario, parse_overrides, scenario_dir
from linksim.scenario.schema import Scenario, SkimageImagesSpec

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "gallery"
RUNS = ROOT / "runs" / "gallery"
NAMES = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle", "camera", "hubble", "ihc")
SIDE = 256
PICTURES = f"images={{kind: skimage, names: [{', '.join(NAMES)}], crop: {SIDE}, multiple_of: 16}}"
MOST_TRIALS = 4
STOPPED = (130, 143)  # exit status of a run that was told to end: the gallery ends too
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
    "robustness": "Robustness",
    "tasks": "Tasks",
}


def files(theme: str) -> list[Path]:
    """Scenario files of a theme."""
    return sorted((scenario_dir() / theme).glob("*.yaml"))


def uncoded(scenario: Scenario) -> bool:
    """Whether only bit errors are of interest: such links are fast, and run as the file has them."""
    return all(scheme.kind == "uncoded" for scheme in scenario.schemes)


def overrides(path: Path) -> list[str]:
    """The reduced size of a scenario: eight pictures of 256 x 256, few realisations, no LPIPS or MS-SSIM."""
    scenario = load_scenario(str(path))
    if uncoded(scenario):
        return []
    if path.parent.name == "tasks":  # what is looked at decides
        return []
    metrics = [m for m in scenario.metrics if not m.startswith(("lpips", "ms_ssim"))]
    result = [PICTURES, f"metrics=[{', '.join(metrics)}]"]
    if scenario.sweep.trials > MOST_TRIALS:
        result.append(f"sweep.trials={MOST_TRIALS}")
    return result


def pictures(scenario: Scenario) -> str:
    """What a scenario looks at, in words."""
    images = scenario.images
    if isinstance(images, DrawnImagesSpec):
        return f"{images.count} pictures of {images.size[0]} x {images.size[1]}"
    count = f"{len(images.names)} pictures" if isinstance(images, SkimageImagesSpec) else "all pictures"
    return f"{count} of {images.crop[0]} x {images.crop[1]}" if images.crop else f"{count} of full size"


def caption(path: Path) -> str:
    """What a figure shows, and what was reduced for it."""
    full = load_scenario(str(path))
    shown = load_scenario(str(path), parse_overrides(overrides(path)))
    now, trials = pictures(shown), shown.sweep.trials
    realisations = f"{trials} channel realisation{'s' if trials > 1 else ''} each"
    if shown == full:
        return f"*As the file has it: {now}, {realisations}.*"
    usual = [pictures(full), f"{full.sweep.trials} realisations"]
    return f"*Reduced: {now}, {realisations} (the file: {', '.join(usual)}).*"


def shown(path: Path, names: list[str]) -> str:
    """The metric of a scenario's figure: bit errors of uncoded links, the first one of tasks, else PSNR."""
    return names[0] if names[0] == "ber" or path.parent.name == "tasks" else "psnr"


def stem(path: Path) -> Path:
    """Of the figures of a scenario."""
    return FIGURES / f"{path.parent.name}-{path.stem}"


def make(path: Path, runs: Path = RUNS, *, draw: bool = True) -> dict[str, Any]:
    """Run a scenario in small and draw its figures: the metric, and differences where the file wants them."""
    began = time.monotonic()
    folder = runs / path.parent.name / path.stem
    arguments = ["simulate", str(path), "--out", str(folder), "--no-report"]
    for pair in overrides(path):
        arguments += ["--set", pair]
    code = linksim(arguments)
    line: dict[str, Any] = {"scenario": f"{path.parent.name}/{path.stem}", "exit": code}
    if code == 0 and draw:
        [run] = figures.load_runs([folder])
        metric = shown(path, list(run.header["scenario"]["metrics"]))
        FIGURES.mkdir(parents=True, exist_ok=True)
        figures.save_figure(figures.metric_figure([run], metric), stem(path).with_suffix(".png"))
        if run.header["scenario"]["statistics"]["against"]:
            difference = figures.difference_figure(run, metric)
            figures.save_figure(difference, stem(path).with_name(f"{stem(path).name}-difference.png"))
        line |= {"metric": metric, "units": run.header["num_units"]}
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
            drawn = [stem(path).with_suffix(".png"), FIGURES / f"{stem(path).name}-difference.png"]
            if not drawn[0].is_file():
                parts.append("No figure yet: run `python benchmarks/gallery.py` where it can be simulated.\n")
                continue
            texts = (scenario.question, "Paired differences on the same pictures, fades and noise")
            for text, picture in zip(texts, drawn, strict=True):
                if picture.is_file():
                    parts.append(f"![{text}](gallery/{picture.name})\n")
            parts.append(f"{caption(path)}\n")
    return "\n".join(parts).rstrip()


def index() -> str:
    """The table of all scenarios: a row per theme."""
    lines = ["| theme | scenarios |", "|---|---|"]
    for theme, title in THEMES.items():
        names = ", ".join(f"[`{p.stem}`](../scenarios/{theme}/{p.name})" for p in files(theme))
        lines.append(f"| {title} | {names} |")
    return "\n".join(lines)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", help="theme/name of some scenarios")
    parser.add_argument("--page", action="store_true", help="run nothing")
    parser.add_argument("--runs", type=Path, help="leave runs there, draw no figure, write no page")
    args = parser.parse_args()
    failed = 0
    for path in [] if args.page else [p for theme in THEMES for p in files(theme)]:
        if args.only is None or f"{path.parent.name}/{path.stem}" in args.only:
            line = make(path, args.runs or RUNS, draw=args.runs is None)
            failed += line["exit"] != 0
            print(json.dumps(line), flush=True)
            if line["exit"] in STOPPED:
                return line["exit"]
    if args.runs is None:
        update(ROOT / "docs" / "gallery.md", "gallery", page())
        update(ROOT / "docs" / "gallery.md", "scenarios", index())
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
