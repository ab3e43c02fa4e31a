"""Descriptions to objects: checkpoints, shared models, channels.

What :mod:`linksim.build.objects` has is here, too.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """See :mod:`linksim.build.objects`."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("linksim.build.objects"), name)
