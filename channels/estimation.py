"""Channel estimation on a resource grid: least squares and LMMSE as Sionna does them, each with the variance
of its error.

May import: torch, sionna, channels.{base, checks, sionna_seeding, arithmetic}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from channels import checks, sionna_seeding
from channels.arithmetic import abs_squared, multiply_conj
from channels.base import Precision

from sionna.phy.ofdm import (
    LinearInterpolator,
    NearestNeighborInterpolator,
    ResourceGrid,
)

__all__ = ["Interpolation", "LmmseEstimator", "LsEstimator", "NoiseEstimator", "PilotPower"]

Interpolation = Literal["linear", "nearest"]
_IMPULSES = 64
_LEAST_SHARE = 0.05  # of the measured energy that is noise, where the channel should have made all of it


class LsEstimator:
    """Least squares at the pilots, interpolated over the slot.

    h_p = y_p·p* / |p|², interpolated with the weights w of Sionna's interpolator, which are read out of it
    once by feeding it unit impulses: every element is a combination of at most four pilots, so a slot costs
    four gathers, and no result depends on how many slots are estimated together.

    The error variance is that of the estimate, not the one that Sionna reports (noise variances combined
    with w): the noise of the pilots, no·Σ w²/|p|², and what interpolation misses of a channel with these
    covariances, E|h - Σ w h_p|². At 30 m/s the latter is most of it.

    Args:
        grid: Sionna resource grid with pilots, one stream.
        time_covariance: [T, T] complex, E[h h^H] over the OFDM symbols of a slot.
        frequency_covariance: [F, F] complex, over all subcarriers.
        interpolation: "linear" (over frequency, then time) or "nearest".
        precision, device: as the operator's.

    Source: Sionna 2.2, ``LSChannelEstimator`` with ``LinearInterpolator`` or ``NearestNeighborInterpolator``.
    """

    def __init__(
        self,
        grid: ResourceGrid,
        time_covariance: Tensor,
        frequency_covariance: Tensor,
        interpolation: Interpolation = "linear",
        *,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        checks.check_choice("LsEstimator: interpolation", interpolation, ("linear", "nearest"))
        kind = {"linear": LinearInterpolator, "nearest": NearestNeighborInterpolator}[interpolation]
        arguments = {"precision": precision, "device": sionna_seeding.sionna_device(torch.device(device))}
        pattern = grid.pilot_pattern
        interpolate = kind(pattern, **arguments) if interpolation == "linear" else kind(pattern)
        self._pilots = _Pilots(grid, precision, device)
        self._index, self._weight = self._read_weights(interpolate)
        power = self._pilots.power[self._index]
        self._noise_share = (self._weight.square() / power).sum(0)  # [T, F_used]
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        frequency = frequency_covariance.to(device)[used][:, used]
        self._missed = self._interpolation_error(time_covariance.to(device), frequency)

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

    def _interpolation_error(self, time: Tensor, frequency: Tensor) -> Tensor:
        """E|h - Σ w h_p|² [T, F_used] of a channel with separable covariance."""
        symbol, carrier = self._pilots.symbol[self._index], self._pilots.used_subcarrier[self._index]
        t, f = torch.arange(len(time))[:, None], torch.arange(len(frequency))[None, :]
        weight = self._weight.to(frequency.real.dtype)
        error = (time.diagonal()[:, None] * frequency.diagonal()[None, :]).real
        for i, w in enumerate(weight):
            cross = time[t, symbol[i]] * frequency[f, carrier[i]]
            error = error - 2 * w * cross.real
            for j, v in enumerate(weight):
                both = time[symbol[i], symbol[j]] * frequency[carrier[i], carrier[j]]
                error = error + w * v * both.real
        return error.clamp_min(0.0).to(self._weight.dtype)

    def __call__(self, y: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate.

        Args:
            y: [slots, T, F] complex, received grid.
            no: [slots] float, noise variance.

        Returns:
            h_hat: [slots, T, F_used] complex.
            err_var: [slots, T, F_used] float.
        """
        at_pilots = self._pilots.least_squares(y)
        h_hat = self._weight[0] * at_pilots[:, self._index[0]]
        for weight, index in zip(self._weight[1:], self._index[1:], strict=True):
            h_hat = h_hat + weight * at_pilots[:, index]
        return h_hat, no[:, None, None] * self._noise_share + self._missed


class LmmseEstimator:
    r"""LMMSE filtering over frequency, then time, with the covariances of the channel model.

    Frequency: h1 = A h_ls with A = R_f[:, P] (R_f[P, P] + no/|p|² I)^-1 in every pilot symbol. The result is
    scaled to the variance that the next step expects (Sionna's rule), then filtered over time per subcarrier
    with the error variance left by the first step. The error variance returned is that of this estimate,
    E|h - h_hat|²; Sionna's takes the errors of the first step at different pilot symbols for independent,
    which at rest they are not. The filters depend on the noise variance alone, so they are made once per
    image, in double precision, and serve all its slots; Sionna's block makes them for every slot, at two
    hundred times the cost.

    Args:
        grid: Sionna resource grid whose pilot symbols carry the same subcarriers with pilots of equal power.
        time_covariance: [T, T] complex, E[h h^H] over the OFDM symbols of a slot.
        frequency_covariance: [F, F] complex, over all subcarriers.
        precision, device: as the operator's.

    Raises:
        ValueError: pilot symbols with different subcarriers or powers.

    Source: Sionna 2.2, ``LMMSEChannelEstimator`` with order "f-t" (the same estimate, see the tests).
    """

    def __init__(
        self,
        grid: ResourceGrid,
        time_covariance: Tensor,
        frequency_covariance: Tensor,
        *,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        pilots = _Pilots(grid, precision, device)
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        self._frequency = frequency_covariance.to(device)[used][:, used].to(torch.complex128)
        self._time = time_covariance.to(device=device, dtype=torch.complex128)
        self._symbols = torch.unique(pilots.symbol)
        rows = pilots.used_subcarrier.view(len(self._symbols), -1) if pilots.is_rectangular else None
        equal_power = bool(((pilots.power - pilots.power[0]).abs() < 1e-5 * pilots.power[0]).all())
        if rows is None or not bool((rows == rows[0]).all()) or not equal_power:
            expected = "the same subcarriers with equal power in every pilot symbol"
            raise ValueError(
                checks.complaint("LmmseEstimator: pilots", "not supported", "another pattern", expected)
            )
        self._carriers, self._pilots = rows[0], pilots
        self._kept: tuple[float, tuple[Tensor, Tensor, Tensor]] | None = None

    def __call__(self, y: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate; shapes as :meth:`LsEstimator.__call__`. All slots of one call have the noise of the
        first.
        """
        slots, count = y.shape[0], len(self._symbols)
        at_pilots = self._pilots.least_squares(y).view(slots, count, -1)
        over_frequency, over_time, error = self._filters(no[0])
        smoothed = at_pilots @ over_frequency.T.to(y.dtype)  # [slots, count, F_used]
        h_hat = torch.einsum("ftk,skf->stf", over_time.to(y.dtype), smoothed)
        return h_hat, error.to(no.dtype).expand(slots, -1, -1)

    def _filters(self, no: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gains over frequency [F_used, P] and over time [F_used, T, pilot symbols], and the variance of the
        error [T, F_used], for a noise variance. Those of a noise that nothing is differentiated by are kept
        for the next image, which mostly has the same.
        """
        key = None if no.requires_grad else float(no)
        if key is not None and self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        error = (no.double() / self._pilots.power[0]).expand(len(self._carriers))
        frequency = _Filter(self._frequency, self._carriers, error[None])
        gain, error = frequency.scaled_gain[0], frequency.scaled_error[0]
        spread = error[:, None].expand(len(self._frequency), len(self._symbols))
        over_time = _Filter(self._time, self._symbols, spread).gain
        filters = gain, over_time, self._error(gain, over_time, no.double() / self._pilots.power[0])
        if key is not None:
            self._kept = key, filters
        return filters

    def _error(self, a: Tensor, b: Tensor, no: Tensor) -> Tensor:
        """E|h - Σ a b h_ls|² [T, F_used] of a channel with separable covariance, for gains ``a`` [F_used, P]
        over frequency, ``b`` [F_used, T, pilot symbols] over time, and noise ``no`` of a pilot's gain.
        """
        at_carriers, at_symbols = self._frequency[:, self._carriers], self._time[:, self._symbols]
        cross_f = (a.conj() * at_carriers).sum(-1)  # [F_used]
        cross_t = (b.conj() * at_symbols).sum(-1).T  # [T, F_used]
        power_f = ((a @ at_carriers[self._carriers]) * a.conj()).sum(-1).real
        power_t = ((b @ at_symbols[self._symbols]) * b.conj()).sum(-1).real.T
        noise = no * a.abs().square().sum(-1) * b.abs().square().sum(-1).T
        own = self._time.diagonal().real[:, None] * self._frequency.diagonal().real
        return (own - 2 * (cross_f * cross_t).real + power_f * power_t + noise).clamp_min(0.0)


class NoiseEstimator:
    r"""Noise variance from second differences of least-squares gains along the subcarriers of a pilot symbol.

    e = (h_k - 2 h_(k+1) + h_(k+2)) / √6 of neighbouring pilots has the variance no/|p|² where the gain is
    smooth. What a channel with the assumed covariance adds, (6 r(0) - 8 Re r(1) + 2 Re r(2))/6, is taken off.
    Interference and distortion are measured with the noise. One number per image, over all pilots of all
    slots, antennas and streams; its relative standard deviation is about sqrt(2.5 / number of pilots).

    Args:
        grids: of every stream, with its pilots.
        frequency_covariance: [F, F] complex of the gain of a stream.
        precision, device: as the operator's.

    Raises:
        ValueError: fewer than three pilots beside each other.

    Source: differences as in Boumard, "Novel Noise Variance and SNR Estimation Algorithm for Wireless MIMO
        OFDM Systems", IEEE GLOBECOM 2003.
    """

    def __init__(
        self,
        grids: Sequence[ResourceGrid],
        frequency_covariance: Tensor,
        *,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        self._streams = []
        for grid in grids:
            pilots = _Pilots(grid, precision, device)
            symbol, carrier = pilots.symbol, pilots.subcarrier
            step = carrier[1:] - carrier[:-1]
            alike = (symbol[2:] == symbol[:-2]) & (step[1:] == step[:-1])
            first = alike.nonzero().flatten()
            if len(first) == 0:
                got = f"{len(symbol)} pilots of a stream"
                expected = "three or more at equal distances in an OFDM symbol"
                raise ValueError(checks.complaint("csi.noise: pilots", "too few", got, expected))
            a, b, c = (carrier[first + i].cpu() for i in range(3))
            r = frequency_covariance.cpu()
            of_channel = (r[a, a] * 6 - 4 * (r[a, b] + r[b, c]) + 2 * r[a, c]).real / 6
            power = float(pilots.power[0])
            self._streams.append((pilots, first, power, float(of_channel.mean()) * power))

    def __call__(self, y: Tensor) -> Tensor:
        """Noise variance [B] float, linear, of received grids [B, R, S, T, F] complex."""
        batch = y.shape[0]
        found = []
        for pilots, first, power, of_channel in self._streams:
            h = pilots.least_squares(y.flatten(0, 2)).unflatten(0, (batch, -1))
            second = h[..., first] - 2 * h[..., first + 1] + h[..., first + 2]
            energy = abs_squared(second).flatten(1).mean(1) * (power / 6)
            found.append(torch.maximum(energy - of_channel, _LEAST_SHARE * energy))
        return torch.stack(found).mean(0)


class PilotPower:
    """Power of an image over that of the ensemble, from the energy of its pilots: what gain control sees.

    (mean |h_ls|² - mean no/|p|²) / E|h|² over all pilots of all slots, antennas and streams.

    Args:
        grids: of every stream, with its pilots.
        nominal: E|h|² of the gain of a stream.
        precision, device: as the operator's.
    """

    def __init__(
        self,
        grids: Sequence[ResourceGrid],
        nominal: float,
        *,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        self._streams = [_Pilots(grid, precision, device) for grid in grids]
        self._nominal = nominal

    def __call__(self, y: Tensor, no: Tensor) -> Tensor:
        """[B] float, linear, of received grids [B, R, S, T, F] complex and noise variances [B]."""
        found = []
        for pilots in self._streams:
            h = pilots.least_squares(y.flatten(0, 2)).unflatten(0, (y.shape[0], -1))
            energy = abs_squared(h).flatten(1).mean(1)
            left = energy - no * (1 / pilots.power).mean()
            found.append(torch.maximum(left, _LEAST_SHARE * energy))
        return torch.stack(found).mean(0) / self._nominal


class _Pilots:
    """Where the pilots of a grid are, and what they are."""

    def __init__(self, grid: ResourceGrid, precision: Precision, device: torch.device | str) -> None:
        pattern = grid.pilot_pattern
        dtype = torch.complex64 if precision == "single" else torch.complex128
        self.values = pattern.pilots.flatten().to(device=device, dtype=dtype)
        self.power = abs_squared(self.values)
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        at = pattern.mask[0, 0].bool().nonzero().to(device)
        self.symbol, self.used_subcarrier = at[:, 0], at[:, 1]
        self.subcarrier = used[at[:, 1]]

    @property
    def is_rectangular(self) -> bool:
        """Every pilot symbol has as many pilots."""
        counts = torch.bincount(self.symbol)
        return bool((counts[counts > 0] == counts.max()).all())

    def least_squares(self, y: Tensor) -> Tensor:
        """y·p* / |p|² at the pilots, [slots, pilots] complex, of grids [slots, T, F]."""
        return multiply_conj(y[:, self.symbol, self.subcarrier], self.values) / self.power


class _Filter:
    """One-dimensional LMMSE filters of N problems that share a covariance [M, M] and pilot positions [P].

    ``gain`` [N, M, P] and ``error`` [N, M] of the estimate from observations with error variances [N, P]; the
    scaled ones are for a further filtering step, which expects var(h_hat) = var(h) + error.
    """

    def __init__(self, covariance: Tensor, positions: Tensor, error_in: Tensor) -> None:
        at_pilots = covariance[positions]  # [P, M]
        loaded = at_pilots[:, positions] + torch.diag_embed(error_in.to(covariance.dtype))
        size, eps = len(positions), torch.finfo(error_in.dtype).eps
        level = loaded.diagonal(dim1=-2, dim2=-1).abs().mean(-1)[:, None, None]
        loaded = loaded + eps * size * level * torch.eye(size, dtype=loaded.dtype, device=loaded.device)
        factor = torch.linalg.cholesky(loaded)
        self.gain = torch.cholesky_solve(at_pilots.expand(len(loaded), -1, -1), factor).mH
        self._variance = covariance.diagonal().real
        taken = (self.gain * at_pilots.T).sum(-1).real
        self.error = (self._variance - taken).clamp_min(0.0)
        of_signal = (self.gain * (at_pilots[:, positions] @ self.gain.mH).transpose(-1, -2)).sum(-1).real
        of_noise = (self.gain.abs().square() * error_in[:, None]).sum(-1)
        self._power = of_signal + of_noise

    @property
    def _scale(self) -> Tensor:
        denominator = self._power + self._variance - self.error
        return torch.where(
            denominator.abs() > 1e-12, 2 * self._variance / denominator, torch.zeros_like(denominator)
        )

    @property
    def scaled_gain(self) -> Tensor:
        """[N, M, P]."""
        return self._scale[..., None] * self.gain

    @property
    def scaled_error(self) -> Tensor:
        """[N, M]."""
        s = self._scale
        return (s * (s - 1) * self._power + (1 - s) * self._variance + s * self.error).clamp_min(0.0)
