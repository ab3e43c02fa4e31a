"""Pictures that a run kept, with what they are. Reads stores only."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linksim.api.tables import units_in_order
from linksim.metrics.info import MetricInfo
from linksim.report.panels import read_picture, value_text
from linksim.results.records import Point, Record
from linksim.results.store import ResultStore, RunFolderError, original_file, panel_file

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = ["Picture", "Pictures", "kept_pictures"]

_SHOWN = 24  # pictures in a notebook


@dataclass(frozen=True)
class Picture:
    """A picture as it was shown, or an original.

    Args:
        file: where it is kept.
        image: name of the original.
        channel, scheme: names; of an original empty, and "original".
        snr_db: Es/N0 per data use [dB]; None of an original.
        point: other swept values.
        state: "ok", or why it did not arrive (it is then grey).
        values: metrics of it.
        label: all of that in one line.
    """

    file: Path
    image: str
    channel: str
    scheme: str
    snr_db: float | None
    point: Point
    state: str
    label: str
    values: Mapping[str, float] = field(default_factory=dict)

    def tensor(self) -> torch.Tensor:
        """[3, H, W] uint8."""
        import numpy as np
        import torch

        return torch.from_numpy(np.array(self.pil())).permute(2, 0, 1).contiguous()

    def pil(self) -> Image.Image:
        """As a picture of Pillow, RGB.

        Raises:
            RunFolderError: the file is gone or broken.
        """
        return read_picture(self.file)

    def __repr__(self) -> str:
        return f"Picture({self.label!r})"

    def _repr_png_(self) -> bytes:
        return self.file.read_bytes()


class Pictures(tuple[Picture, ...]):
    """Pictures, side by side in notebooks."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        shown = "".join(
            f'<figure style="display:inline-block;margin:4px;max-width:260px">'
            f'<img style="max-width:100%" src="data:image/png;base64,'
            f'{base64.b64encode(p.file.read_bytes()).decode()}">'
            f"<figcaption>{html.escape(p.label)}</figcaption></figure>"
            for p in self[:_SHOWN]
        )
        more = f"<p>and {len(self) - _SHOWN} more</p>" if len(self) > _SHOWN else ""
        return f"<div>{shown}{more}</div>"


def kept_pictures(store: ResultStore, **wanted: Any) -> Pictures:
    """Pictures of the panel of a run, in the order of its scenario; or the originals, whatever the channel
    and the SNR, where ``scheme`` is "original" (unless a scheme has that name).

    Args:
        store: run folder.
        wanted: ``scheme``, ``channel``, ``snr_db`` or ``image``, to choose by; None for all.

    Raises:
        RunFolderError: no run, or no such pictures; the message says which there are.
    """
    header = store.header()
    infos = store.metrics()
    units = units_in_order(store, header)
    found = [_shown(store, r, infos) for r in units if r.key.trial == 0 and panel_file(store, r.key).exists()]
    if wanted.get("scheme") == "original" and all(p.scheme != "original" for p in found):
        found = [
            _original(store, image) for image in header["images"] if original_file(store, image).exists()
        ]
        wanted = {"image": wanted.get("image")}
    chosen = [p for p in found if all(v is None or getattr(p, k) == v for k, v in wanted.items())]
    if not chosen:
        raise RunFolderError(_none_of(store, found, wanted))
    return Pictures(chosen)


def _none_of(store: ResultStore, found: Sequence[Picture], wanted: Mapping[str, Any]) -> str:
    asked = {k: v for k, v in wanted.items() if v is not None}
    if not found:
        return f"{store.images}: got no pictures, expected those of the panel. Run linksim simulate."
    for name, value in asked.items():
        there = dict.fromkeys(getattr(p, name) for p in found)
        if value not in there:
            kept = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in there)
            return f"{name}: no picture kept, got {value}, expected one of {kept}."
    got = ", ".join(f"{name} {value}" for name, value in asked.items())
    return f"{store.images}: got no picture of {got}, expected what the panel of the scenario keeps."


def _shown(store: ResultStore, record: Record, infos: Mapping[str, MetricInfo]) -> Picture:
    key = record.key
    swept = "".join(f", {name} {value}" for name, value in key.point)
    measured = value_text(record, infos)
    name = f"{key.image}, {key.scheme}, {key.channel}, {key.snr_db:g} dB{swept}"
    return Picture(
        *(panel_file(store, key), key.image, key.channel, key.scheme, key.snr_db, key.point, record.state),
        f"{name}: {measured}" if measured else name,
        record.values,
    )


def _original(store: ResultStore, image: str) -> Picture:
    return Picture(original_file(store, image), image, "", "original", None, (), "ok", f"{image}, original")
