"""Channel estimation on a resource grid: least squares and LMMSE as Sionna does them, with the error variance
that Sionna reports.

May import: torch, sionna, channels.{base, checks, seeding, arithmetic}.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding
from channels.arithmetic import multiply_conj
from channels.base import Precision

from sionna.phy.ofdm import (
    LinearInterpolator,
    LMMSEChannelEstimator,
    NearestNeighborInterpolator,
    ResourceGrid,
)

__all__ = ["Interpolation", "LmmseEstimator", "LsEstimator"]

Interpolation = Literal["linear", "nearest"]


class LsEstimator:
    """Least squares at the pilots, interpolated over the slot.

    h_p = y_p·p* / |p|², err_var_p = no / |p|². Both are interpolated with the weights of Sionna's
    interpolator,
    which are read out of it once by feeding it unit impulses: every element is a combination of at most four
    pilots, so a slot costs four gathers, and no result depends on how many slots are estimated together.

    Args:
        grid: Sionna resource grid with pilots, one stream.
        interpolation: "linear" (over frequency, then time) or "nearest".
        precision, device: as the operator's.

    Source: Sionna 2.2, ``LSChannelEstimator`` with ``LinearInterpolator`` or ``NearestNeighborInterpolator``.
    """

    def __init__(
        self,
        grid: ResourceGrid,
        interpolation: Interpolation = "linear",
        *,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        checks.check_choice("LsEstimator: interpolation", interpolation, ("linear", "nearest"))
        pattern = grid.pilot_pattern
        kind = {"linear": LinearInterpolator, "nearest": NearestNeighborInterpolator}[interpolation]
        arguments = {"precision": precision, "device": seeding.sionna_device(torch.device(device))}
        interpolate = kind(pattern, **arguments) if interpolation == "linear" else kind(pattern)
        pilots = pattern.pilots.flatten().to(device)
        self._pilots = pilots.to(torch.complex64 if precision == "single" else torch.complex128)
        self._power = self._pilots.real.square() + self._pilots.imag.square()
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=device).long()
        at = pattern.mask[0, 0].bool().nonzero().to(device)
        self._symbol, self._subcarrier = at[:, 0], used[at[:, 1]]
        self._index, self._weight = self._read_weights(interpolate, pattern.num_pilot_symbols)

    def _read_weights(self, interpolate: object, num_pilots: int) -> tuple[Tensor, Tensor]:
        """For every element of the slot [T, F_used] the pilots that it is made of, and their weights, [4,
        T, F].
        """
        impulses = torch.eye(num_pilots, dtype=self._pilots.dtype, device=self._pilots.device)
        impulses = impulses[:, None, None, None, None, :]
        response, _ = interpolate(impulses, impulses.real)  # type: ignore[operator]
        weights = response[:, 0, 0, 0, 0].real
        _, index = weights.abs().topk(min(4, num_pilots), dim=0)
        chosen = weights.gather(0, index)
        assert torch.allclose(chosen.sum(0), weights.sum(0)), "an interpolator of more than four pilots"
        return index, chosen

    def __call__(self, y: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate.

        Args:
            y: [slots, T, F] complex, received grid.
            no: [slots] float, noise variance.

        Returns:
            h_hat: [slots, T, F_used] complex.
            err_var: [slots, T, F_used] float.
        """
        at_pilots = multiply_conj(y[:, self._symbol, self._subcarrier], self._pilots) / self._power
        variance = no[:, None] / self._power
        h_hat = self._weight[0] * at_pilots[:, self._index[0]]
        err_var = self._weight[0] * variance[:, self._index[0]]
        for weight, index in zip(self._weight[1:], self._index[1:], strict=True):
            h_hat = h_hat + weight * at_pilots[:, index]
            err_var = err_var + weight * variance[:, index]
        return h_hat, err_var.clamp_min(0.0)


class LmmseEstimator:
    """LMMSE filtering over frequency, then time, with the covariances of the channel model.

    Args:
        grid: Sionna resource grid with pilots, one stream.
        time_covariance: [T, T] complex, E[h h^H] over the OFDM symbols of a slot.
        frequency_covariance: [F, F] complex, over all subcarriers.
        precision, device: as the operator's.

    Source: Sionna 2.2, ``LMMSEChannelEstimator`` with order "f-t".
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
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=frequency_covariance.device).long()
        self._estimate = LMMSEChannelEstimator(
            grid,
            time_covariance,
            frequency_covariance[used][:, used],
            order="f-t",
            precision=precision,
            device=seeding.sionna_device(torch.device(device)),
        )

    def __call__(self, y: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate; shapes as :meth:`LsEstimator.__call__`.

        Call it for one image at a time: the last bits depend on how many slots Sionna is given together.
        """
        h_hat, err_var = self._estimate(y[:, None, None], no)
        return h_hat[:, 0, 0, 0, 0], err_var[:, 0, 0, 0, 0]
