"""A DC offset of the receiver's mixer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Interval

from channels.units import db_to_linear
from linksim.kinds import Impairment, kind


@kind("impairment", "dc_offset")
@dataclass(frozen=True)
class DcOffset(Impairment):
    """A constant ``level_db`` relative to the nominal mean power is added to every sample.

    No receiver here knows of it: it interferes.
    """

    level_db: Annotated[float, Interval(ge=-100, le=20)]
    side: str = field(default="receiver", init=False)
    linear: ClassVar[bool] = False
    effect: ClassVar[str] = "interferes"

    def apply(self, samples, state, sample_rate_hz, power):
        """Samples [B, A, N] with the constant."""
        return samples + (power * db_to_linear(self.level_db)) ** 0.5
