"""A scenario as YAML with comments: what every field means and what else could be written, from the
descriptions of the fields themselves.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from channels.checks import Unit
from linksim.kinds import names
from linksim.kinds.docstrings import argument_text
from linksim.kinds.fields import Quantity
from linksim.kinds.union import KindName, KindOf, annotation_parts
from linksim.scenario.sweeps import as_written

__all__ = ["FieldFacts", "commented", "field_facts", "field_text", "one_line"]

_WIDTH = 108
_ALIASES = {"channel": "channels"}  # of a single one
_SWEPT = "values of another field, by its path: a curve or a point for each"


# ------------------------------------------------------------------------------------- what a field means


@dataclass(frozen=True)
class FieldFacts:
    """What is known of a field; a text is empty where there is nothing to say.

    Args:
        meaning: in words.
        choices: values or kinds that it takes, if it takes no others.
        bounds: of numbers, without their unit.
        unit: of numbers.
    """

    meaning: str
    choices: str
    bounds: str
    unit: str


def field_facts(model: type[BaseModel], name: str) -> FieldFacts:
    """Facts of a field.

    Args:
        model: description that has the field.
        name: of the field.
    """
    info = model.model_fields[name]
    meaning = info.description or argument_text(model, name)
    if not meaning and _is_model(info.annotation):
        meaning = _summary(info.annotation)
    bounds, unit = _bounds(info)
    return FieldFacts(" ".join(meaning.split()).rstrip("."), _choices(info), bounds, unit)


def field_text(model: type[BaseModel], name: str) -> str:
    """What a field means, its unit and its bounds, or the choices; empty for a field that says nothing.

    Args:
        model, name: as of :func:`field_facts`.
    """
    facts = field_facts(model, name)
    parts = [facts.meaning, facts.choices, f"{facts.bounds} {facts.unit}".strip()]
    return "; ".join(part for part in parts if part)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _summary(target: Any) -> str:
    """First sentence of a docstring."""
    paragraph = " ".join((target.__doc__ or "").strip().partition("\n\n")[0].split())
    return re.split(r"\.\s+(?=[A-Z])", paragraph)[0].rstrip(".").replace("``", "")


def _choices(info: Any) -> str:
    """Kinds of a family that a field takes, or the texts that it may have."""
    for part in annotation_parts(info):
        if isinstance(part, KindOf):
            return f"kinds: {', '.join(_names_of(part))}"
        if isinstance(part, KindName):
            return f"some of {', '.join(names(part.family))}"
    found = _literals(info.annotation)
    return f"one of {', '.join(found)}" if len(found) > 1 else ""


def _names_of(part: KindOf) -> list[str]:
    return [str(name) for model in part.models for name in get_args(model.model_fields[part.key].annotation)]


def _literals(annotation: Any) -> list[str]:
    """Choices of a field that takes nothing but some values."""
    origin = get_origin(annotation)
    if origin is Literal:
        return [one_line(choice) for choice in get_args(annotation)]
    if origin in (Union, UnionType):
        parts = [_literals(part) for part in get_args(annotation) if part is not NoneType]
        found = [choice for part in parts for choice in part]
        return [] if [] in parts else [*found, *(["null"] if NoneType in get_args(annotation) else [])]
    return []


def _bounds(info: Any) -> tuple[str, str]:
    """Bounds, and their unit."""
    low = high = unit = ""
    for part in annotation_parts(info):
        quantity = getattr(part, "func", None)
        if isinstance(quantity, Quantity):
            low = f"above {quantity.low:g}" if quantity.open_low else f"{quantity.low:g}"
            high, unit = f"{quantity.high:g}", quantity.unit
        elif isinstance(part, Unit):
            unit = part.name
        else:
            for name, sign in (("ge", ""), ("gt", "above ")):
                value = getattr(part, name, None)
                low = f"{sign}{value:g}" if isinstance(value, int | float) else low
            for name, sign in (("le", ""), ("lt", "below ")):
                value = getattr(part, name, None)
                high = f"{sign}{value:g}" if isinstance(value, int | float) else high
    if low and high:
        return f"{low} to {high}", unit
    if low:
        return (low if low.startswith("above") else f"at least {low}"), unit
    return (f"at most {high}" if high else ""), unit


# ---------------------------------------------------------------------------------------- how it is written


class _Dumper(yaml.SafeDumper):
    """Plain YAML without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _number(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    """3.5e+9 instead of 3500000000.0; with a point and a sign it is a number for every reader of YAML."""
    text = repr(value)
    mantissa, _, exponent = f"{value:g}".partition("e")
    short = f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent or 0):+d}"
    if exponent and float(short) == value:
        text = short
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _number)
_Dumper.add_multi_representer(str, yaml.SafeDumper.represent_str)


def one_line(value: Any) -> str:
    """A value as YAML in one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=1e6, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("...\n").strip()


def commented(written: Mapping[str, Any], scenario: BaseModel, head: str) -> str:
    """A scenario as YAML that says of every field what it means, and of fields that are left out what they
    would be.

    Args:
        written: keys and values, as a file has them.
        scenario: what they were validated to.
        head: comment at the top, lines.
    """
    top = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    order = list(type(scenario).model_fields)
    keys = sorted(written, key=lambda key: order.index(str(_ALIASES.get(key, key))))
    lines = _Writer().block({key: written[key] for key in keys}, scenario, 0)
    return top + "\n".join(_spaced(list(lines))) + "\n"


def _spaced(lines: Sequence[str]) -> Iterator[str]:
    """Lines with an empty one above what begins a block at the margin."""
    for index, line in enumerate(lines):
        at_margin, after_block = not line.startswith(" "), index > 0 and lines[index - 1].startswith(" ")
        if at_margin and after_block:
            yield ""
        yield line


class _Writer:
    """Writes blocks; of a description that comes again the comments are not repeated."""

    def __init__(self) -> None:
        self._said: set[tuple[type, str]] = set()
        self._offered: set[type] = set()  # descriptions whose other fields were named

    def block(self, written: Mapping[str, Any], model: BaseModel, depth: int) -> Iterator[str]:
        """Lines of a block."""
        kind = type(model)
        for key, value in written.items():
            name = _ALIASES.get(key, key) if key not in kind.model_fields else key
            if name not in kind.model_fields:  # a swept path
                yield from self._field(key, value, None, _SWEPT, depth)
                continue
            text = "" if (kind, name) in self._said else self._text(kind, name)
            self._said.add((kind, name))
            yield from self._field(key, value, getattr(model, name), text, depth)
        if kind not in self._offered:
            self._offered.add(kind)
            yield from self._left_out(kind, {_ALIASES.get(key, key) for key in written}, depth)

    def _text(self, kind: type[BaseModel], name: str) -> str:
        """What a field means; of the field that names the kind, what that kind is."""
        if name not in ("kind", "codec") or len(_literals(kind.model_fields[name].annotation)) > 1:
            return field_text(kind, name)
        return _summary(kind)

    def _field(self, key: str, value: Any, model: Any, text: str, depth: int) -> Iterator[str]:
        """A key with its value, and what it means above it."""
        margin = "  " * depth
        yield from _comment(text, margin)
        if isinstance(value, Mapping) and (isinstance(model, BaseModel) or _one(model)):
            yield f"{margin}{key}:"
            yield from self.block(value, model if isinstance(model, BaseModel) else model[0], depth + 1)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield f"{margin}{key}:"
            for index, item in enumerate(value):
                lines = list(self.block(item, _item(model, item, index), depth + 2))
                yield from _as_item(lines, depth + 1)
        else:
            yield f"{margin}{key}: {one_line(value)}"

    def _left_out(self, kind: type[BaseModel], written: set[str], depth: int) -> Iterator[str]:
        """Fields that have their defaults, as comments: without the first # they are lines as others."""
        margin = "  " * depth
        for name, info in kind.model_fields.items():
            default = info.get_default(call_default_factory=True, validated_data={})
            if name in written or default is PydanticUndefined:
                continue
            text = field_text(kind, name)
            said = f"  # {text}" if text else ""
            if isinstance(default, BaseModel) or (name == "fields" and not default):
                continue
            line = f"{margin}#{name}: {one_line(as_written(default))}"
            if len(line + said) <= _WIDTH:
                yield line + said
            else:
                yield line
                yield from _comment(text, f"{margin}#  ")


def _one(model: Any) -> bool:
    """Whether the value of ``channel`` became a list of one."""
    return isinstance(model, tuple) and len(model) == 1 and isinstance(model[0], BaseModel)


def _item(models: Sequence[Any], item: Mapping[str, Any], index: int) -> Any:
    """The description that an item of a list became; one of several, where a list of MCS was taken apart."""
    name = item.get("name")
    for model in models:
        if name is not None and getattr(model, "name", None) == name:
            return model
    for model in models:
        if name is not None and str(getattr(model, "name", "")).startswith(f"{name} "):
            return model
    return models[index]


def _as_item(lines: Sequence[str], depth: int) -> Iterator[str]:
    """Lines of a block as an item of a list: comments in front of its dash."""
    margin, first = "  " * depth, True
    for line in lines:
        is_comment = line.lstrip().startswith("#")
        if first and not is_comment:
            yield f"{margin}- {line.lstrip()}"
            first = False
        elif first:
            yield f"{margin}{line.lstrip()}"
        else:
            yield line


def _comment(text: str, margin: str) -> Iterator[str]:
    """A text as comment lines."""
    if text:
        for line in textwrap.wrap(text, _WIDTH - len(margin) - 2, break_on_hyphens=False):
            yield f"{margin}# {line}"
