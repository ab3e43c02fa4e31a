"""Oscillators and clocks: samples turned by a phase, windows that are late."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt, Interval

from channels import checks
from channels.arithmetic import multiply
from channels.checks import Unit
from channels.hardware.impairment import Effect, Impairment, Side
from channels.kinds import kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = ["CarrierFrequencyOffset", "Hertz", "PhaseNoise", "TimingOffset", "phasor", "sample_times"]

Hertz = Annotated[float, Interval(ge=-1e9, le=1e9), Unit("Hz")]
_WHOLE_SAMPLE = 1e-9  # a delay this near a whole number of samples is one


@kind("impairment", "cfo")
@dataclass(frozen=True)
class CarrierFrequencyOffset(Impairment):
    """Sender's carrier minus receiver's oscillator: s_n · exp(j2π f n / f_s), phase 0 at sample 0.

    Args:
        offset_hz: f [Hz].
        uniform: draw f for every image, uniform from -offset_hz to offset_hz.

    Source: Moose, "A Technique for Orthogonal Frequency Division Multiplexing Frequency Offset Correction",
        IEEE Trans. Commun. 42 (1994).
    """

    offset_hz: Hertz
    uniform: bool = False
    side: Side = field(default="receiver", init=False)
    linear: ClassVar[bool] = True
    effect: ClassVar[Effect] = "turns"
    lasting: ClassVar[bool] = True

    def state_size(self, num_antennas: int, num_samples: int) -> int:
        return 1 if self.uniform else 0

    def draw(
        self, num_antennas: int, num_samples: int, sample_rate_hz: float, gen: torch.Generator
    ) -> Tensor:
        size = self.state_size(num_antennas, num_samples)
        return torch.empty(size, dtype=torch.float64).uniform_(-1, 1, generator=gen)

    def phase_correlation(self, lag_s: Tensor) -> Tensor:
        if self.uniform:
            return torch.sinc(2 * self.offset_hz * lag_s).to(torch.complex128)
        return phasor(self.offset_hz * lag_s, torch.complex128)

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        cycles = sample_times(samples, sample_rate_hz) * self.offset_hz
        if self.uniform:
            cycles = cycles * state[:, :, None]
        return multiply(samples, phasor(cycles, samples.dtype))


@kind("impairment", "timing")
@dataclass(frozen=True)
class TimingOffset(Impairment):
    r"""The receiver looks too late: y_n = s(n / f_s + offset), what lies outside the signal is 0.

    Whole samples shift. Parts of a sample are band-limited interpolation, y_n = Σ_m s_m sinc(n - m + τ f_s),
    a linear convolution without wrap-around; steps between OFDM symbols then ring over a few samples.

    Args:
        offset_s: τ, positive when the receiver's window is late [s]. OFDM forgives a window that is early by
            no more than the prefix.

    Source: Speth et al., "Optimum Receiver Design for Wireless Broad-Band Systems Using OFDM, Part I", IEEE
        Trans. Commun. 47 (1999).
    """

    offset_s: Annotated[float, Interval(ge=-1e-3, le=1e-3), Unit("s")]
    side: Side = field(default="receiver", init=False)
    linear: ClassVar[bool] = True
    effect: ClassVar[Effect] = "shifts"

    @property
    def delay_s(self) -> float:
        return self.offset_s

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        num_samples = samples.shape[-1]
        shift = self.offset_s * sample_rate_hz
        if abs(shift) >= num_samples:
            expected = f"less than the signal of {num_samples} samples"
            raise ValueError(
                checks.complaint("TimingOffset: offset_s", "too long", f"{shift:g} samples", expected)
            )
        whole = round(shift)
        if abs(shift - whole) < _WHOLE_SAMPLE:
            return torch.nn.functional.pad(samples, (-whole, whole)) if whole else samples
        length = 1 << (2 * num_samples - 1).bit_length()
        lag = torch.arange(length, dtype=torch.float64, device=samples.device)
        lag = torch.where(lag < num_samples, lag, lag - length)
        response = torch.fft.fft(torch.sinc(lag + shift).to(torch.complex128)).to(samples.dtype)
        # by image: a single long transform is spread over threads and rounds otherwise than several
        shifted = [torch.fft.ifft(multiply(torch.fft.fft(image, length), response)) for image in samples]
        return torch.stack(shifted)[..., :num_samples]


@kind("impairment", "phase_noise")
@dataclass(frozen=True)
class PhaseNoise(Impairment):
    r"""Phase noise of one oscillator, common to all antennas: s_n · exp(jφ_n).

    Free-running: a Wiener process from φ_0 = 0 with steps of variance 2πβ / f_s, so that
    E[exp(j(φ_m - φ_n))] = exp(-πβ |m - n| / f_s) and β is the 3 dB linewidth. In a phase-locked loop of
    bandwidth f_L: the stationary Ornstein-Uhlenbeck process of variance β / (2 f_L) that has the same phase
    noise above f_L and a flat spectrum below.

    Args:
        linewidth_hz: β, two-sided 3 dB width of the free-running carrier [Hz].
        loop_bandwidth_hz: f_L [Hz]; None: no loop.
        side: whose oscillator.

    Source: Pollet, Van Bladel & Moeneclaey, "BER Sensitivity of OFDM Systems to Carrier Frequency Offset and
        Wiener Phase Noise", IEEE Trans. Commun. 43 (1995); Mehrotra, "Noise Analysis of Phase-Locked Loops",
        IEEE Trans. Circuits Syst. I 49 (2002).
    """

    linewidth_hz: Annotated[float, Interval(ge=0, le=1e7), Unit("Hz")]
    loop_bandwidth_hz: Annotated[float, Gt(0), Unit("Hz")] | None = None
    side: Side = field(default="receiver", metadata={"name": "at"})
    linear: ClassVar[bool] = True
    effect: ClassVar[Effect] = "turns"

    def state_size(self, num_antennas: int, num_samples: int) -> int:
        return num_samples

    def draw(
        self, num_antennas: int, num_samples: int, sample_rate_hz: float, gen: torch.Generator
    ) -> Tensor:
        from scipy.signal import lfilter  # loads for most of a second: for those who have phase noise

        steps = torch.empty(num_samples, dtype=torch.float64).normal_(generator=gen)
        if self.loop_bandwidth_hz is None:
            memory, first, step = 1.0, 0.0, math.sqrt(2 * math.pi * self.linewidth_hz / sample_rate_hz)
        else:
            decay = 2 * math.pi * self.loop_bandwidth_hz / sample_rate_hz
            memory, first = math.exp(-decay), math.sqrt(self.linewidth_hz / (2 * self.loop_bandwidth_hz))
            step = first * math.sqrt(-math.expm1(-2 * decay))
        steps[:1] *= first
        steps[1:] *= step
        return torch.from_numpy(lfilter([1.0], [1.0, -memory], steps.numpy()))

    def phase_correlation(self, lag_s: Tensor) -> Tensor:
        exponent = math.pi * self.linewidth_hz * lag_s.abs()
        if self.loop_bandwidth_hz is not None:
            variance = self.linewidth_hz / (2 * self.loop_bandwidth_hz)
            exponent = -variance * torch.expm1(-2 * math.pi * self.loop_bandwidth_hz * lag_s.abs())
        return torch.exp(-exponent).to(torch.complex128)

    def mean_phasor(self, time_s: Tensor) -> Tensor:
        if self.loop_bandwidth_hz is None:
            return self.phase_correlation(time_s)
        half = self.linewidth_hz / (4 * self.loop_bandwidth_hz)  # of its variance
        return torch.full_like(time_s, math.exp(-half)).to(torch.complex128)

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        return multiply(samples, phasor(state[:, None] / (2 * math.pi), samples.dtype))


def sample_times(samples: Tensor, sample_rate_hz: float) -> Tensor:
    """Time of every sample [s], [1, 1, N] float64."""
    count = torch.arange(samples.shape[-1], dtype=torch.float64, device=samples.device)
    return (count / sample_rate_hz)[None, None]


def phasor(cycles: Tensor, dtype: torch.dtype) -> Tensor:
    """exp(j2π cycles), computed in float64 and rounded once."""
    angle = 2 * math.pi * (cycles - cycles.round())
    return torch.complex(angle.cos(), angle.sin()).to(dtype)
