"""Messages about scenarios that do not fit: pydantic's errors in the words and with the paths of the user."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from channels.checks import cut, shown
from linksim.kinds.union import models_in, nested_models
from linksim.scenario.schema import Scenario

__all__ = ["explain"]

Path_ = tuple[int | str, ...]
_LONGEST = 2000  # characters of a line: lists of what is allowed are long


def explain(model: type[BaseModel], data: dict[str, Any], problem: ValidationError) -> list[str]:
    """A line for every problem: path as the user typed it, what is wrong, got, expected, cure.

    Args:
        model: what the data should have been.
        data: as read.
        problem: what pydantic says.
    """
    errors = problem.errors(include_url=False)
    specific = [e for e in errors if e["type"] not in ("too_short",)] or errors
    by_path: dict[str, list[Any]] = {}
    for error in specific:
        by_path.setdefault(_user_path(error["loc"], data), []).append(error)
    lines = []
    for path, group in by_path.items():
        alternatives = {_expected(error) for error in group}
        if len(group) > 1 and all(error["type"] in _CHOICES for error in group):  # branches of a union
            got = group[0].get("input")
            expected = " or ".join(sorted(alternatives))
            lines.append(f"{path}: not allowed, got {shown(got)}, expected {expected}.")
        else:
            lines += [_line(model, error, path) for error in group]
    return [cut(line, _LONGEST) for line in dict.fromkeys(lines)]


def _user_path(loc: Path_, data: Any) -> str:
    """Path as the user typed it: without union tags, with ``channel`` where that was written."""
    parts: list[str] = []
    node = data
    steps = list(loc)
    if steps[:1] == ["channels"] and isinstance(data, dict) and "channels" not in data:
        steps[:2] = ["channel"]
    if (
        steps[:2] == ["train", "channels"]
        and isinstance(data, dict)
        and "channels" not in (data.get("train") or {})
    ):
        steps[1:4] = ["channel"]
    for step in steps:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            node = node[step]
            if isinstance(node, dict) and isinstance(node.get("name"), str):
                parts.append(f"{step} ({node['name']})")
                continue
        elif (isinstance(node, dict) and step in (node.get("kind"), node.get("codec"))) or (
            isinstance(step, str) and ("[" in step or step in _UNION_TAGS)
        ):
            continue
        else:
            node = None
        parts.append(cut(str(step), 100))
    sweep = data.get("sweep") if isinstance(data, dict) else None
    if parts[:2] == ["sweep", "fields"] and isinstance(sweep, dict) and "fields" not in sweep:
        del parts[1]  # a path of its own was written
    return ".".join(parts)


def _line(model: type[BaseModel], error: Any, path: str) -> str:
    kind, got = error["type"], error.get("input")
    prefix = f"{path}: " if path else ""
    if kind == "value_error":
        message = str(error["ctx"]["error"])
        names_a_field = re.match(r"[a-z_.]+: ", message) is not None
        return f"{path}.{message}" if path and names_a_field else f"{prefix}{message}"
    not_a_block = kind in ("model_type", "model_attributes_type", "dict_type")
    if kind == "extra_forbidden":
        return prefix + _unknown_key(model, error["loc"])
    if not_a_block or (kind == "union_tag_not_found" and not isinstance(got, dict)):
        cure = f" Write {{kind: {got}}}." if isinstance(got, str) and got in _all_kinds() else ""
        return f"{prefix}not a block, got {shown(got)}, expected a block of keys and values.{cure}"
    if kind == "union_tag_invalid":
        return _unknown_kind(error["ctx"], path)
    if kind in ("float_type", "int_type") and isinstance(got, str):
        cure = "Write the number without quotes or unit; the unit is in the name of the key."
        return f"{prefix}not a number, got the text {shown(got)}, expected a number. {cure}"
    if kind == "literal_error":
        return prefix + _choice(got, error["ctx"]["expected"].replace("'", ""))
    if kind == "tuple_type":
        return f"{prefix}not a list, got {shown(got)}, expected a list.{_as_list(path, got)}"
    return prefix + _MISSING.get(kind, _other(error))


_MISSING = {
    "missing": "missing, got nothing, expected a value. Add it.",
    "union_tag_not_found": (
        "kind: missing, got nothing, expected a key 'kind' that says what this block is."
    ),
}


def _other(error: Any) -> str:
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{message}, got {shown(error.get('input'))}, expected {_expected(error)}."


def _unknown_key(model: type[BaseModel], loc: Path_) -> str:
    known, name = _fields_at(model, loc[:-1]), str(loc[-1])
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    cure = f" Did you mean {close[0]}?" if close else ""
    return f"unknown key, got {shown(name)}, expected one of {', '.join(sorted(known))}.{cure}"


def _unknown_kind(context: Any, path: str) -> str:
    tags, key = (context[name].replace("'", "") for name in ("expected_tags", "discriminator"))
    if key != "kind":
        head, _, last = tags.rpartition(", ")
        return f"{path}.{key}: {_choice(context['tag'], f'{head} or {last}' if head else last)}"
    close = difflib.get_close_matches(context["tag"], tags.split(", "), n=1)
    cure = f" Did you mean {close[0]}?" if close else ""
    prefix = f"{path}: " if path else ""
    return f"{prefix}kind: unknown, got {shown(context['tag'])}, expected one of {tags}.{cure}"


def _as_list(path: str, got: Any) -> str:
    if got is None:
        return " Write [], or leave it out."
    if "receivers" in path:
        return " Write positions in metres, [[x, y, z]]."
    if path.endswith("guard_subcarriers"):
        return " Write [lower, upper]."
    if isinstance(got, str) and (
        ends := re.fullmatch(r"\s*(-?[\d.]*\d)\s*(?:\.\.+|:|-|to|,)\s*(-?[\d.]+)\s*", got)
    ):
        low, high = ends.groups()
        return f" Write [{low}, {high}], or {low}:2:{high} for steps of 2."
    return "" if isinstance(got, dict) else f" Write [{cut(str(got), 100)}]."


def _choice(got: Any, allowed: str) -> str:
    choices = re.split(r", | or ", allowed)
    if not isinstance(got, str) and str(got) in choices:
        return f'not a text, got the number {shown(got)}, expected {allowed}. Write it in quotes: "{got}".'
    close = difflib.get_close_matches(str(got), choices, n=1)
    cure = f" Did you mean {close[0]}?" if close else ""
    return f"unknown choice, got {shown(got)}, expected {allowed}.{cure}"


# What pydantic puts into the place of an error for the branch of a union that it tried.
_UNION_TAGS = ("float", "int", "str", "bool", "constrained-int", "tdl", "bpg", "positions", "route")
_CHOICES = (
    "literal_error",
    "int_type",
    "int_from_float",
    "float_type",
    "string_type",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
)


def _expected(error: Any) -> str:
    context = error.get("ctx") or {}
    if error["type"] == "literal_error":
        return str(context["expected"]).replace("'", "")
    names = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    limits = [f"{names[k]} {v:g}" for k, v in context.items() if k in names]
    if limits:
        return "a value " + " and ".join(limits)
    simple = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "string_type": "a text",
        "bool_type": "true or false",
        "model_type": "a block of keys and values",
        "model_attributes_type": "a block of keys and values",
        "dict_type": "a block of keys and values",
        "tuple_type": "a list",
        "too_short": "at least one item",
        "string_pattern_mismatch": "letters, digits, spaces and . _ + -",
        "multiple_of": f"a multiple of {context.get('multiple_of')}",
        "finite_number": "a finite number",
    }
    return simple.get(error["type"], "another value")


def _all_kinds() -> frozenset[str]:
    """Every name that a key ``kind`` may have."""
    found: set[str] = set()
    models: list[type[BaseModel]] = [Scenario]
    for model in models:  # grows
        for name, field in model.model_fields.items():
            found |= set(get_args(field.annotation)) if name == "kind" else set()
        models += [m for m in dict.fromkeys(nested_models(model)) if m not in models]
    return frozenset(str(kind) for kind in found)


def _fields_at(model: type[BaseModel], loc: Path_) -> list[str]:
    """Keys that the block at ``loc`` accepts."""
    current: list[type[BaseModel]] = [model]
    for step in loc:
        nested = [m for c in current if step in c.model_fields for m in _models_of(c, str(step))]
        tagged = [c for c in current if step in _tags(c)]
        current = nested or tagged or current
    names = [name for c in current for name in c.model_fields]
    if model is Scenario and not loc:
        names.append("channel")
    return list(dict.fromkeys(names))


def _models_of(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """Descriptions that a field may hold: those of its kinds, in the place of their base."""
    info = model.model_fields[field]
    kinds = [m for part in info.metadata for m in models_in(part)]
    return kinds or list(dict.fromkeys(models_in(info.annotation)))


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """Names by which a union tells a description apart."""
    keys = (key for key in ("kind", "codec") if key in model.model_fields)
    return tuple(name for key in keys for name in get_args(model.model_fields[key].annotation))
