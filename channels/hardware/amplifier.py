"""Amplifiers: what they do to large samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Interval

from channels import units
from channels.arithmetic import abs_squared, scale
from channels.checks import Unit
from channels.hardware.impairment import Effect, Impairment, Side
from channels.kinds import kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = ["Clipping", "RappAmplifier"]

Level = Annotated[float, Interval(ge=-60, le=60), Unit("dB")]
_TINY = 1e-20


@kind("impairment", "clipping")
@dataclass(frozen=True)
class Clipping(Impairment):
    """Soft limiter of a power amplifier, or deliberate clipping: |s| at most √(power · papr), phase kept.

    The mean power falls with the peaks; nothing is scaled up again.

    Args:
        papr_db: largest |s|² over the nominal mean power [dB].

    Source: Ochiai & Imai, "Performance Analysis of Deliberately Clipped OFDM Signals", IEEE Trans. Commun. 50
        (2002).
    """

    papr_db: Annotated[float, Interval(ge=0, le=60), Unit("dB")]
    side: Side = field(default="transmitter", init=False)
    linear: ClassVar[bool] = False
    effect: ClassVar[Effect] = "distorts"

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        squared = abs_squared(samples)
        limit = squared.new_tensor(power * units.db_to_linear(self.papr_db))
        return scale(samples, (limit / squared.maximum(limit)).sqrt())


@kind("impairment", "rapp")
@dataclass(frozen=True)
class RappAmplifier(Impairment):
    r"""Solid-state power amplifier: |s| becomes r / (1 + (r/a)^{2p})^{1/2p}, phase kept.

    a² = power · back-off. The gain of small signals is 1; the output never exceeds a.

    Args:
        backoff_db: input back-off, saturation power over nominal mean power [dB].
        smoothness: p; the larger, the nearer to :class:`Clipping`. 2 to 3 for solid-state amplifiers.

    Source: Rapp, "Effects of HPA-Nonlinearity on a 4-DPSK/OFDM-Signal for a Digital Sound Broadcasting
        System", 2nd European Conference on Satellite Communications (1991).
    """

    backoff_db: Level
    smoothness: Annotated[float, Interval(ge=0.1, le=1000)] = 2.0
    side: Side = field(default="transmitter", init=False)
    linear: ClassVar[bool] = False
    effect: ClassVar[Effect] = "distorts"

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        saturation = power * units.db_to_linear(self.backoff_db)
        # neither pow nor logaddexp, which round otherwise at other places of a batch
        exponent = self.smoothness * (abs_squared(samples) / saturation).clamp_min(_TINY).log()
        log_gain = torch.nn.functional.logsigmoid(-exponent) / (2 * self.smoothness)
        return scale(samples, log_gain.exp())
