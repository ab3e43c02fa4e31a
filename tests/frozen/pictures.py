"""Tiny pictures that are functions of their names: smooth ramps, an edge, stripes and a little noise."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = {"a": (128, 128), "b": (96, 144)}  # height, width: different numbers of channel uses


def picture(seed: int, height: int, width: int) -> Image.Image:
    """8-bit RGB."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [
        90 + 120 * x * (1 - y) + 20 * np.sin(30 * x + 3 * seed),
        60 + 140 * y + 25 * np.sin(18 * (x + y) + seed),
        120 + 60 * np.cos(5 * x - 7 * y),
    ]
    rgb = np.stack(planes, axis=-1)
    rgb[(x - 0.45) ** 2 + (y - 0.4) ** 2 < 0.05] += (-50, 40, -30)
    rgb += np.random.Generator(np.random.PCG64(seed)).integers(-6, 7, rgb.shape)
    return Image.fromarray(np.clip(np.round(rgb), 0, 255).astype(np.uint8))


def write_folder(folder: Path) -> None:
    """The pictures for runs."""
    folder.mkdir()
    for seed, (name, size) in enumerate(SIZES.items(), start=1):
        picture(seed, *size).save(folder / f"{name}.png")


def write_tar(path: Path, count: int = 12) -> None:
    """The pictures for trainings, as a tar file."""
    with tarfile.open(path, "w") as archive:
        for seed in range(count):
            file = path.with_name(f"{seed}.png")
            picture(100 + seed, 160, 176).save(file)
            archive.add(file, file.name)
            file.unlink()
