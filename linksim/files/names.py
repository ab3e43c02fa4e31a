"""File names of texts."""

from __future__ import annotations

import hashlib
import re

__all__ = ["file_name"]

_LONGEST_NAME = 120  # file systems take 255 bytes, of which endings need some


def file_name(*parts: str) -> str:
    """A file name that reads like the parts and is another one for other parts."""
    readable = "_".join(re.sub(r"[^A-Za-z0-9.+=-]+", "-", part) for part in parts)
    exact = readable == "_".join(parts) and all("_" not in part for part in parts)
    if exact and len(readable) <= _LONGEST_NAME and readable.strip("."):
        return readable
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=3).hexdigest()
    return f"{readable[:_LONGEST_NAME]}_{digest}"
