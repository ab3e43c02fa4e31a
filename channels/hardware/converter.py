"""Mixers and converters: what becomes of I and Q on their way between carrier and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Interval

from channels import units
from channels.arithmetic import mean_square
from channels.checks import Unit
from channels.hardware.impairment import Effect, Impairment, Side
from channels.kinds import kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = ["IqImbalance", "Quantization"]

_TINY = 1e-20


@kind("impairment", "iq_imbalance")
@dataclass(frozen=True)
class IqImbalance(Impairment):
    r"""Unequal I and Q branches of a mixer: y = K1·s + K2·s*, the same at all antennas and frequencies.

    With g the amplitude ratio of Q to I and φ the error of the right angle between them,
    K1 = (1 + g e^{±jφ}) / 2 and K2 = (1 - g e^{jφ}) / 2 (+ at the transmitter, - at the receiver), both
    divided by √((1 + g²) / 2): a circular signal keeps its power. Image rejection is |K1|² / |K2|².

    Args:
        gain_db: 20·log10 g [dB].
        phase_deg: φ [degree].
        side: whose mixer.

    Source: Schenk, "RF Imperfections in High-rate Wireless Systems", 2008, ch. 5.
    """

    gain_db: Annotated[float, Interval(ge=-20, le=20), Unit("dB")] = 0.0
    phase_deg: Annotated[float, Interval(ge=-80, le=80), Unit("degree")] = 0.0
    side: Side = field(default="receiver", metadata={"name": "at"})
    linear: ClassVar[bool] = False
    effect: ClassVar[Effect] = "distorts"

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        squared = units.db_to_linear(self.gain_db)
        g, angle = math.sqrt(squared), math.radians(self.phase_deg)
        norm = 1 / math.sqrt((1 + squared) / 2)
        i, q = norm * samples.real, norm * samples.imag
        if self.side == "transmitter":  # I and Q leave on carriers that are not at right angles
            return torch.complex(i - (g * math.sin(angle)) * q, (g * math.cos(angle)) * q)
        return torch.complex(i, (g * math.cos(angle)) * q - (g * math.sin(angle)) * i)


@kind("impairment", "quantization")
@dataclass(frozen=True)
class Quantization(Impairment):
    r"""Analog-to-digital converters for I and Q: uniform, mid-rise, 2^bits levels, behind a gain control.

    The gain control of every antenna sets the measured root mean square of a real dimension over an image to
    clip_db below full scale; its gain is undone afterwards. Steps have no useful derivative: the gradient
    is straight-through, 1 within full scale and 0 beyond, and takes the gain as a constant.

    Args:
        bits: per real dimension, 1 to 24.
        clip_db: full scale over the root mean square of a real dimension [dB].

    Source: Max, "Quantizing for Minimum Distortion", IRE Trans. Inf. Theory 6 (1960); straight-through
        gradient: Bengio, Léonard & Courville, arXiv:1308.3432.
    """

    bits: Annotated[int, Interval(ge=1, le=24)]
    clip_db: Annotated[float, Interval(ge=0, le=40), Unit("dB")] = 12.0
    side: Side = field(default="receiver", init=False)
    linear: ClassVar[bool] = False
    effect: ClassVar[Effect] = "distorts"
    follows_level: ClassVar[bool] = True

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        full = math.sqrt(units.db_to_linear(self.clip_db) / 2) * mean_square(samples.detach()).sqrt()
        full = full.clamp_min(_TINY)[:, :, None, None]
        parts, levels = torch.view_as_real(samples), 1 << (self.bits - 1)
        within = parts.clamp(-full, full)
        code = (parts.detach() * levels / full).floor().clamp(-levels, levels - 1)
        # the second term is zero with the gradient of the clipped value
        return torch.view_as_complex((code + 0.5) / levels * full + (within - within.detach()))
