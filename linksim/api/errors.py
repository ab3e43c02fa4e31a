"""What is raised for bad input: one message each that says what was expected.

May import: channels.{cache, kinds}, linksim.{checkpoints, digital, images, metrics, pickle_reader,
    scenario_io}.
"""

from __future__ import annotations

from channels.cache import FolderError
from channels.kinds import KindError
from linksim.checkpoints import CheckpointError
from linksim.digital.link_adaptation import CalibrationError
from linksim.images import ImageError
from linksim.metrics.base import MetricUnavailable
from linksim.pickle_reader import ModelFormatError
from linksim.scenario_io import ScenarioError

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
