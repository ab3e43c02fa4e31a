"""Model cards of the networks that come with linksim, and where each is used."""

from __future__ import annotations

import re

from _generate import library
from _generate.links import REPOSITORY
from linksim.weights import zoo

__all__ = ["pages"]

_LEAD = """# Bundled models

Networks that are inside the package: `checkpoint: NAME` in a scenario loads one without a network. Times are those of
`linksim list models`, of one picture of 768 x 512 pixels on two cores.

| name | scheme | size [MB] | CBR | trained at [dB] | time [s] | SHA-256 begins |
|---|---|---|---|---|---|---|
"""


def pages() -> dict[str, str]:
    """Markdown by the name of the page."""
    rows, cards = [], []
    for name, model in zoo.BUNDLED_MODELS.items():
        file = zoo.asset(zoo.BUNDLED_FILES[name])
        low, high = model.snr_db
        size, digest = f"{file.stat().st_size / 1e6:.1f}", zoo.asset_digest(zoo.BUNDLED_FILES[name])[:12]
        ratios = ", ".join(model.ratios)
        rows.append(
            f"| [`{name}`](#{name}) | `{model.kind}` | {size} | {ratios} | {low:g} to {high:g} | {model.seconds:g} | `{digest}` |"
        )
        cards.append(_card(name, file.with_suffix(".md").read_text(encoding="utf-8")))
    return {"models": _LEAD + "\n".join(rows) + "\n\n" + "\n".join(cards)}


def _card(name: str, text: str) -> str:
    """A card with its headings below that of the page, code instead of links out of its folder, and who uses it."""
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    text = re.sub(r"\]\(([\w-]+)\.md\)", r"](#\1)", text)
    text = re.sub(r"\]\((?:\.\./)+docs/", "](../../", text)
    text = re.sub(r"\]\((?:\.\./)+", f"]({REPOSITORY}", text)
    used = [n for n, s in library.scenarios().items() if f"'{name}'" in repr(s.model_dump())]
    said = ", ".join(f"[`{n}`]({REPOSITORY}scenarios/{n}.yaml)" for n in used)
    return f"{text.rstrip()}\n\nUsed by: {said or 'no scenario of the library'}.\n"
