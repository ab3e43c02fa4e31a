"""Degraded photographs for tests of measures: blur, noise, JPEG, each from mild to strong."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import gaussian_blur

from linksim.images.sets import SkimageImages, round_to_uint8

BLURS, NOISES, QUALITIES = (0.6, 1.2, 2.5), (0.02, 0.06, 0.15), (60, 20, 5)


def photograph(name: str = "coffee", height: int = 192, width: int = 256) -> torch.Tensor:
    """[1, 3, H, W] in [0, 1], 8-bit values."""
    return SkimageImages([name])[name][None, :, 100 : 100 + height, 100 : 100 + width].float() / 255


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return round_to_uint8(gaussian_blur(x, 15, sigma)).float() / 255


def noisy(x: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    return round_to_uint8(x + sigma * noise).float() / 255


def compressed(x: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    pixels = round_to_uint8(x)[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float() / 255


def ladders(x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """Versions of a picture by kind of damage, mild first."""
    return {
        "blur": [blurred(x, s) for s in BLURS],
        "noise": [noisy(x, s) for s in NOISES],
        "jpeg": [compressed(x, q) for q in QUALITIES],
    }
