"""Checkpoints of SwinJSCC's and WITT's authors: sizes from the shapes of the tensors, strict loading."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from channels.checks import complaint
from linksim.jscc.swin.codec import SwinJscc
from linksim.jscc.swin.names import authors_names, stored_but_unused
from linksim.jscc.swin.sizes import Adaptive, SwinJsccConfig
from linksim.jscc.swin.windows import forbidden, relative_positions
from linksim.weights.pickle_reader import ModelFormatError, read_tensors
from linksim.weights.undrawn import shapes_only, undrawn

__all__ = ["load_swinjscc", "swinjscc_from_tensors", "trained_on"]

_MOST_STAGES, _MOST_BLOCKS, _MOST_CHANNELS, _MOST_SIDE = 8, 64, 4096, 65536
_MANY, _FEW = (256, 256), (32, 32)  # pictures of the authors' trainings with four stages and with two
Side = Literal["encoder", "decoder"]


def load_swinjscc(path: Path, adaptive: Adaptive | None = None, rates: tuple[int, ...] = ()) -> SwinJscc:
    """A codec from a file of SwinJSCC's or WITT's authors (``torch.save`` of a state dict).

    Args:
        path: the file; read without executing anything.
        adaptive: what the network adapts to; None: as the names say. One that adapts to the SNR and one that
            adapts to nothing have the same names, so that it has to be said.
        rates: latent channels that a network with rates may send; (): the authors' 32, 64, 96, 128, 192.

    Raises:
        ModelFormatError: no such file, sizes of no network, tensors missing, unknown, misshapen or not
            finite, position numbers or masks that are not those of its sizes.
    """
    return swinjscc_from_tensors(read_tensors(path), str(path), adaptive, rates)


def swinjscc_from_tensors(
    tensors: Mapping[str, Tensor], where: str, adaptive: Adaptive | None = None, rates: tuple[int, ...] = ()
) -> SwinJscc:
    """See :func:`load_swinjscc`; ``where`` begins its messages."""
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if adaptive is None:
        adaptive = _adapts(shapes, where)
    try:
        config = _sizes(shapes, adaptive, rates)
        with shapes_only():  # nothing of its size is made before the tensors are known to fit
            own = {name: tuple(value.shape) for name, value in SwinJscc(config).state_dict().items()}
        names = authors_names(config)
        assert names.keys() == own.keys()
    except (LookupError, ValueError, TypeError, RuntimeError, ArithmeticError) as problem:
        said = str(problem).strip("'\"")
        raise ModelFormatError(complaint(where, "sizes of no SwinJSCC", said, "the authors'")) from None
    known = {theirs: own[ours] for ours, theirs in names.items()}
    problems = _misfits(config, known, shapes)
    problems += [f"{name} that is not that of its sizes" for name in _wrong_buffers(config, tensors)]
    used = {name: tensors[name] for name in known if name in tensors}
    problems += [f"{name} not finite" for name, value in used.items() if not bool(value.isfinite().all())]
    if problems:
        some = ", ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        expected = f"the {len(known)} tensors of a network that adapts to {adaptive.replace('_', ' and ')}"
        raise ModelFormatError(complaint(where, "tensors do not fit", some, expected))
    with undrawn():
        codec = SwinJscc(config)
    codec.load_state_dict({ours: used[theirs].float() for ours, theirs in names.items()})
    return codec.eval().requires_grad_(False)


def trained_on(tensors: Mapping[str, Tensor]) -> str:
    """The measure that a network was trained on: the program stores the window of its MS-SSIM; it stores
    nothing for a mean squared error.
    """
    return "ms_ssim" if any(name.startswith("distortion_loss.") for name in tensors) else "psnr"


def _adapts(shapes: Mapping[str, tuple[int, ...]], where: str) -> Adaptive:
    """What a network adapts to, by its names."""
    if any(name.startswith("encoder.bm_list1.") for name in shapes):
        return "snr_rate"
    if not any(name.startswith("decoder.bm_list.") for name in shapes):
        return "rate"
    cure = "Say which one it is (--adaptive none or --adaptive snr)."
    got = "tensors that SwinJSCC_w/o_SAandRA and SwinJSCC_w/_SA (WITT_W/O and WITT) both have"
    raise ModelFormatError(complaint(where, "adaptive not known", got, "none or snr", cure))


# ------------------------------------------------------------------------------------------------ sizes


def _count(shapes: Mapping[str, tuple[int, ...]], pattern: str, most: int) -> int:
    """How many numbers, from 0 on, a place in the names has."""
    found = {int(m[1]) for m in (re.match(pattern, name) for name in shapes) if m and len(m[1]) < 4}
    if not found or found != set(range(len(found))) or len(found) > most:
        text = pattern.replace("([0-9]+)", "N").replace("\\", "")
        raise LookupError(f"{text}: N is {sorted(found)[:9]}, expected 0 to at most {most - 1}")
    return len(found)


def _size(shapes: Mapping[str, tuple[int, ...]], name: str, axis: int, most: int = _MOST_CHANNELS) -> int:
    if name not in shapes or len(shapes[name]) <= axis:
        raise LookupError(f"{name}: missing or misshapen")
    if not 1 <= shapes[name][axis] <= most:
        raise ValueError(f"{name}: got {shapes[name][axis]}, expected 1 to {most}")
    return shapes[name][axis]


def _sizes(
    shapes: Mapping[str, tuple[int, ...]], adaptive: Adaptive, rates: tuple[int, ...]
) -> SwinJsccConfig:
    stages = _count(shapes, r"encoder\.layers\.([0-9]+)\.", _MOST_STAGES)
    blocks = [rf"encoder\.layers\.{i}\.blocks\.([0-9]+)\." for i in range(stages)]
    widths = [_size(shapes, "encoder.patch_embed.proj.weight", 0)]
    widths += [_size(shapes, f"encoder.layers.{i}.downsample.reduction.weight", 0) for i in range(1, stages)]
    tables = [f"encoder.layers.{i}.blocks.0.attn.relative_position_bias_table" for i in range(stages)]
    window = (math.isqrt(_size(shapes, tables[0], 0, (2 * _MOST_BLOCKS) ** 2)) + 1) // 2
    side = _side(shapes, window)
    with_rates = adaptive in ("rate", "snr_rate")
    if not with_rates:
        rates = rates or (_size(shapes, "encoder.head_list.weight", 0),)
    config = SwinJsccConfig(
        adaptive=adaptive,
        rates=rates or SwinJsccConfig().rates,
        widths=tuple(widths),
        depths=tuple(_count(shapes, pattern, _MOST_BLOCKS) for pattern in blocks),
        heads=tuple(_size(shapes, table, 1) for table in tables),
        window=window,
        mlp_ratio=_size(shapes, "encoder.layers.0.blocks.0.mlp.fc1.weight", 0, 64 * widths[0]) / widths[0],
        image_size=(side, side) if side else _FEW if stages == 2 else _MANY,
    )
    config.check()
    return config


def _side(shapes: Mapping[str, tuple[int, ...]], window: int) -> int | None:
    """Side of the square pictures that the masks of shifted windows were stored for; None: no square ones."""
    for name, shape in sorted(shapes.items()):
        place = re.match(r"encoder\.layers\.([0-9])\.blocks\.[0-9]+\.attn_mask$", name)
        across = math.isqrt(shape[0]) if place and len(shape) == 3 else 0
        if place and across and across**2 == shape[0]:
            return min(across * window * 2 ** (int(place[1]) + 1), _MOST_SIDE)
    return None


# ----------------------------------------------------------------------------------------------- fitting


def _buffers(config: SwinJsccConfig) -> dict[str, tuple[int, int]]:
    """Names of the buffers that follow from the sizes, with window and shift of their blocks."""
    found: dict[str, tuple[int, int]] = {}
    levels = len(config.depths)
    for side, depths in (("encoder", config.depths), ("decoder", config.depths[::-1])):
        for i, depth in enumerate(depths):
            window, shift = config.windows(i + 1 if side == "encoder" else levels - i)
            for j in range(depth):
                block = f"{side}.layers.{i}.blocks.{j}"
                found[f"{block}.attn.relative_position_index"] = window, 0
                if shift and j % 2:
                    found[f"{block}.attn_mask"] = window, shift
    return found


def _misfits(
    config: SwinJsccConfig, known: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """What is missing, unknown or of another shape."""
    expected = dict(known)
    for group in stored_but_unused(config, shapes):
        if any(name in shapes for name in group):
            expected |= group
    buffers = _buffers(config)
    problems = [f"missing {name}" for name in (*expected, *buffers) if name not in shapes]
    problems += [f"unknown {name}" for name in shapes if name not in expected and name not in buffers]
    return problems + [
        f"{name} of shape {shapes[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]


def _wrong_buffers(config: SwinJsccConfig, tensors: Mapping[str, Tensor]) -> list[str]:
    """Position numbers and masks that are stored and not those of the sizes."""
    wrong = []
    for name, (window, shift) in _buffers(config).items():
        stored = tensors.get(name)
        if stored is None:
            continue  # said to be missing
        if name.endswith("attn_mask"):
            right = _is_mask(stored, window, shift)
        else:
            right = torch.equal(stored.cpu().long(), relative_positions(window))
        if not right:
            wrong.append(name)
    return wrong


def _is_mask(stored: Tensor, window: int, shift: int) -> bool:
    """Whether a mask is that of pictures of any size with so many windows: a program stores the last one."""
    if stored.dim() != 3 or stored.shape[1:] != (window**2, window**2) or not len(stored):
        return False
    count = len(stored)
    for down in (n for n in range(1, count + 1) if count % n == 0):
        mask = forbidden(down * window, count // down * window, window, shift)
        if torch.equal(stored.cpu().float(), mask):
            return True
    return False
