"""Pictures that are computed."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from linksim.images.sets import ImageSet
from linksim.kinds import ImagesBase, kind


class Waves(ImageSet):
    """Sums of waves of rising frequency."""

    def __init__(self, count: int, side: int, crop) -> None:
        super().__init__([f"wave-{i}" for i in range(count)], crop, "none", "computed waves")
        self.side = side

    def read(self, name: str) -> torch.Tensor:
        """[3, H, W] uint8."""
        frequency = 1 + int(name.split("-")[1])
        x = torch.arange(self.side) / self.side * 2 * torch.pi * frequency
        waves = torch.stack([torch.sin(x + c)[:, None] + torch.cos(x * (c + 1))[None, :] for c in range(3)])
        return (127 + 60 * waves).to(torch.uint8)


@kind("images", "waves")
class WavesSet(ImagesBase):
    """Computed pictures."""

    count: Annotated[int, Field(ge=1)] = 2
    side: Annotated[int, Field(ge=32)] = 64

    def build(self) -> Waves:
        """The set."""
        return Waves(self.count, self.side, self.cutting)
