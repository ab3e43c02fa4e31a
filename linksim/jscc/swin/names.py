"""Names of the tensors of SwinJSCC's and WITT's authors."""

from __future__ import annotations

from collections.abc import Mapping

from linksim.jscc.swin.parts import MODULATIONS, Modulation
from linksim.jscc.swin.sizes import SwinJsccConfig
from linksim.weights.undrawn import shapes_only

__all__ = ["authors_names", "stored_but_unused"]

_WEIGHTS = ("weight", "bias")
_CHAIN, _GAINS = "sm_list", "bm_list"  # a ModNet of the authors: its linear layers, the gains between them
Shapes = dict[str, tuple[int, ...]]


def _pair(ours: str, theirs: str, parts: tuple[str, ...] = _WEIGHTS) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in parts}


def _modnet(ours: str, side: str, suffix: str = "") -> dict[str, str]:
    table: dict[str, str] = {}
    for i in range(MODULATIONS + 1):
        table |= _pair(f"{ours}.mixers.{i}", f"{side}.{_CHAIN}{suffix}.{i}")
    for i in range(MODULATIONS):
        for layer in (0, 2, 4):
            table |= _pair(f"{ours}.gains.{i}.{layer}", f"{side}.{_GAINS}{suffix}.{i}.fc.{layer}")
    return table


def _block(ours: str, theirs: str) -> dict[str, str]:
    table = _pair(f"{ours}.mlp.0", f"{theirs}.mlp.fc1") | _pair(f"{ours}.mlp.2", f"{theirs}.mlp.fc2")
    for name in ("norm1", "norm2", "attn.qkv", "attn.proj"):
        table |= _pair(f"{ours}.{name}", f"{theirs}.{name}")
    return table | _pair(f"{ours}.attn", f"{theirs}.attn", ("relative_position_bias_table",))


def authors_names(config: SwinJsccConfig) -> dict[str, str]:
    """Our tensor names to the authors', of what a network uses."""
    table = _pair("encoder.embed", "encoder.patch_embed.proj") | _pair("encoder.norm", "encoder.norm")
    for side, depths in (("encoder", config.depths), ("decoder", config.depths[::-1])):
        for i, depth in enumerate(depths):
            for j in range(depth):
                table |= _block(f"{side}.stages.{i}.{j}", f"{side}.layers.{i}.blocks.{j}")
        if not config.has_rates:
            table |= _pair(f"{side}.head", f"{side}.head_list")
    for i in range(1, len(config.depths)):
        merge, theirs = f"encoder.merges.{i - 1}", f"encoder.layers.{i}.downsample"
        table |= _pair(f"{merge}.norm", f"{theirs}.norm")
        table |= _pair(f"{merge}.reduction", f"{theirs}.reduction", ("weight",))
    for i in range(len(config.depths)):
        expand, theirs = f"decoder.expands.{i}", f"decoder.layers.{i}.upsample"
        table |= _pair(f"{expand}.norm", f"{theirs}.norm")
        table |= _pair(f"{expand}.increment", f"{theirs}.increment", ("weight",))
    if config.knows_snr:
        table |= _modnet("decoder.snr", "decoder")
        table |= _modnet("encoder.snr", "encoder", "1" if config.has_rates else "")
    if config.has_rates:
        table |= _modnet("encoder.rate", "encoder")
    return table


def stored_but_unused(config: SwinJsccConfig, shapes: Mapping[str, tuple[int, ...]]) -> list[Shapes]:
    """Groups of tensors, by the authors' names with their shapes, that their programs store and never use:
    ModNets of networks that adapt to nothing or to the rate alone, heads of networks with rates, buffers of
    the MS-SSIM that a network was trained on. Of a group all are there, or none.

    Args:
        config: sizes.
        shapes: of the tensors that a file has, by the authors' names.
    """
    groups: list[Shapes] = [{"distortion_loss.dist.weights": (4,)}]
    window = shapes.get("distortion_loss.dist.window", (3, 1, 1, 11))
    groups[0]["distortion_loss.dist.window"] = window if window[:3] == (3, 1, 1) else (3, 1, 1, 11)
    width = config.widths[-1]
    if config.adaptive == "none":
        with shapes_only():
            modnet = {name: tuple(value.shape) for name, value in Modulation(width).state_dict().items()}
        for side in ("encoder", "decoder"):
            groups.append({theirs: modnet[ours[1:]] for ours, theirs in _modnet("", side).items()})
    if config.has_rates:
        channels = next(iter(shapes.get("encoder.head_list.bias", ())), 0)
        for side, sizes in (("encoder", (channels, width)), ("decoder", (width, channels))):
            groups.append({f"{side}.head_list.weight": sizes, f"{side}.head_list.bias": sizes[:1]})
    return groups
