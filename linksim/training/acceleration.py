"""The accelerator of a training: devices, processes, mixed precision."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

__all__ = ["new_accelerator"]


def new_accelerator(device: torch.device, mixed_precision: str) -> Accelerator:
    """An accelerator, whatever a former training in this process had.

    Args:
        device: "cpu", or the best device there is.
        mixed_precision: "no", "bf16" or "fp16".
    """
    AcceleratorState._reset_state()  # it remembers a former precision, and refuses another one
    return Accelerator(cpu=device.type == "cpu", mixed_precision=mixed_precision)
