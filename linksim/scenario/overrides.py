"""--set: values for fields by their path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from channels.checks import shown
from linksim.scenario.errors import ScenarioError
from linksim.scenario.reading import parse_yaml
from linksim.scenario.schema import ChannelSpec, channel_name

__all__ = ["channel_label", "numbered", "parse_overrides", "set_path"]


def parse_overrides(pairs: Sequence[str]) -> list[tuple[str, Any]]:
    """``path=value`` of --set; the value is YAML (numbers, lists and mappings work).

    Raises:
        ScenarioError: no "=" in it.
    """
    result = []
    for pair in pairs:
        path, sign, text = pair.partition("=")
        if not sign or not path.strip():
            got = "no field in front of '='" if sign else "no '='"
            raise ScenarioError(f"--set {pair}: got {got}, expected path=value such as sweep.trials=1.")
        result.append((path.strip(), parse_yaml(text, f"--set {path}")))
    return result


def set_path(data: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path; list items by index or by the ``name`` they carry."""
    parts = path.split(".")
    if parts[0] == "channel" and "channels" in data and "channel" not in data:
        for item in data["channels"]:
            set_path({"channel": item}, path, value)
        return
    if parts[0] == "sweep" and len(parts) > 2:
        parts = ["sweep", ".".join(parts[1:])]
    node: Any = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(node, list):
            index = _list_index(node, part, path)
            if last:
                node[index] = value
            node = node[index]
        elif isinstance(node, dict):
            if last:
                node[part] = value
            else:
                node = node.setdefault(part, {})
        else:
            head = ".".join(parts[:depth])
            got = f"none at {head}" if node is None else f"the value {shown(node)} at {head}"
            cure = "Write that block into the scenario first." if node is None else "Change the path."
            raise ScenarioError(
                f"{path}: no block, got {got}, expected one that has the key {part!r}. {cure}"
            )


def _list_index(items: list[Any], part: str, path: str) -> int:
    if part.isdigit() and int(part) < len(items):
        return int(part)
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if path.split(".", maxsplit=1)[0] in ("channel", "channels"):
        names = [name or channel_label(item) for name, item in zip(names, items, strict=True)]
    if part in names:
        return names.index(part)
    if not items:
        cure = "Write its items into the scenario first."
        raise ScenarioError(
            f"{path}: no items, got {part!r} of an empty list, expected a list with some. {cure}"
        )
    known = [n for n in names if n] or [f"0 to {len(items) - 1}"]
    raise ScenarioError(f"{path}: got {part!r}, expected one of {', '.join(map(str, known))}.")


def numbered(data: dict[str, Any], path: str) -> str:
    """``path`` with the index of a channel in place of its label, which values that are set may change."""
    head, _, rest = path.partition(".")
    label, _, field = rest.partition(".")
    labels = (
        [channel_label(item) for item in data.get("channels") or []] if head == "channels" and field else []
    )
    return f"channels.{labels.index(label)}.{field}" if label in labels else path


def channel_label(channel: Any) -> str | None:
    """The name that results and messages give to a channel without one; None of what is not one yet."""
    try:
        return channel_name(TypeAdapter(ChannelSpec).validate_python(channel))
    except ValidationError:
        return None
