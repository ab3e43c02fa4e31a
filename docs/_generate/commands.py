"""Reference of the command line, from its parser."""

from __future__ import annotations

import argparse
from typing import Any

from linksim.cli.parser import COMMANDS, make_parser

__all__ = ["pages"]

_EXIT = """
Exit codes: 0 success; 1 a run that failed, or a replayed unit that came out unlike its record; 2 bad input, with one
message on stderr and nothing written; 130 and 143 after Ctrl-C and SIGTERM, between two batches: the same command goes on.
"""
_READ_MORE = {
    "simulate": "[Runs](../../runs.md)",
    "check": "[Runs](../../runs.md#before-a-run), [as JSON](../../json.md#check)",
    "merge": "[Runs](../../runs.md#several-machines)",
    "measure": "[Runs](../../runs.md#ask-for-more-later)",
    "replay": "[Runs](../../runs.md#look-at-a-unit)",
    "results": "[as JSON](../../json.md#results)",
    "plot": "[Runs](../../runs.md#figures-for-papers)",
    "report": "[The report](../../report.md)",
    "demo": "[A page to play with](../../demo.md)",
    "list": "[as JSON](../../json.md#list)",
    "train": "[Training a codec](../../training.md)",
    "calibrate": "[The separation baseline](../../separation.md)",
    "convert": "[Reproduce DiffJSCC](../../diffjscc.md)",
    "schema": "[The scenario](scenario.md)",
}


def pages() -> dict[str, str]:
    """Markdown by the name of the page."""
    parser = make_parser()
    general = [a for a in parser.arguments if a.option_strings and "--help" not in a.option_strings]
    parts = [
        "# Command line\n",
        "`linksim COMMAND ...`, made from the parser itself. `linksim completion bash` (zsh, fish) completes all of it.",
        _EXIT,
        *_table(general),
        "",
    ]
    for name in COMMANDS:
        parts += _command(name, parser.commands[name])
    return {"commands": "\n".join(parts)}


def _command(name: str, parser: Any) -> list[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    shown = [a for a in parser.arguments if "--help" not in a.option_strings]
    more = [f"Read more: {_READ_MORE[name]}.", ""] if name in _READ_MORE else []
    text = (parser.description or "").strip()
    about = f"{text[:1].upper()}{text[1:]}.".replace("..", ".")
    return [f"## linksim {name}", "", about, "", "```text", usage, "```", "", *_table(shown), "", *more]


def _table(arguments: list[argparse.Action]) -> list[str]:
    if not arguments:
        return []
    return ["| argument | meaning |", "|---|---|", *(f"| {_name(a)} | {_meaning(a)} |" for a in arguments)]


def _name(argument: argparse.Action) -> str:
    takes = argument.nargs != 0
    metavar = argument.metavar if isinstance(argument.metavar, str) else None
    if not argument.option_strings:
        many = " ..." if argument.nargs in ("+", "*") else ""
        return f"`{(metavar or argument.dest).upper()}{many}`"
    value = metavar or ("{" + ",".join(argument.choices) + "}" if argument.choices else argument.dest.upper())
    return f"`{argument.option_strings[-1]}{' ' + value if takes else ''}`"


def _meaning(argument: argparse.Action) -> str:
    parts = [(argument.help or "").replace("|", "\\|").replace("<", "&lt;")]
    if argument.choices and not argument.option_strings:
        parts.append(f"one of {', '.join(map(str, argument.choices))}")
    told = argument.default not in (None, False, [], argparse.SUPPRESS) and "default" not in parts[0]
    if told and argument.nargs != 0:
        parts.append(f"default {argument.default}")
    if argument.required and argument.option_strings:
        parts.append("required")
    return "; ".join(part for part in parts if part)
