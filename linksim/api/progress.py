"""How far a run is, for people: one line that is rewritten, or one line every ten seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from linksim.results.time_left import Estimate

__all__ = ["ProgressLine"]


class ProgressLine:
    """Units done and time left: one line that is rewritten on a terminal, else one line every ten seconds.

    Args:
        stream: where it is written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tty = stream.isatty()
        self._first: tuple[float, int] | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int, left: Estimate) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
            if done:
                self._write(f"resuming: {done} of {total} units are done\n")
        if done < total and now - self._last < (0.2 if self._tty else 10):
            return
        self._last = now
        began, before = self._first
        text = f"{done} of {total} units, {now - began:.0f} s"
        if before < done < total:
            text += f", {left}"
        end = "\n" if done >= total or not self._tty else ""
        self._write(("\r\x1b[K" if self._tty else "") + text + end)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
