"""YAML and Python values to Scenario and back: extends, --set, sweeps, hash, JSON schema."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from channels.checks import cut, shown
from channels.runtime.cache import FolderError, expanded
from linksim.files.bounded_yaml import load_yaml, read_text
from linksim.files.places import PathText, scenario_dir
from linksim.kinds import names
from linksim.kinds.fields import RANGE_PATTERN, expanded_range
from linksim.kinds.union import path_keys, refresh
from linksim.kinds.used import foreign_kinds
from linksim.scenario.errors import ScenarioError
from linksim.scenario.messages import explain
from linksim.scenario.schema import (
    ChannelSpec,
    ControlTrainScenario,
    DenoiserTrainScenario,
    Scenario,
    TrainScenario,
    channel_name,
)

__all__ = [
    "ScenarioError",
    "Source",
    "Training",
    "Variant",
    "json_schema",
    "load_any",
    "load_scenario",
    "load_train_scenario",
    "parse_overrides",
    "scenario_dir",
    "scenario_hash",
    "variants",
]


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


def _parse_yaml(text: str, where: str) -> Any:
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


def _read_mapping(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
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
    data = _parse_yaml(text, str(path))
    if not isinstance(data, dict):
        got = "an empty file" if data is None else f"a {type(data).__name__}"
        raise ScenarioError(f"{path}: got {got}, expected a mapping of keys to values.")
    return _extended(
        _with_folder(data, path.parent, path_keys()), str(path), path.parent, (*chain, path.resolve())
    )


def _extended(data: dict[str, Any], where: str, folder: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
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
    return _merge(_read_mapping(base, chain), data)


def _with_folder(node: Any, folder: Path, paths: frozenset[str], key: str = "") -> Any:
    """A copy in which texts under the keys ``paths``, and such swept values, know their folder."""
    if isinstance(node, dict):
        return {k: _with_folder(v, folder, paths, str(k).rpartition(".")[2]) for k, v in node.items()}
    if isinstance(node, list):
        return [_with_folder(v, folder, paths, key) for v in node]
    return PathText(node, folder) if isinstance(node, str) and key in paths else node


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
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
        result[key] = _merge(old, value) if same_kind and isinstance(old, dict) else value
    return result


def parse_overrides(pairs: Sequence[str]) -> list[tuple[str, Any]]:
    """``path=value`` of --set; the value is YAML (numbers, lists and mappings work).

    Raises:
        ScenarioError: no "=" in it.
    """
    result = []
    for pair in pairs:
        path, sign, text = pair.partition("=")
        if not sign or not path.strip():
            got = "no field in front of '='" if sign else "no '='"
            raise ScenarioError(f"--set {pair}: got {got}, expected path=value such as sweep.trials=1.")
        result.append((path.strip(), _parse_yaml(text, f"--set {path}")))
    return result


def _set_path(data: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path; list items by index or by the ``name`` they carry."""
    parts = path.split(".")
    if parts[0] == "channel" and "channels" in data and "channel" not in data:
        for item in data["channels"]:
            _set_path({"channel": item}, path, value)
        return
    if parts[0] == "sweep" and len(parts) > 2:
        parts = ["sweep", ".".join(parts[1:])]
    node: Any = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(node, list):
            index = _list_index(node, part, path)
            if last:
                node[index] = value
            node = node[index]
        elif isinstance(node, dict):
            if last:
                node[part] = value
            else:
                node = node.setdefault(part, {})
        else:
            head = ".".join(parts[:depth])
            got = f"none at {head}" if node is None else f"the value {shown(node)} at {head}"
            cure = "Write that block into the scenario first." if node is None else "Change the path."
            raise ScenarioError(
                f"{path}: no block, got {got}, expected one that has the key {part!r}. {cure}"
            )


def _list_index(items: list[Any], part: str, path: str) -> int:
    if part.isdigit() and int(part) < len(items):
        return int(part)
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if path.split(".", maxsplit=1)[0] in ("channel", "channels"):
        names = [name or _label(item) for name, item in zip(names, items, strict=True)]
    if part in names:
        return names.index(part)
    if not items:
        cure = "Write its items into the scenario first."
        raise ScenarioError(
            f"{path}: no items, got {part!r} of an empty list, expected a list with some. {cure}"
        )
    known = [n for n in names if n] or [f"0 to {len(items) - 1}"]
    raise ScenarioError(f"{path}: got {part!r}, expected one of {', '.join(map(str, known))}.")


def _numbered(data: dict[str, Any], path: str) -> str:
    """``path`` with the index of a channel in place of its label, which values that are set may change."""
    head, _, rest = path.partition(".")
    label, _, field = rest.partition(".")
    labels = [_label(item) for item in data.get("channels") or []] if head == "channels" and field else []
    return f"channels.{labels.index(label)}.{field}" if label in labels else path


def _label(channel: Any) -> str | None:
    """The name that results and messages give to a channel without one; None of what is not one yet."""
    try:
        return channel_name(TypeAdapter(ChannelSpec).validate_python(channel))
    except ValidationError:
        return None


# ------------------------------------------------------------------------------------------- validation


def _validate(model: type[BaseModel], data: dict[str, Any], where: str) -> Any:
    refresh()
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        lines = explain(model, data, problem)
        raise ScenarioError("\n".join(f"{where}: {line}" for line in lines)) from None


# ---------------------------------------------------------------------------------------------- loading


Training = TrainScenario | ControlTrainScenario | DenoiserTrainScenario
Source = str | Path | Mapping[str, Any] | Scenario | Training
"""A scenario: a file, the name of one that comes with linksim, what a file holds, or one that was read."""


def _load_mapping(source: Source, overrides: Sequence[tuple[str, Any]]) -> tuple[dict[str, Any], str]:
    """Keys and values of a scenario with overrides, and where it is from, for messages."""
    data, where = _read_source(source)
    paths = [_numbered(data, key) for key, _ in overrides]
    for key, (_, value) in zip(paths, overrides, strict=True):
        _set_path(data, key, _as_written(value))
    if "sweep.snr_db" in paths and "panel.snr_db" not in paths:
        _narrow_panel(data)
    return data, where


def _read_source(source: Source) -> tuple[dict[str, Any], str]:
    if isinstance(source, BaseModel):
        return _as_written(source.model_dump()), "scenario"
    if isinstance(source, Mapping):
        try:
            return _extended(_as_written(source), "scenario", Path()), "scenario"
        except RecursionError:
            got = "a mapping that is nested too deep, or holds itself"
            raise ScenarioError(f"scenario: got {got}, expected keys and values of a file.") from None
    if not isinstance(source, str | Path):
        expected = "a file, a name, a mapping or a Scenario"
        raise ScenarioError(f"scenario: got {shown(source)}, expected {expected}.")
    path = find_scenario(str(source))
    return _read_mapping(path), str(path)


def _narrow_panel(data: dict[str, Any]) -> None:
    """Leave of the panel's SNRs what is swept after an override; none: the lowest and the highest."""
    try:
        swept, shown_db = (expanded_range((data.get(b) or {}).get("snr_db")) for b in ("sweep", "panel"))
    except (ValueError, AttributeError):  # what is wrong is said by the validation
        return
    if isinstance(swept, list) and isinstance(shown_db, list):
        kept = [value for value in shown_db if value in swept]
        data["panel"]["snr_db"] = kept or None


_TRAININGS = {kind.block: kind for kind in (TrainScenario, ControlTrainScenario, DenoiserTrainScenario)}


def load_any(source: Source, overrides: Sequence[tuple[str, Any]] = ()) -> Scenario | Training:
    """Read a scenario of either kind: a file with the key ``train``, ``train_control`` or
    ``train_denoiser`` is a training.

    Args:
        source: file, name of a scenario that comes with linksim, or what a file holds; relative paths of the
            latter begin in the working directory.
        overrides: paths and values, as from :func:`parse_overrides`.

    Raises:
        ScenarioError: every problem of the file, a line each.
    """
    data, where = _load_mapping(source, overrides)
    model: type[BaseModel] = Scenario
    for key, training in _TRAININGS.items():
        if key in data:
            model = training
            if not isinstance(data[key], dict):
                expected = "a block of keys and values, in a file that describes a training"
                raise ScenarioError(
                    f"{where}: {key}: not a block, got {shown(data[key])}, expected {expected}."
                )
    scenario = _validate(model, data, where)
    if isinstance(scenario, Scenario):
        list(variants(scenario, where=where))
    assert isinstance(scenario, Scenario | Training)
    return scenario


def load_scenario(source: Source, overrides: Sequence[tuple[str, Any]] = ()) -> Scenario:
    """Read an evaluation scenario; arguments as of :func:`load_any`.

    Raises:
        ScenarioError: every problem of the file, or a training.
    """
    scenario = load_any(source, overrides)
    if not isinstance(scenario, Scenario):
        raise ScenarioError(
            f"{_named(source)}: train: got a training, expected an evaluation. Run it with linksim train."
        )
    return scenario


def load_train_scenario(source: Source, overrides: Sequence[tuple[str, Any]] = ()) -> Training:
    """Read a training scenario; arguments as of :func:`load_any`.

    Raises:
        ScenarioError: every problem of the file, or an evaluation.
    """
    scenario = load_any(source, overrides)
    if not isinstance(scenario, Training):
        said = "missing, got an evaluation, expected a training. Run it with linksim simulate."
        raise ScenarioError(f"{_named(source)}: train: {said}")
    return scenario


def _named(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "scenario"


def scenario_hash(scenario: Scenario | Training) -> str:
    """SHA-256 over everything that can change a record, 16 hex digits: not ``question``, ``panel``,
    ``statistics`` and ``batch_size``, but the origin of kinds that are not built in.
    """
    data = scenario.model_dump(mode="json", exclude={"question", "panel", "statistics", "batch_size"})
    foreign = foreign_kinds(scenario)
    if foreign:
        data["kinds"] = foreign
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Variant:
    """A scenario at one combination of swept fields.

    Args:
        values: (path, value) of each swept field beside snr_db, in file order.
        scenario: with these values set and nothing left to sweep but snr_db.
    """

    values: tuple[tuple[str, float | int | str], ...]
    scenario: Scenario


def variants(scenario: Scenario, where: str = "sweep") -> Iterator[Variant]:
    """Every combination of the swept fields.

    Raises:
        ScenarioError: a swept path that does not exist or a value that is not allowed there.
    """
    fields = scenario.sweep.fields
    for path in fields:
        _check_sweepable(path, where)
    seen: dict[str, object] = {}
    untouched = scenario.model_dump(mode="json")
    paths = {path: _numbered(untouched, path) for path in fields}
    for combination in itertools.product(*fields.values()):
        data = _as_written(scenario.model_dump())
        data["sweep"]["fields"] = {}
        data["statistics"]["against"] = None  # it may name what is swept
        values = tuple(zip(fields, combination, strict=True))
        for path, value in values:
            _set_path(data, paths[path], value)
        place = f"{where}: sweep {dict(values)}" if values else where
        variant = Variant(values, _validate(Scenario, data, place))
        digest = scenario_hash(variant.scenario)
        if digest in seen:
            raise ScenarioError(f"{place}: got the same experiment as {seen[digest]}, expected another one.")
        seen[digest] = dict(values)
        yield variant


def _as_written(node: Any) -> Any:
    """Blocks as a file has them, from a dump or from Python: lists in the place of tuples and arrays, texts
    in the place of paths.
    """
    if isinstance(node, BaseModel):
        node = node.model_dump()
    elif hasattr(node, "tolist"):  # an array, a tensor, or a number of one
        node = node.tolist()
    if isinstance(node, Mapping):
        return {key: _as_written(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_as_written(value) for value in node]
    return str(node) if isinstance(node, Path) else node


def _check_sweepable(path: str, where: str) -> None:
    """Only what is built anew for every point can be swept; a label or the set of pictures is not."""
    parts = path.split(".")
    first, last = parts[0], parts[-1]
    if first in ("channel", "channels", "schemes", "bandwidth") and last not in ("name", "kind"):
        return
    if first in ("channel", "channels") and last == "kind" and path.endswith("csi.kind"):
        return
    expected = "a field of channel, channels, schemes or bandwidth other than a name"
    raise ScenarioError(
        f"{where}: sweep.{path}: cannot be swept, got {path!r}, expected {expected}. Use two scenario files."
    )


def json_schema() -> dict[str, Any]:
    """JSON schema of evaluation and training scenarios, for editors; of all kinds that are known today."""
    refresh()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "linksim scenario",
        "description": "Add 'extends: FILE' to start from another file.",
        "anyOf": [
            {"$ref": "#/$defs/Scenario"},
            {"$ref": "#/$defs/TrainScenario"},
            {"$ref": "#/$defs/ControlTrainScenario"},
            {"$ref": "#/$defs/DenoiserTrainScenario"},
        ],
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for model in (Scenario, TrainScenario, ControlTrainScenario, DenoiserTrainScenario):
        schema = model.model_json_schema(ref_template="#/$defs/{model}")
        merged.update(schema.pop("$defs", {}))
        merged[model.__name__] = schema
    span = {"type": "string", "pattern": RANGE_PATTERN, "description": "from:step:to"}
    values = {"type": "array", "minItems": 1}
    merged["SweepSpec"]["patternProperties"] = {r"\.": {"anyOf": [values, span]}}
    for name in ("SweepSpec", "PanelSpec"):
        merged[name]["properties"]["snr_db"]["anyOf"].append(span)
    for name in ("TrainSpec", "ControlTrainSpec", "DenoiserTrainSpec"):
        merged[name]["properties"]["channel"] = merged["TrainChannelSpec"]["properties"]["channel"]
        merged[name]["required"].remove("channels")
    merged["BandwidthSpec"]["properties"]["data_ratio"] = {
        "type": ["string", "integer"],
        "pattern": r"^\s*\d+\s*/\s*\d+\s*$",
        "description": "complex data uses / (3·H·W), an exact fraction such as 1/48",
    }
    for definition in merged.values():
        properties = definition.get("properties", {})
        if "crop" in properties and "anyOf" in properties["crop"]:
            properties["crop"]["anyOf"].append({"type": "integer", "minimum": 1})
        if "source" in properties:
            known = {"type": "string", "enum": names("source_codec")}
            properties["source"] = {"anyOf": [properties["source"], known]}
        if properties.get("codec", {}).get("const") == "bpg":
            definition["required"] = [r for r in definition["required"] if r != "codec"]  # the usual one
    evaluation = merged["Scenario"]
    evaluation["properties"]["channel"] = evaluation["properties"]["channels"]["items"]
    evaluation["required"] = [r for r in evaluation.get("required", []) if r not in ("channels", "images")]
    for name in ("Scenario", "TrainScenario"):
        merged[name]["properties"]["extends"] = {"type": "string", "description": "file to start from"}
    return merged
