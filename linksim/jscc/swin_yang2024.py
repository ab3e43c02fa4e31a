"""The Swin transformer of DiffJSCC as a JSCC codec, loadable from the authors' weights.

Sources: Yang et al., "Diffusion-Aided Joint Source Channel Coding For High Realism Wireless Image
Transmission", arXiv 2404.17736, 2024 (the authors' ``DeepJSCC_SWIN`` class); Yang et al., "WITT: A Wireless
Image Transmission Transformer for Semantic Communications", ICASSP 2023; Liu et al., "Swin Transformer", ICCV
2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.jscc.csi_embedding import UNKNOWN_SNR_DB, csi_vector
from linksim.jscc.layout import SymbolLayout
from linksim.jscc.swin.parts import MODULATIONS, Expand, Merge, Modulation, start_linear

__all__ = ["SwinYang2024", "SwinYang2024Config"]


@dataclass(frozen=True)
class SwinYang2024Config:
    """Sizes of a :class:`SwinYang2024`.

    Args:
        latent_channels: C at 1/2^stages resolution, even.
        widths, depths, heads: channels, blocks and attention heads of the encoder's stages, finest first; the
            decoder mirrors them unless told otherwise.
        decoder_widths, decoder_depths, decoder_heads: of the decoder's stages, coarsest first; () = mirrored.
        window: tokens along a side of an attention window.
        mlp_ratio: hidden over outer channels of the MLPs.
        image_size: height and width of the pictures it was built for: a stage that is no larger than a window
            there has one window and no shift.
    """

    latent_channels: int = 16
    widths: tuple[int, ...] = (128, 192, 256, 320)
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (4, 6, 8, 10)
    decoder_widths: tuple[int, ...] = ()
    decoder_depths: tuple[int, ...] = ()
    decoder_heads: tuple[int, ...] = ()
    window: int = 8
    mlp_ratio: float = 4.0
    image_size: tuple[int, int] = (256, 256)

    csi: ClassVar[str] = "snr"

    @property
    def decoder(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Widths, depths and heads of the decoder's stages, coarsest first."""
        return (
            self.decoder_widths or self.widths[::-1],
            self.decoder_depths or self.depths[::-1],
            self.decoder_heads or self.heads[::-1],
        )

    def windows(self, level: int) -> tuple[int, int]:
        """Window and shift at 1/2^level resolution."""
        side = min(self.image_size) // 2**level
        return (side, 0) if side <= self.window else (self.window, self.window // 2)


def _swin_block() -> Any:
    """The Swin block of torchvision, whose import takes a second and a half, for networks that have one. They
    are also made on the meta device, what is imported never is.
    """
    with torch.device("cpu"):
        from torchvision.models.swin_transformer import SwinTransformerBlock

    return SwinTransformerBlock


class _Blocks(nn.Sequential):
    """Swin blocks on [B, H, W, C], every second one with shifted windows.

    Sides that are no multiple of the window are padded inside the attention.
    """

    def __init__(
        self, width: int, depth: int, heads: int, windows: tuple[int, int], mlp_ratio: float
    ) -> None:
        window, shift = windows
        block = _swin_block()
        super().__init__(
            *(
                block(width, heads, [window] * 2, [shift if i % 2 else 0] * 2, mlp_ratio=mlp_ratio)
                for i in range(depth)
            )
        )


class _Encoder(nn.Module):
    def __init__(self, config: SwinYang2024Config) -> None:
        super().__init__()
        widths = config.widths
        self.embed = nn.Conv2d(3, widths[0], 2, stride=2)
        self.merges = nn.ModuleList(Merge(a, b) for a, b in pairwise(widths))
        self.stages = nn.ModuleList(
            _Blocks(width, depth, heads, config.windows(i + 1), config.mlp_ratio)
            for i, (width, depth, heads) in enumerate(zip(widths, config.depths, config.heads, strict=True))
        )
        self.norm = nn.LayerNorm(widths[-1])
        self.modulation = Modulation(widths[-1])
        self.head = nn.Linear(widths[-1], config.latent_channels)

    def forward(self, image: Tensor, snr_db: Tensor) -> Tensor:
        x = self.embed(image).permute(0, 2, 3, 1)
        for merge, stage in zip([nn.Identity(), *self.merges], self.stages, strict=True):
            x = stage(merge(x))
        return self.head(self.modulation(self.norm(x), snr_db)).permute(0, 3, 1, 2)


class _Decoder(nn.Module):
    def __init__(self, config: SwinYang2024Config) -> None:
        super().__init__()
        widths, depths, heads = config.decoder
        levels = len(widths)
        self.head = nn.Linear(config.latent_channels, widths[0])
        self.modulation = Modulation(widths[0])
        self.stages = nn.ModuleList(
            _Blocks(width, depth, head, config.windows(levels - i), config.mlp_ratio)
            for i, (width, depth, head) in enumerate(zip(widths, depths, heads, strict=True))
        )
        self.expands = nn.ModuleList(Expand(a, b) for a, b in zip(widths, (*widths[1:], 3), strict=True))

    def forward(self, latent: Tensor, snr_db: Tensor) -> Tensor:
        x = self.modulation(self.head(latent.permute(0, 2, 3, 1)), snr_db)
        for stage, expand in zip(self.stages, self.expands, strict=True):
            x = expand(stage(x))
        return torch.sigmoid(x.permute(0, 3, 1, 2))


class SwinYang2024(nn.Module):
    """Encoder and decoder of DiffJSCC's Swin transformer; both are given the SNR.

    Pictures whose sides are multiples of ``window * block`` (128 with the published sizes) have whole windows
    in every stage, as in training; others are padded inside the attention.

    Args:
        config: sizes.

    Example:
        >>> sizes = {"widths": (8, 8), "depths": (1, 1), "heads": (2, 2), "window": 2}
        >>> codec = SwinYang2024(SwinYang2024Config(latent_channels=4, **sizes))
        >>> codec.encode(torch.rand(1, 3, 32, 48), codec.layout(32, 48, 192), None).shape
        torch.Size([1, 192])
    """

    def __init__(self, config: SwinYang2024Config) -> None:
        super().__init__()
        self.config = config
        self.block = 2 ** len(config.widths)
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)
        start_linear(self)

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of an image: C/2 per ``block`` x ``block`` pixels."""
        return self.config.latent_channels // 2 * (height // self.block) * (width // self.block)

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout for an image; ``budget`` must be :meth:`num_symbols`."""
        return SymbolLayout.filled(self.config.latent_channels, height, width, self.block, budget)

    def latent(self, image: Tensor, csit: Csit | None) -> Tensor:
        """Latent map [B, C, H/block, W/block] of images [B, 3, H, W] in [0, 1]."""
        told = csit.snr_db if csit else torch.full((image.shape[0],), UNKNOWN_SNR_DB)
        return self.encoder(image, told.to(image)[:, None])

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1]."""
        return layout.to_symbols(self.latent(image, csit).float())

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of zero-forced symbols and the receiver's effective SNR (``csit`` is
        not used).
        """
        x_hat, _ = equalize(received, "zf")
        latent = layout.to_map(x_hat)
        return self.decoder(latent, csi_vector(received.csi, "snr").to(latent))


def _pair(ours: str, theirs: str, parts: Sequence[str] = ("weight", "bias")) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in parts}


def _block_names(ours: str, theirs: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for a, b in (("norm1",) * 2, ("attn.qkv",) * 2, ("attn.proj",) * 2, ("norm2",) * 2):
        table |= _pair(f"{ours}.{a}", f"{theirs}.{b}")
    table |= _pair(f"{ours}.mlp.0", f"{theirs}.mlp.fc1") | _pair(f"{ours}.mlp.3", f"{theirs}.mlp.fc2")
    name = "attn.relative_position_bias_table"
    return {**table, f"{ours}.{name}": f"{theirs}.{name}"}


def authors_names(config: SwinYang2024Config) -> dict[str, str]:
    """Our tensor name to the authors'."""
    table = _pair("encoder.embed", "encoder.patch_embed.proj") | _pair("encoder.norm", "encoder.norm")
    _, decoder_depths, _ = config.decoder
    for side, depths in (("encoder", config.depths), ("decoder", decoder_depths)):
        table |= _pair(f"{side}.head", f"{side}.head_list")
        for i in range(MODULATIONS + 1):
            table |= _pair(f"{side}.modulation.mixers.{i}", f"{side}.sm_list.{i}")
        for i in range(MODULATIONS):
            for layer in (0, 2, 4):
                table |= _pair(f"{side}.modulation.gains.{i}.{layer}", f"{side}.bm_list.{i}.fc.{layer}")
        for i, depth in enumerate(depths):
            for j in range(depth):
                table |= _block_names(f"{side}.stages.{i}.{j}", f"{side}.layers.{i}.blocks.{j}")
    for i in range(1, len(config.widths)):
        merge, theirs = f"encoder.merges.{i - 1}", f"encoder.layers.{i}.downsample"
        table |= _pair(f"{merge}.norm", f"{theirs}.norm")
        table |= _pair(f"{merge}.reduction", f"{theirs}.reduction", ("weight",))
    for i in range(len(decoder_depths)):
        expand, theirs = f"decoder.expands.{i}", f"decoder.layers.{i}.upsample"
        table |= _pair(f"{expand}.norm", f"{theirs}.norm")
        table |= _pair(f"{expand}.increment", f"{theirs}.increment", ("weight",))
    return table


def is_redundant(name: str) -> bool:
    """Whether one of the authors' tensors says nothing: masks and position numbers that follow from the
    sizes, and a position embedding of the decoder that is stored but never added.
    """
    return name.endswith(("attn_mask", "relative_position_index")) or name == "decoder.absolute_pos_embed"
