"""The process that traces rays: ``python -m channels.raytraced.tracer VARIANT REQUEST.json PATHS.npz``.

A process of its own, started by :mod:`channels.raytraced.model`: Dr.Jit takes its compiler from the
environment
when it is first imported, keeps global state, and where a library is broken it takes the process down.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# Receivers that are traced together; bounds the memory (diffraction: about 0.1 GB each).
_TOGETHER = 8

# Gains [receivers, rx antennas, tx antennas, paths], delays [s] and Doppler shifts [Hz] [receivers, paths].
_Paths: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def trace(request: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Paths from one transmitter to many receivers.

    Args:
        request: see :meth:`channels.raytraced.scene.RayTracing.request`.

    Returns:
        gains [receivers, rx antennas, tx antennas, paths] complex64 at the carrier, delays_s and doppler_hz
        [receivers, paths], by rising delay, the rest filled with zeros; dropped [receivers], the share of
        power in paths beyond the wanted number.
    """
    parts = [strongest(*part, request["max_paths"]) for part in _trace_all(request)]
    longest = max(part["delays_s"].shape[-1] for part in parts)
    padded = [
        {key: _pad(value, longest) if key != "dropped" else value for key, value in part.items()}
        for part in parts
    ]
    return {key: np.concatenate([part[key] for part in padded]) for key in padded[0]}


def _pad(values: NDArray[Any], length: int) -> NDArray[Any]:
    missing = length - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])


def _trace_all(request: dict[str, Any]) -> Iterator[_Paths]:
    """All paths, some receivers at a time; gains of entries without a path are 0."""
    import mitsuba as mi

    from sionna import rt

    scene = rt.load_scene(None if request["scene"] == "empty" else getattr(rt.scene, request["scene"]))
    scene.frequency = request["carrier_hz"]
    for material in scene.radio_materials.values():
        material.scattering_coefficient = request["scattering_coefficient"]
    scene.tx_array, tx_orientation = _array(request["tx_array"])
    scene.rx_array, rx_orientation = _array(request["rx_array"])
    place = mi.Point3f(*request["transmitter"])
    scene.add(rt.Transmitter("tx", position=place, orientation=mi.Point3f(*tx_orientation)))
    for start in range(0, len(request["positions"]), _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, len(request["positions"])))
        for i in numbers:
            receiver = rt.Receiver(
                f"rx{i}",
                position=mi.Point3f(*request["positions"][i]),
                orientation=mi.Point3f(*rx_orientation),
                velocity=mi.Vector3f(*request["directions"][i]),
            )
            scene.add(receiver)
        direct, others = _line_of_sight(scene, request), _with_interactions(scene, request)
        gains, delays, doppler = (np.concatenate(both, axis=-1) for both in zip(direct, others, strict=True))
        yield gains, delays, doppler
        for i in numbers:
            scene.remove(f"rx{i}")


def _line_of_sight(scene: Any, request: dict[str, Any]) -> _Paths:
    from sionna import rt

    return _arrays(rt.PathSolver()(scene, max_depth=0, los=request["line_of_sight"]))


def _with_interactions(scene: Any, request: dict[str, Any]) -> _Paths:
    """Paths that meet the scene at least once.

    The deterministic solver of Sionna RT 2.2 leaves some entries of its buffer empty (candidates that it
    counts and then does not find again), which look like lines of sight to the first receiver. So it is not
    asked for lines of sight, and paths without any interaction are set to zero.
    """
    from sionna import rt

    paths = rt.PathSolver(deterministic=True)(
        scene,
        max_depth=request["max_depth"],
        samples_per_src=request["num_rays"],
        los=False,
        specular_reflection=request["reflection"],
        diffuse_reflection=request["scattering_coefficient"] > 0,
        refraction=request["refraction"],
        diffraction=request["diffraction"],
        seed=request["seed"],
    )
    gains, delays, doppler = _arrays(paths)
    if gains.shape[-1]:
        met = (np.array(paths.interactions)[:, :, 0] != rt.InteractionType.NONE).any(0)
        gains = np.where(met[:, None, None], gains, 0)
    return gains, delays, doppler


def _arrays(paths: Any) -> _Paths:
    """Gains [receivers, rx antennas, tx antennas, paths], delays and Doppler shifts [receivers, paths]."""
    gains, delays = paths.cir(normalize_delays=False, out_type="numpy")
    return gains[:, :, 0, :, :, 0], delays[:, 0], np.array(paths.doppler)[:, 0]


def _array(spec: dict[str, Any]) -> tuple[Any, tuple[float, float, float]]:
    """Sionna's antenna array and its orientation: yaw, pitch, roll [rad]."""
    from sionna import rt

    array = rt.PlanarArray(
        num_rows=spec["rows"],
        num_cols=spec["columns"],
        vertical_spacing=spec["spacing_wavelengths"],
        horizontal_spacing=spec["spacing_wavelengths"],
        pattern=spec["pattern"],
        polarization=spec["polarization"],
    )
    return array, (math.radians(spec["azimuth_deg"]), math.radians(spec["downtilt_deg"]), 0.0)


def strongest(
    gains: NDArray[Any], delays: NDArray[Any], doppler: NDArray[Any], max_paths: int
) -> dict[str, NDArray[Any]]:
    """The strongest paths of every receiver by rising delay; what is absent or dropped is 0."""
    power = (np.abs(gains).astype(np.float64) ** 2).sum((1, 2))
    rank = np.argsort(np.argsort(-power, axis=-1, kind="stable"), axis=-1)
    kept = (power > 0) & (rank < max_paths)
    order = np.argsort(np.where(kept, delays, np.inf), axis=-1, kind="stable")
    order = order[:, : max(int(kept.sum(-1).max()), 1)] if order.shape[-1] else order

    def pick(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(np.where(kept, values, 0), order, -1)

    total = power.sum(-1)
    dropped = np.where(kept, 0, power).sum(-1) / np.where(total > 0, total, 1)
    by_path = np.where(kept[:, None, None], gains, 0)
    return {
        "gains": np.take_along_axis(by_path, order[:, None, None], -1).astype(np.complex64),
        "delays_s": pick(delays).astype(np.float64),
        "doppler_hz": pick(doppler).astype(np.float64),
        "dropped": dropped,
    }


def _main(variant: str, request_path: str, paths_path: str) -> None:
    import mitsuba as mi

    mi.set_variant(variant)
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    with Path(paths_path).open("wb") as file:
        np.savez(file, allow_pickle=False, **trace(request))


if __name__ == "__main__":
    _main(*sys.argv[1:])
