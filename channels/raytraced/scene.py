"""What is to be ray traced: a scene, a transmitter, positions or a route of a receiver, antennas."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from channels import checks
from channels.runtime.extras import need

__all__ = ["Pattern", "PlanarArray", "Polarization", "Position", "RayTracing", "Route", "scenes"]

Position = tuple[float, float, float]
Pattern = Literal["iso", "dipole", "hw_dipole", "tr38901"]
Polarization = Literal["V", "H", "VH", "cross"]


@dataclass(frozen=True)
class PlanarArray:
    """Antennas of one end, in a plane that faces the x axis (east) before it is turned.

    Args:
        rows, columns: elements, one above and beside the other.
        pattern: "iso", "dipole", "hw_dipole" (half wavelength) or "tr38901" (65° beam, 8 dBi).
        polarization: "V", "H", or two antennas per element: "VH", "cross" (±45°).
        spacing_wavelengths: between elements.
        azimuth_deg: direction that the array faces, from x towards y [°].
        downtilt_deg: below the horizon [°].

    Source: 3GPP TR 38.901 V19.2.0, sec. 7.3; Sionna RT 2.2 ``PlanarArray``.
    """

    rows: int = 1
    columns: int = 1
    pattern: Pattern = "iso"
    polarization: Polarization = "V"
    spacing_wavelengths: float = 0.5
    azimuth_deg: float = 0.0
    downtilt_deg: float = 0.0

    def __post_init__(self) -> None:
        checks.check_at_least("PlanarArray: rows", self.rows, 1)
        checks.check_at_least("PlanarArray: columns", self.columns, 1)
        checks.check_choice("PlanarArray: pattern", self.pattern, get_args(Pattern))
        checks.check_choice("PlanarArray: polarization", self.polarization, get_args(Polarization))
        checks.check_positive("PlanarArray: spacing_wavelengths", self.spacing_wavelengths, "wavelengths")
        checks.check_range("PlanarArray: azimuth_deg", self.azimuth_deg, -360, 360, "°")
        checks.check_range("PlanarArray: downtilt_deg", self.downtilt_deg, -90, 90, "°")

    @property
    def num_antennas(self) -> int:
        """Elements times polarisations."""
        return self.rows * self.columns * (2 if self.polarization in ("VH", "cross") else 1)


@dataclass(frozen=True)
class Route:
    """Receiver positions along straight lines between waypoints, walked in this direction.

    Args:
        waypoints: two or more positions (x, y, z) [m].
        num_points: positions from the first waypoint to the last, equally far apart; or
        spacing_m: distance along the route from one position to the next [m].

    Example:
        >>> Route(((0, 0, 1.5), (10, 0, 1.5)), num_points=3).positions
        ((0.0, 0.0, 1.5), (5.0, 0.0, 1.5), (10.0, 0.0, 1.5))
    """

    waypoints: tuple[Position, ...]
    num_points: int | None = None
    spacing_m: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "waypoints", _positions("Route: waypoints", self.waypoints))
        if len(self.waypoints) < 2 or self._lengths.min() == 0:
            expected = "two or more, each away from the one before"
            raise ValueError(checks.complaint("Route: waypoints", "no way", self.waypoints, expected))
        if (self.num_points is None) == (self.spacing_m is None):
            got, expected = f"{self.num_points} and {self.spacing_m} m", "one of the two"
            raise ValueError(checks.complaint("Route: num_points and spacing_m", "wrong", got, expected))
        if self.num_points is not None:
            checks.check_at_least("Route: num_points", self.num_points, 2)
        else:
            checks.check_range("Route: spacing_m", self.spacing_m or 0.0, 1e-3, self._lengths.sum(), "m")

    @property
    def _lengths(self) -> NDArray[np.float64]:
        return np.linalg.norm(np.diff(np.array(self.waypoints), axis=0), axis=1)

    @property
    def _places(self) -> NDArray[np.float64]:
        """Distance of every position from the start [m]."""
        length = self._lengths.sum()
        if self.num_points is not None:
            return np.linspace(0, length, self.num_points)
        assert self.spacing_m is not None
        return np.arange(math.floor(length / self.spacing_m + 1e-9) + 1) * self.spacing_m

    @property
    def positions(self) -> tuple[Position, ...]:
        """Positions of the receiver [m]."""
        marks = np.concatenate([[0], np.cumsum(self._lengths)])
        axes = [np.interp(self._places, marks, axis) for axis in np.array(self.waypoints).T]
        return tuple((float(x), float(y), float(z)) for x, y, z in zip(*axes, strict=True))

    @property
    def directions(self) -> tuple[Position, ...]:
        """Direction of walking at every position, unit length."""
        steps = np.diff(np.array(self.waypoints), axis=0) / self._lengths[:, None]
        ends = np.cumsum(self._lengths)
        leg = np.minimum(np.searchsorted(ends, self._places, side="right"), len(steps) - 1)
        return tuple((float(x), float(y), float(z)) for x, y, z in steps[leg])


@dataclass(frozen=True, kw_only=True)
class RayTracing:
    """What to trace: one transmitter and the positions of a receiver in a scene.

    Args:
        scene: a scene that comes with Sionna RT ("munich", "simple_street_canyon", ..., see :func:`scenes`),
            or "empty" for free space.
        transmitter: position (x, y, z) [m].
        receivers: positions [m], or a :class:`Route`.
        direction: of motion at all positions (any length), for Doppler shifts; a route has its own.
        tx_array, rx_array: antennas.
        carrier_hz: carrier frequency [Hz].
        max_depth: interactions with the scene per path at most; 0 = line of sight only.
        line_of_sight, reflection, refraction, diffraction: kinds of paths.
        scattering_coefficient: share of the reflected amplitude, 0 to 1, that every surface scatters; 0 = no
            diffuse paths (those of the built-in scenes are 0).
        num_rays: sent out to find paths.
        max_paths: strongest paths that are kept per position.
        seed: of the rays' directions. A seed gives the same paths every time.

    Source: Sionna RT 2.2 ``PathSolver``; scattering: Degli-Esposti et al., "Measurement and Modelling of
        Scattering From Buildings", IEEE Trans. Antennas Propag. 55 (2007).
    """

    scene: str
    transmitter: Position
    receivers: tuple[Position, ...] | Route
    direction: Position | None = None
    tx_array: PlanarArray = PlanarArray()
    rx_array: PlanarArray = PlanarArray()
    carrier_hz: float = 3.5e9
    max_depth: int = 3
    line_of_sight: bool = True
    reflection: bool = True
    refraction: bool = True
    diffraction: bool = False
    scattering_coefficient: float = 0.0
    num_rays: int = 1_000_000
    max_paths: int = 256
    seed: int = 1

    def __post_init__(self) -> None:
        need("RayTracing", ("mitsuba", "drjit"), "raytracing")
        checks.check_choice("RayTracing: scene", self.scene, ("empty", *scenes()))
        transmitter = _positions("RayTracing: transmitter", (self.transmitter,))[0]
        object.__setattr__(self, "transmitter", transmitter)
        if not isinstance(self.receivers, Route):
            object.__setattr__(self, "receivers", _positions("RayTracing: receivers", self.receivers))
        elif self.direction is not None:
            wrong, expected = "given twice", "none: a route has its own"
            raise ValueError(checks.complaint("RayTracing: direction", wrong, self.direction, expected))
        if self.transmitter in self.positions:
            got, expected = self.transmitter, "receivers elsewhere"
            raise ValueError(checks.complaint("RayTracing: transmitter", "on a receiver", got, expected))
        if self.direction is not None:
            direction = _positions("RayTracing: direction", (self.direction,))[0]
            if not any(direction):
                got, expected = direction, "a vector of some length"
                raise ValueError(checks.complaint("RayTracing: direction", "none", got, expected))
            object.__setattr__(self, "direction", direction)
        checks.check_range("RayTracing: carrier_hz", self.carrier_hz, 1e8, 1e12, "Hz", "3.5 GHz is 3.5e9.")
        checks.check_range("RayTracing: scattering_coefficient", self.scattering_coefficient, 0.0, 1.0)
        checks.check_at_least("RayTracing: max_depth", self.max_depth, 0)
        checks.check_at_least("RayTracing: num_rays", self.num_rays, 1)
        checks.check_at_least("RayTracing: max_paths", self.max_paths, 1)
        checks.check_at_least("RayTracing: seed", self.seed, 0)

    @property
    def positions(self) -> tuple[Position, ...]:
        """Positions of the receiver [m]."""
        return self.receivers.positions if isinstance(self.receivers, Route) else self.receivers

    @property
    def moves(self) -> bool:
        """Whether there is a direction of motion, and so a Doppler shift per path."""
        return self.direction is not None or isinstance(self.receivers, Route)

    def request(self) -> dict[str, Any]:
        """All that the result depends on, as plain numbers and texts, with velocities of 1 m/s."""
        plain = asdict(self)
        del plain["receivers"], plain["direction"]
        if isinstance(self.receivers, Route):
            directions = self.receivers.directions
        else:
            x, y, z = self.direction or (0.0, 0.0, 0.0)
            length = math.hypot(x, y, z) or 1.0
            directions = ((x / length, y / length, z / length),) * len(self.positions)
        return {**plain, "positions": self.positions, "directions": directions}


def _positions(field: str, places: Sequence[Sequence[float]]) -> tuple[Position, ...]:
    """Positions as tuples of three floats, checked."""
    if not isinstance(places, Sequence) or len(places) == 0:
        raise ValueError(checks.complaint(field, "empty", places, "positions (x, y, z) in metres"))
    for place in places:
        numbers = isinstance(place, Sequence) and all(isinstance(v, int | float) for v in place)
        if not (numbers and len(place) == 3 and all(map(math.isfinite, place))):
            raise ValueError(checks.complaint(field, "no position", place, "(x, y, z) in metres"))
    return tuple((float(x), float(y), float(z)) for x, y, z in places)


def scenes() -> tuple[str, ...]:
    """Names of the scenes that come with Sionna RT.

    Example:
        >>> "munich" in scenes()
        True
    """
    spec = importlib.util.find_spec("sionna")
    roots = [Path(place) / "rt/scenes" for place in (spec and spec.submodule_search_locations) or ()]
    return tuple(sorted(xml.stem for root in roots for xml in root.glob("*/*.xml")))
