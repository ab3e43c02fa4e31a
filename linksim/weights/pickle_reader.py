"""Tensors of a PyTorch checkpoint file, memory-mapped, with nothing executed.

A Lightning checkpoint carries other pickled objects beside its state_dict. They are skipped: every class or
function that is not one of the few that rebuild tensors is replaced by an empty one.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from channels.checks import complaint, in_words

if TYPE_CHECKING:  # torch takes a second that lists of what there is need not wait
    from torch import Tensor

__all__ = ["ModelFormatError", "load_tensors", "read_tensors"]


@cache
def _harmless() -> dict[tuple[str, str], Any]:
    import torch

    return {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
        ("torch", "Size"): torch.Size,
    }


class ModelFormatError(ValueError):
    """A checkpoint of other people's, or a model folder, that cannot be used."""


class _Skipped:
    """Stands for an object of a class that is not loaded."""

    def __init__(self, *arguments: object, **keywords: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Items of a skipped list are skipped."""

    def extend(self, values: object) -> None:
        """Items of a skipped list are skipped."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Nothing is imported by name: what is not harmless is an empty class."""
        return _harmless().get((module, name), type(name.rpartition(".")[2], (_Skipped,), {}))


# What torch.load wants of a module in the place of ``pickle``.
_READER: Any = ModuleType("linksim_reader")
_READER.Unpickler, _READER.UnpicklingError = _Unpickler, pickle.UnpicklingError
_READER.load = lambda file, **keywords: _Unpickler(file, **keywords).load()


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Tensors by name: those of ``state_dict`` if there is one. Memory-mapped: nothing is copied yet.

    Raises:
        ModelFormatError: no such file, no PyTorch checkpoint, or no tensors in it.
    """
    import torch

    if not path.is_file():
        raise ModelFormatError(
            complaint(str(path), "no such file", path.absolute(), "the authors' model.ckpt")
        )
    expected = "a PyTorch checkpoint with tensors"
    try:
        try:
            stored: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (
            pickle.UnpicklingError
        ):  # other objects beside the tensors: read it with everything else skipped
            stored = torch.load(
                path, map_location="cpu", weights_only=False, mmap=True, pickle_module=_READER
            )
    except Exception as problem:  # torch.load raises many types for a broken file
        raise ModelFormatError(complaint(str(path), "cannot be read", in_words(problem), expected)) from None
    found = stored.get("state_dict", stored) if isinstance(stored, dict) else None
    named = found.items() if isinstance(found, dict) else ()
    tensors = {
        name: value for name, value in named if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    if not tensors:
        raise ModelFormatError(complaint(str(path), "holds no tensors", type(stored).__name__, expected))
    return tensors


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file of ``torch.save`` by name, those of old versions included, in memory.

    Raises:
        ModelFormatError: it cannot be read, or holds other things.
    """
    import torch

    expected = "the tensors of a network by name, as torch.save writes a state_dict"
    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch.load raises many types for a broken file
        # PyTorch advises to read the file without weights_only, which would execute what stands in it
        other = isinstance(problem, pickle.UnpicklingError)
        said = "no file of PyTorch, or one of other things than tensors" if other else in_words(problem)
        raise ModelFormatError(complaint(str(path), "cannot be read", said, expected)) from None
    if not isinstance(stored, Mapping) or not all(isinstance(v, torch.Tensor) for v in stored.values()):
        got = f"a {type(stored).__name__} of other things"
        raise ModelFormatError(complaint(str(path), "holds no network", got, expected))
    return {str(name): tensor for name, tensor in stored.items()}
