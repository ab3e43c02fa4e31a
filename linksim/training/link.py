"""The link of a training step: a batch in groups, each over a channel, at a rate and with told CSI of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from channels.base import ChannelOperator
from channels.types import Received
from linksim.jscc.dial import DialCodec
from linksim.link import Told, ToldEnd, run_link
from linksim.schemes.base import CsitKind
from linksim.schemes.jscc import JsccScheme

__all__ = ["Group", "LinkModule", "condition_channels"]


@dataclass(frozen=True)
class Group:
    """Pictures of a batch that share channel, rate and what the transmitter knows.

    Args:
        channel: operator.
        rate: index of the rate of a dial codec; 0 for others.
        csit: what the transmitter is told.
        snr_db: [b] average SNR [dB].
        told_error_db: [2, b] error of the SNR that transmitter and receiver are told [dB].
        realism: [b] in [0, 1].
        seeds: one per picture.
    """

    channel: ChannelOperator
    rate: int
    csit: CsitKind
    snr_db: Tensor
    told_error_db: Tensor
    realism: Tensor
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.seeds)


class LinkModule(nn.Module):
    """run_link over the groups of a batch as one module, so that data parallelism and mixed precision wrap
    both ends together.
    """

    def __init__(self, codec: Any) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, image: Tensor, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
        """Reconstructions [B, 3, H, W], not clipped, and what the decoder saw of the received latents,
        [B, c, H/16, W/16] without gradient ([B, 0, 1, 1] of codecs other than dial).
        """
        shown, seen, begin = [], [], 0
        for group in groups:
            part = image[begin : begin + len(group)]
            begin += len(group)
            codec, budget = self._for(group, part)
            scheme = JsccScheme("training", codec, group.csit)
            told = Told(*(ToldEnd(offset_db=error_db) for error_db in group.told_error_db))
            out = run_link(scheme, group.channel, part, group.snr_db, group.seeds, budget, told)
            shown.append(out.reconstruction.image)
            assert out.transmitted is not None
            seen.append(self._condition(out.transmitted.received, part, budget))
        return torch.cat(shown), torch.cat(seen)

    def _for(self, group: Group, image: Tensor) -> tuple[Any, int]:
        height, width = image.shape[2:]
        if isinstance(self.codec, DialCodec):
            return self.codec.at(group.realism, shared_noise=self.training), self.codec.num_symbols_at(
                group.rate, height, width
            )
        return self.codec, self.codec.num_symbols(height, width)

    @torch.no_grad()
    def _condition(self, received: Received, image: Tensor, budget: int) -> Tensor:
        if not isinstance(self.codec, DialCodec):
            return image.new_zeros(len(image), 0, 1, 1)
        layout = self.codec.layout(image.shape[2], image.shape[3], budget)
        frame = self.codec.received_map(received, layout)
        return torch.cat([frame.latent, frame.reliability], dim=1)


def condition_channels(codec: object) -> int:
    """Channels of what :class:`LinkModule` returns beside the pictures."""
    return 2 * codec.config.latent_channels if isinstance(codec, DialCodec) else 0
