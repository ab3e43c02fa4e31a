"""Write the table of docs/robustness.md from the runs of the gallery.

    python benchmarks/gallery.py --only robustness/told-snr csi/csi-quality mobility/speed \
      robustness/delay-spread impairments/clipping impairments/converter-bits
    python benchmarks/robustness_table.py

A row for what is made worse: how much PSNR each scheme loses to it (paired differences on the same pictures,
fades and noise), and how many pictures of it do not arrive. Prints one JSON line per scheme.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from readme_results import update

from linksim.results.paired import differences
from linksim.results.records import Record
from linksim.results.store import ResultStore

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "runs" / "gallery"


class Study(NamedTuple):
    """What a scenario makes worse, from a value of a swept field to others."""

    what: str
    scenario: str
    field: str
    good: float | str
    worse: tuple[float | str, ...]
    unit: str
    learned: str
    separation: str
    snr_db: float
    scale: float = 1.0


LEAN, ADAPTIVE = "lean JSCC", "BPG + LDPC adaptive"
OFFSET, BITS = "channel.told.transmitter.offset_db", "channel.impairments.0.bits"
STUDIES = (
    Study("SNR told too low", "robustness/told-snr", OFFSET, 0.0, (-3.0, -6.0), "dB", "dial", ADAPTIVE, 7),
    Study(
        "SNR told too high", "robustness/told-snr", OFFSET, 0.0, (1.0, 3.0, 6.0), "dB", "dial", ADAPTIVE, 7
    ),
    Study("CSI", "csi/csi-quality", "channel.csi.kind", "perfect", ("lmmse", "ls"), "", LEAN, ADAPTIVE, 5),
    Study("speed", "mobility/speed", "channel.model.speed_mps", 1, (30, 80, 140), "m/s", LEAN, ADAPTIVE, 15),
    Study(
        *("delay spread, fixed MCS 14", "robustness/delay-spread", "channel.model.delay_spread_s", 0.5e-6),
        *((4e-6, 10e-6), "µs", "dial", "BPG + LDPC MCS 14", 20, 1e6),
    ),
    Study(
        *("clipping at a peak power of", "impairments/clipping", "channel.impairments.0.papr_db", 10.0),
        *((4.0, 2.0), "dB", LEAN, ADAPTIVE, 20),
    ),
    Study("bits of the converter", "impairments/converter-bits", BITS, 8, (4, 3, 2), "", LEAN, ADAPTIVE, 20),
)


def records_of(study: Study, runs: Path) -> list[Record]:
    """Those of its SNR."""
    store = ResultStore(runs / study.scenario)
    return [r for r in store.records() if r.key.snr_db == study.snr_db]


def cell(study: Study, scheme: str, records: list[Record], value: float | str) -> str:
    """What a scheme loses at a value, and what does not arrive."""
    own = [r for r in records if r.key.scheme == scheme]
    rows = differences(own, "psnr", (study.field, study.good), 0.95, 2000)
    [row] = [row for row in rows if dict(row.point)[study.field] == value]
    frames = row.num_failures + row.num_arrived
    lost = f", {row.num_failures} of {frames} lost" if row.num_failures else ""
    line = {"what": study.what, "scheme": scheme, "value": value, "psnr": round(row.mean, 3)}
    print(json.dumps(line | {"low": round(row.ci_low, 3), "high": round(row.ci_high, 3)}), flush=True)
    if row.ci_low == row.ci_high:  # of a decibel nothing follows where none differed
        return f"{row.mean:+.2f} (the same in all {frames} frames){lost}"
    return f"{row.mean:+.2f} ({row.ci_low:+.2f} to {row.ci_high:+.2f}){lost}"


def shown(study: Study, value: float | str) -> str:
    """A value with its unit."""
    text = value if isinstance(value, str) else f"{value * study.scale:g}"
    return f"{text} {study.unit}".strip()


def table(runs: Path) -> str:
    """The rows of all studies."""
    lines = ["| what is worse | from → to | learned link | BPG + LDPC | SNR |", "|---|---|---|---|---|"]
    for study in STUDIES:
        records = records_of(study, runs)
        reference = [r for r in records if dict(r.key.point)[study.field] == study.good]
        before = {
            s: sum(r.state != "ok" for r in reference if r.key.scheme == s)
            for s in (study.learned, study.separation)
        }
        for value in study.worse:
            cells = [cell(study, scheme, records, value) for scheme in (study.learned, study.separation)]
            if before[study.separation]:
                cells[1] += f" (before: {before[study.separation]})"
            name = f"[{study.what}](../scenarios/{study.scenario}.yaml)"
            step = f"{shown(study, study.good)} → {shown(study, value)}"
            lines.append(f"| {name} | {step} | {cells[0]} | {cells[1]} | {study.snr_db:g} dB |")
    return "\n".join(lines)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS, help="where benchmarks/gallery.py left them")
    parser.add_argument("--documents", type=Path, default=ROOT, help="folder with docs/robustness.md")
    args = parser.parse_args()
    update(args.documents / "docs" / "robustness.md", "robustness", table(args.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
