"""A contact sheet of a run: every picture and what each scheme made of it, cut out at 1:1.

    linksim simulate learned/kodak-rates --set images.path=KODAK        # panel.images: 24
    python benchmarks/contact_sheet.py RUN --snr-db 1 --set bandwidth.data_ratio=1/96 --out sheet.jpg

Cut is the same place of every picture, its middle, so that nothing is chosen by how it looks. Prints one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from linksim.results import ResultStore, original_file, panel_file

LINE, GAP = 18, 4


def cut(path: Path, side: int) -> Image.Image:
    """The middle of a picture."""
    with Image.open(path) as picture:
        whole = picture.convert("RGB")
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    return whole.crop((left, top, left + side, top + side))


def sheet(
    store: ResultStore, snr_db: float, point: dict[str, str], side: int, images: list[str]
) -> Image.Image:
    """Rows of pictures, columns of schemes, the original first."""
    records = [
        r
        for r in store.records()
        if r.key.snr_db == snr_db
        and r.key.trial == 0
        and {k: str(v) for k, v in r.key.point} == point
        and panel_file(store, r.key).is_file()
    ]
    if not records:
        raise SystemExit(
            f"{store.folder}: got no pictures at {snr_db:g} dB and {point}, see panel of the scenario."
        )
    names = [s["name"] for s in store.header()["scenario"]["schemes"]]
    schemes = [n for n in names if any(r.key.scheme == n for r in records)]
    images = images or sorted({r.key.image for r in records})
    width = (side + GAP) * (1 + len(schemes)) + GAP
    page = Image.new("RGB", (width, LINE + (side + GAP) * len(images) + GAP), "white")
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(["original", *schemes]):
        draw.text((GAP + column * (side + GAP), 3), title, fill="black")
    by_place = {(r.key.image, r.key.scheme): r for r in records}
    for row, image in enumerate(images):
        top = LINE + row * (side + GAP)
        page.paste(cut(original_file(store, image), side), (GAP, top))
        for column, scheme in enumerate(schemes, start=1):
            shown = cut(panel_file(store, by_place[image, scheme].key), side)
            page.paste(shown, (GAP + column * (side + GAP), top))
    return page


def main() -> int:
    """Draw and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--snr-db", type=float, required=True)
    parser.add_argument("--set", action="append", default=[], dest="point", metavar="FIELD=VALUE")
    parser.add_argument("--side", type=int, default=192, help="of the cut [pixels]")
    parser.add_argument("--images", nargs="*", default=[], help="names; default all")
    parser.add_argument("--quality", type=int, default=88, help="of JPEG")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    point = dict(pair.split("=", 1) for pair in args.point)
    page = sheet(ResultStore(args.run), args.snr_db, point, args.side, args.images)
    page.save(args.out, quality=args.quality)
    print(
        json.dumps(
            {"file": str(args.out), "size": page.size, "mean": round(float(np.asarray(page).mean()), 2)}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
