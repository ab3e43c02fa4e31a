"""The only equaliser call site."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared, multiply_conj
from channels.types import Received

__all__ = ["equalize"]

_TINY_GAIN = 1e-12  # |h|² below this is a dead symbol: x_hat = 0 with an error variance near 1e12


def equalize(received: Received, mode: Literal["lmmse", "zf", "none"]) -> tuple[Tensor, Tensor]:
    r"""Estimate the sent symbols from one tap per symbol.

    With the effective noise n0 = no + err_var (an estimated gain counts its error as noise):

    * LMMSE: x_hat = h* y / (|h|² + n0),  no_eff = n0 / (|h|² + n0)   (biased, for analog symbols);
    * ZF:    x_hat = y / h,               no_eff = n0 / |h|²          (unbiased, for demapping).

    Args:
        received: y [B, n] complex; csi.h [B, n] complex; csi.no, csi.err_var [B, 1] or [B, n], linear power.
        mode: "lmmse", "zf" or "none" (returns y and n0 unchanged).

    Returns:
        x_hat: [B, n] complex, same unit as the sent symbols (E|x|² = 1).
        no_eff: [B, n] float, error variance per complex symbol, linear.

    Raises:
        ValueError: mode unknown; y and h differ in shape.

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 8.3.3.

    Example:
        >>> import torch
        >>> from channels.flat.awgn import AwgnChannel
        >>> x = torch.ones(2, 768, dtype=torch.complex64)
        >>> received = AwgnChannel()(x, torch.tensor([5.0, 9.0]), seeds=[1, 2])
        >>> x_hat, no_eff = equalize(received, "zf")
        >>> x_hat.shape
        torch.Size([2, 768])
    """
    checks.check_choice("equalize: mode", mode, ("lmmse", "zf", "none"))
    y, h = received.y, received.csi.h
    if y.shape != h.shape:
        raise ValueError(checks.complaint("equalize: csi.h", "wrong shape", list(h.shape), list(y.shape)))
    noise = (received.csi.no + received.csi.err_var).expand(y.shape)
    if mode == "none":
        return y, noise
    power = abs_squared(h)
    if mode == "lmmse":
        denominator = power + noise
        return multiply_conj(y, h) / denominator, noise / denominator
    power = power.clamp_min(_TINY_GAIN)
    return multiply_conj(y, h) / power, noise / power
