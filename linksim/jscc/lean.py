"""The lean network: a linear code plus learned residuals, adapting to SNR and to fading, small enough for a
CPU.

Encoder and decoder each have a linear path (block KLT, the warm start) and a convolutional path at 1/8 and
1/16 resolution. The decoder sees LMMSE-equalised symbols, a map of their reliability gamma / (1 + gamma) and
the effective SNR, so one network serves AWGN and fading channels with any CSI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.blocks import BLOCK, ResidualEncoder, Stage, start_at_zero
from linksim.jscc.csi_embedding import SnrEmbedding, effective_snr_db
from linksim.jscc.layout import SymbolLayout

__all__ = ["LeanCodec", "LeanConfig"]


@dataclass(frozen=True)
class LeanConfig:
    """Sizes of a :class:`LeanCodec`.

    Args:
        latent_channels: C at 1/16 resolution; C/2 complex symbols per 16 x 16 pixels, CBR = C/1536.
        width_8: channels of the convolutional path at 1/8 resolution.
        width_16: channels at 1/16 resolution.
        encoder_blocks: residual blocks at (1/8, 1/16).
        decoder_blocks: residual blocks at (1/8, 1/16).
        embedding: width of the SNR embedding.
    """

    latent_channels: int = 16
    width_8: int = 128
    width_16: int = 256
    encoder_blocks: tuple[int, int] = (1, 3)
    decoder_blocks: tuple[int, int] = (2, 5)
    embedding: int = 64


class _Decoder(nn.Module):
    def __init__(self, config: LeanConfig) -> None:
        super().__init__()
        c, w8, w16, e = config.latent_channels, config.width_8, config.width_16, config.embedding
        self.linear = nn.ConvTranspose2d(c, 3, BLOCK, stride=BLOCK)
        self.snr = SnrEmbedding(e)
        self.head = nn.Conv2d(c + c // 2, w16, 3, padding=1)
        self.coarse = Stage(config.decoder_blocks[1], w16, e)
        self.pooled = nn.Linear(
            2 * w16, e
        )  # global statistics: the scale of the image, unknown to the receiver
        self.up = nn.Conv2d(w16, 4 * w8, 1)
        self.fine = Stage(config.decoder_blocks[0], w8, e)
        self.tail = nn.Conv2d(w8, 3 * 64, 3, padding=1)
        start_at_zero(self.pooled, self.tail)

    def forward(self, latent: Tensor, reliability: Tensor, snr_db: Tensor) -> Tensor:
        embedding = self.snr(snr_db, latent.shape[0])
        x = self.coarse(self.head(torch.cat([latent, reliability], dim=1)), embedding)
        statistics = torch.cat([x.mean((2, 3)), x.square().mean((2, 3)).add(1e-6).sqrt()], dim=1)
        embedding = embedding + self.pooled(statistics)
        x = self.fine(F.pixel_shuffle(self.up(x), 2), embedding)
        return self.linear(latent) + F.pixel_shuffle(self.tail(x), 8)


class LeanCodec(nn.Module):
    """Encoder and decoder of the lean network.

    Both networks are told an SNR, at most the highest one of their training: beyond it they fall apart (told
    40 dB, a network trained up to 14 dB makes pictures of -24 dB).

    Args:
        config: sizes.

    Attributes:
        highest_snr_db: the highest SNR of the training [dB]; None while training.

    Example:
        >>> codec = LeanCodec(LeanConfig(latent_channels=4, width_8=8, width_16=8))
        >>> codec.encode(torch.rand(1, 3, 32, 48), codec.layout(32, 48, 12), None).shape
        torch.Size([1, 12])
    """

    block = BLOCK

    def __init__(self, config: LeanConfig) -> None:
        super().__init__()
        self.config = config
        self.highest_snr_db: float | None = None
        self.encoder = ResidualEncoder(
            config.latent_channels, config.width_8, config.width_16, config.encoder_blocks, config.embedding
        )
        self.decoder = _Decoder(config)

    @torch.no_grad()
    def start_from_klt(self, klt: BlockKlt) -> None:
        """Set the linear paths to the block KLT with powers in the ratio λ^(1/2) and the matching inverse."""
        kernel, gain, variance = klt.start_analysis(self.encoder.linear, "LeanCodec")
        inverse = self.decoder.linear
        assert inverse.bias is not None
        # The normalised symbols are the coefficients times gain / rms; take the mean rms of the training set.
        rms = (gain.square() * variance).mean().sqrt() * 2**0.5
        inverse.weight.copy_(kernel * (rms / gain)[:, None, None, None])
        inverse.bias.copy_(klt.mean.view(3, -1).mean(1))

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of an image: C/2 per 16 x 16 pixels."""
        return self.config.latent_channels // 2 * (height // BLOCK) * (width // BLOCK)

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout for an image; ``budget`` must be :meth:`num_symbols`."""
        return SymbolLayout.filled(self.config.latent_channels, height, width, BLOCK, budget)

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1]; ``csit`` as reported, or None."""
        snr_db = None if csit is None else self._told(csit.snr_db)
        return layout.to_symbols(self.encoder(image, snr_db).float())

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W], not clipped, from what the receiver has (``csit`` is not used)."""
        x_hat, _ = equalize(received, "lmmse")
        gamma = received.csi.gamma
        reliability = layout.to_pair_map(gamma / (1 + gamma))
        return self.decoder(layout.to_map(x_hat), reliability, self._told(effective_snr_db(received.csi)))

    def _told(self, snr_db: Tensor) -> Tensor:
        return snr_db if self.highest_snr_db is None else snr_db.clamp_max(self.highest_snr_db)
