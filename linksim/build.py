"""Specification to object: the only table of kinds.

May import everything below it: scenario, schemes, digital, jscc, metrics, images, channels, zoo, checkpoints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from channels.arithmetic import abs_squared
from channels.base import ChannelOperator
from channels.cache import cache_folder
from channels.checks import complaint
from channels.seeding import item_seed
from channels.units import snr_db_to_no
from linksim import scenario as spec
from linksim import zoo
from linksim.build_channel import build_channel, calibration_key, channel_files, load_calibration
from linksim.checkpoints import (
    CheckpointError,
    check_tensors,
    file_digest,
    load_into,
    read_checkpoint,
    tree_digest,
    weights_digest,
)
from linksim.digital.link_adaptation import AdaptiveMcs, Calibration, too_few_blocks
from linksim.digital.mcs import MCS_TABLES, Mcs
from linksim.digital.quality_search import QualitySearch
from linksim.digital.source_codec import make_source_codec
from linksim.digital.stream_cache import StreamCache
from linksim.images import Crop, FolderImages, ImageError, ImageSet, SkimageImages, TarImages
from linksim.metrics.base import (
    CountMetric,
    ImageMetric,
    LinkMetric,
    MetricInfo,
    MetricUnavailable,
    SetMetric,
)
from linksim.metrics.distortion import MsSsim, Psnr, Ssim
from linksim.metrics.errors import Ber, Bler, Outage
from linksim.metrics.niqe import Niqe
from linksim.metrics.perceptual import Lpips
from linksim.metrics.realism import KidLite2
from linksim.metrics.selection import Selection
from linksim.metrics.similarity import PIQ_METRICS, PiqMetric
from linksim.metrics.spectrum import OCTAVES, SlicedWasserstein, SpectrumError
from linksim.metrics.transmission import Evm, Papr, ReceivedSnr
from linksim.pickle_reader import ModelFormatError
from linksim.places import looked_at, place
from linksim.precision import resolve_precision
from linksim.schemes.base import Bound, Scheme
from linksim.schemes.bound import BoundRate, SourceBound

if TYPE_CHECKING:  # digital schemes run without any network loaded
    from linksim.diffusion.caption import HubCaptioner
    from linksim.diffusion.model import DiffusionModel
    from linksim.jscc.authors import AuthorsCodec
    from linksim.jscc.dial import DialCodec
    from linksim.jscc.latent_denoiser import LatentDenoiser
    from linksim.jscc.lean import LeanCodec
    from linksim.schemes.jscc import AnalogCodec

__all__ = [
    "Metrics",
    "build_captioner",
    "build_codec",
    "build_denoiser",
    "build_images",
    "build_metrics",
    "build_scheme",
    "load_codec",
    "load_denoiser",
    "load_diffjscc",
    "make_search",
    "scheme_files",
    "scheme_tools",
    "scheme_trained_on",
    "uses_gain",
]

log = logging.getLogger("linksim.build")
_NO_POWER = 1e-30
# Frames, and evenly spaced uses of each, from which "outage" and "ergodic" limits know the fading.
_BOUND_FRAMES, _BOUND_USES, _BOUND_CHUNK = 2000, 512, 20
_BLOCK_KLT, _CALIBRATION = "block-klt-16.safetensors", "mcs-calibration.json"


def build_images(images: spec.ImagesSpec) -> ImageSet:
    """The set of pictures that a scenario names."""
    height, width = images.crop or (None, None)
    crop = Crop(height, width, images.multiple_of)
    if isinstance(images, spec.FolderImagesSpec):
        folder = place(images.path)
        if not folder.is_dir():
            cure = "Give another one with --set images.path=/where/they/are."
            got, expected = looked_at(images.path), "a folder of pictures"
            raise ImageError(complaint("images.path", "no such folder", got, expected, cure))
        return FolderImages(folder, crop, images.convert, images.limit)
    if isinstance(images, spec.TarImagesSpec):
        for path in images.paths:
            if not place(path).is_file():
                got, expected = looked_at(path), "an uncompressed tar file of pictures"
                raise ImageError(complaint("images.paths", "no such file", got, expected))
        return TarImages([place(path) for path in images.paths], crop, images.convert, images.limit)
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
    if isinstance(stored.codec, spec.LatentDenoiserSpec):
        expected = "a codec; a denoiser belongs into checkpoint of kind: latent_diffusion"
        raise CheckpointError(complaint(f"checkpoint {checkpoint}", "no codec", stored.codec.kind, expected))
    with torch.device("meta"):  # a header may announce any sizes
        check_tensors(build_codec(stored.codec), stored.tensors, str(path))
    codec = build_codec(stored.codec)
    load_into(codec, stored.tensors, str(path))
    if isinstance(codec, LeanCodec | DialCodec):
        codec.highest_snr_db = stored.highest_snr_db
    return codec.eval().requires_grad_(False)


@dataclass(frozen=True)
class LoadedDenoiser:
    """A trained denoiser of latents.

    Args:
        network: in evaluation mode.
        encoder_digest: of the encoder whose latents it was trained on.
    """

    network: LatentDenoiser
    encoder_digest: str


def build_denoiser(network: spec.LatentDenoiserSpec) -> LatentDenoiser:
    """An untrained denoiser."""
    from linksim.jscc.latent_denoiser import LatentDenoiser, LatentDenoiserConfig

    return LatentDenoiser(LatentDenoiserConfig(**network.model_dump(exclude={"kind"})))


def load_denoiser(checkpoint: str) -> LoadedDenoiser:
    """A trained denoiser of latents: a bundled model, or a file.

    Raises:
        CheckpointError: missing, broken, or a codec.
    """
    stored = read_checkpoint(zoo.network_path(checkpoint))
    if not isinstance(stored.codec, spec.LatentDenoiserSpec):
        expected = "a latent_denoiser (made by a training with train_denoiser)"
        raise CheckpointError(
            complaint(f"checkpoint {checkpoint}", "no denoiser", stored.codec.kind, expected)
        )
    with torch.device("meta"):
        check_tensors(build_denoiser(stored.codec), stored.tensors, checkpoint)
    network = build_denoiser(stored.codec)
    load_into(network, stored.tensors, checkpoint)
    return LoadedDenoiser(network.eval().requires_grad_(False), str(stored.recipe.get("encoder_digest")))


# ---------------------------------------------------------------------------------------------- schemes


def make_search(source: spec.SourceSpec, workers: int = 1) -> QualitySearch:
    """A source codec with its quality search; one per process, codec and cache, so that streams are shared.

    Args:
        source: specification.
        workers: processes that code pictures.
    """
    return _search(source, workers, cache_folder("streams"))


@lru_cache(maxsize=8)
def _search(source: spec.SourceSpec, workers: int, folder: Path) -> QualitySearch:
    resolutions = {"full": (1,), "reduced": (1, 2, 4)}[source.resolutions]
    codec = make_source_codec(source.codec, source.chroma, source.effort)
    measure = None if source.select == "psnr" else Selection(source.select)
    return QualitySearch(codec, StreamCache(folder), resolutions, workers=workers, measure=measure)


@lru_cache(maxsize=4)
def _calibration(path: Path, digest: str) -> Calibration:
    return load_calibration(path)


def _calibration_path(path: str | None) -> Path:
    return place(path) if path else zoo.asset(_CALIBRATION)


def _mcs(scheme: spec.SeparationSpec, channel: spec.ChannelBase) -> Mcs | AdaptiveMcs:
    if scheme.mcs != "adaptive":
        return MCS_TABLES[1 if scheme.mcs_table == "any" else scheme.mcs_table][scheme.mcs]
    path = _calibration_path(scheme.calibration)
    table = _calibration(path, file_digest(path))
    lengths = table.lengths(calibration_key(channel, scheme))
    used = f"{scheme.decoder.replace('auto', 'layered')}, {scheme.decoder_iterations} iterations"
    measured = lengths[0].decoder
    if used != measured:
        log.warning(
            "schemes.%s: the link-adaptation table was measured with another decoder, got %s, expected %s; "
            "frames may be lost more often than it says",
            *(scheme.name, used, measured),
        )
    fewest = min(curve.num_blocks for length in lengths for curve in length.curves)
    few = too_few_blocks(fewest, scheme.target_bler if scheme.policy == "target_bler" else None)
    if few:
        log.warning("schemes.%s: the link-adaptation table was measured with %s", scheme.name, few)
    by_quality = scheme.policy == "best_quality"
    return AdaptiveMcs(
        lengths,
        table.quality_of(make_search(scheme.source).name) if by_quality else None,
        None if scheme.mcs_table == "any" else scheme.mcs_table,
        scheme.policy,
        scheme.target_bler,
    )


def scheme_tools(scheme: spec.SchemeBase, device: torch.device) -> dict[str, str]:
    """Version and effort of the source codec of a digital scheme, by the codec's name; and the metric that it
    selects by, with the digest of its weights; the precision that a device gives a diffusion.

    Raises:
        MetricUnavailable: weights that cannot be had.
    """
    if isinstance(scheme, spec.DiffJsccSpec):
        precision = resolve_precision(scheme.precision, device)
        return {f"precision of {scheme.name}": str(precision).removeprefix("torch.")}
    if not isinstance(scheme, spec.SeparationSpec | spec.BoundBase):
        return {}
    search = make_search(scheme.source)
    tools = {search.codec.name: search.codec.version}
    if search.measure is not None:
        try:
            tools[f"select {search.measure.name}"] = search.measure.reference
        except MetricUnavailable as problem:
            cure = "Without them take select: psnr."
            raise MetricUnavailable(f"schemes.{scheme.name}.source.select: {problem} {cure}") from None
    return tools


def scheme_files(scheme: spec.SchemeBase) -> dict[str, str]:
    """Digest of every file that decides what a scheme does: weights and link-adaptation tables, by name."""
    if isinstance(scheme, spec.JsccSpec):
        path = zoo.codec_path(scheme.checkpoint)
        return {scheme.checkpoint: tree_digest(path) if path.is_dir() else file_digest(path)}
    if isinstance(scheme, spec.LatentDiffusionSpec):
        names = (scheme.codec, scheme.checkpoint)
        return {name: file_digest(zoo.network_path(name)) for name in names}
    if isinstance(scheme, spec.DiffJsccSpec):
        return {scheme.checkpoint: tree_digest(zoo.find_folder(scheme.checkpoint))}
    if isinstance(scheme, spec.LinearAnalogSpec):
        return {_BLOCK_KLT: file_digest(zoo.asset(_BLOCK_KLT))}
    if isinstance(scheme, spec.SeparationSpec) and scheme.mcs == "adaptive":
        return {scheme.calibration or _CALIBRATION: file_digest(_calibration_path(scheme.calibration))}
    return {}


def scheme_trained_on(scheme: spec.SchemeBase) -> dict[str, list[str] | None]:
    """Quality measures that the network of a scheme was trained on, by the scheme's name; None where its
    checkpoint does not say; nothing for schemes without a trained network.
    """
    if isinstance(scheme, spec.DiffJsccSpec):  # its folder does not say
        return {scheme.name: None}
    paths = []
    if isinstance(scheme, spec.JsccSpec):
        paths = [zoo.codec_path(scheme.checkpoint)]
    elif isinstance(scheme, spec.LatentDiffusionSpec):
        paths = [zoo.network_path(name) for name in (scheme.codec, scheme.checkpoint)]
    found = [None if path.is_dir() else read_checkpoint(path).trained_on for path in paths]
    if not found:
        return {}
    known = [measures for measures in found if measures is not None]
    whole = sorted({name for measures in known for name in measures})
    return {scheme.name: whole if len(known) == len(found) else None}


def build_scheme(
    scheme: spec.SchemeSpec,
    channel: spec.ChannelBase,
    device: torch.device,
    workers: int = 1,
    *,
    weights: bool = True,
) -> Scheme | Bound:
    """The scheme of a specification.

    Args:
        scheme: specification.
        channel: channel that it will run on (link adaptation is per channel).
        device: where networks run.
        workers: processes that code pictures.
        weights: False for a check: of a large diffusion behind a codec only the headers are read.
    """
    if isinstance(scheme, spec.JsccSpec | spec.LinearAnalogSpec):
        return _build_analog(scheme, channel, device)
    if isinstance(scheme, spec.DiffJsccSpec) and not weights:
        return _check_diffjscc(scheme, channel)
    if isinstance(scheme, spec.DiffJsccSpec):
        return _build_diffjscc(scheme, channel, device)
    if isinstance(scheme, spec.LatentDiffusionSpec):
        return _build_latent_diffusion(scheme, device)
    if isinstance(scheme, spec.SeparationSpec):
        from linksim.schemes.separation import Harq, SeparationScheme

        harq = scheme.harq
        return SeparationScheme(
            scheme.name,
            make_search(scheme.source, workers),
            _mcs(scheme, channel),
            csit=scheme.csit,
            harq=Harq(**harq.model_dump()) if harq else None,
            decoder=scheme.decoder,
            iterations=scheme.decoder_iterations,
            device=device,
        )
    if isinstance(scheme, spec.BoundBase):
        return SourceBound(scheme.name, make_search(scheme.source, workers), _bound_rate(scheme, channel))
    from linksim.schemes.uncoded import UncodedScheme

    return UncodedScheme(scheme.name, scheme.bits_per_symbol, device)


def uses_gain(codec: object) -> bool:
    """Whether the encoder of a codec makes anything of the gain of the channel (csit: perfect)."""
    return getattr(getattr(codec, "config", None), "csi", "snr") == "snr_h"


def _check_csi(scheme: spec.JsccSpec | spec.DiffJsccSpec, codec: object, channel: spec.ChannelBase) -> None:
    """A codec that is given the gain of a fade needs one gain per picture, and to be told at both ends; one
    that is not makes nothing of a gain.

    Raises:
        ValueError: another channel or another csit.
    """
    if not uses_gain(codec):
        if scheme.csit == "perfect":
            what = f"has no effect: the encoder of {scheme.checkpoint} makes nothing of the gain"
            raise ValueError(complaint("csit", what, scheme.csit, "none, average_snr or instantaneous_snr"))
        return
    checkpoint = f"the encoder of {scheme.checkpoint} is given SNR and gain"
    if scheme.csit != "perfect":
        raise ValueError(complaint("csit", checkpoint, scheme.csit, "perfect, which says so"))
    flat = isinstance(channel, spec.RayleighSpec | spec.RicianSpec) and channel.coherence_symbols is None
    if not flat and not isinstance(channel, spec.AwgnSpec):
        expected = "awgn, or rayleigh or rician without coherence_symbols: one gain per picture"
        raise ValueError(complaint("checkpoint", checkpoint, spec.channel_name(channel), expected))


def _dialled(codec: AnalogCodec, scheme: spec.JsccSpec) -> AnalogCodec:
    """The codec at the realism that a scheme asks for.

    Raises:
        ValueError: a codec without that dial.
    """
    from linksim.jscc.dial import DialCodec

    if scheme.realism is None:
        return codec
    if not isinstance(codec, DialCodec):
        cure = "Leave it out, or take a checkpoint of codec dial."
        message = f"the codec of {scheme.checkpoint} has no such dial"
        raise ValueError(complaint("realism", message, f"{scheme.realism:g}", "none", cure))
    return codec.at(scheme.realism)


def _build_analog(
    scheme: spec.JsccSpec | spec.LinearAnalogSpec, channel: spec.ChannelBase, device: torch.device
) -> Scheme:
    from linksim.schemes.jscc import JsccScheme

    if isinstance(scheme, spec.JsccSpec):
        codec = load_codec(scheme.checkpoint)
        _check_csi(scheme, codec, channel)
        if isinstance(codec, nn.Module):
            codec.to(device)
        return JsccScheme(scheme.name, _dialled(codec, scheme), scheme.csit)
    from linksim.jscc.block_klt import BlockKlt
    from linksim.jscc.linear_analog import LinearAnalogCodec
    from linksim.schemes.repetition import RepeatingCodec

    klt = BlockKlt.load(zoo.asset(_BLOCK_KLT))
    linear = LinearAnalogCodec(klt, scale=scheme.scale, design_snr_db=scheme.design_snr_db)
    return JsccScheme(scheme.name, RepeatingCodec(linear), scheme.csit)


def _build_latent_diffusion(scheme: spec.LatentDiffusionSpec, device: torch.device) -> Scheme:
    """Raises CheckpointError for a denoiser that was trained on the latents of another codec."""
    from linksim.jscc.dial import DialCodec
    from linksim.schemes.latent_diffusion import LatentDiffusionOptions, LatentDiffusionScheme

    codec, denoiser = load_codec(scheme.codec), load_denoiser(scheme.checkpoint)
    if not isinstance(codec, DialCodec):
        got = type(codec).__name__
        raise CheckpointError(complaint(f"codec {scheme.codec}", "another codec", got, "a dial codec"))
    digest = weights_digest(codec.encoder)
    if digest != denoiser.encoder_digest:
        cure = "Train the denoiser on this codec, or name the codec that it was trained on."
        what = f"{scheme.checkpoint} was trained on the latents of another encoder"
        raise CheckpointError(complaint(f"codec {scheme.codec}", what, digest, denoiser.encoder_digest, cure))
    options = LatentDiffusionOptions(scheme.steps, scheme.eta, scheme.realism, scheme.samples)
    network = denoiser.network.to(device)
    return LatentDiffusionScheme(scheme.name, codec.to(device), network, options, scheme.csit)


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
    dtype = resolve_precision(scheme.precision, device)
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


def _check_diffjscc(scheme: spec.DiffJsccSpec, channel: spec.ChannelBase) -> Scheme:
    """The codec of a DiffJSCC model, behind which every tensor is known to be there and to fit."""
    from linksim.diffusion.model import DiffusionModel
    from linksim.schemes.jscc import JsccScheme

    folder = zoo.find_folder(scheme.checkpoint)
    if (folder / zoo.DIFFJSCC_INDEX).is_file():
        codec = load_codec(str(folder))
        DiffusionModel.check(folder)
    else:
        codec, _ = load_diffjscc(folder)  # memory-mapped
    _check_csi(scheme, codec, channel)
    return JsccScheme(scheme.name, codec, scheme.csit)


def _bound_rate(scheme: spec.BoundBase, channel: spec.ChannelBase) -> BoundRate:
    sinrs = None
    if scheme.fading != "realised":
        sinrs = _sinrs(channel.model_copy(update={"name": None}), tuple(channel_files(channel).items()))
    if isinstance(scheme, spec.FiniteBlocklengthBoundSpec):
        return BoundRate(scheme.fading, scheme.block_error, sinrs=sinrs)
    assert isinstance(scheme, spec.CapacityBoundSpec)
    return BoundRate(scheme.fading, None, scheme.outage_probability, sinrs)


@lru_cache(maxsize=16)
def _sinrs(
    channel: spec.ChannelBase, files: tuple[tuple[str, str], ...] = ()
) -> Callable[[int, float], torch.Tensor]:
    """SINR of sampled frames of a channel with these ``files`` (by digest), [frames, uses] linear, for a
    number of uses and an SNR [dB]; from seeds of its own. What counts as noise is what the frames of a run
    count: interference, distortion.
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
        sets: quality of sets of pictures.
        state: counts of what became of pictures.
        unavailable: name to reason and cure.
    """

    image: tuple[ImageMetric, ...]
    count: tuple[CountMetric, ...]
    link: tuple[LinkMetric, ...]
    sets: tuple[SetMetric, ...]
    state: tuple[Outage, ...]
    unavailable: dict[str, str]

    def infos(self) -> list[MetricInfo]:
        """Facts of all metrics."""
        kinds = (self.image, self.count, self.link, self.sets, self.state)
        return [m.info for kind in kinds for m in kind]


_IMAGE_METRICS: dict[str, Callable[[], ImageMetric]] = {
    "psnr": Psnr,
    "ssim": Ssim,
    "ms_ssim": MsSsim,
    **{name: partial(PiqMetric, name) for name in PIQ_METRICS},
    "spectrum_db": SpectrumError,
    "swd": SlicedWasserstein,
    **{f"swd_{octave}": partial(SlicedWasserstein, octave) for octave in range(1, OCTAVES + 1)},
    "niqe": Niqe,
    "lpips_alex": partial(Lpips, "alex"),
    "lpips_vgg": partial(Lpips, "vgg"),
    "lpips_squeeze": partial(Lpips, "squeeze"),
}
_COUNT_METRICS: dict[str, Callable[[], CountMetric]] = {"ber": Ber, "bler": Bler}
_LINK_METRICS: dict[str, Callable[[], LinkMetric]] = {
    "evm": Evm,
    "papr_db": Papr,
    "received_snr_db": ReceivedSnr,
}
_SET_METRICS: dict[str, Callable[[], SetMetric]] = {"kid_lite2": KidLite2}
_STATE_METRICS: dict[str, Callable[[], Outage]] = {"outage": Outage}


def build_metrics(names: tuple[str, ...]) -> Metrics:
    """Metrics by name, on the CPU; "lpips" means "lpips_alex". What cannot be had is listed, not raised."""
    unavailable: dict[str, str] = {}
    names = tuple("lpips_alex" if name == "lpips" else name for name in names)

    def made(table: Mapping[str, Callable[[], Any]]) -> Iterator[Any]:
        for name in names:
            if name in table:
                try:
                    yield table[name]()
                except MetricUnavailable as problem:
                    unavailable[name] = str(problem)

    tables = (_IMAGE_METRICS, _COUNT_METRICS, _LINK_METRICS, _SET_METRICS, _STATE_METRICS)
    image, count, link, sets, state = (tuple(made(table)) for table in tables)
    return Metrics(image, count, link, sets, state, unavailable)
