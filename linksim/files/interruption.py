"""Where a run or a training may be stopped: between two batches or steps, not within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["STOPS", "uninterrupted"]

STOPS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block has ended; one that nobody handles ends the process as ever."""
    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before: dict[int, Callable[[int, FrameType | None], object]] = {}
    for number in STOPS:
        handler = signal.getsignal(number)
        if callable(handler):
            before[number] = handler
    try:
        for number in before:
            signal.signal(number, lambda stop, frame: came.append((stop, frame)))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for stop, frame in came[:1]:
            before[stop](stop, frame)
