"""Python processes that import nothing from the working directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["safe_children", "safe_environment"]

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
