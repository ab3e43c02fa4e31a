"""Link budget: transmit power, noise figure and path gain instead of an SNR."""

from __future__ import annotations

from dataclasses import dataclass

from channels import checks, units

__all__ = ["BOLTZMANN_J_PER_K", "LinkBudget"]

BOLTZMANN_J_PER_K = 1.380649e-23  # exact by definition, SI brochure, 9th ed., 2019
_MILLIWATTS = 1e3
_REFERENCE_K = 290.0


@dataclass(frozen=True)
class LinkBudget:
    """What both radios bring to a link.

    Args:
        transmit_power_dbm: mean power of all transmit antennas together over the whole band [dBm].
        noise_figure_db: of the receiver [dB].
        temperature_k: of the noise at its antennas [K]; the noise figure is that at 290 K, as it is defined.

    Raises:
        ValueError: arguments out of range.

    Source: noise k·(T + 290 K·(F - 1))·B, F the noise figure: Friis, "Noise Figures of Radio Receivers",
        Proc. IRE 32 (1944). 3GPP TR 38.802 table A.2.1-1: 9 dB of a terminal, 5 dB of a base station (below
        6 GHz).

    Example:
        >>> round(LinkBudget(23.0, noise_figure_db=9.0).snr_db(-100.0, bandwidth_hz=1e6), 1)
        28.0
    """

    transmit_power_dbm: float
    noise_figure_db: float = 9.0
    temperature_k: float = 290.0

    def __post_init__(self) -> None:
        checks.check_range("LinkBudget: transmit_power_dbm", self.transmit_power_dbm, -100.0, 100.0, "dBm")
        checks.check_range("LinkBudget: noise_figure_db", self.noise_figure_db, 0.0, 50.0, "dB")
        checks.check_range("LinkBudget: temperature_k", self.temperature_k, 1.0, 1e4, "K")

    def noise_power_dbm(self, bandwidth_hz: float) -> float:
        """Power of the receiver's noise in a band [dBm]."""
        own_k = _REFERENCE_K * (units.db_to_linear(self.noise_figure_db) - 1)
        power = BOLTZMANN_J_PER_K * (self.temperature_k + own_k) * bandwidth_hz * _MILLIWATTS
        return units.linear_to_db(power)

    def snr_db(self, gain_db: float, bandwidth_hz: float) -> float:
        """Es/N0 per data use at one receive antenna [dB].

        With the power spread evenly over the band, the SNR of a resource element is that of the band.

        Args:
            gain_db: from transmitter to receiver, antennas included, minus path loss [dB].
            bandwidth_hz: of the subcarriers in use [Hz].
        """
        return self.transmit_power_dbm + gain_db - self.noise_power_dbm(bandwidth_hz)
