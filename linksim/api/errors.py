"""What is raised for bad input: one message each that says what was expected."""

from __future__ import annotations

from channels.kinds import KindError
from channels.runtime.cache import FolderError
from linksim.build.checkpoints import CheckpointError
from linksim.coding.calibration import CalibrationError
from linksim.images.sets import ImageError
from linksim.metrics.base import MetricUnavailable
from linksim.scenario.files import ScenarioError
from linksim.weights.pickle_reader import ModelFormatError

__all__ = ["USER_ERRORS"]

USER_ERRORS: tuple[type[Exception], ...] = (
    ScenarioError,
    ImageError,
    CheckpointError,
    CalibrationError,
    ModelFormatError,
    MetricUnavailable,
    FolderError,
    KindError,
)
