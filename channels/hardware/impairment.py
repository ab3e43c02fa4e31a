"""Imperfect radio hardware: what transmitters and receivers do to complex baseband samples.

An impairment is cut like a channel operator: ``draw`` holds all randomness of one image, ``apply`` is
deterministic and differentiable in the samples. Samples are [B, A, N]: images, antennas, time. No sample
depends on the batch mates of its image, to the bit: arithmetic is elementwise and real
(:mod:`channels.arithmetic`), transforms go by image.

A class is all that there is of a kind: fields with their bounds, facts, and what it does to samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from channels import checks
from channels.checks import check_fields
from channels.kinds import KindError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from channels.runtime.lazy_torch import torch

__all__ = ["Effect", "FrontEnd", "Impairment", "Side"]

Side = Literal["transmitter", "receiver"]
Effect = Literal["turns", "shifts", "distorts", "interferes"]


class Impairment(ABC):
    """One fault of one side's hardware, acting on samples [B, A, N] of known nominal mean power.

    A kind is a frozen dataclass; bounds of its fields are annotations, which construction and scenarios check
    alike. It states facts:

    Attributes:
        side: whose hardware it is; a field, or the same for all.
        linear: complex-linear in the samples, given the state.
        effect: what receivers know of it.
            "turns": all samples of all antennas by a common phase, whose statistics :meth:`phase_correlation`
            and :meth:`mean_phasor` give; linear.
            "shifts": the receiver's window, by the same ``delay_s`` for all images; linear, of the receiver.
            "distorts": a mean gain, which is the same for all frames, and distortion; receivers know both on
            average. A gain that changes from frame to frame or within one is not followed; what has memory
            counts as noise where it is not flat.
            "interferes": adds what no receiver knows of; of the receiver.
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
        where = f"{type(self).__name__}: side"
        checks.check_choice(where, self.side, get_args(Side))
        if self.effect in ("shifts", "interferes") and self.side != "receiver":
            wrong = f"an impairment that {self.effect} is one of the receiver"
            raise ValueError(checks.complaint(where, wrong, self.side, "receiver"))

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
        """E[exp(j(φ(t + lag) - φ(t)))] of the phase φ that turns all samples alike, complex128; lags in s.

        What "turns" has one of its own: estimators and receivers with known gains count by it.
        """
        return torch.ones_like(lag_s, dtype=torch.complex128)

    def mean_phasor(self, time_s: Tensor) -> Tensor:
        """E[exp(jφ(t))] of that phase, complex128. This one is that of a phase which begins at φ(0) = 0; a
        stationary or a random one has another.
        """
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
        expected = "a frozen dataclass that derives from channels.hardware.impairment.Impairment"
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
    lacking += _missing_of_effect(target)
    if lacking:
        got = f"{target.__name__} without {', '.join(lacking)}"
        raise KindError(
            checks.complaint(where, "half written", got, "all facts and methods of an Impairment")
        )
    return target


def _missing_of_effect(target: type[Impairment]) -> list[str]:
    """What the effect of a class asks for."""
    effect, missing = getattr(target, "effect", None), []
    if effect in ("turns", "shifts") and getattr(target, "linear", True) is not True:
        missing.append(f"linear = True, which an impairment that {effect} is")
    if effect == "turns" and target.phase_correlation is Impairment.phase_correlation:
        missing.append("phase_correlation(), by which receivers count with its phase")
    if effect == "shifts" and target.delay_s is Impairment.delay_s:
        missing.append("delay_s, by which receivers know its delay")
    if effect == "shifts" and target.state_size is not Impairment.state_size:
        missing.append("a delay that is the same for all images (it has a state)")
    return missing


def _check_turns(impairment: Impairment) -> None:
    """That an impairment of other people turns all antennas alike, and no more than that.

    Raises:
        ValueError: otherwise.
    """
    if impairment.effect != "turns" or type(impairment).__module__.startswith("channels."):
        return
    samples = torch.ones(1, 2, 16, dtype=torch.complex128)
    state = impairment.draw(2, 16, 1e6, torch.Generator().manual_seed(1))[None]
    turned = impairment.apply(samples, state, 1e6, 1.0)
    alike = torch.allclose(turned[:, 0], turned[:, 1])
    if not (alike and torch.allclose(turned.abs(), samples.abs())):
        got = "another phase at every antenna" if not alike else "another modulus"
        expected = "one phase of all antennas, modulus kept; else effect distorts"
        raise ValueError(
            checks.complaint(f"{type(impairment).__name__}: effect turns", "not so", got, expected)
        )


class FrontEnd:
    """The impairments of one side, in the order in which the signal meets them.

    Args:
        impairments: all of one side; none of them is a perfect front end.

    Raises:
        ValueError: impairments of both sides.

    Example:
        >>> from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise
        >>> front_end = FrontEnd([CarrierFrequencyOffset(100.0), PhaseNoise(50.0)])
        >>> state = front_end.draw(1, 1000, 1e6, torch.Generator().manual_seed(1))
        >>> front_end.apply(torch.ones(1, 1, 1000) + 0j, state[None], 1e6, 1.0).shape
        torch.Size([1, 1, 1000])
    """

    def __init__(self, impairments: Sequence[Impairment]) -> None:
        self.impairments = tuple(impairments)
        for impairment in self.impairments:
            _check_turns(impairment)
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
