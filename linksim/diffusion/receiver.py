"""The diffusion receiver: from the initial reconstruction and the SNR to a realistic picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from channels import seeding
from channels.checks import check_at_least, check_choice, check_range, complaint
from linksim.diffusion.color_fix import ColorFix, fix_color
from linksim.diffusion.model import DiffusionModel
from linksim.diffusion.sampler import Guidance, sample
from linksim.diffusion.text import TextFeatures
from linksim.diffusion.tiles import Tiles
from linksim.kinds import names

__all__ = ["Captioner", "DiffusionReceiver", "SamplerOptions"]

log = logging.getLogger("linksim.diffusion")
Start = Literal["noise", "condition"]
_SLACK_DB = 0.01  # what single precision makes of an SNR at the end of the range


class Captioner(Protocol):
    """Says in words what a picture shows."""

    def __call__(self, image: Tensor) -> list[str]:
        """Captions of images [B, 3, H, W] in [0, 1]."""
        ...


@dataclass(frozen=True)
class SamplerOptions:
    """How latents are sampled.

    Args:
        kind: see :func:`linksim.diffusion.sampler.sample`.
        steps: evaluations of the denoiser.
        start: from pure noise, or from the condition latent noised to ``strength``.
        strength: share of the noise levels gone through, for ``start: condition``.
        guidance: Λ, pull toward the latent of the initial reconstruction; 0 = none.
        color_fix: "wavelet", "adain" or "none".
        tile: side in pixels beyond which autoencoder and denoiser work on overlapping tiles; 0 = never.
    """

    kind: str = "ancestral"
    steps: int = 100
    start: Start = "noise"
    strength: float = 1.0
    guidance: float = 0.0
    color_fix: ColorFix = "wavelet"
    tile: int = 1024

    def __post_init__(self) -> None:
        check_choice("sampler.kind", self.kind, names("sampler"))
        check_at_least("sampler.steps", self.steps, 1)
        check_choice("sampler.start", self.start, ("noise", "condition"))
        check_range("sampler.strength", self.strength, 1e-3, 1.0)
        check_range("sampler.guidance", self.guidance, 0.0, 1e6)
        check_choice("sampler.color_fix", self.color_fix, ("wavelet", "adain", "none"))


class DiffusionReceiver:
    """Turns initial reconstructions into realistic pictures.

    The networks run in the precision of the model; noises, schedule and latents stay in float32.

    Args:
        model: networks.
        options: sampler.
        captioner: makes the text from the initial reconstruction, at the receiver; None = the empty caption.
        device, dtype: where and in what precision the networks run.
    """

    def __init__(
        self,
        model: DiffusionModel,
        options: SamplerOptions | None = None,
        captioner: Captioner | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.options = options or SamplerOptions()
        step = 4 * model.latent_factor  # tiles overlap by a quarter, in pixels and in latents
        if self.options.tile % step or 0 < self.options.tile < 8 * step:
            expected = f"0, or a multiple of {step} pixels from {8 * step} on"
            raise ValueError(complaint("tile", "wrong size", self.options.tile, expected))
        self.device, self.dtype = torch.device(device), dtype
        self.model = model.to(self.device, dtype)
        self._captioner = captioner
        self.text_features = TextFeatures.beside(
            model.text_encoder, model.folder, needed=captioner is not None
        )
        self._warned = False

    def compile(self) -> None:
        """Compile denoiser and control with torch.compile; the first pictures of a size then take minutes."""
        self.model.unet.compile(dynamic=False)
        self.model.control.compile(dynamic=False)

    def outside_training(self, snr_db: Tensor) -> list[bool]:
        """Whether each SNR [B] lies outside of the range that the model was trained for; warned of once."""
        low, high = self.model.snr_db
        outside = [not low - _SLACK_DB <= value <= high + _SLACK_DB for value in snr_db.tolist()]
        if any(outside) and not self._warned:
            self._warned = True
            worst = min(snr_db.tolist()) if min(snr_db.tolist()) < low else max(snr_db.tolist())
            log.warning(
                "diffjscc: SNR outside of the training range, got %.1f dB, expected %g to %g dB; results are "
                "marked with snr_outside_training",
                *(worst, low, high),
            )
        return outside

    @torch.no_grad()
    def __call__(
        self, initial: Tensor, snr_db: Tensor, seeds: Sequence[int], gamma_map: Tensor | None = None
    ) -> Tensor:
        """Pictures from initial reconstructions.

        Args:
            initial: [B, 3, H, W] in [0, 1], any size.
            snr_db: [B] effective SNR [dB].
            seeds: one whole number per image.
            gamma_map: [B, 1, h, w], see :func:`linksim.jscc.csi_embedding.gamma_map`; models that were
                trained with it need it, others do not look at it.

        Returns:
            [B, 3, H, W] float32 in [0, 1].
        """
        initial = initial.to(self.device).float()
        captions = self.captions(initial)
        height, width = initial.shape[2:]
        padded = self._pad(initial)
        condition = self.encode(self.model.condition_vae, padded)
        text = self.text(captions)
        hint = self.hint(condition, gamma_map, (height, width))
        latent = self._sample(padded, condition, hint, text, snr_db.to(self.device), seeds)
        shown = fix_color(self.decode(latent), padded, self.options.color_fix)
        return shown[:, :, :height, :width].clamp(0, 1)

    # ------------------------------------------------------------------------------------- parts

    def _pad(self, image: Tensor) -> Tensor:
        multiple = self.model.image_multiple
        bottom, right = (-side % multiple for side in image.shape[2:])
        mode = "reflect" if bottom < image.shape[2] and right < image.shape[3] else "replicate"
        return F.pad(image, (0, right, 0, bottom), mode=mode) if bottom or right else image

    def _tile(self, vae: Any, size: Sequence[int]) -> None:
        """Let the autoencoder work on tiles (its own, blended) where a picture is larger than a tile."""
        vae.use_tiling = 0 < self.options.tile < max(size)
        vae.tile_sample_min_size = self.options.tile
        vae.tile_latent_min_size = self.options.tile // self.model.latent_factor

    def encode(self, vae: Any, image: Tensor) -> Tensor:
        """Latent (mode, scaled) [B, c, h, w] float32 of images in [0, 1]."""
        self._tile(vae, image.shape[2:])
        mean = vae.encode((2 * image - 1).to(self.dtype)).latent_dist.mode()
        return mean.float() * self.model.vae.config.scaling_factor

    def hint(self, condition: Tensor, gamma_map: Tensor | None, size: tuple[int, int]) -> Tensor:
        """What the control module is shown: the condition latent and, if it was trained so, the SNR map of a
        picture of ``size`` pixels, continued over what was padded.
        """
        if not self.model.gamma_map:
            return condition
        if gamma_map is None:
            raise ValueError(
                complaint("gamma_map", "missing", None, "[B, 1, h, w]", "This model was trained with it.")
            )
        own = [-(-side // self.model.latent_factor) for side in size]
        spread = F.interpolate(gamma_map.to(condition), own, mode="nearest-exact")
        below, right = (whole - part for whole, part in zip(condition.shape[2:], own, strict=True))
        return torch.cat([condition, F.pad(spread, (0, right, 0, below), mode="replicate")], dim=1)

    def decode(self, latent: Tensor) -> Tensor:
        """Images float32, about [0, 1], of latents."""
        self._tile(self.model.vae, [side * self.model.latent_factor for side in latent.shape[2:]])
        scaled = (latent / self.model.vae.config.scaling_factor).to(self.dtype)
        return (self.model.vae.decode(scaled).sample.float() + 1) / 2

    def captions(self, initial: Tensor) -> list[str]:
        """What the captioner says of images [B, 3, H, W]; nothing without one."""
        return [""] * len(initial) if self._captioner is None else self._captioner(initial)

    def text(self, captions: Sequence[str]) -> Tensor:
        """Embeddings [B, L, d] of captions."""
        return self.text_features(captions).to(self.dtype)

    def predict(self, z: Tensor, t: int, text: Tensor, hint: Tensor, label: Tensor) -> Tensor:
        """Eps [B, c, h, w] float32 of the denoiser with its control."""
        times = torch.full((len(z),), t, device=z.device)
        z = z.to(self.dtype)
        down, middle = self.model.control(
            z,
            times,
            encoder_hidden_states=text,
            controlnet_cond=hint.to(self.dtype),
            class_labels=label,
            return_dict=False,
        )
        eps = self.model.unet(
            z,
            times,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return eps.float()

    def _sample(
        self,
        padded: Tensor,
        condition: Tensor,
        hint: Tensor,
        text: Tensor,
        snr_db: Tensor,
        seeds: Sequence[int],
    ) -> Tensor:
        options, model = self.options, self.model
        label = (model.snr_scale * snr_db - model.min_snr).float()
        shape = condition.shape[1:]

        def noise(step: int) -> Tensor:
            rows = [seeding.real_normal(shape, seeding.derived_seed(s, f"step {step}")) for s in seeds]
            return torch.stack(rows).to(self.device)

        tiles = Tiles(tuple(condition.shape[2:]), options.tile // model.latent_factor)

        def predict(z: Tensor, t: int) -> Tensor:
            return tiles.blend(lambda cut: self.predict(cut(z), t, text, cut(hint), label))

        guidance = None
        if options.guidance > 0:
            target = condition if model.condition_vae is model.vae else self.encode(model.vae, padded)
            guidance = Guidance(target, options.guidance)
        from_noise = options.start == "noise"
        start = noise(-2) if from_noise else condition
        strength = None if from_noise else options.strength
        return sample(options.kind, predict, model.schedule, options.steps, start, noise, guidance, strength)
