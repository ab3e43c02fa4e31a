"""Links of pages that GitHub shows too: what lies outside docs/ becomes a page of the site or an address."""

from __future__ import annotations

import re

__all__ = ["REPOSITORY", "rewritten"]

REPOSITORY = "https://github.com/linksim/linksim/blob/main/"
CARD = re.compile(r"^linksim/assets/([\w.-]+)\.md$")
LINK = re.compile(r"\]\((?P<up>(?:\.\./)+)(?P<path>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def rewritten(text: str, page: str) -> str:
    """A page with links that a site can follow.

    Args:
        text: Markdown.
        page: its name within docs/, without the suffix, such as ``reference/files``.

    Example:
        >>> rewritten("[a](../scenarios/quickstart.yaml)", "runs")
        '[a](https://github.com/linksim/linksim/blob/main/scenarios/quickstart.yaml)'
        >>> rewritten("[a](../runs.md) [b](../../README.md)", "reference/files")
        '[a](../runs.md) [b](https://github.com/linksim/linksim/blob/main/README.md)'
    """
    depth = page.count("/")

    def target(found: re.Match[str]) -> str:
        ups = found["up"].count("../")
        if ups <= depth:  # still within docs/
            return found[0]
        card = CARD.match(found["path"])
        if card:
            return f"]({'../' * depth}reference/generated/models.md#{card[1]})"
        return f"]({REPOSITORY}{found['path']}{found['anchor'] or ''})"

    return LINK.sub(target, text)
