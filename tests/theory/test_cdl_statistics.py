"""CDL channels and cells against the tables of TR 38.901: delays, angles, powers, Doppler, large scale.

What is expected comes from loops in NumPy over the tables; tolerances are 5 sigma of independent draws, with
the deviation taken from the sample where it is not known.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.special import j0
from scipy.stats import chi2

from channels.models import cdl as cdl_module
from channels.models.base import DelayModel
from channels.models.cdl import CdlModel
from channels.models.cell import CellModel
from channels.models.panel import Panel
from channels.ofdm.grid import Pilots
from channels.ofdm.interference import interference_power
from channels.ofdm.link import OfdmChannel
from channels.runtime.sionna_seeding import sionna_rng

CARRIER_HZ, SPREAD_S, LIGHT_MPS = 3.5e9, 100e-9, 299792458.0
PROFILES = ["A", "B", "C", "D", "E"]
K_DB = {"D": 13.3, "E": 22.0}  # notes of tables 7.7.1-4 and 7.7.1-5
# TR 38.901, table 7.5-3
OFFSETS = [0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551]
ELEMENTS = 8
CPU = torch.device("cpu")


def slow(profile: str):
    return pytest.param(profile, marks=pytest.mark.slow)


@cache
def table(profile: str) -> dict[str, np.ndarray]:
    """Delays, powers (linear, sum 1) and angles [degree] of the clusters; "los": only that line or None."""
    path = files("sionna.phy.channel.tr38901.models.v19_2") / f"CDL-{profile}.json"
    values = {key: np.array(value) for key, value in json.loads(path.read_text()).items()}
    powers = 10 ** (values["powers"] / 10)
    values["powers"] = powers / powers.sum()
    return values


def clusters(profile: str) -> list[int]:
    """Lines of the table with rays; line 0 of D and E is the line of sight."""
    return list(range(1 if table(profile)["los"] else 0, len(table(profile)["powers"])))


def draws(
    model: DelayModel, count: int, steps: int = 1, rate_hz: float = 1.0, chunk: int = 100, seed: int = 2024
) -> tuple[np.ndarray, np.ndarray]:
    """Gains [count, rx, tx, paths, time] complex128 and delays [count, paths]."""
    with sionna_rng(seed, CPU):
        parts = [model(chunk, steps, rate_hz) for _ in range(count // chunk)]
    gains = torch.cat([gain[:, 0, :, 0] for gain, _ in parts]).to(torch.complex128)
    return gains.numpy(), torch.cat([delay[:, 0, 0] for _, delay in parts]).double().numpy()


@pytest.fixture
def quick_normalisation(monkeypatch):
    """Ten draws behind the mean power of a model: for what does not depend on it."""
    monkeypatch.setattr(cdl_module, "_CDL_DRAWS", 10)
    monkeypatch.setattr(cdl_module, "CHUNK", 10)
    cdl_module.cdl_statistics.cache_clear()
    yield
    cdl_module.cdl_statistics.cache_clear()


def cdl(profile: str, speed: float = 0.0, **panels) -> CdlModel:
    return CdlModel(profile, delay_spread_s=SPREAD_S, carrier_hz=CARRIER_HZ, speed_mps=speed, **panels)


# ------------------------------------------------------------------------------------------------- delays


def rms_spread(delays: np.ndarray, powers: np.ndarray) -> float:
    mean = (powers * delays).sum() / powers.sum()
    return math.sqrt((powers * (delays - mean) ** 2).sum() / powers.sum())


def check_delay_spread(model: CdlModel, requested_s: float) -> None:
    """RMS of the mean powers over the 1000 draws of the model; deviation of one draw's share of the second
    central moment, which the mean does not change to first order."""
    powers = model.mean_powers.numpy().reshape(1000, -1)
    delays = model.delays_s.numpy().reshape(1000, -1)[0]
    mean = (powers.sum(0) * delays).sum()
    moment = 1000 * (powers * ((delays - mean) ** 2 - requested_s**2)).sum(1)
    assert abs(moment.mean()) < 5 * moment.std() / math.sqrt(1000)


@pytest.mark.parametrize("profile", PROFILES)
def test_delay_spread_is_the_requested_one(profile):
    """The table of profile D itself has 0.994 of it. Without the line of sight it would be three times as
    large."""
    lines, model = table(profile), cdl(profile)
    of_table = rms_spread(lines["delays"], lines["powers"])
    assert abs(of_table - (0.9937 if profile == "D" else 1.0)) < 5e-4
    check_delay_spread(model, SPREAD_S * of_table)
    with pytest.raises(AssertionError):
        check_delay_spread(model, 1.3 * SPREAD_S * of_table)


@pytest.mark.parametrize("profile", PROFILES)
def test_powers_and_delays_of_paths_are_those_of_the_table(profile):
    """1000 draws; 5 sigma of the sample for each of 13 to 24 paths."""
    lines, model = table(profile), cdl(profile)
    gains, delays = draws(model, 1000, seed=5)
    order = np.argsort(lines["delays"][clusters(profile)], kind="stable")
    expected = lines["powers"][clusters(profile)][order]
    expected[0] += lines["powers"][0] if lines["los"] else 0.0
    of_table = lines["delays"][clusters(profile)][order] * SPREAD_S
    np.testing.assert_allclose(delays[0], of_table, rtol=1e-5, atol=1e-14)
    power = np.abs(gains[:, 0, 0, :, 0]) ** 2 * model.mean_power
    same = of_table[:, None] == of_table[None, :]  # paths of one delay come in any order
    deviation = (power @ same).std(0) / math.sqrt(len(power))
    assert np.all(np.abs((power @ same).mean(0) - same @ expected) < 5 * deviation)
    assert not np.all(np.abs((power @ same).mean(0) - same @ np.roll(expected, 1)) < 5 * deviation)


# ------------------------------------------------------------------------------------------------- powers


def mean_and_tolerance(power: np.ndarray, behind: int) -> tuple[float, float]:
    """Of E|h|² from independent draws of a model that is normalised by ``behind`` others."""
    return power.mean(), 5 * power.std() * math.sqrt(1 / len(power) + 1 / behind)


@pytest.mark.parametrize("profile", [slow("A"), slow("B"), "C", slow("D"), "E"])
def test_mean_power_of_every_pair_of_antennas_is_one(profile):
    """1000 draws, two antennas of one polarisation at both ends; paths are independent."""
    model = cdl(profile, transmitter=Panel(columns=2), receiver=Panel(columns=2))
    gains, _ = draws(model, 1000)
    power = (np.abs(gains[..., 0]) ** 2).sum(3).reshape(1000, 4)
    for pair in power.T:
        mean, tolerance = mean_and_tolerance(pair, 1000)
        assert abs(mean - 1) < tolerance < 0.1
        assert abs(1.3 * mean - 1) > tolerance


@pytest.mark.parametrize("profile", ["C", "D"])
def test_powers_of_crossed_antennas_follow_from_the_polarisation_ratio(profile):
    """1000 draws. Of rays a share 1/κ goes to the other polarisation, in equal parts over slanted antennas:
    (1 + 1/κ)/2 for every pair; the line of sight, with a sign between them, goes over crosswise only."""
    lines = table(profile)
    model = cdl(profile, transmitter=Panel(polarization="dual"), receiver=Panel(polarization="dual"))
    gains, _ = draws(model, 1000)
    power = (np.abs(gains[..., 0]) ** 2).sum(3)
    line = lines["powers"][0] if lines["los"] else 0.0
    diffuse = (1 - line) * (1 + 10 ** (-lines["xpr"] / 10)) / 2
    expected = np.array([[diffuse, diffuse + line], [diffuse + line, diffuse]])
    expected /= expected.mean()
    deviation = (power.std(0) + expected * power.mean((1, 2)).std()) / math.sqrt(1000)
    assert np.all(np.abs(power.mean(0) - expected) < 5 * deviation)
    if lines["los"]:
        assert not np.all(np.abs(power.mean(0) - expected[::-1]) < 5 * deviation)


def measured_k_db(first: np.ndarray) -> float:
    """|E a|²/Var a: the line of sight has the same phase in every draw, as the table has one distance."""
    return 10 * math.log10(abs(first.mean()) ** 2 / (np.abs(first - first.mean()) ** 2).mean())


@pytest.mark.parametrize("profile", ["D", "E"])
def test_first_path_has_the_k_factor_of_the_table(profile):
    """1000 draws: Var a to 5/sqrt(1000), 0.64 dB."""
    first = draws(cdl(profile), 1000)[0][:, 0, 0, 0, 0]
    tolerance_db = 10 * math.log10(1 + 5 / math.sqrt(1000))
    assert abs(measured_k_db(first) - K_DB[profile]) < tolerance_db
    assert abs(measured_k_db(2 * first - first.mean()) - K_DB[profile]) > tolerance_db  # more diffuse
    lines = table(profile)["powers"]
    assert abs(10 * math.log10(lines[0] / lines[1]) - K_DB[profile]) < 0.01


# ------------------------------------------------------------------------------------------------- angles


def waves(profile: str, axis: str, end: str, line: int, spread: float) -> np.ndarray:
    """Plane waves of a line of the table on the elements [elements, 400] (TR 38.901, eq. 7.5-23) at one end
    ("a": arrival, "d": departure): every azimuth offset with every zenith offset. Columns go along y, rows
    down z, half a wavelength apart; the receiver stands turned by 180°."""
    lines = table(profile)
    along = np.array([0, 0.5, 0] if axis == "columns" else [0, 0, -0.5])
    place = np.arange(ELEMENTS)[:, None] * along
    if end == "a":
        place = place * np.array([-1.0, -1.0, 1.0])
    offset = np.array([*OFFSETS, *(-offset for offset in OFFSETS)]) * spread
    azimuth, zenith = np.meshgrid(
        np.radians(lines[f"ao{end}"][line] + lines[f"cAS{end.upper()}"] * offset),
        np.radians(lines[f"zo{end}"][line] + lines[f"cZS{end.upper()}"] * offset),
    )
    direction = [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth), np.cos(zenith)]
    return np.exp(2j * math.pi * (place @ np.reshape(direction, (3, -1))))


def spatial_covariance(profile: str, axis: str, end: str, spread: float = 1.0) -> np.ndarray:
    """E[h hᴴ] over the elements of one end without the line of sight, unit power."""
    total, powers = np.zeros((ELEMENTS, ELEMENTS), complex), table(profile)["powers"]
    for line in clusters(profile):
        wave = waves(profile, axis, end, line, spread)
        total += powers[line] * (wave @ wave.conj().T) / wave.shape[1]
    return total / powers[clusters(profile)].sum()


@pytest.mark.parametrize("axis", ["columns", "rows"])
@pytest.mark.parametrize("end", ["a", "d"])
@pytest.mark.parametrize("profile", ["A", slow("B"), "C", "D", slow("E")])
@pytest.mark.usefixtures("quick_normalisation")
def test_angles_and_their_spreads_are_those_of_the_table(profile, end, axis):
    """Covariance of eight elements in a row (azimuth and zenith) or column (zenith) from 800 draws, 5 sigma of
    the sample for every entry. With half the spread within clusters or mirrored it is another one. The line of
    sight is the mean over draws, a plane wave."""
    panel = Panel(**{axis: ELEMENTS})
    gains, _ = draws(cdl(profile, **{"receiver" if end == "a" else "transmitter": panel}), 800)
    assert gains.shape[1:3] == ((ELEMENTS, 1) if end == "a" else (1, ELEMENTS))
    paths = gains[..., 0].reshape(800, ELEMENTS, -1)
    if table(profile)["los"]:
        line = paths[..., 0].mean(0)
        wave = waves(profile, axis, end, 0, 0.0)[:, 0]
        of_mean = 5 * np.abs(paths[..., 0] - line).std() / math.sqrt(800)
        scale = (wave.conj() @ line) / ELEMENTS
        assert np.abs(line - scale * wave).max() < of_mean < 0.1 * abs(scale)
        paths = np.concatenate([paths[..., :1] - line[:, None], paths[..., 1:]], 2)
    product = paths @ paths.conj().transpose(0, 2, 1)
    scale = product.mean(0).trace().real / ELEMENTS
    measured, deviation = product.mean(0) / scale, product.std(0) / scale / math.sqrt(len(product))

    def agrees(expected: np.ndarray) -> bool:
        return bool(np.all(np.abs(measured - expected) < 5 * deviation.max()))

    expected = spatial_covariance(profile, axis, end)
    assert agrees(expected)
    assert not agrees(spatial_covariance(profile, axis, end, spread=0.5))
    assert not agrees(expected.conj())


# ------------------------------------------------------------------------------------------------- Doppler


def turns(lags: np.ndarray, zenith_deg: np.ndarray) -> np.ndarray:
    """Mean phasor of a plane wave after ``lags`` periods of the maximum Doppler shift, [lags, waves], when the
    velocity has a uniform azimuth and a uniform zenith."""
    zenith = np.radians(zenith_deg)

    def over_azimuth(tilt: float) -> np.ndarray:
        turn = 2 * math.pi * lags[:, None]
        return j0(turn * np.sin(zenith) * math.sin(tilt)) * np.cos(turn * np.cos(zenith) * math.cos(tilt))

    grid = np.linspace(0, math.pi, 181)
    return integrate.simpson([over_azimuth(tilt) for tilt in grid], x=grid, axis=0) / math.pi


@pytest.mark.parametrize("profile", ["C", "D"])
def test_time_covariance_of_a_clustered_channel_is_that_of_its_zenith_angles(profile):
    """Over two Doppler periods at 30 m/s: 1000 draws of the model, 1000 of its own behind ``time_covariance``,
    and the integral over the table; each entry to 5 sigma of the sample."""
    speed = 30.0
    lag_s = 1 / (16 * speed / LIGHT_MPS * CARRIER_HZ)
    model, lines = cdl(profile, speed), table(profile)
    gains, _ = draws(model, 1000, 32, 1 / lag_s, seed=11)
    product = (gains * gains[..., :1].conj()).sum((1, 2, 3))
    measured, deviation = product.mean(0), 5 * product.std(0).max() / math.sqrt(1000)
    covariance = model.time_covariance(32, lag_s)[:, 0].numpy()
    offset = np.array([*OFFSETS, *(-o for o in OFFSETS)]) * float(lines["cZSA"])
    of_rays = np.zeros(32)
    for line, power in enumerate(lines["powers"]):
        spread = offset if line in clusters(profile) else np.zeros(1)
        of_rays += power * turns(np.arange(32) / 16, lines["zoa"][line] + spread).mean(1)
    assert np.abs(measured - of_rays).max() < deviation
    assert np.abs(measured - covariance).max() < deviation * math.sqrt(2)
    assert np.abs(measured[::2] - of_rays[:16]).max() > deviation  # twice the speed
    hermitian = model.time_covariance(8, 0.7 * lag_s)
    assert torch.equal(hermitian, hermitian.mH)


def test_time_covariance_of_a_cell_is_that_of_its_drops():
    """1000 drops of the model against 500 of its own behind ``time_covariance``: 5 sigma of the sample."""
    speed = 30.0
    lag_s = 1 / (16 * speed / LIGHT_MPS * CARRIER_HZ)
    model = CellModel("umi", carrier_hz=CARRIER_HZ, speed_mps=speed)
    gains, _ = draws(model, 1000, 17, 1 / lag_s, chunk=50)
    product = (gains * gains[..., :1].conj()).sum((1, 2, 3))
    measured = product.mean(0) / product.mean(0)[0]
    tolerance = 5 * product.std(0).max() * math.sqrt(1 / 1000 + 1 / 500)
    covariance = model.time_covariance(17, lag_s)[:, 0].numpy()
    assert np.abs(measured - covariance).max() < tolerance
    assert np.abs(measured[:9] - covariance[::2]).max() > tolerance
    # a horizontal velocity: J0 but for the zenith angles, which shift its zeros by a tenth of a period
    turn = 2 * math.pi * np.arange(17) / 16
    assert np.abs(measured - j0(turn)).max() < 0.1 + tolerance
    assert np.abs(measured - j0(0.7 * turn)).max() > 0.1 + tolerance


@pytest.mark.parametrize("kind", ["cdl", "cell"])
def test_interference_of_motion_is_the_power_that_a_symbol_loses_on_average(kind):
    """1 - E|mean gain over a symbol|²/E|gain|²: 500 draws, as many or more of the model's own behind it; 5 sigma
    of the sample."""
    speed, symbol_s, steps = 30.0, 1 / 15e3, 64
    model = cdl("C", speed) if kind == "cdl" else CellModel("umi", carrier_hz=CARRIER_HZ, speed_mps=speed)
    gains, _ = draws(model, 500, steps, steps / symbol_s, chunk=50)
    lost = (np.abs(gains) ** 2).mean(-1) - np.abs(gains.mean(-1)) ** 2
    lost = lost.sum((1, 2, 3))
    tolerance = 5 * lost.std() * math.sqrt(2 / 500)
    assert abs(interference_power(model, symbol_s, 1.0) - lost.mean()) < tolerance < 0.5 * lost.mean()


# ------------------------------------------------------------------------------------------------- cells


@cache
def street(line_of_sight: str = "random") -> CellModel:
    """Outdoor receivers of an urban micro cell at rest."""
    return CellModel("umi", carrier_hz=CARRIER_HZ, indoor_share=0.0, line_of_sight=line_of_sight)


def test_mean_power_of_drops_is_one():
    """1000 drops of the model, 500 of its own behind the mean power."""
    gains, _ = draws(street(), 1000, chunk=500)
    power = (np.abs(gains[..., 0]) ** 2).sum((1, 2, 3))
    mean, tolerance = mean_and_tolerance(power, 500)
    assert abs(mean - 1) < tolerance < 0.25


def street_probability(distance_m: np.ndarray, decay_m: float = 36.0) -> np.ndarray:
    """Of a line of sight, TR 38.901, table 7.4.2-1, UMi street canyon."""
    near = np.minimum(18 / distance_m, 1)
    return near + np.exp(-distance_m / decay_m) * (1 - near)


def test_probability_of_a_line_of_sight_is_that_of_the_table():
    """3000 drops in five rings: Pearson's statistic at 1e-6. The state and the distance are Sionna's own; those
    of receivers at 2D distances of 10 m on."""
    drop = street().drop
    model = drop.model("single")
    with sionna_rng(3, CPU):
        model.set_topology(*drop.topology(3000, "single"), los="random")
    scenario = model._scenario
    seen, distance = scenario.los.flatten().numpy(), scenario.distance_2d.flatten().double().numpy()
    assert not bool(scenario.indoor.any())
    assert distance.min() > 9.99

    def statistic(decay_m: float) -> float:
        expected = street_probability(distance, decay_m)
        rings = np.digitize(distance, np.quantile(distance[distance > 18], [0.25, 0.5, 0.75]))
        rings[distance <= 18] = 9  # sure
        excess = [(seen - expected)[rings == ring].sum() for ring in range(4)]
        variance = [(expected * (1 - expected))[rings == ring].sum() for ring in range(4)]
        return float((np.square(excess) / variance).sum())

    assert bool(seen[distance <= 18].all())
    assert statistic(36.0) < chi2(4).isf(1e-6)
    assert statistic(63.0) > chi2(4).isf(1e-6)  # that of urban macro cells


def log_delay_spreads(count: int, mean: float, deviation: float) -> np.ndarray:
    """log10 of the RMS delay spread [s] of UMi drops without line of sight, steps 4 to 6 and 11 of TR 38.901,
    sec. 7.5, and table 7.5-6: drawn with plain NumPy, drop by drop."""
    rng = np.random.default_rng(7)
    num_clusters, scaling, shadowing_db, cluster_spread_s = 19, 2.1, 3.0, 11e-9
    found = []
    for _ in range(count):
        spread = 10 ** (mean + deviation * rng.standard_normal())
        delays = np.sort(-scaling * spread * np.log(rng.uniform(1e-6, 1, num_clusters)))
        delays -= delays[0]
        powers = np.exp(-delays * (scaling - 1) / (scaling * spread))
        powers *= 10 ** (-shadowing_db * rng.standard_normal(num_clusters) / 10)
        powers[powers < powers.max() * 10**-2.5] = 0
        rays = np.exp(2j * math.pi * rng.uniform(size=(num_clusters, 20))) * np.sqrt(powers / 20)[:, None]
        strong, weak = np.argsort(powers)[-2:], np.argsort(powers)[:-2]
        groups = [rays[strong, :10], rays[strong, 10:16], rays[strong, 16:], rays[weak]]
        late = np.array([0, 1.28, 2.56])[:, None] * cluster_spread_s
        at = np.concatenate([(delays[strong] + late).flatten(), delays[weak]])
        found.append(math.log10(rms_spread(at, np.concatenate([abs(g.sum(1)) ** 2 for g in groups]))))
    return np.array(found)


def test_delay_spread_of_streets_without_line_of_sight_is_that_of_the_table():
    """lg DS has the mean -0.22 lg(1 + f) - 6.87 and deviation 0.19 lg(1 + f) + 0.22 at f GHz; what a response
    shows is less, as its clusters are few and fade. 1000 drops against 4000 by NumPy: means to 5 sigma,
    deviations to 5 sigma of a normal law."""
    frequency = math.log10(1 + CARRIER_HZ / 1e9)
    mean, deviation = -0.22 * frequency - 6.87, 0.19 * frequency + 0.22
    gains, delays = draws(street("never"), 1000, chunk=500)
    powers = np.abs(gains[:, 0, 0, :, 0]) ** 2
    measured = np.array([math.log10(rms_spread(*row)) for row in zip(delays, powers, strict=True)])
    expected = log_delay_spreads(4000, mean, deviation)
    of_mean = 5 * measured.std() * math.sqrt(1 / 1000 + 1 / 4000)
    assert abs(measured.mean() - expected.mean()) < of_mean < 0.1
    assert abs(measured.std() / expected.std() - 1) < 5 * math.sqrt(0.5 / 1000 + 0.5 / 4000)
    assert abs(measured.mean() + 0.1 - expected.mean()) > of_mean


# --------------------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("kind", ["cdl", "cell"])
@pytest.mark.usefixtures("quick_normalisation")
def test_draws_of_two_instances_are_the_same_in_any_order(kind):
    """Bit by bit, at rest and moving, whatever was drawn before."""

    def make(speed: float) -> OfdmChannel:
        if kind == "cdl":
            model = cdl("E", speed, receiver=Panel(polarization="dual"))
        else:
            model = CellModel("umi", carrier_hz=CARRIER_HZ, speed_mps=speed)
        return OfdmChannel(model, num_subcarriers=12, pilots=Pilots((0,)), num_ofdm_symbols=3, csi="perfect")

    for speed in (0.0, 30.0):
        first = make(speed).draw(40, [4, 9, 2])
        other = make(speed)
        other.draw(40, [77])
        second = other.draw(40, [2, 4, 9])
        for name in ("h", "noise"):
            assert torch.equal(getattr(first, name)[[2, 0, 1]], getattr(second, name))
        assert not torch.equal(first.h[0], first.h[1])
        still = (first.h - first.h[..., :1, :]).abs().max()
        assert (float(still) == 0) == (speed == 0)
