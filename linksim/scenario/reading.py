"""Scenario files as they are written: safe YAML, what they extend, where their paths begin."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from channels.checks import cut, shown
from channels.runtime.cache import FolderError, expanded
from linksim.files.bounded_yaml import load_yaml, read_text
from linksim.files.places import PathText, scenario_dir
from linksim.kinds.union import path_keys
from linksim.scenario.errors import ScenarioError

__all__ = ["extended", "find_scenario", "merged", "parse_yaml", "read_mapping", "with_folder"]


class _Loader(yaml.SafeLoader):
    """Safe YAML with plain exponents as numbers, no yes/no booleans, and no duplicate keys."""


_FLOAT = re.compile(
    r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_INT = re.compile(r"^[-+]?[0-9]+$")
_Loader.yaml_implicit_resolvers = {
    key: [
        (tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] not in ("bool", "float", "int")
    ]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


def _construct_mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = str(key_node.value)
        if key in seen and key != "<<":
            line = key_node.start_mark.line + 1
            said = f"given twice (line {line}), got two values, expected one. Remove one of them."
            raise ScenarioError(f"{cut(key, 100)}: {said}")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def parse_yaml(text: str, where: str) -> Any:
    """What a text says.

    Raises:
        ScenarioError: no YAML; ``where`` it is.
    """
    try:
        return load_yaml(text, _Loader)
    except ScenarioError as problem:
        raise ScenarioError(f"{where}: {problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        detail = cut(" ".join(str(problem).split()))
        raise ScenarioError(
            f"{where}: not valid YAML, got {detail}, expected a mapping of keys to values."
        ) from None


def find_scenario(name: str) -> Path:
    """The file of a path, or of the name of a scenario that comes with linksim ("quickstart").

    Raises:
        ScenarioError: no such file.
    """
    try:
        path = expanded("scenario", name)
    except FolderError as problem:
        raise ScenarioError(str(problem)) from None
    if path.is_file():
        return path
    known = {str(p.relative_to(scenario_dir()).with_suffix("")): p for p in scenario_dir().rglob("*.yaml")}
    stem = name.removesuffix(".yaml").removeprefix("scenarios/")
    if stem in known and not path.exists():
        return known[stem]
    alike = sorted(key for key in known if key.rpartition("/")[2] == stem)
    if len(alike) == 1 and not path.exists():
        return known[alike[0]]
    if alike:
        raise ScenarioError(f"{name}: several files, got {', '.join(alike)}, expected one of them.")
    close = difflib.get_close_matches(stem, known, n=1)
    cure = (
        f" Did you mean {close[0]}?"
        if close
        else ' "linksim list scenarios" prints those that come with linksim.'
    )
    raise ScenarioError(
        f"{name}: no such file, got {path.absolute()}, expected a scenario file or name.{cure}"
    )


def read_mapping(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Keys and values of a file, with those of the files that it extends."""
    if path.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, path))
        raise ScenarioError(
            f"{path}: extends: a circle, got {names}, expected files that do not extend each other."
        )
    try:
        text = read_text(path)
    except (OSError, ValueError) as problem:
        raise ScenarioError(
            f"{path}: cannot be read, got {problem}, expected a readable UTF-8 file."
        ) from None
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        got = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ScenarioError(f"{path}: got {got}, expected a mapping of keys to values.")
    return extended(
        with_folder(data, path.parent, path_keys()), str(path), path.parent, (*chain, path.resolve())
    )


def extended(data: dict[str, Any], where: str, folder: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """``data`` over the file that it extends, which lies relative to ``folder``."""
    parent = data.pop("extends", None)
    if parent is None:
        return data
    if not isinstance(parent, str):
        raise ScenarioError(f"{where}: extends: got {shown(parent)}, expected the name of one file.")
    base = folder / parent
    if not base.is_file():
        raise ScenarioError(
            f"{where}: extends: no such file, got {base}, expected a path relative to {folder}."
        )
    return merged(read_mapping(base, chain), data)


def with_folder(node: Any, folder: Path, paths: frozenset[str], key: str = "") -> Any:
    """A copy in which texts under the keys ``paths``, and such swept values, know their folder."""
    if isinstance(node, dict):
        return {k: with_folder(v, folder, paths, str(k).rpartition(".")[2]) for k, v in node.items()}
    if isinstance(node, list):
        return [with_folder(v, folder, paths, key) for v in node]
    return PathText(node, folder) if isinstance(node, str) and key in paths else node


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Keys of ``over`` win; mappings merge unless their ``kind`` differs; lists are replaced."""
    result = dict(base)
    if "channel" in over or "channels" in over:
        for key in ("channel", "channels"):
            if key not in over:
                result.pop(key, None)
    for key, value in over.items():
        old = result.get(key)
        same_kind = (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("kind", old.get("kind")) == old.get("kind")
        )
        result[key] = merged(old, value) if same_kind and isinstance(old, dict) else value
    return result
