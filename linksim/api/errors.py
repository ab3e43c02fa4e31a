"""What is raised for bad input: one message each that says what was expected."""

from __future__ import annotations

from contextlib import AbstractContextManager

from channels.kinds import KindError
from channels.runtime.cache import FolderError
from channels.runtime.extras import NotInstalled
from linksim.build.checkpoints import CheckpointError
from linksim.build.foreign import foreign_as_input
from linksim.coding.calibration import CalibrationError
from linksim.images.sets import ImageError
from linksim.link import RunError
from linksim.metrics.base import MetricUnavailable
from linksim.scenario.files import ScenarioError
from linksim.weights.pickle_reader import ModelFormatError

__all__ = ["USER_ERRORS", "foreign_as_user_errors"]

USER_ERRORS: tuple[type[Exception], ...] = (
    ScenarioError,
    ImageError,
    CheckpointError,
    CalibrationError,
    ModelFormatError,
    MetricUnavailable,
    FolderError,
    KindError,
    NotInstalled,
)


def foreign_as_user_errors() -> AbstractContextManager[None]:
    """Whatever code of other people raises within is one of :data:`USER_ERRORS`, with kind, file and line;
    what linksim raises stays what it is.
    """
    return foreign_as_input("", passing=(*USER_ERRORS, RunError))
