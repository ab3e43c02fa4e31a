"""Clustered delay lines of TR 38.901: fixed directions between two panels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from channels import checks
from channels.base import Precision
from channels.models.panel import ONE_ANTENNA, Panel
from channels.models.rough import draws_share
from channels.models.sampled import (
    CHUNK,
    SampledModel,
    Statistics,
    kept_statistics,
    measure_statistics,
    seen_from,
)
from channels.runtime import sionna_seeding

if TYPE_CHECKING:
    from sionna.phy.channel.tr38901 import CDL

__all__ = ["CdlModel"]

_CDL_DRAWS = 1000  # behind the mean power, delay profile and covariances of a model


class CdlModel(SampledModel):
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
        transmitter: Panel = ONE_ANTENNA,
        receiver: Panel = ONE_ANTENNA,
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
        self._statistics = cdl_statistics(draws_share(), *arguments)

    def _draw(
        self, batch_size: int, num_time_steps: int, rate_hz: float, start_s: float
    ) -> tuple[Tensor, Tensor]:
        with seen_from(self._cdl._cir_gen, start_s):
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
def cdl_statistics(
    share: int,
    profile: str,
    delay_spread_s: float,
    carrier_hz: float,
    speed_mps: float,
    transmitter: Panel,
    receiver: Panel,
) -> Statistics:
    """Averages over draws of a profile, one of ``share`` is drawn; the rest as of :class:`CdlModel`."""
    arguments = (profile, delay_spread_s, carrier_hz, speed_mps, transmitter, receiver)

    def measure() -> Statistics:
        draws = max(CHUNK, _CDL_DRAWS // share)
        return measure_statistics(_cdl(*arguments, "single"), draws, CHUNK, speed_mps, carrier_hz)

    return kept_statistics(Path(__file__), ("cdl", *arguments), measure)
