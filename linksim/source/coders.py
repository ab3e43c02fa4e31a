"""Processes that code pictures while this one goes on."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from joblib import cpu_count

from channels.runtime.child_processes import deaf_to_the_keyboard, keep_growing_workers, safe_environment

__all__ = ["USUAL", "Coders", "busy", "coders", "each", "waited"]

T = TypeVar("T")
USUAL = 16  # processes at most, for fewer pictures than that: they begin all at once
_IDLE_S = 3600
_ALL: dict[int, Coders] = {}
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")


class Coders:
    """As many processes as are asked for, begun when something is to be done, together with their share of
    the threads, and begun anew when a variable of linksim's has another value than then. They import nothing
    from the working directory.

    Args:
        num: of processes.
    """

    def __init__(self, num: int) -> None:
        self._num = num
        self.waited = 0.0  # by those who asked [s]
        self._pool: Any = None
        self._told: dict[str, str] = {}
        self._futures: list[Future[Any]] = []
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """What a function of a module gives, computed elsewhere. Processes that were killed are begun again;
        what they had raises BrokenProcessPool.
        """
        from joblib.externals.loky.process_executor import BrokenProcessPool

        with self._lock, deaf_to_the_keyboard():
            try:
                future: Future[T] = self._begun().submit(function, *args)
            except BrokenProcessPool:
                self._pool = None
                future = self._begun().submit(function, *args)
            self._futures = [f for f in self._futures if not f.done()] + [future]
        return future

    def _begun(self) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        told = {name: value for name, value in os.environ.items() if name.startswith("LINKSIM_")}
        if self._pool is not None and told != self._told:  # what may be run, and where things are kept
            self._pool.shutdown(wait=False)
            self._pool = None
        if self._pool is None:
            self._told = told
            threads = str(max(1, cpu_count() // self._num))
            environment = safe_environment(**{f"{name}_NUM_THREADS": threads for name in _THREADS})
            self._pool = ProcessPoolExecutor(
                self._num, timeout=_IDLE_S, initializer=keep_growing_workers, env=environment
            )
        return self._pool

    def wait(self, future: Future[T]) -> T:
        """What a function gave, as soon as it did."""
        began = time.monotonic()
        try:
            return future.result()
        finally:
            self.waited += time.monotonic() - began

    @property
    def busy(self) -> bool:
        """Whether something is not done yet."""
        with self._lock:
            return not all(future.done() for future in self._futures)

    def forget(self) -> None:
        """Do not begin with what still waits."""
        with self._lock:
            for future in self._futures:
                future.cancel()

    def stop(self) -> None:
        """End the processes, and what they are doing."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, kill_workers=True)


def coders(num: int) -> Coders:
    """The processes that this one has."""
    if num not in _ALL:
        _ALL[num] = Coders(num)
        atexit.register(_ALL[num].stop)
    return _ALL[num]


def busy() -> bool:
    """Whether any of them has something to do."""
    return any(some.busy for some in _ALL.values())


def waited() -> float:
    """How long this process waited for all of them so far [s]."""
    return sum(some.waited for some in _ALL.values())


def each() -> list[Coders]:
    """All of them."""
    return list(_ALL.values())
