"""Training pictures: crops, scales and mirror images as a function of a random generator.

May import: torch, numpy, channels.checks, linksim.images.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from channels.checks import complaint
from linksim.images import ImageError, ImageSet

__all__ = ["Photographs"]


class Photographs:
    """All training pictures in memory as uint8, split into training and validation.

    Args:
        images: set of pictures; those smaller than ``crop`` are left out.
        seed: of the split.
        crop: side of the crops [pixels].
        held_out: pictures for validation.
        scale_low: half of the crops are taken larger and shrunk by a factor between this and 1.
        block: of the scenario, for messages.
        device: where the pictures are kept, as uint8, and where crops are made.

    Raises:
        ImageError: no picture is left for the training.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        seed: int,
        crop: int,
        held_out: int,
        scale_low: float = 1.0,
        block: str = "train",
        device: torch.device | None = None,
    ) -> None:
        with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
            read = list(pool.map(images.__getitem__, images.names))
        pictures = [picture.to(device or "cpu") for picture in read if min(picture.shape[1:]) >= crop]
        if len(pictures) <= held_out:
            raise ImageError(
                complaint(
                    "images",
                    f"too few pictures as large as {block}.crop",
                    f"{len(pictures)} of {len(images)} of at least {crop} x {crop} pixels",
                    f"more than {block}.validation_images = {held_out}",
                )
            )
        order = np.random.default_rng(seed).permutation(len(pictures))
        self.validation = [pictures[i] for i in order[:held_out]]
        self.training = [pictures[i] for i in order[held_out:]]
        self.crop = crop
        self.scale_low = scale_low

    def batch(self, rng: np.random.Generator, size: int, side: int | None = None) -> Tensor:
        """[size, 3, side, side] float in [0, 1]: random pictures, crops, scales and mirror images.

        Args:
            rng: of the step.
            size: pictures.
            side: of the crops [pixels], at most ``crop``, which is the default.
        """
        crops = []
        for index in rng.integers(0, len(self.training), size):
            crop = self._crop(rng, self.training[index], side or self.crop)
            crops.append(crop.flip(2) if rng.random() < 0.5 else crop)
        return torch.stack(crops)

    def _crop(self, rng: np.random.Generator, picture: Tensor, final: int) -> Tensor:
        side = final
        if self.scale_low < 1 and rng.random() < 0.5:
            side = min(round(final / rng.uniform(self.scale_low, 1.0)), *picture.shape[1:])
        top = int(rng.integers(0, picture.shape[1] - side + 1))
        left = int(rng.integers(0, picture.shape[2] - side + 1))
        crop = picture[:, top : top + side, left : left + side].float() / 255
        if side == final:
            return crop
        size = (final, final)
        shrunk = F.interpolate(crop[None], size, mode="bicubic", antialias=True, align_corners=False)
        return shrunk[0].clamp(0, 1)

    def validation_batches(self, size: int, limit: int | None = None) -> list[Tensor]:
        """Centre crops of the held-out pictures [<= size, 3, crop, crop] float each; the first ``limit``."""
        crops = []
        for picture in self.validation[:limit]:
            top, left = ((side - self.crop) // 2 for side in picture.shape[1:])
            crops.append(picture[:, top : top + self.crop, left : left + self.crop])
        return [torch.stack(crops[i : i + size]).float() / 255 for i in range(0, len(crops), size)]
