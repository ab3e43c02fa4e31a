"""The authors' ``config.yaml`` of DiffJSCC, as configurations of stock diffusers and transformers classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from channels.checks import complaint
from linksim.diffusion.authors.names import UnetLayout, VaeLayout
from linksim.files.bounded_yaml import load_yaml, read_text
from linksim.weights.pickle_reader import ModelFormatError

__all__ = ["AuthorsConfig", "read_authors_config"]


@dataclass(frozen=True)
class AuthorsConfig:
    """What a checkpoint folder says of its networks.

    Args:
        unet, vae: sizes.
        unet_config, control_config, vae_config: arguments of the diffusers classes.
        schedule: arguments of diffusers schedulers.
        latent_channels: of the diffusion.
        snr_scale, min_snr: class label of the control module = snr_scale·snr_db - min_snr.
        snr_db: range of the SNR in training [dB].
        jscc: the block ``preprocess_config``.
    """

    unet: UnetLayout
    vae: VaeLayout
    unet_config: dict[str, Any]
    control_config: dict[str, Any]
    vae_config: dict[str, Any]
    schedule: dict[str, Any]
    latent_channels: int
    snr_scale: float
    min_snr: float
    snr_db: tuple[float, float]
    jscc: dict[str, Any]


def read_authors_config(path: Path) -> AuthorsConfig:
    """Read ``config.yaml``; nothing in it is executed (its ``target`` entries are compared, not imported).

    Raises:
        ModelFormatError: missing, broken, or of another model.
    """
    try:
        whole: Any = load_yaml(read_text(path))
        return _translate(whole, path)
    except ModelFormatError:
        raise
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as problem:
        expected = "the authors' config.yaml"
        raise ModelFormatError(complaint(str(path), "cannot be read", problem, expected)) from None
    except (KeyError, TypeError, IndexError, AttributeError, ArithmeticError) as problem:
        expected = "the fields of the authors' config.yaml"
        raise ModelFormatError(complaint(str(path), "incomplete", repr(problem), expected)) from None


def _require(path: Path, field: str, got: object, expected: object) -> None:
    if got != expected:
        raise ModelFormatError(complaint(f"{path}: {field}", "not supported", got, expected))


def _translate(whole: dict[str, Any], path: Path) -> AuthorsConfig:
    p = whole["params"]
    _require(path, "target", whole["target"], "model.cldm.ControlLDM")
    unet, control = p["unet_config"]["params"], p["control_stage_config"]["params"]
    for key in ("model_channels", "channel_mult", "num_res_blocks", "attention_resolutions", "context_dim"):
        _require(path, f"control_stage_config.{key}", control[key], unet[key])
    _require(path, "use_spatial_transformer", unet.get("use_spatial_transformer"), True)
    _require(path, "control_stage_config.use_snr", control.get("use_snr", False), True)
    vae = p["first_stage_config"]["params"]["ddconfig"]
    _require(path, "ddconfig.attn_resolutions", list(vae["attn_resolutions"]), [])
    layout = _unet_layout(unet)
    sizes = _sizes(unet, layout)
    jscc = p["preprocess_config"]
    hint = int(control["hint_channels"])
    return AuthorsConfig(
        unet=layout,
        vae=VaeLayout(tuple(vae["ch"] * m for m in vae["ch_mult"]), int(vae["num_res_blocks"])),
        unet_config={
            **sizes,
            "in_channels": int(unet["in_channels"]),
            "out_channels": int(unet["out_channels"]),
            "sample_size": int(p["image_size"]),
            "up_block_types": tuple(
                "CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(layout.attention)
            ),
        },
        control_config={
            **sizes,
            "in_channels": int(control["in_channels"]),
            "conditioning_channels": hint,
            "conditioning_embedding_out_channels": (2 * hint,),
            "class_embed_type": "timestep",
        },
        vae_config=_vae_config(p, vae),
        schedule={
            "num_train_timesteps": int(p["timesteps"]),
            "beta_start": float(p["linear_start"]),
            "beta_end": float(p["linear_end"]),
            "beta_schedule": "scaled_linear",
            "prediction_type": "epsilon",
        },
        latent_channels=int(p["channels"]),
        snr_scale=float(control["snr_scale"]),
        min_snr=float(control["min_snr"]),
        snr_db=(float(jscc["params"]["SNR_low"]), float(jscc["params"]["SNR_high"])),
        jscc=jscc,
    )


def _unet_layout(unet: dict[str, Any]) -> UnetLayout:
    mult = tuple(unet["channel_mult"])
    return UnetLayout(
        channels=tuple(int(unet["model_channels"] * m) for m in mult),
        blocks=int(unet["num_res_blocks"]),
        attention=tuple(2**level in unet["attention_resolutions"] for level in range(len(mult))),
        depth=int(unet["transformer_depth"]),
    )


def _sizes(unet: dict[str, Any], layout: UnetLayout) -> dict[str, Any]:
    if unet.get("num_head_channels", -1) > 0:
        heads = tuple(c // int(unet["num_head_channels"]) for c in layout.channels)
    else:
        heads = (int(unet["num_heads"]),) * len(layout.channels)
    return {
        "block_out_channels": layout.channels,
        "layers_per_block": layout.blocks,
        "transformer_layers_per_block": layout.depth,
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in layout.attention),
        "attention_head_dim": heads,  # diffusers' name for the number of heads
        "cross_attention_dim": int(unet["context_dim"]),
        "use_linear_projection": bool(unet.get("use_linear_in_transformer", False)),
    }


def _vae_config(p: dict[str, Any], vae: dict[str, Any]) -> dict[str, Any]:
    levels = len(vae["ch_mult"])
    return {
        "in_channels": int(vae["in_channels"]),
        "out_channels": int(vae["out_ch"]),
        "block_out_channels": tuple(int(vae["ch"] * m) for m in vae["ch_mult"]),
        "layers_per_block": int(vae["num_res_blocks"]),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "latent_channels": int(vae["z_channels"]),
        "sample_size": int(vae["resolution"]),
        "scaling_factor": float(p["scale_factor"]),
    }
