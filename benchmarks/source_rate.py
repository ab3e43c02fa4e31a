"""Rate of our BPG against a published curve: Bjontegaard difference at the low end, on Kodak, 4:4:4.

The reference is CompressAI's published curve of BPG 0.9.8 (4:4:4, 8 bit, x265) over the 24 Kodak images: bits
per pixel and PSNR. Ours: mean bits per pixel and mean PSNR at fixed QP. Prints one JSON line per QP and one
with ``bd_rate_percent`` over the four lowest published points (positive: ours needs more bits).

    python benchmarks/source_rate.py data/kodak [--effort best] [--chroma 444]
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed

from linksim.images.folders import FolderImages
from linksim.source.codec import make_source_codec

REFERENCE = ((0.068, 26.20), (0.161, 28.68), (0.352, 31.60), (0.685, 34.86))
QPS = (44, 42, 40, 38, 36, 34, 32, 30, 28, 26)


def one(codec: str, chroma: str, effort: str, rgb: np.ndarray, quality: int) -> tuple[float, float]:
    """Bits per pixel and PSNR of a picture."""
    source = make_source_codec(codec, chroma, effort)  # type: ignore[arg-type]
    stream = source.encode(rgb, quality)
    shown = source.decode(stream, rgb.shape[:2])
    error = np.square(shown.astype(float) - rgb).mean()
    return 8 * len(stream) / (rgb.shape[0] * rgb.shape[1]), 10 * math.log10(255**2 / error)


def bd_rate(reference: list[tuple[float, float]], ours: list[tuple[float, float]]) -> float:
    """Mean difference of the rate at equal PSNR, in percent; piecewise cubic interpolation of log rates.

    Source: Bjontegaard, "Improvements of the BD-PSNR model", VCEG-AI11 (2008), with PCHIP as in JCTVC-L1100.
    """
    from scipy.interpolate import PchipInterpolator

    curves = []
    for points in (reference, ours):
        psnr, rate = zip(*sorted((p, math.log(r)) for r, p in points), strict=True)
        curves.append((PchipInterpolator(psnr, rate), psnr[0], psnr[-1]))
    low, high = max(c[1] for c in curves), min(c[2] for c in curves)
    areas = [c[0].integrate(low, high) for c in curves]
    return 100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1)


def main() -> int:
    """Measure and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the 24 Kodak images")
    parser.add_argument("--codec", default="bpg")
    parser.add_argument("--chroma", default="444")
    parser.add_argument("--effort", default="best")
    args = parser.parse_args()
    images = FolderImages(args.folder)
    pixels = [images[name].permute(1, 2, 0).contiguous().numpy() for name in images.names]
    options = (args.codec, args.chroma, args.effort)
    points = []
    with Parallel(n_jobs=cpu_count()) as pool:
        for qp in QPS:
            found = pool(delayed(one)(*options, rgb, qp) for rgb in pixels)
            rate, psnr = (float(np.mean(column)) for column in zip(*found, strict=True))
            points.append((rate, psnr))
            print(json.dumps({"qp": qp, "bpp": round(rate, 4), "psnr": round(psnr, 3)}), flush=True)
    difference = bd_rate(list(REFERENCE), points)
    line = {
        "codec": "-".join(options),
        "images": len(pixels),
        "bd_rate_percent": round(difference, 2),
        "reference": "CompressAI, BPG 0.9.8, 4:4:4, four lowest points",
    }
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
