"""Complex products whose rounding does not depend on where in a batch a value stands.

PyTorch's complex kernels round differently in their vector body and in their scalar tail, so the last bit
of a product can change with the batch size. Each real product and sum here is one correctly rounded
operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = ["abs_squared", "mean_square", "multiply", "multiply_conj", "scale"]


def abs_squared(a: Tensor) -> Tensor:
    """|a|² of a complex tensor, differentiable also at 0.

    Example:
        >>> abs_squared(torch.tensor([3 - 4j]))
        tensor([25.])
    """
    return a.real.square() + a.imag.square()


def mean_square(a: Tensor) -> Tensor:
    """Mean |a|² over the last dimension, summed in pairs: the order is the same whatever the batch.

    Example:
        >>> mean_square(torch.tensor([[3 - 4j, 1j, 0j]]))
        tensor([8.6667])
    """
    values = abs_squared(a)
    count = values.shape[-1]
    while values.shape[-1] > 1:
        half = (values.shape[-1] + 1) // 2
        second = torch.nn.functional.pad(values[..., half:], (0, 2 * half - values.shape[-1]))
        values = values[..., :half] + second
    return values[..., 0] / count


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a·b of complex tensors of broadcastable shapes, differentiable.

    Example:
        >>> multiply(torch.tensor([1 + 2j]), torch.tensor([3 - 1j]))
        tensor([5.+5.j])
    """
    real = a.real * b.real - a.imag * b.imag
    return torch.complex(real, a.real * b.imag + a.imag * b.real)


def multiply_conj(a: Tensor, b: Tensor) -> Tensor:
    """a·b* of complex tensors of broadcastable shapes, differentiable.

    Example:
        >>> multiply_conj(torch.tensor([1 + 2j]), torch.tensor([3 - 1j]))
        tensor([1.+7.j])
    """
    real = a.real * b.real + a.imag * b.imag
    return torch.complex(real, a.imag * b.real - a.real * b.imag)


def scale(a: Tensor, factor: Tensor) -> Tensor:
    """a·factor of a complex tensor and a real one that broadcasts to its shape.

    Example:
        >>> scale(torch.tensor([1 + 2j]), torch.tensor([2.0]))
        tensor([2.+4.j])
    """
    return torch.view_as_complex(torch.view_as_real(a) * factor.unsqueeze(-1))
