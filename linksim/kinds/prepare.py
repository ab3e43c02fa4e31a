"""What the registry does with a class that comes in: checks that it is whole, and makes the description of
it that scenarios validate.

Channels, delay models, estimators, schemes, networks and sets of pictures are descriptions themselves
(pydantic models with a ``build``). Impairments and source codecs are frozen dataclasses; their descriptions
have the same fields.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import BaseMetadata, GroupedMetadata
from pydantic import Field, Strict, create_model

from channels import kinds
from channels.checks import Unit, complaint, field_hints
from channels.kinds import KindError
from linksim.kinds.docstrings import argument_text
from linksim.kinds.fields import Spec, is_path

__all__ = ["description"]


def _described(
    family: str, base_at: str, key: str, name: str, target: Any, bound: Mapping[str, Any]
) -> type[Spec]:
    """A description as the registry takes it: with a field ``key`` that holds its name; numbers, texts and
    truth values of fields are not converted.

    Raises:
        KindError: another class, one that lacks a method, or a field that its base has with another meaning.
    """
    module, _, base_name = base_at.partition(":")
    base = getattr(importlib.import_module(module), base_name)
    where = f"{family} {name}"
    if not (isinstance(target, type) and issubclass(target, base)):
        got, expected = getattr(target, "__name__", target), f"a class that derives from {module}.{base_name}"
        raise KindError(complaint(where, f"no {family}", got, expected))
    if bound:
        raise KindError(complaint(where, "arguments", ", ".join(bound), "none: a description has fields"))
    required = getattr(target, "REQUIRED", {})
    lacking = [what for method, what in required.items() if _is_inherited_stub(target, method)]
    if lacking:
        got = f"{target.__name__} without {', '.join(lacking)}"
        raise KindError(complaint(where, "half written", got, "all methods of its base"))
    described: Any = target
    if name in get_args(described.model_fields[key].annotation):
        return target
    _refuse_clashes(where, described, base, key)
    if (
        family == "delay_model"
        and "speed_mps" not in described.model_fields
        and not _defines(target, "moves")
    ):
        got = f"{target.__name__} without moves (whether gains change with time) or a field speed_mps"
        raise KindError(complaint(where, "half written", got, "one of them"))
    return _named(described, key, name, _own_facts(family, target, base))


# What closed forms and interleaving conclude from: true of a built-in kind, not of what is derived from it.
_FACTS = {
    "channel": ("closed_form", "is_constant", "fares_alike", "one_gain"),
    "delay_model": ("rayleigh_branches",),
}


def _defines(target: type, attribute: str) -> bool:
    """Whether a class of other people has an attribute itself."""
    return any(attribute in vars(owner) for owner in target.__mro__ if _is_foreign(owner))


def _own_facts(family: str, target: type, base: type) -> dict[str, Any]:
    """Facts that a class would inherit from a built-in kind, as the base has them."""
    built_in = {found.target for found in kinds.kinds(family) if found.origin is None}
    if not built_in & set(target.__mro__):
        return {}
    return {fact: vars(base)[fact] for fact in _FACTS.get(family, ()) if not _defines(target, fact)}


def _refuse_clashes(where: str, target: Any, base: Any, key: str) -> None:
    """A field of the base keeps its meaning."""
    for field, info in target.model_fields.items():
        theirs = base.model_fields.get(field)
        if theirs is not None and field != key and info.annotation != theirs.annotation:
            got, expected = f"{field}: {info.annotation}", f"another name: {base.__name__} has {field}"
            raise KindError(complaint(where, "field named twice", got, expected))


def _named(target: Any, key: str, name: str, facts: Mapping[str, Any]) -> type[Spec]:
    """A sub-class whose field ``key`` is the name, and whose own plain fields are strict."""
    annotations: dict[str, Any] = {key: Literal[name]}
    namespace: dict[str, Any] = dict(facts)
    for owner in target.__mro__:
        for field in vars(owner).get("__annotations__", {}) if _is_foreign(owner) else ():
            info = target.model_fields.get(field)
            if info is not None and field not in annotations:
                annotations[field], namespace[field] = _strict(info.annotation, described=True), copy(info)
    namespace |= {
        "__annotations__": annotations,
        "__module__": target.__module__,
        "__qualname__": target.__qualname__,
        "__doc__": target.__doc__,
    }
    made: type[Spec] = type(target)(target.__name__, (target,), namespace)
    return made


def _is_foreign(owner: type) -> bool:
    return owner.__module__.split(".")[0] not in (
        "linksim",
        "channels",
        "pydantic",
        "builtins",
        "typing",
        "abc",
    )


def _is_inherited_stub(target: type, method: str) -> bool:
    """Whether a method is still the one of the base that only raises NotImplementedError."""
    for owner in target.__mro__:
        if method in vars(owner):
            return method in getattr(owner, "REQUIRED", {}) and "REQUIRED" in vars(owner)
    return True


channel = partial(_described, "channel", "linksim.kinds.channels.base:ChannelBase", "kind")
delay_model = partial(_described, "delay_model", "linksim.kinds.models.base:DelayModelBase", "kind")
estimator = partial(_described, "estimator", "linksim.kinds.channels.csi:EstimatorBase", "kind")
scheme = partial(_described, "scheme", "linksim.kinds.schemes.base:SchemeBase", "kind")
network = partial(_described, "network", "linksim.kinds.networks:NetworkBase", "kind")
images = partial(_described, "images", "linksim.kinds.images:ImagesBase", "kind")


# ------------------------------------------------------------------------------------------- dataclasses


def description(found: kinds.Kind) -> type[Spec]:
    """The description of a kind, which a scenario validates."""
    if found.family == "impairment":
        return of_dataclass(found.target, "linksim.kinds.impairments:ImpairmentBase", "kind", found.name)
    if found.family == "source_codec":
        base = "linksim.kinds.schemes.source:SourceBase"
        return of_dataclass(found.target, base, "codec", found.name, tuple(found.bound.items()))
    return found.target


@cache
def of_dataclass(
    target: type, base_at: str, key: str, name: str, bound: tuple[tuple[str, Any], ...] = ()
) -> type[Spec]:
    """A description with the fields of a dataclass, but for those that the name sets; ``build`` makes the
    object. A field may have another name in scenarios: ``field(metadata={"name": ...})``.
    """
    module, _, base_name = base_at.partition(":")
    base = getattr(importlib.import_module(module), base_name)
    hints = field_hints(target)
    own = [f for f in fields(target) if f.init and f.name not in dict(bound)]
    names = {f.metadata.get("name", f.name): f.name for f in own}
    made: dict[str, Any] = {key: (Literal[name], ...)}
    for part in own:
        default = part.default
        if part.default_factory is not MISSING:
            default = part.default_factory()
        meaning = part.metadata.get("description") or argument_text(target, part.name).rstrip(".") or None
        info = Field(... if default is MISSING else default, description=meaning)
        made[part.metadata.get("name", part.name)] = (_strict(hints[part.name]), info)

    def build(self: Spec) -> Any:
        """The object."""
        given = {attribute: getattr(self, field) for field, attribute in names.items()}
        return target(**given, **dict(bound))

    title = f"{target.__name__}_{name}" if bound else target.__name__
    model = create_model(title, __base__=base, __module__=target.__module__, __doc__=target.__doc__, **made)
    model.build = build  # type: ignore[attr-defined]
    return model  # type: ignore[return-value]


def _strict(hint: Any, described: bool = False) -> Any:
    """A type whose numbers, texts and truth values are not converted. Bounds of dataclasses are those that
    their construction checks, too; those of descriptions (``described``) are pydantic's.
    """
    if hint in (float, int, bool, str):
        return Annotated[hint, Strict()]
    if get_origin(hint) is Annotated:
        base, *metadata = get_args(hint)
        known = [m for m in metadata if isinstance(m, BaseMetadata | GroupedMetadata)]
        others = [m for m in metadata if m not in known and not isinstance(m, Unit)]
        if [m for m in others if not is_path(m)] and not described:
            expected = "bounds of annotated_types (Interval, Gt, Ge, Lt, Le), which Python checks, too"
            raise KindError(complaint("field", "bounds that only scenarios check", others[0], expected))
        return Annotated[(_strict(base, described), *known, *others)]
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(_strict(part, described) for part in get_args(hint))]  # noqa: UP007
    if get_origin(hint) is tuple:
        return tuple[tuple(_strict(part, described) if part is not ... else part for part in get_args(hint))]  # type: ignore[misc]
    return hint


# ------------------------------------------------------------------------- what is no block of a scenario


def source_codec(name: str, target: Any, bound: Mapping[str, Any]) -> Any:
    """A source codec: a frozen dataclass with the attributes of
    :class:`linksim.source.codec.SourceCodec`.

    Raises:
        KindError: what it lacks.
    """
    where = f"source_codec {name}"
    if not (isinstance(target, type) and is_dataclass(target) and target.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        raise KindError(
            complaint(where, "no source codec", getattr(target, "__name__", target), "a frozen dataclass")
        )
    wanted = ("name", "version", "qualities", "refusal", "encode", "decode")
    there = {f.name for f in fields(target)}
    lacking = [name_ for name_ in wanted if name_ not in there and not hasattr(target, name_)]
    if lacking:
        got = f"{target.__name__} without {', '.join(lacking)}"
        raise KindError(complaint(where, "half written", got, "all attributes of SourceCodec"))
    taken = {"codec", "resolutions", "select"} & {f.name for f in fields(target) if f.name not in bound}
    if taken:
        expected = "other names: these are fields of every source"
        raise KindError(complaint(where, "fields named twice", ", ".join(sorted(taken)), expected))
    return target


def sampler(name: str, target: Any, bound: Mapping[str, Any]) -> Callable[..., Any]:
    """A sampler: a function with the arguments of :func:`linksim.diffusion.sampler.Sampler`.

    Raises:
        KindError: other arguments.
    """
    wanted = ["predict", "schedule", "num_steps", "start", "noise", "guidance", "strength"]
    where = f"sampler {name}"
    if not callable(target):
        raise KindError(complaint(where, "no sampler", target, f"a function of ({', '.join(wanted)})"))
    found = [p for p in inspect.signature(target).parameters if p not in bound]
    if found != wanted:
        got = f"a function of ({', '.join(found)})"
        raise KindError(complaint(where, "other arguments", got, f"({', '.join(wanted)})"))
    return target


def metric(name: str, target: Any, bound: Mapping[str, Any]) -> Any:
    """A metric: a class that derives from one of the bases of :mod:`linksim.metrics.base`.

    Raises:
        KindError: another class, one that lacks something, or a name that no column can have.
    """
    from linksim.metrics import base

    where = f"metric {name}"
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise KindError(complaint(where, "not allowed", name, "small letters, digits and _"))
    if not (isinstance(target, type) and issubclass(target, base.MEASURES)):
        bases = ", ".join(known.__name__ for known in base.MEASURES)
        expected = f"a class that derives from one of {bases}"
        got = f"class {getattr(target, '__name__', target)}"
        raise KindError(complaint(where, "no metric", got, expected))
    lacking = sorted(getattr(target, "__abstractmethods__", ()))
    if lacking:
        got = f"{target.__name__} without {', '.join(lacking)}"
        raise KindError(complaint(where, "half written", got, "all methods of its base"))
    return target
