"""Ray-traced channels: routes, the cache, the search for LLVM, and free space against Friis."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from channels.models.recorded import RecordedModel
from channels.models.recording import load_recorded, save_recorded
from channels.raytraced import llvm
from channels.raytraced import model as ray_traced
from channels.raytraced.llvm import LIBRARY_VARIABLE, LlvmUnavailable, find_llvm
from channels.raytraced.model import RayTracedModel, trace
from channels.raytraced.scene import PlanarArray, RayTracing, Route, scenes
from channels.raytraced.tracer import strongest
from channels.runtime.sionna_seeding import sionna_rng

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "scenarios/data/street-canyon.npz"
LIGHT_MPS = 299792458.0
STRAIGHT = Route(((10, 0, 1.5), (40, 0, 1.5)), num_points=4)


def why_not() -> str:
    """Why nothing can be traced here, or nothing."""
    if torch.cuda.is_available():
        return ""
    try:
        find_llvm()
    except LlvmUnavailable as problem:
        return str(problem)
    return ""


NO_TRACER = why_not()
needs_tracer = pytest.mark.skipif(bool(NO_TRACER), reason=NO_TRACER)


def tracing(**arguments) -> RayTracing:
    return RayTracing(**{"scene": "empty", "transmitter": (0, 0, 10), "receivers": STRAIGHT, **arguments})


# ----------------------------------------------------------------------------------------------- geometry


def test_route_goes_round_corners_at_equal_distances():
    route = Route(((0, 0, 1), (3, 0, 1), (3, 5, 1)), spacing_m=2.0)
    assert route.positions == ((0, 0, 1), (2, 0, 1), (3, 1, 1), (3, 3, 1), (3, 5, 1))
    assert route.directions == ((1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0))
    np.testing.assert_allclose(route.positions, Route(route.waypoints, num_points=5).positions)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: tracing(scene="vienna"), "RayTracing: scene: unknown choice, got 'vienna', expected one of 'empty', 'box'"),
    (lambda: tracing(transmitter=(0, 0)), "RayTracing: transmitter: no position, got (0, 0)"),
    (lambda: tracing(receivers=()), "RayTracing: receivers: empty"),
    (lambda: tracing(receivers=((0, 0, math.inf),)), "RayTracing: receivers: no position"),
    (lambda: tracing(receivers=((0, 0, 10),)), "RayTracing: transmitter: on a receiver"),
    (lambda: tracing(direction=(1, 0, 0)), "RayTracing: direction: given twice"),
    (lambda: tracing(receivers=((1, 0, 0),), direction=(0, 0, 0)), "RayTracing: direction: none"),
    (lambda: tracing(carrier_hz=3.5), "RayTracing: carrier_hz: out of range, got 3.5 Hz"),
    (lambda: tracing(scattering_coefficient=2.0), "RayTracing: scattering_coefficient: out of range"),
    (lambda: tracing(max_depth=-1), "RayTracing: max_depth: out of range"),
    (lambda: Route(((0, 0, 0),), num_points=2), "Route: waypoints: no way"),
    (lambda: Route(((0, 0, 0), (0, 0, 0)), num_points=2), "Route: waypoints: no way"),
    (lambda: Route(((0, 0, 0), (1, 0, 0))), "Route: num_points and spacing_m: wrong, got None and None m"),
    (lambda: Route(((0, 0, 0), (1, 0, 0)), spacing_m=2.0), "Route: spacing_m: out of range, got 2.0 m"),
    (lambda: PlanarArray(pattern="horn"), "PlanarArray: pattern: unknown choice, got 'horn'"),
    (lambda: PlanarArray(rows=0), "PlanarArray: rows: out of range, got 0"),
    (lambda: RayTracedModel(tracing(receivers=((1, 0, 0),)), speed_mps=3.0), "RayTracedModel: speed_mps: no direction"),
])  # fmt: skip
def test_every_wrong_argument_has_its_message(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_scenes_are_those_of_sionna():
    assert {"munich", "etoile", "florence", "simple_street_canyon"} <= set(scenes())


# ----------------------------------------------------------------------------------------------- without tracing


def made_up_paths(reached: list[bool], dropped: float = 0.0) -> dict[str, np.ndarray]:
    count = len(reached)
    gains = np.full((count, 1, 1, 2), 1e-4 + 1e-5j, np.complex64) * np.array(reached)[:, None, None, None]
    delays = np.linspace(1e-7, 3e-7, 2 * count).reshape(count, 2)
    return {
        "gains": gains,
        "delays_s": delays,
        "doppler_hz": delays * 1e8,
        "dropped": np.full(count, dropped),
    }


@pytest.fixture
def tracer(monkeypatch):
    """A tracer that makes paths up; how often it was asked."""
    asked = []

    def run(request):
        asked.append(request)
        return made_up_paths([True] * len(request["positions"]))

    monkeypatch.setattr(ray_traced, "run_tracer", run)
    return asked


def test_paths_are_traced_once_and_read_from_then_on(tmp_path, tracer):
    first = trace(tracing(), cache_dir=tmp_path)
    second = trace(tracing(), cache_dir=tmp_path)
    assert len(tracer) == 1
    np.testing.assert_array_equal(first.gains, second.gains)
    np.testing.assert_array_equal(first.positions_m, STRAIGHT.positions)
    for change in (
        {"seed": 2}, {"carrier_hz": 28e9}, {"max_depth": 2}, {"tx_array": PlanarArray(columns=2)}, {"diffraction": True},
        {"receivers": Route(STRAIGHT.waypoints[::-1], num_points=4)}, {"transmitter": (0, 1, 10)},
    ):  # fmt: skip
        trace(tracing(**change), cache_dir=tmp_path)
    assert len(tracer) == 8


def test_speed_does_not_trace_again(tmp_path, tracer):
    models = [RayTracedModel(tracing(), speed_mps=v, cache_dir=tmp_path) for v in (0.0, 1.0, 30.0)]
    assert len(tracer) == 1
    shifts = [model.recording.doppler_hz for model in models]
    np.testing.assert_allclose(shifts[2], 30 * shifts[1])
    assert not shifts[0].any()


@pytest.mark.parametrize("damage", ["cut", "swapped", "text"])
def test_damaged_entries_of_the_cache_are_traced_again(tmp_path, tracer, damage):
    trace(tracing(), cache_dir=tmp_path)
    (entry,) = tmp_path.iterdir()
    whole = entry.read_bytes()
    if damage == "cut":
        entry.write_bytes(whole[: len(whole) // 2])
    elif damage == "text":
        entry.write_text("nothing")
    else:
        save_recorded(entry, load_recorded(SHIPPED))
    trace(tracing(), cache_dir=tmp_path)
    assert len(tracer) == 2
    trace(tracing(), cache_dir=tmp_path)
    assert len(tracer) == 2


def test_cache_stands_where_the_environment_says(tmp_path, tracer, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "own"))
    trace(tracing())
    assert len(list((tmp_path / "own/raytraced").iterdir())) == 1
    monkeypatch.delenv("LINKSIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    trace(tracing())
    assert len(list((tmp_path / "xdg/linksim/raytraced").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, tracer):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="not kept for the next time"):
        assert len(trace(tracing(), cache_dir=tmp_path / "file").gains) == 4


def test_positions_without_a_path_are_left_out_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_traced, "run_tracer", lambda request: made_up_paths([True, False, False, True]))
    for _ in range(2):  # traced, then from the cache
        with pytest.warns(UserWarning, match="no path reaches 2 of 4 positions"):
            recording = trace(tracing(), cache_dir=tmp_path)
        np.testing.assert_array_equal(recording.positions_m[:, 0], [10, 40])
        np.testing.assert_allclose(recording.delays_s, made_up_paths([True] * 4)["delays_s"][[0, 3]])


def test_no_path_at_all_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_traced, "run_tracer", lambda request: made_up_paths([False] * 4))
    message = (
        r"RayTracing: empty: no path, got none to 4 positions from \(0.0, 0.0, 10.0\), expected some\. Are"
    )
    with pytest.raises(ValueError, match=message):
        trace(tracing(), cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_much_power_in_dropped_paths_is_warned_about(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_traced, "run_tracer", lambda request: made_up_paths([True] * 4, dropped=0.07))
    with pytest.warns(UserWarning, match="max_paths: the weaker paths that 256 leaves out carry up to 7% of"):
        trace(tracing(), cache_dir=tmp_path)


def test_strongest_paths_are_kept_by_rising_delay():
    gains = np.array([[3, 0, 1, 2], [1, 1, 0, 0]], np.complex64)[:, None, None]
    delays = np.array([[9, -1, 5, 4], [2, 1, -1, -1]]) * 1e-8
    kept = strongest(gains, delays, delays * 1e9, 2)
    np.testing.assert_array_equal(kept["gains"][:, 0, 0], [[2, 3], [1, 1]])
    np.testing.assert_allclose(kept["delays_s"], [[4e-8, 9e-8], [1e-8, 2e-8]])
    np.testing.assert_allclose(kept["doppler_hz"], [[40, 90], [10, 20]])
    np.testing.assert_allclose(kept["dropped"], [1 / 14, 0])
    alone = strongest(gains[1:], delays[1:], delays[1:], 1)
    assert alone["gains"].shape == (1, 1, 1, 1)
    assert strongest(gains[..., :0], delays[:, :0], delays[:, :0], 2)["gains"].shape[-1] == 0


def test_what_the_cache_holds_needs_no_ray_tracer(tmp_path, tracer):
    trace(tracing(), cache_dir=tmp_path)
    code = (
        "import sys\n"
        "from channels.raytraced.scene import RayTracing, Route\n"
        "from channels.raytraced.model import RayTracedModel\n"
        f"route = Route({STRAIGHT.waypoints}, num_points=4)\n"
        "tracing = RayTracing(scene='empty', transmitter=(0, 0, 10), receivers=route)\n"
        f"model = RayTracedModel(tracing, speed_mps=3.0, cache_dir={str(tmp_path)!r})\n"
        "assert model(2, 14, 14e3)[0].shape == (2, 1, 1, 1, 1, 2, 14)\n"
        "assert not {'mitsuba', 'drjit', 'sionna.rt'} & set(sys.modules)\n"
    )
    environment = {**os.environ, LIBRARY_VARIABLE: os.devnull, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)


# ----------------------------------------------------------------------------------------------- LLVM


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)


def libraries(monkeypatch, versions: dict[str, int | None]) -> list[str]:
    """Pretend that these libraries are installed; those whose version was asked."""
    asked = []

    def version(path):
        asked.append(path)
        return versions.get(path)

    monkeypatch.setattr(llvm, "_installed", lambda: iter(versions))
    monkeypatch.setattr(llvm, "library_version", version)
    return asked


def test_newest_library_is_used_and_old_ones_are_not_even_loaded(monkeypatch, no_cuda):
    versions = {
        "/a/libLLVM-14.so.1": 14,
        "/a/libLLVM.so.19.1": 19,
        "/a/libLLVM-18.so": 18,
        "/a/libLLVM.so": 21,
    }
    asked = libraries(monkeypatch, versions)
    assert find_llvm() == "/a/libLLVM.so.19.1"
    assert asked == ["/a/libLLVM.so.19.1"]


def test_a_library_that_lies_about_its_version_is_passed_over(monkeypatch, no_cuda):
    libraries(monkeypatch, {"/a/libLLVM.so.19.1": None, "/a/libLLVM-18.so": 15, "/a/libLLVM.so": 17})
    assert find_llvm() == "/a/libLLVM.so"


def test_without_a_new_library_nothing_is_traced(monkeypatch, no_cuda, tmp_path):
    libraries(monkeypatch, {"/a/libLLVM-14.so.1": 14, "/b/libLLVM-16.so.1": 16})
    monkeypatch.setattr(ray_traced, "_start_tracer", pytest.fail)
    message = (
        "LLVM: not found (ray tracing on the CPU compiles with it), got libLLVM-14.so.1, libLLVM-16.so.1, expected "
        "libLLVM of version 17 or newer. Install one (Debian 12, Ubuntu 24.04 and newer: apt-get install libllvm19;"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        trace(tracing(), cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("version", "got"), [(16, "version 16"), (None, "older than 16, or it does not load")]
)
def test_a_named_library_that_is_too_old_is_refused(monkeypatch, version, got):
    libraries(monkeypatch, {"/a/libLLVM.so": version, "/a/libLLVM-19.so": 19})
    monkeypatch.setenv(LIBRARY_VARIABLE, "/a/libLLVM.so")
    with pytest.raises(LlvmUnavailable, match=f"{LIBRARY_VARIABLE}: no usable LLVM library, got .*{got}"):
        find_llvm()
    monkeypatch.setenv(LIBRARY_VARIABLE, "/a/libLLVM-19.so")
    assert find_llvm() == "/a/libLLVM-19.so"


def test_names_of_libraries_tell_their_version():
    names = {
        "libLLVM-14.so.1": 14,
        "libLLVM.so.19.1": 19,
        "libLLVM-14.0.6.so": 14,
        "libLLVM-19.so": 19,
        "libLLVM.so": None,
    }
    assert {name: llvm.named_version(f"/usr/lib/{name}") for name in names} == names


def test_what_is_no_library_has_no_version(tmp_path):
    (tmp_path / "libLLVM-19.so").write_text("")
    assert llvm.library_version(str(tmp_path / "libLLVM-19.so")) is None


def test_a_tracer_that_dies_is_an_error_with_the_signal(monkeypatch, no_cuda, tmp_path):
    libraries(monkeypatch, {"/a/libLLVM-19.so": 19})
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho Illegal instruction in kernel >&2\nkill -ILL $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    message = "ray tracing: the process failed, got signal SIGILL: Illegal instruction in kernel, expected paths. Variant "
    with pytest.raises(RuntimeError, match=message):
        trace(tracing(), cache_dir=tmp_path)


def test_llvm_takes_over_where_cuda_fails(monkeypatch, no_cuda):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    libraries(monkeypatch, {"/a/libLLVM-19.so": 19})
    started = []

    def start(variant, library, request):
        started.append((variant, library))
        if variant.startswith("cuda"):
            raise RuntimeError("no OptiX")
        return {}

    monkeypatch.setattr(ray_traced, "_start_tracer", start)
    ray_traced.run_tracer({})
    assert started == [("cuda_ad_mono_polarized", os.devnull), ("llvm_ad_mono_polarized", "/a/libLLVM-19.so")]
    libraries(monkeypatch, {})
    with pytest.raises(RuntimeError, match="no OptiX"):
        ray_traced.run_tracer({})


# ----------------------------------------------------------------------------------------------- tracing


@pytest.fixture(scope="module")
def free_space():
    """Two antennas above each other receive in free space; one process for all tests of this file."""
    array = PlanarArray(rows=2, spacing_wavelengths=0.5)
    return trace(tracing(rx_array=array, max_depth=1, num_rays=1000))


@needs_tracer
def test_free_space_has_the_delay_and_the_gain_of_friis(free_space):
    distance = np.linalg.norm(free_space.positions_m - [0, 0, 10], axis=1)
    assert free_space.gains.shape == (4, 2, 1, 1)
    np.testing.assert_allclose(free_space.delays_s[:, 0], distance / LIGHT_MPS, rtol=1e-5)
    friis = LIGHT_MPS / 3.5e9 / (4 * math.pi * distance)
    np.testing.assert_allclose(np.abs(free_space.gains[:, 0, 0, 0]), friis, rtol=1e-3)


@needs_tracer
def test_doppler_shift_is_that_of_motion_away_from_the_transmitter(free_space):
    ray = free_space.positions_m - [0, 0, 10]
    receding = ray[:, 0] / np.linalg.norm(ray, axis=1)  # of 1 m/s along x
    np.testing.assert_allclose(free_space.doppler_hz[:, 0], -receding * 3.5e9 / LIGHT_MPS, rtol=1e-4)


@needs_tracer
def test_antennas_see_the_wave_from_their_own_place(free_space):
    """The upper antenna, half a wavelength above the lower, is nearer to a transmitter above it."""
    ray = np.array([0, 0, 10]) - free_space.positions_m
    nearer = ray[:, 2] / np.linalg.norm(ray, axis=1) / 2  # wavelengths
    phase = np.angle(free_space.gains[:, 0, 0, 0] / free_space.gains[:, 1, 0, 0]) / (2 * math.pi)
    np.testing.assert_allclose((phase - nearer + 0.5) % 1 - 0.5, 0, atol=1e-3)


@needs_tracer
def test_each_line_of_sight_is_found_once():
    """Sionna RT 2.2's deterministic solver also returns copies of the first receiver's (see ray_tracer)."""
    there = RayTracing(
        scene="simple_street_canyon", transmitter=(-40, 5, 10), max_depth=5, num_rays=100_000,
        receivers=((-20, 0, 1.5), (-18.5, 0, 1.5), (26, 40, 1.5)),
    )  # fmt: skip
    recording = trace(there)
    assert recording.doppler_hz is None
    distance = np.linalg.norm(recording.positions_m - there.transmitter, axis=1)
    direct = (np.abs(recording.delays_s * LIGHT_MPS - distance[:, None]) < 1e-2) & (
        recording.gains[:, 0, 0] != 0
    )
    assert direct.sum(1).tolist()[:2] == [1, 1]
    power = (np.abs(recording.gains) ** 2).sum((1, 2, 3))
    friis = (LIGHT_MPS / 3.5e9 / (4 * math.pi * distance)) ** 2
    assert 0.5 < power[0] / friis[0] < 2
    assert power[2] < 0.2 * friis[2]  # round the corner


@needs_tracer
def test_errors_of_the_tracer_come_through(tmp_path):
    with pytest.raises(RuntimeError, match=r"ray tracing: the process failed, got exit code 1: .*requency"):
        trace(
            tracing(scene="box", carrier_hz=0.2e9, transmitter=(1, 1, 1), receivers=((2, 1, 1),)),
            cache_dir=tmp_path,
        )


# ----------------------------------------------------------------------------------------------- the shipped file


def test_shipped_recording_can_be_drawn_from():
    assert SHIPPED.stat().st_size < 200_000
    model = RecordedModel(SHIPPED, phases="paths", speed_mps=10.0)
    assert (model.num_snapshots, model.num_rx_antennas, model.num_tx_antennas) == (60, 1, 1)
    assert model.carrier_hz == 3.5e9
    assert "benchmarks/record_scene.py simple_street_canyon" in model.recording.description
    shift = np.abs(model.recording.doppler_hz).max()
    assert 0.9 < shift / (10 * 3.5e9 / LIGHT_MPS) < 1.0001
    with sionna_rng(1, torch.device("cpu")):
        gains, delays = model(3, 14, 14e3)
    assert bool(gains.isfinite().all())
    assert float(delays.max()) < 1e-6


@needs_tracer
@pytest.mark.slow
def test_shipped_recording_comes_from_its_command(tmp_path):
    shipped = load_recorded(SHIPPED)
    command = shipped.description.partition(" (")[0].split()
    assert command[:2] == ["python", "benchmarks/record_scene.py"]
    arguments = [*command[1:-1], str(tmp_path / "again.npz")]
    done = subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout)["snapshots"] == 60
    again = load_recorded(tmp_path / "again.npz")
    power, expected = ((np.abs(r.gains) ** 2).sum((1, 2, 3)) for r in (again, shipped))
    np.testing.assert_allclose(power, expected, rtol=0.05)
