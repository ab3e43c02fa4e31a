"""Kinds of other people: modules of installed packages, and files that the command line names."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from itertools import chain
from pathlib import Path
from types import CodeType

from channels.checks import complaint, in_words
from channels.kinds.provenance import Origin, files_digest, line_of, package_files, siblings
from channels.kinds.registry import ORIGIN, REGISTRY, KindError

__all__ = ["GROUP", "file_group", "load_file", "load_installed", "loaded_files"]

GROUP = "linksim.kinds"


@contextmanager
def _from(origin: Origin) -> Iterator[None]:
    token = ORIGIN.set(origin)
    try:
        yield
    finally:
        ORIGIN.reset(token)


def load_installed() -> None:
    """Import, once, the modules that installed packages name as entry points of the group ``linksim.kinds``.
    One that does not load stops nothing: it is said in a warning, and again when a kind is missing.
    """
    if REGISTRY.installed:
        return
    REGISTRY.installed = True
    for point in importlib.metadata.entry_points(group=GROUP):
        dist = point.dist
        name = f"{dist.name} {dist.version}" if dist is not None else point.value
        try:
            with _from(Origin(name)):
                point.load()
            _set_digest(Origin(name), files_digest(package_files(point.module)))
        except (Exception, SystemExit) as problem:  # whatever a foreign module raises
            why = in_words(problem)
            REGISTRY.failed[f"{name}, {point.name} = {point.value}"] = why
            warnings.warn(
                f"entry point {point.name} of {name}: not loaded, got {why}, expected kinds", stacklevel=2
            )


def _set_digest(origin: Origin, digest: str) -> None:
    """What came from an origin whose digest was not known until all of it was imported."""
    for key, found in list(REGISTRY.known.items()):
        if found.origin == origin:
            REGISTRY.known[key] = replace(found, origin=replace(origin, digest=digest))


def load_file(path: str | Path) -> None:
    """Execute a Python file that registers kinds; its digest, with that of modules beside it that it imports,
    is recorded with every run that uses them. A file that changed since is executed again.

    Raises:
        KindError: missing, no Python, an exception in it, or no kind in it; nothing of it is registered then.
    """
    where = f"--with {path}"
    resolved = Path(path).expanduser().resolve()
    if not resolved.is_file() or resolved.suffix != ".py":
        raise KindError(
            complaint(where, "no such file", resolved, "a Python file (.py) that registers kinds")
        )
    origin = Origin(resolved.name, path=str(resolved))
    known = [k.origin.digest for k in REGISTRY.known.values() if k.origin and k.origin.path == str(resolved)]
    files = REGISTRY.files.get(resolved)
    if known and files and all(f.is_file() for f in files) and files_digest(files) == known[0]:
        return
    kept, modules = dict(REGISTRY.known), dict(sys.modules)
    for key, found in kept.items():
        if found.origin is not None and found.origin.path == str(resolved):
            del REGISTRY.known[key]
    _forget_modules(resolved, files or ())
    before, loaded = set(REGISTRY.known), set(sys.modules)
    try:
        _execute(resolved, origin, where)
        if set(REGISTRY.known) == before:
            expected = 'classes under @linksim.kind("family", "name")'
            raise KindError(complaint(where, "registers nothing", "no kind", expected))
    except BaseException:  # a stop by the user, too, leaves what was there
        REGISTRY.known = kept
        sys.modules.update(modules)
        raise
    REGISTRY.files[resolved] = (resolved, *siblings(loaded, resolved.parent))
    _set_digest(origin, files_digest(REGISTRY.files[resolved]))


class _FromSource(SourceFileLoader):
    """Never what was compiled before: Python tells bytecode apart by size and second of a file, while the
    digest that is recorded is of the source.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@contextmanager
def _sources_of(folder: Path) -> Iterator[None]:
    """Within, modules of a folder are importable, as those beside a script are, and compiled from their
    source; not those of an environment that lies in it.
    """
    elsewhere = [Path(entry).resolve() for entry in sys.path if entry]

    def hook(entry: str) -> FileFinder:
        found = Path(entry).resolve()
        if not found.is_relative_to(folder) or any(
            other != folder and other.is_relative_to(folder) and found.is_relative_to(other)
            for other in elsewhere
        ):
            raise ImportError(f"not a folder of {folder}")
        return FileFinder(entry, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES))

    def forget() -> None:
        for entry in list(sys.path_importer_cache):
            if Path(entry).is_relative_to(folder):
                del sys.path_importer_cache[entry]

    sys.path.insert(0, str(folder))
    sys.path_hooks.insert(0, hook)
    forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.path_hooks.remove(hook)
        forget()


def _execute(path: Path, origin: Origin, where: str) -> None:
    name = f"linksim_with_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    loader = _FromSource(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _from(origin), _sources_of(path.parent):
            loader.exec_module(module)
    except (Exception, SystemExit) as problem:  # whatever is in the file
        del sys.modules[name]
        if isinstance(problem, KindError):
            raise KindError(f"{where}: {problem}") from None
        got = in_words(problem)
        line = line_of(problem, path)
        place = where if line is None else f"{where}, line {line}"
        raise KindError(complaint(place, "does not load", got, "a file that runs")) from problem


def _forget_modules(path: Path, before: Sequence[Path]) -> None:
    """Let modules be imported anew for a file: those that it had ``before``, and those beside files in other
    folders whose names are also beside this one. The files themselves stay what they are.
    """
    elsewhere = chain.from_iterable(
        group for one, group in REGISTRY.files.items() if one.parent != path.parent
    )
    own, others = set(before), set(elsewhere) - REGISTRY.files.keys()
    for name, module in list(sys.modules.items()):
        source = getattr(module, "__file__", None)
        place = Path(source).resolve() if source else None
        beside = path.parent / name.partition(".")[0]
        clashes = place in others and (beside.is_dir() or beside.with_suffix(".py").is_file())
        if place in own or clashes:
            del sys.modules[name]


def loaded_files() -> list[Path]:
    """Files of :func:`load_file`."""
    return list(REGISTRY.files)


def file_group(path: Path) -> tuple[Path, ...]:
    """A file of :func:`load_file` with those beside it that it imports."""
    return REGISTRY.files[path]
