"""A DiffJSCC checkpoint with random weights in the authors' format (config.yaml, model.ckpt).

``--size full`` has the sizes of Stable Diffusion 2.1 base and of the published Kodak model (about 7 GB in
float32); ``tiny`` and ``small`` are for tests. No download. Random weights show nothing, but they convert,
load, sample and take as long as trained ones.

    python benchmarks/make_diffjscc_checkpoint.py /tmp/full --size full
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from linksim.diffusion.authors.checkpoint import text_heads
from linksim.diffusion.authors.config import AuthorsConfig, read_authors_config
from linksim.diffusion.authors.names import control_names, text_names, unet_names, vae_names
from linksim.diffusion.sampler import Schedule
from linksim.jscc.authors import make_codec, names_of, read_jscc_config

SWIN = {
    "img_size_h": 64,
    "img_size_w": 64,
    "patch_size": 2,
    "in_chans": 3,
    "embed_dims": [8, 12, 12, 16],
    "embed_dims_d": [16, 12, 12, 8],
    "depths": [2, 2, 1, 2],
    "depths_d": [2, 1, 2, 2],
    "num_heads": [2, 3, 3, 4],
    "num_heads_d": [4, 3, 3, 2],
    "bottleneck_dim": 4,
    "window_size": 2,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "SNR_low": 0,
    "SNR_high": 14,
    "channel": "AWGN",
}

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"unet": (32, [1, 1, 2, 2], 1, 16, 48), "vae": (32, [1, 1, 2, 2], 1), "text": (3, 512),
             "jscc": (8, 48, 4, "AWGN")},
    "small": {"unet": (32, [1, 2, 3], 2, 8, 40), "vae": (32, [1, 2, 2, 2], 2), "text": (2, 514),
              "jscc": (4, 16, 16, "Rayleigh")},
    "swin": {"unet": (32, [1, 2], 1, 16, 32), "vae": (32, [1, 1, 2, 2], 1), "text": (2, 514), "jscc": SWIN},
    "full": {"unet": (320, [1, 2, 4, 4], 2, 64, 1024), "vae": (128, [1, 2, 4, 4], 2), "text": (24, 49408),
             "jscc": (64, 512, 16, "AWGN")},
}  # fmt: skip
_TEXT_LENGTH = 77


def settings(size: str) -> dict[str, Any]:
    """Contents of config.yaml."""
    s = SIZES[size]
    width, mult, blocks, head, context = s["unet"]
    unet = {
        "use_checkpoint": False,
        "image_size": 32,
        "in_channels": 4,
        "model_channels": width,
        "attention_resolutions": [2**i for i in reversed(range(len(mult) - 1))],
        "num_res_blocks": blocks,
        "channel_mult": mult,
        "num_head_channels": head,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "transformer_depth": 1,
        "context_dim": context,
        "legacy": False,
    }
    control = {"hint_channels": 4, "use_snr": True, "min_snr": 0, "snr_scale": 100, **copy.deepcopy(unet)}
    ch, ch_mult, vae_blocks = s["vae"]
    vae = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": ch,
        "ch_mult": ch_mult,
        "num_res_blocks": vae_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    params = {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "image_size": 64,
        "channels": 4,
        "scale_factor": 0.18215,
        "control_stage_config": {"target": "model.cldm.ControlNet", "params": control},
        "unet_config": {
            "target": "model.cldm.ControlledUnetModel",
            "params": {"out_channels": 4, **copy.deepcopy(unet)},
        },
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {"embed_dim": 4, "ddconfig": vae},
        },
        "preprocess_config": _jscc(s["jscc"]),
    }
    return {"target": "model.cldm.ControlLDM", "params": params}


def _jscc(sizes: Any) -> dict[str, Any]:
    if isinstance(sizes, dict):
        return {"target": "model.deepjscc_swin.DeepJSCC_SWIN", "params": sizes}
    ngf, cap, channels, channel = sizes
    params = {
        "input_nc": 3,
        "ngf": ngf,
        "max_ngf_E": cap,
        "max_ngf_D": cap,
        "n_downsample": 4,
        "norm": "batch",
        "C_channel": channels,
        "output_nc": 3,
        "n_blocks_E": 2,
        "n_blocks_D": 2,
        "SNR_low": 0,
        "SNR_high": 14,
        "channel": channel,
    }
    return {"target": "model.deepjscc_cnn.DeepJSCC", "params": params}


def _randomised(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """State of a module; what the library initialises with zeros gets small random values."""
    gen = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if not bool(parameter.any()):
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=gen)
    return module.state_dict()


def _first_convolution(control: dict[str, Tensor], hint: int) -> Tensor:
    own = control["conv_in.weight"]
    return torch.cat([own, 0.05 * torch.randn(len(own), hint, 3, 3)], dim=1)


def _text(size: str, width: int) -> Iterator[tuple[str, Tensor]]:
    layers, vocabulary = SIZES[size]["text"]
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=text_heads(width),
        max_position_embeddings=_TEXT_LENGTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
    )
    state = {k.removeprefix("text_model."): v for k, v in _randomised(CLIPTextModel(config), 4).items()}
    for theirs, ours in text_names(layers).items():
        if "{qkv}" in ours:
            yield theirs, torch.cat([state[ours.format(qkv=letter)] for letter in "qkv"])
        else:
            yield theirs, state[ours]
    yield "text_projection", torch.zeros(width, width)
    yield "logit_scale", torch.tensor(4.6)


def _as_theirs(names: dict[str, str], state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found = {}
    for theirs, ours in names.items():
        value = state[ours]
        if ".attn_1." in theirs and value.dim() == 2:
            value = value[:, :, None, None]
        found[prefix + theirs] = value
    return found


def tensors(size: str, config: AuthorsConfig, folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by the authors' names."""
    torch.manual_seed(1)
    unet = _randomised(UNet2DConditionModel(**config.unet_config), 1)
    control = _randomised(ControlNetModel(**config.control_config), 2)
    vae = _randomised(AutoencoderKL(**config.vae_config), 3)
    hint = int(config.control_config["conditioning_channels"])
    result = {
        **_as_theirs(unet_names(config.unet), unet, "model.diffusion_model."),
        **_as_theirs(control_names(config.unet), control, "control_model."),
        "control_model.input_blocks.0.0.weight": _first_convolution(control, hint),
        "control_model.input_blocks.0.0.bias": control["conv_in.bias"],
        **_as_theirs(vae_names(config.vae), vae, "first_stage_model."),
        **_as_theirs(vae_names(config.vae, encoder_only=True), vae, "cond_encoder."),
    }
    width = int(config.unet_config["cross_attention_dim"])
    result |= {f"cond_stage_model.model.{name}": value for name, value in _text(size, width)}
    codec = make_codec(read_jscc_config(folder / "config.yaml"))
    names = names_of(codec.config)
    state = codec.state_dict()
    result |= {f"preprocess_model.{theirs}": state[ours] for ours, theirs in names.items()}
    schedule = Schedule()
    result["alphas_cumprod"] = schedule.alphas_cumprod.float()
    return result


def make(folder: Path, size: str, extra: dict[str, Any] | None = None) -> Path:
    """Write a checkpoint folder.

    Args:
        folder: to be made.
        size: "tiny", "small" or "full".
        extra: other objects that the pickle holds beside its state_dict, as Lightning's do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings(size), sort_keys=False))
    config = read_authors_config(folder / "config.yaml")
    torch.save({**(extra or {}), "state_dict": tensors(size, config, folder)}, folder / "model.ckpt")
    return folder


def main() -> int:
    """Write one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    args = parser.parse_args()
    made = make(args.folder, args.size)
    print(made, f"{(made / 'model.ckpt').stat().st_size / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
