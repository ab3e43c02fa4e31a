"""Pictures that runs kept, for a page: as WebP, each once."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from linksim.report.interactive.names import Names, scheme_name
from linksim.report.panels import read_picture, value_text
from linksim.report.runs import Run
from linksim.results.store import RunFolderError, original_file, panel_file

__all__ = ["page_pictures"]

log = logging.getLogger("linksim.report.interactive.kept")

_LOSSLESS = 16_000_000  # bytes of all pictures up to which they are written without loss
_LARGEST = 48_000_000  # ... and beyond which the last ones are left out
_QUALITY = 90
Found = tuple[list[int], str, Image.Image]  # where it belongs, what is said of it, the picture


@dataclass
class _Files:
    """Pictures as data URIs, each once."""

    lossless: bool
    uris: list[str] = field(default_factory=list)
    size: int = 0
    left_out: int = 0
    _known: dict[bytes, int] = field(default_factory=dict)

    def add(self, picture: Image.Image) -> int | None:
        """The place of a picture; None of one that the page has no room for."""
        pixels = repr(picture.size).encode() + picture.tobytes()
        if pixels in self._known:
            return self._known[pixels]
        data = _webp(picture, self.lossless)
        if self.size + len(data) > _LARGEST:
            self.left_out += 1
            return None
        self.size += len(data)
        self.uris.append("data:image/webp;base64," + base64.b64encode(data).decode())
        return self._known.setdefault(pixels, len(self.uris) - 1)


def page_pictures(runs: Sequence[Run], names: Names) -> dict[str, Any]:
    """Originals and shown pictures that the runs kept.

    Returns:
        ``files``: data URIs; ``sizes``: (width, height) of each; ``originals``: [run, image, file];
        ``shown``: [channel, scheme, place, image, file, values in words]; ``how``: how they are written, and
        what is missing.
    """
    found = list(_all(runs, names))
    files, entries = _written(found, lossless=True)
    if files.size > _LOSSLESS:
        files, entries = _written(found, lossless=False)
    lossy = f"WebP of quality {_QUALITY}, not to the last bit: images/ of the run has them exactly"
    how = "WebP without loss" if files.lossless else lossy
    if files.left_out:
        how += f"; {files.left_out} had no room here, images/ of the run has them"
    sizes = {entry[-2]: list(picture.size) for entry, (_, _, picture) in zip(entries, found, strict=True)}
    return {
        "files": files.uris,
        "sizes": [sizes[i] for i in range(len(files.uris))],
        "originals": [entry[:3] for entry in entries if len(entry) == 4 and entry[2] is not None],
        "shown": [entry for entry in entries if len(entry) == 6 and entry[4] is not None],
        "how": how if files.uris else "",
    }


def _written(found: Sequence[Found], *, lossless: bool) -> tuple[_Files, list[list[Any]]]:
    files = _Files(lossless)
    return files, [[*place, files.add(picture), text] for place, text, picture in found]


def _all(runs: Sequence[Run], names: Names) -> Iterator[Found]:
    for i, run in enumerate(runs):
        for image in run.header["images"]:
            picture = _read(original_file(run.store, image))
            if picture is not None:
                yield [i, names.images(image)], "", picture
    for run in runs:
        infos = run.store.metrics()
        for record in (r for r in run.records if r.key.trial == 0):
            picture = _read(panel_file(run.store, record.key))
            if picture is not None:
                key = record.key
                scheme = names.schemes(scheme_name(run, key.scheme))
                place = [names.channels(key.channel), scheme, names.place(key), names.images(key.image)]
                yield place, value_text(record, infos), picture


def _read(path: Path) -> Image.Image | None:
    if not path.exists():
        return None
    try:
        return read_picture(path)
    except RunFolderError as problem:
        log.warning("not in the report: %s", problem)
        return None


def _webp(picture: Image.Image, lossless: bool) -> bytes:
    out = io.BytesIO()
    if lossless:
        picture.save(out, "WEBP", lossless=True, quality=20, method=1)
    else:
        picture.save(out, "WEBP", quality=_QUALITY, method=4)
    return out.getvalue()
