"""Fields of scenarios that name a kind: a union over all kinds of a family, whoever brought them.

Pydantic compiles a union once. :class:`KindOf` makes it of what is registered at that time; :func:`refresh`
compiles again every description that depends on a family, when a kind has come since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Discriminator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from channels import kinds
from linksim.files.places import place
from linksim.kinds.fields import Spec, is_path

__all__ = ["KindName", "KindOf", "annotation_parts", "descriptions", "path_digests", "path_keys", "refresh"]


def descriptions(family: str) -> tuple[type[Spec], ...]:
    """The descriptions of a family, each once, in the order of their names."""
    return tuple(dict.fromkeys(_description(found) for found in kinds.kinds(family)))


def _description(found: kinds.Kind) -> type[Spec]:
    from linksim.kinds.prepare import description

    return description(found)


class KindOf:
    """Annotation of a field that holds a description of a family.

    Args:
        family: of the registry.
        key: field that tells kinds apart.
        but: kinds that this field does not take.
    """

    def __init__(self, family: str, key: str = "kind", but: tuple[str, ...] = ()) -> None:
        self.family, self.key, self.but = family, key, but

    @property
    def models(self) -> list[type[Spec]]:
        """Descriptions that the field takes."""
        found = descriptions(self.family)
        return [m for m in found if not set(get_args(m.model_fields[self.key].annotation)) & set(self.but)]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The union of today."""
        models = self.models
        if len(models) == 1:
            return handler.generate_schema(models[0])
        return handler.generate_schema(Annotated[reduce(or_, models), Discriminator(self.key)])


class KindName:
    """Annotation of a text that names a kind of a family."""

    def __init__(self, family: str) -> None:
        self.family = family

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """One of the names of today."""
        return core_schema.literal_schema(list(kinds.names(self.family)))


@dataclass
class _State:
    """Of the registry when the unions were compiled."""

    generation: int


_STATE = _State(kinds.generation())


def refresh() -> None:
    """Compile again what depends on kinds that came since; without any, nothing happens."""
    kinds.load_installed()
    if kinds.generation() == _STATE.generation:
        return
    _STATE.generation = kinds.generation()
    done: set[type[BaseModel]] = set()
    for model in _subclasses(Spec):
        _compile(model, done)


def _subclasses(base: type[Spec]) -> Iterator[type[Spec]]:
    for model in base.__subclasses__():
        yield model
        yield from _subclasses(model)


def _compile(model: type[BaseModel], done: set[type[BaseModel]]) -> None:
    """A model after those that it holds."""
    if model in done:
        return
    done.add(model)
    for nested in nested_models(model):
        _compile(nested, done)
    model.model_rebuild(force=True)


def nested_models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Descriptions that fields of a model may hold, those of registered kinds too."""
    for info in model.model_fields.values():
        yield from models_in(info.annotation)
        for part in info.metadata:
            if isinstance(part, KindOf):
                yield from part.models


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Descriptions in an annotation."""
    if isinstance(annotation, KindOf):
        yield from annotation.models
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in (*get_args(annotation), *getattr(annotation, "__metadata__", ())):
            yield from models_in(part)


def path_keys() -> frozenset[str]:
    """Names of all fields, of foreign kinds too, that hold paths: those begin beside the scenario's file."""
    refresh()
    return _path_keys(_STATE.generation)


@cache
def _path_keys(generation: int) -> frozenset[str]:
    models = dict.fromkeys(_subclasses(Spec))
    return frozenset(
        name
        for model in models
        for name, info in model.model_fields.items()
        if any(is_path(part) for part in annotation_parts(info))
    )


def annotation_parts(info: Any) -> Iterator[Any]:
    """All metadata of a field, however deep in its annotation."""
    yield from info.metadata
    stack = [info.annotation]
    while stack:
        part = stack.pop()
        yield from getattr(part, "__metadata__", ())
        stack += get_args(part)


def path_digests(spec: BaseModel) -> dict[str, str]:
    """Digest of every file or folder that a field of a description names, by its text.

    Args:
        spec: with fields of type :data:`linksim.kinds.fields.PathName`.
    """
    from linksim.build.checkpoints import place_digest, tree_digest

    found: dict[str, str] = {}
    for name, info in type(spec).model_fields.items():
        value = getattr(spec, name)
        if value and any(is_path(part) for part in annotation_parts(info)):
            for text in (value,) if isinstance(value, str) else value:
                path = place(text)
                found[str(text)] = tree_digest(path) if path.is_dir() else place_digest(path)
    return found
