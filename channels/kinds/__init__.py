"""Kinds: what a scenario may name is one class in one file, built in or not."""

from channels.kinds.loading import GROUP, load_file, load_installed, loaded_files
from channels.kinds.provenance import Origin, line_of
from channels.kinds.registry import (
    FAMILIES,
    Family,
    Kind,
    KindError,
    add_family,
    find,
    foreign,
    generation,
    kind,
    kind_of,
    kinds,
    names,
    register,
    unregister,
)

__all__ = [
    "FAMILIES",
    "GROUP",
    "Family",
    "Kind",
    "KindError",
    "Origin",
    "add_family",
    "find",
    "foreign",
    "generation",
    "kind",
    "kind_of",
    "kinds",
    "line_of",
    "load_file",
    "load_installed",
    "loaded_files",
    "names",
    "register",
    "unregister",
]
