"""Python processes that import nothing from the working directory, leave Ctrl-C to others, end with those who
began them, or may grow.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = [
    "deaf_to_the_keyboard",
    "end_with",
    "keep_growing_workers",
    "safe_children",
    "safe_environment",
]

# python -m and python -c put the working directory in front of everything that is installed.
_VARIABLE = "PYTHONSAFEPATH"


def safe_environment(**variables: str) -> dict[str, str]:
    """Environment for a Python process that is started with ``-m`` or ``-c``.

    Args:
        variables: to be set beside.
    """
    return {**os.environ, **variables, _VARIABLE: "1"}


@contextmanager
def safe_children() -> Iterator[None]:
    """Processes that a library starts within the block import nothing from the working directory."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


@contextmanager
def deaf_to_the_keyboard() -> Iterator[None]:
    """Processes and threads that begin within the block leave Ctrl-C, which a terminal sends to all, to this
    one.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(parent: int, alive: Callable[[], bool] = lambda: True) -> None:
    """To be called in a worker process: it ends when its parent is gone, however that ended.

    Args:
        parent: its process id, as the parent says it: it may be gone already.
        alive: when this says no, the process ends, too.
    """
    threading.Thread(target=_watch, args=(parent, alive), daemon=True).start()


def _watch(parent: int, alive: Callable[[], bool]) -> None:
    while os.getppid() == parent and alive():
        time.sleep(1.0)
    os._exit(1)


def keep_growing_workers() -> None:
    """To be called in a worker process of joblib: it lives however much it grows.

    Loky replaces a process that has grown by 300 MB since its first task, for a leak. Models and caches that
    later tasks ask for are none, and to load them again in the next process takes longer than most tasks. No
    argument says so.
    """
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
