"""Panels of antennas at the ends of models with directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from channels import checks
from channels.base import Precision
from channels.runtime import sionna_seeding

if TYPE_CHECKING:
    from sionna.phy.channel.tr38901 import PanelArray

__all__ = ["ONE_ANTENNA", "Panel"]


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


ONE_ANTENNA = Panel()
