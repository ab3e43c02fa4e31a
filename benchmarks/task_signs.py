"""What becomes of signs, one by one, in a run of scenarios/tasks/text.yaml that keeps all its pictures.

    linksim simulate tasks/text --set images.count=32 --set panel.images=32 --out runs/text
    python benchmarks/task_signs.py runs/text

Writes docs/figures/ocr_signs.png, and docs/figures/ocr_cer.png and ocr_confidently_wrong.png where the run
has measured them. Prints a JSON line of the originals, the best that the reader can do, and one per scheme
and SNR: signs that are read right, wrong with confidence, wrong without, and not at all; how many are read
with confidence, right or wrong; and some of the wrong ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np

import linksim
from linksim.images.truth import TextTruth
from linksim.metrics.tasks.text import CONFIDENT, bare, on_line, read
from linksim.report import figures
from linksim.report.options import FigureOptions
from linksim.results.store import ResultStore
from linksim.run.replaying import plan_of

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
FATES = {"right": "#1b7837", "unread": "#cccccc", "wrong, unsure": "#f4a582", "confidently wrong": "#b2182b"}


def fate(text: str, confidence: float, true: str) -> str:
    """What became of a sign."""
    if text == true:
        return "right"
    if not text:
        return "unread"
    return "confidently wrong" if confidence >= CONFIDENT else "wrong, unsure"


def count(
    pictures: Iterable[np.ndarray], truths: Iterable[TextTruth]
) -> tuple[Counter[str], list[list[str]]]:
    """Signs on pictures [H, W, 3] uint8 by their fate; what stood and what was read where a reader is sure
    and wrong.
    """
    found: Counter[str] = Counter()
    wrong = []
    for picture, truth in zip(pictures, truths, strict=True):
        readings = read(picture)
        for line in truth.lines:
            text, confidence = on_line(readings, line)
            what = fate(text, confidence, bare(line.text))
            found[what] += 1
            found["confident"] += confidence >= CONFIDENT
            if what == "confidently wrong":
                wrong.append([line.text, text])
    return found, wrong


def shown(run: linksim.Run, scheme: str, snr_db: float, expected: int) -> list[np.ndarray]:
    """Pictures [H, W, 3] that a run keeps of a point: all of them."""
    kept = run.images(scheme=scheme, snr_db=snr_db)
    if len(kept) != expected:
        raise SystemExit(f"{run.folder}: keeps {len(kept)} of {expected} pictures at {snr_db:g} dB")
    return [picture.tensor().permute(1, 2, 0).numpy() for picture in kept]


def say(of: dict[str, object], counts: Counter[str], wrong: list[list[str]]) -> None:
    """Print what was counted."""
    print(json.dumps({**of, **counts, "such as": wrong[:6]}), flush=True)


def draw(counts: dict[tuple[str, float], Counter[str]], folder: Path) -> None:
    """Stacked bars of the fates, a field for each scheme."""
    from matplotlib import pyplot as plt

    schemes = list(dict.fromkeys(scheme for scheme, _ in counts))
    points = list(dict.fromkeys(snr_db for _, snr_db in counts))
    figure, fields = plt.subplots(1, len(schemes), figsize=(10, 3.6), sharey=True, layout="constrained")
    for axes, scheme in zip(fields, schemes, strict=True):
        base = [0.0] * len(points)
        for what, colour in FATES.items():
            total = [sum(counts[scheme, p][one] for one in FATES) for p in points]
            share = [100 * counts[scheme, p][what] / n for p, n in zip(points, total, strict=True)]
            axes.bar([f"{p:g}" for p in points], share, bottom=base, color=colour, label=what)
            base = [a + b for a, b in zip(base, share, strict=True)]
        axes.set(title=scheme, xlabel="SNR = Es/N0 per data use [dB]")
    fields[0].set_ylabel("share of signs [%]")
    figure.legend(*fields[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(folder / "ocr_signs.png", dpi=120)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="folder of the figures")
    args = parser.parse_args()
    run = linksim.open_run(args.run)
    mpl.use("Agg")
    [drawn] = figures.load_runs([run.folder])
    for name, limits in (("ocr_cer", (0.0, 1.0)), ("ocr_confidently_wrong", (0.0, 0.25))):
        if name in run.header["metrics"]:
            figure = figures.metric_figure([drawn], name, options=FigureOptions(ylim=limits, title=""))
            figures.save_figure(figure, args.figures / f"{name}.png")
    plan = plan_of(ResultStore(run.folder))
    truths = [truth for truth in plan.truths.values() if isinstance(truth, TextTruth)]
    originals = [plan.images[name].permute(1, 2, 0).numpy() for name in plan.truths]
    say({"scheme": "originals", "snr_db": None}, *count(originals, truths))
    counts = {}
    for scheme in (s["name"] for s in run.header["scenario"]["schemes"]):
        for snr_db in run.header["scenario"]["sweep"]["snr_db"]:
            found = count(shown(run, scheme, snr_db, len(truths)), truths)
            counts[scheme, snr_db] = found[0]
            say({"scheme": scheme, "snr_db": snr_db}, *found)
    draw(counts, args.figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
