"""LMMSE filters over frequency and time, as Sionna designs them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared
from channels.ofdm.estimators.base import Moments, Response, Statistics
from channels.ofdm.estimators.pilot_measurements import PilotElements

if TYPE_CHECKING:
    from sionna.phy.ofdm import ResourceGrid

__all__ = ["LmmseEstimator"]

_KEPT_FILTERS = 64
_TINY = 1e-30


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
        self._kept: OrderedDict[tuple[int, float], tuple[Tensor, Tensor, Response]] = OrderedDict()

    def __call__(self, y: Tensor, no: Tensor, kind: int = 0) -> tuple[Tensor, Response]:
        """ĥ [slots, T, F_used] of grids [slots, T, F] with one noise variance, of gains of unit power."""
        slots, count = y.shape[0], len(self._symbols)
        at_pilots = self._pilots.least_squares(y).view(slots, count, -1)
        over_frequency, over_time, response = self._filters(no, kind)
        modes = at_pilots.to(torch.complex128) @ self._smoothers[kind].modes.conj()
        smoothed = (modes @ over_frequency.T).to(y.dtype)  # [slots, count, F_used]
        return torch.einsum("ftk,skf->stf", over_time.to(y.dtype), smoothed), response

    def estimate(self, y: Tensor, no: Tensor, scale: float, kind: int = 0) -> tuple[Tensor, Moments]:
        """See :class:`channels.ofdm.estimators.base.GainEstimator`; one filter for all antennas, designed for
        their mean noise.
        """
        estimates, moments = [], []
        for image, variances in zip(y, no, strict=True):
            h_hat, response = self(image.flatten(0, 1), variances.mean() / scale, kind)
            estimates.append(h_hat.unflatten(0, y.shape[1:3]))
            moments.append(response.moments(variances[None], scale))
        return torch.stack(estimates), Moments.stack(moments, 0)

    def _filters(self, no: Tensor, kind: int) -> tuple[Tensor, Tensor, Response]:
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

    def _response(self, a: _Smoothing, b: Tensor, known: Statistics) -> Response:
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
        return Response(own, cross, power, energy / self._pilots.power[0], echo, turning)


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
