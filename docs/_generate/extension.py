"""What the site adds to Sphinx."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from _generate import docstrings, links, mathml, pages

__all__ = ["setup"]


def _make_pages(app: Sphinx) -> None:
    pages.write(app.srcdir / "reference" / "generated")


def _rewrite(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = links.rewritten(source[0], name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", _make_pages)
    app.connect("source-read", _rewrite)
    app.connect("autodoc-process-docstring", docstrings.without_type, priority=100)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.add_html_math_renderer("mathml", (mathml.visit_inline, None), (mathml.visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
