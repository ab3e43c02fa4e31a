"""Commands and options, with the project's grammar of messages."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from linksim.cli.arguments import count, port, seconds, size
from linksim.cli.output import say

__all__ = ["COMMANDS", "LISTS", "OPTIONS", "SHELLS", "make_parser"]

COMMANDS = (
    *("new", "check", "simulate", "merge", "measure", "replay", "results", "plot", "report", "demo", "list"),
    *("train", "calibrate", "convert", "schema", "completion"),
)
OPTIONS = (
    *(
        "--set",
        "--with",
        "--out",
        "--device",
        "--limit",
        "--workers",
        "--shard",
        "--ray",
        "--keep-failures",
        "--no-report",
        "--metric",
        "--ledger",
        "--against",
        "--x",
        "--title",
        "--label",
        "--size",
        "--ylim",
        "--no-ci",
        "--overlay",
        "--style",
        "--budget",
        "--pictures-memory",
    ),
    *("--export", "--frames", "--every", "--quality-images", "--quality-limit", "--seed"),
    *("--dtype", "--tokenizer", "--adaptive", "--rates", "--json", "--compressai", "--bpp", "--estimate"),
    *("--host", "--port", "--no-browser"),
    *("--version", "--verbose", "--help"),
)
SHELLS = ("bash", "zsh", "fish")
LISTS = ("channels", "schemes", "metrics", "models", "scenarios", "kinds")


class _Parser(argparse.ArgumentParser):
    """argparse with the project's message grammar for unknown commands and options.

    Attributes:
        arguments, commands: all that was added, for :mod:`linksim.cli.completion`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.arguments: list[argparse.Action] = []
        self.commands: dict[str, _Parser] = {}
        super().__init__(*args, **options)

    def _add_action(self, action: Any) -> Any:
        self.arguments.append(action)
        return super()._add_action(action)

    def add_subparsers(self, **options: Any) -> Any:
        made = super().add_subparsers(**options)
        self.commands = made.choices  # grows with them
        return made

    def error(self, message: str) -> NoReturn:
        close = [c for word, known in _mistyped(message) for c in difflib.get_close_matches(word, known, n=1)]
        hint = f" Did you mean {close[0]}?" if close else ""
        if "--metric --ledger is required" in message:
            hint = " Add --metric psnr, or another metric of results.csv."
        say(f"linksim: {message}.{hint} See linksim --help.", file=sys.stderr)
        raise SystemExit(2)


def _mistyped(message: str) -> Iterator[tuple[str, Sequence[str]]]:
    """What argparse did not know, and what it could have been."""
    choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
    if choice:
        yield choice.group(1), [word.strip(" '") for word in choice.group(2).split(",")]
    if message.startswith("unrecognized arguments: "):
        for word in message.split(": ", 1)[1].split():
            if word.startswith("-"):
                yield word.partition("=")[0], OPTIONS


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    return sub


def _add_plot(commands: Any) -> None:
    plot = _command(commands, "plot", "draw a metric of one or more run folders")
    plot.add_argument("run", nargs="+", type=Path, help="run folders")
    what = plot.add_mutually_exclusive_group(required=True)
    what.add_argument("--metric", help="column value of results.csv, e.g. psnr")
    what.add_argument(
        "--ledger", action="store_true", help="what the channel uses are spent on, as stacked bars"
    )
    plot.add_argument(
        "--against",
        metavar="NAME",
        help="paired differences to a scheme, a channel, or PATH=VALUE swept",
    )
    plot.add_argument("--title", metavar="TEXT", help='above the figure; "" for none; default: the scenarios')
    plot.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="RUN=TEXT",
        help="name of a run in the legend; may be repeated; default: as much of its path as it takes",
    )
    plot.add_argument(
        "--size",
        metavar="W,H",
        help="inches; or column, page or slide: a width, with the height that the legend needs",
    )
    plot.add_argument("--ylim", metavar="LO,HI", help="limits of the vertical axis; default: what is seen")
    plot.add_argument("--no-ci", action="store_true", help="leave out intervals")
    plot.add_argument(
        "--overlay", metavar="channels", help="all channels in one field, each with a line style of its own"
    )
    plot.add_argument(
        "--style", type=Path, metavar="FILE", help="matplotlib style file; nothing in it is executed"
    )
    plot.add_argument("--x", help="snr_db, cbr_data, cbr_total, or a swept field; default: what was swept")
    plot.add_argument(
        "--out", type=Path, help="figure file (.png, .svg, .pdf); default in the first run folder"
    )


def _foreign(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--with", action="append", default=[], type=Path, metavar="FILE.py", dest="kind_files",
        help="execute a Python file that registers kinds of your own (docs/python.md); may be repeated",
    )  # fmt: skip


def _scenario_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    sub = _command(commands, name, text)
    sub.add_argument(
        "scenario", help="scenario file, or the name of one that comes with linksim (quickstart)"
    )
    sub.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
        help="override a field, e.g. --set sweep.trials=1",
    )  # fmt: skip
    _foreign(sub)
    return sub


def _add_simulate(commands: Any) -> None:
    simulate = _scenario_command(
        commands, "simulate", "run a scenario, or the rest of it; writes a run folder"
    )
    simulate.add_argument("--out", type=Path, help="run folder; default runs/NAME")
    simulate.add_argument("--device", default="auto", help="auto, cpu or cuda")
    simulate.add_argument("--limit", type=count, help="use the first so many images only")
    simulate.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="processes that run units, each with its share of the cores; default: this one",
    )
    simulate.add_argument(
        "--shard",
        metavar="I/N",
        help="run the I-th of N parts of the work; linksim merge makes one run of them",
    )
    simulate.add_argument(
        "--ray",
        metavar="WHERE",
        help="run units by workers of a Ray cluster: local, auto, or HOST:PORT (--workers: so many)",
    )
    simulate.add_argument(
        "--keep-failures",
        type=count,
        metavar="N",
        help="keep the first N units of every channel and scheme that did not arrive, in failures/",
    )
    simulate.add_argument("--no-report", action="store_true", help="leave out figures and report.html")


def _add_merge(commands: Any) -> None:
    merge = _command(commands, "merge", "make one run folder of several of the same scenario (--shard)")
    merge.add_argument("run", type=Path, nargs="+", help="run folders")
    merge.add_argument("--out", type=Path, required=True, help="new folder")
    merge.add_argument("--no-report", action="store_true", help="leave out figures and report.html")
    _foreign(merge)


def _add_measure(commands: Any) -> None:
    text = "measure further metrics of a run: on pictures that it keeps, or on units that are run again"
    measure = _command(commands, "measure", text)
    measure.add_argument("run", type=Path, help="run folder")
    measure.add_argument(
        "--metric",
        action="append",
        required=True,
        metavar="NAME",
        help="linksim list metrics prints them; may be repeated",
    )
    measure.add_argument("--device", default="auto", help="auto, cpu or cuda")
    measure.add_argument("--workers", type=count, metavar="N", help="processes that run units")
    measure.add_argument("--no-report", action="store_true", help="leave out figures and report.html")
    _foreign(measure)


def _add_replay(commands: Any) -> None:
    replay = _command(commands, "replay", "run one unit of a run again and say what happened to it")
    replay.add_argument("run", type=Path, help="run folder")
    replay.add_argument(
        "unit",
        help="line of records.jsonl from 1, or NAME=VALUE,... of scheme, channel, snr_db, image, trial, "
        "state and swept fields: the first unit that fits",
    )
    replay.add_argument("--device", default="auto", help="auto, cpu or cuda")
    replay.add_argument("--out", type=Path, help="folder for the original and the pictures of all stages")
    _foreign(replay)


def _json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print one JSON object (docs/json.md)")


def _add_new(commands: Any) -> None:
    new = _command(commands, "new", "write a commented scenario of your own to start from")
    new.add_argument("theme", nargs="?", metavar="THEME", help="what it is about; without: list the themes")
    new.add_argument("--out", type=Path, metavar="FILE.yaml", help="file to write; default THEME.yaml")


def _add_check(commands: Any) -> None:
    check = _scenario_command(commands, "check", "validate a scenario and print what it will cost")
    check.add_argument(
        "--estimate",
        action="store_true",
        help="also run some batches and say about how long all of them take, and how much memory",
    )
    _json(check)


def _add_results(commands: Any) -> None:
    results = _command(commands, "results", "print the results of a run folder as a table")
    results.add_argument("run", type=Path, help="run folder")
    results.add_argument(
        "--metric", action="append", metavar="NAME", dest="metrics", help="only this one; may be repeated"
    )
    how = results.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON object (docs/json.md)")
    how.add_argument(
        "--compressai",
        type=Path,
        metavar="FOLDER",
        help="write curves as files that CompressAI's plots read, one per scheme, channel and metric",
    )
    results.add_argument(
        "--bpp",
        choices=("bits", "uses"),
        default="bits",
        help="of --compressai, per pixel: bits of coded pictures (default), or channel uses, of all schemes",
    )


def _add_demo(commands: Any) -> None:
    demo = _command(commands, "demo", "open a page to play with a link; needs linksim-wireless[demo]")
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine only")
    demo.add_argument("--port", type=port, default=7860, help="port to listen on; default 7860")
    demo.add_argument("--no-browser", action="store_true", help="open no browser")


def _add_train(commands: Any) -> None:
    train = _scenario_command(commands, "train", "train a codec, or go on with a training in the same folder")
    train.add_argument("--out", type=Path, help="folder; default runs/NAME")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")
    train.add_argument(
        "--budget",
        type=seconds,
        metavar="TIME",
        help="end in this time (9m, 2h, 540s), whatever the machine: schedules follow the clock",
    )
    train.add_argument(
        "--pictures-memory",
        type=size,
        metavar="SIZE",
        help="keep the pictures in memory if they take no more (16GB); else decode them as they are needed; "
        "default: half of what is free",
    )
    train.add_argument(
        "--export", type=Path, metavar="FILE", help="also write the model in half precision to FILE"
    )


def _add_calibrate(commands: Any) -> None:
    calibrate = _scenario_command(
        commands, "calibrate", "measure the link-adaptation table for the channels of a scenario"
    )
    calibrate.add_argument(
        "--out", type=Path, required=True, help="table (JSON); an existing one is extended"
    )
    calibrate.add_argument(
        "--frames", type=count, default=200, help="transport blocks per MCS (known ones are kept)"
    )
    calibrate.add_argument(
        "--quality-images", type=Path, nargs="+", metavar="TAR",
        help="tar files of calibration pictures; without, quality curves are kept",
    )  # fmt: skip
    calibrate.add_argument("--quality-limit", type=count, default=24, help="pictures to use of them")
    calibrate.add_argument("--seed", type=int, default=1, help="of payloads, fades and noise")
    calibrate.add_argument(
        "--every", type=count, default=1, metavar="N", help="measure every N-th MCS in rising efficiency"
    )


def _add_convert(commands: Any) -> None:
    convert = _command(commands, "convert", "turn other people's checkpoints into those of linksim")
    convert.add_argument("what", choices=("diffjscc", "swinjscc"), help="swinjscc: SwinJSCC's and WITT's")
    convert.add_argument(
        "source",
        help="diffjscc: folder with config.yaml and model.ckpt, or owner/name on a hub; swinjscc: a file",
    )
    convert.add_argument("target", type=Path, help="diffjscc: folder, swinjscc: .safetensors file to be made")
    convert.add_argument(
        "--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights; default: as stored"
    )
    convert.add_argument(
        "--tokenizer", metavar="NAME", help="diffjscc: folder or owner/name of CLIP's tokenizer, for captions"
    )
    convert.add_argument(
        "--adaptive",
        choices=("none", "snr", "rate", "snr_rate"),
        help="swinjscc: what the network adapts to (w/o_SAandRA, w/_SA, w/_RA, w/_SAandRA); default: as its "
        "names say, which cannot tell none from snr",
    )
    convert.add_argument(
        "--rates",
        type=count,
        nargs="+",
        metavar="C",
        help="swinjscc: latent channels that a network with rates may send; default: 32 64 96 128 192",
    )


def make_parser() -> _Parser:
    """The parser of all commands."""
    parser = _Parser(
        prog="linksim",
        description="Simulate image transmission over a wireless link.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--verbose", action="store_true", help="log more, and show tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _add_new(commands)
    _add_check(commands)
    _add_simulate(commands)
    _add_merge(commands)
    _add_measure(commands)
    _add_replay(commands)
    _add_results(commands)
    _add_plot(commands)
    report = _command(commands, "report", "write one self-contained HTML page of run folders")
    report.add_argument("run", type=Path, nargs="+", help="run folders")
    report.add_argument(
        "--out",
        type=Path,
        help="file; default report.html in the run, of several comparison.html in the first",
    )
    _add_demo(commands)
    listing = _command(commands, "list", "print what there is")
    listing.add_argument("what", choices=LISTS)
    _foreign(listing)
    _json(listing)
    _add_train(commands)
    _add_calibrate(commands)
    _add_convert(commands)
    _foreign(_command(commands, "schema", "print the JSON schema of scenario files"))
    completion = _command(commands, "completion", "print a script that completes commands in a shell")
    completion.add_argument(
        "shell", choices=SHELLS, help="source the script in the start-up file of the shell"
    )
    return parser
