"""Commands in forked children, which can be killed at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

__all__ = ["Child", "Damage", "import_all", "in_child", "linksim"]

_LONGEST_S = 600


class Damage(AssertionError):
    """Something was lost, doubled, different or half written."""


def linksim(arguments: Sequence[str]) -> int:
    from linksim.cli.commands import main

    return main(list(arguments))


def in_child(work: Callable[[], int], kill_after_s: float | None) -> float | None:
    """Run in a forked child, killed after a time; the time that it took, None if it was killed.

    Raises:
        Damage: it ended by itself with another exit code than 0.
    """
    with Child(work) as child:
        code = child.wait(kill_after_s)
        if code is None:
            return None
        if code:
            raise Damage(f"exit code {code}: {child.said()[-3000:]}")
        return child.passed_s()


class Child:
    """A forked process that does something. It is killed at the end of the block.

    Args:
        work: what it does; its exit code.
    """

    def __init__(self, work: Callable[[], int]) -> None:
        self._began = time.monotonic()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed at the end of the block)
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_child(work, self._log.fileno())

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *problem: object) -> None:
        if self._code is None:
            self.kill()
        self._log.close()

    def passed_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def wait(self, kill_after_s: float | None = None) -> int | None:
        """Its exit code; None if it was killed, after a time from its beginning.

        Raises:
            Damage: it does not end.
        """
        while not self.ended():
            if self.passed_s() >= (_LONGEST_S if kill_after_s is None else kill_after_s):
                self.kill()
                if kill_after_s is None:
                    raise Damage(f"does not end: {self.said()[-3000:]}")
                return None
            time.sleep(0.001)
        return self._code

    def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._code = -signal.SIGKILL

    def said(self) -> str:
        """What it wrote to stdout and stderr."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")


def _be_the_child(work: Callable[[], int], log: int) -> None:
    code = 70
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = work()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def import_all() -> None:
    """What commands import when they need it, so that children have it already; nothing runs."""
    import importlib

    for name in (
        *(
            "linksim.cli.commands",
            "linksim.run.runner",
            "linksim.report.page",
            "linksim.run.calibrate",
            "linksim.build.convert",
            "matplotlib.pyplot",
        ),
        *(
            "linksim.training.codec",
            "linksim.schemes.separation",
            "linksim.schemes.uncoded",
            "linksim.coding.ldpc_decoder",
        ),
        *(
            "linksim.jscc.linear_analog",
            "linksim.jscc.lean",
            "torch.utils.tensorboard",
            "skimage",
            "av",
            "piq",
            "joblib",
        ),
    ):
        importlib.import_module(name)
