"""Mutations of trees (YAML, JSON), texts and bytes, each a function of a generator of random numbers."""

from __future__ import annotations

import copy
import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["mutated_bytes", "mutated_text", "mutated_tree", "strange_value"]

_TEXTS = (
    "", " ", "\x00", "a\x00b", "\x1b[31m", "\ud800", "\u202e", "~", "~nosuchuser/x", "/", ".", "..", "../../etc/passwd",
    "/dev/zero", "/dev/stdin", "/proc/self/mem", "$\\frac{", "%s%n", "{0}", "nan", "1/0", "1/3", "0/5", "1/96", "-5:2:15", "0:1e-9:100",
    "0:0:5", "adaptive", "auto", "awgn", "x" * 5000, "ä" * 300, "1e999", "0x10", "1_000", "!!python/object:os.system",
    "a,b", "a.b.c", "channel.model.speed_mps", "schemes.0.name", "name", "psnr", "lpips_alex", "all", "yes", "null",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 2, 3, 7, 64, 255, 256, 1000, 65536, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**30), 10**400, 0.0, -0.0,
    0.5, 1e-9, 1e-300, 1e9, 1e300, -1e300, math.inf, -math.inf, math.nan,
)  # fmt: skip


def _deep(rng: random.Random) -> Any:
    """Lists or mappings inside each other."""
    node: Any = rng.choice((1, "x", None))
    in_lists = rng.random() < 0.5
    for _ in range(rng.choice((3, 40, 120))):
        node = [node] if in_lists else {"a": node}
    return node


def strange_value(rng: random.Random) -> Any:
    """A value that nobody expects."""
    kind = rng.randrange(10)
    if kind < 3:
        return rng.choice(_TEXTS)
    if kind < 6:
        return rng.choice(_NUMBERS)
    if kind == 6:
        return rng.choice((None, True, False))
    if kind == 7:
        return rng.choice(([], {}, [[]], [{}], {"kind": None}, {"": 1}, [None], [1, "1", 1.0], {"kind": []}))
    if kind == 8:
        return [rng.choice(_NUMBERS) for _ in range(rng.choice((1, 2, 5, 300)))]
    return _deep(rng)


def _places(node: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a tree."""
    found = [] if found is None else found
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        found.append((node, key))
        _places(node[key], found)
    return found


def _other_number(value: float, rng: random.Random) -> float:
    kind = rng.randrange(4)
    if kind == 0:
        return -value
    if kind == 1:
        return value + rng.choice((-1, 1))
    if kind == 2:
        return int(value) if isinstance(value, float) and math.isfinite(value) else float(min(value, 1e300))
    scaled = float(min(max(value, -1e200), 1e200)) * 10.0 ** rng.randint(-12, 12)
    return scaled if isinstance(value, float) or not math.isfinite(scaled) else int(scaled)


def _other_text(text: str, rng: random.Random) -> str:
    if text and rng.random() < 0.5:
        at = rng.randrange(len(text))
        return text[:at] + rng.choice(("", "x", "\x00", "\x1b", "/", ".", " ", "é", text)) + text[at + 1 :]
    return rng.choice(_TEXTS)


def _other_value(value: Any, rng: random.Random) -> Any:
    """A value like it, or one that is not."""
    if rng.random() < 0.5 and not isinstance(value, bool):
        if isinstance(value, int | float):
            return _other_number(value, rng)
        if isinstance(value, str):
            return _other_text(value, rng)
    return strange_value(rng)


def _set(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    parent[key] = _other_value(parent[key], rng)


def _delete(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    del parent[key]


def _graft(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    """A value from elsewhere."""
    places = _places(rng.choice(others))
    if places:
        other, its_key = rng.choice(places)
        parent[key] = copy.deepcopy(other[its_key])


def _graft_alike(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    """The value of the same key from elsewhere."""
    found = [p for p in _places(rng.choice(others)) if p[1] == key]
    if found:
        other, its_key = rng.choice(found)
        parent[key] = copy.deepcopy(other[its_key])


def _rename(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    if isinstance(parent, dict):
        new = rng.choice((_other_text(str(key), rng), strange_value(rng)))
        value = parent.pop(key)
        parent[new if isinstance(new, str | int | float | bool | None) else str(new)[:50]] = value


def _add(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    node = parent[key]
    if isinstance(node, dict):
        node[rng.choice(_TEXTS)] = strange_value(rng)
    elif isinstance(node, list):
        node.insert(rng.randint(0, len(node)), strange_value(rng))
    else:
        parent[key] = [node]


def _repeat(parent: Any, key: Any, rng: random.Random, others: Sequence[Any]) -> None:
    node = parent[key]
    if isinstance(node, list) and node:
        parent[key] = [copy.deepcopy(rng.choice(node)) for _ in range(rng.choice((2, 5, 60)))]
    elif isinstance(node, str):
        parent[key] = node * rng.choice((2, 300))
    else:
        parent[key] = [copy.deepcopy(node), copy.deepcopy(node)]


_STEPS: tuple[Callable[[Any, Any, random.Random, Sequence[Any]], None], ...] = (
    *(_set, _set, _set, _delete, _graft, _graft_alike, _graft_alike, _rename, _add, _repeat),
)


def mutated_tree(tree: Any, rng: random.Random, others: Sequence[Any] = (), steps: int | None = None) -> Any:
    """A copy of a tree with a few values changed, taken away, renamed, added or taken from ``others``."""
    root = {"root": copy.deepcopy(tree)}
    for _ in range(steps or rng.choice((1, 1, 1, 2, 3))):
        places = _places(root)
        if not places:
            return strange_value(rng)
        rng.choice(_STEPS)(*rng.choice(places), rng, others or (tree,))
    return root.get("root", {})


# ----------------------------------------------------------------------------------------------- texts

_SNIPPETS = (
    "&a [*a]", "*a", "!!python/object/apply:os.system ['touch hit']", "!!binary aGk=", "<<: {a: 1}", "? [a]\n: b", "---", "...", "\t",
    "%YAML 9.9", "!<x> y", "|", ">", "{", "}", "[", "]", ",", ":", "#", "'", '"', "\x00", "\x07", "\ufeff", "\u2028", "- - - -", "1e400",
    "0o17", "12:30:45", "2020-01-01", "!!set {a}", "!!omap [a: 1]", "!!timestamp x", "!!int x", "!!float []", "=", "extends: x.yaml",
)  # fmt: skip


def mutated_text(text: str, rng: random.Random) -> str:
    """A text with lines lost, doubled or swapped, letters changed, and snippets of YAML's darker corners."""
    lines = text.splitlines() or [""]
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, kind = rng.randrange(len(lines)), rng.randrange(6)
        line = lines[at]
        cut = rng.randint(0, len(line))
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines[at:at] = [line] * rng.choice((1, 1, 50))
        elif kind == 2:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], line
        elif kind == 3:
            lines[at] = line[:cut] + rng.choice(_SNIPPETS) + line[cut:]
        elif kind == 4:
            lines[at] = (
                line[:cut] + chr(rng.choice((rng.randrange(128), rng.randrange(0xD000)))) + line[cut + 1 :]
            )
        else:
            lines[at] = line.replace(" ", "", 1) if rng.random() < 0.5 else "  " + line
    return "\n".join(lines)


# ----------------------------------------------------------------------------------------------- bytes

_WORDS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _one_step(data: bytes, rng: random.Random) -> bytes:
    size = len(data)
    # half of the time near the begin, where headers are
    at = rng.randrange(min(size, 64) if rng.random() < 0.5 else size)
    kind = rng.randrange(8)
    if kind == 0:
        return _patched(data, at, bytes([data[at] ^ 1 << rng.randrange(8)]))
    if kind == 1:
        return _patched(data, at, rng.randbytes(rng.choice((1, 2, 4, 16))))[:size]
    if kind == 2:
        return data[:at]
    if kind == 3:
        end = min(size, at + rng.choice((1, 2, 8, 100)))
        return data[:at] + data[end:]
    if kind == 4:
        end = min(size, at + rng.choice((1, 4, 32, 500)))
        return data[:end] + data[at:end] * rng.choice((1, 1, 20)) + data[end:]
    if kind == 5:
        width = rng.choice("BHI")
        word = rng.choice(_WORDS) & {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF}[width]
        return _patched(data, at, struct.pack(rng.choice("<>") + width, word))[:size]
    if kind == 6:
        other = rng.randrange(size)
        length = rng.choice((4, 16, 200))
        return _patched(data, at, data[other : other + length])[:size]
    return data + rng.randbytes(rng.choice((1, 50, 3000)))


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, overwritten, cut out, doubled, moved, cut off or appended."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 10))):
        data = _one_step(data, rng) if data else rng.randbytes(8)
    return data
