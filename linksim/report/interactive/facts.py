"""What stands under the results: definitions, how a run was made, and how to make it again."""

from __future__ import annotations

import html
import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from linksim.report.interactive.data import metric_names
from linksim.report.lines import TRAINED
from linksim.report.runs import Run

__all__ = [
    "DEFINITIONS",
    "commands",
    "how_made",
    "plot_command",
    "resolved_scenario",
    "shard_of",
    "trainings",
]

DEFINITIONS = (
    "SNR is Es/N0 per complex data channel use at the receiver, averaged over fading. CBR is complex "
    "channel uses over 3·H·W; the total adds pilots, guard and side information. Pictures are rounded "
    "to 8 bits before measuring. A picture that did not arrive is grey and stays in every mean, whatever "
    "the cause: its stream did not fit (source_unfit: an empty block is sent, which the block error rate "
    "does not count), its CRC failed, or what was decoded does not parse. Intervals of picture metrics are "
    "bootstrap intervals clustered by image, those of bit errors clustered by transmission, those of block "
    "errors Clopper-Pearson intervals; where no error was seen the upper limit is given (▼ in figures)."
)


def resolved_scenario(run: Run) -> str:
    """The scenario of a run as YAML, with every field."""
    text: str = yaml.safe_dump(run.header["scenario"], sort_keys=False, allow_unicode=True, width=100)
    return text


def commands(run: Run) -> str:
    """What makes the run again, from its resolved scenario, and its figures as PDF."""
    header = run.header
    name = shlex.quote(f"{header['name']}.yaml")
    limit = f" --limit {len(header['images'])}"
    part = f" --shard {shard_of(run)}" if shard_of(run) else ""
    foreign = " --with FILE" if header.get("kinds") else ""
    again = f"linksim simulate {name}{limit}{part}{foreign} --out again"
    plots = [plot_command([run], metric) for metric in metric_names([run])]
    return "\n".join([again, *plots, f"linksim plot {_folder(run)} --ledger --out ledger.pdf"])


def shard_of(run: Run) -> str:
    """Which part of the work a run is, as --shard takes it; "" of a whole one."""
    shard = run.header.get("shard")
    parts = shard if isinstance(shard, list) and len(shard) == 2 else ()
    return "/".join(str(part) for part in parts)


def plot_command(runs: Sequence[Run], metric: str, against: str = "") -> str:
    """What draws a metric, or its differences, as PDF: from the folder that holds the runs."""
    folders = " ".join(_folder(run) for run in runs)
    compared = f" --against {shlex.quote(against)}" if against else ""
    return f"linksim plot {folders} --metric {metric}{compared} --out {metric}.pdf"


def _folder(run: Run) -> str:
    return shlex.quote(run.name or run.store.folder.absolute().name)


def trainings(run: Run) -> list[str]:
    """What the networks of a run were trained on, a sentence each."""
    found = []
    for scheme, measures in run.header.get("trained_on", {}).items():
        known = "not recorded in its checkpoint" if measures is None else ", ".join(measures)
        found.append(f"{scheme} was trained on: {known}.")
    return found


def how_made(run: Run) -> str:
    """Definitions, versions, digests, scenario and commands of a run, as HTML."""
    header, name = run.header, _text(run.header["name"])
    confidence = 100 * header["scenario"]["statistics"]["confidence"]
    references = [(name, info["reference"]) for name, info in header["metrics"].items()]
    versions = [*header["versions"].items(), ("commit", header["commit"] or "unknown")]
    made = [*versions, ("machine", header["machine"]), ("scenario hash", header["scenario_hash"])]
    digests = [(name, what) for block in ("files", "tools") for name, what in header[block].items()]
    kinds = header.get("kinds")
    digests += list(kinds.items()) if isinstance(kinds, dict) else []
    digests += [(image, f"{w} × {h}, {digest}") for image, (h, w, digest) in header["images"].items()]
    trained = "".join(f"<p>{_text(line)}</p>" for line in trainings(run))
    mark = f"<p>{TRAINED} marks a scheme on a measure that it was trained on: no evidence of quality.</p>"
    return (
        f"<p>{_text(DEFINITIONS)} Confidence level: {confidence:g}%.</p>{trained}{mark if trained else ''}"
        f"{_list('Measures', references)}{_list('Versions', made)}{_list('Digests', digests)}"
        f"<h3>Make it again</h3><p>Save the scenario below as {name}.yaml; paths of pictures in it "
        f"begin where it lies. Figures as PDF are drawn from the folder that holds the run.</p>"
        f'<pre class="commands" tabindex="0">{_text(commands(run))}</pre>'
        f"<details><summary>Resolved scenario</summary>"
        f'<pre class="scenario" tabindex="0" data-name="{name}">{_text(resolved_scenario(run))}</pre>'
        f"</details>"
    )


def _list(title: str, pairs: list[tuple[str, Any]]) -> str:
    if not pairs:
        return ""
    items = "".join(f"<dt>{_text(name)}</dt><dd>{_text(str(what))}</dd>" for name, what in pairs)
    return f"<details><summary>{title} ({len(pairs)})</summary><dl>{items}</dl></details>"


def _text(text: str) -> str:
    return html.escape(text)
