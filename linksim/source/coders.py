"""Processes that code pictures while this one goes on."""

from __future__ import annotations

import atexit
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from joblib import cpu_count

from channels.runtime.child_processes import (
    deaf_to_the_keyboard,
    end_with,
    keep_growing_workers,
    safe_environment,
)

__all__ = ["USUAL", "Coders", "busy", "coders", "each", "waited"]

T = TypeVar("T")
USUAL = 16  # processes at most, for fewer pictures than that: they begin all at once
_IDLE_S = 3600
_ALL: dict[int, Coders] = {}
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")


def _prepare(parent: int) -> None:
    """Each of the processes."""
    keep_growing_workers()
    end_with(parent)


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
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._given: dict[Future[Any], Future[Any]] = {}
        self._lock = threading.RLock()  # what is given may come back at once

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """What a function of a module gives, computed elsewhere; the future raises what the function does, or
        CancelledError after :meth:`stop`. Processes that were killed are begun again; what they had raises
        BrokenProcessPool.
        """
        future: Future[T] = Future()
        with self._lock:
            self._waiting.append((future, function, args))
        self._hand_out()
        return future

    def _hand_out(self) -> None:
        """Give the processes as much as they take in at once."""
        with self._lock, deaf_to_the_keyboard():
            while self._waiting and len(self._given) < 2 * self._num:
                future, function, args = self._waiting.popleft()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    inner = self._submitted(function, *args)
                except Exception as problem:  # no memory for processes, or Python ends: said to who waits
                    future.set_exception(problem)
                    continue
                self._given[inner] = future
                inner.add_done_callback(self._take)

    def _submitted(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        try:
            return self._begun().submit(function, *args)
        except BrokenExecutor:
            self._pool = None
            return self._begun().submit(function, *args)

    def _take(self, inner: Future[Any]) -> None:
        """What a process gave, in a thread of the pool."""
        with self._lock:
            future = self._given.pop(inner, None)
        if future is None:
            return
        if inner.cancelled():
            future.set_exception(CancelledError())
        elif (problem := inner.exception()) is not None:
            future.set_exception(problem)
        else:
            future.set_result(inner.result())
        self._hand_out()

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
                self._num, timeout=_IDLE_S, initializer=_prepare, initargs=(os.getpid(),), env=environment
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
        return bool(self._waiting or self._given)

    def forget(self) -> None:
        """Do not begin with what still waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
        for future, _, _ in waiting:
            future.cancel()

    def stop(self) -> None:
        """End the processes, and what they are doing."""
        self.forget()
        with self._lock:
            pool, self._pool = self._pool, None
            given, self._given = self._given, {}
        if pool is not None:
            with suppress(queue.Empty):
                while True:  # loky forgets what these name before it reads them
                    pool._work_ids.get_nowait()
            pool.shutdown(wait=True, kill_workers=True)
        for future in given.values():
            future.set_exception(CancelledError())


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
