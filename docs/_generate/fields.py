"""Reference of scenarios: every kind and block with its fields, from the descriptions that validate them."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from _generate import library
from _generate.blocks import BLOCKS
from _generate.links import REPOSITORY
from linksim.kinds import find, names
from linksim.kinds.union import KindName, KindOf, annotation_parts, descriptions, models_in
from linksim.metrics.facts import known_facts
from linksim.scenario.schema import ControlTrainScenario, DenoiserTrainScenario, Scenario, TrainScenario
from linksim.scenario.starting.comments import field_facts, one_line
from linksim.scenario.sweeps import as_written

__all__ = ["FAMILY_PAGES", "pages"]

FAMILY_PAGES = {
    "images": ("Pictures", "`images`: what is sent. `images: none` sends random bits."),
    "channel": ("Channels", "`channel`, or a list under `channels`."),
    "delay_model": ("Models behind OFDM", "`channel.model`: the paths between the antennas."),
    "estimator": (
        "Estimators of OFDM",
        "`channel.csi`: what the receiver knows of the gains, and the pilots.",
    ),
    "impairment": ("Impairments", "`channel.impairments`: a list, in the order in which they act."),
    "scheme": ("Schemes", "`schemes`: what sends the pictures; a curve for each."),
    "source_codec": ("Source codecs", "`schemes.source`: the codec of the picture, told apart by `codec`."),
    "network": (
        "Networks",
        "`train.codec`: a network that is trained; schemes name trained ones as `checkpoint`.",
    ),
}
_SUFFIXES = {
    **{"_s": "s", "_hz": "Hz", "_db": "dB", "_dbm": "dBm", "_mps": "m/s", "_m": "m", "_k": "K", "_deg": "°"},
    **{"_ppm": "ppm", "_bytes": "bytes", "_samples": "samples"},
}  # fmt: skip
_TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", Fraction: "fraction"}


def pages() -> dict[str, str]:
    """Markdown by the name of the page."""
    book = _Book()
    made = {"scenario": book.page(*_SCENARIO, [(Scenario, "A scenario")])}
    for family, (title, lead) in FAMILY_PAGES.items():
        made[family] = book.page(title, lead, [(m, "") for m in descriptions(family)], family)
    trainings = [(TrainScenario, "Training of a codec"), (ControlTrainScenario, "Training of a control module"),
                 (DenoiserTrainScenario, "Training of a denoiser")]  # fmt: skip
    made["training"] = book.page(*_TRAINING, trainings)
    made["metric"] = _metrics()
    made["sampler"] = _samplers()
    return made


_SCENARIO = (
    "The scenario",
    "The keys at the top of a file, and their blocks. `extends: FILE` starts from another file. Names of fields carry "
    "their unit; a key that is not here is an error, with the nearest one that is. `linksim new` writes a commented "
    "scenario, `linksim schema` prints the schema for editors, `--set PATH=VALUE` overrides any field.",
)
_TRAINING = (
    "Trainings",
    "A file with `train`, `train_control` or `train_denoiser` is a training, run by `linksim train`. Pictures, channels "
    "and codecs are those of the other pages. What trainings do is in [Training a codec](../../training.md).",
)


class _Book:
    """Pages so far: a block that many kinds have is described once, and linked from then on."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def page(self, title: str, lead: str, models: list[tuple[type[BaseModel], str]], family: str = "") -> str:
        """A page of some descriptions and the blocks in them."""
        parts = [f"# {title}\n\n{lead}\n"]
        blocks: dict[str, type[BaseModel]] = {}
        for model, name in models:
            parts.append(self._section(model, name, 2, family))
            for block in _blocks_in(model):
                blocks.setdefault(_anchor(block), block)
        while blocks:
            anchor, block = next(iter(blocks.items()))
            del blocks[anchor]
            if anchor not in self._done:
                parts.append(self._section(block, "", 2))
                blocks |= {
                    _anchor(inner): inner for inner in _blocks_in(block) if _anchor(inner) not in blocks
                }
        return "\n".join(parts)

    def _section(self, model: type[BaseModel], title: str, level: int, family: str = "") -> str:
        self._done.add(_anchor(model))
        head = title or _title(model)
        lines = [f"({_anchor(model)})=", f"{'#' * level} {head}", "", _about(model), "", *_table(model), ""]
        example = library.example_of(model)
        if example and not title:
            place = f"{REPOSITORY}scenarios/{example.scenario}.yaml"
            lines += [f"In [`{example.scenario}`]({place}):", "", "```yaml", example.text.rstrip(), "```", ""]
        elif (family, _kind_of(model)[1]) in BLOCKS:
            lines += _own_block(model, BLOCKS[family, _kind_of(model)[1]])
        return "\n".join(lines)


def _own_block(model: type[BaseModel], values: dict[str, Any]) -> list[str]:
    """A block that is not from the library; it is validated here."""
    key, name = _kind_of(model)
    block = {key: name, **values}
    model.model_validate(block)
    return ["For example (no scenario of the library uses it):", "", "```yaml", one_line(block), "```", ""]


def _kind_of(model: type[BaseModel]) -> tuple[str, str]:
    """The key that tells kinds apart, and the name of this one; empty of other blocks."""
    for key in ("kind", "codec"):
        info = model.model_fields.get(key)
        choices = get_args(info.annotation) if info and get_origin(info.annotation) is Literal else ()
        if len(choices) == 1 and isinstance(choices[0], str):
            return key, choices[0]
    return "", ""


def _anchor(model: type[BaseModel]) -> str:
    _, name = _kind_of(model)
    return f"block-{re.sub(r'[^a-z0-9]+', '-', f'{model.__module__}-{model.__name__}-{name}'.lower())}"


def _title(model: type[BaseModel]) -> str:
    key, name = _kind_of(model)
    if name:
        return f"`{key}: {name}`"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.removesuffix("Spec"))
    return f"Block: {words.lower()}"


def _about(model: type[BaseModel]) -> str:
    """Docstring without its arguments."""
    text = (model.__doc__ or "").strip()
    text = re.split(r"\n\s*(?:Args|Attributes|Raises|Example):", text)[0]
    return _plain(" ".join(text.split()))


def _plain(text: str) -> str:
    """A docstring as Markdown: code in single quotes, roles as code, no pipe that a table would take for its own."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return text.replace("|", "\\|").replace("<", "&lt;")


def _blocks_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Blocks that fields hold; not kinds, which have pages of their own."""
    for info in model.model_fields.values():
        if not any(isinstance(part, KindOf) for part in annotation_parts(info)):
            yield from models_in(info.annotation)


def _table(model: type[BaseModel]) -> list[str]:
    lines = ["| field | type, unit, bounds | default | meaning |", "|---|---|---|---|"]
    for name in model.model_fields:
        if name == _kind_of(model)[0]:
            continue
        lines.append(_row(model, name))
    return lines if len(lines) > 2 else ["No fields."]


def _row(model: type[BaseModel], name: str) -> str:
    info = model.model_fields[name]
    facts = field_facts(model, name)
    unit = facts.unit or next((u for s, u in _SUFFIXES.items() if name.endswith(s)), "")
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        said = "required"
    elif isinstance(default, BaseModel):
        short = one_line(as_written(default.model_dump(exclude_defaults=True)))
        said = "its defaults" if short == "{}" else f"`{short}`"
    else:
        said = f"`{one_line(as_written(default))}`"
    choices = "" if facts.choices.startswith("kinds") or "some of" in facts.choices else facts.choices
    meaning = _plain(". ".join(part for part in (facts.meaning, choices) if part))
    kind = f"{_type(info)}{f' [{unit}]' if unit else ''}{f', {facts.bounds}' if facts.bounds else ''}"
    return f"| `{name}` | {kind} | {said} | {meaning} |"


def _type(info: Any) -> str:
    """Type of a field in words, with links to blocks and families."""
    for part in annotation_parts(info):
        if isinstance(part, KindOf):
            many = "list of " if get_origin(info.annotation) is tuple else ""
            page = f"{part.family}.md" if part.family in FAMILY_PAGES else "scenario.md"
            return f"{many}[{part.family.replace('_', ' ')}]({page})"
        if isinstance(part, KindName):
            many = "list of " if get_origin(info.annotation) is tuple else ""
            return f"{many}[{part.family}]({part.family}.md)"
    return _words(info.annotation)


def _words(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(p) for p in parts))
    if origin is Literal:
        return "choice"
    if origin is tuple:
        inner = [_words(p) for p in parts if p is not ...]
        return f"list of {inner[0]}" if len(set(inner)) == 1 and ... in parts else f"[{', '.join(inner)}]"
    if origin is dict:
        return f"{_words(parts[0])} to {_words(parts[1])}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[block](#{_anchor(annotation)})"
    return _TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))


# ------------------------------------------------------------------------------- kinds without fields


def _metrics() -> str:
    lines = [
        "# Metrics", "",
        "`metrics`: a list of names. Those that need packages or weights say so in a run that lacks them, and in",
        "`linksim list metrics`. Exact definitions are in [Definitions](../../definitions.md).", "",
        "| name | drawn as | unit | best | meaning |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name in names("metric"):
        found, info = find("metric", name), known_facts(name)
        about = _plain(found.summary.rstrip("."))
        if info is None:
            lines.append(f"| `{name}` | | | | {about} |")
        else:
            better = info.better.replace(" is better", "").replace(" is best", "")
            unit = "" if info.unit == "1" else info.unit
            lines.append(f"| `{name}` | {_plain(info.title)} | {unit} | {better} | {about} |")
    return "\n".join([*lines, ""])


def _samplers() -> str:
    lines = [
        "# Samplers", "",
        "`sampler` of [`diffjscc`](scheme.md): how the diffusion goes from noise to a picture.", "",
        "| name | meaning |", "|---|---|",
    ]  # fmt: skip
    lines += [f"| `{n}` | {_plain(find('sampler', n).summary)} |" for n in names("sampler")]
    return "\n".join([*lines, ""])
