"""The block ``stop`` of a scenario: points that are run until enough is known of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from linksim.kinds.fields import PositiveInt, Real, Spec, Text

__all__ = ["StopSpec", "with_metric"]

_RULES = ("block_errors", "relative_ci", "absolute_ci", "seconds", "end_below")


class StopSpec(Spec):
    """When a point (channel, scheme, SNR, swept values) is done. It runs in chunks of ``sweep.trials``
    trials; after each the rules are asked, in that order, and the first one that holds ends it. So results do
    not depend on the number of processes; with ``seconds`` they depend on the machine.
    """

    max_trials: PositiveInt = Field(description="most trials of a point")
    metric: Text | None = Field(
        None, description="of relative_ci, absolute_ci and end_below; none: the first one"
    )
    block_errors: PositiveInt | None = Field(
        None, description="wrong blocks of all images together; of bler, which must be among the metrics"
    )
    relative_ci: Annotated[Real, Field(gt=0, lt=1)] | None = Field(
        None,
        description="half the confidence interval over the value; over trials, for the images at hand: that "
        "of results.csv, over images, may be wider",
    )
    absolute_ci: Annotated[Real, Field(gt=0)] | None = Field(
        None, description="half the confidence interval in the unit of the metric, such as 0.1 dB of psnr"
    )
    seconds: Annotated[Real, Field(gt=0)] | None = Field(
        None, description="time of the units of a point, all together [s]"
    )
    end_below: Annotated[Real, Field(gt=0, lt=1)] | None = Field(
        None, description="of an error rate: SNRs above the first one at which it is below this are not run"
    )

    @model_validator(mode="after")
    def _has_a_rule(self) -> StopSpec:
        if all(getattr(self, name) is None for name in _RULES):
            raise ValueError(f"got max_trials alone, expected one of {', '.join(_RULES)} beside it.")
        if self.end_below is not None and all(getattr(self, name) is None for name in _RULES[:-1]):
            raise ValueError("got end_below alone, expected a rule that ends a point, such as block_errors.")
        return self

    def text(self, trials: int) -> str:
        """The rule in one line, for people; ``trials`` of a chunk."""
        rules = {
            f"{self.block_errors} block errors": self.block_errors,
            f"half the interval of {self.metric} within {self.relative_ci} of it": self.relative_ci,
            f"half the interval of {self.metric} within {self.absolute_ci}": self.absolute_ci,
            f"{self.seconds} s": self.seconds,
        }
        ends = " or ".join(said for said, value in rules.items() if value is not None)
        above = f"; none above an SNR with {self.metric} < {self.end_below}" if self.end_below else ""
        return (
            f"stop: asked after every {trials} trials of a point; {ends}, or {self.max_trials} trials{above}"
        )

    def check(self, metrics: tuple[str, ...], trials: int, *, has_snr: bool) -> None:
        """Raise ValueError for a rule that the rest of a scenario has no use for.

        Args:
            metrics: of the scenario.
            trials: of its sweep, a chunk.
            has_snr: whether it sweeps SNRs.
        """
        if self.max_trials <= trials:
            got = f"got {self.max_trials} with sweep.trials: {trials} (a chunk)"
            raise ValueError(f"stop.max_trials: {got}, expected more.")
        if self.metric not in metrics:
            raise ValueError(
                f"stop.metric: got {self.metric}, expected one of metrics: {', '.join(metrics)}."
            )
        if self.block_errors is not None and "bler" not in metrics:
            raise ValueError("stop.block_errors: got it without the metric bler, expected bler in metrics.")
        if self.end_below is not None and not has_snr:
            raise ValueError("stop.end_below: got it with a link budget, expected sweep.snr_db.")


def with_metric(data: Any) -> Any:
    """A scenario as it is written, with the metric that its rule goes by: the first one, if it names none."""
    stop, metrics = (data.get("stop"), data.get("metrics")) if isinstance(data, dict) else (None, None)
    if not isinstance(stop, dict) or stop.get("metric") is not None:
        return data
    if not isinstance(metrics, list | tuple) or not metrics:
        return data
    return {**data, "stop": {**stop, "metric": metrics[0]}}
