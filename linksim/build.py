"""Specification to object: the only table of kinds.

May import everything below it: scenario, schemes, digital, jscc, metrics, images, channels, zoo, checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from channels.awgn import AwgnChannel
from channels.base import ChannelOperator, Precision
from channels.delay_models import TdlModel
from channels.flat_fading import FlatFadingChannel
from channels.ofdm import OfdmChannel
from linksim import scenario as spec
from linksim import zoo
from linksim.checkpoints import file_digest, load_into, read_checkpoint
from linksim.digital.mcs import MCS_TABLES, Calibration, Mcs
from linksim.digital.source_codec import QualitySearch, make_source_codec
from linksim.images import Crop, FolderImages, ImageSet, SkimageImages, TarImages
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.cnn_yang2024 import CnnYang2024, CnnYang2024Config, load_authors_checkpoint
from linksim.jscc.lean import LeanCodec, LeanConfig
from linksim.jscc.linear_analog import LinearAnalogCodec
from linksim.metrics.base import CountMetric, ImageMetric, MetricInfo, MetricUnavailable
from linksim.metrics.distortion import MsSsim, Psnr, Ssim
from linksim.metrics.errors import Ber, Bler
from linksim.metrics.perceptual import Lpips
from linksim.schemes.base import Bound, Scheme
from linksim.schemes.jscc import AnalogCodec, JsccScheme
from linksim.schemes.separation import AdaptiveMcs, CapacityBound, SeparationScheme
from linksim.schemes.uncoded import UncodedScheme

__all__ = [
    "Metrics",
    "build_channel",
    "build_codec",
    "build_images",
    "build_metrics",
    "build_scheme",
    "calibration_key",
    "load_codec",
    "make_search",
    "scheme_files",
]

_BLOCK_KLT, _CALIBRATION = "block-klt-16.safetensors", "mcs-calibration.json"


def build_images(images: spec.ImagesSpec) -> ImageSet:
    """The set of pictures that a scenario names."""
    height, width = images.crop or (None, None)
    crop = Crop(height, width, images.multiple_of)
    if isinstance(images, spec.FolderImagesSpec):
        return FolderImages(Path(images.path).expanduser(), crop, images.convert, images.limit)
    if isinstance(images, spec.TarImagesSpec):
        return TarImages([Path(p).expanduser() for p in images.paths], crop, images.convert, images.limit)
    return SkimageImages(images.names, crop)


# --------------------------------------------------------------------------------------------- channels


def build_channel(
    channel: spec.ChannelSpec, device: torch.device, precision: Precision = "single"
) -> ChannelOperator:
    """The channel operator of a specification."""
    if isinstance(channel, spec.AwgnSpec):
        return AwgnChannel(device=device, precision=precision)
    if isinstance(channel, spec.OfdmSpec):
        return _build_ofdm(channel, device, precision)
    return FlatFadingChannel(
        coherence_symbols=channel.coherence_symbols,
        k_factor_db=channel.k_factor_db if isinstance(channel, spec.RicianSpec) else None,
        csi=channel.csi.kind,
        pilots_per_block=channel.csi.pilots_per_block,
        device=device,
        precision=precision,
    )


def _build_ofdm(channel: spec.OfdmSpec, device: torch.device, precision: Precision) -> OfdmChannel:
    model = TdlModel(
        channel.model.profile,
        delay_spread_s=channel.model.delay_spread_s,
        carrier_hz=channel.carrier_hz,
        speed_mps=channel.model.speed_mps,
        precision=precision,
    )
    return OfdmChannel(
        model,
        num_subcarriers=channel.num_subcarriers,
        subcarrier_spacing_hz=channel.subcarrier_spacing_hz,
        num_ofdm_symbols=channel.num_ofdm_symbols,
        pilot_symbols=channel.csi.pilot_symbols,
        csi=channel.csi.kind,
        interpolation=channel.csi.interpolation,
        cyclic_prefix_length=channel.cyclic_prefix_length,
        guard_subcarriers=channel.guard_subcarriers,
        dc_null=channel.dc_null,
        device=device,
        precision=precision,
    )


def calibration_key(channel: spec.ChannelBase) -> dict[str, object]:
    """What a link-adaptation table calls a channel: its specification without the name."""
    return channel.model_dump(mode="json", exclude={"name"})


# ----------------------------------------------------------------------------------------------- codecs


def build_codec(codec: spec.CodecSpec) -> LeanCodec | CnnYang2024:
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
    return CnnYang2024(
        CnnYang2024Config(
            codec.latent_channels,
            codec.width,
            codec.max_width,
            codec.max_decoder_width,
            codec.blocks,
            codec.decoder_blocks,
            codec.csi,
        )
    )


def load_codec(checkpoint: str) -> AnalogCodec:
    """A trained network in evaluation mode: a bundled model, a linksim checkpoint, or a DiffJSCC folder."""
    path = zoo.codec_path(checkpoint)
    if path.is_dir():
        return load_authors_checkpoint(path)
    stored = read_checkpoint(path)
    codec = build_codec(stored.codec)
    load_into(codec, stored.tensors, str(path))
    return codec.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------- schemes


@lru_cache(maxsize=8)
def make_search(source: spec.SourceSpec) -> QualitySearch:
    """A source codec with its quality search; one per process and codec, so that streams are shared."""
    resolutions = {"full": (1,), "reduced": (1, 2, 4)}[source.resolutions]
    return QualitySearch(make_source_codec(source.codec, source.chroma), resolutions=resolutions)


@lru_cache(maxsize=4)
def _calibration(path: str | None) -> Calibration:
    return Calibration.load(_calibration_path(path))


def _calibration_path(path: str | None) -> Path:
    return Path(path).expanduser() if path else zoo.asset(_CALIBRATION)


def _mcs(scheme: spec.SeparationSpec, channel: spec.ChannelBase, num_uses: int) -> Mcs | AdaptiveMcs:
    if scheme.mcs != "adaptive":
        return MCS_TABLES[1 if scheme.mcs_table == "any" else scheme.mcs_table][scheme.mcs]
    table = _calibration(scheme.calibration)
    quality = table.quality_of(make_search(scheme.source).name)
    only = None if scheme.mcs_table == "any" else scheme.mcs_table
    return AdaptiveMcs(table.channel(calibration_key(channel), num_uses), quality, only)


def scheme_files(scheme: spec.SchemeBase) -> dict[str, str]:
    """Digest of every file that decides what a scheme does: weights and link-adaptation tables, by name."""
    if isinstance(scheme, spec.JsccSpec):
        return {scheme.checkpoint: file_digest(zoo.codec_path(scheme.checkpoint))}
    if isinstance(scheme, spec.LinearAnalogSpec):
        return {_BLOCK_KLT: file_digest(zoo.asset(_BLOCK_KLT))}
    if isinstance(scheme, spec.SeparationSpec) and scheme.mcs == "adaptive":
        return {scheme.calibration or _CALIBRATION: file_digest(_calibration_path(scheme.calibration))}
    return {}


def build_scheme(
    scheme: spec.SchemeSpec, channel: spec.ChannelBase, device: torch.device, num_uses: int
) -> Scheme | Bound:
    """The scheme of a specification.

    Args:
        scheme: specification.
        channel: channel that it will run on (link adaptation is per channel).
        device: where networks run.
        num_uses: typical data uses of an image.
    """
    if isinstance(scheme, spec.JsccSpec):
        codec = load_codec(scheme.checkpoint)
        if isinstance(codec, nn.Module):
            codec.to(device)
        return JsccScheme(scheme.name, codec, scheme.csit)
    if isinstance(scheme, spec.LinearAnalogSpec):
        klt = BlockKlt.load(zoo.asset(_BLOCK_KLT))
        linear = LinearAnalogCodec(klt, scale=scheme.scale, design_snr_db=scheme.design_snr_db)
        return JsccScheme(scheme.name, linear, scheme.csit)
    if isinstance(scheme, spec.SeparationSpec):
        return SeparationScheme(
            scheme.name,
            make_search(scheme.source),
            _mcs(scheme, channel, num_uses),
            decoder=scheme.decoder,
            iterations=scheme.decoder_iterations,
            device=device,
        )
    if isinstance(scheme, spec.CapacityBoundSpec):
        return CapacityBound(scheme.name, make_search(scheme.source))
    if isinstance(scheme, spec.FiniteBlocklengthBoundSpec):
        search = make_search(scheme.source)
        return CapacityBound(scheme.name, search, scheme.block_error)
    return UncodedScheme(scheme.name, scheme.bits_per_symbol, device)


# ---------------------------------------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Metrics:
    """Metrics of a run.

    Args:
        image: per image quality.
        count: error counts.
        unavailable: name to reason and cure.
    """

    image: tuple[ImageMetric, ...]
    count: tuple[CountMetric, ...]
    unavailable: dict[str, str]

    def infos(self) -> list[MetricInfo]:
        """Facts of all metrics."""
        return [*(m.info for m in self.image), *(m.info for m in self.count)]


def build_metrics(names: tuple[str, ...], device: torch.device) -> Metrics:
    """Metrics by name; "lpips" means "lpips_alex". What cannot be had is listed, not raised."""
    image: list[ImageMetric] = []
    count: list[CountMetric] = []
    unavailable: dict[str, str] = {}
    simple: dict[str, ImageMetric] = {"psnr": Psnr(), "ssim": Ssim(), "ms_ssim": MsSsim()}
    counting: dict[str, CountMetric] = {"ber": Ber(), "bler": Bler()}
    for name in names:
        if name in simple:
            image.append(simple[name])
        elif name in counting:
            count.append(counting[name])
        else:
            net: Any = name.removeprefix("lpips").removeprefix("_") or "alex"
            try:
                image.append(Lpips(net, "cpu"))
            except MetricUnavailable as problem:
                unavailable[f"lpips_{net}"] = str(problem)
    return Metrics(tuple(image), tuple(count), unavailable)
