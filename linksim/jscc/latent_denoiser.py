"""The denoiser of latents: a residual network at 1/16 resolution that is shown the level of every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from channels.types import Csit
from linksim.jscc.blocks import Stage, start_at_zero
from linksim.jscc.csi_embedding import SnrEmbedding

__all__ = ["LatentDenoiser", "LatentDenoiserConfig", "sent_scale"]

_VALUE_VARIANCE = 0.5  # of a sent latent value on average: a complex symbol of unit power has two


@dataclass(frozen=True)
class LatentDenoiserConfig:
    """Sizes of a :class:`LatentDenoiser`.

    Args:
        rates: latent channels that the codec may send, as in its configuration.
        width: channels of the residual blocks.
        blocks: residual blocks.
        embedding: width of the embedding of rate and SNR.
    """

    rates: tuple[int, ...] = (4, 8, 16, 32, 64)
    width: int = 256
    blocks: int = 8
    embedding: int = 64

    @property
    def latent_channels(self) -> int:
        """Channels of the whole latent map."""
        return self.rates[-1]


class LatentDenoiser(nn.Module):
    """Estimates clean latent values, in units of their standard deviation, from noisy ones.

    The linear estimate sqrt(r)·u is exact for independent Gaussian values; the network adds what it knows of
    their dependence: v̂ = sqrt(r)·u + sqrt(1 - r)·f(u, r). It starts as the linear estimate.

    Args:
        config: sizes.

    Source: preconditioning of Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
    Models", 2022, table 1, with a level per value.

    Example:
        >>> network = LatentDenoiser(LatentDenoiserConfig(rates=(4, 8), width=8, blocks=1))
        >>> u = torch.zeros(1, 8, 2, 2)
        >>> network(u, torch.full_like(u, 0.5), None, rate=1).shape
        torch.Size([1, 8, 2, 2])
    """

    def __init__(self, config: LatentDenoiserConfig) -> None:
        super().__init__()
        self.config = config
        c, e = config.latent_channels, config.embedding
        # Standard deviation of every latent channel, by rate, where the sent ones have unit power.
        self.register_buffer("deviation", torch.full((len(config.rates), c), _VALUE_VARIANCE**0.5))
        self.snr = SnrEmbedding(e)
        self.rate = nn.Embedding(len(config.rates), e)
        self.head = nn.Conv2d(2 * c, config.width, 3, padding=1)
        self.body = Stage(config.blocks, config.width, e)
        self.tail = nn.Conv2d(config.width, c, 3, padding=1)
        start_at_zero(self.tail)
        nn.init.zeros_(self.rate.weight)

    deviation: Tensor

    def variance(self, rate: int) -> Tensor:
        """[c, 1, 1] prior variance of every channel at a rate."""
        return self.deviation[rate].square()[:, None, None]

    def forward(self, state: Tensor, reliability: Tensor, csit: Csit | None, rate: int) -> Tensor:
        """Estimate of v/s.

        Args:
            state: u [B, c, h, w].
            reliability: r [B, c, h, w].
            csit: what the transmitter was told, as both ends know.
            rate: index of the rate.
        """
        told = None if csit is None else csit.snr_db
        embedding = self.snr(told, len(state)) + self.rate.weight[rate]
        x = self.head(torch.cat([state, 2 * reliability - 1], dim=1))
        residual = self.tail(F.relu(self.body(x, embedding)))
        return reliability.sqrt() * state + (1 - reliability).sqrt() * residual.float()


def sent_scale(latent: Tensor, channels: int) -> Tensor:
    """[B, 1, 1, 1] root of the power of a pair of values of what is sent, of latents [B, c, h, w]."""
    sent = latent[:, :channels]
    return sent.square().mean((1, 2, 3), keepdim=True).mul(2).clamp_min(1e-20).sqrt()


def fit_deviation(network: LatentDenoiser, rate: int, latents: Sequence[Tensor]) -> None:
    """Set the standard deviations of a rate from latents [B, c, h, w] whose sent channels have unit power."""
    values = torch.cat([z.movedim(1, 0).flatten(1) for z in latents], dim=1)
    network.deviation[rate] = values.square().mean(1).sqrt().clamp_min(1e-4)
