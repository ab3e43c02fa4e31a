"""OFDM: grid, waveform, pilots, receiver. What :mod:`channels.ofdm.link` has is here, too."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """See :mod:`channels.ofdm.link`."""
    from importlib import import_module

    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("channels.ofdm.link"), name)
