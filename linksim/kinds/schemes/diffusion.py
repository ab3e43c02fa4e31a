"""Diffusion behind a JSCC decoder: DiffJSCC, and on the latents of a codec with dials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from channels.checks import complaint
from channels.kinds import kind
from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.fields import Bool, Int, NaturalInt, PathName, Real, Share, SnrDb
from linksim.kinds.needs import need_diffusion
from linksim.kinds.schemes.base import AnalogSchemeBase
from linksim.kinds.schemes.jscc import check_csi
from linksim.kinds.union import KindName
from linksim.weights import zoo

if TYPE_CHECKING:
    from linksim.build.downloads import Download
    from linksim.kinds.context import BuildContext
    from linksim.schemes.base import Scheme

__all__ = ["DiffJsccSpec", "LatentDiffusionSpec"]


@kind("scheme", "diffjscc")
class DiffJsccSpec(AnalogSchemeBase):
    """DiffJSCC: a JSCC codec with a latent diffusion behind its decoder."""

    gpu_share: ClassVar[float] = 0.5

    kind: Literal["diffjscc"]
    checkpoint: PathName = Field(
        description="the authors' folder, a folder of linksim convert diffjscc, or owner/name on a hub"
    )
    sampler: Annotated[str, KindName("sampler")] = Field("ancestral", description="ancestral: the authors'")
    steps: Annotated[Int, Field(ge=1, le=1000)] = Field(100, description="steps of the sampler")
    start: Literal["noise", "condition"] = Field(
        "noise", description="condition: the latent of the initial reconstruction, noised to strength"
    )
    strength: Annotated[Real, Field(gt=0, le=1)] = Field(1.0, description="of start: condition")
    guidance: Annotated[Real, Field(ge=0)] = Field(
        0.0, description="pull toward the initial reconstruction (Λ); the authors' example has 100"
    )
    color_fix: Literal["wavelet", "adain", "none"] = Field(
        "wavelet",
        description="colours of the JSCC picture: low frequencies (wavelet), moments (adain), or none of it",
    )
    caption: PathName = Field(
        "none", description="none, blip2, or an image-to-text model of transformers (folder or owner/name)"
    )
    control_snr_db: SnrDb | None = Field(
        None, description="ablation: tell the control module this SNR, whatever the channel"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the networks; auto: bfloat16 where the device is faster in it, else float32"
    )
    tile: NaturalInt = Field(
        1024, description="pixels (multiple of 32) beyond which the diffusion works on tiles; 0: never"
    )
    compile: Bool = Field(
        False, description="torch.compile: the first pictures of a size take minutes longer"
    )

    @model_validator(mode="after")
    def _strength(self) -> DiffJsccSpec:
        if self.strength < 1 and self.start == "noise":
            raise ValueError(f"strength: got {self.strength:g} with start: noise, expected start: condition.")
        if self.tile % 32 or 0 < self.tile < 256:
            raise ValueError(f"tile: got {self.tile} pixels, expected 0 or a multiple of 32 from 256 on.")
        return self

    def build(self, context: BuildContext) -> Scheme:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        need_diffusion("kind: diffjscc")
        from linksim.build.objects import build_captioner, placed_diffjscc
        from linksim.diffusion.receiver import DiffusionReceiver, SamplerOptions
        from linksim.schemes.diffjscc import DiffJsccScheme
        from linksim.schemes.jscc import JsccScheme
        from linksim.weights.precision import resolve_precision

        assert context.channel is not None
        folder, device = zoo.find_folder(self.checkpoint), context.device
        if not context.weights:
            return self._checked(folder, context.channel)
        key = ("diffjscc", folder, device, self.precision, self.compile)
        codec, model = context.shared.once(key, lambda: placed_diffjscc(folder, device))
        check_csi(self, codec, context.channel)
        dtype = resolve_precision(self.precision, device)
        captioner = context.shared.once(
            ("captioner", self.caption, device, dtype), lambda: build_captioner(self.caption, device, dtype)
        )
        options = SamplerOptions(
            self.sampler, self.steps, self.start, self.strength, self.guidance, self.color_fix, self.tile
        )
        receiver = DiffusionReceiver(model, options, captioner, device=device, dtype=dtype)
        if captioner is not None:
            captioner.prepare()
        if self.compile:
            receiver.compile()
        return DiffJsccScheme(JsccScheme(self.name, codec, self.csit), receiver, self.control_snr_db)

    def _checked(self, folder: Path, channel: ChannelBase) -> Scheme:
        """The codec, behind which every tensor is known to be there and to fit."""
        from linksim.build.objects import load_codec, load_diffjscc
        from linksim.diffusion.model import DiffusionModel
        from linksim.schemes.jscc import JsccScheme

        if (folder / zoo.DIFFJSCC_INDEX).is_file():
            codec = load_codec(str(folder))
            DiffusionModel.check(folder)
        else:
            codec, _ = load_diffjscc(folder)  # memory-mapped
        check_csi(self, codec, channel)
        return JsccScheme(self.name, codec, self.csit)

    def files(self) -> dict[str, str]:
        """Its folder."""
        from linksim.build.checkpoints import tree_digest

        return {self.checkpoint: tree_digest(zoo.find_folder(self.checkpoint))}

    def tools(self, context: BuildContext) -> dict[str, str]:
        """The precision that a device gives it."""
        from linksim.weights.precision import resolve_precision

        precision = resolve_precision(self.precision, context.device)
        return {f"precision of {self.name}": str(precision).removeprefix("torch.")}

    def trained_on(self) -> dict[str, list[str] | None]:
        """Its folder does not say."""
        return {self.name: None}

    def downloads(self) -> list[Download]:
        """Its folder and its captioner, from a hub."""
        from linksim.build.downloads import repository

        return repository(self.name, "checkpoint", self.checkpoint) + self._captioner()

    def _captioner(self) -> list[Download]:
        from linksim.build.downloads import CAPTION, repository

        caption = zoo.CAPTIONER if self.caption == CAPTION else self.caption
        return [] if caption == "none" else repository(self.name, "caption", caption)

    def on_this_machine(self) -> DiffJsccSpec | None:
        """Without captions, where only their model is missing."""
        from linksim.build.downloads import repository

        if repository(self.name, "checkpoint", self.checkpoint):
            return None
        return self.model_copy(update={"caption": "none"}) if self._captioner() else self


@kind("scheme", "latent_diffusion")
class LatentDiffusionSpec(AnalogSchemeBase):
    """A codec with dials, and a diffusion on its latents that goes on where the channel stopped."""

    gpu_share: ClassVar[float] = 0.25

    kind: Literal["latent_diffusion"]
    checkpoint: PathName = Field(description="denoiser: a bundled model (linksim list models), or a file")
    codec: PathName = Field(
        "dial", description="codec whose latents it was trained on: a bundled model, or a file"
    )
    steps: Annotated[Int, Field(ge=1, le=1000)] = Field(4, description="evaluations of the denoiser")
    eta: Share = Field(0.0, description="0: probability flow; 1: samples of the posterior")
    realism: Share = Field(1.0, description="of the decoder behind the diffusion")
    samples: Annotated[Int, Field(ge=1, le=64)] = Field(
        1, description="pictures per frame; from two on, a map of where they differ is kept as a stage"
    )

    def build(self, context: BuildContext) -> Scheme:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`.

        Raises:
            CheckpointError: a denoiser that was trained on the latents of another codec.
        """
        from linksim.build.checkpoints import CheckpointError, weights_digest
        from linksim.build.objects import load_denoiser, shared_dial_codec
        from linksim.schemes.jscc import EncodedPictures
        from linksim.schemes.latent_diffusion import LatentDiffusionOptions, LatentDiffusionScheme

        shared, device = context.shared, str(context.device)  # networks are loaded once for all variants
        codec = shared_dial_codec(context, self.codec)
        denoiser = shared.once(("denoiser", self.checkpoint, device), lambda: load_denoiser(self.checkpoint))
        digest = weights_digest(codec.encoder)
        if digest != denoiser.encoder_digest:
            cure = "Train the denoiser on this codec, or name the codec that it was trained on."
            what = f"{self.checkpoint} was trained on the latents of another encoder"
            raise CheckpointError(
                complaint(f"codec {self.codec}", what, digest, denoiser.encoder_digest, cure)
            )
        options = LatentDiffusionOptions(self.steps, self.eta, self.realism, self.samples)
        network = denoiser.network.to(context.device)
        encoded = shared.once("encoded pictures", EncodedPictures)
        return LatentDiffusionScheme(self.name, codec, network, options, self.csit, encoded)

    def files(self) -> dict[str, str]:
        """Both networks."""
        from linksim.build.checkpoints import place_digest

        return {name: place_digest(zoo.network_path(name)) for name in (self.codec, self.checkpoint)}

    def trained_on(self) -> dict[str, list[str] | None]:
        """As both checkpoints say."""
        from linksim.build.checkpoints import measures_of

        return {self.name: measures_of([zoo.network_path(name) for name in (self.codec, self.checkpoint)])}
