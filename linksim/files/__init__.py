"""Files: where they are, whole writes, YAML within bounds. What :mod:`~linksim.files.writing` has is here."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """See :mod:`linksim.files.writing`."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("linksim.files.writing"), name)
