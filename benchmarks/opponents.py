"""How strong the opponents are: rates of picture codecs at equal PSNR on Kodak, against BPG at 4:4:4.

Prints one JSON line per codec with ``bd_rate_percent`` (negative: fewer bits than BPG). Published curves are
those of CompressAI (results/image/kodak, inference on CPU; commits 128f003 and 3d3c9bb; mean rate and mean
PSNR of the 24 pictures), rounded, against its curve of BPG 0.9.8, over the PSNRs that both have between 26.2
and 34.9 dB. Ours are measured, headers included, and compared picture by picture with our own BPG: means of
rates at a fixed PSNR, at a fixed rate and at a fixed quality are different things, and codecs differ in what
they fix.

    python benchmarks/opponents.py                                                    # published ones
    python benchmarks/opponents.py --kodak data/kodak --codec webp-420 --codec avif-420    # and ours
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed

if not __package__:  # run as a file: neighbours are found from the folder above
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.source_rate import REFERENCE, bd_rate, one
from linksim.images.folders import FolderImages

# (bits per pixel, PSNR [dB]) on Kodak
PUBLISHED = {
    "jpeg": (
        (0.2212, 23.78),
        (0.3266, 26.58),
        (0.4231, 28.04),
        (0.5879, 29.78),
        (0.7860, 31.31),
        (1.0372, 32.79),
        (1.3688, 34.39),
        (1.5718, 35.24),
    ),
    "webp": (
        (0.2344, 28.33),
        (0.2963, 29.15),
        (0.4070, 30.41),
        (0.5127, 31.44),
        (0.6747, 32.88),
        (0.8740, 34.33),
        (0.9984, 35.10),
    ),
    "jpeg2000": (
        (0.1258, 26.44),
        (0.1489, 26.92),
        (0.1844, 27.55),
        (0.2394, 28.42),
        (0.3418, 29.70),
        (0.4793, 31.07),
        (0.7983, 33.49),
        (1.1982, 35.68),
    ),
    "av1": (
        (0.0557, 25.56),
        (0.1100, 27.56),
        (0.1700, 29.02),
        (0.2456, 30.44),
        (0.3524, 31.99),
        (0.4987, 33.65),
        (0.6828, 35.32),
    ),
    "vtm": ((0.0482, 26.14), (0.1125, 28.49), (0.2458, 31.20), (0.4905, 34.26), (0.8748, 37.42)),
    "bmshj2018-factorized": (
        (0.1226, 26.91),
        (0.1885, 28.22),
        (0.2878, 29.62),
        (0.4404, 31.28),
        (0.6481, 32.96),
        (0.9670, 35.38),
    ),
    "bmshj2018-hyperprior": (
        (0.1313, 27.58),
        (0.2089, 29.20),
        (0.3199, 30.97),
        (0.4784, 32.84),
        (0.6687, 34.53),
        (0.9388, 36.74),
    ),
    "mbt2018-mean": ((0.1239, 27.70), (0.1980, 29.36), (0.3072, 31.13), (0.4606, 32.95), (0.6617, 34.97)),
    "mbt2018": ((0.1105, 28.09), (0.1870, 29.65), (0.2877, 31.36), (0.4323, 33.09), (0.6388, 35.09)),
    "cheng2020-anchor": ((0.1196, 28.58), (0.1838, 29.97), (0.2710, 31.34), (0.4174, 33.39), (0.5945, 35.12)),
    "cheng2020-attn": ((0.1156, 28.43), (0.1745, 29.77), (0.2690, 31.32), (0.4270, 33.36), (0.5953, 34.95)),
}
QUALITIES = {
    "bpg": (44, 41, 38, 35, 32, 29, 27),
    "heic": (12, 20, 28, 36, 44, 52, 60),
    "avif": (12, 22, 32, 42, 52, 62, 72),
    "webp": (0, 5, 15, 30, 50, 70, 85),
    "jpeg": (4, 8, 15, 30, 50, 70, 85),
    "jpeg2000": (52, 55, 58, 61, 64, 67, 70),
    "jpegxl": (0, 8, 20, 40, 60, 75, 85),
}


def line(name: str, points: list[tuple[float, float]], source: str) -> str:
    """What is printed of a curve."""
    low = max(REFERENCE[0][1], min(p for _, p in points))
    high = min(REFERENCE[-1][1], max(p for _, p in points))
    shown = {"codec": name, "from": source, "bd_rate_percent": round(bd_rate(list(REFERENCE), points), 1)}
    return json.dumps(shown | {"psnr_db": [round(low, 1), round(high, 1)]})


def measured(name: str, pixels: list[np.ndarray], pool: Parallel) -> list[list[tuple[float, float]]]:
    """Bits per pixel and PSNR of one of our codecs, such as "bpg-444" or "jpegxl-444-fast", by picture."""
    codec, chroma, *fast = name.split("-")
    options = (codec, chroma, "fast" if fast else "best")
    qualities = QUALITIES[codec]
    found = pool(delayed(one)(*options, rgb, quality) for rgb in pixels for quality in qualities)
    return [found[i : i + len(qualities)] for i in range(0, len(found), len(qualities))]


def of_pictures(
    name: str, ours: list[list[tuple[float, float]]], bpg: list[list[tuple[float, float]]]
) -> str:
    """What is printed of curves of pictures: the mean of their BD-rates, and the least and the largest."""
    found = [bd_rate(reference, curve) for reference, curve in zip(bpg, ours, strict=True)]
    shown = {"codec": name, "from": "measured", "bd_rate_percent": round(float(np.mean(found)), 1)}
    return json.dumps(shown | {"least": round(min(found), 1), "largest": round(max(found), 1)})


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kodak", type=Path, help="folder of the 24 Kodak images")
    parser.add_argument("--codec", action="append", default=[], help="one of ours, as its name in results")
    parser.add_argument("--bpg", default="bpg-444-fast", help="our BPG that ours are compared with")
    args = parser.parse_args()
    for name, curve in PUBLISHED.items():
        print(line(name, list(curve), "CompressAI"), flush=True)
    if args.kodak:
        images = FolderImages(args.kodak)
        pixels = [images[name].permute(1, 2, 0).contiguous().numpy() for name in images.names]
        with Parallel(n_jobs=cpu_count()) as pool:
            bpg = measured(args.bpg, pixels, pool)
            for name in args.codec:
                print(of_pictures(name, measured(name, pixels, pool), bpg), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
