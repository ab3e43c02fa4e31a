"""What docstrings say of arguments: the descriptions of fields that carry none of their own."""

from __future__ import annotations

import re
import textwrap

__all__ = ["argument_text"]


def argument_text(target: type, name: str) -> str:
    """What ``Args:`` of a class says of an argument, in one line; empty where it says nothing.

    Args:
        target: class with a docstring.
        name: of the argument.

    Example:
        >>> class Filter:
        ...     '''A low pass.
        ...
        ...     Args:
        ...         low, high: edges of
        ...             the pass band [Hz].
        ...         order: of the filter.
        ...     '''
        >>> argument_text(Filter, "high"), argument_text(Filter, "gain")
        ('edges of the pass band [Hz].', '')
    """
    text = textwrap.dedent((target.__doc__ or "").partition("\n")[2])
    found = re.search(rf"^    (?:\w+, )*{name}(?:, \w+)*: (.*?)(?=^    \S|^\S|\Z|\n\n)", text, re.M | re.S)
    return " ".join(found[1].split()) if found else ""
