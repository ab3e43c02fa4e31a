"""Fit the parameters of NIQE to photographs, and write the file that linksim ships.

    python benchmarks/fit_niqe.py --images train-0.tar train-1.tar train-2.tar \
        --out linksim/assets/niqe-pristine.safetensors

About a quarter of an hour on one core for 3,646 photographs. Prints one JSON line: pictures, blocks, digest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch

from linksim.files.digests import file_digest
from linksim.images.folders import TarImages
from linksim.metrics.niqe import fit_pristine


def photographs(images: TarImages) -> Iterator[torch.Tensor]:
    """[3, H, W] in [0, 1], one after the other."""
    for _, image in images:
        yield image.float() / 255


def main() -> int:
    """Fit and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="tar files of photographs")
    parser.add_argument("--limit", type=int, help="the first so many of them")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.safetensors)")
    args = parser.parse_args()
    images = TarImages(args.images, convert="rgb", limit=args.limit)
    files = ", ".join(f"{path.name} {file_digest(path)[:16]}" for path in args.images)
    pristine = fit_pristine(photographs(images), {"files": files, "command": "benchmarks/fit_niqe.py"})
    pristine.save(args.out)
    print(json.dumps({**pristine.made, "digest": file_digest(args.out)[:16]}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
