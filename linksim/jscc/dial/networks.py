"""Encoder and decoder of the network with dials, and what the decoder is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linksim.jscc.blocks import BLOCK, ResidualEncoder, Stage, start_at_zero
from linksim.jscc.csi_embedding import SnrEmbedding

__all__ = ["NOISE_CHANNELS", "Decoder", "DialConfig", "Encoder", "ReceivedMap"]

NOISE_CHANNELS = 8


@dataclass(frozen=True)
class DialConfig:
    """Sizes of a :class:`linksim.jscc.dial.codec.DialCodec`.

    Args:
        rates: latent channels that may be sent, rising, even; CBR = channels / 1536.
        width_4, width_8, width_16: channels of the convolutional path at 1/4, 1/8 and 1/16 resolution.
        encoder_blocks: residual blocks at (1/8, 1/16).
        decoder_blocks: residual blocks at (1/4, 1/8, 1/16).
        embedding: width of the embedding of the dials.
        pilot_share: of the power of a photograph, spent on telling the receiver the scale of its latent
            values (see :mod:`linksim.jscc.scale_pilot`); the linear path then is the LMMSE receiver of the
            block KLT. 0: the network has to find the scale in the values.
    """

    rates: tuple[int, ...] = (4, 8, 16, 32, 64)
    width_4: int = 64
    width_8: int = 128
    width_16: int = 256
    encoder_blocks: tuple[int, int] = (1, 4)
    decoder_blocks: tuple[int, int, int] = (2, 3, 7)
    embedding: int = 64
    pilot_share: float = 0.0

    @property
    def latent_channels(self) -> int:
        """Channels of the whole latent map."""
        return self.rates[-1]


@dataclass(frozen=True)
class ReceivedMap:
    """A frame as the decoder sees it.

    Args:
        latent: [B, C, h, w] equalised values of all latent channels, 0 where nothing was sent.
        reliability: [B, C, h, w] gamma / (1 + gamma) of every value, 0 where nothing was sent.
        snr_db: [B] effective SNR [dB].
        rate: index of the rate.
        log_scale: [B] log of what the values were divided by, and its weight [B], of a network with pilot.
    """

    latent: Tensor
    reliability: Tensor
    snr_db: Tensor
    rate: int
    log_scale: tuple[Tensor, Tensor] | None = None


class Encoder(ResidualEncoder):
    """Pictures to the latent map of all channels; knows nothing of the rate, so that rates are nested."""

    def __init__(self, config: DialConfig) -> None:
        super().__init__(
            config.latent_channels, config.width_8, config.width_16, config.encoder_blocks, config.embedding
        )
        # Every rate shares its power among its channels in its own way.
        self.log_gain = nn.Parameter(torch.zeros(len(config.rates), config.latent_channels))
        if config.pilot_share > 0:
            self.log_pilot = nn.Parameter(torch.zeros(len(config.rates)))


class _DialEmbedding(nn.Module):
    """MLP of rate and realism, added to the embedding of the SNR; starts without effect."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.second = nn.Linear(width, width)
        start_at_zero(self.second)

    def forward(self, rate: float, realism: Tensor) -> Tensor:
        told = torch.stack([torch.full_like(realism, rate), realism], dim=1)
        return self.second(F.silu(self.first(told.to(self.first.weight))))


class Decoder(nn.Module):
    """Received maps to pictures, at a realism, with noise maps to make texture of."""

    def __init__(self, config: DialConfig) -> None:
        super().__init__()
        c, e = config.latent_channels, config.embedding
        w4, w8, w16 = config.width_4, config.width_8, config.width_16
        self.linear = nn.ConvTranspose2d(c, 3, BLOCK, stride=BLOCK)
        self.log_scale = nn.Parameter(torch.zeros(len(config.rates), c))
        self.snr = SnrEmbedding(e)
        self.dials = _DialEmbedding(e)
        self.head = nn.Conv2d(2 * c, w16, 3, padding=1)
        self.coarse = Stage(config.decoder_blocks[2], w16, e)
        self.pooled = nn.Linear(2 * w16, e)  # the scale of the picture, unknown to the receiver
        self.up8 = nn.Conv2d(w16, 4 * w8, 1)
        self.fine = Stage(config.decoder_blocks[1], w8, e)
        self.up4 = nn.Conv2d(w8, 4 * w4, 1)
        self.quarter = Stage(config.decoder_blocks[0], w4, e)
        self.tail8 = nn.Conv2d(w8, 3 * 64, 3, padding=1)
        self.tail4 = nn.Conv2d(w4, 3 * 16, 3, padding=1)
        self.noise = nn.ModuleList(nn.Conv2d(NOISE_CHANNELS, w, 1, bias=False) for w in (w16, w8, w4))
        if config.pilot_share > 0:
            self.log_power = nn.Parameter(torch.zeros(len(config.rates), c))
            self.log_mean = nn.Parameter(torch.zeros(len(config.rates)))
            self.scale = nn.Linear(2, e)
            start_at_zero(self.scale)
        start_at_zero(self.pooled, self.tail8, self.tail4, *self.noise)

    def forward(self, frame: ReceivedMap, rate: float, realism: Tensor, noise: Sequence[Tensor]) -> Tensor:
        latent = frame.latent
        embedding = self.snr(frame.snr_db, latent.shape[0]) + self.dials(rate, realism)
        if frame.log_scale is not None:
            embedding = embedding + self.scale(self._told_scale(frame.log_scale, frame.rate))
        strength = realism[:, None, None, None].to(latent)
        noise16, noise8, noise4 = (
            layer(one * strength) for layer, one in zip(self.noise, noise, strict=True)
        )
        x = self.head(torch.cat([latent, frame.reliability], dim=1)) + noise16
        x = self.coarse(x, embedding)
        wide = x.float()
        statistics = torch.cat([wide.mean((2, 3)), wide.square().mean((2, 3)).add(1e-6).sqrt()], dim=1)
        embedding = embedding + self.pooled(statistics)
        x8 = self.fine(F.pixel_shuffle(self.up8(x), 2) + noise8, embedding)
        x4 = self.quarter(F.pixel_shuffle(self.up4(x8), 2) + noise4, embedding)
        added = F.pixel_shuffle(self.tail8(x8), 8) + F.pixel_shuffle(self.tail4(x4), 4)
        return self.linear(self._scaled(frame)) + added

    def _scaled(self, frame: ReceivedMap) -> Tensor:
        """Latent values in the scale of pictures."""
        latent, log_scale = frame.latent, self.log_scale[frame.rate][:, None, None]
        if frame.log_scale is None:
            return latent * log_scale.exp()
        # r(x + n) is the LMMSE estimate at the mean power; p times that power: r·p / (1 - r + r·p) (x + n).
        power, r = self.log_power[frame.rate].exp()[:, None, None], frame.reliability
        shrunk = latent * power / (1 - r + r * power)
        return shrunk * (log_scale + frame.log_scale[0][:, None, None, None]).exp()

    def _told_scale(self, log_scale: tuple[Tensor, Tensor], rate: int) -> Tensor:
        return torch.stack([log_scale[0] - self.log_mean[rate], log_scale[1]], dim=1).to(self.scale.weight)
