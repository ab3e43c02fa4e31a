"""Tapped delay lines of TR 38.901 and TS 38.101-4 from plain arguments, without a waveform."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared
from channels.base import Precision
from channels.models.base import (
    SPEED_OF_LIGHT,
    Covariance,
    exponential_correlation,
    frequency_covariance,
    jakes_covariance,
    phasor,
)
from channels.runtime import sionna_seeding

__all__ = ["TdlModel", "TdlProfile"]

TdlProfile = Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300"]
_SCALED = ("A", "B", "C", "D", "E")
_SINUSOIDS = 20  # of a tap
_LEAST = 1e-30
_LOS_SHIFT = 0.7  # of the line of sight, over the maximum Doppler shift (TR 38.901, sec. 7.7.2)


class TdlModel:
    """Tapped delay line of TR 38.901 or TS 38.101-4, unit mean power, antennas with exponential correlation.

    Args:
        profile: "A" to "C" (no line of sight), "D", "E" (Rician first tap); or one of the fixed profiles that
            conformance tests use: "A10", "A30", "B100", "C60", "C300" (RMS delay spread in ns in the name).
        delay_spread_s: RMS delay spread [s] of "A" to "E"; None for the fixed profiles.
        carrier_hz: carrier frequency [Hz].
        speed_mps: speed of the receiver [m/s]; the maximum Doppler shift is speed/c · carrier.
        num_rx_antennas, num_tx_antennas: antennas at the two ends.
        rx_correlation, tx_correlation: correlation ρ of neighbouring antennas, 0 to below 1 (0: independent,
            the "low correlation" of conformance tests).
        precision: see :class:`channels.base.ChannelOperator`.

    Impulse responses are drawn on the CPU, so they do not depend on the device that the link runs on. A tap
    is a sum of sinusoids with the numbers that Sionna's ``TDL`` would draw; their phases are computed in
    double precision, and what correlates antennas leaves the line of sight alone.

    Source: 3GPP TR 38.901 V19.2.0, sec. 7.7.2, tables 7.7.2-1 to 7.7.2-5; TS 38.101-4 V19.2.2, annex B.2.1
        (values from Sionna 2.2); Xiao, Zheng & Beaulieu, "Novel Sum-of-Sinusoids Simulation Models for
        Rayleigh and Rician Fading Channels", IEEE Trans. Wireless Commun. 5 (2006).

    Example:
        >>> model = TdlModel("C", delay_spread_s=100e-9, carrier_hz=3.5e9)
        >>> model(2, 14, 14e3)[0].shape
        torch.Size([2, 1, 1, 1, 1, 24, 14])
    """

    def __init__(
        self,
        profile: TdlProfile,
        *,
        delay_spread_s: float | None = None,
        carrier_hz: float,
        speed_mps: float = 0.0,
        num_rx_antennas: int = 1,
        num_tx_antennas: int = 1,
        rx_correlation: float = 0.0,
        tx_correlation: float = 0.0,
        precision: Precision = "single",
    ) -> None:
        checks.check_choice("TdlModel: profile", profile, get_args(TdlProfile))
        if profile in _SCALED:
            if delay_spread_s is None:
                raise ValueError(checks.complaint("TdlModel: delay_spread_s", "missing", None, "seconds"))
            checks.check_range(
                "TdlModel: delay_spread_s", delay_spread_s, 0.0, 1e-5, "s", "100 ns is 100e-9."
            )
        elif delay_spread_s is not None:
            got, expected = f"{delay_spread_s} s", f"none: profile {profile} has its own"
            raise ValueError(checks.complaint("TdlModel: delay_spread_s", "fixed", got, expected))
        checks.check_range("TdlModel: carrier_hz", carrier_hz, 1e8, 1e12, "Hz", "3.5 GHz is 3.5e9.")
        checks.check_range("TdlModel: speed_mps", speed_mps, 0.0, 500.0, "m/s")
        checks.check_at_least("TdlModel: num_rx_antennas", num_rx_antennas, 1)
        checks.check_at_least("TdlModel: num_tx_antennas", num_tx_antennas, 1)
        checks.check_range("TdlModel: rx_correlation", rx_correlation, 0.0, 0.999)
        checks.check_range("TdlModel: tx_correlation", tx_correlation, 0.0, 0.999)
        self.profile = profile
        self.delay_spread_s = delay_spread_s
        self.carrier_hz = carrier_hz
        self.speed_mps = speed_mps
        self.num_rx_antennas = num_rx_antennas
        self.num_tx_antennas = num_tx_antennas
        self.precision: Precision = precision
        self._correlations = (
            exponential_correlation(num_rx_antennas, rx_correlation),
            exponential_correlation(num_tx_antennas, tx_correlation),
        )
        self._roots = tuple(_root(correlation) for correlation in self._correlations)
        self._tdl = sionna_seeding.sionna_phy().channel.tr38901.TDL(
            model=profile,
            **({} if delay_spread_s is None else {"delay_spread": delay_spread_s}),
            carrier_frequency=carrier_hz,
            num_sinusoids=_SINUSOIDS,
            precision=precision,
            device="cpu",
        )

    own_profiles = False

    def spatial_covariance(self) -> Tensor:
        """See :class:`channels.models.base.DelayModel`; all antennas see the line of sight alike."""
        line = float(self._tdl.mean_power_los) if self._tdl.los else 0.0
        return ((1 - line) * torch.kron(*self._correlations) + line).to(torch.complex128)

    def seen_through(self, beam: Tensor, mode: Tensor | None) -> Covariance:
        """See :class:`channels.models.base.DelayModel`."""
        rx, tx = (correlation.to(torch.complex128) for correlation in self._correlations)
        diffuse, straight = float((beam.conj() @ rx @ beam).real), float(abs_squared(beam.sum()))
        if mode is not None:
            diffuse *= float((mode.conj() @ tx @ mode).real)
            straight *= float(abs_squared(mode.sum()))
        line = float(self._tdl.mean_power_los) if self._tdl.los else 0.0
        total = (1 - line) * diffuse + line * straight
        return _TdlView(self, line * straight / max(total, _LEAST))

    @property
    def diffuse_powers(self) -> Tensor:
        """Mean power of each path without the line of sight [paths] float64, sum 1."""
        powers = self.mean_powers.double().clone()
        if self._tdl.los:
            powers[0] = self._tdl.mean_power_los / self._tdl.k_factor
        return powers / powers.sum()

    @property
    def delays_s(self) -> Tensor:
        """Path delays [paths] in seconds."""
        return self._tdl.delays

    @property
    def mean_powers(self) -> Tensor:
        """Mean power of each path [paths], linear, sum 1 (with the line of sight in the first)."""
        return self._tdl.mean_powers

    def __call__(
        self, batch_size: int, num_time_steps: int, sampling_frequency: float, start_s: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See :class:`channels.models.base.DelayModel`."""
        steps = num_time_steps if self.speed_mps > 0 else 1  # at rest all are the same
        start = start_s * sampling_frequency
        doppler = 2 * math.pi * self.speed_mps / SPEED_OF_LIGHT * self.carrier_hz / sampling_frequency
        single = self.precision == "single"
        dtype, cdtype = (torch.float32, torch.complex64) if single else (torch.float64, torch.complex128)
        sionna_seeding.sionna_uniform((batch_size,), dtype)  # the speed of Sionna's, which is fixed here
        gains = self._diffuse(batch_size, steps, start, doppler, dtype)
        for root, pattern in zip(self._roots, ("xr,brtps->bxtps", "xt,brtps->brxps"), strict=True):
            if root is not None:
                gains = torch.einsum(pattern, root, gains)
        if self._tdl.los:
            uniform = sionna_seeding.sionna_uniform((batch_size, 1, 1, 1), dtype).double()
            phase = 2 * math.pi * uniform - math.pi
            turn = doppler * _LOS_SHIFT * (start + torch.arange(steps, dtype=torch.float64))
            gains[:, :, :, 0] += math.sqrt(self._tdl.mean_power_los) * phasor(turn + phase)
        gains = gains[:, None, :, None].to(cdtype)
        delays = self.delays_s.expand(batch_size, 1, 1, -1)
        return gains.expand(*gains.shape[:-1], num_time_steps), delays

    def _diffuse(
        self, batch_size: int, steps: int, start: float, doppler: float, dtype: torch.dtype
    ) -> Tensor:
        """Rayleigh fading taps [batch, rx, tx, paths, time] complex128, independent over antennas.

        A sinusoid turns by the same angle in every step, so at step Kj + k it is e^{jφ + jKjω}·e^{jkω}: two
        short tables and one matrix product instead of a phasor per step.

        Args:
            batch_size: of independent processes.
            steps: of each.
            start: of the first one, in steps.
            doppler: maximum Doppler shift, radians per step.
            dtype: of the random numbers.
        """
        powers = self.mean_powers.double().clone()
        if self._tdl.los:
            powers[0] = self._tdl.mean_power_los / self._tdl.k_factor
        shape = (batch_size, len(powers), _SINUSOIDS)
        sector = 2 * math.pi / _SINUSOIDS
        arrival = sionna_seeding.sionna_uniform(shape, dtype) * sector - sector / 2
        arrival = arrival + sector * torch.arange(1, _SINUSOIDS + 1, dtype=dtype)
        antennas = (self.num_rx_antennas, self.num_tx_antennas)
        uniform = sionna_seeding.sionna_uniform((batch_size, *antennas, *shape[1:]), dtype)
        phase = uniform * (2 * math.pi) - math.pi
        omega = doppler * arrival.cos().double()
        length = math.isqrt(steps - 1) + 1
        fine = phasor(omega[..., None] * torch.arange(length, dtype=torch.float64))
        coarse = phasor(omega[..., None] * torch.arange(0, steps, length, dtype=torch.float64))
        first = phasor(phase.double() + (omega * start)[:, None, None])
        rows = (coarse[:, None, None] * first[..., None]).transpose(-1, -2)
        gains = (rows @ fine[:, None, None]).flatten(-2)[..., :steps]
        return gains * (powers / _SINUSOIDS).sqrt()[:, None]

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """See :class:`channels.models.base.DelayModel`."""
        return frequency_covariance(self.delays_s, self.mean_powers, num_subcarriers, subcarrier_spacing_hz)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """See :class:`channels.models.base.DelayModel`."""
        # without a line of sight J0(2π f_d t), whatever the profile
        covariance: Tensor = sionna_seeding.sionna_phy().ofdm.tdl_time_cov_mat(
            self.profile if self.profile in _SCALED else "A",
            self.speed_mps,
            self.carrier_hz,
            symbol_s,
            num_symbols,
            precision="double",
            device="cpu",
        )
        return covariance


class _TdlView:
    """A tapped delay line where the line of sight has another share of the power."""

    def __init__(self, model: TdlModel, line_share: float) -> None:
        self._model, self._line = model, line_share

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        powers = (1 - self._line) * self._model.diffuse_powers
        powers[0] += self._line
        return frequency_covariance(self._model.delays_s, powers, num_subcarriers, subcarrier_spacing_hz)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        model = self._model
        doppler_hz = model.speed_mps / SPEED_OF_LIGHT * model.carrier_hz
        at = 2 * math.pi * _LOS_SHIFT * doppler_hz * symbol_s * torch.arange(num_symbols, dtype=torch.float64)
        line = phasor(at[:, None] - at)
        return self._line * line + (1 - self._line) * jakes_covariance(num_symbols, symbol_s, doppler_hz)


def _root(correlation: Tensor) -> Tensor | None:
    """Cholesky factor, complex128; None where there is nothing to correlate."""
    if torch.equal(correlation, torch.eye(len(correlation), dtype=correlation.dtype)):
        return None
    return torch.linalg.cholesky(correlation).to(torch.complex128)
