"""What all measures that can be had here say of the bundled networks and of BPG + LDPC on Kodak, CBR 1/96.

    python benchmarks/measures_table.py --images KODAK [--out runs/measures] [--limit N] [--write]

Runs (or resumes) the dial network at two realisms, the lean network and BPG + LDPC on AWGN at 1, 4 and 10 dB,
one channel realisation each, with those of the measures in ``SHOWN`` whose weights and packages are here;
nothing is downloaded. Prints one JSON line per value on stdout (``scheme``, ``snr_db``, ``metric``,
``scope``, ``mean``, ``ci_low``, ``ci_high``, ``trained_on``, ``reference``), tables as Markdown on stderr.
``--write`` puts the table of 4 dB into README.md and all of them into docs/definitions.md, of this tree or of
another folder.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import linksim
from linksim.api.results import results_dict
from linksim.build.downloads import missing_weights
from linksim.cli.output import finite
from linksim.results.store import ResultStore
from linksim.weights.needs import missing_modules

ROOT = Path(__file__).resolve().parent.parent
PLACES = {"README.md": (4.0,), "docs/definitions.md": (1.0, 4.0, 10.0)}
SHOWN = (
    *("psnr", "ssim", "ms_ssim", "lpips_squeeze", "haarpsi", "gmsd", "vif", "fsim", "flip", "spectrum_db"),
    *("swd", "swd_1", "swd_2", "swd_3", "swd_4", "niqe", "top1_agreement", "posterior_kl", "kid_lite2"),
)
NOT_IN_README = (
    "ssim",
    "gmsd",
    "vif",
    "fsim",
    "top1_agreement",
    *(f"swd_{octave}" for octave in range(1, 5)),
)
ARROWS = {True: "↑", False: "↓", None: "→ 0"}
SCENARIO: dict[str, Any] = {
    "schema_version": 1,
    "name": "kodak-measures",
    "question": "What do all measures say of the bundled networks and of BPG + LDPC at CBR 1/96?",
    "seed": 11,
    "bandwidth": {"data_ratio": "1/96"},
    "channel": {"kind": "awgn"},
    "sweep": {"snr_db": [1, 4, 10], "trials": 1},
    "schemes": [
        {"kind": "jscc", "name": "fidelity", "checkpoint": "dial", "realism": 0.0},
        {"kind": "jscc", "name": "realism", "checkpoint": "dial", "realism": 1.0},
        {"kind": "jscc", "name": "lean", "checkpoint": "lean-awgn-1-96"},
        {
            "kind": "separation",
            "name": "BPG + LDPC",
            "source": {"codec": "bpg", "chroma": "420"},
            "mcs": "adaptive",
        },
    ],
    "panel": {"images": 24, "snr_db": [1, 4, 10]},
}


def measures() -> list[str]:
    """The measures of ``SHOWN`` that can be had on this machine without a download."""
    return [n for n in SHOWN if not missing_weights((n,)) and not missing_modules(n)]


def table(found: Mapping[str, Any], snr_db: float, shown: Collection[str]) -> str:
    """A row per measure shown, a column per scheme."""
    rows = [row for row in found["rows"] if row["snr_db"] == snr_db]
    schemes = list(dict.fromkeys(row["scheme"] for row in rows))
    lines = [f"| {snr_db:g} dB | " + " | ".join(schemes) + " |", "|---" * (len(schemes) + 1) + "|"]
    for name, facts in found["metrics"].items():
        if name not in shown:
            continue
        unit = "" if facts["unit"] == "1" else f" [{facts['unit']}]"
        cells = [next(_cell(r) for r in rows if (r["scheme"], r["metric"]) == (s, name)) for s in schemes]
        of_set = ", set" if facts["scope"] == "set" else ""
        title = f"{facts['label']}{unit} {ARROWS[facts['higher_is_better']]}{of_set}"
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any]) -> str:
    low, high = row["ci_low"], row["ci_high"]
    known = not math.isnan(low)
    mark = "†" if row["trained_on"] else ""
    size = max(abs(row["mean"]), high - low if known else 0.0)
    digits = 1 if size >= 50 else 2 if size >= 5 else 3 if size >= 0.05 else 4
    interval = f" [{low:.{digits}f}, {high:.{digits}f}]" if known else ""
    return f"{row['mean']:.{digits}f}{mark}{interval}"


def text_of(
    found: Mapping[str, Any], pictures: int, snrs: tuple[float, ...], left_out: tuple[str, ...] = ()
) -> str:
    """Tables with what they are of."""
    shown = [name for name in found["metrics"] if name not in left_out]
    tables = "\n\n".join(table(found, snr, shown) for snr in snrs)
    facts = (
        f"{pictures} pictures, 1 channel realisation each; mean with 95% bootstrap interval over pictures; "
        '"set": one value of all pictures. † marks networks that were trained on the measure.'
    )
    return f"{tables}\n\n{facts}"


def write(path: Path, text: str) -> None:
    """Put tables into a document between their marks."""
    begin, end = "<!-- begin measures -->\n", "<!-- end measures -->"
    head, rest = path.read_text(encoding="utf-8").split(begin)
    path.write_text(f"{head}{begin}{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of the Kodak pictures")
    parser.add_argument("--out", type=Path, default=Path("runs/measures"), help="run folder")
    parser.add_argument("--limit", type=int, help="the first N pictures")
    parser.add_argument("--write", action="store_true", help="also write the tables into the documents")
    parser.add_argument(
        "--documents", type=Path, default=ROOT, metavar="FOLDER", help="where README.md and docs/ are"
    )
    args = parser.parse_args()
    images = {"kind": "folder", "path": str(args.images.absolute()), "multiple_of": 16}
    scenario = {**SCENARIO, "images": images, "metrics": measures()}
    run = linksim.simulate(scenario, out=args.out, limit=args.limit)
    found = results_dict(ResultStore(run.folder))
    pictures = len(run.header["images"])
    for row in found["rows"]:
        facts = found["metrics"][row["metric"]]
        kept = ("scheme", "snr_db", "metric", "mean", "ci_low", "ci_high", "trained_on")
        values = {**{key: row[key] for key in kept}, "scope": facts["scope"], "reference": facts["reference"]}
        print(json.dumps(finite(values)))  # intervals of a single picture are null
    print(text_of(found, pictures, PLACES["docs/definitions.md"]), file=sys.stderr)
    if args.write:
        for name, snrs in PLACES.items():
            left_out = NOT_IN_README if name == "README.md" else ()
            write(args.documents / name, text_of(found, pictures, snrs, left_out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
