"""Command line. Nothing heavy is imported before a command needs it: ``linksim --help`` answers at once.

Exit code 0 good, 1 the run failed, 2 bad scenario or arguments. Results on stdout, log and progress on
stderr.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import torch

    from linksim.scenario.files import Training
    from linksim.scenario.schema import Scenario

from linksim.cli.completion import complete
from linksim.cli.listing import list_things
from linksim.cli.output import LineFormatter, check_writable, full_disk, say, say_json
from linksim.cli.parser import make_parser
from linksim.cli.runs import measure, merge, plot, replay, report, results, simulate
from linksim.cli.starting import demo, new

__all__ = ["entry_point", "main"]

# --------------------------------------------------------------------------------------------- helpers


def _device(name: str) -> torch.device:
    from linksim.api.simulation import device_of

    return device_of(name, "--device")


def _user_errors() -> tuple[type[Exception], ...]:
    from linksim.api.errors import USER_ERRORS

    return USER_ERRORS


# -------------------------------------------------------------------------------------------- commands


def _load(args: argparse.Namespace) -> Scenario | Training:
    from linksim.scenario.files import load_any, parse_overrides

    return load_any(args.scenario, parse_overrides(args.overrides))


def _check(args: argparse.Namespace) -> int:
    from linksim.api.checking import check_scenario

    found = check_scenario(_load(args), estimate=args.estimate)
    if args.json:
        say_json(found.to_dict())
    else:
        for line in found.lines:
            say(line)
    for warning in found.warnings:
        say(f"warning: {warning}", file=sys.stderr)
    return 0


def _train(args: argparse.Namespace) -> int:
    from linksim.scenario.files import load_train_scenario, parse_overrides

    overrides = parse_overrides(args.overrides)
    scenario = load_train_scenario(args.scenario, overrides, args.budget)
    folder = args.out or Path("runs") / scenario.name
    if args.export:
        check_writable(args.export, "--export")
    of_block = {"train": _train_codec, "train_denoiser": _train_denoiser, "train_control": _train_control}
    return of_block[scenario.block](scenario, folder, args)


def _train_codec(scenario: Any, folder: Path, args: argparse.Namespace) -> int:
    from linksim.training.codec import train

    summary = train(scenario, folder, _device(args.device), _progress_line, args.pictures_memory)
    return _trained(summary, f"PSNR {summary.validation_psnr_db}", args)


def _train_denoiser(scenario: Any, folder: Path, args: argparse.Namespace) -> int:
    from linksim.training.denoiser import train_denoiser

    summary = train_denoiser(scenario, folder, _device(args.device), _progress_line, args.pictures_memory)
    return _trained(summary, str(summary.validation), args)


def _trained(summary: Any, measured: str, args: argparse.Namespace) -> int:
    """Say what a training came to, and export its model."""
    say(
        f"{summary.steps} steps in {summary.seconds / 60:.1f} min, validation{summary.measured_on} {measured}"
    )
    say(f"model: {summary.checkpoint}")
    if args.export:
        _export(summary.checkpoint, args.export)
        say(f"half precision: {args.export}")
    return 0


def _progress_line(line: str) -> None:
    """Progress goes to stderr."""
    say(line, file=sys.stderr)


def _export(checkpoint: Path, target: Path) -> None:
    """A checkpoint in half precision, to be given to others: its recipe names files, not where they lay."""
    import torch

    from linksim.build.checkpoints import portable, read_checkpoint, save_checkpoint

    stored = read_checkpoint(checkpoint)
    save_checkpoint(target, stored.codec, stored.tensors, portable(stored.recipe), torch.float16)


def _train_control(scenario: Any, folder: Path, args: argparse.Namespace) -> int:
    from linksim.kinds.needs import need_diffusion
    from linksim.scenario.files import ScenarioError

    if args.export:
        raise ScenarioError("--export: got it for a control module, expected it for a codec.")
    need_diffusion("kind: train_control")
    from linksim.training.control import train_control

    device = _device(args.device)
    summary = train_control(scenario, folder, device, _progress_line, args.pictures_memory)
    say(
        f"{summary.steps} steps in {summary.seconds / 60:.1f} min, loss {summary.losses[0]:.4f} to "
        f"{summary.losses[1]:.4f}, validation {summary.validation_loss}"
    )
    say(f"model: {summary.folder}")
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from linksim.build.channels import load_calibration
    from linksim.images.folders import TarImages
    from linksim.run.calibrate import calibrate
    from linksim.run.runner import make_plan
    from linksim.scenario.files import load_scenario, parse_overrides
    from linksim.weights import zoo

    scenario = load_scenario(args.scenario, parse_overrides(args.overrides))
    check_writable(args.out, "--out")
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
        report=lambda line: say(line, file=sys.stderr),
    ):
        step.save(args.out)
    say(args.out)
    return 0


def _convert(args: argparse.Namespace) -> int:
    import torch

    from channels.checks import complaint
    from linksim.weights.pickle_reader import ModelFormatError

    for name, of in (("tokenizer", "diffjscc"), ("adaptive", "swinjscc"), ("rates", "swinjscc")):
        if getattr(args, name) and args.what != of:
            got, expected = f"convert {args.what}", f"convert {of}"
            raise ModelFormatError(complaint(f"--{name}", "has no effect", got, expected))
    dtype = getattr(torch, args.dtype) if args.dtype else None
    if args.what == "swinjscc":
        from linksim.build.convert_codec import convert_swinjscc

        rates = tuple(args.rates or ())
        spec = convert_swinjscc(
            Path(args.source), args.target, adaptive=args.adaptive, rates=rates, dtype=dtype
        )
        shown = f"adaptive: {spec.adaptive}, rates: {list(spec.rates)}, depths: {list(spec.depths)}"
        say(shown, file=sys.stderr)
        say(args.target)
        return 0
    from linksim.kinds.needs import need_diffusion

    need_diffusion("linksim convert diffjscc")
    from linksim.build.convert import convert_diffjscc

    convert_diffjscc(
        args.source,
        args.target,
        dtype=dtype,
        tokenizer=args.tokenizer,
        report=lambda line: say(line, file=sys.stderr),
    )
    say(args.target)
    return 0


def _schema(args: argparse.Namespace) -> int:
    from linksim.scenario.files import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


def _version() -> str:
    from linksim import __version__

    return __version__


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "new": new,
    "simulate": simulate,
    "merge": merge,
    "measure": measure,
    "replay": replay,
    "check": _check,
    "results": results,
    "plot": plot,
    "report": report,
    "demo": demo,
    "list": list_things,
    "train": _train,
    "calibrate": _calibrate,
    "convert": _convert,
    "schema": _schema,
    "completion": complete,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    try:
        args = make_parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    if args.version:
        say(_version())
        return 0
    if args.command is None:
        make_parser().print_help()
        return 0
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, handlers=[handler])
    return _guarded(_COMMANDS[args.command], args)


def _load_kinds(args: argparse.Namespace) -> None:
    """Execute the files of --with: the only code of other people that the command line runs."""
    files = getattr(args, "kind_files", [])
    if files:
        from linksim.kinds import load_file

        for path in files:
            load_file(path)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM stops what the block does as Ctrl-C would."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        if before is not None:  # one that Python did not set
            signal.signal(signal.SIGTERM, before)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, as a cluster or a system that shuts down sends it: an end in order, like that by Ctrl-C."""


def _terminated(number: int, frame: object) -> None:
    raise _Terminated


_GOES_ON = ("simulate", "measure", "train", "calibrate")


def _guarded(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    try:
        with _ended_in_order():
            _load_kinds(args)
            return command(args)
    except KeyboardInterrupt as stop:
        goes_on = args.command in _GOES_ON
        say("\nstopped" + ("; the same command goes on from here" if goes_on else ""), file=sys.stderr)
        return 143 if isinstance(stop, _Terminated) else 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as problem:
        if args.verbose:
            logging.getLogger("linksim").exception("failed")
        full = full_disk(problem)
        if full:
            say(f"{full} The same command goes on from here.", file=sys.stderr)
            return 1
        if isinstance(problem, _user_errors()):
            say(problem, file=sys.stderr)
            return 2
        if isinstance(problem, OSError) and problem.strerror:
            where = f"{problem.filename or 'a file'}: cannot be read or written"
            say(f"{where}, got {problem.strerror}, expected a file or folder that can be.", file=sys.stderr)
            return 2
        from linksim.link import RunError

        if isinstance(problem, RunError):
            goes_on = problem.resumes and args.command in _GOES_ON
            resumes = "; the same command resumes" if goes_on else ""
            say(f"{problem} (--verbose shows where{resumes})", file=sys.stderr)
            return 1
        return _of_other_people(problem)


def _of_other_people(problem: Exception) -> int:
    """Say what code of other people raised, wherever it was called; raise what linksim did."""
    from linksim.build.foreign import place_of, refusal

    place = place_of(problem)
    if place is None:
        raise problem
    say(refusal("", problem, place), file=sys.stderr)
    return 2


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
    # Before torch is loaded: threads that wait for each other sleep. Turning in place, the default of GNU
    # OpenMP, makes a run several times slower as soon as another program uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack the letters of a name
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    raise SystemExit(main())
