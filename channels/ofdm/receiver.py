r"""The receiver of OFDM: gain control, estimation, combining and detection, as n parallel scalar channels.

What a scheme is told of a symbol is y = h·x + w with E[y|x, pilots] = h·x and E|w|² = no + err_var. With the
estimates Ĥ = E[H|pilots] of :mod:`channels.ofdm.estimators.base` and errors E = H - Ĥ, an element receives

    y = Ĥx + Ex + w,

and Ex + w is uncorrelated with Ĥ. Its covariance over antennas decides how they are combined:

* thermal noise and interference are equal and independent at all antennas, distortion that arises at an
  antenna is not equal: δ times all power that comes in there, which every receiver measures;
* the errors of a stream have the spatial covariance of its gains. The antennas are therefore turned into the
  beams that diagonalise it: there errors are independent, each in proportion to the power of its beam. (A
  line of sight that ages disturbs the one direction that it comes from, not all of them.) Streams whose
  gains are correlated are turned into modes in the same way;
* what turns or distorts all antennas alike makes an error along the gain itself, δ|h|², against which no
  combining helps; it is counted after combining.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from channels import checks
from channels.antennas.detection import combine
from channels.antennas.transmission import Transmission
from channels.arithmetic import abs_squared, mean_square, multiply, scale
from channels.base import Precision
from channels.hardware.effect import HardwareEffect, TurnedCovariance
from channels.models.base import Covariance
from channels.ofdm.combining import Gains, separate
from channels.ofdm.estimators.base import EstimatorFactory, GainEstimator, Interpolation, Moments, Statistics
from channels.ofdm.estimators.lmmse import LmmseEstimator
from channels.ofdm.estimators.ls import LsEstimator
from channels.ofdm.estimators.pilot_measurements import (
    NoiseEstimator,
    NoiseSubspace,
    PilotElements,
    PilotPower,
)
from channels.ofdm.grid import SlotGrid
from channels.types import Csi

__all__ = [
    "LinkStatistics",
    "NoiseKnowledge",
    "OfdmCsi",
    "OfdmReceiver",
    "check_knowledge",
    "estimator_factory",
]

OfdmCsi = Literal["perfect", "ls", "lmmse"]
NoiseKnowledge = Literal["known", "estimated"]
_TURNS = 4


@dataclass(frozen=True)
class LinkStatistics:
    """What a receiver knows of a link beforehand.

    Args:
        covariance: of a gain of unit power, with what oscillators make of it.
        seen: the same of every stream, or mode, in every beam, L rows of R; None: all alike.
        powers: [L, R] float, E|h|² of the gain of every stream, or mode, in every beam.
        beams: [R, R] complex, unitary, a beam per column; None: the antennas themselves.
        modes: [L, L] complex, unitary, a mode of the streams per column, whose gains are uncorrelated; None:
            the streams themselves.
        hardware: of both ends.
        guessed: the covariance is that of no channel: it says where gains are small, not how they curve.
    """

    covariance: Covariance
    seen: tuple[tuple[Covariance, ...], ...] | None
    powers: Tensor
    beams: Tensor | None
    modes: Tensor | None
    hardware: HardwareEffect
    guessed: bool = False


def check_knowledge(
    csi: OfdmCsi | EstimatorFactory,
    noise: NoiseKnowledge,
    assumed: Covariance | Literal["robust"] | None,
    transmission: Transmission,
) -> None:
    """ValueError for what no receiver can know."""
    if not callable(csi):
        checks.check_choice("OfdmChannel: csi", csi, ("perfect", "ls", "lmmse"))
    checks.check_choice("OfdmChannel: noise", noise, ("known", "estimated"))
    if isinstance(assumed, str):
        checks.check_choice("OfdmChannel: assumed", assumed, ("robust",))
    if transmission.kind == "svd" and transmission.precoding.subband is not None and csi != "perfect":
        got = f"{transmission.precoding.subband} subcarriers with csi {csi}"
        cure = "An estimate is interpolated over subcarriers with one precoder."
        raise ValueError(
            checks.complaint("Precoding: subband", "too narrow", got, "none (all of them)", cure)
        )


def estimator_factory(csi: OfdmCsi | EstimatorFactory, interpolation: Interpolation) -> EstimatorFactory:
    """What makes the estimators that a name stands for.

    Raises:
        ValueError: a name that stands for none.
    """
    if callable(csi):
        return csi
    checks.check_choice("estimator", csi, ("ls", "lmmse"))
    return LmmseEstimator if csi == "lmmse" else partial(LsEstimator, interpolation=interpolation)


class OfdmReceiver:
    """What a receiver makes of resource grids: see :class:`channels.ofdm.link.OfdmChannel`.

    Args:
        grid: resource grid with the pilots of every stream.
        transmission: streams and precoding.
        statistics: what is known beforehand.
        csi: "perfect", "ls", "lmmse", or what makes the estimator of a stream.
        interpolation: of LS estimates.
        noise: "known", or "estimated" from the pilots.
        gain_control: scale every frame to the power of the ensemble first.

    Raises:
        ValueError: pilots that do not suffice.
    """

    def __init__(
        self,
        grid: SlotGrid,
        transmission: Transmission,
        statistics: LinkStatistics,
        *,
        csi: OfdmCsi | EstimatorFactory,
        interpolation: Interpolation,
        noise: NoiseKnowledge,
        gain_control: bool,
    ) -> None:
        self._grid, self._transmission, self.statistics = grid, transmission, statistics
        self._num_streams, self._gain_control = grid.num_streams, gain_control
        self._estimators: list[GainEstimator] = []
        self._noise_estimator: NoiseEstimator | NoiseSubspace | None = None
        self._pilot_power: PilotPower | None = None
        if csi == "perfect" and noise == "known":
            return
        pilots = [self._pilots(stream) for stream in range(grid.num_streams)]
        if csi != "perfect":
            rows = statistics.seen or ((statistics.covariance,),)
            kinds = [self._statistics(covariance) for row in rows for covariance in row]
            for sent, own in zip(grid.streams, pilots, strict=True):
                self._estimators.append(estimator_factory(csi, interpolation)(sent, kinds, own))
        power = float(statistics.powers.mean())
        if noise == "estimated":
            frequency = self._statistics(statistics.covariance).frequency
            measure = NoiseSubspace if statistics.guessed else NoiseEstimator
            self._noise_estimator = measure(pilots, power * frequency)
        if gain_control and csi != "perfect":
            self._pilot_power = PilotPower(pilots, power)

    def _pilots(self, stream: int) -> PilotElements:
        grid = self._grid
        precision: Precision = "single" if grid.known.dtype == torch.complex64 else "double"
        cover, device = grid.cover(stream), grid.data.device
        return PilotElements(grid.streams[stream], cover=cover, precision=precision, device=device)

    def _statistics(self, covariance: Covariance) -> Statistics:
        grid = self._grid
        time = covariance.time_covariance(grid.num_ofdm_symbols, grid.symbol_s)
        frequency = covariance.frequency_covariance(grid.num_subcarriers, grid.subcarrier_spacing_hz)
        turn = None
        if isinstance(covariance, TurnedCovariance):
            turn = covariance.turn_covariance(grid.num_ofdm_symbols, grid.symbol_s)
        return Statistics(time, frequency, turn)

    def __call__(
        self,
        y_raw: Tensor,
        no: Tensor,
        num_symbols: int,
        known: Tensor | None,
        power: Tensor,
        following: float = 0.0,
    ) -> tuple[Tensor, Csi]:
        """Scalar channels of the symbols of a batch.

        Args:
            y_raw: [B, S, R, T, F] complex, received grids.
            no: [B, 1] float, linear, noise and interference of the waveform per element, before the
                receiver's hardware.
            num_symbols: n, the leading ones that were sent.
            known: [B, S, R, L, D] complex, true gains of the streams at the data elements; None = estimated.
            power: [B, 1] float, mean power of the true gains over grid and antennas, used with known gains or
                a known noise variance.

            following: interference that is not in ``no``, because it is this times the power of the image,
                which the gain control measures.

        Returns:
            [B, n] complex and what is known of it.
        """
        noise = self.antenna_noise(no, y_raw if known is None else None, known)
        level = torch.ones_like(power)
        if self._gain_control and known is None:
            level = self._measured_power(y_raw, noise)
        elif self._gain_control and self._noise_estimator is not None:
            level = power
        root = level.sqrt()
        scaled = scale(y_raw, (1 / root)[:, :, None, None, None]) if self._gain_control else y_raw
        if self._noise_estimator is not None:
            measured = self._noise_estimator(scaled.movedim(2, 1)).to(noise.dtype)
            noise = measured[:, None].expand(noise.shape)
        else:
            noise = noise / level + following * self.statistics.hardware.noise_gain
        y, noise = self._beams(scaled, noise) if known is None else (scaled, noise)
        if known is None:
            gains = self._estimate(y, noise)
        else:
            gains = self._true(scale(known, (1 / root)[:, :, None, None, None]))
        y, csi = self._to_scalars(y.flatten(3)[..., self._grid.data], gains, noise)
        h, err_var = csi.h[:, :num_symbols], csi.err_var[:, :num_symbols]
        y = scale(y[:, :num_symbols], root.expand(y[:, :num_symbols].shape))
        return y, Csi(scale(h, root.expand(h.shape)), csi.no * level, err_var * level)

    def antenna_noise(self, no: Tensor, y_raw: Tensor | None, h: Tensor | None) -> Tensor:
        """Noise variance at every antenna, [B, R] float, with the distortion that arises there.

        Args:
            no: [B, 1] float, before the receiver's hardware.
            y_raw: [B, S, R, T, F] complex, received, from which the power that comes in is measured; or None.
            h: [B, S, R, L, D] complex, true gains, from which it follows otherwise; None: that of the
                ensemble.
        """
        hardware, grid = self.statistics.hardware, self._grid
        noise = hardware.noise_gain * no.expand(-1, self.statistics.powers.shape[1])
        if hardware.at_antenna == 0:
            return noise
        occupied = grid.num_used / grid.num_subcarriers
        if y_raw is not None:
            incoming = mean_square(y_raw.movedim(2, 1).flatten(2)) / occupied
            return noise + hardware.at_antenna / (hardware.noise_gain + hardware.at_antenna) * incoming
        if h is None:
            arriving = self.statistics.powers.sum(0).mean().expand(noise.shape)
        else:
            arriving = mean_square(h.movedim(2, 1).flatten(2)) * h.shape[3]
        arriving = arriving * (1 + hardware.with_symbol) / hardware.noise_gain
        return noise + hardware.at_antenna * (arriving + no / occupied)

    def gain(self, h: Tensor, no: Tensor) -> Tensor:
        """Scalar gains [B, n'] of streams with the true gains h [B, S, R, L, D], n' symbols in whole slots.

        Args:
            h: see above.
            no: [B, 1] float, linear, noise and interference before the receiver's hardware.
        """
        noise = self.antenna_noise(no, None, h)
        _, csi = self._to_scalars(torch.zeros_like(h[:, :, :, 0]), self._true(h), noise)
        return csi.h

    def _measured_power(self, y_raw: Tensor, noise: Tensor) -> Tensor:
        """Power of every image [B, 1] by its pilots; without the noise variance both are found in turn."""
        assert self._pilot_power is not None
        y = y_raw.movedim(2, 1)
        if self._noise_estimator is None:
            return self._pilot_power(y, noise.mean(1))[:, None].to(noise.dtype)
        power = self._pilot_power(y, torch.zeros_like(noise[:, 0]))
        for _ in range(_TURNS):
            at_unit_power = scale(y, power.rsqrt().to(noise.dtype)[:, None, None, None, None])
            power = self._pilot_power(y, self._noise_estimator(at_unit_power) * power)
        return power[:, None].to(noise.dtype)

    def _beams(self, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Grids [B, S, R, T, F] and noise variances [B, R] of the beams."""
        beams = self.statistics.beams
        if beams is None:
            return y, noise
        beams = beams.to(y)
        turned, spread = [], []
        for beam in beams.T:  # element by element: no result depends on what stands beside it
            weight = beam.conj().resolve_conj()
            total = multiply(y[:, :, 0], weight[0])
            variance = noise[:, 0] * abs_squared(weight[0])
            for antenna in range(1, len(weight)):
                total = total + multiply(y[:, :, antenna], weight[antenna])
                variance = variance + noise[:, antenna] * abs_squared(weight[antenna])
            turned.append(total)
            spread.append(variance)
        return torch.stack(turned, 2), torch.stack(spread, 1)

    @property
    def _distortion(self) -> tuple[float, float]:
        """Along the gain, of data and of pilots; what is measured with the noise is not told twice."""
        hardware = self.statistics.hardware
        return (0.0, 0.0) if self._noise_estimator else (hardware.with_symbol, hardware.at_pilots)

    def _true(self, h: Tensor) -> Gains:
        """True gains [B, S, R, L, D]."""
        nil = h.real.new_zeros(len(h), 1, h.shape[2], 1)
        return Gains(h, nil, nil[:, :, 0], nil[:, :, 0] + self._distortion[0])

    def _estimate(self, y: Tensor, noise: Tensor) -> Gains:
        """Gains at the data elements, given the pilots of grids [B, S, R, T, F] with noise [B, R]."""
        modes = self.statistics.modes
        found = []
        for i in range(self._num_streams):
            if modes is None:
                found.append(self._beam_by_beam(self._estimators[i], y, noise, i))
            else:
                each = [self._beam_by_beam(estimator, y, noise, i) for estimator in self._estimators]
                found.append(_combined(each, modes[:, i].conj().resolve_conj().to(y)))
        posteriors = [moments.posterior(h_hat) for h_hat, moments in found]
        gains = [h for h, _ in posteriors]
        if modes is not None:
            gains = [_sum(gains, row) for row in modes.to(y)]
        nil = torch.zeros((), dtype=noise.dtype, device=noise.device)
        total, turning, echo = nil, nil, nil
        for (_, error), (_, moments), powers in zip(posteriors, found, self.statistics.powers, strict=True):
            turned = powers.to(moments.turning)[:, None] * moments.turning
            total = total + (error - turned).clamp_min(0.0).to(noise.dtype)
            strongest = int(powers.argmax())
            turning = turning + moments.turning[:, :, strongest].to(noise.dtype) / len(found)
            echo = echo + moments.echo[:, :, strongest].to(noise.dtype) / len(found)
        of_data, of_pilots = self._distortion
        return Gains(torch.stack(gains, 3), total, turning, of_data + of_pilots * echo)

    def _beam_by_beam(
        self, estimator: GainEstimator, y: Tensor, noise: Tensor, row: int
    ) -> tuple[Tensor, Moments]:
        """Estimates [B, S, R, D] of gains with the statistics of stream or mode ``row`` in every beam, and
        their moments [B, 1, R, D].
        """
        powers = self.statistics.powers[row].tolist()
        count = len(powers)
        kinds = [row * count + i if self.statistics.seen else 0 for i in range(count)]
        h: list[Tensor] = [y] * count
        moments: dict[int, Moments] = {}
        for power, kind in set(zip(powers, kinds, strict=True)):
            members = [i for i in range(count) if (powers[i], kinds[i]) == (power, kind)]
            h_hat, together = estimator.estimate(y[:, :, members], noise[:, members], power, kind)
            together = together.select(self._grid.data_used)
            for k, i in enumerate(members):
                h[i] = h_hat[:, :, k].flatten(-2)[..., self._grid.data_used]
                moments[i] = together.of_antenna(k)
        return torch.stack(h, 2), Moments.stack([moments[i] for i in range(count)])

    def _to_scalars(self, y: Tensor, gains: Gains, noise: Tensor) -> tuple[Tensor, Csi]:
        """Scalar channels of the symbols of every slot.

        Args:
            y: [B, S, R, D] complex.
            gains: as known.
            noise: [B, R] float.
        """
        variance = noise[:, None, :, None] + gains.variance  # [B, 1, R, D]
        mean_error, along = gains.variance.mean(2), gains.turning + gains.distorted  # [B, 1, D]
        if self._num_streams > 1:
            z, h, mean_error, along = separate(
                y, gains, variance, paired=self._transmission.is_orthogonal_pair
            )
        elif y.shape[2] == 1:
            z, h = y[:, :, 0], gains.h[:, :, 0, 0]
        else:
            z, gain = combine(*(part.movedim(2, 0) for part in (y, gains.h[:, :, :, 0], variance)))
            h = torch.complex(gain, torch.zeros_like(gain))
        err_var = mean_error.expand(h.shape) + along.expand(h.shape) * abs_squared(h)
        if not self._estimators and self._distortion[0] == 0:
            err_var = torch.zeros_like(noise[:, :1])  # known to be nothing
        return z.flatten(1), Csi(h.flatten(1), noise.mean(1, keepdim=True), err_var.flatten(1))


def _sum(values: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Σ w_i v_i."""
    total = multiply(values[0], weights[0])
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = total + multiply(value, weight)
    return total


def _combined(each: Sequence[tuple[Tensor, Moments]], weights: Tensor) -> tuple[Tensor, Moments]:
    """Estimate of a mode from those of the streams, whose moments differ by where their pilots stand only."""
    return _sum([h for h, _ in each], weights), Moments.mean([moments for _, moments in each])
