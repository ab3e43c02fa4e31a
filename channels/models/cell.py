"""The cells of TR 38.901: receivers dropped at random, with antenna panels at both ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from channels import checks, units
from channels.base import Precision
from channels.models.panel import ONE_ANTENNA, Panel
from channels.models.rough import draws_share
from channels.models.sampled import (
    CHUNK,
    CPU,
    STATISTICS_SEED,
    SampledModel,
    Statistics,
    kept_statistics,
    measure_statistics,
    seen_from,
)
from channels.runtime import sionna_seeding
from channels.runtime.kept_arrays import Arrays, kept_arrays

__all__ = ["Cell", "CellModel"]

Cell = Literal["umi", "uma", "rma", "inh"]
_CELL_DRAWS = 500  # behind the mean power, delay profile and covariances of a model
# Path loss and shadowing have heavy tails: most of the mean power comes from a few close drops. Their mean is
# over many more drops, of which only the large scale is drawn; it is known to 1 to 4%, and what antennas add
# to it, from drops that are drawn near more often than far, to 5 or, with shadowing, 10%.
_LARGE_SCALE_CHUNKS, _LARGE_SCALE_CHUNK = 200, 2000
_ANTENNA_DRAWS, _ANTENNA_CHUNK = 4000, 100
# Room of the indoor office, TR 38.901 table 7.2-2: 120 m x 50 m, ceiling 3 m, receivers at 1 m.
_OFFICE_M = (120.0, 50.0)
_CEILING_M, _DESK_M = 3.0, 1.0


class CellModel(SampledModel):
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
            all others, ``mean_power``: most of it comes from the few that are close.
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
        transmitter: Panel = ONE_ANTENNA,
        receiver: Panel = ONE_ANTENNA,
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
        self.drop = _Drop(
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
        self._statistics = cell_statistics(self.drop, draws_share())

    def _draw(
        self, batch_size: int, num_time_steps: int, rate_hz: float, start_s: float
    ) -> tuple[Tensor, Tensor]:
        if batch_size not in self._models:
            self._models[batch_size] = model = self.drop.model(self.precision)
            # the first drop of a model draws more numbers
            with sionna_seeding.sionna_rng(STATISTICS_SEED, CPU):
                self.drop.draw(model, batch_size, 1, 1.0, self.precision)
        model = self._models[batch_size]
        with seen_from(model._cir_sampler, start_s):
            return self.drop.draw(model, batch_size, num_time_steps, rate_hz, self.precision)


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
            *self.topology(batch, precision),
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
            places = self.topology(_LARGE_SCALE_CHUNK, "single")
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

    def topology(self, batch: int, precision: Precision) -> tuple[Tensor, ...]:
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
def cell_statistics(drop: _Drop, share: int) -> Statistics:
    """Averages over drops of a cell, of which one in ``share`` is drawn, see :mod:`channels.models.rough`."""
    return kept_statistics(Path(__file__), drop, lambda: _measure_cell(drop, share))


def _measure_cell(drop: _Drop, share: int) -> Statistics:
    model = drop.model("single")

    def raw(batch: int, steps: int, rate_hz: float) -> tuple[Tensor, Tensor]:
        return drop.draw(model, batch, steps, rate_hz, "single")

    draws = max(CHUNK, _CELL_DRAWS // share)
    statistics = measure_statistics(raw, draws, CHUNK, drop.speed_mps, drop.carrier_hz, each=True)
    if not (drop.path_loss or drop.shadowing):
        return statistics
    share = 1 if drop.path_loss else share  # a link budget says an SNR by it
    return replace(statistics, mean_power=drop_power(replace(drop, speed_mps=0.0), share))


@lru_cache(maxsize=16)
def drop_power(drop: _Drop, share: int) -> float:
    """Mean gain of drops, linear: that of the large scale over many, times what antennas add to it; one drop
    in ``share`` is drawn.
    """

    def compute() -> Arrays:
        model = drop.model("single")
        chunks = _LARGE_SCALE_CHUNKS // share, _ANTENNA_DRAWS // _ANTENNA_CHUNK // share
        with sionna_seeding.sionna_rng(STATISTICS_SEED + 1, CPU), torch.inference_mode():
            means = [drop.large_scale(model, _LARGE_SCALE_CHUNK).mean() for _ in range(chunks[0])]
            antennas = drop.antenna_gain(drop.model("single"), chunks[1], _ANTENNA_CHUNK)
        return {"mean": np.asarray(antennas * float(torch.stack(means).mean()))}

    arguments = ("mean power", drop)
    return float(
        kept_arrays("channel-statistics", (Path(__file__),), arguments, compute, keep=share == 1)["mean"]
    )
