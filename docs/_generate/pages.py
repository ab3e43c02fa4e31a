"""All generated pages."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write the pages into a folder; those that are as before are left alone, so that Sphinx does not read them again.

    Args:
        folder: within docs/.
    """
    from _generate import api, commands, diagrams, fields, measurements, models

    made = {f"{name}.svg": text for name, text in diagrams.diagrams().items()}
    for module in (fields, commands, api, models, measurements):
        made |= {f"{name}.md": text for name, text in module.pages().items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        if path.name not in made:
            path.unlink()
