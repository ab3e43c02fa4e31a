"""The page: what stands in it without a script, the data for the scripts, and both in one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from linksim.report.interactive.answer import Answer, answers, comparison
from linksim.report.interactive.data import page_data
from linksim.report.interactive.differing import differing
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
_LISTED = 200  # fields that differ between runs
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
    top = _top(runs[0]) if len(runs) == 1 else _top_of_several(runs)
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


def _top(run: Run) -> str:
    """Question, answer, and what is missing, of one run."""
    name, question = run.header["name"], run.header["scenario"].get("question", "")
    return (
        f'<header class="run"><p class="name">{html.escape(name)}</p>'
        f'<h1>{html.escape(question or name)}</h1><p class="size">{html.escape(_size(run))}</p>'
        f"{_note(missing(run))}"
        f'<div class="answer"><h2>Answer</h2>{_answer(run)}</div></header>'
    )


def _top_of_several(runs: Sequence[Run]) -> str:
    """Which runs, what they lack, how they stand to each other, in what they differ, and their answers."""
    questions = dict.fromkeys(run.header["scenario"].get("question", "") for run in runs)
    [question] = questions if len(questions) == 1 else [""]
    lacking: dict[str, list[str]] = {}
    for run in runs:
        for text in missing(run):
            lacking.setdefault(text, []).append(run.name)
    lacks = [f"{', '.join(names)}: {text}" for text, names in lacking.items()]
    named = "".join(
        f'<li><b class="of-run" data-run="{i}">{html.escape(run.name)}</b> '
        f"{html.escape(f'{_other_name(run)}{_size(run)}')}</li>"
        for i, run in enumerate(runs)
    )
    own = "".join(
        f'<details class="answer one"><summary>{html.escape(run.name)} alone</summary>'
        f"{_asked(run) if not question else ''}{_answer(run)}</details>"
        for run in runs
    )
    return (
        f'<header class="run"><p class="name">Comparison of {len(runs)} runs</p>'
        f"<h1>{html.escape(question or ' · '.join(run.name for run in runs))}</h1>"
        f'<ul class="of-runs">{named}</ul>{_note(lacks)}'
        f'<div class="answer across"><h2>Across the runs</h2>{_across(runs)}</div>'
        f'{_differences(runs)}<div class="alone">{own}</div></header>'
    )


def _other_name(run: Run) -> str:
    name: str = run.header["name"]
    return "" if run.name == name else f"{name}, "


def _asked(run: Run) -> str:
    question = run.header["scenario"].get("question", "")
    return f"<p><i>{html.escape(question)}</i></p>" if question else ""


def _note(lacks: Sequence[str]) -> str:
    notes = "".join(f"<li>{html.escape(text)}</li>" for text in lacks)
    return f'<div class="note" role="note"><h2>What is missing</h2><ul>{notes}</ul></div>' if lacks else ""


def _answer(run: Run) -> str:
    found = answers(run)
    told = _told((a, scheme_name(run, a.scheme), a.scheme) for a in found.schemes)
    return f'<p class="lead">{html.escape(found.lead)}</p>{told}'


def _told(schemes: Iterable[tuple[Answer, str, str]]) -> str:
    """Sentences of schemes with their names on the page and in the text."""
    items = "".join(
        f'<li><b class="scheme" data-scheme="{html.escape(name)}">{html.escape(text)}</b>'
        f"{f' {TRAINED}' if a.trained else ''} {_clauses(a.parts)}</li>"
        for a, name, text in schemes
    )
    return f"<ul>{items}</ul>" if items else ""


def _across(runs: Sequence[Run]) -> str:
    found = comparison(runs)
    told = _told((a, a.scheme, a.scheme) for a in found.schemes)
    rest = "".join(f"<li>{html.escape(text)}</li>" for text in found.notes)
    refused = "".join(f"<li>{html.escape(text)}</li>" for text in found.refused)
    return (
        f'<p class="lead">{html.escape(found.lead)}</p>{told}'
        + (f'<ul class="rests">{rest}</ul>' if rest else "")
        + (f'<h3>Not compared</h3><ul class="refused">{refused}</ul>' if refused else "")
    )


def _differences(runs: Sequence[Run]) -> str:
    """Fields that differ between the runs, a line each."""
    found = differing(runs)
    if not found:
        return '<p class="differences">The runs do not differ in any field of their scenarios.</p>'
    heads = "".join(
        f'<th scope="col">{html.escape(text)}</th>' for text in ("field", *(r.name for r in runs))
    )
    lines = "".join(
        f'<tr><th scope="row"><code>{html.escape(d.field)}</code></th>'
        + "".join(f"<td>{html.escape(text)}</td>" for text in d.values)
        + "</tr>"
        for d in found[:_LISTED]
    )
    rest = len(found) - _LISTED
    more = f'<p class="small">{rest} more fields are in the scenarios below.</p>' if rest > 0 else ""
    fields = f"{len(found)} field" + ("" if len(found) == 1 else "s")
    return (
        f'<details class="differences" open><summary>In what the runs differ ({fields})</summary>'
        f'<div class="scroll" tabindex="0" role="group" aria-label="Fields that differ"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>{more}</details>"
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
