"""The README as the package index shows it: there, relative links lead nowhere, so they are made whole.

Called by hatchling whenever a distribution is built (``tool.hatch.metadata.hooks.custom``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s]+)\)")


def whole(text: str, source: str, tag: str) -> str:
    """Markdown whose relative links lead to a tag of a repository on GitHub; pictures as files.

    Args:
        text: Markdown.
        source: address of the repository.
        tag: of the release.
    """

    def link(found: re.Match[str]) -> str:
        kind = "raw" if found[1] else "blob"
        return f"{found[1]}[{found[2]}]({source}/{kind}/{tag}/{found[3]})"

    return LINK.sub(link, text)


class ReadmeOfTheIndex(MetadataHookInterface):
    """Fills the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        tag = f"v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": whole(text, metadata["urls"]["Source"], tag),
        }
