"""SwinJSCC, and WITT before it: Swin transformers as a JSCC codec, told the SNR, the rate, both or neither.

Sources: Yang et al., "SwinJSCC: Taming Swin Transformer for Deep Joint Source-Channel Coding", IEEE Trans.
Cogn. Commun. Netw., 2024, arXiv 2308.09361; Yang et al., "WITT: A Wireless Image Transmission Transformer for
Semantic Communications", ICASSP 2023, arXiv 2211.00937. Facts that the papers leave open (order of layers,
scale, selection of channels) are those of the authors' programs, github.com/semcomm/SwinJSCC, commit a6d0e6d,
and github.com/KeYang8/WITT, commit 2460db5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from channels.checks import complaint
from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.jscc.csi_embedding import UNKNOWN_SNR_DB, csi_vector
from linksim.jscc.layout import SymbolLayout
from linksim.jscc.swin import side_info
from linksim.jscc.swin.parts import Expand, Merge, Modulation, start_linear
from linksim.jscc.swin.ranking import order_by_worth
from linksim.jscc.swin.sizes import SwinJsccConfig
from linksim.jscc.swin.windows import Blocks

__all__ = ["SwinJscc", "SwinJsccLayout"]


@dataclass(frozen=True, eq=False)
class SwinJsccLayout(SymbolLayout):
    """Layout of a frame with the side information that its receiver is given.

    Args:
        told: [B, bytes] uint8: the scale of each picture and, of networks with rates, the channels that were
            sent, see :mod:`linksim.jscc.swin.side_info`.
        scale: [B] the scale as it is, during training alone: gradients pass through it.
    """

    told: Tensor | None = None
    scale: Tensor | None = None


class _Encoder(nn.Module):
    def __init__(self, config: SwinJsccConfig) -> None:
        super().__init__()
        widths = config.widths
        self.embed = nn.Conv2d(3, widths[0], 2, stride=2)
        self.merges = nn.ModuleList(Merge(a, b) for a, b in pairwise(widths))
        self.stages = nn.ModuleList(
            Blocks(width, depth, heads, config.windows(i + 1), config.mlp_ratio)
            for i, (width, depth, heads) in enumerate(zip(widths, config.depths, config.heads, strict=True))
        )
        self.norm = nn.LayerNorm(widths[-1])
        self.snr = Modulation(widths[-1]) if config.knows_snr else None
        self.rate = Modulation(widths[-1]) if config.has_rates else None
        self.head = None if config.has_rates else nn.Linear(widths[-1], config.latent_channels)

    def forward(self, image: Tensor, snr_db: Tensor, rate: int) -> tuple[Tensor, Tensor | None]:
        """Latents [B, C, h, w] of images, SNRs [B, 1] in dB and the number of channels to send; of networks
        with rates what each channel is worth [B, C].
        """
        x = self.embed(image).permute(0, 2, 3, 1)
        for merge, stage in zip([nn.Identity(), *self.merges], self.stages, strict=True):
            x = stage(merge(x))
        x, worth = self.norm(x), None
        if self.snr is not None:
            x = self.snr(x, snr_db)
        if self.rate is not None:
            mask = self.rate.mask(x, torch.full_like(snr_db, float(rate)))
            x, worth = x * mask, mask.sum((1, 2))
        if self.head is not None:
            x = self.head(x)
        return x.permute(0, 3, 1, 2), worth


class _Decoder(nn.Module):
    def __init__(self, config: SwinJsccConfig) -> None:
        super().__init__()
        widths, depths, heads = config.widths[::-1], config.depths[::-1], config.heads[::-1]
        levels = len(widths)
        self.head = None if config.has_rates else nn.Linear(config.latent_channels, widths[0])
        self.snr = Modulation(widths[0]) if config.knows_snr else None
        self.stages = nn.ModuleList(
            Blocks(width, depth, head, config.windows(levels - i), config.mlp_ratio)
            for i, (width, depth, head) in enumerate(zip(widths, depths, heads, strict=True))
        )
        self.expands = nn.ModuleList(Expand(a, b) for a, b in zip(widths, (*widths[1:], 3), strict=True))

    def forward(self, latent: Tensor, snr_db: Tensor) -> Tensor:
        """Images [B, 3, H, W], not clipped, of latents [B, C, h, w] and SNRs [B, 1] in dB."""
        x = latent.permute(0, 2, 3, 1)
        if self.head is not None:
            x = self.head(x)
        if self.snr is not None:
            x = self.snr(x, snr_db)
        for stage, expand in zip(self.stages, self.expands, strict=True):
            x = expand(stage(x))
        return x.permute(0, 3, 1, 2)


class SwinJscc(nn.Module):
    """Encoder and decoder of SwinJSCC.

    The receiver is told the scale of each picture's latents (16 bits) and, by a network with rates, which of
    its channels were sent: ceil(log2(W over C)) bits for C out of W. Both are side information that the frame
    pays for beside its symbols.

    Pictures whose sides are multiples of ``window * block`` (128 with the published sizes) have whole windows
    in every stage, as the authors' test pictures, which are cut to that; of others tokens are padded within
    the attention, and no token of the picture sees padding.

    Args:
        config: sizes.

    Example:
        >>> sizes = {"widths": (8, 8), "depths": (1, 2), "heads": (2, 2), "window": 2}
        >>> codec = SwinJscc(SwinJsccConfig(adaptive="snr", rates=(4,), **sizes))
        >>> codec.encode(torch.rand(1, 3, 32, 48), codec.layout(32, 48, 192), None).shape
        torch.Size([1, 192])
    """

    def __init__(self, config: SwinJsccConfig) -> None:
        super().__init__()
        self.config = config
        self.block = 2 ** len(config.widths)
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        start_linear(self)

    # ------------------------------------------------------------------------------- rates

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of an image at the highest rate: C/2 per ``block`` x ``block`` pixels."""
        return self.config.rates[-1] // 2 * (height // self.block) * (width // self.block)

    def layout(self, height: int, width: int, budget: int) -> SwinJsccLayout:
        """Layout for an image; ``budget`` must be that of one of the rates."""
        rows, cols = height // self.block, width // self.block
        channels = next((c for c in self.config.rates if c // 2 * rows * cols == budget), None)
        if channels is None:
            ratios = ", ".join(f"{c}/{6 * self.block**2}" for c in self.config.rates)
            got = f"{budget} channel uses for {height} x {width} pixels"
            expected = ", ".join(str(c // 2 * rows * cols) for c in self.config.rates)
            cure = f"Set bandwidth.data_ratio to one of {ratios}, or take another checkpoint."
            raise ValueError(complaint("bandwidth.data_ratio", "no rate of the network", got, expected, cure))
        return SwinJsccLayout(channels, rows, cols)

    # ---------------------------------------------------------------------------- both ends

    def latent(
        self, image: Tensor, csit: Csit | None, rate: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Latents that are sent [B, rate, h, w] of images [B, 3, H, W] in [0, 1], and which channels of the
        network they are [B, rate], in rising order; None of networks with one rate.
        """
        number = self.config.rates[-1] if rate is None else rate
        told = csit.snr_db if csit else torch.full((image.shape[0],), UNKNOWN_SNR_DB)
        z, worth = self.encoder(image, told.to(image)[:, None], number)
        if worth is None:
            return z.float(), None
        chosen = order_by_worth(worth)[:, :number].sort(dim=1).values
        rows = torch.arange(len(z), device=z.device)[:, None]
        return z[rows, chosen].float(), chosen

    def side_info_bits(self, layout: SymbolLayout) -> int:
        """Bits per image that :meth:`send` tells beside the symbols."""
        whole = self.config.latent_channels
        return side_info.SCALE_BITS + side_info.subset_bits(whole, layout.channels)

    def send(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> tuple[Tensor, SymbolLayout]:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1], and the layout with what is told beside
        them.
        """
        z, chosen = self.latent(image, csit, layout.channels)
        scale = z.square().sum(1).mean((1, 2)).mul(2 / layout.channels).clamp_min(1e-20).sqrt()
        whole = self.config.latent_channels
        if chosen is None:
            chosen = torch.arange(whole).expand(len(z), whole)
        own = {f.name: getattr(layout, f.name) for f in fields(SymbolLayout)}
        told = SwinJsccLayout(**own, told=side_info.packed(scale.detach(), chosen, whole))
        if self.training:
            told = replace(told, scale=scale)
        return layout.to_symbols(z), told

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols of :meth:`send` alone."""
        return self.send(image, layout, csit)[0]

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W], not clipped, of zero-forced symbols, the side information in ``layout`` and
        the receiver's effective SNR (``csit`` and ``seeds`` are not used).

        Raises:
            ValueError: a layout without side information.
        """
        told: Tensor | None = getattr(layout, "told", None)
        if told is None:
            cure = "Take the layout that send returns."
            raise ValueError(complaint("SwinJscc: layout", "no side information", None, "told", cure))
        x_hat, _ = equalize(received, "zf")
        whole = self.config.latent_channels
        scale, chosen = side_info.unpacked(told, whole, layout.channels)
        exact: Tensor | None = getattr(layout, "scale", None)
        scale = (scale if exact is None else exact).to(x_hat.real)
        latent = layout.to_map(x_hat) * scale[:, None, None, None]
        if self.config.has_rates:
            rows = torch.arange(len(latent), device=latent.device)[:, None]
            full = latent.new_zeros(len(latent), whole, *latent.shape[2:])
            full[rows, chosen.to(latent.device)] = latent
            latent = full
        snr_db = csi_vector(received.csi, "snr").to(latent)
        shown: Tensor = self.decoder(latent, snr_db)
        return shown
