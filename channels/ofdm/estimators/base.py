r"""What an estimate of a channel on a resource grid says of the gain.

An estimator makes ĥ = Σ_p a_p ĥ_p of the least-squares gains ĥ_p = h_p + e_p at the pilots. What a receiver
may conclude of the gain h of an element is not ĥ but its mean given ĥ. With zero mean and the second moments
that the statistics of the channel and the noise give (linear estimators of Gaussian gains; otherwise the best
linear conclusion),

    E[h|ĥ] = c ĥ,  c = E[hĥ*] / E|ĥ|²,    Var[h|ĥ] = E|h|² - |E[hĥ*]|² / E|ĥ|²,

and the error h - cĥ is uncorrelated with ĥ. That makes y = cĥ·x + w' with a noise w' of variance
no + Var[h|ĥ] that does not depend on the weights of a combiner, and |cĥ|² / (no + Var) an SINR. With ĥ itself
in place of E[h|ĥ] neither holds: the error of a least-squares estimate is part of it. At -5 dB, pilots at the
power of data, ĥ has three times the power of the gain.

Receivers work in the beams of their antennas (:mod:`channels.ofdm.receiver`), each with a mean power λ of its
own, which scales E|h|², E[hĥ*] and what the channel adds to E|ĥ|².
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from channels.arithmetic import abs_squared, multiply
from channels.ofdm.estimators.pilot_measurements import PilotElements

if TYPE_CHECKING:
    from sionna.phy.ofdm import ResourceGrid

__all__ = ["EstimatorFactory", "GainEstimator", "Interpolation", "Moments", "Response", "Statistics"]

Interpolation = Literal["linear", "nearest"]


@dataclass(frozen=True)
class Statistics:
    """Second moments that an estimator counts with, of a gain of unit mean power.

    Args:
        time: [T, T] complex, E[h h^H] over the OFDM symbols of a slot.
        frequency: [F, F] complex, over all subcarriers.
        turn: [T, T] complex, the part of ``time`` that turns all antennas and subcarriers alike (offsets and
            phase noise of oscillators); None: nothing does.
    """

    time: Tensor
    frequency: Tensor
    turn: Tensor | None = None

    def on(self, device: torch.device, used: Tensor) -> Statistics:
        """In double precision on a device, of the subcarriers ``used``."""
        time, frequency = (value.to(device, torch.complex128) for value in (self.time, self.frequency))
        turn = None if self.turn is None else self.turn.to(device, torch.complex128)
        return Statistics(time, frequency[used][:, used], turn)


@dataclass(frozen=True)
class Moments:
    """Second moments of gains h and their estimates ĥ, [..., T, F_used] each, double precision.

    Args:
        cross: E[hĥ*], complex.
        power: E|ĥ|², float.
        error: Var[h|ĥ], float, not below 0.
        echo: variance of ĥ over its power when every pilot is off by a relative error of variance 1, at all
            antennas alike (what the transmitter's distortion makes).
        turning: variance of h over its power that ĥ misses because all antennas turn alike meanwhile; part of
            ``error``.
    """

    cross: Tensor
    power: Tensor
    error: Tensor
    echo: Tensor
    turning: Tensor

    @property
    def _fields(self) -> tuple[Tensor, ...]:
        return self.cross, self.power, self.error, self.echo, self.turning

    def select(self, used: Tensor) -> Moments:
        """Those of the elements ``used`` of the flattened slot, [..., D]."""
        return Moments(*(value.flatten(-2)[..., used] for value in self._fields))

    def of_antenna(self, index: int) -> Moments:
        """Of one antenna: [B, S, D] of [B, S, N, D]."""
        return Moments(*(value[:, :, index] for value in self._fields))

    @staticmethod
    def stack(each: Sequence[Moments], dim: int = 2) -> Moments:
        """Those of several antennas, or images with ``dim`` 0."""
        fields = zip(*(moments._fields for moments in each), strict=True)
        return Moments(*(torch.stack(values, dim) for values in fields))

    @staticmethod
    def mean(each: Sequence[Moments]) -> Moments:
        """Average of several."""
        fields = zip(*(moments._fields for moments in each), strict=True)
        return Moments(*(torch.stack(values).mean(0) for values in fields))

    def posterior(self, h_hat: Tensor) -> tuple[Tensor, Tensor]:
        """E[h|ĥ] in the shape of ``h_hat`` and Var[h|ĥ] in that of the moments."""
        share = (self.cross / self.power).to(h_hat.dtype)
        return multiply(h_hat, share.expand(h_hat.shape)), self.error.to(h_hat.real.dtype)


@dataclass(frozen=True)
class Response:
    """What the weights of an estimator make of a gain of unit mean power, [T, F_used] each.

    Args:
        own: E|h|².
        cross: E[hĥ*].
        power: E|ĥ|² without noise.
        noise_share: variance of ĥ by noise of unit variance at every element.
        echo, turning: see :class:`Moments`.
    """

    own: Tensor
    cross: Tensor
    power: Tensor
    noise_share: Tensor
    echo: Tensor
    turning: Tensor

    def moments(self, no: Tensor, scale: float) -> Moments:
        """Moments [..., T, F_used] for noise variances [...] and gains of mean power ``scale``."""
        noise = no.double()[..., None, None] * self.noise_share
        own, cross, power = scale * self.own, scale * self.cross, scale * self.power
        missed = (own * power - abs_squared(cross)).clamp_min(0.0)  # apart from noise: nothing cancels
        fixed = (value.expand(noise.shape) for value in (self.echo, self.turning))
        return Moments(
            cross.expand(noise.shape), power + noise, (missed + own * noise) / (power + noise), *fixed
        )


class GainEstimator(Protocol):
    """What a receiver needs of an estimator of the gains of one stream."""

    def estimate(self, y: Tensor, no: Tensor, scale: float, kind: int) -> tuple[Tensor, Moments]:
        """Estimate the gains of antennas with the same statistics.

        Args:
            y: [B, S, N, T, F] complex, received grids of N antennas or beams.
            no: [B, N] float, noise variances.
            scale: E|h|² of the gain.
            kind: which of the statistics that the estimator was made with.

        Returns:
            ĥ [B, S, N, T, F_used] complex, and its moments [B, 1, N, T, F_used].
        """
        ...


EstimatorFactory: TypeAlias = "Callable[[ResourceGrid, Sequence[Statistics], PilotElements], GainEstimator]"
"""Grid and pilots of a stream, and the statistics of every kind of antenna, to its estimator."""
