"""Sets of pictures. What :mod:`linksim.images.sets` has is here, too, when it is used."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """See :mod:`linksim.images.sets`."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("linksim.images.sets"), name)
