"""Descriptions to objects: checkpoints, shared models, metrics; all else a description builds itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from channels.arithmetic import abs_squared
from channels.base import ChannelOperator
from channels.checks import complaint
from channels.runtime.cache import cache_folder
from channels.seeding import item_seed
from channels.units import snr_db_to_no
from linksim.build.channels import build_channel
from linksim.build.checkpoints import (
    CheckpointError,
    built_with,
    read_checkpoint,
)
from linksim.build.downloads import classifies
from linksim.build.foreign import built, foreign_as_input
from linksim.build.promises import check_metric, check_network, check_source_codec
from linksim.images.sets import ImageSet
from linksim.kinds import find
from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.context import BuildContext, Shared
from linksim.kinds.images import ImagesBase
from linksim.kinds.networks import NetworkBase
from linksim.kinds.schemes.base import SchemeBase
from linksim.kinds.schemes.source import SourceBase
from linksim.metrics.base import (
    CountMetric,
    ImageMetric,
    LinkMetric,
    Metric,
    MetricInfo,
    MetricUnavailable,
    SetMetric,
    StateMetric,
    TaskMetric,
    counts,
)
from linksim.metrics.selection import Selection
from linksim.schemes.base import Bound, Scheme
from linksim.source.quality_search import QualitySearch
from linksim.source.stream_cache import StreamCache
from linksim.weights import zoo
from linksim.weights.pickle_reader import ModelFormatError

if TYPE_CHECKING:  # digital schemes run without any network loaded
    from linksim.diffusion.caption import HubCaptioner
    from linksim.diffusion.model import DiffusionModel
    from linksim.jscc.authors import AuthorsCodec
    from linksim.jscc.dial import DialCodec
    from linksim.jscc.latent_denoiser import LatentDenoiser
    from linksim.schemes.jscc import AnalogCodec

__all__ = [
    "Metrics",
    "build_captioner",
    "build_codec",
    "build_images",
    "build_metrics",
    "build_scheme",
    "load_codec",
    "load_denoiser",
    "load_diffjscc",
    "make_search",
    "placed_diffjscc",
    "sampled_sinrs",
]

log = logging.getLogger("linksim.build.objects")
_NO_POWER = 1e-30
# Frames, and evenly spaced uses of each, from which "outage" and "ergodic" limits know the fading.
_BOUND_FRAMES, _BOUND_USES, _BOUND_CHUNK = 2000, 512, 20


def build_images(images: ImagesBase) -> ImageSet:
    """The set of pictures that a scenario names."""
    with foreign_as_input("images", images, passing=(ValueError,)):
        found = images.build()
    built("images", found, ImageSet, images)
    return found


# ----------------------------------------------------------------------------------------------- codecs


def build_codec(codec: NetworkBase) -> Any:
    """An untrained network.

    Raises:
        ScenarioError: one of other people that fails, or is no :class:`linksim.schemes.jscc.AnalogCodec`.
    """
    with foreign_as_input(f"codec {codec.kind}", codec, passing=(ValueError,)):
        network = codec.build()
    check_network(codec, network)
    return network


def load_codec(checkpoint: str) -> AnalogCodec:
    """A trained network in evaluation mode; see :func:`linksim.weights.zoo.codec_path`."""
    from linksim.jscc.authors import load_authors_checkpoint

    path = zoo.codec_path(checkpoint)
    if path.is_dir():
        return load_authors_checkpoint(path)
    stored = read_checkpoint(path)
    if not stored.codec.is_codec:
        expected = "a codec; a denoiser belongs into checkpoint of kind: latent_diffusion"
        raise CheckpointError(complaint(f"checkpoint {checkpoint}", "no codec", stored.codec.kind, expected))
    codec: Any = built_with(lambda: build_codec(stored.codec), stored.tensors, str(path))
    if hasattr(codec, "highest_snr_db"):
        codec.highest_snr_db = stored.highest_snr_db
    return codec.eval().requires_grad_(False)


def shared_codec(context: BuildContext, checkpoint: str) -> AnalogCodec:
    """A trained network on the device of a run, loaded once for all its schemes; see :func:`load_codec`."""
    from torch import nn

    def load() -> AnalogCodec:
        loaded = load_codec(checkpoint)
        return loaded.to(context.device) if isinstance(loaded, nn.Module) else loaded

    return context.shared.once(("codec", checkpoint, str(context.device)), load)


def shared_dial_codec(context: BuildContext, checkpoint: str) -> DialCodec:
    """A trained codec with dials; see :func:`shared_codec`.

    Raises:
        CheckpointError: another codec.
    """
    from linksim.jscc.dial import DialCodec

    codec = shared_codec(context, checkpoint)
    if not isinstance(codec, DialCodec):
        got = type(codec).__name__
        raise CheckpointError(complaint(f"codec {checkpoint}", "another codec", got, "a dial codec"))
    return codec


@dataclass(frozen=True)
class LoadedDenoiser:
    """A trained denoiser of latents.

    Args:
        network: in evaluation mode.
        encoder_digest: of the encoder whose latents it was trained on.
    """

    network: LatentDenoiser
    encoder_digest: str


def load_denoiser(checkpoint: str) -> LoadedDenoiser:
    """A trained denoiser of latents: a bundled model, or a file.

    Raises:
        CheckpointError: missing, broken, or a codec.
    """
    stored = read_checkpoint(zoo.network_path(checkpoint))
    if stored.codec.kind != "latent_denoiser":
        expected = "a latent_denoiser (made by a training with train_denoiser)"
        raise CheckpointError(
            complaint(f"checkpoint {checkpoint}", "no denoiser", stored.codec.kind, expected)
        )
    network: Any = built_with(stored.codec.build, stored.tensors, checkpoint)
    return LoadedDenoiser(network.eval().requires_grad_(False), str(stored.recipe.get("encoder_digest")))


# ---------------------------------------------------------------------------------------------- schemes


def make_search(source: SourceBase, workers: int = 1, streams: Path | None = None) -> QualitySearch:
    """A source codec with its quality search.

    Args:
        source: description.
        workers: processes that code pictures.
        streams: folder of coded pictures; None: that of the user.
    """
    resolutions = {"full": (1,), "reduced": (1, 2, 4)}[source.resolutions]
    codec = source.build()
    check_source_codec(source, codec)
    measure = None if source.select == "psnr" else Selection(source.select)
    cache = StreamCache(streams or cache_folder("streams"))
    return QualitySearch(codec, cache, resolutions, workers=workers, measure=measure)


def build_scheme(
    scheme: SchemeBase,
    channel: ChannelBase,
    device: torch.device,
    workers: int = 1,
    *,
    weights: bool = True,
    shared: Shared | None = None,
) -> Scheme | Bound:
    """The scheme of a description.

    Args:
        scheme: description.
        channel: channel that it will run on (link adaptation is per channel).
        device: where networks run.
        workers: processes that code pictures.
        weights: False for a check: of a large diffusion behind a codec only the headers are read.
        shared: of a run; None: the scheme has nothing in common with others.
    """
    common = Shared() if shared is None else shared
    return scheme.build(BuildContext(device, "single", channel, workers, weights, shared=common))


def load_diffjscc(folder: Path) -> tuple[AnalogCodec, DiffusionModel]:
    """The JSCC codec and the diffusion of a folder, in the authors' format or in that of linksim convert."""
    from linksim.diffusion.authors.checkpoint import open_authors_checkpoint
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


def placed_diffjscc(folder: Path, device: torch.device) -> tuple[AnalogCodec, DiffusionModel]:
    """:func:`load_diffjscc` with the codec on its device; receivers place the model."""
    codec, model = load_diffjscc(folder)
    if isinstance(codec, nn.Module):
        codec.to(device)
    return codec, model


def build_captioner(name: str, device: torch.device, dtype: torch.dtype) -> HubCaptioner | None:
    """A captioner by its name in scenarios (None for "none"); prepare it once the rest is in memory."""
    from linksim.diffusion.caption import BLIP2, HubCaptioner

    if name == "none":
        return None
    captioner = HubCaptioner(BLIP2 if name == "blip2" else name, device=device, dtype=dtype)
    captioner.find()
    return captioner


def sampled_sinrs(channel: ChannelBase) -> Callable[[int, float], torch.Tensor]:
    """SINR of sampled frames of a channel, [frames, uses] linear, for a number of uses and an SNR [dB]; from
    seeds of its own. What counts as noise is what the frames of a run
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
        task: what readers make of images whose truth is known.
        count: error counts.
        link: facts of the transmission.
        sets: quality of sets of pictures.
        state: counts of what became of pictures.
        unavailable: name to reason and cure.
    """

    image: tuple[ImageMetric, ...]
    task: tuple[TaskMetric, ...]
    count: tuple[CountMetric, ...]
    link: tuple[LinkMetric, ...]
    sets: tuple[SetMetric, ...]
    state: tuple[StateMetric, ...]
    unavailable: dict[str, str]

    def infos(self) -> list[MetricInfo]:
        """Facts of all metrics; whether they are rates follows from their classes."""
        kinds: tuple[Sequence[Metric], ...]
        kinds = (self.image, self.task, self.count, self.link, self.sets, self.state)
        return [replace(m.info, is_rate=counts(type(m))) for kind in kinds for m in kind]


def build_metrics(names: tuple[str, ...], classifier: str | None = None) -> Metrics:
    """Metrics by name, on the CPU; "lpips" means "lpips_alex". What cannot be had is listed, not raised.

    Args:
        names: of metrics.
        classifier: that some of them look through, see ``Scenario.classifier``.
    """
    unavailable: dict[str, str] = {}
    made: list[Metric] = []
    for name in dict.fromkeys("lpips_alex" if name == "lpips" else name for name in names):
        found = find("metric", name)
        try:
            with foreign_as_input(f"metrics.{name}", found):
                chosen = {} if classifier is None or not classifies(name) else {"classifier": classifier}
                metric: Metric = found.make(**chosen)
        except MetricUnavailable as problem:
            unavailable[name] = str(problem)
            continue
        check_metric(found, metric)
        made.append(metric)

    def of(base: Any) -> Any:
        return tuple(metric for metric in made if isinstance(metric, base))

    pictures, tasks, sets = of(ImageMetric), of(TaskMetric), of(SetMetric)
    return Metrics(pictures, tasks, of(CountMetric), of(LinkMetric), sets, of(StateMetric), unavailable)
