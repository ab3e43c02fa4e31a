"""What became of a signal: error vectors, residues, peaks."""

from __future__ import annotations

from torch import Tensor

from channels import units
from channels.arithmetic import abs_squared

__all__ = ["evm", "papr_db"]


def papr_db(samples: Tensor) -> Tensor:
    """Peak-to-average power ratio [dB]: the largest |s|² of an image over the mean of the same antenna.

    Args:
        samples: [B, A, N] complex.

    Returns:
        [B] float.

    Example:
        >>> import torch
        >>> papr_db(torch.tensor([[[1.0, 1.0, 1.0, 3.0]]]) + 0j)
        tensor([4.7712])
    """
    power = abs_squared(samples)
    return units.linear_to_db((power.amax(-1) / power.mean(-1)).amax(-1))


def evm(x_hat: Tensor, x: Tensor) -> Tensor:
    """Error vector magnitude, √(Σ|x_hat - x|² / Σ|x|²) of every image, linear.

    Args:
        x_hat: [B, ...] complex, received.
        x: same shape, sent.

    Returns:
        [B] float.

    Example:
        >>> import torch
        >>> evm(torch.tensor([[1.1 + 0j, -1.0]]), torch.tensor([[1.0 + 0j, -1.0]]))
        tensor([0.0707])
    """
    return (abs_squared(x_hat - x).flatten(1).sum(1) / abs_squared(x).flatten(1).sum(1)).sqrt()
