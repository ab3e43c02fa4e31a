"""How far a training goes: until its steps or its time are used up, and what changes when it is extended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from channels.checks import complaint
from linksim.scenario.files import ScenarioError

__all__ = ["Extent"]


@dataclass(frozen=True)
class Extent:
    """The end of a training, and the place in its schedule from which it heads there.

    Args:
        steps: optimiser steps of the whole training; None: time alone ends it.
        time_budget_s: time of the whole training; None: steps alone end it.
        from_step, from_seconds: what was done when it was last extended.
        from_progress: share of the schedule that was done then. The rest of the schedule is stretched over
            the rest of the steps or of the time.

    Example:
        >>> Extent(100, None).progress(25, 0.0), Extent(200, None, 100, 0.0, 0.5).progress(150, 0.0)
        (0.25, 0.75)
    """

    steps: int | None
    time_budget_s: float | None
    from_step: int = 0
    from_seconds: float = 0.0
    from_progress: float = 0.0

    @property
    def ends(self) -> tuple[int | None, float | None]:
        """Steps and time."""
        return self.steps, self.time_budget_s

    def progress(self, step: int, seconds: float, closing_s: float = 0.0) -> float:
        """Share of the training that is done, by steps or by time, whichever is further.

        Args:
            step: done.
            seconds: spent.
            closing_s: kept for the last validation and the files.
        """
        share = 0.0
        if self.steps is not None:
            share = (step - self.from_step) / (self.steps - self.from_step)
        if self.time_budget_s is not None:
            usable = max(self.time_budget_s - closing_s - self.from_seconds, 1e-9)
            share = max(share, (seconds - self.from_seconds) / usable)
        return share if share >= 1 else self.from_progress + (1 - self.from_progress) * share

    def state(self) -> dict[str, float]:
        """What :meth:`resumed` needs."""
        return {name: getattr(self, name) for name in ("from_step", "from_seconds", "from_progress")}

    def resumed(
        self, state: dict[str, Any], former: tuple[int | None, float | None], block: str, again_from: float
    ) -> Extent:
        """The extent of a training that goes on to these ends.

        Args:
            state: of the training: ``step``, ``seconds``, ``progress`` and what :meth:`state` returned, as
                far as an older version has them.
            former: :attr:`ends` that it was saved under. If they are others now, the training is extended
                (or shortened): what is left of the schedule is stretched over what is left of it; of a
                finished one the schedule is gone through once more from ``again_from``.
            block: of the scenario, for messages.
            again_from: share of the schedule in front of the last phase.

        Raises:
            ScenarioError: the training has done that much already.
        """
        old = Extent(*former, **{name: state[name] for name in self.state() if name in state})
        if former == self.ends:
            return replace(old, steps=self.steps, time_budget_s=self.time_budget_s)
        step, seconds = int(state["step"]), float(state["seconds"])
        cure = "Give more, or the one that the training began with."
        if self.steps is not None and self.steps <= step:
            got, expected = f"{self.steps} steps", f"more than the {step} that are done"
            raise ScenarioError(complaint(f"{block}.steps", "nothing left", got, expected, cure))
        if self.time_budget_s is not None and self.time_budget_s <= seconds:
            got, expected = f"{self.time_budget_s:g} s", f"more than the {seconds:.1f} s that are spent"
            raise ScenarioError(complaint(f"{block}.time_budget_s", "nothing left", got, expected, cure))
        done = float(state.get("progress", old.progress(step, seconds)))
        return Extent(*self.ends, step, seconds, done if done < 1 else again_from)

    def __str__(self) -> str:
        ends = [] if self.steps is None else [f"{self.steps - self.from_step} steps more"]
        ends += [] if self.time_budget_s is None else [f"{self.time_budget_s - self.from_seconds:.0f} s more"]
        return f"at most {' or '.join(ends)} from step {self.from_step} on"
