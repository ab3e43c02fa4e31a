"""Least squares at the pilots, interpolated over the slot, as Sionna does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared
from channels.ofdm.estimators.base import Interpolation, Moments, Response, Statistics
from channels.ofdm.estimators.pilot_measurements import PilotElements
from channels.runtime import sionna_seeding

if TYPE_CHECKING:
    from sionna.phy.ofdm import ResourceGrid

__all__ = ["LsEstimator"]

_IMPULSES = 64


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
        self._index, self._weight = self.read_weights(interpolate)
        if pilots.cover is not None:
            self._index, self._weight = self._despread(self._index, self._weight)
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        self._responses = [self._response(each, used) for each in statistics]

    def _response(self, statistics: Statistics, used: Tensor) -> Response:
        known = statistics.on(used.device, used)
        share = self._energy(self._pilots.power)
        own = (known.time.diagonal()[:, None] * known.frequency.diagonal()[None, :]).real
        cross, power = self._second_moments(known.time, known.frequency)
        turning = torch.zeros_like(share)
        if known.turn is not None:
            kept, of = self._second_moments(known.turn, torch.ones_like(known.frequency))
            turning = (known.turn.diagonal().real[:, None] - abs_squared(kept) / of).clamp_min(0.0)
        echo = self._energy(torch.ones_like(self._pilots.power))
        return Response(own, cross, power, share, echo, turning)

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

    def read_weights(self, interpolate: object) -> tuple[Tensor, Tensor]:
        """For every element of the slot [T, F_used] the pilots that it is made of, and their weights,
        [4, T, F_used]; a few impulses at a time, because a response is as large as the slot. Another linear
        estimator is one with other weights; what is told of its errors follows from them.
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
        """See :class:`channels.ofdm.estimators.base.GainEstimator`."""
        moments = self._responses[kind].moments(no[:, None], scale)
        return self(y.flatten(0, 2)).unflatten(0, y.shape[:3]), moments
