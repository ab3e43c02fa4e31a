"""How many draws stand behind the statistics of a model: all, or few for a check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["draws_share", "rough_statistics"]

_ROUGH = 20  # of so many draws one is taken
_SHARE: ContextVar[int] = ContextVar("draws_share", default=1)


@contextmanager
def rough_statistics() -> Iterator[None]:
    """Within, statistics that no process has measured before are measured with few draws (as few as a
    twentieth), and not kept: enough to see whether a link can be built and what it costs. Nothing may be
    simulated with a model that was made within. The mean gain of a cell with path loss is exact: it decides
    an SNR.
    """
    token = _SHARE.set(_ROUGH)
    try:
        yield
    finally:
        _SHARE.reset(token)


def draws_share() -> int:
    """One of how many draws is taken: part of the key of whatever is measured."""
    return _SHARE.get()
