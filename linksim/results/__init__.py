"""What runs leave: records, their folder, rows with intervals; :mod:`linksim.results.store` is here, too."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """See :mod:`linksim.results.store`."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("linksim.results.store"), name)
