"""Types of arguments: texts of the command line to numbers, or a message that says what was expected."""

from __future__ import annotations

import argparse
import re

__all__ = ["count", "port", "seconds", "size"]


def count(text: str) -> int:
    """Argument type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return value


def seconds(text: str) -> float:
    """Argument type: a duration such as 540s, 9m or 2h, in seconds."""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        value = float(text[:-1]) * factor
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e7:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a time such as 540s, 9m or 2h")
    return value


def size(text: str) -> int:
    """Argument type: an amount of memory such as 500MB or 16GB, in bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT])i?B?", text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected an amount such as 500MB or 16GB")
    return int(float(found[1]) * {"M": 1e6, "G": 1e9, "T": 1e12}[found[2].upper()])


def port(text: str) -> int:
    """Argument type: a TCP port, 1 to 65535."""
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a port from 1 to 65535")
    return value
