"""The page: what stands in it without a script, the data for the scripts, and both in one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from linksim.report.interactive.answer import answers
from linksim.report.interactive.data import page_data
from linksim.report.interactive.facts import how_made, plot_command
from linksim.report.interactive.kept import page_pictures
from linksim.report.interactive.missing import missing
from linksim.report.interactive.names import Names, scheme_name
from linksim.report.interactive.units import page_units
from linksim.report.lines import TRAINED
from linksim.report.runs import Run

__all__ = ["LARGEST", "page"]

LARGEST = 3_000_000  # characters of a page beside its pictures
_UNITS = 1_200_000
_SCRIPTS = (
    "dom",
    "state",
    "shapes",
    "chart",
    "curves",
    "viewer",
    "pictures",
    "tables",
    "costs",
    "export",
    "main",
)


def page(runs: Sequence[Run]) -> str:
    """The whole page of some runs; the same runs give the same text.

    Args:
        runs: from :func:`linksim.report.runs.load_runs`.

    Raises:
        RunFolderError: records that cannot be read.
    """
    names = Names.of(runs)
    data, pictures = page_data(runs, names), page_pictures(runs, names)
    top = "".join(_top(run, len(runs) > 1) for run in runs)
    bottom = "".join(_bottom(run, len(runs) > 1) for run in runs)
    for metric in data["metrics"]:
        metric["pdf"] = plot_command(runs, metric["name"], metric["against"])
    room = LARGEST - len(top) - len(bottom) - len(_json(data)) - 200_000
    data |= {"units": page_units(runs, names, max(min(_UNITS, room), 0)), **names.described()}
    title = " · ".join(dict.fromkeys(run.header["name"] for run in runs))
    style, script = _asset("style.css"), _script()
    body = (
        f'<body><a class="skip" href="#curves">Skip to the curves</a>{top}{_SECTIONS}'
        f'<section id="how"><h2>How it was made</h2>{bottom}</section>'
        f'<p id="said" class="hidden" role="status" aria-live="polite"></p>'
        f'<script type="application/json" id="data">{_json(data)}</script>'
        f'<script type="application/json" id="kept">{_json(pictures)}</script>'
        f"<script>{script}</script></body>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">'
        f'<meta name="generator" content="linksim"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head>{body}</html>\n"
    )


_SECTIONS = """
<noscript><p class="note">Curves, pictures and tables of this page are drawn by a script, which this
browser does not run. results.csv and figures/ in the run folder have the same.</p></noscript>
<div id="bar" role="region" aria-label="What is shown"></div>
<main>
<section id="curves"><h2>Curves</h2></section>
<section id="pictures"><h2>Pictures</h2></section>
<section id="costs"><h2>What the channel uses are spent on</h2></section>
<section id="outage"><h2>Pictures that did not arrive</h2></section>
<section id="table"><h2>Results</h2></section>
<section id="units"><h2>Picture by picture</h2></section>
</main>
"""


def _top(run: Run, several: bool) -> str:
    """Question, answer, and what is missing."""
    header, found = run.header, answers(run)
    name, question = header["name"], header["scenario"].get("question", "")
    head = f"{run.name} · {name}" if several and run.name != name else name
    lacks = missing(run)
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in lacks)
    note = f'<div class="note" role="note"><h2>What is missing</h2><ul>{notes}</ul></div>' if lacks else ""
    told = "".join(
        f'<li><b class="scheme" data-scheme="{html.escape(scheme_name(run, a.scheme))}">'
        f"{html.escape(a.scheme)}</b>{f' {TRAINED}' if a.trained else ''} {_clauses(a.parts)}</li>"
        for a in found.schemes
    )
    return (
        f'<header class="run"><p class="name">{html.escape(head)}</p>'
        f'<h1>{html.escape(question or name)}</h1><p class="size">{html.escape(_size(run))}</p>{note}'
        f'<div class="answer"><h2>Answer</h2><p class="lead">{html.escape(found.lead)}</p>'
        f"<ul>{told}</ul></div>"
        f"</header>"
    )


def _clauses(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return f"<span>{html.escape(parts[0])}</span>"
    return "".join(f'<span class="clause">{html.escape(part)}</span>' for part in parts)


def _size(run: Run) -> str:
    header, done = run.header, len(run.records)
    counts = {
        "picture": len(header["images"]),
        "channel": len(header["scenario"]["channels"]),
        "scheme": len(header["scenario"]["schemes"]),
        "unit": done,
    }
    return ", ".join(f"{n} {what}" + ("" if n == 1 else "s") for what, n in counts.items())


def _bottom(run: Run, several: bool) -> str:
    title = f"<h3>{html.escape(run.name)}</h3>" if several else ""
    return f"<div>{title}{how_made(run)}</div>"


def _json(data: Any) -> str:
    """JSON that ends no script element, whatever names are in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (files("linksim.report.interactive") / "assets" / name).read_text(encoding="utf-8")


def _script() -> str:
    """All scripts as one, within a function of their own."""
    parts = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    return f'(function () {{\n"use strict";\n{parts}\n}})();'


def _policy(style: str, script: str) -> str:
    """Nothing is fetched from anywhere, and no script runs but that of the page."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data: blob:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
