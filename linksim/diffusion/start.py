"""A new control module from Stable Diffusion: a copy of its UNet's encoder that says nothing at first."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel

from channels.checks import complaint
from linksim.diffusion.hint import hint_tensors
from linksim.diffusion.model import DiffusionModel, read_part
from linksim.diffusion.sampler import Schedule
from linksim.weights.pickle_reader import ModelFormatError

__all__ = ["STABLE_DIFFUSION_FILES", "from_stable_diffusion", "new_control"]

SNR_SCALE, MIN_SNR = 100.0, 0.0  # class label = 100·snr_db, the authors' scale


def new_control(unet: UNet2DConditionModel, hint_channels: int = 4) -> ControlNetModel:
    """A control module with the encoder of a UNet; hint and residuals start at zero, the SNR is new to it."""
    c = unet.config
    control = ControlNetModel(
        in_channels=c.in_channels,
        conditioning_channels=hint_channels,
        conditioning_embedding_out_channels=(2 * hint_channels,),
        class_embed_type="timestep",
        block_out_channels=c.block_out_channels,
        layers_per_block=c.layers_per_block,
        transformer_layers_per_block=c.transformer_layers_per_block,
        down_block_types=c.down_block_types,
        attention_head_dim=c.attention_head_dim,
        cross_attention_dim=c.cross_attention_dim,
        use_linear_projection=c.use_linear_projection,
        norm_num_groups=c.norm_num_groups,
        upcast_attention=c.upcast_attention,
    )
    own, theirs = control.state_dict(), unet.state_dict()
    shared = {k: v for k, v in theirs.items() if k in own and own[k].shape == v.shape}
    silent = hint_tensors(torch.zeros(c.block_out_channels[0], hint_channels, 3, 3))
    control.load_state_dict({**own, **shared, **silent})
    return control


STABLE_DIFFUSION_FILES = (
    "*/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "tokenizer/*",
    "scheduler/scheduler_config.json",
)
_SCHEDULER = Path("scheduler/scheduler_config.json")


def from_stable_diffusion(
    folder: Path, snr_db: tuple[float, float], *, gamma_map: bool = False
) -> DiffusionModel:
    """The parts of a Stable Diffusion 2.x folder with a new control module.

    Args:
        folder: with unet, vae and text_encoder.
        snr_db: range of the SNR in the training to come [dB].
        gamma_map: whether the control module will be shown the SNR of every position.

    Raises:
        ModelFormatError: a part that is missing, or a model that predicts something else than the noise.
    """
    schedule = _schedule(folder / _SCHEDULER)
    unet = read_part(folder / "unet", UNet2DConditionModel)
    vae = read_part(folder / "vae", AutoencoderKL)
    return DiffusionModel(
        unet=unet,
        control=new_control(unet, int(vae.config.latent_channels) + gamma_map),
        vae=vae,
        condition_vae=vae,
        text_encoder=read_part(folder / "text_encoder", CLIPTextModel),
        schedule=schedule,
        snr_scale=SNR_SCALE,
        min_snr=MIN_SNR,
        snr_db=snr_db,
        folder=folder,
        gamma_map=gamma_map,
    )


def _schedule(path: Path) -> Schedule:
    """The noise schedule of a Stable Diffusion folder; where it says none, that of Stable Diffusion 2."""
    if not path.is_file():
        return Schedule()
    expected = "a scheduler that predicts epsilon, with scaled_linear betas"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kinds = config.get("prediction_type", "epsilon"), config["beta_schedule"]
        schedule = Schedule(
            int(config["num_train_timesteps"]), float(config["beta_start"]), float(config["beta_end"])
        )
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as problem:
        raise ModelFormatError(complaint(str(path), "cannot be read", repr(problem), expected)) from None
    if kinds != ("epsilon", "scaled_linear"):
        cure = "Use Stable Diffusion 2.1 base (512 pixels), not the 768-pixel model."
        raise ModelFormatError(complaint(str(path), "another model", ", ".join(kinds), expected, cure))
    return schedule
