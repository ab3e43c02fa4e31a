"""3GPP channel models from plain arguments: what varies with delay and time, without a waveform."""

from __future__ import annotations

import math
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from channels import checks
from channels.arithmetic import abs_squared
from channels.base import Precision
from channels.runtime import sionna_seeding

__all__ = [
    "SPEED_OF_LIGHT",
    "Covariance",
    "DelayModel",
    "ExponentialCovariance",
    "RobustCovariance",
    "TdlModel",
    "TdlProfile",
    "exponential_correlation",
    "frequency_covariance",
    "frequency_response",
    "jakes_covariance",
]

TdlProfile = Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300"]
SPEED_OF_LIGHT = 299_792_458.0  # [m/s]
_SCALED = ("A", "B", "C", "D", "E")
_SINUSOIDS = 20  # of a tap
_CHUNK, _LEAST = 4096, 1e-30
_ROBUST_SPREAD = 144 / 2048 / 8  # an eighth of the normal prefix of NR, in symbols without prefix
_ROBUST_DOPPLER = 1 / 75  # of the subcarrier spacing
_LOS_SHIFT = 0.7  # of the line of sight, over the maximum Doppler shift (TR 38.901, sec. 7.7.2)


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
        row += _phasor(steps[:, None] * delays) @ powers.to(torch.complex128)
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


def _phasor(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), angle)


def _root(correlation: Tensor) -> Tensor | None:
    """Cholesky factor, complex128; None where there is nothing to correlate."""
    if torch.equal(correlation, torch.eye(len(correlation), dtype=correlation.dtype)):
        return None
    return torch.linalg.cholesky(correlation).to(torch.complex128)


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
        """See :class:`DelayModel`; all antennas see the line of sight alike."""
        line = float(self._tdl.mean_power_los) if self._tdl.los else 0.0
        return ((1 - line) * torch.kron(*self._correlations) + line).to(torch.complex128)

    def seen_through(self, beam: Tensor, mode: Tensor | None) -> Covariance:
        """See :class:`DelayModel`."""
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
        """See :class:`DelayModel`."""
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
            gains[:, :, :, 0] += math.sqrt(self._tdl.mean_power_los) * _phasor(turn + phase)
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
        fine = _phasor(omega[..., None] * torch.arange(length, dtype=torch.float64))
        coarse = _phasor(omega[..., None] * torch.arange(0, steps, length, dtype=torch.float64))
        first = _phasor(phase.double() + (omega * start)[:, None, None])
        rows = (coarse[:, None, None] * first[..., None]).transpose(-1, -2)
        gains = (rows @ fine[:, None, None]).flatten(-2)[..., :steps]
        return gains * (powers / _SINUSOIDS).sqrt()[:, None]

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """See :class:`DelayModel`."""
        return frequency_covariance(self.delays_s, self.mean_powers, num_subcarriers, subcarrier_spacing_hz)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """See :class:`DelayModel`."""
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
        line = _phasor(at[:, None] - at)
        return self._line * line + (1 - self._line) * jakes_covariance(num_symbols, symbol_s, doppler_hz)


def frequency_response(delays_s: Tensor, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
    """e^(-j2π f_k τ_p) of paths at subcarriers f_k = (k - F/2)·Δf, [paths, F] complex128.

    Source: 3GPP TS 38.211 sec. 5.3.1; order of the subcarriers as in Sionna 2.2 ``subcarrier_frequencies``.
    """
    carrier = torch.arange(num_subcarriers, dtype=torch.float64) - num_subcarriers // 2
    phase = -2 * math.pi * subcarrier_spacing_hz * delays_s.double()[:, None] * carrier
    return torch.polar(torch.ones_like(phase), phase)
