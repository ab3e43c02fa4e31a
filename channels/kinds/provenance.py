"""Where the code of a kind comes from, and the digest of it: what a run records, and what its hash covers."""

from __future__ import annotations

import hashlib
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

__all__ = ["Origin", "code_digest", "files_digest", "line_of", "package_files", "siblings"]

_PLAIN = (int, float, complex, str, bytes)
_PROCESS = secrets.token_hex(8)


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
    classes and functions of the same module that it names; of cells in a notebook no source is kept. Values
    whose content nobody can tell count as others in every process.
    """
    digest = hashlib.sha256()
    for part in _parts(target, target.__module__, set()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def _parts(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """What a value is, in texts."""
    inner = getattr(value, "__wrapped__", None) or getattr(value, "func", None)
    if isinstance(value, _PLAIN) or value is None:
        yield repr(value)
    elif isinstance(value, ModuleType):
        yield value.__name__
    elif id(value) in seen:
        return
    elif isinstance(value, FunctionType | type) and value.__module__ != module:
        yield f"{value.__module__}.{value.__qualname__}"
    else:
        seen.add(id(value))
        if isinstance(value, FunctionType):
            yield from _function_parts(value, module, seen)
        elif isinstance(value, type):
            yield from _class_parts(value, module, seen)
        elif isinstance(value, property | classmethod | staticmethod) or callable(inner):
            yield from _wrapped_parts(value, inner, module, seen)
        else:
            yield from _content(value, module, seen)


def _wrapped_parts(value: Any, inner: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Properties, class methods, cached functions, partials."""
    functions = (value.fget, value.fset) if isinstance(value, property) else (inner,)
    extra = (getattr(value, "args", ()), getattr(value, "keywords", {}))
    for part in (*functions, *extra):
        yield from _parts(part, module, seen)


def _content(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Containers and arrays by what they hold; whatever else is itself, in this process alone."""
    yield type(value).__name__
    if isinstance(value, dict):
        for key, item in value.items():
            yield repr(key)
            yield from _parts(item, module, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item, module, seen)
    elif isinstance(value, set | frozenset):
        yield repr(sorted(map(repr, value)))
    elif callable(getattr(value, "tolist", None)):  # arrays and tensors of every type, wherever they lie
        yield f"{getattr(value, 'dtype', '')} {value.tolist()!r}"
    else:
        yield f"{_PROCESS} {id(value)}"


def _function_parts(target: FunctionType, module: str, seen: set[int]) -> Iterator[str]:
    yield from _code_parts(target.__code__)
    cells = [cell.cell_contents for cell in target.__closure__ or () if _is_filled(cell)]
    for value in (target.__defaults__, target.__kwdefaults__, cells):
        yield from _parts(value, module, seen)
    for name in _names(target.__code__):
        if name in target.__globals__:
            yield name
            yield from _parts(target.__globals__[name], module, seen)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _class_parts(target: type, module: str, seen: set[int]) -> Iterator[str]:
    yield target.__qualname__
    for base in target.__bases__:
        yield from _parts(base, module, seen)
    for name, value in sorted(vars(target).items()):
        special = name.startswith("__") and name.endswith("__")
        if isinstance(value, FunctionType) or not (special or name.startswith(("model_", "_abc_"))):
            yield name
            yield from _parts(value, module, seen)
    yield repr(vars(target).get("__private_attributes__"))  # where pydantic puts what begins with _
    yield repr(sorted((k, str(v)) for k, v in vars(target).get("__annotations__", {}).items()))


def _code_parts(code: CodeType) -> Iterator[str]:
    yield code.co_name
    yield code.co_code.hex()
    yield repr(code.co_names)
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _code_parts(value)
        elif isinstance(value, frozenset):  # in another order in every process
            yield repr(sorted(map(repr, value)))
        else:
            yield repr(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _names(value)
