"""What is wrong with the user's input."""

from __future__ import annotations

__all__ = ["ScenarioError"]


class ScenarioError(ValueError):
    """A scenario file or an override that cannot be used; the message holds every problem, a line each."""
