"""What a receiver measures on the pilots of a resource grid: least-squares gains, noise, power."""

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

__all__ = ["NoiseEstimator", "NoiseSubspace", "PilotElements", "PilotPower"]

_LEAST_SHARE = 0.05  # of the measured energy that is noise, where the channel should have made all of it


class PilotElements:
    """Where the pilots of a stream are, and what they are.

    Args:
        grid: Sionna resource grid with the pilots of one stream.
        cover: ±1 [pilots], what the pilots of another stream on the same elements are over these; None: there
            is none. Neighbours along the subcarriers alternate.
        precision, device: as the operator's.
    """

    def __init__(
        self,
        grid: ResourceGrid,
        *,
        cover: Tensor | None = None,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        self.cover = cover
        pattern = grid.pilot_pattern
        dtype = torch.complex64 if precision == "single" else torch.complex128
        self.values = pattern.pilots.flatten().to(device=device, dtype=dtype)
        self.power = abs_squared(self.values)
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        at = pattern.mask[0, 0].bool().nonzero().to(device)
        self.symbol, self.used_subcarrier = at[:, 0], at[:, 1]
        self.subcarrier = used[at[:, 1]]

    @property
    def streams_per_element(self) -> int:
        """Streams that send on the same elements."""
        return 1 if self.cover is None else 2

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
    Where two streams share the pilots under a cover code, every second pilot is taken: what the other one
    leaves is smooth there, too.

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
            step = pilots.streams_per_element
            gap = carrier[step:] - carrier[:-step]
            alike = (symbol[2 * step :] == symbol[: -2 * step]) & (gap[step:] == gap[:-step])
            first = alike.nonzero().flatten()
            if len(first) == 0:
                got = f"{len(symbol)} pilots of a stream"
                expected = f"{2 * step + 1} or more at equal distances in an OFDM symbol"
                raise ValueError(checks.complaint("csi.noise: pilots", "too few", got, expected))
            a, b, c = (carrier[first + i * step].cpu() for i in range(3))
            r = frequency_covariance.cpu()
            each = (r[a, a] * 6 - 4 * (r[a, b] + r[b, c]) + 2 * r[a, c]).real / 6
            power = float(pilots.power[0])
            of_channel = float(each.mean()) * power * pilots.streams_per_element
            self._streams.append((pilots, first, power, of_channel))

    def __call__(self, y: Tensor) -> Tensor:
        """Noise variance [B] float, linear, of received grids [B, R, S, T, F] complex."""
        batch = y.shape[0]
        found = []
        for pilots, first, power, of_channel in self._streams:
            h = pilots.least_squares(y.flatten(0, 2)).unflatten(0, (batch, -1))
            step = pilots.streams_per_element
            second = h[..., first] - 2 * h[..., first + step] + h[..., first + 2 * step]
            energy = abs_squared(second).flatten(1).mean(1) * (power / 6)
            found.append(torch.maximum(energy - of_channel, _LEAST_SHARE * energy))
        return torch.stack(found).mean(0)


class NoiseSubspace:
    """Noise variance from that half of the modes of the pilots of a symbol that the channel leaves empty.

    Modes are the eigenvectors of the assumed covariance over the subcarriers with pilots, in which a channel
    with a delay spread fills few; what it has in the others, if the assumption holds, is taken off. Who
    assumes delays up to some limit finds the noise whatever the profile within it is, where second
    differences of gains (:class:`NoiseEstimator`) need to know their curvature.

    One number per image; its relative standard deviation is about sqrt(2 / number of pilots).

    Args:
        streams: pilots of every stream, on the same subcarriers in all their symbols.
        frequency_covariance: [F, F] complex of the gain of a stream, as assumed.

    Raises:
        ValueError: fewer than three pilots in a symbol.

    Source: noise and signal subspaces as in Edfors et al., "OFDM Channel Estimation by Singular Value
        Decomposition", IEEE Trans. Commun. 46 (1998).
    """

    def __init__(self, streams: Sequence[PilotElements], frequency_covariance: Tensor) -> None:
        self._streams = []
        for pilots in streams:
            count = int((pilots.symbol == pilots.symbol[0]).sum())
            if count < 3:
                expected = "three or more in an OFDM symbol"
                raise ValueError(checks.complaint("csi.noise: pilots", "too few", count, expected))
            at = pilots.subcarrier[:count].cpu()
            observed = frequency_covariance.cpu()[at][:, at]
            if pilots.cover is not None:
                observed = observed * (1 + torch.outer(pilots.cover[:count], pilots.cover[:count])).cpu()
            values, vectors = torch.linalg.eigh(observed)
            empty = vectors[:, : count // 2].conj().to(pilots.values.device)
            power = float(pilots.power[0])
            left = float(values[: count // 2].clamp_min(0.0).mean()) * power
            self._streams.append((pilots, empty, power, left))

    def __call__(self, y: Tensor) -> Tensor:
        """Noise variance [B] float, linear, of received grids [B, R, S, T, F] complex."""
        found = []
        for pilots, empty, power, left in self._streams:
            each = []
            for image in y:
                h = pilots.least_squares(image.flatten(0, 1)).unflatten(1, (-1, len(empty)))
                energy = abs_squared(h.to(empty.dtype) @ empty).mean() * power
                each.append(torch.maximum(energy - left, _LEAST_SHARE * energy))
            found.append(torch.stack(each))
        return torch.stack(found).mean(0).to(y.real.dtype)


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
            found.append(torch.maximum(left, _LEAST_SHARE * energy) / pilots.streams_per_element)
        return torch.stack(found).mean(0) / self._nominal
