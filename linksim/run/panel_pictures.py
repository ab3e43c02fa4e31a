"""Pictures that a run keeps to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from linksim.files.writing import whole_file
from linksim.images.sets import image_digest
from linksim.results.records import Record, UnitKey
from linksim.results.store import ResultStore, original_file, panel_file
from linksim.run.plan import Batch, Plan
from linksim.scenario.schema import (
    Scenario,
)

__all__ = [
    "in_panel",
    "is_picture",
    "kept_picture",
    "lacks_pictures",
    "panel_snr_db",
    "png_of",
    "save_originals",
    "save_panel",
    "save_png",
]


_EFFORT = 4  # of 9: half the time of the usual 6, files 6% larger


def panel_snr_db(scenario: Scenario) -> tuple[float, ...]:
    """SNRs that the image panel shows."""
    if scenario.panel.snr_db is not None:
        return scenario.panel.snr_db
    swept = scenario.sweep.snr_db
    return () if swept is None else tuple(dict.fromkeys((min(swept), max(swept))))


def png_of(image: NDArray[np.uint8]) -> bytes:
    """A picture [3, H, W] uint8 as a PNG file."""
    held = BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(held, "PNG", compress_level=_EFFORT)
    return held.getvalue()


def save_png(path: Path, png: bytes) -> None:
    """Write a picture, see :func:`png_of`, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(png)


def in_panel(scenario: Scenario, batch: Batch, names: Sequence[str]) -> list[bool]:
    """Which units of a batch the panel shows."""
    wanted = set(names[: scenario.panel.images]) if scenario.images.has_pictures else set()
    if scenario.sweep.snr_db is not None and batch.snr_db not in panel_snr_db(scenario):
        wanted = set()
    return [trial == 0 and name in wanted for name, trial in batch.members]


def lacks_pictures(plan: Plan, batch: Batch, store: ResultStore, shown: Mapping[UnitKey, str]) -> bool:
    """Whether pictures of a batch that the panel shows are not there: deleted, of a panel that grew, or those
    of another scheme that had the name.

    Args:
        plan, batch: of the run.
        store: its folder.
        shown: digests of the pictures that units showed, as far as they are known.
    """
    asked = zip(batch.keys(), in_panel(plan.scenario, batch, list(plan.images)), strict=True)
    return any(wanted and not is_picture(panel_file(store, key), shown.get(key, "")) for key, wanted in asked)


def is_picture(path: Path, digest: str) -> bool:
    """Whether a file is the picture with a digest; "" of any picture."""
    found = _read_png(path)
    return found is not None and (not digest or image_digest(found) == digest)


def _read_png(path: Path) -> Tensor | None:
    """[3, H, W] uint8 of a file; None if there is none that can be read."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            pixels = np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def kept_picture(store: ResultStore, record: Record) -> Tensor | None:
    """[3, H, W] uint8 that a unit showed, where the folder keeps it; None where that is not certain."""
    if not record.shown:
        return None
    found = _read_png(panel_file(store, record.key))
    return found if found is not None and image_digest(found) == record.shown else None


def save_panel(pictures: Iterable[tuple[UnitKey, bytes]], store: ResultStore) -> None:
    """Write pictures of units, see :func:`png_of`."""
    for key, png in pictures:
        save_png(panel_file(store, key), png)


def save_originals(plan: Plan, store: ResultStore) -> None:
    """Write the originals that the panel shows, as PNG."""
    for name in list(plan.images)[: plan.scenario.panel.images] if plan.has_pictures else ():
        save_png(original_file(store, name), png_of(plan.images[name].numpy()))
