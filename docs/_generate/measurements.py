"""Benchmark pages, from the JSON that scripts in benchmarks/ print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["pages"]

FOLDER = Path(__file__).resolve().parents[1] / "measurements"


def pages() -> dict[str, str]:
    """Markdown by the name of the page."""
    found = json.loads((FOLDER / "neighbours.json").read_text(encoding="utf-8"))
    named = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    parts = [
        "# Side by side", "",
        f"`benchmarks/neighbours.py`, in one process on the same symbols and fades: {named}; {found['machine']}, on a machine with",
        "other work, so that times say factors, not seconds.", "",
        "## What 10 dB are", "",
        "Bit error rate of uncoded QPSK with known gains, each package at its own argument for an SNR of 10 dB. Frames of 256 symbols",
        "are sent one by one, each with a Rayleigh fade of its own; the closed form is that of E|h|² = 1.", "",
        *_error_rates(found["error_rates"]), "",
        "## Demapping 64-QAM at 15 dB", "",
        "Each package is given the noise variance of a complex symbol. The error is the largest one against exact LLRs in double precision.", "",
        *_table(found["demapping"], {
            "package": "package", "seconds": "time per 2^19 symbols [s]", "largest_error": "largest error", "factor": "LLRs are larger by a factor of",
        }), "",
        "## 2^20 symbols through AWGN", "",
        "linksim draws the noise of each of the 4096 frames from its own seed, so that it depends on no other.", "",
        *_table(found["channel"], {"package": "package", "seconds": "time [s]"}), "",
    ]  # fmt: skip
    return {"side-by-side": "\n".join(parts)}


def _error_rates(rows: list[dict[str, Any]]) -> list[str]:
    places = list(dict.fromkeys(row["channel"] for row in rows))
    lines = [f"| | {' | '.join(places)} |", "|---|" + "---|" * len(places)]
    theory = {row["channel"]: row["theory"] for row in rows}
    lines.append(f"| closed form | {' | '.join(f'{theory[p]:.2e}' for p in places)} |")
    for package in dict.fromkeys(row["package"] for row in rows):
        own = {row["channel"]: row["ber"] for row in rows if row["package"] == package}
        lines.append(f"| {package} | {' | '.join(f'{own[p]:.2e}' for p in places)} |")
    return lines


def _table(rows: list[dict[str, Any]], columns: dict[str, str]) -> list[str]:
    lines = [f"| {' | '.join(columns.values())} |", "|---|" + "---|" * (len(columns) - 1)]
    for row in rows:
        cells = [value if isinstance(value := row[key], str) else f"{value:.2g}" for key in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
