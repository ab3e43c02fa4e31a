"""What is wrong with the user's input."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["RunError", "ScenarioError"]


class ScenarioError(ValueError):
    """A scenario file or an override that cannot be used; the message holds every problem, a line each."""


class RunError(RuntimeError):
    """A run or a training that failed on the way; it can be resumed after the cause is removed, unless
    ``resumes`` is false: then the same command fails again.
    """

    resumes: ClassVar[bool] = True
