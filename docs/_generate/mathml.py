"""Formulas as MathML, which browsers draw themselves: pages need no script and no network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

__all__ = ["visit_block", "visit_inline"]


_SCRIPT = {"C": "\N{MATHEMATICAL SCRIPT CAPITAL C}", "N": "\N{MATHEMATICAL SCRIPT CAPITAL N}"}


def _drawn(node: nodes.Element, display: str) -> str:
    """MathML: bars belong to what they enclose, and script letters are letters, as browsers have it."""
    text = node.astext().replace(r"\lvert", r"\left|").replace(r"\rvert", r"\right|")
    made = convert(text, display=display)
    return re.sub(r'<mi mathvariant="script">(\w)</mi>', lambda f: f"<mi>{_SCRIPT[f[1]]}</mi>", made)


def visit_inline(writer: Any, node: nodes.Element) -> None:
    """A formula within a sentence."""
    writer.body.append(_drawn(node, "inline"))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.Element) -> None:
    """A formula of its own."""
    writer.body.append(f'<div class="formula">{_drawn(node, "block")}</div>\n')
    raise nodes.SkipNode
