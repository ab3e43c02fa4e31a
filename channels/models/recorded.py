"""Recorded impulse responses as a delay model: measured ones, or those of any other simulator."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from channels import checks
from channels.base import Precision
from channels.models.base import Covariance
from channels.models.recording import Recording, load_recorded
from channels.runtime import sionna_seeding

__all__ = ["Normalize", "Phases", "RecordedModel", "Timing"]

Normalize = Literal["ensemble", "each"]
Phases = Literal["common", "paths"]
Timing = Literal["first_path", "recorded"]

# Power that linear interpolation may lose between snapshots before the recording counts as too coarse.
_LOST_POWER = 0.05
_CHUNK = 64  # snapshots at a time
_LEAST = 1e-30


class RecordedModel:
    r"""Draws impulse responses from a recording, with unit mean power.

    Every draw takes a random snapshot. Within the frame its gains

    * rotate by e^{j2π f_p t} when the recording has a Doppler shift per path;
    * go on from snapshot to snapshot, linearly interpolated in time, when the recording has a snapshot
      interval (the draw starts at a snapshot from which the frame fits; ends weigh a little less; what is
      seen later than the recording lasts goes back through it);
    * stay as they are otherwise.

    Phases: the phase common to a recorded response is that of two free-running oscillators, and a receiver
    must not learn it by heart, so every draw turns all gains by one uniform phase ("common": E[h] = 0,
    everything else is as recorded). "paths" turns every path by a phase of its own, the same for all antennas
    and times: right where lengths of paths are not known to a fraction of a wavelength, as in ray tracing.
    Then the power and the correlation over frequency are exactly those of independent paths, on every
    subcarrier.

    Power: "ensemble" divides all gains by one number, so that snapshots far away or in the shadow stay weaker
    than others; "each" gives every snapshot the power 1. The power is that of the impulse response, averaged
    over pairs of antennas. With phases "common", paths that a receiver cannot tell apart add up to more or
    less than that, and ``bandwidth_hz`` makes it the power in this band instead.

    Args:
        recording: a recording, or the path of its file (see :func:`channels.models.recording.load_recorded`).
        normalize: "ensemble" or "each".
        phases: "common" or "paths".
        timing: "first_path": every snapshot is delayed by as much as makes its first path arrive at 0, as a
            synchronised receiver sees it; "recorded" leaves delays as they are.
        speed_mps: rescales the Doppler shifts to this speed [m/s], when the recording says which speed its
            own belong to; None leaves them.
        bandwidth_hz: band around the carrier in which E|h|² = 1 [Hz]; None = of unlimited width.
        precision: see :class:`channels.base.ChannelOperator`.

    Raises:
        RecordingError: the file (see :func:`channels.models.recording.load_recorded`).
        ValueError: arguments out of range, a speed for a recording without Doppler shifts, no power left.

    Source: 3GPP TR 38.901 V19.2.0, sec. 8.4 step 11 (random phases of rays in the map-based model).

    Example:
        >>> recording = Recording(gains=np.array([[1.0, 0.5j], [0.1j, 0]]), delays_s=np.array([0.0, 100e-9]))
        >>> model = RecordedModel(recording)
        >>> model(8, 14, 14e3)[0].shape
        torch.Size([8, 1, 1, 1, 1, 2, 14])
    """

    def __init__(
        self,
        recording: Recording | str | Path,
        *,
        normalize: Normalize = "ensemble",
        phases: Phases = "common",
        timing: Timing = "first_path",
        speed_mps: float | None = None,
        bandwidth_hz: float | None = None,
        precision: Precision = "single",
    ) -> None:
        name = type(self).__name__
        checks.check_choice(f"{name}: normalize", normalize, get_args(Normalize))
        checks.check_choice(f"{name}: phases", phases, get_args(Phases))
        checks.check_choice(f"{name}: timing", timing, get_args(Timing))
        checks.check_choice(f"{name}: precision", precision, get_args(Precision))
        if bandwidth_hz is not None:
            checks.check_positive(f"{name}: bandwidth_hz", bandwidth_hz, "Hz")
        if not isinstance(recording, Recording):
            recording = load_recorded(recording)
        if speed_mps is not None:
            recording = _at_speed(recording, speed_mps, name)
        self.recording = recording
        self.phases: Phases = phases
        self.precision: Precision = precision
        self._gains = torch.from_numpy(recording.gains)
        self._delays = torch.from_numpy(_arrivals(recording, timing))
        self._doppler = None if recording.doppler_hz is None else torch.from_numpy(recording.doppler_hz)
        power = self._powers(bandwidth_hz if phases == "common" else None)
        self.mean_power = float(power.mean())
        if not 1e-60 < self.mean_power < 1e60:
            got, expected = f"a mean power of {self.mean_power:g} in the band", "gains that can be normalised"
            raise ValueError(checks.complaint(f"{name}: gains", "no power", got, expected))
        if normalize == "each":
            self._check_each(power, name)
        scale = power if normalize == "each" else power.mean()
        self._gains = self._gains / scale.sqrt().reshape(-1, 1, 1, 1)
        self._check_interval(name)

    # ------------------------------------------------------------------------------------- power

    def _powers(self, bandwidth_hz: float | None) -> Tensor:
        """Power of every snapshot [S], averaged over pairs of antennas."""
        if bandwidth_hz is None:
            return self._gains.abs().square().sum(-1).mean((1, 2))
        parts = []
        for gains, delays in zip(self._gains.split(_CHUNK), self._delays.split(_CHUNK), strict=True):
            apart = torch.sinc(bandwidth_hz * (delays[:, :, None] - delays[:, None, :]))
            together = torch.einsum("srtp,spq,srtq->srt", gains, apart.to(gains.dtype), gains.conj())
            parts.append(together.real.mean((1, 2)))
        return torch.cat(parts)

    @staticmethod
    def _check_each(power: Tensor, name: str) -> None:
        silent = (power <= 1e-12 * power.mean()).nonzero().flatten().tolist()
        if silent:
            got, expected = f"no power in snapshot {silent[0]}", "some in all of them"
            cure = 'Remove it, or use normalize="ensemble".'
            raise ValueError(checks.complaint(f"{name}: normalize", "impossible", got, expected, cure))

    def _check_interval(self, name: str) -> None:
        if self.recording.snapshot_interval_s is None:
            return
        first, second = self._gains[:-1], self._gains[1:]
        at_snapshots = (first.abs().square() + second.abs().square()).sum() / 2
        between = (2 * at_snapshots + (first * second.conj()).real.sum()) / 3
        lost = 1 - float(between / at_snapshots)
        if lost > _LOST_POWER:
            warnings.warn(
                f"{name}: snapshot_interval_s: too long for this fading, interpolation in between loses "
                f"{100 * lost:.0f}% of the power. Record twelve times per period of the Doppler shift.",
                stacklevel=3,
            )

    # ------------------------------------------------------------------------------------- statistics

    @property
    def num_snapshots(self) -> int:
        """Snapshots of the recording."""
        return self._gains.shape[0]

    @property
    def num_rx_antennas(self) -> int:
        """Antennas of the receiver."""
        return self._gains.shape[1]

    @property
    def num_tx_antennas(self) -> int:
        """Antennas of the transmitter."""
        return self._gains.shape[2]

    @property
    def carrier_hz(self) -> float | None:
        """Carrier frequency of the recording [Hz], where it says so."""
        return self.recording.carrier_hz

    @property
    def own_profiles(self) -> bool:
        """Snapshots that do not follow each other are places of their own."""
        return self.num_snapshots > 1 and self.recording.snapshot_interval_s is None

    def spatial_covariance(self) -> Tensor:
        """See :class:`channels.models.base.DelayModel`: of every path, summed over paths and snapshots."""
        pairs = self._gains.flatten(1, 2).movedim(1, 0).flatten(1)
        total = pairs @ pairs.mH
        return total / total.diagonal().real.mean()

    def seen_through(self, beam: Tensor, mode: Tensor | None) -> Covariance:
        """See :class:`channels.models.base.DelayModel`."""
        gains = torch.einsum("r,srap->sap", beam.conj().to(self._gains), self._gains)
        if mode is not None:
            gains = torch.einsum("a,sap->sp", mode.conj().to(gains), gains)[:, None]
        view = copy.copy(self)
        view._gains = gains[:, None] / gains.abs().square().sum(-1).mean().sqrt().clamp_min(_LEAST)
        return view

    @property
    def delays_s(self) -> Tensor:
        """Delays of the paths of all snapshots together [paths] in seconds, float64."""
        return self._delays[self._path_powers > 0]

    @property
    def mean_powers(self) -> Tensor:
        """Their powers over that of all of them [paths], linear, sum 1, float64."""
        powers = self._path_powers
        return powers[powers > 0] / powers.sum()

    @property
    def _path_powers(self) -> Tensor:
        return self._gains.abs().square().mean((1, 2))

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """E[h h^H] over subcarriers [F, F] complex128, averaged over snapshots and pairs of antennas.

        With phases "paths" E[h_k h_l*] = Σ_p P_p e^{-j2π(k-l)Δf τ_p}; with "common" the average of what was
        recorded, where subcarrier F // 2 lies on the carrier.
        """
        steps = torch.arange(num_subcarriers, dtype=torch.float64)
        if self.phases == "paths":
            return _toeplitz(self.mean_powers, -subcarrier_spacing_hz * self.delays_s, steps)
        steps -= num_subcarriers // 2
        total = torch.zeros(num_subcarriers, num_subcarriers, dtype=torch.complex128)
        for gains, delays in zip(self._gains.split(_CHUNK), self._delays.split(_CHUNK), strict=True):
            turns = -2 * math.pi * subcarrier_spacing_hz * delays[:, :, None] * steps
            response = torch.polar(torch.ones_like(turns), turns)  # [S, P, F]
            h = torch.einsum("srtp,spf->srtf", gains, response).flatten(0, 2)
            total += h.T @ h.conj()
        return total / (self.num_snapshots * self.num_rx_antennas * self.num_tx_antennas)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """E[h h^H] over OFDM symbols [T, T] complex128, averaged over snapshots, pairs of antennas and
        frequency, with a mean diagonal of 1.

        Raises:
            ValueError: the symbols take longer than a recording with a snapshot interval.
        """
        steps = torch.arange(num_symbols, dtype=torch.float64)
        if self._doppler is not None:
            return _toeplitz(self.mean_powers, self._doppler[self._path_powers > 0] * symbol_s, steps)
        if self.recording.snapshot_interval_s is None:
            return torch.ones(num_symbols, num_symbols, dtype=torch.complex128)
        total = torch.zeros(num_symbols, num_symbols, dtype=torch.complex128)
        starts = torch.arange(self._num_starts(num_symbols, symbol_s))
        for some in starts.split(_CHUNK):
            h = self._interpolated(some, steps * symbol_s).flatten(0, 3)  # [S·R·T·P, T]
            total += h.T @ h.conj()
        return total / total.diagonal().real.mean()

    # ------------------------------------------------------------------------------------- draws

    def __call__(
        self, batch_size: int, num_time_steps: int, sampling_frequency: float, start_s: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See :class:`channels.models.base.DelayModel`.

        Raises:
            ValueError: the frame takes longer than a recording with a snapshot interval.
        """
        random = sionna_seeding.sionna_generator()
        num_starts = self._num_starts(num_time_steps, 1 / sampling_frequency)
        chosen = torch.randint(num_starts, (batch_size,), generator=random)
        num_phases = self._gains.shape[-1] if self.phases == "paths" else 1
        phase = torch.empty(batch_size, num_phases, dtype=torch.float64)
        phase.uniform_(0, 2 * math.pi, generator=random)
        times = start_s + torch.arange(num_time_steps, dtype=torch.float64) / sampling_frequency
        gains = (
            self._evolve(chosen, times) * torch.polar(torch.ones_like(phase), phase)[:, None, None, :, None]
        )
        real = torch.float32 if self.precision == "single" else torch.float64
        return gains[:, None, :, None].to(real.to_complex()), self._delays[chosen][:, None, None].to(real)

    def _num_starts(self, num_times: int, step_s: float) -> int:
        """Snapshots from which a number of equidistant times still lie inside the recording."""
        interval_s = self.recording.snapshot_interval_s
        if interval_s is None:
            return self.num_snapshots
        frame_s = (num_times - 1) * step_s
        num_starts = math.floor(self.num_snapshots - frame_s / interval_s + 1e-9)
        if num_starts < 1:
            longest_s = (self.num_snapshots - 1) * interval_s
            got, expected = f"{frame_s:.3g} s", f"at most {longest_s:.3g} s"
            cure = "Record longer, or send fewer symbols per frame."
            raise ValueError(
                checks.complaint(
                    f"{type(self).__name__}: frame", "outlasts the recording", got, expected, cure
                )
            )
        return num_starts

    def _evolve(self, chosen: Tensor, times: Tensor) -> Tensor:
        """Gains [batch, rx antennas, tx antennas, paths, time] from chosen snapshots on, times in s."""
        if self.recording.snapshot_interval_s is not None:
            return self._interpolated(chosen, times)
        gains = self._gains[chosen][..., None]
        if self._doppler is None:
            return gains.expand(-1, -1, -1, -1, len(times))
        turns = 2 * math.pi * self._doppler[chosen][:, :, None] * times
        return gains * torch.polar(torch.ones_like(turns), turns)[:, None, None]

    def _interpolated(self, chosen: Tensor, times: Tensor) -> Tensor:
        assert self.recording.snapshot_interval_s is not None
        at = chosen[:, None] + times / self.recording.snapshot_interval_s
        last = self.num_snapshots - 1
        at = last - (at.remainder(2 * last) - last).abs()  # there and back
        before = at.floor().long().clamp(max=self.num_snapshots - 2)
        share = (at - before)[:, :, None, None, None]
        gains = (1 - share) * self._gains[before] + share * self._gains[before + 1]
        return gains.movedim(1, -1)


def _toeplitz(weights: Tensor, turns: Tensor, steps: Tensor) -> Tensor:
    """Σ_p weights_p e^{j2π turns_p (steps_k - steps_l)}, [K, K] complex128, for steps one apart."""
    row = torch.zeros(len(steps), dtype=torch.complex128)
    for some, turn in zip(weights.split(4096), turns.split(4096), strict=True):
        angle = 2 * math.pi * turn * (steps - steps[0])[:, None]
        row += torch.polar(torch.ones_like(angle), angle) @ some.to(torch.complex128)
    lag = (steps[:, None] - steps[None, :]).long()
    return torch.where(lag >= 0, row[lag.abs()], row[lag.abs()].conj())


def _arrivals(recording: Recording, timing: Timing) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Delays [snapshots, paths], counted from the first path with power of each snapshot if so wished."""
    if timing == "recorded":
        return np.array(recording.delays_s)
    present = (recording.gains != 0).any((1, 2))
    if recording.snapshot_interval_s is not None:
        present = np.broadcast_to(present.any(0), present.shape)  # one clock for the whole recording
    first = np.where(present, recording.delays_s, np.inf).min(1, keepdims=True)
    return np.where(present, recording.delays_s - np.where(np.isinf(first), 0, first), 0.0)


def _at_speed(recording: Recording, speed_mps: float, name: str) -> Recording:
    checks.check_range(f"{name}: speed_mps", speed_mps, 0.0, 500.0, "m/s")
    if recording.doppler_hz is None or recording.speed_mps is None:
        missing = "doppler_hz" if recording.doppler_hz is None else "speed_mps"
        got, expected = f"a recording without {missing}", "doppler_hz and the speed_mps that it belongs to"
        cure = "Without speed_mps the recording is taken as it is."
        raise ValueError(checks.complaint(f"{name}: speed_mps", "not applicable", got, expected, cure))
    doppler = recording.doppler_hz * (speed_mps / recording.speed_mps)
    return replace(recording, doppler_hz=doppler, speed_mps=speed_mps or None)
