"""A contact sheet of runs: every picture and what each scheme made of it, cut out at 1:1.

    linksim simulate learned/kodak-rates --set images.path=KODAK        # panel.images: 24
    python benchmarks/contact_sheet.py RUN [RUN...] --snr-db 1 --set bandwidth.data_ratio=1/96 --out sheet.jpg

Cut is the same place of every picture, its middle, so that nothing is chosen by how it looks. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from linksim.results.records import Record
from linksim.results.store import ResultStore, original_file, panel_file

LINE, GAP = 18, 4


def cut(path: Path, side: int) -> Image.Image:
    """The middle of a picture."""
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    return whole.crop((left, top, left + side, top + side))


def records(store: ResultStore, snr_db: float, point: dict[str, str]) -> Iterator[Record]:
    """Records of the first trial at a point whose pictures were kept, scheme by scheme as in the scenario."""
    names = [s["name"] for s in store.header()["scenario"]["schemes"]]
    for record in sorted(store.records(), key=lambda r: names.index(r.key.scheme)):
        place = (record.key.snr_db, record.key.trial, {k: str(v) for k, v in record.key.point})
        if place == (snr_db, 0, point) and panel_file(store, record.key).is_file():
            yield record


def sheet(
    stores: list[ResultStore], snr_db: float, point: dict[str, str], side: int, images: list[str]
) -> Image.Image:
    """Rows of pictures, columns of schemes of all runs, the original first."""
    files = {
        (r.key.image, r.key.scheme): panel_file(store, r.key)
        for store in stores
        for r in records(store, snr_db, point)
    }
    if not files:
        raise SystemExit(f"got no pictures at {snr_db:g} dB and {point}, see panel of the scenario.")
    schemes = list(dict.fromkeys(scheme for _, scheme in files))
    images = images or sorted({image for image, _ in files})
    width = (side + GAP) * (1 + len(schemes)) + GAP
    page = Image.new("RGB", (width, LINE + (side + GAP) * len(images) + GAP), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(["original", *schemes]):
        draw.text((GAP + column * (side + GAP), 3), title, fill="black")
    for row, image in enumerate(images):
        top = LINE + row * (side + GAP)
        shown = [original_file(stores[0], image), *(files[image, scheme] for scheme in schemes)]
        for column, path in enumerate(shown):
            page.paste(cut(path, side), (GAP + column * (side + GAP), top))
    return page


def main() -> int:
    """Draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--snr-db", type=float, required=True)
    parser.add_argument("--set", action="append", default=[], dest="point", metavar="FIELD=VALUE")
    parser.add_argument("--side", type=int, default=192, help="of the cut [pixels]")
    parser.add_argument("--images", nargs="*", default=[], help="names; default all")
    parser.add_argument("--quality", type=int, default=88, help="of JPEG")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    point = dict(pair.split("=", 1) for pair in args.point)
    page = sheet([ResultStore(run) for run in args.runs], args.snr_db, point, args.side, args.images)
    page.save(args.out, quality=args.quality)
    print(
        json.dumps(
            {"file": str(args.out), "size": page.size, "mean": round(float(np.asarray(page).mean()), 2)}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
