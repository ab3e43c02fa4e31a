"""Recordings of channels, changed: bytes of the files, and what the files say (NumPy, HDF5, MATLAB 7.3)."""

from __future__ import annotations

import contextlib
import io
import random
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from channels.models.recorded import RecordedModel
from channels.models.recording import Recording, RecordingError, load_recorded, save_recorded
from tests.fuzz.harness import Attempt
from tests.fuzz.mutations import mutated_bytes, strange_value

FIELDS = (
    *("gains", "delays_s", "doppler_hz", "positions_m", "snapshot_interval_s", "speed_mps", "carrier_hz"),
    "description",
)


def _whole() -> list[dict[str, Any]]:
    """Datasets of good recordings: moments of one channel, and places with Doppler shifts."""
    rng = np.random.default_rng(3)
    gains = (rng.normal(size=(6, 2, 1, 4)) + 1j * rng.normal(size=(6, 2, 1, 4))).astype(np.complex64)
    delays = np.array([0, 1e-7, 3e-7, 5e-7])
    places = {"doppler_hz": rng.normal(size=(6, 4)), "speed_mps": 3.0, "positions_m": rng.normal(size=(6, 3))}
    return [
        {
            "gains": gains,
            "delays_s": delays,
            "snapshot_interval_s": 1e-3,
            "carrier_hz": 3.5e9,
            "description": "a",
        },
        {"gains": gains, "delays_s": np.tile(delays, (6, 1)), **places},
        {"gains": gains[:, 0, 0], "delays_s": delays},
    ]


def _strange_array(rng: random.Random, old: Any) -> Any:
    """An array of another shape or type, or with values that no channel has."""
    kind = rng.randrange(6)
    array = np.array(old)
    if kind == 0:
        shape = rng.choice(((), (0,), (1,), (6, 1), (2, 2, 2, 2, 2), array.shape[::-1], (100_000,)))
        return np.resize(array, shape) if array.size else np.zeros(shape)
    if kind == 1:
        types = (
            "bool",
            "int8",
            "uint64",
            "float16",
            "complex128",
            "S3",
            "U2",
            "datetime64[s]",
            "object",
            ">f8",
        )
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return (
                array.real.astype(rng.choice(types))
                if array.dtype.kind == "c"
                else array.astype(rng.choice(types))
            )
    if kind == 2 and array.dtype.kind in "fc" and array.size:
        array = array.copy().reshape(-1)
        array[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -1.0, 1e300, -0.0, 1e-320))
        return array.reshape(np.shape(old))
    if kind == 3:
        return array * rng.choice((0, 1e9, 1e-40, -1)) if array.dtype.kind in "fc" else array
    value = strange_value(rng)
    with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):
        if np.ndim(value) <= 32:  # what NumPy can write
            return np.array(value)
    return np.array(str(value)[:50])


def _npy(array: Any, rng: random.Random) -> bytes:
    """A .npy file, at times with a header that promises something else."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    data = out.getvalue()
    if rng.random() < 0.3:
        end = data.index(b"\n") if b"\n" in data[:400] else 10
        shape = rng.choice(
            (
                b"(99999999999,)",
                b"(-1,)",
                b"(2**3,)",
                b"()",
                b"(1e9,)",
                b"(__import__('os').getpid(),)",
                b"(6,)" * 50,
            )
        )
        head = data[10:end].split(b"'shape': ")[0] + b"'shape': " + shape + b", }"
        data = data[:10] + head.ljust(max(end - 10, 0)) + data[end:]
    return mutated_bytes(data, rng) if rng.random() < 0.3 else data


def _write_npz(path: Path, values: dict[str, Any], rng: random.Random) -> None:
    with zipfile.ZipFile(
        path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    ) as archive:
        for field, value in values.items():
            archive.writestr(f"{field}.npy", _npy(value, rng))


def _write_hdf5(path: Path, values: dict[str, Any], rng: random.Random) -> None:
    with h5py.File(path, "w") as file:
        for field, value in values.items():
            if rng.random() < 0.15:
                _strange_dataset(file, field, rng)
                continue
            array = np.asarray(value)
            if array.dtype.kind == "c" and rng.random() < 0.3:  # as MATLAB writes complex numbers
                pairs = np.zeros(array.T.shape, [("real", "<f8"), ("imag", "<f8")])
                pairs["real"], pairs["imag"] = array.T.real, array.T.imag
                file[field] = pairs
                file[field].attrs["MATLAB_class"] = rng.choice(
                    (np.bytes_("double"), "char", 3, np.bytes_("struct"))
                )
                continue
            try:
                file[field] = str(value) if array.dtype.kind in "USO" else array
            except (TypeError, ValueError, OSError):
                file[field] = repr(value)[:99]


def _strange_dataset(file: h5py.File, field: str, rng: random.Random) -> None:
    kind = rng.randrange(9)
    if kind == 0:
        file.create_group(field)
    elif kind == 1:
        file[field] = h5py.SoftLink(rng.choice(("/" + field, "/nothing", "/gains")))
    elif kind == 2:
        file[field] = h5py.ExternalLink(rng.choice(("/etc/passwd", "other.h5", file.filename)), "/gains")
    elif kind == 3:  # many bytes that no file holds
        shape = rng.choice(((1 << 40,), (1 << 27,), (11_000_000, 1, 1, 6), (1 << 20, 1 << 20)))
        file.create_dataset(field, shape, "c8", chunks=True, fillvalue=1 + 1j)
    elif kind == 4:
        file.create_dataset(field, (3,), "f8", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    elif kind == 5:
        file.create_dataset(field, data=[np.arange(3.0), np.arange(2.0)], dtype=h5py.vlen_dtype("f8"))
    elif kind == 6:
        file.create_dataset(field, data=h5py.Empty("f8"))
    elif kind == 7:
        file.create_dataset(field, data=np.array([0, 1]), dtype=h5py.enum_dtype({"a": 0, "b": 1}))
    else:
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(3,))
        file.create_virtual_dataset(field, layout)


def prepare(work: Path) -> Attempt:
    """A changed recording, read and, where that is possible, made a channel model."""
    recordings = _whole()
    files = []
    for number, values in enumerate(recordings):
        for ending in ("npz", "h5"):
            path = work / f"{number}.{ending}"
            save_recorded(path, Recording(**values))
            files.append(path.read_bytes())

    def attempt(rng: random.Random, folder: Path) -> str:
        path = folder / f"recording.{rng.choice(('npz', 'h5', 'mat'))}"
        kind = rng.randrange(3)
        if kind == 0:
            path.write_bytes(mutated_bytes(rng.choice(files), rng))
        else:
            values = dict(rng.choice(recordings))
            for _ in range(rng.choice((0, 1, 1, 2))):
                field = rng.choice(FIELDS)
                values[field] = _strange_array(rng, values.get(field, 1.0))
            if rng.random() < 0.2:
                values.pop(rng.choice(sorted(values)))
            (_write_npz if kind == 1 else _write_hdf5)(path, values, rng)
        try:
            load_recorded(path)
            options = {
                "normalize": rng.choice(("ensemble", "each")),
                "phases": rng.choice(("common", "paths")),
            }
            RecordedModel(
                path,
                bandwidth_hz=rng.choice((None, 1e6)),
                timing=rng.choice(("first_path", "recorded")),
                **options,
            )
        except RecordingError:
            return "refused"
        except ValueError as problem:  # options that do not fit a recording; scenarios show the message
            if str(problem).count(", expected ") == 1:
                return "refused"
            raise
        return "taken"

    return attempt
