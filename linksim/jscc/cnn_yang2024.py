"""The CNN of DiffJSCC as a JSCC codec, loadable from the authors' weights.

Source: Yang et al., "Diffusion-Aided Joint Source Channel Coding For High Realism Wireless Image
Transmission", arXiv 2404.17736, 2024 (architecture of the authors' ``DeepJSCC`` class).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from channels import units
from channels.checks import complaint
from channels.equalization import equalize
from channels.types import Csi, Csit, Received
from linksim.jscc.csi_embedding import UNKNOWN_SNR_DB, CsiKind, csi_vector
from linksim.jscc.layout import SymbolLayout

__all__ = ["CnnYang2024", "CnnYang2024Config", "authors_names"]

Padding = Literal["zeros", "reflect"]
NUM_DOWN = 4


@dataclass(frozen=True)
class CnnYang2024Config:
    """Sizes of a :class:`CnnYang2024`.

    Args:
        latent_channels: C at 1/16 resolution, even.
        width: channels after the first convolution; doubles at every stride-2 convolution.
        max_width, max_decoder_width: caps of the encoder and the decoder.
        blocks, decoder_blocks: residual blocks, each followed by a modulation.
        csi: "snr" (AWGN) or "snr_h" (block Rayleigh: [snr, Re h, Im h], for encoder and decoder).
    """

    latent_channels: int = 16
    width: int = 64
    max_width: int = 512
    max_decoder_width: int = 512
    blocks: int = 2
    decoder_blocks: int = 2
    csi: CsiKind = "snr"

    @property
    def csi_size(self) -> int:
        """Length of the CSI vector."""
        return 1 if self.csi == "snr" else 3


class _ResidualBlock(nn.Module):
    """x + BN(conv(relu(BN(conv(x))))), zero padding in the encoder, reflection in the decoder."""

    def __init__(self, width: int, padding_mode: Padding) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(width, width, 3, padding=1, padding_mode=padding_mode, bias=False)
        self.norm_a = nn.BatchNorm2d(width)
        self.conv_b = nn.Conv2d(width, width, 3, padding=1, padding_mode=padding_mode, bias=False)
        self.norm_b = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm_b(self.conv_b(torch.relu(self.norm_a(self.conv_a(x)))))


class _Modulation(nn.Module):
    """Channel gain (sigmoid) and offset from pooled features and the CSI vector."""

    def __init__(self, width: int, csi_size: int) -> None:
        super().__init__()
        self.gain = nn.Sequential(
            nn.Linear(width + csi_size, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid()
        )
        self.offset = nn.Sequential(nn.Linear(width + csi_size, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor, csi: Tensor) -> Tensor:
        pooled = torch.cat([x.mean((2, 3)), csi], dim=1)
        return x * self.gain(pooled)[:, :, None, None] + self.offset(pooled)[:, :, None, None]


class _Body(nn.Module):
    def __init__(self, width: int, blocks: int, csi_size: int, padding_mode: Padding) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_ResidualBlock(width, padding_mode) for _ in range(blocks))
        self.modulations = nn.ModuleList(_Modulation(width, csi_size) for _ in range(blocks))

    def forward(self, x: Tensor, csi: Tensor) -> Tensor:
        for block, modulation in zip(self.blocks, self.modulations, strict=True):
            x = modulation(block(x), csi)
        return x


class _Encoder(nn.Module):
    def __init__(self, config: CnnYang2024Config) -> None:
        super().__init__()
        widths = [min(config.width * 2**i, config.max_width) for i in range(NUM_DOWN + 1)]
        first = nn.Conv2d(3, widths[0], 7, padding=3, padding_mode="reflect", bias=False)
        downs = [nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False) for a, b in pairwise(widths)]
        self.convs = nn.ModuleList([first, *downs])
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths)
        self.body = _Body(widths[-1], config.blocks, config.csi_size, "zeros")
        self.projection = nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1)

    def forward(self, image: Tensor, csi: Tensor) -> Tensor:
        x = image
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        return self.projection(self.body(x, csi))


class _Decoder(nn.Module):
    def __init__(self, config: CnnYang2024Config) -> None:
        super().__init__()
        widths = [min(config.width * 2**i, config.max_decoder_width) for i in range(NUM_DOWN, -1, -1)]
        self.first = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1, bias=False)
        self.body = _Body(widths[0], config.decoder_blocks, config.csi_size, "reflect")
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1, bias=False)
            for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(w) for w in widths[1:])
        self.last = nn.Conv2d(widths[-1], 3, 5, padding=2, padding_mode="reflect")

    def forward(self, latent: Tensor, csi: Tensor) -> Tensor:
        x = self.body(self.first(latent), csi)
        for up, norm in zip(self.ups, self.norms, strict=True):
            x = torch.relu(norm(up(x)))
        return torch.sigmoid(self.last(x))


class CnnYang2024(nn.Module):
    """Encoder and decoder of DiffJSCC's CNN.

    On block Rayleigh fading (``csi="snr_h"``) the encoder is given the gain: run it with perfect transmitter
    CSI (``csit: perfect``), as the authors do without saying so.

    Args:
        config: sizes.

    Example:
        >>> config = CnnYang2024Config(latent_channels=4, width=4, max_width=8, max_decoder_width=8)
        >>> codec = CnnYang2024(config)
        >>> codec.encode(torch.rand(1, 3, 32, 48), codec.layout(32, 48, 12), None).shape
        torch.Size([1, 12])
    """

    block = 2**NUM_DOWN

    def __init__(self, config: CnnYang2024Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of an image: C/2 per 16 x 16 pixels."""
        return self.config.latent_channels // 2 * (height // self.block) * (width // self.block)

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout for an image; ``budget`` must be :meth:`num_symbols`."""
        return SymbolLayout.filled(self.config.latent_channels, height, width, self.block, budget)

    def latent(self, image: Tensor, csit: Csit | None) -> Tensor:
        """Latent map [B, C, H/16, W/16] of images [B, 3, H, W] in [0, 1]."""
        return self.encoder(image, self._encoder_csi(image, csit))

    def _encoder_csi(self, image: Tensor, csit: Csit | None) -> Tensor:
        if self.config.csi == "snr":
            told = csit.snr_db if csit else torch.full((image.shape[0],), UNKNOWN_SNR_DB)
            return told.to(image)[:, None]
        if csit is None or csit.h is None:
            raise ValueError(
                complaint(
                    "schemes.csit",
                    "the encoder of this checkpoint needs the gain of the channel",
                    "none" if csit is None else "average_snr",
                    "perfect",
                    "Set csit: perfect; it is what the authors assume.",
                )
            )
        no = units.snr_db_to_no(csit.snr_db)[:, None]
        return csi_vector(Csi(csit.h, no, torch.zeros_like(no)), "snr_h").to(image)

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1]."""
        return layout.to_symbols(self.latent(image, csit).float())

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of zero-forced symbols and the receiver's CSI (``csit`` is not
        used).
        """
        x_hat, _ = equalize(received, "zf")
        latent = layout.to_map(x_hat)
        return self.decoder(latent, csi_vector(received.csi, self.config.csi).to(latent))


# ------------------------------------------------------------------------------------ authors' format


def _rename_conv_norm(
    table: dict[str, str], ours: str, theirs_conv: str, norm: str, theirs_norm: str
) -> None:
    table[f"{ours}.weight"] = f"{theirs_conv}.weight"
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        table[f"{norm}.{part}"] = f"{theirs_norm}.{part}"


def authors_names(config: CnnYang2024Config) -> dict[str, str]:
    """Our tensor name to the authors'."""
    table: dict[str, str] = {}
    for i in range(NUM_DOWN + 1):
        at = 1 + 3 * i
        _rename_conv_norm(table, f"encoder.convs.{i}", f"E.net.{at}", f"encoder.norms.{i}", f"E.net.{at + 1}")
    sides = (("encoder", "E", config.blocks, 0, 3), ("decoder", "G", config.decoder_blocks, 1, 5))
    for ours, theirs, blocks, conv_a, conv_b in sides:
        for i in range(blocks):
            block, body = f"{theirs}.res_list.{2 * i}.conv_block", f"{ours}.body.blocks.{i}"
            for part, at in (("a", conv_a), ("b", conv_b)):
                _rename_conv_norm(
                    table, f"{body}.conv_{part}", f"{block}.{at}", f"{body}.norm_{part}", f"{block}.{at + 1}"
                )
            for part, name in (("gain", "model_multi"), ("offset", "model_add")):
                for layer in (0, 2):
                    for kind in ("weight", "bias"):
                        key = f"{ours}.body.modulations.{i}.{part}.{layer}.{kind}"
                        table[key] = f"{theirs}.res_list.{2 * i + 1}.{name}.{layer}.{kind}"
    for i in range(NUM_DOWN):
        _rename_conv_norm(
            table, f"decoder.ups.{i}", f"G.model.{3 * i}", f"decoder.norms.{i}", f"G.model.{3 * i + 1}"
        )
    table["decoder.first.weight"] = "G.mask_conv.weight"
    for kind in ("weight", "bias"):
        table[f"encoder.projection.{kind}"] = f"E.projection.{kind}"
        table[f"decoder.last.{kind}"] = f"G.model.{3 * NUM_DOWN + 1}.{kind}"
    return table
