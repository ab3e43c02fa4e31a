"""Which kinds a scenario uses that are not built in: recorded with its runs, and part of its hash."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from pydantic import BaseModel

from channels import kinds
from linksim.kinds.prepare import description
from linksim.kinds.union import KindName, annotation_parts

__all__ = ["foreign_kinds"]

_BLOCKS = ("channel", "delay_model", "estimator", "impairment", "scheme", "network", "source_codec", "images")


def foreign_kinds(scenario: BaseModel) -> dict[str, str]:
    """Kinds that are not built in, "family name": where each comes from (distribution and version, or file
    and digest), sorted.
    """
    foreign = kinds.foreign()
    if not foreign:
        return {}
    by_class = {description(found): found for found in foreign if found.family in _BLOCKS}
    by_name = {(found.family, found.name): found for found in foreign if found.family not in _BLOCKS}
    used = []
    networks = [n for scheme in getattr(scenario, "schemes", ()) for n in scheme.networks()]
    for value in chain(_named(scenario), _named(networks)):
        found = by_name.get(value) if isinstance(value, tuple) else by_class.get(value)
        if found is not None:
            assert found.origin is not None
            used.append((f"{found.family} {found.name}", found.origin.text))
    swept = getattr(getattr(scenario, "sweep", None), "fields", {})
    values = {value for several in swept.values() for value in several if isinstance(value, str)}
    used += [(f"{k.family} {k.name}", k.origin.text) for k in foreign if k.name in values and k.origin]
    return dict(sorted(set(used)))


def _named(value: Any) -> Iterator[Any]:
    """Classes of all descriptions in a value, and (family, name) of what is named."""
    if isinstance(value, BaseModel):
        yield type(value)
        for name, info in type(value).model_fields.items():
            inner = getattr(value, name)
            families = [part.family for part in annotation_parts(info) if isinstance(part, KindName)]
            for family in families:
                texts = [inner] if isinstance(inner, str) else inner
                yield from ((family, text) for text in texts)
            yield from _named(inner)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _named(item)
