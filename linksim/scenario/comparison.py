"""What results can be compared with, by the names that people give it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["references"]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def references(
    schemes: Iterable[str], channels: Iterable[str], fields: Mapping[str, Iterable[Any]]
) -> dict[str, tuple[str, Any]]:
    """Everything that results of a scenario can be compared with.

    Args:
        schemes: their names.
        channels: their names in results; one alone is nothing to compare with.
        fields: values of every swept field, by its path.

    Returns:
        By name ("BPG + LDPC", "known gain", "channel.csi.kind=ls") what differs ("scheme", "channel", or the
        path of the field) and its value. A scheme takes its name before a channel.

    Example:
        >>> references(["a", "b"], ["awgn"], {"channel.csi.kind": ["ls"]})
        {'channel.csi.kind=ls': ('channel.csi.kind', 'ls'), 'a': ('scheme', 'a'), 'b': ('scheme', 'b')}
    """
    found = {f"{path}={_text(value)}": (path, value) for path, values in fields.items() for value in values}
    for what, names in (("channel", list(channels)), ("scheme", list(schemes))):
        if len(names) > 1:
            found |= {name: (what, name) for name in names}
    return found
