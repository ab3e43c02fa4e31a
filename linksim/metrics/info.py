"""Facts about a metric: what its column is called, which way is better, where it comes from. Imports nothing
of the project, so that figures and tables read them without loading a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["MetricInfo", "SideLimit"]


@dataclass(frozen=True)
class MetricInfo:
    """Facts about a metric, recorded with every run.

    Args:
        name: column value in results.csv.
        unit: "dB", "1", ...
        higher_is_better: direction; None where the value nearest to 0 is the best.
        reference: paper, package and version, digest of weights.
        min_side: smallest image side it is defined for [pixels].
        label: name in figures and tables; empty for the name itself.
        losses: names by which trainings record that they used it as a loss; empty for its own name.
        features: of a metric of sets, what it compares; metrics of the same features share them.
        distance: of a metric of sets, how two collections of features are compared; empty for a metric of
            single pictures.
        network: that it looks through: package with version, name, digest of weights; empty for none.
        is_rate: a share of errors, from counts of errors and trials: drawn on a logarithmic axis, with an
            upper limit where no error was seen. Set by linksim for every metric that counts.
        is_share: a value of a picture is a share of what it holds, 0 to 1: where all pictures have 0, or all
            have 1, the interval is that of as many independent pictures.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    reference: str
    min_side: int = 1
    label: str = ""
    losses: tuple[str, ...] = ()
    features: str = ""
    distance: str = ""
    is_rate: bool = False
    network: str = ""
    is_share: bool = False

    @classmethod
    def from_run(cls, name: str, facts: Mapping[str, Any]) -> MetricInfo:
        """Read what run.json holds of a metric. Fields that an older version did not write have their
        defaults: :func:`linksim.metrics.facts.read_facts` knows more of the metrics that are installed.
        """
        known = {f.name for f in fields(cls)} - {"name"}
        read = {key: value for key, value in facts.items() if key in known}
        if "losses" in read:
            read["losses"] = tuple(read["losses"])
        return cls(name, **read)

    @property
    def scope(self) -> Literal["image", "set"]:
        """Whether a value belongs to each picture (or its transmission), or to all pictures together."""
        return "set" if self.distance else "image"

    @property
    def title(self) -> str:
        """Name for people."""
        return self.label or self.name

    @property
    def axis(self) -> str:
        """Name for people with the unit."""
        return self.title if self.unit == "1" else f"{self.title} [{self.unit}]"

    @property
    def better(self) -> str:
        """The direction in words."""
        if self.higher_is_better is None:
            return "nearest to 0 is best"
        return "higher is better" if self.higher_is_better else "lower is better"

    def best(self, values: Sequence[float]) -> float:
        """The best of some values."""
        if self.higher_is_better is None:
            return min(values, key=abs)
        return max(values) if self.higher_is_better else min(values)

    def was_loss(self, trained_on: Sequence[str]) -> bool:
        """Whether a training that records ``trained_on`` used this metric as a loss."""
        return not set(self.losses or (self.name,)).isdisjoint(trained_on)


@dataclass(frozen=True)
class SideLimit:
    """A measure that is not defined for small pictures.

    Args:
        name: of the measure.
        min_side: smallest side [pixels].
        cure: what to change.
    """

    name: str
    min_side: int
    cure: str
