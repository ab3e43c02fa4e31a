"""Ray-traced channels: paths through a scene of Sionna RT, computed once, kept in a cache, drawn as recorded.

Rays are traced in another process (:mod:`channels.raytraced.tracer`); neither Mitsuba nor Dr.Jit is imported
here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from channels import checks
from channels.base import Precision
from channels.models.recorded import Normalize, Phases, RecordedModel, Timing
from channels.models.recording import Recording, RecordingError, load_recorded, save_recorded
from channels.raytraced.llvm import LIBRARY_VARIABLE, LlvmUnavailable, find_llvm
from channels.raytraced.scene import RayTracing
from channels.runtime.cache import cache_folder
from channels.runtime.child_processes import safe_environment

__all__ = ["RayTracedModel", "trace"]

_LAYOUT = 1  # of the request and the cache; another one computes everything anew
_MUCH_POWER = 0.01


def trace(tracing: RayTracing, *, cache_dir: str | Path | None = None) -> Recording:
    """Paths at all positions, from the cache or traced now; positions that no path reaches are left out.

    Doppler shifts belong to a speed of 1 m/s. The recording's description holds the request as JSON.

    Args:
        tracing: what to trace.
        cache_dir: folder with one file per request; None = $LINKSIM_CACHE/raytraced, else linksim/raytraced
            in the user's cache folder.

    Raises:
        ValueError: no path to any position.
        RuntimeError: no CUDA device and no LLVM library to trace with, or the tracer failed.
    """
    request = tracing.request()
    versions = {"layout": _LAYOUT, "sionna-rt": importlib.metadata.version("sionna-rt")}
    made_from = json.dumps({**versions, "request": request}, sort_keys=True)
    folder = cache_folder("raytraced") if cache_dir is None else Path(cache_dir).expanduser()
    path = folder / f"{tracing.scene}-{hashlib.sha256(made_from.encode()).hexdigest()[:32]}.npz"
    recording = _cached(path, made_from)
    if recording is None:
        recording = _recording(tracing, run_tracer(request), made_from)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            save_recorded(path, recording)
        except OSError as problem:
            warnings.warn(f"trace: {path}: not kept for the next time: {problem.strerror}.", stacklevel=2)
    _warn(tracing, recording)
    return recording


def _cached(path: Path, made_from: str) -> Recording | None:
    """What the file holds; None when there is none, a damaged one or that of another request."""
    try:
        recording = load_recorded(path)
        same = json.loads(recording.description)["made_from"] == made_from
    except (RecordingError, ValueError, KeyError, TypeError):
        return None
    return recording if same else None


def _recording(tracing: RayTracing, paths: dict[str, NDArray[Any]], made_from: str) -> Recording:
    reached = (paths["gains"] != 0).any((1, 2, 3))
    if not reached.any():
        got, expected = f"none to {len(reached)} positions from {tracing.transmitter}", "some"
        cure = "Are positions inside a building or far away? Allow more interactions with max_depth."
        raise ValueError(checks.complaint(f"RayTracing: {tracing.scene}", "no path", got, expected, cure))
    share = float(paths["dropped"][reached].max())
    return Recording(
        gains=paths["gains"][reached],
        delays_s=paths["delays_s"][reached],
        doppler_hz=paths["doppler_hz"][reached] if tracing.moves else None,
        speed_mps=1.0 if tracing.moves else None,
        carrier_hz=tracing.carrier_hz,
        positions_m=np.array(tracing.positions)[reached],
        description=json.dumps({"made_from": made_from, "dropped_power": share}),
    )


def _warn(tracing: RayTracing, recording: Recording) -> None:
    asked, reached = len(tracing.positions), len(recording.gains)
    if reached < asked:
        warnings.warn(
            f"RayTracing: receivers: no path reaches {asked - reached} of {asked} positions; left out.",
            stacklevel=3,
        )
    share = json.loads(recording.description)["dropped_power"]
    if share > _MUCH_POWER:
        warnings.warn(
            f"RayTracing: max_paths: the weaker paths that {tracing.max_paths} leaves out carry up to "
            f"{100 * share:.0f}% of the power of a position. Raise max_paths.",
            stacklevel=3,
        )


def run_tracer(request: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Trace in another process, with CUDA where it works, else with a version of LLVM that works."""
    failure = None
    if torch.cuda.is_available():
        # no LLVM: Dr.Jit must not load an old one along the way
        try:
            return _start_tracer("cuda_ad_mono_polarized", os.devnull, request)
        except RuntimeError as problem:
            failure = problem
    try:
        library = find_llvm()
    except LlvmUnavailable as problem:
        raise (failure or problem) from None
    return _start_tracer("llvm_ad_mono_polarized", library, request)


def _start_tracer(variant: str, library: str, request: dict[str, Any]) -> dict[str, NDArray[Any]]:
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
    environment = safe_environment(**{"PYTHONPATH": search, LIBRARY_VARIABLE: library})
    with tempfile.TemporaryDirectory(prefix="raytraced-") as folder:
        asked, answer = Path(folder) / "request.json", Path(folder) / "paths.npz"
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", "channels.raytraced.tracer", variant, str(asked), str(answer)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            with np.load(answer, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    code = done.returncode
    end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
    got, used = f"{end}: {lines[-1].strip()}", f"Variant {variant}, LLVM library {library}."
    raise RuntimeError(checks.complaint("ray tracing", "the process failed", got, "paths", used))


# ----------------------------------------------------------------------------------------------- model


class RayTracedModel(RecordedModel):
    """Draws from ray-traced paths: every draw is one of the positions, moving at a speed.

    What :class:`channels.models.recorded.RecordedModel` does with the recording that :func:`trace` makes;
    phases are those of independent paths unless asked otherwise, since no map is exact to a fraction of a
    wavelength. The first time takes seconds to minutes, from then on it is read from the cache.

    Args:
        tracing: what to trace.
        speed_mps: speed of the receiver along its route or direction [m/s].
        normalize, phases, timing, bandwidth_hz, precision: see
            :class:`channels.models.recorded.RecordedModel`.
        cache_dir: see :func:`trace`.

    Raises:
        ValueError: arguments out of range, speed without a direction, no path to any position.
        RuntimeError: see :func:`trace`.

    Source: Hoydis et al., "Sionna RT: Differentiable Ray Tracing for Radio Propagation Modeling", 2023,
        arXiv:2303.11103.
    """

    def __init__(
        self,
        tracing: RayTracing,
        *,
        speed_mps: float = 0.0,
        normalize: Normalize = "ensemble",
        phases: Phases = "paths",
        timing: Timing = "first_path",
        bandwidth_hz: float | None = None,
        precision: Precision = "single",
        cache_dir: str | Path | None = None,
    ) -> None:
        checks.check_range("RayTracedModel: speed_mps", speed_mps, 0.0, 500.0, "m/s")
        if speed_mps and not tracing.moves:
            got, expected = f"{speed_mps} m/s", "0 for resting receivers"
            cure = "Give a direction of motion, or a Route."
            raise ValueError(
                checks.complaint("RayTracedModel: speed_mps", "no direction", got, expected, cure)
            )
        self.tracing = tracing
        super().__init__(
            trace(tracing, cache_dir=cache_dir),
            normalize=normalize,
            phases=phases,
            timing=timing,
            speed_mps=speed_mps if tracing.moves else None,
            bandwidth_hz=bandwidth_hz,
            precision=precision,
        )
