"""A TensorFlow function on PyTorch tensors, differentiable and without copies: the bridge alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import dlpack

from channels import checks
from channels.runtime.triton_loading import load_triton

__all__ = ["one_tensor", "tensorflow", "tensorflow_call"]

load_triton()

# TensorFlow aborts the process over a buffer that begins elsewhere.
_ALIGNMENT = 64


@cache
def tensorflow() -> Any:
    """TensorFlow, imported at the first call. It must leave Python's generator and the GPU's memory alone.

    Raises:
        ImportError: it is not installed.
    """
    state = random.getstate()
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        expected, cure = "tensorflow 2.19 or 2.20", "Run: pip install 'linksim-wireless[tensorflow]'."
        raise ImportError(checks.complaint("tensorflow", "not installed", "none", expected, cure)) from error
    finally:
        random.setstate(state)
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow runs already: as its user has set it up
            break
    return tf


@cache
def _sees_gpu() -> bool:
    return len(tensorflow().config.list_physical_devices("GPU")) > 0


def tensorflow_call(fn: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """Call a TensorFlow function on PyTorch tensors, differentiably.

    Memory is shared both ways (DLPack); what TensorFlow could not read in place (a view, a conjugate, an odd
    address) is copied. Without a need for gradients nothing is recorded. PyTorch and TensorFlow agree on the
    gradient of complex functions, so it passes unchanged. Weights inside ``fn`` get no gradient.

    Overwriting an argument or the result between this call and the backward pass is an error, as it is with
    PyTorch's own functions. On a GPU both frameworks wait for each other here; before you run TensorFlow
    elsewhere on memory that came from here, call ``torch.cuda.synchronize()``.

    Args:
        fn: takes as many ``tf.Tensor`` as given, returns one; a ``tf.function``, Keras layer or model too.
        tensors: one or more, all on one device, of any type that both frameworks have.

    Returns:
        What ``fn`` returns, on the same device.

    Raises:
        ImportError: TensorFlow is not installed.
        TypeError: ``fn`` does not return one tensor.
        ValueError: no tensors, or on different devices.
        RuntimeError: TensorFlow cannot use the device; in the backward pass, ``fn`` has no gradient.

    Source: DLPack, https://dmlc.github.io/dlpack; complex gradients: PyTorch notes "Autograd mechanics".
    """
    devices = {tensor.device for tensor in tensors}
    if len(devices) != 1:
        got = ", ".join(sorted(map(str, devices))) or "no tensor"
        raise ValueError(checks.complaint("tensorflow_call: tensors", "wrong devices", got, "one device"))
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _Call.apply(fn, *tensors)
    tf, inputs = tensorflow(), exported(*tensors)
    with _on(tensors[0].device):
        y = one_tensor(fn(*inputs))
    _wait(tf, tensors[0].device)
    return _import(y, tensors)


@dataclass(frozen=True)
class _Recorded:
    tape: Any
    sources: list[Any]
    target: Any


def _record(fn: Callable[..., Any], inputs: Sequence[Any], needed: Sequence[int]) -> _Recorded:
    """One call of ``fn`` on a tape that can be played back once: one for many times makes traced functions
    three times as slow. Weights are not watched.
    """
    sources = [inputs[i] for i in needed]
    with tensorflow().GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        return _Recorded(tape, sources, one_tensor(fn(*inputs)))


class _Call(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fn: Callable[..., Any], *tensors: Tensor) -> Tensor:
        tf, device = tensorflow(), tensors[0].device
        ctx.fn, ctx.inputs = fn, exported(*tensors)
        ctx.needed = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
        with _on(device):
            ctx.recorded = _record(fn, ctx.inputs, ctx.needed)
        _wait(tf, device)
        y = _import(ctx.recorded.target, tensors)
        ctx.save_for_backward(*tensors, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, _ = ctx.saved_tensors  # complains of what was overwritten since: the tape reads it
        tf, (upstream,) = tensorflow(), exported(gradient)
        with _on(gradient.device):
            recorded = ctx.recorded or _record(ctx.fn, ctx.inputs, ctx.needed)
            ctx.recorded = None  # frees what TensorFlow kept for this pass
            found = recorded.tape.gradient(recorded.target, recorded.sources, output_gradients=upstream)
            for place, value in zip(ctx.needed, found, strict=True):
                _check_gradient(value, place, len(tensors))
            if not all(isinstance(value, tf.Tensor) for value in found):  # that of tf.gather is sparse
                found = [tf.convert_to_tensor(value) for value in found]
        _wait(tf, gradient.device)
        result: list[Tensor | None] = [None] * (1 + len(tensors))
        apart = [gradient, *tensors]  # autograd adds to gradients in place: each needs memory of its own
        for place, value in zip(ctx.needed, found, strict=True):
            apart.append(_import(value, apart))
            result[1 + place] = apart[-1]
        return tuple(result)


def exported(*tensors: Tensor) -> list[Any]:
    """TensorFlow's view of tensors, on a GPU when PyTorch is done with them."""
    read, device = tensorflow().experimental.dlpack.from_dlpack, tensors[0].device
    if device.type == "cuda" and not _sees_gpu():
        cure = "Install tensorflow[and-cuda], or use device='cpu'."
        raise RuntimeError(checks.complaint("tensorflow_call: device", "no GPU", device, "the CPU", cure))
    plain = [_plain(tensor.detach()) for tensor in tensors]
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return [read(dlpack.to_dlpack(tensor)) for tensor in plain]  # type: ignore[attr-defined]


def _plain(tensor: Tensor) -> Tensor:
    """The values in order at an address that TensorFlow can read; the same memory where it is so already."""
    if tensor.is_conj() or tensor.is_neg():  # the export would go without the sign, and say nothing
        tensor = tensor.resolve_conj().resolve_neg()
    tensor = tensor.contiguous()
    return tensor.clone() if tensor.data_ptr() % _ALIGNMENT else tensor


def _import(value: Any, apart: Sequence[Tensor]) -> Tensor:
    """PyTorch's view of a TensorFlow tensor; a copy where it shares memory with one of ``apart``."""
    tensor: Tensor = dlpack.from_dlpack(tensorflow().experimental.dlpack.to_dlpack(value))
    begin, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    for other in apart:
        storage = other.untyped_storage()
        if begin < storage.data_ptr() + storage.nbytes() and storage.data_ptr() < end:
            return tensor.clone()
    return tensor


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """TensorFlow works where the tensors are, not where it would like to."""
    if not _sees_gpu():
        return nullcontext()
    place = f"/GPU:{device.index or 0}" if device.type == "cuda" else "/CPU:0"
    scope: AbstractContextManager[Any] = tensorflow().device(place)
    return scope


def _wait(tf: Any, device: torch.device) -> None:
    if device.type == "cuda":
        tf.test.experimental.sync_devices()


def one_tensor(y: Any) -> Any:
    """What a function returned, which must be one ``tf.Tensor``.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(y, tensorflow().Tensor):
        got = type(y).__name__
        raise TypeError(checks.complaint("tensorflow_call: fn", "wrong result", got, "one tf.Tensor"))
    return y


def _check_gradient(value: Any, place: int, count: int) -> None:
    if value is None:
        got = f"None for tensor {place + 1} of {count}"
        cure = "tf.round, tf.argmax, casts to integers, tf.stop_gradient and NumPy calls cut it."
        expected = "a result that depends on it through differentiable operations"
        raise RuntimeError(checks.complaint("tensorflow_call: fn", "no gradient", got, expected, cure))
