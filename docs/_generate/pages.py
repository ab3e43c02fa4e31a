"""All generated pages."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write the pages into a folder; those that are as before are left alone, so that Sphinx does not read them again.

    Args:
        folder: within docs/.
    """
    from _generate import api, commands, fields, models

    made: dict[str, str] = {}
    for module in (fields, commands, api, models):
        made |= module.pages()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.glob("*.md"):
        if path.stem not in made:
            path.unlink()
