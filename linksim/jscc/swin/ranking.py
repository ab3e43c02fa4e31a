"""Order of channels by worth, with equal ones in the order of the program that trained SwinJSCC.

A mask of SwinJSCC is a sigmoid, which is exactly 1 for large arguments, so that channels can tie; which of
them are sent is then up to the sorting algorithm. The authors say that their networks with rates want PyTorch
1.12 or older. Its CUDA sort of up to 2048 numbers is a bitonic network, which does not keep the order of
equal numbers; since 1.13 (pytorch/pytorch#79628) it is a stable radix sort, which chooses other channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["order_by_worth"]

_SIZES = (32, 128, 1024, 2048)  # numbers that the network is laid out for


def _steps(size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Steps of the network: places that are compared [size/2] each, and whether they shall rise."""
    pair = torch.arange(size // 2)
    part = 2
    while part <= size:
        rising = (pair & (part // 2)) != 0 if part < size else torch.zeros_like(pair, dtype=torch.bool)
        stride = part // 2
        while stride:
            first = 2 * pair - (pair & (stride - 1))
            yield first, first + stride, rising
            stride //= 2
        part *= 2


def order_by_worth(worth: Tensor) -> Tensor:
    """Indices [B, n] of numbers [B, n] from the highest to the lowest, by Batcher's bitonic network.

    Equal numbers change places in the pairs that shall fall, and stay in those that shall rise.

    Source: Batcher, "Sorting Networks and Their Applications", AFIPS 1968.

    Example:
        >>> order_by_worth(torch.tensor([[2.0, 3.0, 1.0]])).tolist()
        [[1, 0, 2]]
    """
    batch, count = worth.shape
    size = next((size for size in _SIZES if count <= size), 1 << (count - 1).bit_length())
    keys = worth.detach().cpu().new_zeros(batch, size)
    keys[:, :count] = worth.detach().cpu()
    index = torch.arange(size).expand(batch, size).clone()
    is_there = (index < count).clone()
    for first, second, rising in _steps(size):
        in_order = (keys[:, first] > keys[:, second]) & is_there[:, first] | ~is_there[:, second]
        swap = in_order == rising
        for values in (keys, index, is_there):
            a, b = values[:, first], values[:, second]
            values[:, first], values[:, second] = torch.where(swap, b, a), torch.where(swap, a, b)
    return index[:, :count].to(worth.device)
