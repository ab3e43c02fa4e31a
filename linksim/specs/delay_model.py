"""What a scenario may say of the propagation behind an OFDM link. Imports only pydantic and
linksim.specs.fields.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from linksim.specs.fields import (
    Bool,
    DelaySpread,
    Int,
    PathName,
    Positive,
    PositiveInt,
    Real,
    Share,
    Spec,
    Speed,
    Text,
)

__all__ = [
    "MODEL_KINDS",
    "AntennaPanelSpec",
    "ArraySpec",
    "CdlSpec",
    "CellSpec",
    "ModelSpec",
    "RayTracedSpec",
    "RecordedSpec",
    "RouteSpec",
    "TdlSpec",
]

Correlation = Annotated[Real, Field(ge=0, le=0.999)]


class TdlSpec(Spec):
    """Tapped delay line of 3GPP TR 38.901 sec. 7.7.2 or TS 38.101-4."""

    kind: Literal["tdl"] = "tdl"
    profile: Literal["A", "B", "C", "D", "E", "A10", "A30", "B100", "C60", "C300"] = Field(
        description="A to E are scaled to a delay spread; the others are those of conformance tests"
    )
    delay_spread_s: DelaySpread | None = Field(
        None, description="RMS delay spread [s] of profiles A to E; the others have their own"
    )
    speed_mps: Speed = Field(0.0, description="speed of the receiver [m/s]")
    rx_antennas: PositiveInt = 1
    tx_antennas: PositiveInt = 1
    rx_correlation: Correlation = Field(0.0, description="of neighbouring antennas; 0: independent fades")
    tx_correlation: Correlation = 0.0

    @model_validator(mode="after")
    def _spread(self) -> TdlSpec:
        if len(self.profile) == 1 and self.delay_spread_s is None:
            raise ValueError("delay_spread_s: missing, expected seconds such as 100e-9.")
        if len(self.profile) > 1 and self.delay_spread_s is not None:
            own = f"profile {self.profile} has its own"
            raise ValueError(f"delay_spread_s: got {self.delay_spread_s:g} s, expected none: {own}.")
        return self


class AntennaPanelSpec(Spec):
    """A panel of antennas, half a wavelength apart (TR 38.901 sec. 7.3)."""

    rows: PositiveInt = 1
    columns: PositiveInt = 1
    polarization: Literal["single", "dual"] = Field("single", description="dual: two antennas per element")
    pattern: Literal["omni", "38.901"] = "omni"

    @property
    def num_antennas(self) -> int:
        """Of the whole panel."""
        return self.rows * self.columns * (2 if self.polarization == "dual" else 1)


class CdlSpec(Spec):
    """Clustered delay line of 3GPP TR 38.901 sec. 7.7.1: paths with directions between two panels."""

    kind: Literal["cdl"]
    profile: Literal["A", "B", "C", "D", "E"]
    delay_spread_s: DelaySpread
    speed_mps: Speed = 0.0
    transmitter: AntennaPanelSpec = AntennaPanelSpec()
    receiver: AntennaPanelSpec = AntennaPanelSpec()


class CellSpec(Spec):
    """A receiver dropped anew for every image into a cell of 3GPP TR 38.901 sec. 7.2 to 7.5."""

    kind: Literal["umi", "uma", "rma", "inh"]
    speed_mps: Speed = 0.0
    indoor_share: Share | None = Field(None, description="of the receivers; none: 0.8 (umi, uma), 0.5 (rma)")
    line_of_sight: Literal["random", "always", "never"] = "random"
    shadowing: Bool = Field(False, description="shadow fading between drops; its mean power is divided out")
    path_loss: Bool = Field(
        False, description="keep path and penetration loss: the mean SNR is then mostly that of close drops"
    )
    transmitter: AntennaPanelSpec = AntennaPanelSpec()
    receiver: AntennaPanelSpec = AntennaPanelSpec()


class RecordedSpec(Spec):
    """Impulse responses from a file, .npz or HDF5, in the layout of docs/recorded-channels.md."""

    kind: Literal["recorded"]
    path: PathName = Field(description="a file, or the name of one that comes with linksim: street-canyon")
    normalize: Literal["ensemble", "each"] = Field(
        "ensemble", description="unit mean power over all snapshots, or of every snapshot"
    )
    phases: Literal["common", "paths"] = Field(
        "common", description="random phase per image: one for all paths, or one for each"
    )
    timing: Literal["first_path", "recorded"] = Field(
        "first_path", description="delays begin at the first path"
    )
    speed_mps: Speed | None = Field(None, description="Doppler shifts rescaled to it; none: as recorded")


Position = tuple[Real, Real, Real]


class ArraySpec(Spec):
    """An antenna array of a ray-traced scene."""

    rows: PositiveInt = 1
    columns: PositiveInt = 1
    pattern: Literal["iso", "dipole", "hw_dipole", "tr38901"] = "iso"
    polarization: Literal["V", "H", "VH", "cross"] = "V"
    spacing_wavelengths: Positive = 0.5
    azimuth_deg: Annotated[Real, Field(ge=-360, le=360)] = 0.0
    downtilt_deg: Annotated[Real, Field(ge=-90, le=90)] = 0.0

    @property
    def num_antennas(self) -> int:
        """Of the whole array."""
        return self.rows * self.columns * (2 if self.polarization in ("VH", "cross") else 1)


class RouteSpec(Spec):
    """A way of the receiver along way points [m]."""

    waypoints: Annotated[tuple[Position, ...], Field(min_length=2)]
    num_points: Annotated[Int, Field(ge=2, le=10000)] | None = None
    spacing_m: Positive | None = None

    @model_validator(mode="after")
    def _one(self) -> RouteSpec:
        if (self.num_points is None) == (self.spacing_m is None):
            raise ValueError("num_points: got both or none of it and spacing_m, expected one of them.")
        return self


def _places(value: Any) -> str:
    """A list is one of positions, a block a route."""
    return "route" if isinstance(value, dict | RouteSpec) else "positions"


class RayTracedSpec(Spec):
    """Rays in a built-in scene of Sionna RT, traced once and kept; every image stands at one position."""

    kind: Literal["raytraced"]
    scene: Text = Field(description="a built-in scene, such as munich or simple_street_canyon")
    transmitter: Position = Field(description="x, y, z [m]")
    receivers: Annotated[
        Annotated[tuple[Position, ...], Tag("positions")] | Annotated[RouteSpec, Tag("route")],
        Discriminator(_places),
    ] = Field(description="positions [m], or a route")
    speed_mps: Speed = 0.0
    tx_array: ArraySpec = ArraySpec()
    rx_array: ArraySpec = ArraySpec()
    max_depth: Annotated[Int, Field(ge=0, le=20)] = Field(3, description="interactions of a ray")
    reflection: Bool = True
    refraction: Bool = True
    diffraction: Bool = False
    scattering_coefficient: Share = 0.0
    num_rays: Annotated[Int, Field(ge=1000)] = 1_000_000
    max_paths: PositiveInt = Field(256, description="strongest paths kept of a position")
    normalize: Literal["ensemble", "each"] = "ensemble"
    phases: Literal["common", "paths"] = "paths"

    @model_validator(mode="after")
    def _direction(self) -> RayTracedSpec:
        if self.speed_mps > 0 and not isinstance(self.receivers, RouteSpec):
            got = f"got {self.speed_mps:g} m/s with receivers at positions"
            raise ValueError(
                f"speed_mps: {got}, expected 0, or receivers on a route: a motion has a direction."
            )
        return self


def _kind(value: Any) -> Any:
    """A model without a kind is a tapped delay line."""
    kind = value.get("kind", "tdl") if isinstance(value, dict) else getattr(value, "kind", None)
    return "cell" if kind in ("umi", "uma", "rma", "inh") else kind


ModelSpec = Annotated[
    Annotated[TdlSpec, Tag("tdl")]
    | Annotated[CdlSpec, Tag("cdl")]
    | Annotated[CellSpec, Tag("cell")]
    | Annotated[RecordedSpec, Tag("recorded")]
    | Annotated[RayTracedSpec, Tag("raytraced")],
    Discriminator(_kind),
]
MODEL_KINDS: tuple[type[Spec], ...] = (TdlSpec, CdlSpec, CellSpec, RecordedSpec, RayTracedSpec)
