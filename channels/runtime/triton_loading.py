"""Triton beside TensorFlow in one process."""

from __future__ import annotations

import importlib
import os
import sys

__all__ = ["load_triton"]


def load_triton() -> None:
    """Load Triton while that is safe. It and TensorFlow bring an LLVM each; loaded by Sionna or
    ``torch.compile`` after TensorFlow, Triton crashes, unless it keeps to its own copy.
    """
    flags = sys.getdlopenflags()
    if "tensorflow" in sys.modules and hasattr(os, "RTLD_DEEPBIND"):
        sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        importlib.import_module("triton._C.libtriton")
    except ImportError:  # a PyTorch without Triton
        pass
    finally:
        sys.setdlopenflags(flags)
