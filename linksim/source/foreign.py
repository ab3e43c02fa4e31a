"""Source codecs that are not built in: told apart by their code, known to other processes."""

from __future__ import annotations

import sys
from pathlib import Path

from channels.kinds import kind_of, loaded_files
from linksim.source.codec import SourceCodec

__all__ = ["send_by_value", "stamp"]


def stamp(codec: SourceCodec) -> str:
    """What makes a stream beside picture and quality: of a codec that is not built in also its code and all
    its fields, whatever its name and version say.
    """
    text = f"{codec.name}|{codec.version}"
    found = kind_of(type(codec))
    if found is None or found.origin is None:
        return text
    return f"{text}|{found.name}|{found.origin.text}|{codec!r}"


def send_by_value(codec: type) -> None:
    """Let worker processes have the class of a codec that they cannot import (a file of --with)."""
    module = sys.modules.get(codec.__module__)
    if module is not None and Path(str(getattr(module, "__file__", ""))) in loaded_files():
        import cloudpickle

        cloudpickle.register_pickle_by_value(module)
