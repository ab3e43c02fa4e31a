"""Specification to object: the only table of kinds.

May import everything below it: scenario, schemes, digital, jscc, metrics, images, channels, zoo, checkpoints.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from channels.awgn import AwgnChannel
from channels.base import ChannelOperator, Precision
from channels.flat_fading import FlatFadingChannel
from linksim import scenario as spec
from linksim import zoo
from linksim.checkpoints import load_into, read_checkpoint
from linksim.images import Crop, FolderImages, ImageSet, SkimageImages, TarImages
from linksim.jscc.lean import LeanCodec, LeanConfig
from linksim.schemes.jscc import AnalogCodec

__all__ = ["build_channel", "build_codec", "build_images", "load_codec"]


def build_images(images: spec.ImagesSpec) -> ImageSet:
    """The set of pictures that a scenario names."""
    height, width = images.crop or (None, None)
    crop = Crop(height, width, images.multiple_of)
    if isinstance(images, spec.FolderImagesSpec):
        return FolderImages(Path(images.path).expanduser(), crop, images.convert, images.limit)
    if isinstance(images, spec.TarImagesSpec):
        return TarImages([Path(p).expanduser() for p in images.paths], crop, images.convert, images.limit)
    return SkimageImages(images.names, crop)


def build_channel(
    channel: spec.ChannelSpec, device: torch.device, precision: Precision = "single"
) -> ChannelOperator:
    """The channel operator of a specification."""
    if isinstance(channel, spec.AwgnSpec):
        return AwgnChannel(device=device, precision=precision)
    if isinstance(channel, spec.RayleighSpec | spec.RicianSpec):
        return FlatFadingChannel(
            coherence_symbols=channel.coherence_symbols,
            k_factor_db=channel.k_factor_db if isinstance(channel, spec.RicianSpec) else None,
            csi=channel.csi.kind,
            pilots_per_block=channel.csi.pilots_per_block,
            device=device,
            precision=precision,
        )
    raise NotImplementedError(channel)


def build_codec(codec: spec.CodecSpec) -> AnalogCodec:
    """An untrained network."""
    if isinstance(codec, spec.LeanCodecSpec):
        return LeanCodec(
            LeanConfig(
                codec.latent_channels,
                codec.width_8,
                codec.width_16,
                codec.encoder_blocks,
                codec.decoder_blocks,
                codec.embedding,
            )
        )
    raise NotImplementedError(codec)


def load_codec(checkpoint: str) -> AnalogCodec:
    """A trained network in evaluation mode, from a bundled model or a file."""
    path = zoo.codec_path(checkpoint)
    stored = read_checkpoint(path)
    codec = build_codec(stored.codec)
    assert isinstance(codec, nn.Module)
    load_into(codec, stored.tensors, str(path))
    return codec.eval().requires_grad_(False)
