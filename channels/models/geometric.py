"""Channel models with directions: CDL and the cells of TR 38.901, with antenna panels at both ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from channels import checks, units
from channels.base import Precision
from channels.models.base import SPEED_OF_LIGHT, Covariance, frequency_covariance
from channels.runtime import sionna_seeding
from channels.runtime.kept_arrays import Arrays, kept_arrays

if TYPE_CHECKING:
    from sionna.phy.channel.tr38901 import CDL, PanelArray

__all__ = ["CdlModel", "Cell", "CellModel", "Panel"]

Cell = Literal["umi", "uma", "rma", "inh"]
_STATISTICS_SEED = 38901
_CPU = torch.device("cpu")
# Draws behind the mean power, delay profile and covariances of a model.
_CDL_DRAWS, _CELL_DRAWS = 1000, 500
_CHUNK = 50
_MOST_GAINS, _LEAST = 20_000_000, 1e-30
# Path loss and shadowing have heavy tails: most of the mean power comes from a few close drops. Their mean is
# over many more drops, of which only the large scale is drawn; it is known to 1 to 4%, and what antennas add
# to it, from drops that are drawn near more often than far, to 5 or, with shadowing, 10%.
_LARGE_SCALE_CHUNKS, _LARGE_SCALE_CHUNK = 200, 2000
_ANTENNA_DRAWS, _ANTENNA_CHUNK = 4000, 100
# Room of the indoor office, TR 38.901 table 7.2-2: 120 m x 50 m, ceiling 3 m, receivers at 1 m.
_OFFICE_M = (120.0, 50.0)
_CEILING_M, _DESK_M = 3.0, 1.0


@dataclass(frozen=True)
class Panel:
    """A panel of antennas, half a wavelength apart.

    Args:
        rows, columns: elements.
        polarization: "single" (vertical) or "dual" (crossed at ±45°, two antennas per element).
        pattern: "omni" or "38.901" (65° beam, 8 dBi).

    Source: 3GPP TR 38.901 V19.2.0, sec. 7.3.
    """

    rows: int = 1
    columns: int = 1
    polarization: Literal["single", "dual"] = "single"
    pattern: Literal["omni", "38.901"] = "omni"

    def __post_init__(self) -> None:
        checks.check_at_least("Panel: rows", self.rows, 1)
        checks.check_at_least("Panel: columns", self.columns, 1)
        checks.check_choice("Panel: polarization", self.polarization, ("single", "dual"))
        checks.check_choice("Panel: pattern", self.pattern, ("omni", "38.901"))

    @property
    def num_antennas(self) -> int:
        """Elements times polarisations."""
        return self.rows * self.columns * (2 if self.polarization == "dual" else 1)

    def array(self, carrier_hz: float, precision: Precision) -> PanelArray:
        """Sionna's array."""
        return sionna_seeding.sionna_phy().channel.tr38901.PanelArray(
            num_rows_per_panel=self.rows,
            num_cols_per_panel=self.columns,
            polarization=self.polarization,
            polarization_type="cross" if self.polarization == "dual" else "V",
            antenna_pattern=self.pattern,
            carrier_frequency=carrier_hz,
            precision=precision,
            device="cpu",
        )


@dataclass(frozen=True)
class _Statistics:
    """Averages over draws: delay profile [draws·paths], and E[h(t) h(0)*] of samples of a Doppler period."""

    delays_s: Tensor
    powers: Tensor  # sum 1
    mean_power: float  # of the raw gains, over antenna pairs
    lag_s: float
    correlation: Tensor  # [lags] complex128, at multiples of lag_s
    paths: Tensor  # [some draws, pairs of antennas, paths] complex64, gains at one time
    at_s: Tensor  # [some draws, paths], their delays


class _Sampled:
    """A model whose statistics are averages over draws of its own, made once from a fixed seed.

    Raw gains are divided by the root of their mean power over draws, antenna pairs and paths, so that
    E|h|² = 1 whatever the antenna patterns are.
    """

    num_rx_antennas: int
    num_tx_antennas: int
    _statistics: _Statistics
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
def _seen_from(coefficients: Any, start_s: float) -> Iterator[None]:
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


def _measure(
    model: Any, draws: int, chunk: int, speed_mps: float, carrier_hz: float, *, each: bool = False
) -> _Statistics:
    """Statistics of ``model(batch, steps, rate) -> raw gains, delays``; with ``each``, profile and
    correlation are averages over draws of power 1, as a receiver with a gain control sees them.
    """
    doppler_hz = speed_mps / SPEED_OF_LIGHT * carrier_hz
    lag_s = 1 / (16 * doppler_hz) if doppler_hz > 0 else 1.0
    steps = 33 if doppler_hz > 0 else 2  # two periods of the fastest Doppler shift
    delays, powers, raw, correlation = [], [], [], torch.zeros(steps, dtype=torch.complex128)
    paths: list[Tensor] = []
    with sionna_seeding.sionna_rng(_STATISTICS_SEED, _CPU), torch.inference_mode():
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
    return _Statistics(
        torch.cat(delays), all_powers / all_powers.sum(), mean_power, lag_s, correlation, *together
    )


def _kept(arguments: object, measure: Callable[[], _Statistics]) -> _Statistics:
    """Statistics of an earlier process, where there was one."""

    def compute() -> Arrays:
        return {name: np.asarray(value) for name, value in vars(measure()).items()}

    arrays = kept_arrays("channel-statistics", Path(__file__), arguments, compute)
    values: dict[str, Any] = {k: torch.from_numpy(v) if v.ndim else v.item() for k, v in arrays.items()}
    return _Statistics(**values)


class _View:
    """What of a model is seen through a beam and a mode."""

    def __init__(self, model: _Sampled, delays_s: Tensor, powers: Tensor) -> None:
        self._model, self._delays_s, self._powers = model, delays_s, powers

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        return frequency_covariance(self._delays_s, self._powers, num_subcarriers, subcarrier_spacing_hz)

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        return self._model.time_covariance(num_symbols, symbol_s)


class CdlModel(_Sampled):
    """Clustered delay line of TR 38.901: paths with directions between two panels, unit mean power.

    The angles of a profile are those of the table, as the panels stand: spatial correlation and beam gains
    follow from panels and directions. Mean powers of antenna patterns are divided out (E|h|² = 1 over draws
    and antenna pairs).

    Args:
        profile: "A" to "C" (no line of sight), "D", "E" (line of sight).
        delay_spread_s: RMS delay spread [s].
        carrier_hz: carrier frequency [Hz].
        speed_mps: speed of the receiver [m/s], in a random direction (azimuth and zenith uniform).
        transmitter, receiver: panels.
        precision: see :class:`channels.base.ChannelOperator`.

    Source: 3GPP TR 38.901 V19.2.0, sec. 7.7.1, tables 7.7.1-1 to 7.7.1-5 (values from Sionna 2.2).

    Example:
        >>> model = CdlModel("C", delay_spread_s=100e-9, carrier_hz=3.5e9, receiver=Panel(columns=2))
        >>> model(1, 14, 14e3)[0].shape
        torch.Size([1, 1, 2, 1, 1, 24, 14])
    """

    def __init__(
        self,
        profile: Literal["A", "B", "C", "D", "E"],
        *,
        delay_spread_s: float,
        carrier_hz: float,
        speed_mps: float = 0.0,
        transmitter: Panel = Panel(),
        receiver: Panel = Panel(),
        precision: Precision = "single",
    ) -> None:
        checks.check_choice("CdlModel: profile", profile, ("A", "B", "C", "D", "E"))
        checks.check_range("CdlModel: delay_spread_s", delay_spread_s, 0.0, 1e-5, "s", "100 ns is 100e-9.")
        checks.check_range("CdlModel: carrier_hz", carrier_hz, 5e8, 1e11, "Hz", "3.5 GHz is 3.5e9.")
        checks.check_range("CdlModel: speed_mps", speed_mps, 0.0, 500.0, "m/s")
        self.num_rx_antennas, self.num_tx_antennas = receiver.num_antennas, transmitter.num_antennas
        self.profile, self.precision = profile, precision
        arguments = (profile, delay_spread_s, carrier_hz, speed_mps, transmitter, receiver)
        self._speed_mps = speed_mps
        self._cdl = _cdl(*arguments, precision)
        self._statistics = _cdl_statistics(*arguments)

    def _draw(
        self, batch_size: int, num_time_steps: int, rate_hz: float, start_s: float
    ) -> tuple[Tensor, Tensor]:
        with _seen_from(self._cdl._cir_gen, start_s):
            gains, delays = self._cdl(batch_size, num_time_steps, rate_hz)
        return gains, delays


def _cdl(
    profile: str,
    delay_spread_s: float,
    carrier_hz: float,
    speed_mps: float,
    transmitter: Panel,
    receiver: Panel,
    precision: Precision,
) -> CDL:
    return sionna_seeding.sionna_phy().channel.tr38901.CDL(
        model=profile,
        delay_spread=delay_spread_s,
        carrier_frequency=carrier_hz,
        ut_array=receiver.array(carrier_hz, precision),
        bs_array=transmitter.array(carrier_hz, precision),
        direction="downlink",
        min_speed=speed_mps,
        max_speed=speed_mps,
        precision=precision,
        device="cpu",
    )


@lru_cache(maxsize=32)
def _cdl_statistics(
    profile: str,
    delay_spread_s: float,
    carrier_hz: float,
    speed_mps: float,
    transmitter: Panel,
    receiver: Panel,
) -> _Statistics:
    arguments = (profile, delay_spread_s, carrier_hz, speed_mps, transmitter, receiver)

    def measure() -> _Statistics:
        return _measure(_cdl(*arguments, "single"), _CDL_DRAWS, _CHUNK, speed_mps, carrier_hz)

    return _kept(("cdl", *arguments), measure)


class CellModel(_Sampled):
    """A receiver dropped anew for every image into a cell of TR 38.901: urban micro and macro, rural, office.

    Every draw has a position, indoor or outdoor, with or without line of sight, and all large and small scale
    parameters of its own; slots of an image see the same drop. Without path loss E|h|² = 1 over drops.

    Args:
        cell: "umi" (street canyon), "uma", "rma" or "inh" (open office).
        carrier_hz: carrier frequency [Hz].
        speed_mps: speed of the receiver [m/s], in a random horizontal direction.
        indoor_share: share of receivers indoors; None: the default of the cell (80% of umi and uma, 50% of
            rma; inh is all indoors).
        line_of_sight: "random" (probability of the cell), "always" or "never" (of outdoor receivers; in the
            office of all).
        shadowing: draw shadow fading (its mean power is divided out too).
        path_loss: keep path and penetration loss. Gains are divided by the root mean power of the drops like
            all others, :attr:`mean_power`: most of it comes from the few that are close.
        transmitter, receiver: panels.
        precision: see :class:`channels.base.ChannelOperator`.

    Source: 3GPP TR 38.901 V19.2.0, sec. 7.2 to 7.5; drops in one sector by Sionna 2.2
        ``gen_single_sector_topology``, office of table 7.2-2.

    Example:
        >>> model = CellModel("umi", carrier_hz=3.5e9, transmitter=Panel(pattern="38.901"))
        >>> model(1, 14, 14e3)[0].shape[:5]
        torch.Size([1, 1, 1, 1, 1])
    """

    own_profiles = True

    def __init__(
        self,
        cell: Cell,
        *,
        carrier_hz: float,
        speed_mps: float = 0.0,
        indoor_share: float | None = None,
        line_of_sight: Literal["random", "always", "never"] = "random",
        shadowing: bool = False,
        path_loss: bool = False,
        transmitter: Panel = Panel(),
        receiver: Panel = Panel(),
        precision: Precision = "single",
    ) -> None:
        checks.check_choice("CellModel: cell", cell, get_args(Cell))
        checks.check_choice("CellModel: line_of_sight", line_of_sight, ("random", "always", "never"))
        high = 7e9 if cell == "rma" else 1e11  # the models' own range
        checks.check_range("CellModel: carrier_hz", carrier_hz, 5e8, high, "Hz", "3.5 GHz is 3.5e9.")
        checks.check_range("CellModel: speed_mps", speed_mps, 0.0, 500.0, "m/s")
        if indoor_share is not None:
            checks.check_range("CellModel: indoor_share", indoor_share, 0.0, 1.0)
            if cell == "inh" and indoor_share != 1:
                raise ValueError(
                    checks.complaint("CellModel: indoor_share", "not of this cell", indoor_share, "1 for inh")
                )
        self.num_rx_antennas, self.num_tx_antennas = receiver.num_antennas, transmitter.num_antennas
        self.precision = precision
        self._drop = _Drop(
            cell,
            carrier_hz,
            speed_mps,
            indoor_share,
            line_of_sight,
            shadowing,
            path_loss,
            transmitter,
            receiver,
        )
        self._models: dict[int, Any] = {}
        self._speed_mps = speed_mps
        self._statistics = _cell_statistics(self._drop)

    def _draw(
        self, batch_size: int, num_time_steps: int, rate_hz: float, start_s: float
    ) -> tuple[Tensor, Tensor]:
        if batch_size not in self._models:
            self._models[batch_size] = model = self._drop.model(self.precision)
            # the first drop of a model draws more numbers
            with sionna_seeding.sionna_rng(_STATISTICS_SEED, _CPU):
                self._drop.draw(model, batch_size, 1, 1.0, self.precision)
        model = self._models[batch_size]
        with _seen_from(model._cir_sampler, start_s):
            return self._drop.draw(model, batch_size, num_time_steps, rate_hz, self.precision)


@dataclass(frozen=True)
class _Drop:
    """Arguments of a cell, and how to draw from it."""

    cell: Cell
    carrier_hz: float
    speed_mps: float
    indoor_share: float | None
    line_of_sight: str
    shadowing: bool
    path_loss: bool
    transmitter: Panel
    receiver: Panel

    def model(self, precision: Precision) -> Any:
        """A model of Sionna, for one batch size."""
        tr38901 = sionna_seeding.sionna_phy().channel.tr38901
        kind = {"umi": tr38901.UMi, "uma": tr38901.UMa, "rma": tr38901.RMa, "inh": tr38901.InH}[self.cell]
        arguments: dict[str, Any] = {
            "carrier_frequency": self.carrier_hz,
            "ut_array": self.receiver.array(self.carrier_hz, precision),
            "bs_array": self.transmitter.array(self.carrier_hz, precision),
            "direction": "downlink",
            "enable_pathloss": self.path_loss,
            "enable_shadow_fading": self.shadowing,
            "precision": precision,
            "device": "cpu",
        }
        if self.cell in ("umi", "uma"):
            arguments["o2i_model"] = "low"
        return kind(**arguments)

    def draw(
        self, model: Any, batch: int, steps: int, rate_hz: float, precision: Precision
    ) -> tuple[Tensor, Tensor]:
        """Raw gains and delays of new drops."""
        self._place(model, batch, precision)
        gains, delays = model(steps, rate_hz)
        return gains.detach(), delays.detach()

    def _place(self, model: Any, batch: int, precision: Precision) -> None:
        model.set_topology(
            *self._topology(batch, precision),
            los=self._los,
        )

    @property
    def _los(self) -> str | bool:
        return "random" if self.line_of_sight == "random" else self.line_of_sight == "always"

    def large_scale(self, model: Any, batch: int) -> Tensor:
        """Mean power [batch] float64 of new drops by path loss and shadowing alone."""
        self._place(model, batch, "single")
        return self._gain(model.sample_lsp())

    def antenna_gain(self, model: Any, chunks: int, batch: int) -> float:
        """What antennas, their polarisations included, add to the large scale: E[P] / E[G] with the power P
        of a drop and that of its large scale G, over positions of a density that falls with distance.
        """
        power, nominal = 0.0, 0.0
        for _ in range(chunks):
            places = self._topology(_LARGE_SCALE_CHUNK, "single")
            near = (places[0] - places[1]).square().sum(-1).flatten().double() ** -1.5  # as 1/d³
            chosen = torch.searchsorted(
                near.cumsum(0) / near.sum(), sionna_seeding.sionna_uniform((batch,), torch.float64)
            ).clamp_max(len(near) - 1)
            model.set_topology(*(part[chosen] for part in places), los=self._los)
            gains, _ = model(1, 1.0)
            weight = 1 / near[chosen]
            power += float((weight * gains.abs().square().double().sum((5, 6)).mean((1, 2, 3, 4))).sum())
            nominal += float((weight * self._gain(model._lsp)).sum())
        return power / nominal

    def _gain(self, large: Any) -> Tensor:
        gain = torch.ones_like(large.sf, dtype=torch.float64)
        if self.path_loss:
            gain = gain * units.db_to_linear(-large.pathloss.double())
        return (gain * large.sf if self.shadowing else gain).flatten()

    def _topology(self, batch: int, precision: Precision) -> tuple[Tensor, ...]:
        if self.cell == "inh":
            return self._office(batch, precision)
        return sionna_seeding.sionna_phy().channel.gen_single_sector_topology(
            batch,
            1,
            self.cell,
            indoor_probability=self.indoor_share,
            min_ut_velocity=self.speed_mps,
            max_ut_velocity=self.speed_mps,
            precision=precision,
            device="cpu",
        )

    def _office(self, batch: int, precision: Precision) -> tuple[Tensor, ...]:
        """A transmitter in the middle of the ceiling that looks down, a receiver anywhere in the room."""
        dtype = torch.float32 if precision == "single" else torch.float64
        place = sionna_seeding.sionna_uniform((batch, 1, 2), dtype) - 0.5
        heading, facing = 2 * math.pi * sionna_seeding.sionna_uniform((2, batch, 1, 1), dtype)
        zero = torch.zeros(batch, 1, 1, dtype=dtype)
        receiver = torch.cat([place * torch.tensor(_OFFICE_M, dtype=dtype), zero + _DESK_M], -1)
        transmitter = torch.cat([zero, zero, zero + _CEILING_M], -1)
        velocity = self.speed_mps * torch.cat([heading.cos(), heading.sin(), zero], -1)
        facing_down = torch.cat([zero, zero + math.pi / 2, zero], -1)
        indoors = torch.ones(batch, 1, dtype=torch.bool)
        return receiver, transmitter, torch.cat([facing, zero, zero], -1), facing_down, velocity, indoors


@lru_cache(maxsize=16)
def _cell_statistics(drop: _Drop) -> _Statistics:
    return _kept(drop, lambda: _measure_cell(drop))


def _measure_cell(drop: _Drop) -> _Statistics:
    model = drop.model("single")

    def raw(batch: int, steps: int, rate_hz: float) -> tuple[Tensor, Tensor]:
        return drop.draw(model, batch, steps, rate_hz, "single")

    statistics = _measure(raw, _CELL_DRAWS, _CHUNK, drop.speed_mps, drop.carrier_hz, each=True)
    if not (drop.path_loss or drop.shadowing):
        return statistics
    return replace(statistics, mean_power=_mean_power(replace(drop, speed_mps=0.0)))


@lru_cache(maxsize=16)
def _mean_power(drop: _Drop) -> float:
    """Mean of the large scale over many drops, times what antennas add to it."""
    model = drop.model("single")
    with sionna_seeding.sionna_rng(_STATISTICS_SEED + 1, _CPU), torch.inference_mode():
        means = [drop.large_scale(model, _LARGE_SCALE_CHUNK).mean() for _ in range(_LARGE_SCALE_CHUNKS)]
        antennas = drop.antenna_gain(drop.model("single"), _ANTENNA_DRAWS // _ANTENNA_CHUNK, _ANTENNA_CHUNK)
    return antennas * float(torch.stack(means).mean())
