"""Rays in scenes of Sionna RT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from channels.kinds import kind
from linksim.kinds.fields import Bool, Int, Positive, PositiveInt, Real, Share, Spec, Speed, Text
from linksim.kinds.models.base import DelayModelBase
from linksim.kinds.models.recorded import keeps_path_loss
from linksim.kinds.models.tdl import TdlSpec

if TYPE_CHECKING:
    from channels.models.base import DelayModel
    from channels.raytraced.scene import PlanarArray, RayTracing
    from linksim.kinds.context import BuildContext

__all__ = ["ArraySpec", "RayTracedSpec", "RouteSpec"]

Position = tuple[Real, Real, Real]


class ArraySpec(Spec):
    """An antenna array of a ray-traced scene."""

    rows: PositiveInt = Field(1, description="antennas above each other")
    columns: PositiveInt = Field(1, description="antennas beside each other")
    pattern: Literal["iso", "dipole", "hw_dipole", "tr38901"] = Field(
        "iso", description="of each antenna: isotropic, short dipole, half-wave dipole, or that of TR 38.901"
    )
    polarization: Literal["V", "H", "VH", "cross"] = Field(
        "V",
        description="vertical, horizontal, or both in one place: VH at 0 and 90 degrees, cross at -45 and 45",
    )
    spacing_wavelengths: Positive = Field(0.5, description="distance of neighbours in wavelengths")
    azimuth_deg: Annotated[Real, Field(ge=-360, le=360)] = Field(
        0.0, description="direction that the array faces, from x towards y"
    )
    downtilt_deg: Annotated[Real, Field(ge=-90, le=90)] = Field(
        0.0, description="how far it faces below the horizon"
    )

    @property
    def num_antennas(self) -> int:
        """Of the whole array."""
        return self.rows * self.columns * (2 if self.polarization in ("VH", "cross") else 1)

    def build(self) -> PlanarArray:
        """The array."""
        from channels.raytraced.scene import PlanarArray

        return PlanarArray(**self.model_dump())


class RouteSpec(Spec):
    """A way of the receiver along way points [m]."""

    waypoints: Annotated[tuple[Position, ...], Field(min_length=2)] = Field(
        description="corners of the route, x, y, z [m]"
    )
    num_points: Annotated[Int, Field(ge=2, le=10000)] | None = Field(
        None, description="positions along the route; or spacing_m"
    )
    spacing_m: Positive | None = Field(None, description="distance between positions; or num_points")

    @model_validator(mode="after")
    def _one(self) -> RouteSpec:
        if (self.num_points is None) == (self.spacing_m is None):
            raise ValueError("num_points: got both or none of it and spacing_m, expected one of them.")
        return self


def _places(value: Any) -> str:
    """A list is one of positions, a block a route."""
    return "route" if isinstance(value, dict | RouteSpec) else "positions"


@kind("delay_model", "raytraced")
class RayTracedSpec(DelayModelBase):
    """Rays in a built-in scene of Sionna RT, traced once and kept; every image stands at one position."""

    kind: Literal["raytraced"]
    scene: Text = Field(description="a built-in scene, such as munich or simple_street_canyon")
    transmitter: Position = Field(description="x, y, z [m]")
    receivers: Annotated[
        Annotated[tuple[Position, ...], Tag("positions")] | Annotated[RouteSpec, Tag("route")],
        Discriminator(_places),
    ] = Field(description="positions [m], or a route")
    speed_mps: Speed = Field(0.0, description="speed of the receiver along the route")
    tx_array: ArraySpec = Field(ArraySpec(), description="antennas of the transmitter")
    rx_array: ArraySpec = Field(ArraySpec(), description="antennas of the receiver")
    max_depth: Annotated[Int, Field(ge=0, le=20)] = Field(3, description="interactions of a ray")
    reflection: Bool = Field(True, description="trace specular reflections")
    refraction: Bool = Field(True, description="trace rays through walls")
    diffraction: Bool = Field(False, description="trace rays around edges")
    scattering_coefficient: Share = Field(0.0, description="share of the field that surfaces scatter")
    num_rays: Annotated[Int, Field(ge=1000)] = Field(
        1_000_000, description="rays that a transmitter sends out"
    )
    max_paths: PositiveInt = Field(256, description="strongest paths kept of a position")
    normalize: Literal["ensemble", "each"] = Field(
        "ensemble",
        description="unit mean power over all positions, which keeps their differences, or at each one",
    )
    phases: Literal["common", "paths"] = Field(
        "paths", description="of the paths, drawn for every image: one for all of them, or one for each"
    )

    @property
    def _route(self) -> RouteSpec | None:
        return self.receivers if isinstance(self.receivers, RouteSpec) else None

    @model_validator(mode="after")
    def _direction(self) -> RayTracedSpec:
        if self.speed_mps > 0 and self._route is None:
            got = f"got {self.speed_mps:g} m/s with receivers at positions"
            raise ValueError(
                f"speed_mps: {got}, expected 0, or receivers on a route: a motion has a direction."
            )
        return self

    def build(self, context: BuildContext) -> DelayModel:
        """See :class:`DelayModelBase`; rays are traced, or found in the cache."""
        from channels.raytraced.model import RayTracedModel

        try:
            return RayTracedModel(
                self.tracing(context.carrier_hz),
                speed_mps=self.speed_mps,
                normalize=self.normalize,
                phases=self.phases,
                bandwidth_hz=context.bandwidth_hz,
                precision=context.precision,
            )
        except RuntimeError as problem:  # no LLVM, or tracing failed: the message says what to do
            raise ValueError(f"model: {problem}") from None

    def tracing(self, carrier_hz: float) -> RayTracing:
        """What is traced.

        Raises:
            ValueError: no such scene, or arguments out of range.
        """
        from channels.raytraced.scene import RayTracing, Route

        receivers: Any = self.receivers
        if self._route is not None:
            way = self._route
            receivers = Route(way.waypoints, num_points=way.num_points, spacing_m=way.spacing_m)
        return RayTracing(
            scene=self.scene,
            transmitter=self.transmitter,
            receivers=receivers,
            tx_array=self.tx_array.build(),
            rx_array=self.rx_array.build(),
            carrier_hz=carrier_hz,
            max_depth=self.max_depth,
            reflection=self.reflection,
            refraction=self.refraction,
            diffraction=self.diffraction,
            scattering_coefficient=self.scattering_coefficient,
            num_rays=self.num_rays,
            max_paths=self.max_paths,
        )

    def untraced(self, carrier_hz: float) -> TdlSpec | None:
        """See :class:`DelayModelBase`; the request for rays is checked.

        Raises:
            ValueError: no such scene, or arguments out of range.
        """
        tracing = self.tracing(carrier_hz)
        antennas = {
            "rx_antennas": tracing.rx_array.num_antennas,
            "tx_antennas": tracing.tx_array.num_antennas,
        }
        return TdlSpec(profile="A", delay_spread_s=0.0, **antennas)

    @property
    def transmit_antennas(self) -> int | None:
        """See :class:`DelayModelBase`."""
        return self.tx_array.num_antennas

    @property
    def unequal_draws(self) -> bool:
        """See :class:`DelayModelBase`."""
        return self.normalize == "ensemble"

    @property
    def needs_path_loss(self) -> bool:
        """See :class:`DelayModelBase`."""
        return False

    def budget_complaint(self) -> str:
        """See :class:`DelayModelBase`."""
        return keeps_path_loss(self.normalize)
