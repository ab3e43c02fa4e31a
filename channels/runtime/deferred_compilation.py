"""PyTorch's compiler is loaded by whoever compiles, not by a package that only might."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch

__all__ = ["compilation_deferred"]

Function: TypeAlias = Callable[..., Any]
_COMPILER = "torch._dynamo"


@contextmanager
def compilation_deferred() -> Iterator[None]:
    """What is decorated in here with ``torch.compile`` is compiled when it is first called, and what is
    decorated with ``torch.compiler.disable`` is kept from the compiler as soon as there is one.

    Both decorators load the compiler at once, which takes twice the time of all of Sionna without it, and
    linksim compiles nothing of Sionna's.
    """
    if _COMPILER in sys.modules:
        yield
        return
    real = torch.compile, torch.compiler.disable
    setattr(torch, "compile", functools.partial(_decorate, _compiled, real[0]))  # noqa: B010 (not for mypy)
    setattr(torch.compiler, "disable", functools.partial(_decorate, _disabled, real[1]))  # noqa: B010
    try:
        yield
    finally:
        torch.compile, torch.compiler.disable = real


def _decorate(
    how: Callable[[Function, Function], Function],
    decorator: Function,
    function: Function | None = None,
    *arguments: Any,
    **options: Any,
) -> Function:
    """Stands for a decorator that is used with or without arguments."""
    if function is None:
        return functools.partial(_decorate, how, decorator, **options)
    return how(function, functools.cache(lambda: decorator(function, *arguments, **options)))


def _compiled(function: Function, decorated: Function) -> Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return decorated()(*args, **kwargs)

    return call


def _disabled(function: Function, decorated: Function) -> Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (decorated() if _COMPILER in sys.modules else function)(*args, **kwargs)

    setattr(call, "_torchdynamo_disable", True)  # noqa: B010 (the mark that the compiler looks for)
    return call
