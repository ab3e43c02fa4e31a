"""A program of other people in a folder of its own: allowed, limited, ended with all that it started."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from channels.checks import complaint, cut
from linksim.files.digests import file_digest

__all__ = [
    "ALLOW_VARIABLE",
    "CommandError",
    "CommandLost",
    "files_named",
    "find_program",
    "output_of",
    "run",
    "working_folder",
]

ALLOW_VARIABLE = "LINKSIM_ALLOW_COMMANDS"
_LOG_BYTES, _LOG_CHARACTERS = 4000, 240
_GRACE_S = 5
_NOT_STARTED = 126
# What a codec may need to find its libraries, its GPU and its models; no tokens, no names of other services.
_PASSED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TORCH_HOME"),
    *("HF_HOME", "XDG_CACHE_HOME", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
)
# Runs before the program, in its process: limits without code between fork and exec of a process with
# threads. Python ignores SIGPIPE and SIGXFSZ, which a program would inherit; the alarm ends it where linksim
# was killed.
_LAUNCH = """\
import os, resource, signal, sys
size, seconds, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
signal.alarm(seconds)
try:
    os.execv(path, sys.argv[3:])
except OSError as problem:
    sys.stderr.write(f"cannot be started: {problem.strerror}")
    sys.exit(126)
"""


class CommandError(ValueError):
    """A program that failed: where a stream is coded a fault of the program, and the end of a run.

    Attributes:
        digest: name of the pixels that it failed on; empty if it is not known.
    """

    digest: str = ""


class CommandLost(CommandError):
    """A program that could not be started, did not end, or was killed: that says nothing of a stream."""


def find_program(field: str, program: str) -> Path:
    """The program that a scenario names, if the user allows it.

    Args:
        field: of the scenario, for messages.
        program: a name, looked for in PATH, or an absolute path.

    Raises:
        ValueError: a relative path, no such program, or one that ``LINKSIM_ALLOW_COMMANDS`` does not name.
    """
    if os.sep in program and not Path(program).is_absolute():
        raise ValueError(
            complaint(field, "relative path", program, "a name that is in PATH, or an absolute path")
        )
    found = shutil.which(program)
    if found is None and Path(program).is_absolute() and Path(program).is_file():
        cure = f"Allow it: chmod +x {shlex.quote(program)}"
        raise ValueError(complaint(field, "not executable", program, "a program, or a script", cure))
    if found is None:
        cure = "Install it, or give its absolute path."
        raise ValueError(complaint(field, "no such program", program, "one that is in PATH", cure))
    path = Path(found).absolute()  # links stay: what one is called by decides what it does
    allowed = os.environ.get(ALLOW_VARIABLE, "")
    if path not in _allowed(allowed):
        allow = f"export {ALLOW_VARIABLE}={shlex.quote(str(path))}"
        cure = f"If you trust it with all arguments of this scenario: {allow}"
        expected = f"a program that {ALLOW_VARIABLE} names ({allowed or 'none'})"
        raise ValueError(complaint(field, "program that is not allowed", path, expected, cure))
    return path


def _allowed(text: str) -> set[Path]:
    """Programs in the value of the variable: absolute paths or names in PATH, with colons between them."""
    names = [
        name for name in text.split(os.pathsep) if name and (os.sep not in name or Path(name).is_absolute())
    ]
    return {Path(found).absolute() for name in names if (found := shutil.which(name)) is not None}


def files_named(program: Path, arguments: Sequence[str]) -> str:
    """SHA-256, 16 hex digits, of a program and of all files that its arguments name by absolute paths."""
    digest = hashlib.sha256()
    for path in (program, *(Path(text) for text in arguments if Path(text).is_absolute())):
        with contextlib.suppress(OSError):
            if path.is_file():
                digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """An empty folder, gone afterwards whatever was put into it."""
    with tempfile.TemporaryDirectory(prefix="linksim-command-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def run(program: Path, arguments: Sequence[str], folder: Path, timeout_s: float, file_bytes: int) -> None:
    """Start a program without a shell and wait for its end.

    It has no input, an environment of a few variables, a process group of its own, and ``folder`` to work in
    and for temporary files. At its end, or where it takes too long, all that is left of the group is killed.

    Args:
        program: absolute path.
        arguments: of it.
        folder: that it works in.
        timeout_s: longest time [s].
        file_bytes: longest file that it may write.

    Raises:
        CommandLost: it was not started, did not end, or was killed.
        CommandError: it did not end with 0; the message has the end of what it said.
    """
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    environment |= {"TMPDIR": str(folder), "PYTHONSAFEPATH": "1"}
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCH]
    limits = [str(file_bytes), str(math.ceil(timeout_s) + _GRACE_S)]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [*launch, *limits, str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if code == 0:
            return
        # in the words of linksim: that a file is too large means a full disk where linksim itself writes
        too_long = f"a file longer than {file_bytes} bytes, which is not allowed"
        said = _end_of(log).replace(os.strerror(errno.EFBIG), too_long)
    if code is None:
        raise CommandLost(f"{program.name}: no end after {timeout_s:g} s (timeout_s); it was killed{said}")
    how = f"exit code {code}" if code > 0 else f"ended by {_signal_name(-code)}"
    lost = code in (_NOT_STARTED, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGALRM)
    raise (CommandLost if lost else CommandError)(f"{program.name}: {how}{said}")


def _signal_name(number: int) -> str:
    """SIGSEGV of 11; for a file that grew too long what was too much."""
    if number == signal.SIGXFSZ:
        return "SIGXFSZ, a file that it wrote grew too long"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _end_of(log: IO[bytes]) -> str:
    """The end of what a program said, in one line, with a colon in front; empty if it said nothing."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
    said = " ".join(log.read().decode(errors="replace").split())
    said = "".join(character if character.isprintable() else "?" for character in said)
    if not said:
        return ", without a word"
    return f": {said if len(said) <= _LOG_CHARACTERS else '...' + said[-_LOG_CHARACTERS:]}"


def output_of(path: Path, most: int) -> bytes | None:
    """Contents of a file that a program wrote; None if it is longer than ``most`` bytes.

    Raises:
        CommandError: no file, one that is empty, or a link to somewhere else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as problem:
        said = "a link in its place" if problem.errno == errno.ELOOP else problem.strerror
        raise CommandError(f"wrote no {cut(path.name)} ({said})") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CommandError(f"wrote no file {path.name}")
        data = file.read(most + 1)
    if not data:
        raise CommandError(f"wrote an empty {path.name}")
    return data if len(data) <= most else None
