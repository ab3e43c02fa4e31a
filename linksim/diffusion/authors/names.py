"""Tensor names of latent-diffusion checkpoints (CompVis, OpenCLIP) and what diffusers and transformers call
the same tensors. Names only: no tensor is touched here.

Sources: CompVis latent-diffusion ``ldm/modules/diffusionmodules`` (openaimodel.py, model.py); diffusers
``UNet2DConditionModel``, ``ControlNetModel``, ``AutoencoderKL``; OpenCLIP ``TextTransformer``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["UnetLayout", "VaeLayout", "control_names", "text_names", "unet_names", "vae_names"]

Names = dict[str, str]  # theirs -> ours
_KINDS = ("weight", "bias")


@dataclass(frozen=True)
class UnetLayout:
    """Sizes of a denoising network.

    Args:
        channels: width of every level.
        blocks: residual blocks per level.
        attention: whether a level has attention.
        depth: transformer blocks of an attention.
    """

    channels: tuple[int, ...]
    blocks: int
    attention: tuple[bool, ...]
    depth: int = 1


@dataclass(frozen=True)
class VaeLayout:
    """Sizes of an autoencoder: width of every level, residual blocks per level."""

    channels: tuple[int, ...]
    blocks: int


def _pairs(theirs: str, ours: str) -> Names:
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for kind in _KINDS}


def _resnet(theirs: str, ours: str, *, shortcut: bool) -> Names:
    parts = {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
    }
    if shortcut:
        parts["skip_connection"] = "conv_shortcut"
    result: Names = {}
    for a, b in parts.items():
        result |= _pairs(f"{theirs}.{a}", f"{ours}.{b}")
    return result


def _transformer(theirs: str, ours: str, depth: int) -> Names:
    result: Names = {}
    for part in ("norm", "proj_in", "proj_out"):
        result |= _pairs(f"{theirs}.{part}", f"{ours}.{part}")
    linear = ("norm1", "norm2", "norm3", "attn1.to_out.0", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2")
    for block in (f"transformer_blocks.{i}" for i in range(depth)):
        for part in linear:
            result |= _pairs(f"{theirs}.{block}.{part}", f"{ours}.{block}.{part}")
        for attention in ("attn1", "attn2"):
            for part in ("to_q", "to_k", "to_v"):
                name = f"{block}.{attention}.{part}.weight"
                result[f"{theirs}.{name}"] = f"{ours}.{name}"
    return result


def _down_path(layout: UnetLayout) -> Iterator[Names]:
    """Input blocks and the middle, shared by the denoiser and its control module."""
    at, width = 1, layout.channels[0]
    for level, channels in enumerate(layout.channels):
        ours = f"down_blocks.{level}"
        for block in range(layout.blocks):
            theirs = f"input_blocks.{at}"
            yield _resnet(f"{theirs}.0", f"{ours}.resnets.{block}", shortcut=width != channels)
            if layout.attention[level]:
                yield _transformer(f"{theirs}.1", f"{ours}.attentions.{block}", layout.depth)
            width, at = channels, at + 1
        if level + 1 < len(layout.channels):
            yield _pairs(f"input_blocks.{at}.0.op", f"{ours}.downsamplers.0.conv")
            at += 1
    for i, ours_resnet in ((0, 0), (2, 1)):
        yield _resnet(f"middle_block.{i}", f"mid_block.resnets.{ours_resnet}", shortcut=False)
    yield _transformer("middle_block.1", "mid_block.attentions.0", layout.depth)
    for i, name in ((0, "linear_1"), (2, "linear_2")):
        yield _pairs(f"time_embed.{i}", f"time_embedding.{name}")


def _up_path(layout: UnetLayout) -> Iterator[Names]:
    at, levels = 0, len(layout.channels)
    for level in reversed(range(levels)):
        ours = f"up_blocks.{levels - 1 - level}"
        for block in range(layout.blocks + 1):
            theirs = f"output_blocks.{at}"
            yield _resnet(f"{theirs}.0", f"{ours}.resnets.{block}", shortcut=True)
            if layout.attention[level]:
                yield _transformer(f"{theirs}.1", f"{ours}.attentions.{block}", layout.depth)
            if level > 0 and block == layout.blocks:
                place = 2 if layout.attention[level] else 1
                yield _pairs(f"{theirs}.{place}.conv", f"{ours}.upsamplers.0.conv")
            at += 1


def unet_names(layout: UnetLayout) -> Names:
    """Names of the denoiser, without the prefix ``model.diffusion_model.``."""
    result = _pairs("input_blocks.0.0", "conv_in")
    for part in (*_down_path(layout), *_up_path(layout)):
        result |= part
    return result | _pairs("out.0", "conv_norm_out") | _pairs("out.2", "conv_out")


def control_names(layout: UnetLayout) -> Names:
    """Names of the control module, without the prefix ``control_model.``; the first convolution, which takes
    latent and hint together, is left out.
    """
    result: Names = {}
    for part in _down_path(layout):
        result |= part
    levels = len(layout.channels)
    for i in range(levels * (layout.blocks + 1)):
        result |= _pairs(f"zero_convs.{i}.0", f"controlnet_down_blocks.{i}")
    result |= _pairs("middle_block_out.0", "controlnet_mid_block")
    for i, name in ((0, "linear_1"), (2, "linear_2")):
        result |= _pairs(f"snr_embed.{i}", f"class_embedding.{name}")
    return result


def _vae_resnet(theirs: str, ours: str, *, shortcut: bool) -> Names:
    result: Names = {}
    for part in ("norm1", "conv1", "norm2", "conv2"):
        result |= _pairs(f"{theirs}.{part}", f"{ours}.{part}")
    return result | (_pairs(f"{theirs}.nin_shortcut", f"{ours}.conv_shortcut") if shortcut else {})


def _vae_middle(side: str) -> Names:
    result: Names = {}
    for i in (0, 1):
        result |= _vae_resnet(f"{side}.mid.block_{i + 1}", f"{side}.mid_block.resnets.{i}", shortcut=False)
    parts = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
    for a, b in parts.items():
        result |= _pairs(f"{side}.mid.attn_1.{a}", f"{side}.mid_block.attentions.0.{b}")
    for a, b in (("conv_in", "conv_in"), ("norm_out", "conv_norm_out"), ("conv_out", "conv_out")):
        result |= _pairs(f"{side}.{a}", f"{side}.{b}")
    return result


def vae_names(layout: VaeLayout, *, encoder_only: bool = False) -> Names:
    """Names of the autoencoder, without the prefix ``first_stage_model.`` (or ``cond_encoder.``, which is the
    encoder alone). The four matrices of its attention are 1x1 convolutions there and linear here.
    """
    result = _vae_middle("encoder") | _pairs("quant_conv", "quant_conv")
    width, levels = layout.channels[0], len(layout.channels)
    for level, channels in enumerate(layout.channels):
        theirs, ours = f"encoder.down.{level}", f"encoder.down_blocks.{level}"
        for block in range(layout.blocks):
            result |= _vae_resnet(
                f"{theirs}.block.{block}", f"{ours}.resnets.{block}", shortcut=width != channels
            )
            width = channels
        if level + 1 < levels:
            result |= _pairs(f"{theirs}.downsample.conv", f"{ours}.downsamplers.0.conv")
    if encoder_only:
        return result
    result |= _vae_middle("decoder") | _pairs("post_quant_conv", "post_quant_conv")
    for level in reversed(range(levels)):
        theirs, ours = f"decoder.up.{level}", f"decoder.up_blocks.{levels - 1 - level}"
        for block in range(layout.blocks + 1):
            result |= _vae_resnet(
                f"{theirs}.block.{block}",
                f"{ours}.resnets.{block}",
                shortcut=width != layout.channels[level],
            )
            width = layout.channels[level]
        if level > 0:
            result |= _pairs(f"{theirs}.upsample.conv", f"{ours}.upsamplers.0.conv")
    return result


def text_names(layers: int) -> Names:
    """Names of ``layers`` layers of the OpenCLIP text tower, without the prefix ``cond_stage_model.model.``.

    ``attn.in_proj_weight`` and ``attn.in_proj_bias`` hold query, key and value one above the other; they map
    to the name of the query projection with ``{qkv}`` in the place of its letter.
    """
    result = {
        "positional_embedding": "embeddings.position_embedding.weight",
        "token_embedding.weight": "embeddings.token_embedding.weight",
        **_pairs("ln_final", "final_layer_norm"),
    }
    for i in range(layers):
        theirs, ours = f"transformer.resblocks.{i}", f"encoder.layers.{i}"
        for a, b in (
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("attn.out_proj", "self_attn.out_proj"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        ):
            result |= _pairs(f"{theirs}.{a}", f"{ours}.{b}")
        for kind in _KINDS:
            result[f"{theirs}.attn.in_proj_{kind}"] = f"{ours}.self_attn.{{qkv}}_proj.{kind}"
    return result
