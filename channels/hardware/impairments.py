r"""Imperfect radio hardware: what transmitters and receivers do to complex baseband samples.

An impairment is cut like a channel operator: ``draw`` holds all randomness of one image, ``apply`` is
deterministic and differentiable in the samples. Samples are [B, A, N]: images, antennas, time. No sample
depends on the batch mates of its image, to the bit: arithmetic is elementwise and real
(:mod:`channels.arithmetic`), transforms go by image.

A class is all that there is of a kind: fields with their bounds, facts, and what it does to samples.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Gt, Interval

from channels import checks, units
from channels.arithmetic import abs_squared, mean_square, multiply, scale
from channels.checks import Unit, check_fields
from channels.kinds import KindError, kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = [
    "CarrierFrequencyOffset",
    "Clipping",
    "FrontEnd",
    "Impairment",
    "IqImbalance",
    "NarrowbandInterferer",
    "PhaseNoise",
    "Quantization",
    "RappAmplifier",
    "Side",
    "TimingOffset",
]

Side = Literal["transmitter", "receiver"]
Effect = Literal["turns", "shifts", "distorts", "interferes"]

Hertz = Annotated[float, Interval(ge=-1e9, le=1e9), Unit("Hz")]
Level = Annotated[float, Interval(ge=-60, le=60), Unit("dB")]

_TINY = 1e-20
_WHOLE_SAMPLE = 1e-9  # a delay this near a whole number of samples is one


class Impairment(ABC):
    """One fault of one side's hardware, acting on samples [B, A, N] of known nominal mean power.

    A kind is a frozen dataclass; bounds of its fields are annotations, which construction and scenarios check
    alike. It states these facts:

        side: whose hardware it is; a field, or the same for all.
        linear: complex-linear in the samples, given the state.
        effect: "turns" all samples of all antennas by a common phase (see :meth:`mean_phasor`); "shifts" the
            receiver's window (see ``delay_s``); "distorts": whatever it does is a mean gain and distortion
            that receivers know on average; "interferes": adds what no receiver knows of.
        lasting: the state is one of the device, the same in a later transmission.
        follows_level: what it does follows the power of the whole frame, not that of each symbol (converters
            behind a gain control).
    """

    side: Side
    linear: ClassVar[bool]
    effect: ClassVar[Effect]
    lasting: ClassVar[bool] = False
    follows_level: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)
        checks.check_choice(f"{type(self).__name__}: side", self.side, get_args(Side))

    @property
    def delay_s(self) -> float:
        """How late the receiver's window is, where the effect is "shifts" [s]."""
        return 0.0

    def state_size(self, num_antennas: int, num_samples: int) -> int:
        """K: how many random numbers one image needs."""
        return 0

    def draw(
        self, num_antennas: int, num_samples: int, sample_rate_hz: float, gen: torch.Generator
    ) -> Tensor:
        """All randomness of one image, [K] float64 on the CPU, K = :meth:`state_size`.

        Args:
            num_antennas: A.
            num_samples: N.
            sample_rate_hz: of the samples [Hz].
            gen: CPU generator to draw from.
        """
        return torch.empty(0, dtype=torch.float64)

    def phase_correlation(self, lag_s: Tensor) -> Tensor:
        """E[exp(j(φ(t + lag) - φ(t)))] of the phase φ that turns all samples alike, complex128; lags in s."""
        return torch.ones_like(lag_s, dtype=torch.complex128)

    def mean_phasor(self, time_s: Tensor) -> Tensor:
        """E[exp(jφ(t))] of that phase, complex128; without a loop it begins at φ(0) = 0."""
        return self.phase_correlation(time_s)

    @abstractmethod
    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        """The samples after the fault, same shape and dtype, differentiable.

        Args:
            samples: [B, A, N] complex.
            state: [B, K] float64, rows from :meth:`draw`.
            sample_rate_hz: of the samples [Hz].
            power: nominal mean |s|² of an antenna, before fading and noise, linear.
        """


def checked_impairment(name: str, target: Any, bound: Any) -> type[Impairment]:
    """An impairment as the registry takes it.

    Raises:
        KindError: what it lacks.
    """
    where = f"impairment {name}"
    if not (isinstance(target, type) and issubclass(target, Impairment) and is_dataclass(target)):
        expected = "a frozen dataclass that derives from channels.hardware.impairments.Impairment"
        raise KindError(
            checks.complaint(where, "no impairment", getattr(target, "__name__", target), expected)
        )
    facts = {"linear": "True or False", "effect": '"turns", "shifts", "distorts" or "interferes"'}
    facts["side"] = '"transmitter" or "receiver", a field or a ClassVar'
    fields = target.__dataclass_fields__
    lacking = [
        f"{fact} ({what})" for fact, what in facts.items() if fact not in fields and not hasattr(target, fact)
    ]
    lacking += [f"{method}()" for method in sorted(getattr(target, "__abstractmethods__", ()))]
    effect = getattr(target, "effect", None)
    if effect is not None and effect not in get_args(Effect):
        lacking.append(f"an effect out of {facts['effect']} (it has {effect!r})")
    if not target.__dataclass_params__.frozen:
        lacking.append("frozen=True")
    if "kind" in fields:
        lacking.append("a name other than kind for its field")
    if lacking:
        got = f"{target.__name__} without {', '.join(lacking)}"
        raise KindError(
            checks.complaint(where, "half written", got, "all facts and methods of an Impairment")
        )
    return target


class FrontEnd:
    """The impairments of one side, in the order in which the signal meets them.

    Args:
        impairments: all of one side; none of them is a perfect front end.

    Raises:
        ValueError: impairments of both sides.

    Example:
        >>> front_end = FrontEnd([CarrierFrequencyOffset(100.0), PhaseNoise(50.0)])
        >>> state = front_end.draw(1, 1000, 1e6, torch.Generator().manual_seed(1))
        >>> front_end.apply(torch.ones(1, 1, 1000) + 0j, state[None], 1e6, 1.0).shape
        torch.Size([1, 1, 1000])
    """

    def __init__(self, impairments: Sequence[Impairment]) -> None:
        self.impairments = tuple(impairments)
        sides = {impairment.side for impairment in self.impairments}
        if len(sides) > 1:
            got = [f"{type(i).__name__} ({i.side})" for i in self.impairments]
            cure = "Make one front end for the transmitter and one for the receiver."
            raise ValueError(checks.complaint("FrontEnd: impairments", "both sides", got, "one side", cure))

    @property
    def linear(self) -> bool:
        """Complex-linear in the samples, given the state."""
        return all(impairment.linear for impairment in self.impairments)

    def state_size(self, num_antennas: int, num_samples: int) -> int:
        """How many random numbers one image needs."""
        return sum(self._sizes(num_antennas, num_samples))

    def _sizes(self, num_antennas: int, num_samples: int) -> list[int]:
        return [i.state_size(num_antennas, num_samples) for i in self.impairments]

    def draw(
        self, num_antennas: int, num_samples: int, sample_rate_hz: float, gen: torch.Generator
    ) -> Tensor:
        """All randomness of one image, [K] float64, as of :meth:`Impairment.draw`."""
        states = [i.draw(num_antennas, num_samples, sample_rate_hz, gen) for i in self.impairments]
        return torch.cat([torch.empty(0, dtype=torch.float64), *states])

    def turned(self, samples: Tensor, state: Tensor, num_antennas: int, sample_rate_hz: float) -> Tensor:
        """Samples [B, 1, N] after the impairments alone that turn them, given the state [B, K] of all."""
        parts = state.split(self._sizes(num_antennas, samples.shape[-1]), dim=1)
        for impairment, part in zip(self.impairments, parts, strict=True):
            if impairment.effect == "turns":
                samples = impairment.apply(samples, part, sample_rate_hz, 1.0)
        return samples

    def later(self, state: Tensor, new: Tensor, num_antennas: int, num_samples: int) -> Tensor:
        """State [K] of a later transmission: what lasts of ``state``, the rest of ``new``."""
        sizes = self._sizes(num_antennas, num_samples)
        pairs = zip(self.impairments, state.split(sizes), new.split(sizes), strict=True)
        return torch.cat([new[:0], *(old if i.lasting else fresh for i, old, fresh in pairs)])

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        """The samples after all impairments, as of :meth:`Impairment.apply`."""
        sizes = self._sizes(*samples.shape[1:])
        if state.shape != (len(samples), sum(sizes)):
            expected = [len(samples), sum(sizes)]
            cure = "Draw it for as many antennas and samples."
            raise ValueError(
                checks.complaint("FrontEnd: state", "wrong shape", list(state.shape), expected, cure)
            )
        for impairment, part in zip(self.impairments, state.split(sizes, dim=1), strict=True):
            samples = impairment.apply(samples, part, sample_rate_hz, power)
        return samples


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
        return _phasor(self.offset_hz * lag_s, torch.complex128)

    def apply(self, samples: Tensor, state: Tensor, sample_rate_hz: float, power: float) -> Tensor:
        cycles = _time(samples, sample_rate_hz) * self.offset_hz
        if self.uniform:
            cycles = cycles * state[:, :, None]
        return multiply(samples, _phasor(cycles, samples.dtype))


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
        return multiply(samples, _phasor(state[:, None] / (2 * math.pi), samples.dtype))


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
        cycles = _time(samples, sample_rate_hz) * self.frequency_hz + state[:, :, None]
        tone = _phasor(cycles, samples.dtype)
        return samples + scale(tone, tone.real.new_tensor(amplitude))


def _time(samples: Tensor, sample_rate_hz: float) -> Tensor:
    """Time of every sample [s], [1, 1, N] float64."""
    count = torch.arange(samples.shape[-1], dtype=torch.float64, device=samples.device)
    return (count / sample_rate_hz)[None, None]


def _phasor(cycles: Tensor, dtype: torch.dtype) -> Tensor:
    """exp(j2π cycles), computed in float64 and rounded once."""
    angle = 2 * math.pi * (cycles - cycles.round())
    return torch.complex(angle.cos(), angle.sin()).to(dtype)
