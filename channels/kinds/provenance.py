"""Where the code of a kind comes from, and the digest of it: what a run records, and what its hash covers."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["Origin", "code_digest", "files_digest", "line_of", "package_files", "siblings"]

_VALUES = (int, float, str, bytes, tuple)


@dataclass(frozen=True)
class Origin:
    """Where a kind that is not built in comes from.

    Args:
        source: installed package with its version, name of a file, or "session" (a notebook).
        digest: SHA-256 of the source, 16 hex digits: all modules of the package; the file and the modules
            beside it that it imports; in a notebook what its functions do.
        path: of the file, for messages; empty if there is none.
    """

    source: str
    digest: str = ""
    path: str = ""

    @property
    def text(self) -> str:
        """For run.json and for the hash of a scenario."""
        return f"{self.source} {self.digest}".strip()


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of some files in the order of their paths, 16 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(set(paths)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def package_files(module: str) -> list[Path]:
    """Python files of the package, or of the one module, that a module belongs to."""
    top = sys.modules.get(module.split(".", maxsplit=1)[0])
    source = getattr(top, "__file__", None)
    if not source:
        return []
    path = Path(source)
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]


def siblings(before: Iterable[str], folder: Path) -> list[Path]:
    """Files below a folder of the modules imported since ``before``, but for installed packages."""
    found = []
    for name in set(sys.modules) - set(before):
        source = getattr(sys.modules[name], "__file__", None)
        if source and Path(source).suffix == ".py":
            path = Path(source).resolve()  # torch.classes has a name for a file, relative to nothing
            if path.is_file() and path.is_relative_to(folder) and "site-packages" not in path.parts:
                found.append(path)
    return sorted(found)


def line_of(problem: BaseException, path: str | Path) -> int | None:
    """The line of a file where an exception came from; None if that file has no part in it."""
    if isinstance(problem, SyntaxError) and problem.filename == str(path):
        return problem.lineno
    trace, line = problem.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def code_digest(target: Any) -> str:
    """SHA-256 of what a class or function does, 16 hex digits: its byte code and its values, and those of the
    classes and functions of the same module that it names; of cells in a notebook no source is kept.
    """
    digest = hashlib.sha256()
    for part in _parts(target, set()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _parts(target: Any, seen: set[int]) -> Iterator[str]:
    if id(target) in seen:
        return
    seen.add(id(target))
    if isinstance(target, FunctionType):
        yield from _function_parts(target, seen)
    elif isinstance(target, property):
        for function in (target.fget, target.fset):
            yield from _parts(function, seen) if function is not None else ()
    elif isinstance(target, classmethod | staticmethod):
        yield from _parts(target.__func__, seen)
    elif isinstance(target, type):
        yield from _class_parts(target, seen)


def _function_parts(target: FunctionType, seen: set[int]) -> Iterator[str]:
    yield from _code_parts(target.__code__)
    yield repr(target.__defaults__)
    for name in _names(target.__code__):
        used = target.__globals__.get(name)
        if getattr(used, "__module__", None) == target.__module__ and not isinstance(used, ModuleType):
            yield from _parts(used, seen)
        elif isinstance(used, _VALUES):
            yield f"{name}={used!r}"


def _class_parts(target: type, seen: set[int]) -> Iterator[str]:
    yield target.__qualname__
    for base in target.__bases__:
        if base.__module__ == target.__module__:
            yield from _parts(base, seen)
    for name, value in sorted(vars(target).items()):
        if isinstance(value, FunctionType | property | classmethod | staticmethod | type):
            yield name
            yield from _parts(value, seen)
        elif not name.startswith("_") and isinstance(value, _VALUES):
            yield f"{name}={value!r}"
    yield repr(sorted((k, str(v)) for k, v in vars(target).get("__annotations__", {}).items()))


def _code_parts(code: CodeType) -> Iterator[str]:
    yield code.co_name
    yield code.co_code.hex()
    yield repr(code.co_names)
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _code_parts(value)
        else:
            yield repr(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _names(value)
