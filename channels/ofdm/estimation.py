r"""Channel estimation on a resource grid: least squares and LMMSE as Sionna does them, and what an estimate
says of the gain.

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

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared, multiply
from channels.ofdm.pilot_measurements import PilotElements
from channels.runtime import sionna_seeding

if TYPE_CHECKING:
    from sionna.phy.ofdm import ResourceGrid

__all__ = [
    "EstimatorFactory",
    "GainEstimator",
    "Interpolation",
    "LmmseEstimator",
    "LsEstimator",
    "Moments",
    "Statistics",
]

Interpolation = Literal["linear", "nearest"]
_IMPULSES = 64
_KEPT_FILTERS = 64
_TINY = 1e-30


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
class _Response:
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


class LsEstimator:
    """Least squares at the pilots, interpolated over the slot.

    h_p = y_p·p* / |p|², interpolated with the weights w of Sionna's interpolator, which are read out of it
    once by feeding it unit impulses: every element is a combination of at most four pilots, so a slot costs
    four gathers, and no result depends on how many slots are estimated together. Pilots that two streams
    share under a cover code are averaged in pairs first.

    Args:
        grid: Sionna resource grid with pilots, one stream.
        statistics: of the gain, of every kind of antenna or beam.
        interpolation: "linear" (over frequency, then time) or "nearest".
        pilots: of this stream.

    Source: Sionna 2.2, ``LSChannelEstimator`` with ``LinearInterpolator`` or ``NearestNeighborInterpolator``.
    """

    def __init__(
        self,
        grid: ResourceGrid,
        statistics: Sequence[Statistics],
        pilots: PilotElements,
        interpolation: Interpolation = "linear",
    ) -> None:
        checks.check_choice("LsEstimator: interpolation", interpolation, ("linear", "nearest"))
        ofdm = sionna_seeding.sionna_phy().ofdm
        device = pilots.values.device
        precision = "single" if pilots.values.dtype == torch.complex64 else "double"
        arguments = {"precision": precision, "device": sionna_seeding.sionna_device(device)}
        pattern = grid.pilot_pattern
        if interpolation == "linear":
            interpolate = ofdm.LinearInterpolator(pattern, **arguments)
        else:
            interpolate = ofdm.NearestNeighborInterpolator(pattern)
        self._pilots = pilots
        self._index, self._weight = self._read_weights(interpolate)
        if pilots.cover is not None:
            self._index, self._weight = self._despread(self._index, self._weight)
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        self._responses = [self._response(each, used) for each in statistics]

    def _response(self, statistics: Statistics, used: Tensor) -> _Response:
        known = statistics.on(used.device, used)
        share = self._energy(self._pilots.power)
        own = (known.time.diagonal()[:, None] * known.frequency.diagonal()[None, :]).real
        cross, power = self._second_moments(known.time, known.frequency)
        turning = torch.zeros_like(share)
        if known.turn is not None:
            kept, of = self._second_moments(known.turn, torch.ones_like(known.frequency))
            turning = (known.turn.diagonal().real[:, None] - abs_squared(kept) / of).clamp_min(0.0)
        echo = self._energy(torch.ones_like(self._pilots.power))
        return _Response(own, cross, power, share, echo, turning)

    def _energy(self, power: Tensor) -> Tensor:
        """Variance of ĥ by noise of variance 1/power at every pilot, [T, F_used]; one may be used twice."""
        energy = torch.zeros_like(self._weight[0], dtype=torch.float64)
        for i, w in zip(self._index, self._weight.double(), strict=True):
            for j, v in zip(self._index, self._weight.double(), strict=True):
                energy = energy + w * v / power[i] * (i == j)
        return energy

    def _despread(self, index: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of means over two pilots beside each other in place of weights of pilots, [8, T, F_used]:
        a stream under another cover code cancels.
        """
        symbol = self._pilots.symbol
        place = torch.cat([torch.arange(int(count)) for count in torch.bincount(symbol)]).to(symbol.device)
        other = torch.arange(len(symbol), device=symbol.device) + 1 - 2 * (place % 2)
        last = other.clamp_max(len(symbol) - 1)
        alone = (other >= len(symbol)) | (symbol[last] != symbol)  # an odd one at the end
        other = torch.where(alone, torch.arange(len(symbol), device=symbol.device) - 1, last)
        return torch.cat([index, other[index]]), torch.cat([weight, weight]) / 2

    def _read_weights(self, interpolate: object) -> tuple[Tensor, Tensor]:
        """For every element of the slot [T, F_used] the pilots that it is made of, and their weights,
        [4, T, F_used]; a few impulses at a time, because a response is as large as the slot.
        """
        values = self._pilots.values
        num_pilots = len(values)
        index, weight, total = (
            torch.empty(0, dtype=torch.long, device=values.device),
            values.real.new_empty(0),
            values.real.new_zeros(()),
        )
        for begin in range(0, num_pilots, _IMPULSES):
            count = min(_IMPULSES, num_pilots - begin)
            impulses = torch.zeros(count, num_pilots, dtype=values.dtype, device=values.device)
            impulses[torch.arange(count), begin + torch.arange(count)] = 1.0
            impulses = impulses[:, None, None, None, None, :]
            response, _ = interpolate(impulses, impulses.real)  # type: ignore[operator]
            found = response[:, 0, 0, 0, 0].real
            at = torch.arange(begin, begin + count, device=found.device)[:, None, None].expand_as(found)
            index, weight, total = torch.cat([index, at]), torch.cat([weight, found]), total + found.sum(0)
            _, best = weight.abs().topk(min(4, len(weight)), dim=0)
            index, weight = index.gather(0, best), weight.gather(0, best)
        assert torch.allclose(weight.sum(0), total), "an interpolator of more than four pilots"
        return index, weight

    def _second_moments(self, time: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """E[hĥ*] and what the channel adds to E|ĥ|², [T, F_used], of a gain with separable covariance; and
        what a stream on the same pilots adds, whose gain is alike and independent.
        """
        symbol, carrier = self._pilots.symbol[self._index], self._pilots.used_subcarrier[self._index]
        t, f = torch.arange(len(time))[:, None], torch.arange(len(frequency))[None, :]
        weight = self._weight.to(frequency.real.dtype)
        cross = torch.zeros(weight.shape[1:], dtype=frequency.dtype, device=weight.device)
        power = torch.zeros_like(weight[0])
        for i, w in enumerate(weight):
            cross = cross + w * time[t, symbol[i]] * frequency[f, carrier[i]]
            for j, v in enumerate(weight):
                both = time[symbol[i], symbol[j]] * frequency[carrier[i], carrier[j]]
                if self._pilots.cover is not None:
                    both = both * (
                        1 + self._pilots.cover[self._index[i]] * self._pilots.cover[self._index[j]]
                    )
                power = power + w * v * both.real
        return cross, power

    def __call__(self, y: Tensor) -> Tensor:
        """ĥ [slots, T, F_used] of grids [slots, T, F]."""
        at_pilots = self._pilots.least_squares(y)
        h_hat = self._weight[0] * at_pilots[:, self._index[0]]
        for weight, index in zip(self._weight[1:], self._index[1:], strict=True):
            h_hat = h_hat + weight * at_pilots[:, index]
        return h_hat

    def estimate(self, y: Tensor, no: Tensor, scale: float, kind: int = 0) -> tuple[Tensor, Moments]:
        """See :class:`GainEstimator`."""
        moments = self._responses[kind].moments(no[:, None], scale)
        return self(y.flatten(0, 2)).unflatten(0, y.shape[:3]), moments


class LmmseEstimator:
    r"""LMMSE filtering over frequency, then time, with the covariances of the channel model.

    Frequency: h1 = A h_ls with A = R_f[:, P] (R_f[P, P] + no/|p|² I)^-1 in every pilot symbol. The result is
    scaled to the variance that the next step expects (Sionna's rule), then filtered over time per subcarrier
    with the error variance left by the first step. The moments are those of this estimate; Sionna's error
    variance takes the errors of the first step at different pilot symbols for independent, which at rest they
    are not. The filters depend on the noise variance alone, so they are made once per image, in double
    precision, from a decomposition made once, and serve all its slots; Sionna's block makes them for every
    slot, at two hundred times the cost.

    Args:
        grid: Sionna resource grid whose pilot symbols carry the same subcarriers with pilots of equal power.
        statistics: of the gain, of every kind of antenna or beam.
        pilots: of this stream.

    Raises:
        ValueError: pilot symbols with different subcarriers or powers.

    Source: Sionna 2.2, ``LMMSEChannelEstimator`` with order "f-t" (the same estimate, see the tests).
    """

    def __init__(self, grid: ResourceGrid, statistics: Sequence[Statistics], pilots: PilotElements) -> None:
        device = pilots.values.device
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        self._statistics = [each.on(device, used) for each in statistics]
        self._symbols = torch.unique(pilots.symbol)
        rows = pilots.used_subcarrier.view(len(self._symbols), -1) if pilots.is_rectangular else None
        equal_power = bool(((pilots.power - pilots.power[0]).abs() < 1e-5 * pilots.power[0]).all())
        if rows is None or not bool((rows == rows[0]).all()) or not equal_power:
            expected = "the same subcarriers with equal power in every pilot symbol"
            raise ValueError(
                checks.complaint("LmmseEstimator: pilots", "not supported", "another pattern", expected)
            )
        self._carriers, self._pilots = rows[0], pilots
        cover = None if pilots.cover is None else pilots.cover[: len(self._carriers)]
        self._smoothers = [_Smoother(each.frequency, self._carriers, cover) for each in self._statistics]
        self._kept: OrderedDict[tuple[int, float], tuple[Tensor, Tensor, _Response]] = OrderedDict()

    def __call__(self, y: Tensor, no: Tensor, kind: int = 0) -> tuple[Tensor, _Response]:
        """ĥ [slots, T, F_used] of grids [slots, T, F] with one noise variance, of gains of unit power."""
        slots, count = y.shape[0], len(self._symbols)
        at_pilots = self._pilots.least_squares(y).view(slots, count, -1)
        over_frequency, over_time, response = self._filters(no, kind)
        modes = at_pilots.to(torch.complex128) @ self._smoothers[kind].modes.conj()
        smoothed = (modes @ over_frequency.T).to(y.dtype)  # [slots, count, F_used]
        return torch.einsum("ftk,skf->stf", over_time.to(y.dtype), smoothed), response

    def estimate(self, y: Tensor, no: Tensor, scale: float, kind: int = 0) -> tuple[Tensor, Moments]:
        """See :class:`GainEstimator`; one filter for all antennas, designed for their mean noise."""
        estimates, moments = [], []
        for image, variances in zip(y, no, strict=True):
            h_hat, response = self(image.flatten(0, 1), variances.mean() / scale, kind)
            estimates.append(h_hat.unflatten(0, y.shape[1:3]))
            moments.append(response.moments(variances[None], scale))
        return torch.stack(estimates), Moments.stack(moments, 0)

    def _filters(self, no: Tensor, kind: int) -> tuple[Tensor, Tensor, _Response]:
        """Gains over frequency [F_used, modes] and over time [F_used, T, pilot symbols], and what they do.
        Those of a noise that nothing is differentiated by are kept for the next image, which mostly has the
        same.
        """
        key = None if no.requires_grad else (kind, float(no))
        if key is not None and key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        known = self._statistics[kind]
        smoothed = self._smoothers[kind](no.double() / self._pilots.power[0])
        spread = smoothed.error[:, None].expand(len(known.frequency), len(self._symbols))
        over_time = _time_gain(known.time, self._symbols, spread)
        filters = smoothed.gain, over_time, self._response(smoothed, over_time, known)
        if key is not None:
            self._kept[key] = filters
            if len(self._kept) > _KEPT_FILTERS:
                self._kept.popitem(last=False)
        return filters

    def _response(self, a: _Smoothing, b: Tensor, known: Statistics) -> _Response:
        """Of the estimate Σ a b h_ls of a channel with separable covariance, smoothed by ``a`` over frequency
        and with the gains ``b`` [F_used, T, pilot symbols] over time.
        """
        at_symbols = known.time[:, self._symbols]
        own = known.time.diagonal().real[:, None] * known.frequency.diagonal().real
        cross = a.cross * (b.conj() * at_symbols).sum(-1).T
        power = a.power * _form(b, at_symbols[self._symbols]).T
        energy = a.energy * b.abs().square().sum(-1).T
        echo = energy / abs_squared(a.total * b.sum(-1).T).clamp_min(_TINY)
        turning = torch.zeros_like(own)
        if known.turn is not None:
            turned = known.turn[:, self._symbols]
            kept = abs_squared((b.conj() * turned).sum(-1)) / _form(b, turned[self._symbols]).clamp_min(_TINY)
            turning = (known.turn.diagonal().real[:, None] - kept.T).clamp_min(0.0)
        return _Response(own, cross, power, energy / self._pilots.power[0], echo, turning)


def _form(a: Tensor, covariance: Tensor) -> Tensor:
    """A C a^H of every row [..., P], real."""
    return ((a @ covariance) * a.conj()).sum(-1).real


@dataclass(frozen=True)
class _Smoothing:
    """LMMSE filters over frequency for one noise variance, scaled for a further step that expects
    var(h_hat) = var(h) + error, and what they make of a gain: [F_used] each.

    Args:
        gain: [F_used, modes] complex, of the modes of the pilots.
        error: variance of the error that the next step counts with.
        cross: E[hĥ*].
        power: E|ĥ|² without noise.
        energy: variance of ĥ by noise of unit variance at every pilot.
        total: sum of the weights of the pilots, complex.
    """

    gain: Tensor
    error: Tensor
    cross: Tensor
    power: Tensor
    energy: Tensor
    total: Tensor


class _Smoother:
    """LMMSE filters A = R[:, P] (R[P, P] + v I)^-1 of one covariance and pilot positions for any error
    variance v at the pilots: with R[P, P] = U Λ U^H the noise stands on the diagonal only,
    A = (R[:, P] U) (Λ + v I)^-1 U^H. A receiver that measures its noise in every slot needs no matrix
    decomposed for it.

    ``modes`` [P, modes] are the columns of U of which the channel has anything that rounding leaves. A stream
    with the same statistics on the same pilots adds to what is observed: R[P, P] ∘ (1 + c c^T) in place of
    R[P, P], c the cover code between both. The filters then are those of the joint LMMSE estimate.

    Args:
        covariance: [F, F] complex128.
        positions: [P], of the pilots.
        cover: ±1 [P], of the other stream; None: there is none.

    Source: Edfors et al., "OFDM Channel Estimation by Singular Value Decomposition", IEEE Trans. Commun. 46
        (1998); the scale as in Sionna 2.2, ``LMMSEInterpolator``.
    """

    def __init__(self, covariance: Tensor, positions: Tensor, cover: Tensor | None) -> None:
        observed = covariance[positions][:, positions]
        if cover is not None:
            observed = observed * (1 + torch.outer(cover, cover))
        values, vectors = torch.linalg.eigh(observed)
        self._floor = torch.finfo(values.dtype).eps * len(positions)
        kept = values > self._floor * values[-1]
        self.modes, self._values = vectors[:, kept], values[kept]
        self._level = observed.diagonal().real.mean()
        self._across = covariance[:, positions] @ self.modes  # [F, modes]
        self._strength = abs_squared(self._across)
        self._sums = self.modes.conj().sum(0)
        self._variance = covariance.diagonal().real

    def __call__(self, error_in: Tensor) -> _Smoothing:
        """For an error variance at the pilots, scalar float64, linear."""
        d = 1 / (self._values + error_in + self._floor * (self._level + error_in))
        weights = torch.stack([d, d.square() * self._values, d.square()], 1)
        taken, of_signal, energy = (self._strength @ weights).unbind(1)
        variance, error = self._variance, (self._variance - taken).clamp_min(0.0)
        power = of_signal + energy * error_in
        denominator = power + variance - error
        s = torch.where(denominator.abs() > 1e-12, 2 * variance / denominator, torch.zeros_like(denominator))
        left = (s * (s - 1) * power + (1 - s) * variance + s * error).clamp_min(0.0)
        gain = s[:, None] * self._across * d
        total = gain @ self._sums
        return _Smoothing(gain, left, s * taken, s.square() * of_signal, s.square() * energy, total)


def _time_gain(covariance: Tensor, positions: Tensor, error_in: Tensor) -> Tensor:
    """LMMSE filters [N, M, P] of N problems that share a covariance [M, M] and pilot positions [P], from
    observations with error variances [N, P].
    """
    at_pilots = covariance[positions]  # [P, M]
    loaded = at_pilots[:, positions] + torch.diag_embed(error_in.to(covariance.dtype))
    size, eps = len(positions), torch.finfo(error_in.dtype).eps
    level = loaded.diagonal(dim1=-2, dim2=-1).abs().mean(-1)[:, None, None]
    loaded = loaded + eps * size * level * torch.eye(size, dtype=loaded.dtype, device=loaded.device)
    factor = torch.linalg.cholesky(loaded)
    return torch.cholesky_solve(at_pilots.expand(len(loaded), -1, -1), factor).mH
