"""The registry of kinds: what a scenario may name is one class in one file, built in or not.

A class says by a decorator what it is called: ``@kind("impairment", "clipping")``. Built-in kinds are found
by reading, not importing, the files of a few packages; kinds of other people come in by the entry points
``linksim.kinds`` of an installed package, by a file that the command line names, or by a call of
:func:`register`. A scenario file alone never makes anything be executed.
"""

from __future__ import annotations

import contextvars
import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from channels.checks import complaint

__all__ = [
    "FAMILIES",
    "GROUP",
    "Family",
    "Kind",
    "KindError",
    "Origin",
    "find",
    "foreign",
    "generation",
    "kind",
    "kinds",
    "load_file",
    "load_installed",
    "loaded_files",
    "names",
    "register",
    "unregister",
]

GROUP = "linksim.kinds"
_T = TypeVar("_T")
_DECORATED = re.compile(r'^@kind\(\s*"(\w+)",\s*"([^"]+)"', re.MULTILINE)


class KindError(ValueError):
    """A kind that cannot be used: unknown, half written, named twice, or in a file that does not load."""


@dataclass(frozen=True)
class Family:
    """Kinds of one sort.

    Args:
        name: how it is called in :func:`kind`.
        what: in words, with its article.
        packages: where built-in kinds are.
        prepare: "module:function" that gets name and class and gives the class that is registered; raises
            KindError for what is half written.
    """

    name: str
    what: str
    packages: tuple[str, ...]
    prepare: str = ""


FAMILIES: dict[str, Family] = {}


def add_family(family: Family) -> None:
    """Make a family known."""
    FAMILIES[family.name] = family


add_family(
    Family(
        "impairment",
        "an impairment",
        ("channels.hardware.impairments",),
        "channels.hardware.impairments:checked_impairment",
    )
)


@dataclass(frozen=True)
class Origin:
    """Where a kind that is not built in comes from.

    Args:
        distribution: installed package, with its version; empty for a file or a module on its own.
        file: name of its source file; empty where there is none (a notebook).
        digest: SHA-256 of that file, 16 hex digits.
    """

    distribution: str = ""
    file: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        """For run.json and for the hash of a scenario: distribution and version, or file and digest."""
        return self.distribution or " ".join(part for part in (self.file, self.digest) if part) or "session"


@dataclass(frozen=True)
class Kind:
    """A kind.

    Args:
        family: of :data:`FAMILIES`.
        name: in scenarios.
        target: class or function.
        bound: arguments that are set for this name.
        origin: None of what is built in.
    """

    family: str
    name: str
    target: Any
    bound: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None

    @property
    def make(self) -> Callable[..., Any]:
        """The target with what is bound."""
        return functools.partial(self.target, **self.bound) if self.bound else self.target

    @property
    def summary(self) -> str:
        """First line of its documentation."""
        text = getattr(self.target, "__doc__", None) or ""
        return text.strip().splitlines()[0] if text.strip() else ""


@dataclass
class _Registry:
    """What is known so far; ``generation`` counts changes that descriptions must follow."""

    known: dict[tuple[str, str], Kind] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # entry point: why it did not load
    files: dict[str, str] = field(default_factory=dict)  # path: digest, of --with
    installed: bool = False
    generation: int = 0


_REGISTRY = _Registry()
_ORIGIN: contextvars.ContextVar[Origin | None] = contextvars.ContextVar("origin", default=None)


def generation() -> int:
    """A number that grows whenever a kind that is not built in comes or goes."""
    return _REGISTRY.generation


# ------------------------------------------------------------------------------------------- registering


def kind(family: str, name: str, /, **bound: Any) -> Callable[[_T], _T]:
    """Decorator: the class (or function) below is a kind.

    Args:
        family: of :data:`FAMILIES`: "channel", "delay_model", "impairment", "estimator", "scheme", "network",
            "source_codec", "sampler", "metric" or "images".
        name: in scenarios.
        bound: arguments of the class that this name sets.

    Raises:
        KindError: an unknown family, a name that is taken, a class that lacks something; the message says
            what.

    Example:
        >>> @kind("metric", "doc_example")
        ... class Example: ...
        Traceback (most recent call last):
        channels.kinds.KindError: metric doc_example: no metric, got class Example, expected ...
    """

    def decorate(target: _T) -> _T:
        return register(family, name, target, **bound)

    return decorate


def register(family: str, name: str, target: _T, /, **bound: Any) -> _T:
    """Make a kind known; arguments, errors as of :func:`kind`.

    Returns:
        What is registered: the class itself, or one made of it that knows its name.
    """
    if family not in FAMILIES:
        raise KindError(_unknown("family of kinds", family, FAMILIES))
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+.-]*", name):
        got = repr(name)
        raise KindError(complaint(f"{family}: name", "not allowed", got, "letters, digits and _ + . -"))
    origin = _origin(target)
    before = _REGISTRY.known.get((family, name))
    taken = before is not None and not _same_place(before.target, target)
    if taken or (origin is not None and name in _built_in(family)):
        taken_by = (
            "the kind that is built in" if before is None or before.origin is None else before.origin.text
        )
        got = f"another {family} of this name, beside that of {taken_by}"
        raise KindError(complaint(f"{family} {name}", "named twice", got, "a name that is free"))
    family_ = FAMILIES[family]
    made = _attribute(family_.prepare)(name, target, bound) if family_.prepare else target
    _REGISTRY.known[family, name] = Kind(family, name, made, bound, origin)
    if origin is not None:
        _REGISTRY.generation += 1
    return made


def unregister(family: str, name: str) -> None:
    """Forget a kind that is not built in (for notebooks and tests).

    Raises:
        KindError: no such kind, or a built-in one.
    """
    found = _REGISTRY.known.get((family, name))
    if found is None or found.origin is None:
        raise KindError(
            _unknown(f"{family} to forget", name, [k.name for k in foreign() if k.family == family])
        )
    del _REGISTRY.known[family, name]
    _REGISTRY.generation += 1


def _origin(target: Any) -> Origin | None:
    """None of what is built in."""
    module = getattr(target, "__module__", "") or ""
    if module.split(".")[0] in {p.split(".")[0] for f in FAMILIES.values() for p in f.packages}:
        return None
    given = _ORIGIN.get()
    if given is not None:
        return given
    source = getattr(sys.modules.get(module), "__file__", None)
    if source and Path(source).is_file():
        return Origin(file=Path(source).name, digest=_digest(Path(source)))
    try:
        text = inspect.getsource(target)  # a cell of a notebook
    except (OSError, TypeError):
        return Origin()
    return Origin(file="session", digest=hashlib.sha256(text.encode()).hexdigest()[:16])


def _same_place(a: Any, b: Any) -> bool:
    """Whether two classes are the same one, perhaps executed anew (a cell of a notebook, a reload)."""
    return all(getattr(a, name, None) == getattr(b, name, None) for name in ("__module__", "__qualname__"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _attribute(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


# ----------------------------------------------------------------------------------------------- finding


@functools.cache
def _built_in(family: str) -> dict[str, str]:
    """Module of every built-in kind of a family by its name; nothing is imported."""
    found: dict[str, str] = {}
    for package in FAMILIES[family].packages:
        for module, path in _sources(package):
            for of, name in _DECORATED.findall(path.read_text(encoding="utf-8")):
                if of == family:
                    found[name] = module
    return found


def _sources(package: str) -> Iterator[tuple[str, Path]]:
    """Modules of a package, or the one module that it is, with their files."""
    root = Path(__file__).resolve().parent.parent.joinpath(*package.split("."))
    if root.is_dir():
        for path in sorted(root.glob("*.py")):
            yield f"{package}.{path.stem}" if path.stem != "__init__" else package, path
    elif root.with_suffix(".py").is_file():
        yield package, root.with_suffix(".py")


def names(family: str) -> list[str]:
    """Names of the kinds of a family that are known now, built-in ones first, in the order of their files.
    Those of installed packages are known after :func:`load_installed`.
    """
    known = [k.name for k in _REGISTRY.known.values() if k.family == family]
    return list(dict.fromkeys([*_built_in(family), *known]))


def find(family: str, name: str) -> Kind:
    """A kind by its name; its file is imported if it is not yet.

    Raises:
        KindError: no such kind; the message names near ones, and packages that did not load.
    """
    found = _REGISTRY.known.get((family, name))
    if found is None and name in _built_in(family):
        importlib.import_module(_built_in(family)[name])
        found = _REGISTRY.known.get((family, name))
    if found is None:
        load_installed()
        found = _REGISTRY.known.get((family, name))
    if found is None:
        raise KindError(_unknown(family, name, names(family)) + _of_failures())
    return found


def kinds(family: str) -> list[Kind]:
    """All kinds of a family, in the order of :func:`names`."""
    return [find(family, name) for name in names(family)]


def foreign() -> list[Kind]:
    """All kinds that are not built in."""
    load_installed()
    return [found for found in _REGISTRY.known.values() if found.origin is not None]


def _unknown(what: str, got: str, known: Any) -> str:
    close = difflib.get_close_matches(got, list(known), n=1)
    cure = f"Did you mean {close[0]}?" if close else ""
    return complaint(what, "unknown", repr(got), f"one of {', '.join(known)}", cure)


def _of_failures() -> str:
    return "".join(f" Not loaded: {name} ({why})." for name, why in _REGISTRY.failed.items())


# ----------------------------------------------------------------------------------- code of other people


@contextmanager
def _from(origin: Origin) -> Iterator[None]:
    token = _ORIGIN.set(origin)
    try:
        yield
    finally:
        _ORIGIN.reset(token)


def load_installed() -> None:
    """Import, once, the modules that installed packages name as entry points of the group ``linksim.kinds``.
    One that does not load stops nothing: it is said in a warning, and again when a kind is missing.
    """
    if _REGISTRY.installed:
        return
    _REGISTRY.installed = True
    for point in importlib.metadata.entry_points(group=GROUP):
        dist = point.dist
        origin = Origin(f"{dist.name} {dist.version}" if dist is not None else point.value)
        try:
            with _from(origin):
                point.load()
        except Exception as problem:  # whatever a foreign module raises
            why = f"{type(problem).__name__}: {problem}".rstrip(": ")
            _REGISTRY.failed[f"{origin.text}, {point.name} = {point.value}"] = why
            import warnings

            warnings.warn(
                f"entry point {point.name} of {origin.text}: not loaded, got {why}, expected kinds",
                stacklevel=2,
            )


def load_file(path: Path) -> None:
    """Execute a Python file that registers kinds; its digest is recorded with every run that uses them.

    Raises:
        KindError: missing, no Python, an exception in it, or no kind in it.
    """
    where = f"--with {path}"
    resolved = path.expanduser().resolve()
    if not resolved.is_file() or resolved.suffix != ".py":
        raise KindError(
            complaint(where, "no such file", resolved, "a Python file (.py) that registers kinds")
        )
    digest = _digest(resolved)
    if _REGISTRY.files.get(str(resolved)) == digest:
        return
    name = f"linksim_with_{resolved.stem}_{hashlib.sha256(str(resolved).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = _REGISTRY.generation
    try:
        with _from(Origin(file=resolved.name, digest=digest)):
            spec.loader.exec_module(module)
    except KindError as problem:
        del sys.modules[name]
        raise KindError(f"{where}: {problem}") from None
    except Exception as problem:  # whatever is in the file
        del sys.modules[name]
        got = f"{type(problem).__name__}: {problem}".rstrip(": ")
        line = _line_of(problem, resolved)
        raise KindError(complaint(f"{where}{line}", "does not load", got, "a file that runs")) from problem
    if _REGISTRY.generation == before:
        expected = 'classes under @linksim.kind("family", "name")'
        raise KindError(complaint(where, "registers nothing", "no kind", expected))
    _REGISTRY.files[str(resolved)] = digest


def _line_of(problem: BaseException, path: Path) -> str:
    trace, line = problem.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    if isinstance(problem, SyntaxError) and problem.lineno:
        line = f", line {problem.lineno}"
    return line


def loaded_files() -> list[Path]:
    """Files of :func:`load_file`, for processes that have to load them too."""
    return [Path(name) for name in _REGISTRY.files]
