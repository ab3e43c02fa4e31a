"""What a waveform spills onto other resource elements: Doppler in a symbol, paths behind the prefix."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from channels.models.base import DelayModel

__all__ = ["drawn_interference_power", "interference_power"]


def interference_power(model: DelayModel, symbol_s: float, prefix_s: float) -> float:
    """Mean power that a unit-power OFDM signal spills onto other resource elements.

    Doppler: 1 - E|mean gain over the symbol|², for a Jakes spectrum about (2π f_d T)²/24. Paths that come
    later than the prefix by a share δ of the symbol: 1 - (1 - δ)² of their power.

    Args:
        model: delay model.
        symbol_s: OFDM symbol without prefix [s].
        prefix_s: cyclic prefix [s].

    Source: Li & Cimini, "Bounds on the Interchannel Interference of OFDM in Time-Varying Impairments", IEEE
        Trans. Commun. 49 (2001); Speth et al., "Optimum Receiver Design for Wireless Broad-Band Systems Using
        OFDM, Part I", IEEE Trans. Commun. 47 (1999).
    """
    samples = 64
    doppler = 1 - float(model.time_covariance(samples, symbol_s / samples).real.mean())
    spilled = float((model.mean_powers.double() * _spilled_share(model.delays_s, symbol_s, prefix_s)).sum())
    return max(doppler, 0.0) + spilled


def _spilled_share(delays_s: Tensor, symbol_s: float, prefix_s: float) -> Tensor:
    """1 - (1 - δ)² of paths that come later than the prefix by δ of the symbol, [paths] float64."""
    late = ((delays_s.double() - prefix_s) / symbol_s).clamp(0, 1)
    return 1 - (1 - late).square()


def drawn_interference_power(
    gains: Tensor, delays_s: Tensor, step_s: float, symbol_s: float, prefix_s: float
) -> float:
    """:func:`interference_power` of one draw, whose place has delays and directions of its own, with the
    power that it has.

    The Doppler shift f of a path is that of its phase from one time to the next, its share 1 - sinc²(fT).

    Args:
        gains: [pairs of antennas, paths, times] complex.
        delays_s: [paths].
        step_s: between two times [s].
        symbol_s: OFDM symbol without prefix [s].
        prefix_s: cyclic prefix [s].
    """
    gains = gains.to(torch.complex128)
    power = gains.abs().square().mean((0, 2))
    moving = torch.zeros_like(power)
    if gains.shape[-1] > 1:
        turned = (gains[..., 1:] * gains[..., :-1].conj()).mean((0, 2)).real
        shift = (turned / power.clamp_min(1e-300)).clamp(-1, 1).acos() / (2 * math.pi * step_s)
        moving = 1 - torch.sinc(shift * symbol_s).square()
    return float((power * (moving + _spilled_share(delays_s, symbol_s, prefix_s))).sum())
