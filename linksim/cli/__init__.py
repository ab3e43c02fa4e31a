"""The command line. What :mod:`linksim.cli.commands` has is here, too, when it is used."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """See :mod:`linksim.cli.commands`."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("linksim.cli.commands"), name)
