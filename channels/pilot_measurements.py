"""What a receiver measures on the pilots of a resource grid: least-squares gains, noise, power.

May import: torch, channels.{base, checks, arithmetic}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared, multiply_conj
from channels.base import Precision

if TYPE_CHECKING:
    from sionna.phy.ofdm import ResourceGrid

__all__ = ["NoiseEstimator", "PilotElements", "PilotPower"]

_LEAST_SHARE = 0.05  # of the measured energy that is noise, where the channel should have made all of it


class PilotElements:
    """Where the pilots of a stream are, and what they are.

    Args:
        grid: Sionna resource grid with the pilots of one stream, which no other stream has anything on.
        precision, device: as the operator's.
    """

    def __init__(
        self,
        grid: ResourceGrid,
        *,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
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


class NoiseEstimator:
    r"""Noise variance from second differences of least-squares gains along the subcarriers of a pilot symbol.

    e = (h_k - 2 h_(k+1) + h_(k+2)) / √6 of neighbouring pilots has the variance no/|p|² where the gain is
    smooth. What a channel with the assumed covariance adds, (6 r(0) - 8 Re r(1) + 2 Re r(2))/6, is taken off.

    Interference and distortion are measured with the noise. One number per image, over all pilots of all
    slots, antennas and streams; its relative standard deviation is about sqrt(2.5 / number of pilots).

    Args:
        streams: pilots of every stream.
        frequency_covariance: [F, F] complex of the gain of a stream.

    Raises:
        ValueError: fewer than three pilots beside each other.

    Source: differences as in Boumard, "Novel Noise Variance and SNR Estimation Algorithm for Wireless MIMO
        OFDM Systems", IEEE GLOBECOM 2003.
    """

    def __init__(self, streams: Sequence[PilotElements], frequency_covariance: Tensor) -> None:
        self._streams = []
        for pilots in streams:
            symbol, carrier = pilots.symbol, pilots.subcarrier
            gap = carrier.diff()
            alike = (symbol[2:] == symbol[:-2]) & (gap[1:] == gap[:-1])
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
        streams: pilots of every stream.
        nominal: E|h|² of the gain of a stream.
    """

    def __init__(self, streams: Sequence[PilotElements], nominal: float) -> None:
        self._streams = streams
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
