"""Channel models whose statistics are averages over draws of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from channels.models.base import SPEED_OF_LIGHT, Covariance, frequency_covariance
from channels.models.rough import draws_share
from channels.runtime import sionna_seeding
from channels.runtime.kept_arrays import Arrays, kept_arrays

__all__ = [
    "CHUNK",
    "CPU",
    "STATISTICS_SEED",
    "SampledModel",
    "Statistics",
    "kept_statistics",
    "measure_statistics",
    "seen_from",
]

STATISTICS_SEED = 38901
CPU = torch.device("cpu")
CHUNK = 50  # draws at a time
_MOST_GAINS, _LEAST = 20_000_000, 1e-30


@dataclass(frozen=True)
class Statistics:
    """Averages over draws: delay profile [draws·paths], and E[h(t) h(0)*] of samples of a Doppler period."""

    delays_s: Tensor
    powers: Tensor  # sum 1
    mean_power: float  # of the raw gains, over antenna pairs
    lag_s: float
    correlation: Tensor  # [lags] complex128, at multiples of lag_s
    paths: Tensor  # [some draws, pairs of antennas, paths] complex64, gains at one time
    at_s: Tensor  # [some draws, paths], their delays


class SampledModel:
    """A model whose statistics are averages over draws of its own, made once from a fixed seed.

    Raw gains are divided by the root of their mean power over draws, antenna pairs and paths, so that
    E|h|² = 1 whatever the antenna patterns are.
    """

    num_rx_antennas: int
    num_tx_antennas: int
    _statistics: Statistics
    _speed_mps: float

    own_profiles = False

    def spatial_covariance(self) -> Tensor:
        """See :class:`channels.models.base.DelayModel`."""
        paths = self._statistics.paths.to(torch.complex128).movedim(1, 0).flatten(1)
        total = paths @ paths.mH
        return total / total.diagonal().real.mean()

    def seen_through(self, beam: Tensor, mode: Tensor | None) -> Covariance:
        """See :class:`channels.models.base.DelayModel`; Doppler shifts are those of all beams."""
        known = self._statistics
        pairs = known.paths.unflatten(1, (self.num_rx_antennas, self.num_tx_antennas))
        seen = torch.einsum("r,drap->dap", beam.conj().to(pairs), pairs)
        if mode is not None:
            seen = torch.einsum("a,dap->dp", mode.conj().to(seen), seen)[:, None]
        powers = seen.abs().square().sum(1).double()
        return _View(self, known.at_s.flatten(), (powers / powers.sum().clamp_min(_LEAST)).flatten())

    @property
    def delays_s(self) -> Tensor:
        """Delays of the paths of all sampled draws [draws·paths] in seconds."""
        return self._statistics.delays_s

    @property
    def mean_powers(self) -> Tensor:
        """Their powers [draws·paths], linear, sum 1."""
        return self._statistics.powers

    @property
    def mean_power(self) -> float:
        """Mean power of the raw gains over draws and antenna pairs, linear."""
        return self._statistics.mean_power

    def _draw(
        self, batch_size: int, num_time_steps: int, rate_hz: float, start_s: float
    ) -> tuple[Tensor, Tensor]:
        """Raw gains and delays."""
        raise NotImplementedError

    def __call__(
        self, batch_size: int, num_time_steps: int, sampling_frequency: float, start_s: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See :class:`channels.models.base.DelayModel`."""
        steps = num_time_steps if self._speed_mps > 0 else 1  # at rest all are the same
        with torch.inference_mode():  # hundreds of small operations, a fifth of whose time is bookkeeping
            gains, delays = self._draw(batch_size, steps, sampling_frequency, start_s)
        gains = gains / math.sqrt(self.mean_power)
        return gains.expand(*gains.shape[:-1], num_time_steps), delays.clone()

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """See :class:`channels.models.base.Covariance`."""
        return frequency_covariance(self.delays_s, self.mean_powers, num_subcarriers, subcarrier_spacing_hz)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """See :class:`channels.models.base.Covariance`; a spline through the sampled lags and their mirror
        image, because what Doppler costs within a symbol is the curvature at 0.
        """
        known = self._statistics
        last = len(known.correlation) - 1
        mirrored = torch.cat([known.correlation.conj().flip(0), known.correlation[1:]])
        spline = CubicSpline(range(-last, last + 1), mirrored.numpy())
        steps = torch.arange(num_symbols, dtype=torch.float64) * (symbol_s / known.lag_s)
        lag = (steps[:, None] - steps[None, :]).clamp(-last, last)
        value = torch.as_tensor(spline(lag.numpy()))
        return (value + value.mH) / 2


@contextmanager
def seen_from(coefficients: Any, start_s: float) -> Iterator[None]:
    """Let the time of a coefficient generator of Sionna begin later than 0 [s]: paths and their phases stay
    what they are, their Doppler shifts have gone on. Its calls take times from 0 only.
    """
    if start_s == 0:
        yield
        return
    turn = coefficients._step_11_doppler_matrix

    def later(*arguments: Any) -> Tensor:
        *rays, times = arguments
        shifts: Tensor = turn(*rays, times + start_s)
        return shifts

    coefficients._step_11_doppler_matrix = later
    try:
        yield
    finally:
        del coefficients._step_11_doppler_matrix


def measure_statistics(
    model: Any, draws: int, chunk: int, speed_mps: float, carrier_hz: float, *, each: bool = False
) -> Statistics:
    """Statistics of ``model(batch, steps, rate) -> raw gains, delays``; with ``each``, profile and
    correlation are averages over draws of power 1, as a receiver with a gain control sees them.
    """
    doppler_hz = speed_mps / SPEED_OF_LIGHT * carrier_hz
    lag_s = 1 / (16 * doppler_hz) if doppler_hz > 0 else 1.0
    steps = 33 if doppler_hz > 0 else 2  # two periods of the fastest Doppler shift
    delays, powers, raw, correlation = [], [], [], torch.zeros(steps, dtype=torch.complex128)
    paths: list[Tensor] = []
    with sionna_seeding.sionna_rng(STATISTICS_SEED, CPU), torch.inference_mode():
        for _ in range(draws // chunk):
            gains, delay = model(chunk, steps, 1 / lag_s)
            first = gains[:, 0, :, 0].flatten(1, 2).to(torch.complex128)  # [chunk, pairs, paths, time]
            profile = first.abs().square().mean((1, 3))
            raw.append(profile.sum(1))
            if each:
                first = first / raw[-1].sqrt()[:, None, None, None]
                profile = profile / raw[-1][:, None]
            powers.append(profile.flatten())
            delays.append(delay[:, 0, 0].double().flatten())
            correlation += (first * first[..., :1].conj()).sum((0, 2)).mean(0)
            paths.append(first[..., 0].to(torch.complex64))
    correlation = correlation / correlation[0].real
    all_powers = torch.cat(powers)
    mean_power = float(torch.cat(raw).mean())
    some = max(1, _MOST_GAINS // paths[0].numel())  # panels of many antennas: of fewer draws
    together = torch.cat(paths[:some]), torch.cat([d.view(chunk, -1) for d in delays[:some]])
    return Statistics(
        torch.cat(delays), all_powers / all_powers.sum(), mean_power, lag_s, correlation, *together
    )


def kept_statistics(source: Path, arguments: object, measure: Callable[[], Statistics]) -> Statistics:
    """Statistics of an earlier process, where there was one; rough ones (:func:`draws_share`) are not kept.

    Args:
        source: file of the model; what another version of it, or of this file, measured is not used.
        arguments: of the model.
        measure: makes the statistics.
    """

    def compute() -> Arrays:
        return {name: np.asarray(value) for name, value in vars(measure()).items()}

    kept = draws_share() == 1
    arrays = kept_arrays("channel-statistics", (Path(__file__), source), arguments, compute, keep=kept)
    values: dict[str, Any] = {k: torch.from_numpy(v) if v.ndim else v.item() for k, v in arrays.items()}
    return Statistics(**values)


class _View:
    """What of a model is seen through a beam and a mode."""

    def __init__(self, model: SampledModel, delays_s: Tensor, powers: Tensor) -> None:
        self._model, self._delays_s, self._powers = model, delays_s, powers

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        return frequency_covariance(self._delays_s, self._powers, num_subcarriers, subcarrier_spacing_hz)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        return self._model.time_covariance(num_symbols, symbol_s)
