"""PyTorch for modules that are read without being used: descriptions of kinds, lists, plots."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["is_tensor", "torch"]


class _Torch:
    """The module ``torch``, which its first attribute loads."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("torch"), name)


torch: Any = _Torch()


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor; without PyTorch there are none."""
    loaded = sys.modules.get("torch")
    return loaded is not None and isinstance(value, loaded.Tensor)
