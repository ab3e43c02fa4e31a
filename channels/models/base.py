"""What an OFDM link needs of a channel model, and second-order statistics that receivers assume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from channels import checks
from channels.runtime.moved import names_moved

__all__ = [
    "SPEED_OF_LIGHT",
    "Covariance",
    "DelayModel",
    "ExponentialCovariance",
    "RobustCovariance",
    "exponential_correlation",
    "frequency_covariance",
    "frequency_response",
    "jakes_covariance",
    "phasor",
]

SPEED_OF_LIGHT = 299_792_458.0  # [m/s]
_CHUNK = 4096
_ROBUST_SPREAD = 144 / 2048 / 8  # an eighth of the normal prefix of NR, in symbols without prefix
_ROBUST_DOPPLER = 1 / 75  # of the subcarrier spacing


class Covariance(Protocol):
    """Second-order statistics of a channel over a slot, as an estimator assumes them."""

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """E[h h^H] over subcarriers, [F, F] complex128."""
        ...

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """E[h h^H] over OFDM symbols, [T, T] complex128."""
        ...


class DelayModel(Covariance, Protocol):
    """What :class:`channels.ofdm.link.OfdmChannel` needs of a channel model: Sionna's call and its
    covariances.

    Averaged over draws and pairs of antennas, the gains of all paths together have unit mean power. All
    randomness of a call comes from :func:`channels.runtime.sionna_seeding.sionna_generator`.
    """

    @property
    def num_rx_antennas(self) -> int:
        """Antennas of the receiver."""
        ...

    @property
    def num_tx_antennas(self) -> int:
        """Antennas of the transmitter."""
        ...

    @property
    def own_profiles(self) -> bool:
        """Whether draws have delays and mean powers of their own, so that statistics of one are not those of
        all.
        """
        ...

    def spatial_covariance(self) -> Tensor:
        """E[h h^H] over all pairs of antennas, [R·A, R·A] complex128, pair r·A + a from transmit antenna a to
        receive antenna r; its mean diagonal is 1.
        """
        ...

    def seen_through(self, beam: Tensor, mode: Tensor | None) -> Covariance:
        """Statistics of the gain u^H H v* of a receive beam u and a mode v of the transmit antennas, divided
        by its mean power: a beam that looks past the line of sight sees other delays and Doppler shifts.

        Args:
            beam: [R] complex128.
            mode: [A] complex128; None: averaged over the transmit antennas.
        """
        ...

    @property
    def delays_s(self) -> Tensor:
        """Path delays [paths] in seconds."""
        ...

    @property
    def mean_powers(self) -> Tensor:
        """Mean power of each path [paths], linear, sum 1."""
        ...

    def __call__(
        self, batch_size: int, num_time_steps: int, sampling_frequency: float, start_s: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Path gains [batch, 1, rx antennas, 1, tx antennas, paths, time] complex and delays [batch, 1, 1,
        paths] in seconds.

        Times are start_s + n / sampling_frequency: with the same randomness, another start looks at the same
        process later.
        """
        ...


def frequency_covariance(
    delays_s: Tensor, mean_powers: Tensor, num_subcarriers: int, subcarrier_spacing_hz: float
) -> Tensor:
    """E[h h^H] over subcarriers [F, F] complex128 of independent paths with these delays [s] and powers."""
    row = torch.zeros(num_subcarriers, dtype=torch.complex128)
    steps = -2 * math.pi * subcarrier_spacing_hz * torch.arange(num_subcarriers, dtype=torch.float64)
    for delays, powers in zip(
        delays_s.double().split(_CHUNK), mean_powers.double().split(_CHUNK), strict=True
    ):
        row += phasor(steps[:, None] * delays) @ powers.to(torch.complex128)
    lag = torch.arange(num_subcarriers)[:, None] - torch.arange(num_subcarriers)
    return torch.where(lag >= 0, row[lag.abs()], row[lag.abs()].conj())


def exponential_correlation(num_antennas: int, coefficient: float) -> Tensor:
    """Correlation ρ^|i-j| of antennas in a row, [antennas, antennas] float64.

    Source: Loyka, "Channel Capacity of MIMO Architecture Using the Exponential Correlation Matrix", IEEE
        Commun. Letters 5 (2001).
    """
    place = torch.arange(num_antennas, dtype=torch.float64)
    return torch.as_tensor(coefficient, dtype=torch.float64) ** (place[:, None] - place[None, :]).abs()


def jakes_covariance(num_symbols: int, symbol_s: float, doppler_hz: float) -> Tensor:
    """J0(2π f_d Δt) over OFDM symbols [T, T] complex128, f_d the maximum Doppler shift.

    Source: Clarke, "A Statistical Theory of Mobile-Radio Reception", Bell Syst. Tech. J. 47 (1968).
    """
    at = torch.arange(num_symbols, dtype=torch.float64) * symbol_s
    argument = 2 * math.pi * doppler_hz * (at[:, None] - at[None, :])
    return torch.special.bessel_j0(argument).to(torch.complex128)


def phasor(angle: Tensor) -> Tensor:
    """exp(j angle)."""
    return torch.polar(torch.ones_like(angle), angle)


class ExponentialCovariance:
    """What a receiver assumes that knows only a delay spread and a speed: an exponential delay profile and
    the Doppler spectrum of Clarke. A mismatched LMMSE estimator is designed with it.

    E[h_k h_l*] = 1 / (1 + j2π τ (k - l) Δf).

    Args:
        delay_spread_s: RMS delay spread τ [s].
        carrier_hz: carrier frequency [Hz].
        speed_mps: speed [m/s].

    Source: Edfors et al., "OFDM Channel Estimation by Singular Value Decomposition", IEEE Trans. Commun. 46
        (1998), on mismatch; the profile from TR 38.901 sec. 7.5.
    """

    def __init__(self, *, delay_spread_s: float, carrier_hz: float, speed_mps: float = 0.0) -> None:
        checks.check_range("ExponentialCovariance: delay_spread_s", delay_spread_s, 0.0, 1e-5, "s")
        checks.check_range("ExponentialCovariance: speed_mps", speed_mps, 0.0, 500.0, "m/s")
        self._spread_s = delay_spread_s
        self._doppler_hz = speed_mps / SPEED_OF_LIGHT * carrier_hz

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """See :class:`Covariance`."""
        steps = torch.arange(num_subcarriers, dtype=torch.float64)
        turns = self._spread_s * subcarrier_spacing_hz * (steps[:, None] - steps[None, :])
        return 1 / torch.complex(torch.ones_like(turns), 2 * math.pi * turns)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """See :class:`Covariance`."""
        return jakes_covariance(num_symbols, symbol_s, self._doppler_hz)


class RobustCovariance(ExponentialCovariance):
    """What a receiver assumes that knows nothing but the numerology: an exponential delay profile whose RMS
    delay spread is an eighth of the normal cyclic prefix of NR, and a maximum Doppler shift of 1/75 of the
    subcarrier spacing. At 15, 30 and 120 kHz these are 586, 293 and 73 ns, and 200, 400 and 1600 Hz.

    Paths behind the prefix keep 0.03% of the power, so that late ones are damped, not cut; most of it comes
    early, as in all profiles of TR 38.901. A uniform profile within the prefix leaves 4 dB more noise at
    -6 dB, and cuts what is behind it (TDLC300-100, 20 dB: error of -20 instead of -26 dB).

    Args:
        subcarrier_spacing_hz: spacing [Hz].

    Source: Li, Cimini & Sollenberger, "Robust Channel Estimation for OFDM Systems with Rapid Dispersive
        Fading Channels", IEEE Trans. Commun. 46 (1998), with a uniform profile; TS 38.211 sec. 5.3.1.
    """

    def __init__(self, subcarrier_spacing_hz: float) -> None:
        checks.check_positive("RobustCovariance: subcarrier_spacing_hz", subcarrier_spacing_hz, "Hz")
        self._spread_s = _ROBUST_SPREAD / subcarrier_spacing_hz
        self._doppler_hz = _ROBUST_DOPPLER * subcarrier_spacing_hz


def frequency_response(delays_s: Tensor, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
    """e^(-j2π f_k τ_p) of paths at subcarriers f_k = (k - F/2)·Δf, [paths, F] complex128.

    Source: 3GPP TS 38.211 sec. 5.3.1; order of the subcarriers as in Sionna 2.2 ``subcarrier_frequencies``.
    """
    carrier = torch.arange(num_subcarriers, dtype=torch.float64) - num_subcarriers // 2
    phase = -2 * math.pi * subcarrier_spacing_hz * delays_s.double()[:, None] * carrier
    return torch.polar(torch.ones_like(phase), phase)


if not TYPE_CHECKING:  # a checker would take it for any name
    __getattr__ = names_moved(__name__, dict.fromkeys(("TdlModel", "TdlProfile"), "channels.models.tdl"))
