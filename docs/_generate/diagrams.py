"""Diagrams as SVG: plain boxes, drawn from the code."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

from _generate.walks import WALKS, Walk

__all__ = ["diagrams", "first_sentence", "found"]

ROOT = Path(__file__).resolve().parents[2]
_LINE, _PAD = 17, 10
_INK, _FILL, _SECOND, _EDGE = "#1b2733", "#eaf2fb", "#f4efe6", "#5b6b7b"
_STYLE = (
    f"text{{font:13px 'DejaVu Sans',Verdana,sans-serif;fill:{_INK}}}.name{{font-weight:bold}}"
    f".small{{font-size:11.5px;fill:{_EDGE}}}.flow{{font-size:11.5px;font-style:italic;fill:{_INK}}}"
)


def diagrams() -> dict[str, str]:
    """SVG by file name."""
    return {f"walk-{name}": _walk(walk) for name, walk in WALKS.items()} | {
        "rooms": _rooms(),
        "chain": _chain(),
    }


# ------------------------------------------------------------------------------------------------- parts


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    arrow = (
        '<marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{_EDGE}"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style><defs>{arrow}</defs><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _box(
    x: float, y: float, width: float, lines: Sequence[tuple[str, str]], fill: str = _FILL
) -> tuple[str, float]:
    """A box with lines of (class, text); the drawing and its height."""
    height = _PAD * 1.4 + _LINE * len(lines)
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{fill}" stroke="{_EDGE}"/>'
    ]
    for i, (kind, text) in enumerate(lines):
        parts.append(
            f'<text class="{kind}" x="{x + _PAD}" y="{y + _PAD + 9 + i * _LINE}">{escape(text)}</text>'
        )
    return "".join(parts), height


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{_EDGE}" fill="none" marker-end="url(#a)"/>'


# ------------------------------------------------------------------------------------------------- walks


def found(path: str) -> Any:
    """What a full name names."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            thing = getattr(thing, name)
        return thing
    raise ImportError(path)


def first_sentence(path: str) -> str:
    """Of the docstring of what a name names; of a class where its constructor has none."""
    thing = found(path)
    text = inspect.getdoc(thing) or ""  # that of the base, where a method has none of its own
    if path.endswith((".__init__", ".__call__")) and (not text or "See help(type(self))" in text):
        text = found(path.rpartition(".")[0]).__doc__ or ""
    text = " ".join(text.strip().partition("\n\n")[0].split())
    text = re.sub(r":\w+:`~?([^`]+)`", r"\1", text).replace("``", "")
    if text.startswith("See "):
        text = found(path.rpartition(".")[0]).__doc__.strip().partition("\n")[0]
    return re.split(r"(?<=[.;:]) ", text)[0].rstrip(".;:")


def _walk(walk: Walk) -> str:
    width, parts, y = 640, [], 12.0
    for i, (path, passes) in enumerate(walk.steps):
        module, name = _split(path)
        said = textwrap.wrap(first_sentence(path), 88)[:2]
        lines = [("name", f"{name}"), ("small", module), *(("", line) for line in said)]
        drawn, height = _box(12, y, width - 24, lines, _FILL if path.startswith("linksim") else _SECOND)
        parts.append(drawn)
        y += height
        if i + 1 < len(walk.steps):
            parts += [
                _arrow(60, y, 60, y + 27),
                f'<text class="flow" x="74" y="{y + 18}">{escape(passes)}</text>',
            ]
            y += 28
        else:
            parts.append(f'<text class="flow" x="74" y="{y + 16}">{escape(passes)}</text>')
            y += 24
    return _svg(width, y, walk.title, parts)


def _split(path: str) -> tuple[str, str]:
    """Module and name within it."""
    parts = path.split(".")
    length = next(n for n in range(len(parts), 0, -1) if _is_module(".".join(parts[:n])))
    return ".".join(parts[:length]), ".".join(parts[length:])


def _is_module(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True


# ------------------------------------------------------------------------------------------------- rooms


@cache
def _edges() -> dict[str, set[str]]:
    """Rooms and those that their modules import at once, read from the files."""
    from tests.test_layers import MODULES, ROOMS, project_imports, room

    edges: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, path in MODULES.items():
        here = room(module)
        for name in project_imports(ast.parse(path.read_text(encoding="utf-8")), in_functions=False):
            if here != "linksim.cli" and room(name) != here:
                edges[here].add(room(name))
    return edges


def _levels() -> list[list[str]]:
    """Rooms of linksim by the longest way down to one that imports no other; channels are one room."""
    edges = {"channels": set()} | {
        here: {"channels" if t.startswith("channels") else t for t in there}
        for here, there in _edges().items()
        if here.startswith("linksim")
    }
    edges["linksim.cli"] = set(edges) - {"linksim.cli"}
    depth: dict[str, int] = {}

    def deep(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((deep(t) for t in edges[name] if t != name), default=-1)
        return depth[name]

    rows: list[list[str]] = [[] for _ in range(1 + max(deep(name) for name in edges))]
    for name in edges:
        rows[depth[name]].append(name)
    return rows[::-1]


def room_text(name: str) -> str:
    """First sentence of a room's ``__init__.py``, or of the table of CONTRIBUTING.md."""
    for row in re.findall(
        r"^\| (`[^|]*`) \| ([^|]+) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M
    ):
        names = re.findall(r"`([^`]+)`", row[0])
        full = [n if n.startswith(("channels", "linksim")) else f"linksim/{n}" for n in names]
        meanings = [m.strip() for m in row[1].split(";")]
        wanted = {"channels": "channels/*.py", "linksim": "linksim/link.py"}.get(name, name.replace(".", "/"))
        if wanted in full:
            index = full.index(wanted)
            return meanings[index] if len(meanings) == len(full) else row[1].strip()
    return ""


def _rooms() -> str:
    width, y, parts = 760, 12.0, []
    for row in _levels():
        space = (width - 24 + 10) / len(row)
        chars = int((space - 30) / 6.6)
        boxes = []
        for i, name in enumerate(row):
            said = textwrap.wrap(room_text(name), chars)
            title = {"linksim": "linksim/link.py"}.get(name, name.replace(".", "/"))
            boxes.append((12 + i * space, [("name", title), *(("small", line) for line in said)], name))
        most = max(len(lines) for _, lines, _ in boxes)
        for x, lines, name in boxes:
            filled = [*lines, *[("", "")] * (most - len(lines))]
            drawn, height = _box(x, y, space - 10, filled, _SECOND if name == "channels" else _FILL)
            parts.append(drawn)
        y += height
        if row != _levels()[-1]:
            parts.append(_arrow(width / 2, y, width / 2, y + 15))
            y += 16
    return _svg(width, y + 12, "Rooms of linksim: each imports only rooms below it", parts)


# ------------------------------------------------------------------------------------------------- chain


def _chain() -> str:
    """The link, as readers of papers draw it; names of what passes are those of linksim.link and channels.types."""
    from dataclasses import fields

    from channels.types import Csi, Received
    from linksim.schemes.base import Frame

    frame, received, csi = (", ".join(f.name for f in fields(kind)) for kind in (Frame, Received, Csi))
    boxes = [
        ("Pictures", "x, 3·H·W values", _FILL),
        ("Transmitter", "JSCC encoder, or BPG + LDPC + QAM", _FILL),
        ("Channel", "draw, propagate", _SECOND),
        ("Front end", "pilots, estimate, noise", _SECOND),
        ("Receiver", "equaliser, decoder", _FILL),
        ("Metrics", "PSNR, LPIPS, BLER", _FILL),
    ]
    flows = [
        "budget n, csit",
        f"Frame: {frame}",
        "h·x + w",
        f"Received: {received}; Csi: {csi}",
        "picture, state",
        "",
    ]
    parts, y = [], 12.0
    for (name, said, fill), flow in zip(boxes, flows, strict=True):
        drawn, height = _box(12, y, 300, [("name", name), ("", said)], fill)
        parts.append(drawn)
        y += height
        if flow:
            parts.append(_arrow(60, y, 60, y + 27))
            for i, line in enumerate(textwrap.wrap(flow, 90)):
                parts.append(f'<text class="flow" x="74" y="{y + 18 + 14 * i}">{escape(line)}</text>')
            y += 28
    return _svg(560, y + 12, "One link", parts)
