"""Recordings of impulse responses and the files that hold them (.npz, HDF5), checked both ways."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.checks import complaint
from channels.runtime.writing import whole_file

__all__ = ["Recording", "RecordingError", "load_recorded", "save_recorded"]

_ARRAYS = ("gains", "delays_s", "doppler_hz", "positions_m")
_NUMBERS = ("snapshot_interval_s", "speed_mps", "carrier_hz")
_HDF5_ENDINGS = (".h5", ".hdf5")
# Nothing on Earth echoes later; a larger number is a delay in nanoseconds.
_LONGEST_DELAY_S = 1e-2
_MOST_BYTES = 1 << 30  # of an array; a header of a few bytes can announce terabytes


class RecordingError(ValueError):
    """A recording, or a file that should be one, that cannot be used, and why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """Impulse responses h(τ) = Σ_p gains_p δ(τ - delays_p), one for every snapshot and pair of antennas.

    Two kinds: with ``snapshot_interval_s`` the snapshots follow each other in time, without it they are
    situations apart (positions, days), each of which may have a Doppler shift per path.

    Args:
        gains: [snapshots, rx antennas, tx antennas, paths] complex, at the carrier, any common scale; or
            [snapshots, paths] for one antenna at each end. A snapshot with fewer paths is filled with zeros.
        delays_s: [snapshots, paths] or, common to all snapshots, [paths], in seconds.
        snapshot_interval_s: time from one snapshot to the next [s]; needs common delays.
        doppler_hz: [snapshots, paths] Doppler shifts [Hz], positive where the path gets shorter.
        speed_mps: speed [m/s] that the Doppler shifts belong to.
        carrier_hz: carrier frequency [Hz].
        positions_m: [snapshots, 3] where the receiver stood [m].
        description: text.

    Raises:
        RecordingError: shapes that do not fit, values that are not finite, nothing but zeros, and so on.

    Example:
        >>> recording = Recording(gains=np.array([[1.0, 0.5j]]), delays_s=np.array([0.0, 100e-9]))
        >>> recording.gains.shape, recording.delays_s.shape
        ((1, 1, 1, 2), (1, 2))
    """

    gains: NDArray[Any]
    delays_s: NDArray[Any]
    snapshot_interval_s: float | None = None
    doppler_hz: NDArray[Any] | None = None
    speed_mps: float | None = None
    carrier_hz: float | None = None
    positions_m: NDArray[Any] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        gains = _check_gains(np.asarray(self.gains))
        delays = _check_delays(np.asarray(self.delays_s), gains)
        self._check_timing(len(gains), delays.ndim == 1 or bool((delays == delays[0]).all()))
        self._check_numbers()
        paths = (len(gains), gains.shape[-1])
        object.__setattr__(self, "gains", gains)
        object.__setattr__(self, "delays_s", np.broadcast_to(delays, paths))
        self._check_array("doppler_hz", paths)
        self._check_array("positions_m", (len(gains), 3))

    def _check_timing(self, num_snapshots: int, common_delays: bool) -> None:
        if self.snapshot_interval_s is None:
            return
        cure = "Leave snapshot_interval_s out where the snapshots do not follow each other in time."
        if num_snapshots < 2:
            raise RecordingError(complaint("gains", "too few snapshots", num_snapshots, "at least 2", cure))
        if not common_delays:
            got, expected = list(np.shape(self.delays_s)), "[paths], the same delays in all snapshots"
            raise RecordingError(complaint("delays_s", "vary with the snapshot", got, expected, cure))
        if self.doppler_hz is not None:
            expected = "none: the recording itself moves in time"
            raise RecordingError(complaint("doppler_hz", "useless", "a dataset", expected, cure))

    def _check_numbers(self) -> None:
        for field in _NUMBERS:
            value: Any = getattr(self, field)
            if value is None:
                continue
            if not (isinstance(value, int | float | np.number) and np.isreal(value) and 0 < value < np.inf):
                raise RecordingError(complaint(field, "out of range", value, "one finite number > 0"))
            object.__setattr__(self, field, float(value))
        if self.speed_mps is not None and self.doppler_hz is None:
            raise RecordingError(complaint("speed_mps", "useless", self.speed_mps, "doppler_hz beside it"))

    def _check_array(self, field: str, shape: tuple[int, ...]) -> None:
        value = getattr(self, field)
        if value is None:
            return
        value = np.asarray(value)
        if value.shape != shape:
            raise RecordingError(complaint(field, "wrong shape", list(value.shape), list(shape)))
        object.__setattr__(self, field, _check_real(field, value))


def _check_gains(gains: NDArray[Any]) -> NDArray[np.complex128]:
    if not np.iscomplexobj(gains):
        cure = "Gains need their phase; store a NumPy array of complex numbers."
        raise RecordingError(complaint("gains", "not complex", gains.dtype, "complex64 or complex128", cure))
    if gains.ndim not in (2, 4):
        expected = "[snapshots, rx antennas, tx antennas, paths] or [snapshots, paths]"
        raise RecordingError(complaint("gains", "wrong shape", list(gains.shape), expected))
    if gains.size == 0:
        raise RecordingError(complaint("gains", "empty", list(gains.shape), "no length of zero"))
    if not np.isfinite(gains).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(gains))[0]))
        cure = "Fill missing paths with zeros."
        raise RecordingError(complaint("gains", "not finite", f"{gains[where]} at {where}", "numbers", cure))
    if not gains.any():
        raise RecordingError(complaint("gains", "all zero", "no path with any power", "at least one"))
    return (gains[:, None, None, :] if gains.ndim == 2 else gains).astype(np.complex128)


def _check_delays(delays: NDArray[Any], gains: NDArray[np.complex128]) -> NDArray[np.float64]:
    paths = (len(gains), gains.shape[-1])
    if delays.shape not in (paths, paths[1:]):
        expected = f"{list(paths)} or {list(paths[1:])}, as gains have {paths[0]} snapshots, {paths[1]} paths"
        raise RecordingError(complaint("delays_s", "wrong shape", list(delays.shape), expected))
    delays = _check_real("delays_s", delays)
    if delays.min() < 0:
        cure = "Give absent paths the gain 0 and the delay 0."
        raise RecordingError(complaint("delays_s", "negative", f"{delays.min():g} s", ">= 0 s", cure))
    if delays.max() > _LONGEST_DELAY_S:
        got, expected = f"{delays.max():g} s", f"at most {_LONGEST_DELAY_S:g} s"
        raise RecordingError(complaint("delays_s", "too long", got, expected, "100 ns is 100e-9."))
    return delays


def _check_real(field: str, values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind not in "fiu":
        raise RecordingError(complaint(field, "not real numbers", values.dtype, "float64"))
    if not np.isfinite(values).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(values))[0]))
        raise RecordingError(complaint(field, "not finite", f"{values[where]} at {where}", "numbers"))
    return values.astype(np.float64)


# ----------------------------------------------------------------------------------------------- files


_DAMAGE = (
    *(OSError, EOFError, KeyError, RuntimeError, NotImplementedError, ValueError, TypeError, OverflowError),
    *(MemoryError, zipfile.BadZipFile, zlib.error, struct.error),
)


def load_recorded(path: str | Path) -> Recording:
    """Read a recording; the kind of file is known by its content.

    Args:
        path: .npz or HDF5 file with datasets named as the fields of :class:`Recording`; others are left
            aside.

    Raises:
        RecordingError: no such file, another kind of file, a damaged one, or one with a wrong dataset.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as problem:
        expected = "a recording (.npz or HDF5)"
        raise RecordingError(complaint(str(path), "cannot be read", problem.strerror, expected)) from None
    try:
        if head.startswith(b"PK"):
            values = _read_npz(path)
        elif _is_hdf5(path):
            values = _read_hdf5(path)
        else:
            got, expected = f"a file that starts with {head!r}", ".npz (np.savez) or HDF5"
            raise RecordingError(complaint("file", "neither .npz nor HDF5", got, expected))
        for field in ("gains", "delays_s"):
            if field not in values:
                raise RecordingError(complaint(field, "missing", f"only {_names(values)}", "this dataset"))
        return Recording(**values)
    except RecordingError as problem:
        raise RecordingError(f"{path}: {problem}") from None
    except _DAMAGE as problem:
        got, expected = f"{type(problem).__name__} ({problem})", "a whole file"
        raise RecordingError(complaint(f"{path}: file", "damaged", got, expected)) from None


def _names(values: Mapping[str, object]) -> str:
    return ", ".join(sorted(values)) or "no dataset"


def _read_npz(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        for field in (*_ARRAYS, *_NUMBERS, "description"):
            if f"{field}.npy" in archive.namelist():
                values[field] = _plain(field, _read_npy(field, archive))
    return values


def _read_npy(field: str, archive: zipfile.ZipFile) -> NDArray[Any]:
    """One array of an .npz file, once its header says that it is of numbers and as long as it is."""
    length = archive.getinfo(f"{field}.npy").file_size
    with archive.open(f"{field}.npy") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = read[version](file)
        except (ValueError, KeyError, SyntaxError, RecursionError, tokenize.TokenError) as problem:
            raise RecordingError(complaint(field, "broken header", problem, "that of a .npy file")) from None
        if dtype.hasobject:
            cure, expected = "Pickled objects can run code and are not loaded.", "an array of numbers"
            raise RecordingError(complaint(field, "array of Python objects", "a pickle", expected, cure))
        count = math.prod(shape)
        _check_bytes(field, count * dtype.itemsize)
        if file.tell() + count * dtype.itemsize != length:
            got, expected = (
                f"{length} bytes for {list(shape)} of {dtype}",
                "an array as long as its header says",
            )
            raise RecordingError(complaint(field, "damaged", got, expected))
        values = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return values.reshape(shape, order="F" if fortran else "C")


def _check_bytes(field: str, size: int) -> None:
    if size > _MOST_BYTES:
        cure = "Split the recording, or keep fewer paths or snapshots."
        expected = f"at most {_MOST_BYTES} bytes per array"
        raise RecordingError(complaint(field, "too large", f"{size} bytes", expected, cure))


def _is_hdf5(path: Path) -> bool:
    import h5py

    return bool(h5py.is_hdf5(path))


def _read_hdf5(path: Path) -> dict[str, Any]:
    import h5py

    values: dict[str, Any] = {}
    with h5py.File(path, "r") as file:
        for field in (*_ARRAYS, *_NUMBERS, "description"):
            if field in file:
                values[field] = _plain(field, _read_dataset(field, file))
    if "gains" in values and "delays_s" in values:
        values["delays_s"] = _without_extra_axis(values["delays_s"], values["gains"])
    return values


def _read_dataset(field: str, file: Any) -> NDArray[Any]:
    """One dataset, of this file alone. MATLAB's have their axes the other way round, complex numbers as pairs
    and texts as numbers of letters.
    """
    import h5py

    dataset = file[field]
    if not isinstance(dataset, h5py.Dataset):
        raise RecordingError(complaint(field, "not a dataset", "a group", "an array of numbers"))
    link = file.get(field, getlink=True)
    if not isinstance(link, h5py.HardLink) or dataset.is_virtual or dataset.external:
        expected = "a dataset in the file itself"
        raise RecordingError(complaint(field, "elsewhere", "a link to other data", expected))
    _check_bytes(field, math.prod(dataset.shape or ()) * dataset.dtype.itemsize)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()])
    value = np.asarray(dataset[()])
    value = _complex(value)
    kind = dataset.attrs.get("MATLAB_class")
    if kind is None:
        return value
    if kind in (b"char", "char"):
        return np.asarray("".join(map(chr, value.T.ravel().tolist())))
    return value.T


_PAIRS = (("real", "imag"), ("re", "im"), ("r", "i"))


def _complex(value: NDArray[Any]) -> NDArray[Any]:
    """Complex numbers out of pairs of named numbers, as HDF5 has no type for them; others as they are."""
    names = value.dtype.names or ()
    if tuple(name.lower() for name in names) not in _PAIRS:
        return value
    result: NDArray[Any] = value[names[0]] + 1j * value[names[1]]
    return result


def _without_extra_axis(delays: NDArray[Any], gains: NDArray[Any]) -> NDArray[Any]:
    """Delays common to all snapshots as [paths]; programs whose arrays have at least two axes add one."""
    vector = delays.ndim == 2 and 1 in delays.shape and delays.size == gains.shape[-1]
    return delays.ravel() if vector and delays.shape != (len(gains), gains.shape[-1]) else delays


def _plain(field: str, value: NDArray[Any]) -> object:
    """An array as it is, a number or a text out of its array."""
    if field in _ARRAYS:
        if value.dtype.kind not in "biufc":
            cure = "Complex numbers are pairs named real and imag, re and im, or r and i."
            raise RecordingError(
                complaint(
                    field,
                    "not numbers",
                    value.dtype,
                    "an array of numbers",
                    cure if value.dtype.names else "",
                )
            )
        return value
    if value.size != 1:
        raise RecordingError(complaint(field, "wrong shape", list(value.shape), "one value"))
    return str(value.item()) if field == "description" else value.item()


def save_recorded(path: str | Path, recording: Recording) -> None:
    """Write a recording, whole or not at all: into a file beside it, which is then renamed.

    Args:
        path: ends in .npz, .h5 or .hdf5, which decides the kind of file.
        recording: what to write. Gains are stored as complex64, the rest as float64.

    Raises:
        RecordingError: another ending.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".npz", *_HDF5_ENDINGS):
        raise RecordingError(complaint(str(path), "unknown ending", repr(path.suffix), ".npz, .h5 or .hdf5"))
    values = {
        field: np.asarray(value)
        for field in (*_ARRAYS, *_NUMBERS, "description")
        if (value := getattr(recording, field)) is not None
    }
    values["gains"] = recording.gains.astype(np.complex64)
    if recording.snapshot_interval_s is not None:
        values["delays_s"] = recording.delays_s[0]
    with whole_file(path) as partial:
        if path.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **values)
        else:
            _write_hdf5(partial, values)


def _write_hdf5(path: Path, values: Mapping[str, NDArray[Any]]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for field, value in values.items():
            if field == "description":
                file[field] = str(value)
            else:
                file.create_dataset(field, data=value, compression="gzip" if value.ndim else None)
