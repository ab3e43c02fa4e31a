"""Carriers of other systems in the band."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Interval

from channels import checks, units
from channels.arithmetic import scale
from channels.checks import Unit
from channels.hardware.impairment import Effect, Impairment, Side
from channels.hardware.oscillator import Hertz, phasor, sample_times
from channels.kinds import kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = ["NarrowbandInterferer"]


@kind("impairment", "interferer")
@dataclass(frozen=True)
class NarrowbandInterferer(Impairment):
    """A carrier of another system: a tone of power ``power`` / SIR with a random phase at every antenna.

    Args:
        sir_db: nominal mean power of the signal over that of the tone [dB].
        frequency_hz: distance from the receiver's carrier [Hz], within half the sample rate.
    """

    sir_db: Annotated[float, Interval(ge=-60, le=300), Unit("dB")]
    frequency_hz: Hertz = 0.0
    side: Side = field(default="receiver", init=False)
    linear: ClassVar[bool] = False  # a constant is added
    effect: ClassVar[Effect] = "interferes"

    def state_size(self, num_antennas: int, num_samples: int) -> int:
        return num_antennas

    def draw(
        self, num_antennas: int, num_samples: int, sample_rate_hz: float, gen: torch.Generator
    ) -> Tensor:
        return torch.empty(num_antennas, dtype=torch.float64).uniform_(0, 1, generator=gen)

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        edge = sample_rate_hz / 2
        checks.check_range("NarrowbandInterferer: frequency_hz", self.frequency_hz, -edge, edge, "Hz")
        amplitude = math.sqrt(power * units.db_to_linear(-self.sir_db))
        cycles = sample_times(samples, sample_rate_hz) * self.frequency_hz + state[:, :, None]
        tone = phasor(cycles, samples.dtype)
        return samples + scale(tone, tone.real.new_tensor(amplitude))
