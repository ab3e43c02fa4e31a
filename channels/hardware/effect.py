"""What receivers know of imperfect radios beforehand: mean gain, mean distortion, how gains turn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from channels.hardware.impairment import Impairment
from channels.models.base import Covariance

__all__ = ["HardwareEffect", "TurnedCovariance"]

_WINDOW_STEPS = 1024


@dataclass(frozen=True)
class HardwareEffect:
    """Mean effect of the hardware of both ends on symbols, by Bussgang's decomposition: a gain, and
    distortion that is uncorrelated with the symbols.

    Args:
        gain: mean complex gain of a symbol.
        with_symbol: power of the distortion that takes the way of the symbol, over that of the wanted part:
            everything of the transmitter, and what oscillators of the receiver do to all antennas alike.
            Where the wanted part arrives with |h|², this arrives with δ|h|², and no combining helps against
            it.
        at_pilots: power of that distortion at the pilots of a stream over that of a pilot. Pilots are always
            the same symbols, so that what happens to them is no average.
        noise_gain: power gain of noise in the receiver.
        at_antenna: power of the distortion that arises at each antenna by itself (converters, images of other
            subcarriers), over all power that comes in there, noise included.

    Source: Bussgang, "Crosscorrelation Functions of Amplitude-Distorted Gaussian Signals", MIT RLE report 216
        (1952); Schenk, "RF Imperfections in High-rate Wireless Systems", 2008, ch. 6 and 7.
    """

    gain: complex = 1.0
    with_symbol: float = 0.0
    at_pilots: float = 0.0
    noise_gain: float = 1.0
    at_antenna: float = 0.0


@dataclass(frozen=True)
class TurnedCovariance:
    """Covariance of gains that oscillators and a timing offset turn.

    Args:
        channel: of what is turned.
        impairments: all of both sides.
        ramp: [F] complex128, phases of the subcarriers.
        window_s: over which a gain is the mean: an OFDM symbol without its prefix.
    """

    channel: Covariance
    impairments: tuple[Impairment, ...]
    ramp: Tensor
    window_s: float

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """See :class:`channels.models.base.Covariance`."""
        of_channel = self.channel.time_covariance(num_symbols, symbol_s).to(torch.complex128)
        return of_channel * self.turn_covariance(num_symbols, symbol_s)

    def turn_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """That of the common phase alone, [T, T] complex128."""
        steps = torch.arange(num_symbols)
        lag = torch.arange(1 - num_symbols, num_symbols, dtype=torch.float64) * symbol_s
        return self._mean_correlation(lag)[num_symbols - 1 + steps[:, None] - steps[None, :]]

    def _mean_correlation(self, lag_s: Tensor) -> Tensor:
        """Correlation of the means over two windows: that of instants, weighted with a triangle. What turns
        within a window is lost to the gain, and counted as distortion.
        """
        share = torch.linspace(-1, 1, 2 * _WINDOW_STEPS + 1, dtype=torch.float64)
        weight = 1 - share.abs()
        at = lag_s[:, None] + share * self.window_s
        turn = torch.ones_like(at, dtype=torch.complex128)
        for impairment in self.impairments:
            turn = turn * impairment.phase_correlation(at)
        return (turn * weight).sum(1) / weight.sum()

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """See :class:`channels.models.base.Covariance`."""
        of_channel = self.channel.frequency_covariance(num_subcarriers, subcarrier_spacing_hz)
        return self.ramp[:, None] * of_channel.to(torch.complex128) * self.ramp.conj()[None, :]
