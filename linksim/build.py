"""Specification to object: the only table of kinds.

May import everything below it: scenario, schemes, digital, jscc, metrics, images, channels, zoo, checkpoints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from channels.arithmetic import abs_squared
from channels.base import ChannelOperator
from channels.checks import complaint
from channels.seeding import item_seed
from channels.units import snr_db_to_no
from linksim import scenario as spec
from linksim import zoo
from linksim.build_channel import build_channel, calibration_key, load_calibration
from linksim.checkpoints import file_digest, load_into, read_checkpoint, tree_digest
from linksim.digital.link_adaptation import AdaptiveMcs, Calibration
from linksim.digital.mcs import MCS_TABLES, Mcs
from linksim.digital.quality_search import QualitySearch
from linksim.digital.source_codec import make_source_codec
from linksim.images import Crop, FolderImages, ImageSet, SkimageImages, TarImages
from linksim.metrics.base import CountMetric, ImageMetric, LinkMetric, MetricInfo, MetricUnavailable
from linksim.metrics.distortion import MsSsim, Psnr, Ssim
from linksim.metrics.errors import Ber, Bler
from linksim.metrics.perceptual import Lpips
from linksim.metrics.transmission import Evm, Papr, ReceivedSnr
from linksim.pickle_reader import ModelFormatError
from linksim.schemes.base import Bound, Scheme
from linksim.schemes.bound import BoundRate, SourceBound
from linksim.schemes.separation import Harq, SeparationScheme
from linksim.schemes.uncoded import UncodedScheme

if TYPE_CHECKING:  # digital schemes run without any network loaded
    from linksim.diffusion.caption import HubCaptioner
    from linksim.diffusion.model import DiffusionModel
    from linksim.jscc.authors import AuthorsCodec
    from linksim.jscc.dial import DialCodec
    from linksim.jscc.lean import LeanCodec
    from linksim.schemes.jscc import AnalogCodec

__all__ = [
    "Metrics",
    "build_captioner",
    "build_codec",
    "build_images",
    "build_metrics",
    "build_scheme",
    "load_codec",
    "load_diffjscc",
    "make_search",
    "scheme_files",
    "scheme_tools",
]

log = logging.getLogger("linksim.build")
# Frames, and evenly spaced uses of each, from which "outage" and "ergodic" limits know the fading.
_NO_POWER = 1e-30
_BOUND_FRAMES, _BOUND_USES, _BOUND_CHUNK = 2000, 512, 20
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


# ----------------------------------------------------------------------------------------------- codecs


def build_codec(codec: spec.CodecSpec) -> LeanCodec | DialCodec | AuthorsCodec:
    """An untrained network."""
    from linksim.jscc.authors import make_codec
    from linksim.jscc.cnn_yang2024 import CnnYang2024Config
    from linksim.jscc.dial import DialCodec, DialConfig
    from linksim.jscc.lean import LeanCodec, LeanConfig
    from linksim.jscc.swin_yang2024 import SwinYang2024Config

    if isinstance(codec, spec.DialCodecSpec):
        return DialCodec(DialConfig(**codec.model_dump(exclude={"kind", "klt_start"})))
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
    kind = CnnYang2024Config if isinstance(codec, spec.CnnYang2024Spec) else SwinYang2024Config
    return make_codec(kind(**codec.model_dump(exclude={"kind"})))


def load_codec(checkpoint: str) -> AnalogCodec:
    """A trained network in evaluation mode; see :func:`linksim.zoo.codec_path`."""
    from linksim.jscc.authors import load_authors_checkpoint
    from linksim.jscc.dial import DialCodec
    from linksim.jscc.lean import LeanCodec

    path = zoo.codec_path(checkpoint)
    if path.is_dir():
        return load_authors_checkpoint(path)
    stored = read_checkpoint(path)
    codec = build_codec(stored.codec)
    load_into(codec, stored.tensors, str(path))
    if isinstance(codec, LeanCodec | DialCodec):
        codec.highest_snr_db = stored.highest_snr_db
    return codec.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------------------- schemes


@lru_cache(maxsize=8)
def make_search(source: spec.SourceSpec, workers: int = 1) -> QualitySearch:
    """A source codec with its quality search; one per process and codec, so that streams are shared.

    Args:
        source: specification.
        workers: processes that code pictures.
    """
    resolutions = {"full": (1,), "reduced": (1, 2, 4)}[source.resolutions]
    codec = make_source_codec(source.codec, source.chroma, source.effort)
    return QualitySearch(codec, resolutions=resolutions, workers=workers)


@lru_cache(maxsize=4)
def _calibration(path: str | None) -> Calibration:
    return load_calibration(_calibration_path(path))


def _calibration_path(path: str | None) -> Path:
    return Path(path).expanduser() if path else zoo.asset(_CALIBRATION)


def _mcs(scheme: spec.SeparationSpec, channel: spec.ChannelBase) -> Mcs | AdaptiveMcs:
    if scheme.mcs != "adaptive":
        return MCS_TABLES[1 if scheme.mcs_table == "any" else scheme.mcs_table][scheme.mcs]
    table = _calibration(scheme.calibration)
    lengths = table.lengths(calibration_key(channel))
    used = f"{scheme.decoder.replace('auto', 'layered')}, {scheme.decoder_iterations} iterations"
    measured = lengths[0].decoder
    if used != measured:
        log.warning(
            "schemes.%s: the link-adaptation table was measured with another decoder, got %s, expected %s; "
            "frames may be lost more often than it says",
            *(scheme.name, used, measured),
        )
    by_quality = scheme.policy == "best_quality"
    return AdaptiveMcs(
        lengths,
        table.quality_of(make_search(scheme.source).name) if by_quality else None,
        None if scheme.mcs_table == "any" else scheme.mcs_table,
        scheme.policy,
        scheme.target_bler,
    )


def scheme_tools(scheme: spec.SchemeBase) -> dict[str, str]:
    """Version and effort of the source codec of a digital scheme, by the codec's name."""
    if isinstance(scheme, spec.SeparationSpec | spec.BoundBase):
        codec = make_search(scheme.source).codec
        return {codec.name: codec.version}
    return {}


def scheme_files(scheme: spec.SchemeBase) -> dict[str, str]:
    """Digest of every file that decides what a scheme does: weights and link-adaptation tables, by name."""
    if isinstance(scheme, spec.JsccSpec):
        path = zoo.codec_path(scheme.checkpoint)
        return {scheme.checkpoint: tree_digest(path) if path.is_dir() else file_digest(path)}
    if isinstance(scheme, spec.DiffJsccSpec):
        return {scheme.checkpoint: tree_digest(zoo.find_folder(scheme.checkpoint))}
    if isinstance(scheme, spec.LinearAnalogSpec):
        return {_BLOCK_KLT: file_digest(zoo.asset(_BLOCK_KLT))}
    if isinstance(scheme, spec.SeparationSpec) and scheme.mcs == "adaptive":
        return {scheme.calibration or _CALIBRATION: file_digest(_calibration_path(scheme.calibration))}
    return {}


def build_scheme(
    scheme: spec.SchemeSpec, channel: spec.ChannelBase, device: torch.device, workers: int = 1
) -> Scheme | Bound:
    """The scheme of a specification.

    Args:
        scheme: specification.
        channel: channel that it will run on (link adaptation is per channel).
        device: where networks run.
        workers: processes that code pictures.
    """
    if isinstance(scheme, spec.JsccSpec | spec.LinearAnalogSpec):
        return _build_analog(scheme, channel, device)
    if isinstance(scheme, spec.DiffJsccSpec):
        return _build_diffjscc(scheme, channel, device)
    if isinstance(scheme, spec.SeparationSpec):
        harq = scheme.harq
        return SeparationScheme(
            scheme.name,
            make_search(scheme.source, workers),
            _mcs(scheme, channel),
            harq=Harq(**harq.model_dump()) if harq else None,
            decoder=scheme.decoder,
            iterations=scheme.decoder_iterations,
            device=device,
        )
    if isinstance(scheme, spec.BoundBase):
        return SourceBound(scheme.name, make_search(scheme.source, workers), _bound_rate(scheme, channel))
    return UncodedScheme(scheme.name, scheme.bits_per_symbol, device)


def _check_csi(scheme: spec.JsccSpec | spec.DiffJsccSpec, codec: object, channel: spec.ChannelBase) -> None:
    """A codec that is given the gain of a fade needs one gain per picture, and to be told at both ends.

    Raises:
        ValueError: another channel or another csit.
    """
    if getattr(getattr(codec, "config", None), "csi", "snr") != "snr_h":
        return
    checkpoint = f"the encoder of {scheme.checkpoint} is given SNR and gain"
    if scheme.csit != "perfect":
        raise ValueError(complaint("csit", checkpoint, scheme.csit, "perfect, which says so"))
    flat = isinstance(channel, spec.RayleighSpec | spec.RicianSpec) and channel.coherence_symbols is None
    if not flat and not isinstance(channel, spec.AwgnSpec):
        expected = "awgn, or rayleigh or rician without coherence_symbols: one gain per picture"
        raise ValueError(complaint("checkpoint", checkpoint, spec.channel_name(channel), expected))


def _build_analog(
    scheme: spec.JsccSpec | spec.LinearAnalogSpec, channel: spec.ChannelBase, device: torch.device
) -> Scheme:
    from linksim.schemes.jscc import JsccScheme

    if isinstance(scheme, spec.JsccSpec):
        codec = load_codec(scheme.checkpoint)
        _check_csi(scheme, codec, channel)
        if isinstance(codec, nn.Module):
            codec.to(device)
        return JsccScheme(scheme.name, codec, scheme.csit)
    from linksim.jscc.block_klt import BlockKlt
    from linksim.jscc.linear_analog import LinearAnalogCodec

    klt = BlockKlt.load(zoo.asset(_BLOCK_KLT))
    linear = LinearAnalogCodec(klt, scale=scheme.scale, design_snr_db=scheme.design_snr_db)
    return JsccScheme(scheme.name, linear, scheme.csit)


def load_diffjscc(folder: Path) -> tuple[AnalogCodec, DiffusionModel]:
    """The JSCC codec and the diffusion of a folder, in the authors' format or in that of linksim convert."""
    from linksim.diffusion.diffjscc_checkpoint import open_authors_checkpoint
    from linksim.diffusion.model import DiffusionModel

    if (folder / zoo.DIFFJSCC_INDEX).is_file():
        codec = load_codec(str(folder))
        return codec, DiffusionModel.load(folder)
    if not (folder / "config.yaml").is_file():
        index = zoo.DIFFJSCC_INDEX
        expected = f"config.yaml and model.ckpt of the authors, or {index} of linksim convert diffjscc"
        raise ModelFormatError(
            complaint("checkpoint", "no DiffJSCC model in the folder", folder.absolute(), expected)
        )
    opened = open_authors_checkpoint(folder)
    return authors_codec(folder, opened.tensors), DiffusionModel.from_authors(opened)


def authors_codec(folder: Path, tensors: Mapping[str, torch.Tensor]) -> AuthorsCodec:
    """The JSCC codec of an opened checkpoint in the authors' format."""
    from linksim.jscc.authors import codec_from_authors, read_jscc_config

    return codec_from_authors(read_jscc_config(folder / "config.yaml"), tensors, folder / "model.ckpt")


def _state(folder: Path) -> tuple[object, ...]:
    """Names, sizes and times of the files below a folder."""
    facts = ((str(p), p.stat()) for p in sorted(folder.rglob("*")) if p.is_file())
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in facts)


@lru_cache(maxsize=2)
def _shared_diffjscc(
    folder: Path, state: tuple[object, ...], device: torch.device, precision: str, compiled: bool
) -> tuple[AnalogCodec, DiffusionModel]:
    """A model that several schemes of a scenario have in common, in memory once; ``state`` of its files."""
    codec, model = load_diffjscc(folder)
    if isinstance(codec, nn.Module):
        codec.to(device)
    return codec, model


@lru_cache(maxsize=2)
def build_captioner(name: str, device: torch.device, dtype: torch.dtype) -> HubCaptioner | None:
    """A captioner by its name in scenarios (None for "none"); prepare it once the rest is in memory."""
    from linksim.diffusion.caption import BLIP2, HubCaptioner

    if name == "none":
        return None
    captioner = HubCaptioner(BLIP2 if name == "blip2" else name, device=device, dtype=dtype)
    captioner.find()
    return captioner


def _build_diffjscc(scheme: spec.DiffJsccSpec, channel: spec.ChannelBase, device: torch.device) -> Scheme:
    from linksim.diffusion.receiver import DiffusionReceiver, SamplerOptions
    from linksim.schemes.diffjscc import DiffJsccScheme
    from linksim.schemes.jscc import JsccScheme

    folder = zoo.find_folder(scheme.checkpoint)
    codec, model = _shared_diffjscc(folder, _state(folder), device, scheme.precision, scheme.compile)
    _check_csi(scheme, codec, channel)
    dtype: torch.dtype = getattr(torch, scheme.precision)
    captioner = build_captioner(scheme.caption, device, dtype)
    options = SamplerOptions(
        scheme.sampler,
        scheme.steps,
        scheme.start,
        scheme.strength,
        scheme.guidance,
        scheme.color_fix,
        scheme.tile,
    )
    receiver = DiffusionReceiver(model, options, captioner, device=device, dtype=dtype)
    if captioner is not None:
        captioner.prepare()
    if scheme.compile:
        receiver.compile()
    jscc = JsccScheme(scheme.name, codec, scheme.csit)
    return DiffJsccScheme(jscc, receiver, scheme.control_snr_db)


def _bound_rate(scheme: spec.BoundBase, channel: spec.ChannelBase) -> BoundRate:
    sinrs = None
    if scheme.fading != "realised":
        sinrs = _sinrs(channel.model_copy(update={"name": None}))
    if isinstance(scheme, spec.FiniteBlocklengthBoundSpec):
        return BoundRate(scheme.fading, scheme.block_error, sinrs=sinrs)
    assert isinstance(scheme, spec.CapacityBoundSpec)
    return BoundRate(scheme.fading, None, scheme.outage_probability, sinrs)


@lru_cache(maxsize=16)
def _sinrs(channel: spec.ChannelBase) -> Callable[[int, float], torch.Tensor]:
    """SINR of sampled frames of a channel, [frames, uses] linear, for a number of uses and an SNR [dB]; from
    seeds of its own. What counts as noise is what the frames of a run count: interference, distortion.
    """

    @lru_cache(maxsize=1)
    def built() -> ChannelOperator:  # on first use: rays are not traced for a check
        return build_channel(channel, torch.device("cpu"))

    @lru_cache(maxsize=4)
    def sample(num_uses: int, no: float) -> tuple[torch.Tensor, ...]:
        """|h|² and err_var over it [frames, uses], noise variance [frames, 1] at ``no`` and at twice that."""
        operator = built()
        noise = torch.full((_BOUND_CHUNK, 1), no, dtype=operator.dtype)
        rows = []
        step = -(-num_uses // _BOUND_USES)
        for begin in range(0, _BOUND_FRAMES, _BOUND_CHUNK):
            seeds = [item_seed(0, f"frame {begin + i}", 0, "bound") for i in range(_BOUND_CHUNK)]
            draw = operator.draw(num_uses, seeds)
            csi = operator.limits(draw, noise)
            power = abs_squared(csi.h[:, ::step])
            along = csi.err_var.expand(csi.h.shape)[:, ::step] / power.clamp_min(_NO_POWER)
            rows.append((power, along, csi.no, operator.noise_variance(2 * noise, draw)))
        return tuple(torch.cat(column) for column in zip(*rows, strict=True))

    def sinr(num_uses: int, snr_db: float) -> torch.Tensor:
        no = snr_db_to_no(snr_db)
        at = no if built().gain_depends_on_noise else 1.0
        power, along, once, twice = sample(num_uses, at)
        noise = once + (twice - once) * (no / at - 1)  # all that adds to it does so linearly
        return power / (noise + along * power)

    return sinr


# ---------------------------------------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Metrics:
    """Metrics of a run.

    Args:
        image: per image quality.
        count: error counts.
        link: facts of the transmission.
        unavailable: name to reason and cure.
    """

    image: tuple[ImageMetric, ...]
    count: tuple[CountMetric, ...]
    link: tuple[LinkMetric, ...]
    unavailable: dict[str, str]

    def infos(self) -> list[MetricInfo]:
        """Facts of all metrics."""
        return [*(m.info for m in self.image), *(m.info for m in self.count), *(m.info for m in self.link)]


def build_metrics(names: tuple[str, ...], device: torch.device) -> Metrics:
    """Metrics by name; "lpips" means "lpips_alex". What cannot be had is listed, not raised."""
    image: list[ImageMetric] = []
    count: list[CountMetric] = []
    link: list[LinkMetric] = []
    unavailable: dict[str, str] = {}
    transmission: dict[str, LinkMetric] = {
        "evm": Evm(),
        "papr_db": Papr(),
        "received_snr_db": ReceivedSnr(),
    }
    simple: dict[str, ImageMetric] = {"psnr": Psnr(), "ssim": Ssim(), "ms_ssim": MsSsim()}
    counting: dict[str, CountMetric] = {"ber": Ber(), "bler": Bler()}
    for name in names:
        if name in simple:
            image.append(simple[name])
        elif name in counting:
            count.append(counting[name])
        elif name in transmission:
            link.append(transmission[name])
        else:
            net: Any = name.removeprefix("lpips").removeprefix("_") or "alex"
            try:
                image.append(Lpips(net, "cpu"))
            except MetricUnavailable as problem:
                unavailable[f"lpips_{net}"] = str(problem)
    return Metrics(tuple(image), tuple(count), tuple(link), unavailable)
