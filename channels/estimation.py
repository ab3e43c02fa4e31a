"""Channel estimation on a resource grid: least squares and LMMSE, by Sionna, with the error variance they
report.

May import: torch, sionna, channels.{checks, seeding}.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding
from channels.base import Precision

from sionna.phy.ofdm import LMMSEChannelEstimator, LSChannelEstimator, ResourceGrid

__all__ = ["GridEstimator", "Interpolation"]

Interpolation = Literal["linear", "nearest"]


class GridEstimator:
    """Gain of every resource element of a slot, from its pilots.

    Args:
        grid: Sionna resource grid with pilots, one stream.
        kind: "ls" or "lmmse".
        interpolation: of LS estimates, "linear" or "nearest".
        covariances: (time [T, T], frequency [F, F]) of the channel, for LMMSE.
        precision, device: as the operator's.

    Source: Sionna 2.2, ``LSChannelEstimator`` and ``LMMSEChannelEstimator`` (order frequency, time).
    """

    def __init__(
        self,
        grid: ResourceGrid,
        kind: Literal["ls", "lmmse"],
        *,
        interpolation: Interpolation = "linear",
        covariances: tuple[Tensor, Tensor] | None = None,
        precision: Precision = "single",
        device: torch.device | str = "cpu",
    ) -> None:
        name = seeding.sionna_device(torch.device(device))
        checks.check_choice("GridEstimator: kind", kind, ("ls", "lmmse"))
        checks.check_choice("GridEstimator: interpolation", interpolation, ("linear", "nearest"))
        if kind == "ls":
            short = {"linear": "lin", "nearest": "nn"}[interpolation]
            self._estimate = LSChannelEstimator(
                grid, interpolation_type=short, precision=precision, device=name
            )
            return
        if covariances is None:
            expected = "time and frequency covariance matrices"
            raise ValueError(checks.complaint("GridEstimator: covariances", "missing", None, expected))
        time, frequency = covariances
        used = torch.as_tensor(grid.effective_subcarrier_ind, device=frequency.device).long()
        self._estimate = LMMSEChannelEstimator(
            grid, time, frequency[used][:, used], order="f-t", precision=precision, device=name
        )

    def __call__(self, y: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Estimate.

        Args:
            y: [slots, T, F] complex, received grid.
            no: [slots] float, noise variance.

        Returns:
            h_hat: [slots, T, F_used] complex.
            err_var: [slots, T, F_used] float, as the estimator reports it.
        """
        h_hat, err_var = self._estimate(y[:, None, None], no)
        return h_hat[:, 0, 0, 0, 0], err_var[:, 0, 0, 0, 0]
