"""What recipes begin with, and what can be told about them without their pictures."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from channels.checks import complaint
from channels.seeding import item_seed
from linksim.build.checkpoints import CheckpointError, read_checkpoint
from linksim.build.objects import build_codec, load_codec, load_denoiser
from linksim.images.sets import ImageError
from linksim.jscc.block_klt import fit_block_klt
from linksim.jscc.dial import DialCodec
from linksim.jscc.lean import LeanCodec
from linksim.metrics.distortion import MsSsim
from linksim.scenario.files import ScenarioError
from linksim.scenario.schema import DenoiserTrainScenario, TrainScenario
from linksim.training.data.photographs import Photographs
from linksim.training.objective.losses import Losses
from linksim.weights import zoo

__all__ = ["check_denoiser_recipe", "check_recipe", "dial_codec", "starting_codec"]

_KLT_PICTURES = 4096  # more tell the transform nothing new


def starting_codec(
    scenario: TrainScenario, photographs: Photographs, *, resumed: bool
) -> tuple[nn.Module, list[str]]:
    """Codec that a training begins with, and names of the measures that it was trained on before.

    Args:
        scenario: recipe.
        photographs: of the training, for the transform that a codec may begin with.
        resumed: the weights are read from the state later on.

    Raises:
        ImageError: too few pictures for that transform.
    """
    spec = scenario.train
    inherited: list[str] = []
    if spec.initial is not None and not resumed:
        codec: Any = load_codec(spec.initial)
        path = zoo.codec_path(spec.initial)
        if path.is_file():  # a folder of the authors does not say what it was trained on
            inherited = list(read_checkpoint(path).trained_on or ())
        if spec.codec.kind == "dial" and isinstance(codec, LeanCodec):
            grown: Any = build_codec(spec.codec)
            grown.start_from_klt(_klt(scenario, photographs))
            grown.start_from_lean(codec)
            codec = grown
        codec.highest_snr_db = None  # this training sets it anew
        codec.train().requires_grad_(True)
        assert isinstance(codec, nn.Module)
        return codec, inherited
    torch.manual_seed(item_seed(scenario.seed, "weights", 0, "train") % 2**31)
    codec = build_codec(spec.codec)
    fresh = spec.initial is None and not resumed
    dialled = isinstance(codec, LeanCodec | DialCodec)
    if fresh and dialled and getattr(spec.codec, "klt_start", False):
        codec.start_from_klt(_klt(scenario, photographs))
    assert isinstance(codec, nn.Module)
    return codec.train(), inherited


def _klt(scenario: TrainScenario, photographs: Photographs) -> Any:
    trained = itertools.islice(photographs.training, _KLT_PICTURES)
    try:
        return fit_block_klt(trained, getattr(scenario.train.codec, "latent_channels"))  # noqa: B009
    except ValueError as problem:
        cure = "Use more pictures, or set train.codec.klt_start: false."
        raise ImageError(f"images: {problem} {cure}") from None


def check_recipe(scenario: TrainScenario, *, losses: bool = True) -> None:
    """What can be told about a recipe without its pictures.

    Args:
        scenario: recipe.
        losses: False for a check: weights of losses are not looked for, which may mean a download.

    Raises:
        ScenarioError, CheckpointError: an initial checkpoint that is missing or of another codec.
        MetricUnavailable: a loss whose weights are not to be had.
    """
    spec = scenario.train
    for phase in spec.plan:
        if phase.loss.ms_ssim and phase.crop < MsSsim.info.min_side:
            got, expected = f"{phase.crop} pixels", f"at least {MsSsim.info.min_side} for the MS-SSIM loss"
            raise ScenarioError(complaint("train.crop", "too small", got, expected))
        if losses:
            Losses(phase.loss, torch.device("cpu"))
    if spec.initial is not None:
        try:
            start: Any = load_codec(spec.initial)
        except CheckpointError as problem:
            raise ScenarioError(f"train.initial: {problem}") from None
        if spec.codec.kind == "dial" and isinstance(start, LeanCodec):
            share = getattr(spec.codec, "pilot_share", 0.0)
            if share > 0:
                cure = "Or leave out train.initial."
                message = f"{spec.initial} has no pilot to begin with"
                raise ScenarioError(complaint("train.codec.pilot_share", message, share, 0, cure))
            return
        theirs, mine = (
            {k: tuple(v.shape) for k, v in codec.state_dict().items()}
            for codec in (start, build_codec(spec.codec))
        )
        other = sorted(k for k in {**theirs, **mine} if theirs.get(k) != mine.get(k))
        if other:
            cure = "Give train.codec the sizes of the checkpoint, or leave out train.initial."
            got, expected = (f"{other[0]} of shape {side.get(other[0])}" for side in (theirs, mine))
            raise ScenarioError(complaint("train.initial", "another codec", got, expected, cure))


def dial_codec(checkpoint: str) -> DialCodec:
    """The codec of a checkpoint.

    Raises:
        ScenarioError: a codec of another kind.
    """
    codec = load_codec(checkpoint)
    if not isinstance(codec, DialCodec):
        raise ScenarioError(
            complaint("train_denoiser.codec", "another codec", type(codec).__name__, "a dial codec")
        )
    return codec


def check_denoiser_recipe(scenario: DenoiserTrainScenario) -> DialCodec:
    """What can be told about a recipe without its pictures; returns the codec.

    Raises:
        ScenarioError, CheckpointError: a codec or start that is missing or does not fit.
    """
    spec = scenario.train_denoiser
    try:
        codec = dial_codec(spec.codec)
        if spec.initial is not None:
            load_denoiser(spec.initial)
    except CheckpointError as problem:
        raise ScenarioError(f"train_denoiser: {problem}") from None
    if codec.config.rates != spec.network.rates:
        got, expected = list(spec.network.rates), list(codec.config.rates)
        raise ScenarioError(
            complaint("train_denoiser.network.rates", "not those of the codec", got, expected)
        )
    return codec
