"""Coded frames over any operator, for contracts about what decodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.types import Draw
from linksim.coding.mcs import Mcs
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock


def decoded(
    channel: ChannelOperator,
    mcs: Mcs,
    num_uses: int,
    snr_db: float | torch.Tensor,
    seeds: Sequence[int],
    draw: Draw | None = None,
) -> tuple[torch.Tensor, TransportBlock]:
    """Whether transport blocks [B] of random bits come home over a channel, and what was sent."""
    block, qam = TransportBlock(num_uses, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(1).integers(0, 2, (len(seeds), block.size), dtype=np.uint8)
    snr = torch.as_tensor(snr_db, dtype=torch.float32).expand(len(seeds))
    with torch.no_grad():
        received = channel(qam.modulate(block.encode(payload)), snr, seeds, draw)
        result = block.decode(qam.demodulate(*equalize(received, "zf")))
    return torch.from_numpy(result.ok & (result.bits == payload).all(axis=1)), block
