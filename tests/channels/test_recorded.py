"""Recorded impulse responses: files and their faults, what is drawn, and the statistics that are told of it."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import kstest

from channels.models.recorded import RecordedModel
from channels.models.recording import Recording, RecordingError, load_recorded, save_recorded
from channels.ofdm.link import OfdmChannel
from channels.runtime.sionna_seeding import sionna_rng

CPU = torch.device("cpu")
SPACING_HZ = 15e3


def random_gains(*shape: int, seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.standard_normal(shape) + 1j * draw.standard_normal(shape)


def still(snapshots: int = 5, rx: int = 2, tx: int = 3, paths: int = 4, **more) -> Recording:
    """Situations apart, of very different power."""
    draw = np.random.default_rng(2)
    gains = random_gains(snapshots, rx, tx, paths) * 10 ** draw.uniform(-6, -4, (snapshots, 1, 1, 1))
    return Recording(gains=gains, delays_s=draw.uniform(50e-9, 2e-6, (snapshots, paths)), **more)


def moving(**more) -> Recording:
    doppler = np.random.default_rng(3).uniform(-100, 100, (5, 4))
    return still(doppler_hz=doppler, **more)


def series(snapshots: int = 40, rx: int = 2, tx: int = 1, paths: int = 3) -> Recording:
    """A recording in time: every path turns at its own rate, slowly against the snapshot interval."""
    times = np.arange(snapshots) * 1e-3
    rates = np.array([-20.0, 5.0, 30.0])[:paths]
    gains = random_gains(rx, tx, paths) * np.exp(2j * np.pi * times[:, None, None, None] * rates)
    return Recording(gains=gains, delays_s=np.arange(paths) * 200e-9, snapshot_interval_s=1e-3)


def draw(model: RecordedModel, count: int, times: int = 1, rate: float = 14e3, seed: int = 7):
    """Gains [draws, rx, tx, paths, time] and delays [draws, paths] as NumPy arrays."""
    with sionna_rng(seed, CPU):
        gains, delays = model(count, times, rate)
    assert gains.shape[1] == gains.shape[3] == 1
    return gains[:, 0, :, 0].numpy(), delays[:, 0, 0].numpy()


# ----------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["recording.npz", "recording.h5", "recording.hdf5"])
@pytest.mark.parametrize("recording", [
    still(carrier_hz=3.5e9, description="a yard, 12 °C", positions_m=np.ones((5, 3))), moving(speed_mps=2.0), series(),
], ids=["still", "moving", "series"])  # fmt: skip
def test_a_recording_comes_back_from_its_file(tmp_path, name, recording):
    save_recorded(tmp_path / name, recording)
    loaded = load_recorded(tmp_path / name)
    np.testing.assert_allclose(loaded.gains, recording.gains, rtol=1e-6)
    for field in ("delays_s", "doppler_hz", "positions_m"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(recording, field))
    for field in ("snapshot_interval_s", "speed_mps", "carrier_hz", "description"):
        assert getattr(loaded, field) == getattr(recording, field)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_gains_of_one_antenna_at_each_end_need_no_antenna_axes():
    recording = Recording(gains=random_gains(3, 2), delays_s=[0.0, 1e-7])
    assert recording.gains.shape == (3, 1, 1, 2)
    assert recording.delays_s.shape == (3, 2)


GOOD = {"gains": random_gains(3, 2), "delays_s": np.zeros((3, 2))}
FAULTS = {
    "real": ({"gains": np.ones((3, 2))}, "gains: not complex, got float64"),
    "rank": ({"gains": random_gains(3, 2, 2)}, r"gains: wrong shape, got [3, 2, 2], expected [snapshots, rx"),
    "empty": ({"gains": random_gains(0, 2)}, "gains: empty, got [0, 2]"),
    "nan": ({"gains": np.array([[1, np.nan + 0j]] * 3)}, "gains: not finite, got (nan+0j) at (0, 1)"),
    "zero": ({"gains": np.zeros((3, 2), complex)}, "gains: all zero"),
    "paths": ({"delays_s": np.zeros((3, 4))}, "delays_s: wrong shape, got [3, 4], expected [3, 2] or [2]"),
    "snapshots": ({"delays_s": np.zeros((2, 2))}, "delays_s: wrong shape, got [2, 2]"),
    "negative": ({"delays_s": np.full((3, 2), -1e-9)}, "delays_s: negative, got -1e-09 s"),
    "unit": ({"delays_s": np.full((3, 2), 100.0)}, "delays_s: too long, got 100 s"),
    "infinite": ({"delays_s": np.full((3, 2), np.inf)}, "delays_s: not finite, got inf at (0, 0)"),
    "complex delays": ({"delays_s": np.zeros((3, 2), complex)}, "delays_s: not real numbers, got complex128"),
    "doppler": ({"doppler_hz": np.zeros(2)}, "doppler_hz: wrong shape, got [2], expected [3, 2]"),
    "positions": ({"positions_m": np.zeros((3, 2))}, "positions_m: wrong shape, got [3, 2], expected [3, 3]"),
    "interval": ({"snapshot_interval_s": -1.0, "delays_s": np.zeros(2)}, "snapshot_interval_s: out of range, got -1.0"),
    "own delays": (
        {"snapshot_interval_s": 1e-3, "delays_s": np.arange(6.0).reshape(3, 2) * 1e-9}, "delays_s: vary with the snapshot",
    ),
    "one snapshot": (
        {"snapshot_interval_s": 1e-3, "gains": random_gains(1, 2), "delays_s": np.zeros(2)}, "gains: too few snapshots, got 1",
    ),
    "both": ({"snapshot_interval_s": 1e-3, "delays_s": np.zeros(2), "doppler_hz": np.zeros((3, 2))}, "doppler_hz: useless"),
    "speed": ({"speed_mps": 3.0}, "speed_mps: useless, got 3.0, expected doppler_hz beside it"),
    "carrier": ({"carrier_hz": math.nan}, "carrier_hz: out of range, got nan"),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["npz", "h5"])
@pytest.mark.parametrize(("values", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_every_fault_has_its_message(tmp_path, ending, values, message):
    with pytest.raises(RecordingError, match=re.escape(message)):
        Recording(**{**GOOD, **values})
    path = tmp_path / f"bad.{ending}"
    if ending == "npz":
        np.savez(path, **{**GOOD, **values})
    else:
        with h5py.File(path, "w") as file:
            for name, value in {**GOOD, **values}.items():
                file[name] = value
    with pytest.raises(RecordingError, match=re.escape(f"{path}: {message}")):
        load_recorded(path)


def broken_files(folder) -> dict[str, tuple[object, str]]:
    whole = {kind: folder / f"whole.{kind}" for kind in ("npz", "h5")}
    for path in whole.values():
        save_recorded(path, still(snapshots=200))
    files = {
        "absent": (None, "cannot be read, got No such file"),
        "text": (b"gains: 1", "neither .npz nor HDF5"),
        "empty": (b"", "neither .npz nor HDF5, got a file that starts with b''"),
        "cut.npz": (whole["npz"].read_bytes()[:-200], "damaged"),
        "cut.h5": (whole["h5"].read_bytes()[:-200], "damaged"),
    }
    flipped = bytearray(whole["npz"].read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    return {**files, "flipped.npz": (bytes(flipped), "damaged")}


def test_files_that_are_no_recordings_are_refused_with_the_reason(tmp_path):
    for name, (content, message) in broken_files(tmp_path).items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RecordingError, match=re.escape(message)) as caught:
            load_recorded(path)
        assert str(caught.value).startswith(str(path))
    np.save(tmp_path / "array.npy", GOOD["gains"])
    with pytest.raises(RecordingError, match=r"neither \.npz nor HDF5"):
        load_recorded(tmp_path / "array.npy")


class Trap:
    """Unpickling it would be noticed."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_pickled_objects_are_refused_and_not_loaded(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, gains=np.array([Trap()], dtype=object), delays_s=GOOD["delays_s"])
    with pytest.raises(RecordingError, match="gains: array of Python objects"):
        load_recorded(path)


def test_missing_and_misplaced_datasets_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", gains=GOOD["gains"], delays=GOOD["delays_s"])
    with pytest.raises(RecordingError, match="delays_s: missing, got only gains, expected this dataset"):
        load_recorded(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", cir=GOOD["gains"])
    with pytest.raises(RecordingError, match="gains: missing, got only no dataset"):
        load_recorded(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", **GOOD, carrier_hz=np.ones(2))
    with pytest.raises(RecordingError, match=r"carrier_hz: wrong shape, got \[2\], expected one value"):
        load_recorded(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", gains=np.array(["a"]), delays_s=GOOD["delays_s"])
    with pytest.raises(RecordingError, match="gains: not numbers"):
        load_recorded(tmp_path / "d.npz")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["gains/antenna0"] = GOOD["gains"]
    with pytest.raises(RecordingError, match="gains: not a dataset, got a group"):
        load_recorded(tmp_path / "e.h5")


def test_other_endings_are_not_written(tmp_path):
    with pytest.raises(RecordingError, match=r"unknown ending, got '\.mat', expected \.npz, \.h5 or \.hdf5"):
        save_recorded(tmp_path / "a.mat", still())


# ----------------------------------------------------------------------------------------------- power


def snapshot_powers(model: RecordedModel) -> np.ndarray:
    """Power of every snapshot, from draws: all of them occur among 400."""
    gains, _ = draw(model, 400)
    power = (np.abs(gains[..., 0]) ** 2).sum(-1).mean((1, 2))
    found = np.unique(np.round(power, 5))
    assert len(found) == model.num_snapshots
    return found


def test_mean_power_is_one_and_snapshots_keep_their_proportions():
    recording = still()
    raw = np.sort((np.abs(recording.gains) ** 2).sum(-1).mean((1, 2)))
    model = RecordedModel(recording)
    np.testing.assert_allclose(snapshot_powers(model), raw / raw.mean(), atol=1e-5)
    assert model.mean_power == pytest.approx(raw.mean())


def test_normalising_each_snapshot_takes_the_proportions_away():
    gains, _ = draw(RecordedModel(still(), normalize="each"), 50)
    np.testing.assert_allclose((np.abs(gains[..., 0]) ** 2).sum(-1).mean((1, 2)), 1, rtol=1e-5)


def test_a_silent_snapshot_is_an_outage_and_cannot_be_normalised():
    gains = random_gains(3, 2)
    gains[1] = 0
    recording = Recording(gains=gains, delays_s=[0.0, 1e-7])
    assert (draw(RecordedModel(recording), 100)[0] == 0).all((1, 2, 3, 4)).any()
    with pytest.raises(ValueError, match="normalize: impossible, got no power in snapshot 1"):
        RecordedModel(recording, normalize="each")


@pytest.mark.parametrize("normalize", ["ensemble", "each"])
def test_power_in_a_band_is_one_when_a_bandwidth_is_given(normalize):
    """Mean |H(f)|² over 4001 frequencies of the band; without the argument it is far off for this recording."""
    recording = Recording(gains=np.array([[1, -0.9 + 0j], [0.3, 0.2j]]), delays_s=np.array([0, 50e-9]))
    frequencies = np.linspace(-0.5e6, 0.5e6, 4001)
    response = np.exp(-2j * np.pi * frequencies * recording.delays_s[0][:, None])

    def power(**arguments) -> np.ndarray:
        gains, _ = draw(RecordedModel(recording, normalize=normalize, **arguments), 60)
        snapshots = {round(abs(g[0, 0, 0, 0]), 5): np.abs(g[0, 0, :, 0] @ response) ** 2 for g in gains}
        assert len(snapshots) == 2
        return np.array([p.mean() for p in snapshots.values()])

    inside, unlimited = power(bandwidth_hz=1e6), power()
    assert inside.mean() == pytest.approx(1, rel=2e-3)
    assert abs(unlimited.mean() - 1) > 0.2
    if normalize == "each":
        np.testing.assert_allclose(inside, 1, rtol=2e-3)


# ----------------------------------------------------------------------------------------------- draws


def test_a_draw_is_a_recorded_snapshot_turned_by_one_phase():
    recording = still()
    model = RecordedModel(recording, timing="recorded", precision="double")
    gains, delays = draw(model, 20, times=3)
    assert gains.dtype == np.complex128
    assert delays.dtype == np.float64
    phases = []
    for gain, delay in zip(gains, delays, strict=True):
        snapshot = np.flatnonzero((recording.delays_s == delay).all(-1)).item()
        turned = gain / (recording.gains[snapshot] / math.sqrt(model.mean_power))[..., None]
        np.testing.assert_allclose(turned, turned[0, 0, 0, 0], rtol=1e-12)
        phases.append(turned[0, 0, 0, 0])
    np.testing.assert_allclose(np.abs(phases), 1)
    assert len(set(phases)) == 20


def test_phases_of_paths_are_common_to_antennas():
    recording = still()
    model = RecordedModel(recording, phases="paths", timing="recorded", precision="double")
    gains, delays = draw(model, 20)
    for gain, delay in zip(gains[..., 0], delays, strict=True):
        snapshot = np.flatnonzero((recording.delays_s == delay).all(-1)).item()
        turned = gain / recording.gains[snapshot] * math.sqrt(model.mean_power)
        np.testing.assert_allclose(turned, np.broadcast_to(turned[0, 0], turned.shape), rtol=1e-12)
        assert np.ptp(np.angle(turned[0, 0])) > 0.01


def test_phases_are_uniform():
    """Kolmogorov-Smirnov distance of N phases at a level of 1e-6: sqrt(-ln(1e-6 / 2) / 2N)."""
    recording = Recording(gains=np.ones((1, 1), complex), delays_s=[0.0])
    gains, _ = draw(RecordedModel(recording), 2000)
    limit = math.sqrt(-math.log(0.5e-6) / (2 * 2000))
    phases = np.angle(gains.ravel()) / (2 * math.pi) + 0.5
    assert kstest(phases, "uniform").statistic < limit
    assert kstest(0.9 * phases, "uniform").statistic > limit  # the test sees a tenth missing


def test_draws_depend_on_the_seed_of_the_context_alone():
    model = RecordedModel(moving(), phases="paths")
    before = torch.random.get_rng_state()
    first, second, other = draw(model, 6), draw(model, 6), draw(model, 6, seed=8)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[0], other[0])


def test_first_path_arrives_at_zero_or_when_it_was_recorded():
    gains = np.array([[0, 1, 1j], [1, 0, 0.1]], complex)
    delays = np.array([[0, 300e-9, 500e-9], [200e-9, 0, 250e-9]])
    recording = Recording(gains=gains, delays_s=delays)
    aligned = {tuple(np.round(d * 1e9)) for d in draw(RecordedModel(recording), 50)[1]}
    assert aligned == {(0, 0, 200), (0, 0, 50)}
    as_recorded = {tuple(np.round(d * 1e9)) for d in draw(RecordedModel(recording, timing="recorded"), 50)[1]}
    assert as_recorded == {(0, 300, 500), (200, 0, 250)}


def test_paths_rotate_with_their_doppler_shift():
    recording = moving()
    gains, _ = draw(RecordedModel(recording, precision="double"), 30, times=5, rate=1e3)
    turns = np.angle(gains[..., 1:] / gains[..., :1])[:, 0, 0] / (2 * np.pi)  # [draws, paths, 4]
    expected = recording.doppler_hz[:, :, None] * np.arange(1, 5) * 1e-3
    for turn in turns:
        assert min(np.abs(np.exp(2j * np.pi * (turn - e)) - 1).max() for e in expected) < 1e-9
    np.testing.assert_allclose(np.abs(gains), np.abs(gains[..., :1]).repeat(5, -1))


def test_speed_rescales_doppler_shifts():
    model = RecordedModel(moving(speed_mps=2.0), speed_mps=5.0)
    np.testing.assert_allclose(model.recording.doppler_hz, 2.5 * moving().doppler_hz)
    resting = RecordedModel(moving(speed_mps=2.0), speed_mps=0.0)
    np.testing.assert_allclose(resting.time_covariance(4, 1e-3), np.ones((4, 4)), rtol=1e-12)


@pytest.mark.parametrize(("recording", "lacking"), [(still(), "doppler_hz"), (moving(), "speed_mps")])
def test_speed_needs_to_know_what_it_rescales(recording, lacking):
    with pytest.raises(ValueError, match=f"speed_mps: not applicable, got a recording without {lacking}"):
        RecordedModel(recording, speed_mps=3.0)


def test_a_series_goes_on_from_snapshot_to_snapshot():
    """At every second sample the recorded gains, in between the mean of both neighbours."""
    recording = series()
    gains, _ = draw(RecordedModel(recording, precision="double"), 30, times=9, rate=2e3)
    scale = np.sqrt((np.abs(recording.gains) ** 2).sum(-1).mean())
    starts = set()
    for gain in gains:
        errors = []
        for start in range(len(recording.gains) - 4):
            known = recording.gains[start : start + 5] / scale
            expected = np.empty((9, *known.shape[1:]), complex)
            expected[::2], expected[1::2] = known, (known[1:] + known[:-1]) / 2
            phase = gain[0, 0, 0, 0] / expected[0, 0, 0, 0]
            errors.append(np.abs(gain - phase * expected.transpose(1, 2, 3, 0)).max())
        starts.add(int(np.argmin(errors)))
        assert min(errors) < 1e-12
    assert len(starts) > 10


def test_a_frame_must_fit_into_a_series():
    model = RecordedModel(series(snapshots=5))
    draw(model, 1, times=9, rate=2e3)
    message = "frame: outlasts the recording, got 0.0045 s, expected at most 0.004 s"
    with pytest.raises(ValueError, match=message):
        draw(model, 1, times=10, rate=2e3)
    with pytest.raises(ValueError, match="outlasts the recording"):
        model.time_covariance(10, 0.5e-3)


def test_a_series_that_is_too_coarse_is_warned_about():
    times = np.arange(50)[:, None] * 1e-3
    recording = Recording(gains=np.exp(2j * np.pi * 250 * times), delays_s=[0.0], snapshot_interval_s=1e-3)
    with pytest.warns(UserWarning, match="loses 33% of the power"):  # (2 + cos 2π/4) / 3
        RecordedModel(recording)


@pytest.mark.parametrize(
    ("field", "value"), [("normalize", "all"), ("phases", "none"), ("timing", "late"), ("precision", "half")]
)
def test_unknown_choices_are_refused(field, value):
    with pytest.raises(ValueError, match=f"RecordedModel: {field}: unknown choice"):
        RecordedModel(still(), **{field: value})


# ----------------------------------------------------------------------------------------------- covariances


def normalised(recording: Recording) -> np.ndarray:
    return recording.gains / np.sqrt((np.abs(recording.gains) ** 2).sum(-1).mean())


def slow_frequency_covariance(recording: Recording, phases: str, num: int = 6) -> np.ndarray:
    gains, total = normalised(recording), np.zeros((num, num), complex)
    snapshots, rx, tx, paths = gains.shape
    delays = recording.delays_s - recording.delays_s.min(1, keepdims=True)
    for s in range(snapshots):
        for r in range(rx):
            for t in range(tx):
                parts = np.zeros((paths, num), complex)
                for p in range(paths):
                    for k in range(num):
                        parts[p, k] = gains[s, r, t, p] * np.exp(
                            -2j * np.pi * (k - num // 2) * SPACING_HZ * delays[s, p]
                        )
                for h in parts if phases == "paths" else [parts.sum(0)]:
                    total += np.outer(h, h.conj()) / (snapshots * rx * tx)
    return total


@pytest.mark.parametrize("phases", ["common", "paths"])
@pytest.mark.parametrize("recording", [still(), series()], ids=["still", "series"])
def test_frequency_covariance_equals_a_loop_over_snapshots(recording, phases):
    model = RecordedModel(recording, phases=phases)
    expected = slow_frequency_covariance(recording, phases)
    np.testing.assert_allclose(model.frequency_covariance(6, SPACING_HZ), expected, rtol=1e-10, atol=1e-12)
    if phases == "paths":
        np.testing.assert_allclose(np.diag(expected), 1)


def test_time_covariance_of_doppler_shifts_equals_a_loop_over_snapshots():
    recording, symbol_s = moving(), 1e-3
    gains, total = normalised(recording), np.zeros((4, 4), complex)
    for s in range(5):
        for p in range(4):
            h = np.exp(2j * np.pi * recording.doppler_hz[s, p] * symbol_s * np.arange(4))
            total += np.outer(h, h.conj()) * (np.abs(gains[s, :, :, p]) ** 2).mean() / 5
    np.testing.assert_allclose(RecordedModel(recording).time_covariance(4, symbol_s), total, rtol=1e-10)
    np.testing.assert_allclose(np.diag(total), 1)


def test_time_covariance_of_a_series_equals_a_loop_over_starts():
    recording, total = series(), np.zeros((4, 4), complex)
    for start in range(len(recording.gains) - 2):  # 4 symbols of 0.6 ms reach 1.8 ms
        for r in range(2):
            for p in range(3):
                track = recording.gains[:, r, 0, p]
                at = start + 0.6 * np.arange(4)
                h = np.interp(at, np.arange(len(track)), track)
                total += np.outer(h, h.conj())
    expected = total / np.trace(total) * 4
    np.testing.assert_allclose(RecordedModel(recording).time_covariance(4, 0.6e-3), expected, rtol=1e-10)


def test_a_still_recording_does_not_change_in_time():
    assert torch.equal(
        RecordedModel(still()).time_covariance(3, 1.0), torch.ones(3, 3, dtype=torch.complex128)
    )


def test_delay_profile_is_that_of_all_snapshots_together():
    recording = still()
    model = RecordedModel(recording)
    power = (np.abs(recording.gains) ** 2).mean((1, 2))
    delays = recording.delays_s - recording.delays_s.min(1, keepdims=True)
    assert float(model.mean_powers.sum()) == pytest.approx(1)
    mean = float((model.mean_powers * model.delays_s).sum())
    assert mean == pytest.approx((power * delays).sum() / power.sum())


# ----------------------------------------------------------------------------------------------- over OFDM


def over_ofdm(recording: Recording, **arguments) -> OfdmChannel:
    model = RecordedModel(recording, phases="paths", normalize="each", precision="double")
    return OfdmChannel(model, num_subcarriers=24, precision="double", **arguments)


def test_every_subcarrier_has_unit_mean_power():
    """|h|² of N draws: E = 1 by the random phases; its standard deviation is below 1, so 5/sqrt(N)."""
    channel = over_ofdm(still(rx=1, tx=1), csi="perfect")
    received = channel(torch.ones(1500, 24, dtype=torch.complex128), torch.full((1500,), 20.0), range(1500))
    gains = received.csi.h.abs().square().numpy()
    assert np.abs(gains.mean(0) - 1).max() < 5 / math.sqrt(1500)
    with pytest.raises(AssertionError):  # the check sees 1.5 dB
        assert np.abs(1.41 * gains.mean(0) - 1).max() < 5 / math.sqrt(1500)


@pytest.mark.parametrize("csi", ["perfect", "ls", "lmmse"])
def test_gradients_flow_to_the_sent_symbols(csi):
    channel = over_ofdm(moving_single(), csi=csi)
    x = torch.ones(2, 48, dtype=torch.complex128, requires_grad=True)
    received = channel(x, torch.tensor([20.0, 20.0]), [1, 2])
    received.y.abs().square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad.abs() > 0).all())


def moving_single() -> Recording:
    recording = moving()
    return Recording(
        gains=recording.gains[:, :1, :1], delays_s=recording.delays_s, doppler_hz=recording.doppler_hz
    )


# ----------------------------------------------------------------------------------------- hostile and foreign files


def _zip(path: Path, arrays: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return path


def _npy(header: str, data: bytes = b"") -> bytes:
    head = header.encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


def test_headers_that_announce_terabytes_are_refused_at_once(tmp_path):
    header = "{'descr': '<c16', 'fortran_order': False, 'shape': (%s,), }"
    for shape, message in (
        ("5000000000000", "gains: too large, got 80000000000000 bytes"),
        ("7", "gains: damaged"),
    ):
        path = _zip(tmp_path / "a.npz", {"gains": _npy(header % shape, b"\0" * 32)})
        with pytest.raises(RecordingError, match=message):
            load_recorded(path)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("gains", (10**6, 5 * 10**6), "c16", chunks=(1000, 1000))
    with pytest.raises(RecordingError, match="gains: too large, got 80000000000000 bytes"):
        load_recorded(tmp_path / "a.h5")


def test_a_zip_that_unpacks_to_gigabytes_is_refused_by_its_header(tmp_path):
    header = "{'descr': '<c16', 'fortran_order': False, 'shape': (100000000,), }"
    path = _zip(tmp_path / "a.npz", {"gains": _npy(header, b"\0" * (1 << 24))})
    assert path.stat().st_size < 1 << 17
    with pytest.raises(RecordingError, match="too large"):
        load_recorded(path)


@pytest.mark.parametrize(
    "header", ["{", "[]", "{'descr': 'O', 'fortran_order': False, 'shape': (1,), }", "(" * 5000]
)
def test_broken_and_pickled_headers(header, tmp_path):
    with pytest.raises(RecordingError, match=r"gains: (broken header|array of Python objects)"):
        load_recorded(_zip(tmp_path / "a.npz", {"gains": _npy(header, b"\0" * 8)}))


def test_data_of_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 64)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["gains"] = np.ones((2, 2), complex)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["gains"] = h5py.ExternalLink("other.h5", "/gains")
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file.create_dataset("gains", (2, 2), "c16", external=[(str(tmp_path / "secret"), 0, 64)])
    for name in ("link.h5", "raw.h5"):
        with pytest.raises(RecordingError, match="gains: elsewhere, got a link to other data"):
            load_recorded(tmp_path / name)


def test_recordings_of_matlab(tmp_path):
    """Version 7.3: complex numbers as pairs, axes the other way round, row vectors, texts as numbers."""
    rng = np.random.default_rng(3)
    gains = rng.standard_normal((5, 2, 1, 3)) + 1j * rng.standard_normal((5, 2, 1, 3))
    pairs = np.zeros(gains.T.shape, [("real", "<f8"), ("imag", "<f8")])
    pairs["real"], pairs["imag"] = gains.T.real, gains.T.imag
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        for name, value, kind in (
            ("gains", pairs, "double"),
            ("delays_s", np.array([[0.0], [1e-7], [3e-7]]), "double"),  # [1, 3] in MATLAB
            ("carrier_hz", np.array([[3.5e9]]), "double"),
            ("description", np.array([[ord(c)] for c in "lab"], np.uint16), "char"),
        ):
            file[name] = value
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    recording = load_recorded(tmp_path / "a.mat")
    np.testing.assert_array_equal(recording.gains, gains)
    np.testing.assert_array_equal(recording.delays_s, np.broadcast_to([0, 1e-7, 3e-7], (5, 3)))
    assert (recording.carrier_hz, recording.description) == (3.5e9, "lab")


@pytest.mark.parametrize("names", [("real", "imag"), ("Re", "Im"), ("r", "i")])
def test_pairs_of_named_numbers_are_complex(names, tmp_path):
    """Of other programs than MATLAB too; pairs of other names are refused with the names that are known."""
    gains = np.array([[1.0 + 2j, 0.5j]])
    pairs = np.zeros(gains.shape, [(name, "<f8") for name in names])
    pairs[names[0]], pairs[names[1]] = gains.real, gains.imag
    other = pairs.astype([("amplitude", "<f8"), ("phase", "<f8")])
    for name, value in (("known.h5", pairs), ("other.h5", other)):
        with h5py.File(tmp_path / name, "w") as file:
            file["gains"], file["delays_s"] = value, np.array([0.0, 1e-7])
    np.testing.assert_array_equal(load_recorded(tmp_path / "known.h5").gains[:, 0, 0], gains)
    with pytest.raises(
        RecordingError, match=r"gains: not numbers, .* pairs named real and imag, re and im, or r and i"
    ):
        load_recorded(tmp_path / "other.h5")
