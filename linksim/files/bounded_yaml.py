"""YAML of bounded size: small files, few values once every alias is written out, no circles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

__all__ = ["MAX_BYTES", "MAX_VALUES", "load_yaml", "read_text"]

MAX_BYTES = 1 << 20
MAX_VALUES = 100_000


def read_text(path: Path) -> str:
    """A UTF-8 text file of at most :data:`MAX_BYTES`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger, or no UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return data.decode("utf-8")


def load_yaml(text: str, loader: type[Any] = yaml.SafeLoader) -> Any:
    """The document of a text.

    Args:
        text: YAML.
        loader: a subclass of ``yaml.SafeLoader``.

    Raises:
        yaml.YAMLError: no YAML, too large, or more than :data:`MAX_VALUES` values (a few aliases of aliases
            stand for billions).
    """
    if len(text) > MAX_BYTES:
        raise yaml.YAMLError(f"more than {MAX_BYTES} characters")
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        _count(node, {}, set())
        try:
            return reader.construct_document(node)
        except (AttributeError, IndexError, KeyError, TypeError) as problem:  # of PyYAML: !!bool maybe
            raise yaml.YAMLError(f"a value that its tag does not allow ({problem})") from None
    finally:
        reader.dispose()


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Values below a node, aliases written out."""
    key = id(node)
    if key in above:
        raise yaml.YAMLError("an alias that contains itself")
    if key not in known:
        total = 1
        if isinstance(node, yaml.CollectionNode):
            above.add(key)
            parts = (
                item if isinstance(item, tuple) else (item,) for item in node.value
            )  # of mappings: pairs
            total += sum(_count(child, known, above) for part in parts for child in part)
            above.remove(key)
        if total > MAX_VALUES:
            raise yaml.YAMLError(f"more than {MAX_VALUES} values, aliases written out")
        known[key] = total
    return known[key]
