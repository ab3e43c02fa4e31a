"""Compiled functions: kept in Numba's cache where there is a place for it, and by no file that lies about."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core import config

__all__ = ["VECTORISED", "compiled"]

# Options of kernels whose values are finite: sums may be reordered, so that LLVM makes loops vector code.
VECTORISED: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "reassoc", "nnan", "ninf"},
}

# Numba reads .numba_config.yaml of the working directory, which could name a folder of pickles as its cache.
config._config_fname = os.devnull
config.reload_config()


def _done_without(cache: Any) -> None:
    """A cache that cannot be written any more, on a full disk, is done without."""
    save = cache.save_overload

    def save_or_not(signature: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            save(signature, data)

    cache.save_overload = save_or_not


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` with a cache on disk, without one where neither the installation nor a home can be
    written.

    Args:
        options: of ``numba.njit``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            made: Any = numba.njit(cache=True, **options)(function)
            _done_without(made._cache)
        except RuntimeError:  # "cannot cache function: no locator available"
            made = numba.njit(**options)(function)
        return made

    return decorate
