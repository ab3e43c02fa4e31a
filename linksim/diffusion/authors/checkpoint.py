"""The authors' DiffJSCC checkpoints as stock diffusers and transformers models, strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from channels.checks import complaint
from linksim.diffusion.authors.config import AuthorsConfig, read_authors_config
from linksim.diffusion.authors.names import control_names, text_names, unet_names, vae_names
from linksim.diffusion.hint import hint_tensors
from linksim.weights.pickle_reader import ModelFormatError, read_tensors

__all__ = ["AuthorsCheckpoint", "open_authors_checkpoint"]

_UNET, _CONTROL, _VAE = "model.diffusion_model.", "control_model.", "first_stage_model."
_CONDITION, _TEXT, JSCC = "cond_encoder.", "cond_stage_model.model.", "preprocess_model."
_CAPTIONER = "blip_model."  # in checkpoints of one's own training; captioners are loaded by their own name
# Tensors that say nothing that is not known otherwise: the noise schedule, parts of the text tower that its
# penultimate layer does not use, and counters.
_REDUNDANT = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "posterior_variance"),
    *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod"),
    *("sqrt_recipm1_alphas_cumprod", "posterior_log_variance_clipped", "posterior_mean_coef1"),
    *("posterior_mean_coef2", "logvar", "lvlb_weights", "scale_factor"),
    *(f"{_TEXT}{name}" for name in ("logit_scale", "text_projection", "attn_mask")),
)
_START_TOKENS = 2  # start and end of text are the last two of the vocabulary


@dataclass(frozen=True)
class AuthorsCheckpoint:
    """An opened checkpoint: sizes, and tensors that are still on the disk.

    Args:
        config: sizes.
        tensors: by the authors' names.
        where: for messages.
    """

    config: AuthorsConfig
    tensors: Mapping[str, Tensor]
    where: Path

    def unet(self) -> UNet2DConditionModel:
        """The frozen denoiser."""
        return self._filled(UNet2DConditionModel, self.config.unet_config, dict(self._unet_tensors()))

    def _unet_tensors(self) -> Iterator[tuple[str, Tensor]]:
        for theirs, ours in unet_names(self.config.unet).items():
            yield ours, self.tensors[_UNET + theirs]

    def control(self) -> ControlNetModel:
        """The control module, its class embedding being that of the SNR.

        The authors convolve [z, hint] together: the first input channels are ``conv_in``, the others the
        hint's own convolution (:mod:`linksim.diffusion.hint`).
        """
        first = self.tensors[f"{_CONTROL}input_blocks.0.0.weight"]
        latent = int(self.config.control_config["in_channels"])
        tensors = {ours: self.tensors[_CONTROL + t] for t, ours in control_names(self.config.unet).items()}
        tensors |= {
            "conv_in.weight": first[:, :latent],
            "conv_in.bias": self.tensors[f"{_CONTROL}input_blocks.0.0.bias"],
            **hint_tensors(first[:, latent:]),
        }
        return self._filled(ControlNetModel, self.config.control_config, tensors)

    def vae(self) -> AutoencoderKL:
        """The autoencoder."""
        names = vae_names(self.config.vae)
        tensors = {ours: self._vae_tensor(_VAE + theirs) for theirs, ours in names.items()}
        return self._filled(AutoencoderKL, self.config.vae_config, tensors)

    def condition_vae(self) -> AutoencoderKL | None:
        """An autoencoder with the encoder of the condition, or None where that is a copy of the other one (as
        in all that are published).
        """
        encoder = vae_names(self.config.vae, encoder_only=True)
        if all(torch.equal(self.tensors[_CONDITION + t], self.tensors[_VAE + t]) for t in encoder):
            return None
        names = vae_names(self.config.vae)
        tensors = {o: self._vae_tensor((_CONDITION if t in encoder else _VAE) + t) for t, o in names.items()}
        return self._filled(AutoencoderKL, self.config.vae_config, tensors)

    def _vae_tensor(self, name: str) -> Tensor:
        value = self.tensors[name]
        return value[:, :, 0, 0] if ".attn_1." in name and value.dim() == 4 else value

    def text_encoder(self) -> CLIPTextModel:
        """The text tower without its last layer: what the penultimate layer says, then the final norm."""
        layers = text_layers(self.tensors) - 1
        vocabulary, width = self.tensors[f"{_TEXT}token_embedding.weight"].shape
        config = CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=self.tensors[f"{_TEXT}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            num_hidden_layers=layers,
            num_attention_heads=text_heads(width),
            max_position_embeddings=self.tensors[f"{_TEXT}positional_embedding"].shape[0],
            hidden_act="gelu",
            projection_dim=width,
            bos_token_id=vocabulary - _START_TOKENS,
            eos_token_id=vocabulary - 1,
            pad_token_id=0,
        )
        tensors: dict[str, Tensor] = {}
        for theirs, ours in text_names(layers).items():
            value = self.tensors[_TEXT + theirs]
            if "{qkv}" in ours:
                tensors |= {
                    ours.format(qkv=letter): part for letter, part in zip("qkv", value.chunk(3), strict=True)
                }
            else:
                tensors[ours] = value
        with torch.device("meta"):
            model: Any = CLIPTextModel(config)
        if "embeddings.token_embedding.weight" not in model.state_dict():  # transformers 4
            tensors = {f"text_model.{name}": value for name, value in tensors.items()}
        model.load_state_dict(tensors, strict=True, assign=True)
        for name, buffer in list(model.named_buffers()):  # position numbers, not stored
            if buffer.is_meta:
                owner = model.get_submodule(name.rpartition(".")[0])
                positions = torch.arange(config.max_position_embeddings)[None]
                owner.register_buffer(name.rpartition(".")[2], positions, persistent=False)
        return model.eval().requires_grad_(False)

    @staticmethod
    def _filled(kind: type[Any], config: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
        with torch.device("meta"):
            model: nn.Module = kind(**config)
        model.load_state_dict(tensors, strict=True, assign=True)
        return model.eval().requires_grad_(False)

    def check(self) -> None:
        """Compare every tensor with what the sizes ask for.

        Raises:
            ModelFormatError: tensors missing, unknown or misshapen.
        """
        known = self._expected_shapes()
        missing = [name for name in known if name not in self.tensors]
        unknown = [name for name in self.tensors if not self._has_a_place(name, known)]
        misshapen = [
            f"{name} {tuple(self.tensors[name].shape)} instead of {tuple(shape)}"
            for name, shape in known.items()
            if name in self.tensors and shape is not None and tuple(self.tensors[name].shape) != tuple(shape)
        ]
        problems = [
            *(f"missing {n}" for n in missing),
            *(f"unknown {n}" for n in unknown),
            *(f"misshapen {n}" for n in misshapen),
        ]
        if problems:
            shown = "; ".join(problems[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
            expected = f"the {len(known)} tensors that config.yaml describes"
            raise ModelFormatError(complaint(str(self.where), "tensors do not fit", shown, expected))

    def _has_a_place(self, name: str, known: Mapping[str, Any]) -> bool:
        last = f"{_TEXT}transformer.resblocks.{text_layers(self.tensors) - 1}."
        return (
            name in known
            or name in _REDUNDANT
            or name.startswith((last, JSCC, _CAPTIONER))  # the JSCC codec checks its own
        )

    def _expected_shapes(self) -> dict[str, torch.Size | None]:
        """Shapes by the authors' names; None where the shape follows from others (text tower)."""
        c = self.config
        with torch.device("meta"):
            unet = UNet2DConditionModel(**c.unet_config).state_dict()
            control = ControlNetModel(**c.control_config).state_dict()
            vae = AutoencoderKL(**c.vae_config).state_dict()
        shapes: dict[str, torch.Size | None] = {}
        shapes |= {_UNET + t: unet[o].shape for t, o in unet_names(c.unet).items()}
        shapes |= {_CONTROL + t: control[o].shape for t, o in control_names(c.unet).items()}
        out, into = control["conv_in.weight"].shape[:2]
        hint = int(c.control_config["conditioning_channels"])
        shapes[f"{_CONTROL}input_blocks.0.0.weight"] = torch.Size((out, into + hint, 3, 3))
        shapes[f"{_CONTROL}input_blocks.0.0.bias"] = torch.Size((out,))
        for prefix, encoder_only in ((_VAE, False), (_CONDITION, True)):
            for t, o in vae_names(c.vae, encoder_only=encoder_only).items():
                shape = vae[o].shape
                is_matrix = ".attn_1." in t and len(shape) == 2
                shapes[prefix + t] = torch.Size((*shape, 1, 1)) if is_matrix else shape
        shapes |= {_TEXT + t: None for t in text_names(text_layers(self.tensors))}
        return shapes


def text_layers(tensors: Mapping[str, Tensor]) -> int:
    """Layers of the text tower, the unused last one included."""
    prefix = f"{_TEXT}transformer.resblocks."
    numbers = {int(n[len(prefix) :].split(".")[0]) for n in tensors if n.startswith(prefix)}
    return max(numbers) + 1 if numbers else 2


def text_heads(width: int) -> int:
    """Attention heads of an OpenCLIP text tower: 64 channels each, as in all that are published; towers
    narrower than 256 (of tests) have four.
    """
    return width // 64 if width >= 256 else 4


def open_authors_checkpoint(folder: Path) -> AuthorsCheckpoint:
    """Open a folder with the authors' ``config.yaml`` and ``model.ckpt`` and check every tensor.

    The file is memory-mapped and nothing in it is executed.

    Raises:
        ModelFormatError: see :meth:`AuthorsCheckpoint.check` and the readers.
    """
    config = read_authors_config(folder / "config.yaml")
    opened = AuthorsCheckpoint(config, read_tensors(folder / "model.ckpt"), folder / "model.ckpt")
    opened.check()
    return opened
