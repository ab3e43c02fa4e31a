"""The TensorBoard log of a training."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

__all__ = ["open_log"]

_WITHOUT_TENSORFLOW = "tensorboard.compat.notf"  # TensorBoard's own switch: a module of this name


def open_log(out: Path, step: int) -> Any:
    """A writer into the folder of a training; what an interrupted one wrote from ``step`` on is dropped.

    TensorFlow is left alone where it is installed: it takes seconds, memory and a GPU, and nothing here
    needs it.
    """
    sys.modules.setdefault(_WITHOUT_TENSORFLOW, types.ModuleType(_WITHOUT_TENSORFLOW))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"), purge_step=step)
