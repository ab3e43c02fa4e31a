"""The first DeepJSCC: five convolutions to symbols, five transposed ones back.

Source: Bourtsoulatze, Burth Kurka & Gündüz, "Deep Joint Source-Channel Coding for Wireless Image
Transmission", IEEE Trans. Cogn. Commun. Netw. 5 (3), 2019, arXiv 1809.01733, Fig. 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.jscc.layout import SymbolLayout

__all__ = ["Bourtsoulatze2019"]

_WIDTHS = (16, 32, 32, 32)  # of the encoder between picture and latent map
_STRIDES = (2, 2, 1, 1, 1)


class Bourtsoulatze2019(nn.Module):
    """Encoder and decoder of the paper, trained for one SNR: neither is told any.

    All kernels are 5 x 5, at strides 2, 2, 1, 1, 1 and back, with a PReLU behind each (one slope per channel,
    which the paper leaves open) but for the last, a sigmoid. The c values per 4 x 4 pixels are c/2 complex
    symbols, scaled to unit power over the picture: k/n = c/96, 1/12 with c = 8 and 1/6 with c = 16.

    On AWGN the decoder sees the symbols as received. On fading channels the paper gives it h·x + w without
    any knowledge of h; ours is given what its receiver's CSI equalises.

    Args:
        latent_channels: c, even.

    Example:
        >>> import torch
        >>> codec = Bourtsoulatze2019(16)
        >>> codec.encode(torch.rand(1, 3, 32, 32), codec.layout(32, 32, 512), None).shape
        torch.Size([1, 512])
    """

    block = 4

    def __init__(self, latent_channels: int = 16) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        widths = (3, *_WIDTHS, latent_channels)
        coding: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths), _STRIDES, strict=True):
            coding += [nn.Conv2d(before, after, 5, stride, padding=2), nn.PReLU(after)]
        decoding: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths[::-1]), _STRIDES[::-1], strict=True):
            up = nn.ConvTranspose2d(before, after, 5, stride, padding=2, output_padding=stride - 1)
            decoding += [up, nn.PReLU(after)]
        self.encoder = nn.Sequential(*coding)
        self.decoder = nn.Sequential(*decoding[:-1], nn.Sigmoid())

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of an image: c/2 per 4 x 4 pixels."""
        return self.latent_channels // 2 * (height // self.block) * (width // self.block)

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout for an image; ``budget`` must be :meth:`num_symbols`."""
        return SymbolLayout.filled(self.latent_channels, height, width, self.block, budget)

    def latent(self, image: Tensor, csit: Csit | None) -> Tensor:
        """Latent map [B, c, H/4, W/4] of images [B, 3, H, W] in [0, 1]; ``csit`` is not used."""
        found: Tensor = self.encoder(image)
        return found

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1]."""
        return layout.to_symbols(self.latent(image, csit).float())

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of zero-forced symbols (``csit`` and ``seeds`` are not used)."""
        x_hat, _ = equalize(received, "zf")
        shown: Tensor = self.decoder(layout.to_map(x_hat))
        return shown
