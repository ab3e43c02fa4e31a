"""The hint of a control module as one convolution, in stock diffusers classes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PREFIX", "hint_tensors"]

PREFIX = "controlnet_cond_embedding."


def hint_tensors(weight: Tensor) -> dict[str, Tensor]:
    """Tensors that make diffusers' hint embedding the bias-free convolution ``weight`` [c, hint, 3, 3].

    diffusers has SiLU between two convolutions there. With the hint h and -h side by side it is exactly
    linear: SiLU(h) - SiLU(-h) = h. The embedding is to be built with
    ``conditioning_embedding_out_channels=(2·hint,)``; its first convolution is fixed and needs no gradient.
    """
    hint = weight.shape[1]
    eye = torch.eye(hint, dtype=weight.dtype)
    pair = torch.zeros(2 * hint, hint, 3, 3, dtype=weight.dtype)
    pair[:, :, 1, 1] = torch.cat([eye, -eye])
    return {
        f"{PREFIX}conv_in.weight": pair,
        f"{PREFIX}conv_in.bias": torch.zeros(2 * hint, dtype=weight.dtype),
        f"{PREFIX}conv_out.weight": torch.cat([weight, -weight], dim=1),
        f"{PREFIX}conv_out.bias": torch.zeros(len(weight), dtype=weight.dtype),
    }
