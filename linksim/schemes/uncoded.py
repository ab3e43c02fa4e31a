"""Uncoded QAM of reduced pictures: what bit errors look like, and the check of BER against theory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from channels.checks import complaint
from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.coding.qam import Qam
from linksim.coding.transport import gold_sequence
from linksim.images.sets import round_to_uint8
from linksim.schemes.base import CsitKind, Frame, Reconstruction, all_ok, random_bits

__all__ = ["UncodedScheme"]


@dataclass(frozen=True)
class _ReducedLayout:
    rows: int
    cols: int
    height: int
    width: int


class UncodedScheme:
    """8-bit pixels of the picture, shrunk until they fit, scrambled, in Gray-mapped QAM without any code.

    Args:
        name: label.
        bits_per_symbol: 2, 4, 6 or 8.
        device: where it runs.
    """

    csit: CsitKind = "none"
    memoryless = True  # every bit is decided by itself

    def __init__(self, name: str, bits_per_symbol: int, device: torch.device | str = "cpu") -> None:
        self.name = name
        self._qam = Qam(bits_per_symbol, device)

    def _size(self, height: int, width: int, budget: int) -> tuple[int, int]:
        scale = min(1.0, math.sqrt(budget * self._qam.bits_per_symbol / (24 * height * width)))
        return int(height * scale), int(width * scale)

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError for a budget that not even one pixel fits."""
        if min(self._size(height, width, budget)) < 1:
            cure = "Use a larger bandwidth.data_ratio."
            raise ValueError(complaint("channel uses", "no pixel fits", budget, "more", cure))

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.Scheme`."""
        height, width = image.shape[2:]
        num_bits = budget * self._qam.bits_per_symbol
        rows, cols = self._size(height, width, budget)
        small = F.interpolate(image, (rows, cols), mode="bilinear", antialias=True, align_corners=False)
        pixels = np.unpackbits(round_to_uint8(small).cpu().numpy().reshape(len(image), -1), axis=1)
        bits = np.zeros((len(image), num_bits), np.uint8)
        bits[:, : pixels.shape[1]] = pixels
        bits ^= gold_sequence(num_bits)
        layout = _ReducedLayout(rows, cols, height, width)
        return Frame(self._qam.modulate(bits), layout, side_info_bits=32, sent_bits=torch.from_numpy(bits))

    def check_payload(self, budget: int) -> None:
        """See :class:`linksim.schemes.base.PayloadScheme`."""

    def transmit_payload(self, seeds: Sequence[int], budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.PayloadScheme`."""
        bits = random_bits(seeds, budget * self._qam.bits_per_symbol)
        return Frame(self._qam.modulate(bits), _ReducedLayout(0, 0, 0, 0), sent_bits=torch.from_numpy(bits))

    def receive(self, received: Received, layout: _ReducedLayout, seeds: Sequence[int]) -> Reconstruction:
        """See :class:`linksim.schemes.base.Scheme`."""
        x_hat, _ = equalize(received, "zf")
        hard = self._qam.decide(x_hat)
        if not layout.rows:
            image = torch.zeros(len(hard), 3, 0, 0, device=received.y.device)
            return Reconstruction(image, all_ok(len(image)), bits_hat=torch.from_numpy(hard))
        bits = hard ^ gold_sequence(hard.shape[1])
        count = 24 * layout.rows * layout.cols
        pixels = np.packbits(bits[:, :count], axis=1).reshape(-1, 3, layout.rows, layout.cols)
        small = torch.from_numpy(pixels).to(received.y.device) / 255
        size = (layout.height, layout.width)
        image = F.interpolate(small, size, mode="bicubic", align_corners=False).clamp(0, 1)
        return Reconstruction(image, all_ok(len(image)), bits_hat=torch.from_numpy(hard))
