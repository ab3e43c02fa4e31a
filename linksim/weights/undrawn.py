"""Networks whose values are not drawn, because weights of a file replace them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["shapes_only", "undrawn"]


class undrawn(TorchFunctionMode):  # noqa: N801 (a context)
    """New parameters are zeros, not drawn: weights replace them; on the meta device that loads a compiler."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__module__", None) == nn.init.__name__:
            with torch.no_grad():
                return (named["tensor"] if "tensor" in named else args[0]).zero_()
        return func(*args, **named)


@contextmanager
def shapes_only() -> Iterator[None]:
    """What is made in here has shapes and types and neither memory nor values: to compare them with
    those of a file.
    """
    with torch.device("meta"), undrawn():
        yield
