"""Our estimators against Sionna's blocks, and their error variances against the truth."""

from __future__ import annotations

import pytest
import torch

from channels.models.tdl import TdlModel
from channels.ofdm.estimators.base import Moments, Statistics
from channels.ofdm.estimators.lmmse import LmmseEstimator
from channels.ofdm.estimators.ls import LsEstimator
from channels.ofdm.estimators.pilot_measurements import PilotElements
from channels.ofdm.grid import Pilots, SlotGrid
from channels.ofdm.interference import interference_power
from channels.ofdm.link import OfdmChannel
from channels.runtime.sionna_seeding import sionna_rng

from sionna.phy.channel import GenerateOFDMChannel
from sionna.phy.ofdm import LMMSEChannelEstimator, LSChannelEstimator, ResourceGrid

GRIDS = {
    "four": {"pilot_ofdm_symbol_indices": [2, 5, 8, 11]},
    "plain": {"pilot_ofdm_symbol_indices": [2, 11]},
    "guards": {"pilot_ofdm_symbol_indices": [1, 6, 12], "num_guard_carriers": (3, 2), "dc_null": True},
    "one-pilot-symbol": {"pilot_ofdm_symbol_indices": [3]},
}


def make_grid(name: str, precision: str = "double") -> ResourceGrid:
    return ResourceGrid(
        14, 24, 15e3, pilot_pattern="kronecker", precision=precision, device="cpu", **GRIDS[name]
    )


def received(grid: ResourceGrid, model: TdlModel, slots: int, no: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy grid with pilots only, and the true gains on used subcarriers."""
    generate = GenerateOFDMChannel(model, grid, precision="double", device="cpu")
    with sionna_rng(5, torch.device("cpu")):
        h = generate(slots)[:, 0, 0, 0, 0]
    used = torch.as_tensor(grid.effective_subcarrier_ind).long()
    mask = grid.pilot_pattern.mask[0, 0].bool()
    x = torch.zeros(14, len(used), dtype=torch.complex128)
    x[mask] = grid.pilot_pattern.pilots.flatten().to(torch.complex128)
    full = torch.zeros(14, 24, dtype=torch.complex128)
    full[:, used] = x
    noise = torch.randn(h.shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex128)
    return h * full + no**0.5 * noise, h[:, :, used]


@pytest.fixture(scope="module")
def model() -> TdlModel:
    return TdlModel("C", delay_spread_s=300e-9, carrier_hz=3.5e9, speed_mps=20.0, precision="double")


def statistics(grid: ResourceGrid, model: TdlModel) -> list[Statistics]:
    time = model.time_covariance(14, grid.ofdm_symbol_duration)
    return [Statistics(time, model.frequency_covariance(24, 15e3))]


@pytest.mark.parametrize("count", [24, 25])
def test_two_streams_under_a_cover_code_are_estimated_jointly(model, count):
    """One pilot symbol: E[h|ĥ] of our filter is the Wiener estimate of both gains from the sum that is received,
    made here with one matrix over both streams; and its error is that of the same matrix."""
    no, positions = 0.02, torch.arange(0, count, 2)
    grid = SlotGrid(
        num_subcarriers=count, subcarrier_spacing_hz=15e3, num_ofdm_symbols=14,
        pilots=Pilots((3,), 2, ports=(0, 1)), num_streams=2, estimated=True, device=torch.device("cpu"),
        precision="double",
    )  # fmt: skip
    r = model.frequency_covariance(count, 15e3)
    x = grid.known[:, 3, positions]  # [2, P]
    seen = sum(x[i][:, None] * r[positions][:, positions] * x[i].conj() for i in range(2))
    seen = seen + no * torch.eye(len(positions))
    gen = torch.Generator().manual_seed(1)
    y = torch.zeros(1, 1, 1, 14, count, dtype=torch.complex128)
    y[..., 3, positions] = torch.randn(len(positions), generator=gen, dtype=torch.complex128)
    for stream in range(2):
        cross = r[:, positions] * x[stream].conj()
        wiener = cross @ torch.linalg.inv(seen)
        pilots = PilotElements(grid.streams[stream], cover=grid.cover(stream), precision="double")
        still = Statistics(torch.ones(14, 14, dtype=torch.complex128), r)
        estimator = LmmseEstimator(grid.streams[stream], [still], pilots)
        h_hat, moments = estimator.estimate(y, torch.tensor([[no]], dtype=torch.float64), 1.0, 0)
        mean, variance = moments.posterior(h_hat)
        assert (mean[0, 0, 0, 3] - wiener @ y[0, 0, 0, 3, positions]).abs().max() < 1e-7
        error = 1 - (wiener * cross.conj()).sum(1).real
        assert (variance[0, 0, 0, 3] - error).abs().max() < 1e-7


def ls_estimator(grid: ResourceGrid, model: TdlModel, interpolation: str = "linear") -> LsEstimator:
    return LsEstimator(grid, statistics(grid, model), PilotElements(grid, precision="double"), interpolation)


def lmmse_estimator(grid: ResourceGrid, model: TdlModel) -> LmmseEstimator:
    return LmmseEstimator(grid, statistics(grid, model), PilotElements(grid, precision="double"))


def estimated(
    estimator: LsEstimator | LmmseEstimator, y: torch.Tensor, no: float
) -> tuple[torch.Tensor, Moments]:
    """Of slots [slots, T, F] as images: estimates [slots, T, F_used], and their moments [T, F_used]."""
    h_hat, moments = estimator.estimate(y[:, None, None], torch.full((len(y), 1), no).double(), 1.0)
    return h_hat[:, 0, 0], Moments(*(value[0, 0, 0] for value in moments._fields))


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("name", GRIDS)
def test_ls_equals_sionna(name, interpolation, model):
    grid, no = make_grid(name), torch.tensor([0.1, 0.02, 0.5], dtype=torch.float64)
    y, _ = received(grid, model, 3, 0.1)
    kind = {"linear": "lin", "nearest": "nn"}[interpolation]
    reference = LSChannelEstimator(grid, interpolation_type=kind, precision="double", device="cpu")
    h, _ = reference(y[:, None, None], no)
    ours = ls_estimator(grid, model, interpolation)(y)
    torch.testing.assert_close(ours, h[:, 0, 0, 0, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("speed", [0.0, 30.0, 140.0])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("name", GRIDS)
def test_what_ls_says_of_the_gain_is_off_by_what_it_reports(name, interpolation, speed):
    """800 slots per OFDM symbol and 24 subcarriers of them; slots are independent, and |error|² of a sum of
    Gaussians has its mean as standard deviation: 5 / sqrt(800) relative at the very worst, elements of a
    symbol being fully dependent. What Sionna reports instead is far too small at 140 m/s.
    """
    model = TdlModel("C", delay_spread_s=300e-9, carrier_hz=3.5e9, speed_mps=speed, precision="double")
    grid, no = make_grid(name), 0.01
    y, h = received(grid, model, 800, no)
    h_hat, moments = estimated(ls_estimator(grid, model, interpolation), y, no)
    estimate, reported = moments.posterior(h_hat)
    error = (estimate - h).abs().square().mean((0, 2))
    torch.testing.assert_close(error, reported.mean(1), rtol=5 / 800**0.5, atol=0.0)
    if speed == 140.0:
        kind = {"linear": "lin", "nearest": "nn"}[interpolation]
        sionna = LSChannelEstimator(grid, interpolation_type=kind, precision="double", device="cpu")
        _, flat = sionna(y[:, None, None], torch.full((800,), no).double())
        assert float(error.max()) > 2 * float(flat.max())


@pytest.mark.parametrize("kind", [ls_estimator, lmmse_estimator])
@pytest.mark.parametrize("no", [3.0, 0.3])
def test_the_mean_of_the_gain_given_its_estimate_is_orthogonal_to_the_error(kind, no, model):
    """E[(h - cĥ)ĥ*] = 0 over 1200 slots: products of Gaussians of variances V and Q deviate by sqrt(VQ/N). Of the
    plain least-squares estimate the product is E|e|² off, more than thirty times that."""
    grid = make_grid("plain")
    y, h = received(grid, model, 1200, no)
    h_hat, moments = estimated(kind(grid, model), y, no)
    estimate, variance = moments.posterior(h_hat)
    limit = 5 * (variance * moments.power / 1200).sqrt()
    assert bool((((h - estimate) * h_hat.conj()).mean(0).abs() < limit).all())
    assert float((estimate - h).abs().square().mean() / variance.mean()) == pytest.approx(
        1, rel=5 / 1200**0.5
    )
    if kind is ls_estimator and no == 3.0:
        off = ((h - h_hat) * h_hat.conj()).mean(0).abs()
        assert float((off / (limit / 5)).min()) > 10


@pytest.mark.parametrize("no", [0.5, 0.05, 1e-3])
@pytest.mark.parametrize("name", GRIDS)
def test_lmmse_equals_sionna(name, no, model):
    grid = make_grid(name)
    y, _ = received(grid, model, 2, no)
    time = model.time_covariance(14, grid.ofdm_symbol_duration)
    frequency = model.frequency_covariance(24, 15e3)
    used = torch.as_tensor(grid.effective_subcarrier_ind).long()
    reference = LMMSEChannelEstimator(
        grid, time, frequency[used][:, used], order="f-t", precision="double", device="cpu"
    )
    variance = torch.full((2,), no, dtype=torch.float64)
    h, _ = reference(y[:, None, None], variance)
    ours, _ = lmmse_estimator(grid, model)(y, variance[0])
    torch.testing.assert_close(ours, h[:, 0, 0, 0, 0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("no", [1.0, 0.01])
@pytest.mark.parametrize("speed", [0.0, 60.0])
def test_lmmse_error_is_what_it_reports_where_sionnas_is_not(speed, no):
    """TDL-C with 1 us, four pilot symbols: mean over 1200 slots within 5 sigma of their spread. At rest and with
    much noise the variance that Sionna reports is off by more than a fifth."""
    model = TdlModel("C", delay_spread_s=1e-6, carrier_hz=3.5e9, speed_mps=speed, precision="double")
    grid = make_grid("four")
    y, h = received(grid, model, 1200, no)
    time = model.time_covariance(14, grid.ofdm_symbol_duration)
    frequency = model.frequency_covariance(24, 15e3)
    variance = torch.full((1200,), no, dtype=torch.float64)
    h_hat, moments = estimated(lmmse_estimator(grid, model), y, no)
    estimate, reported = moments.posterior(h_hat)
    error = (estimate - h).abs().square().mean((1, 2))
    tolerance = 5 * float(error.std()) / 1200**0.5
    assert abs(float(error.mean() - reported.mean())) < tolerance < 0.15 * float(error.mean())
    if speed == 0.0 and no == 1.0:
        used = torch.as_tensor(grid.effective_subcarrier_ind).long()
        sionna = LMMSEChannelEstimator(
            grid, time, frequency[used][:, used], order="f-t", precision="double", device="cpu"
        )
        claimed = float(sionna(y[:1, None, None], variance[:1])[1].mean())
        assert abs(claimed / float(error.mean()) - 1) > 0.2


def test_lmmse_error_is_what_it_reports_and_below_ls(model):
    """400 slots of 308 elements; slots are independent, elements are not: 4 / sqrt(400) relative."""
    grid, no = make_grid("plain"), 0.2
    y, h = received(grid, model, 400, no)
    h_hat, moments = estimated(lmmse_estimator(grid, model), y, no)
    lmmse, reported = moments.posterior(h_hat)
    error = float((lmmse - h).abs().square().mean())
    assert error == pytest.approx(float(reported.mean()), rel=4 / 400**0.5)
    h_hat, moments = estimated(ls_estimator(grid, model), y, no)
    assert error < 0.6 * float((moments.posterior(h_hat)[0] - h).abs().square().mean())


def test_lmmse_of_a_flat_channel_on_many_subcarriers():
    """Rank-one covariance, hardly any noise: single precision cannot factor it."""
    model = TdlModel("A", delay_spread_s=0.0, carrier_hz=3.5e9)
    channel = OfdmChannel(model, num_subcarriers=600, csi="lmmse")
    x = torch.ones(1, 600, dtype=torch.complex64)
    received = channel(x, torch.tensor([60.0]), seeds=[1])
    h = channel.gain(channel.draw(600, [1]), torch.ones(1, 1))
    assert float((received.csi.h - h).abs().square().mean()) < 1e-6


def test_doppler_interference_is_that_of_the_impulse_responses():
    """Power of a subcarrier that leaves it: what is not the mean gain over the symbol. 3,000 draws of TDL-A
    at f_d T = 0.109; the share per draw has a standard deviation below twice its mean.
    """
    speed, symbol_s, num = 140.0, 1 / 15e3, 3000
    model = TdlModel("A", delay_spread_s=100e-9, carrier_hz=3.5e9, speed_mps=speed, precision="double")
    with sionna_rng(3, torch.device("cpu")):
        gains, _ = model(num, 64, 64 / symbol_s)
    gains = gains[:, 0, 0, 0, 0]
    spilled = (gains.abs().square().mean(-1) - gains.mean(-1).abs().square()).sum(-1)
    expected = interference_power(model, symbol_s, 1.0)
    assert float(spilled.mean()) == pytest.approx(expected, rel=8 / num**0.5)
    doppler = speed / 299792458.0 * 3.5e9
    assert expected == pytest.approx((2 * torch.pi * doppler * symbol_s) ** 2 / 24, rel=0.05)
    still = TdlModel("A", delay_spread_s=100e-9, carrier_hz=3.5e9)
    assert interference_power(still, symbol_s, 1.0) == pytest.approx(0.0, abs=1e-12)


def test_interference_of_late_paths_is_that_of_the_waveform():
    """One path behind the prefix, random QPSK on 64 subcarriers: power of the received symbol beside the
    part along the sent one. 4,000 symbols of 64 subcarriers.
    """
    size, prefix, delay, num = 64, 5, 21, 4000
    gen = torch.Generator().manual_seed(7)
    x = torch.exp(0.5j * torch.pi * torch.randint(0, 4, (num, size), generator=gen).double())
    time = torch.fft.ifft(x, norm="ortho")
    sent = torch.cat([time[:, -prefix:], time], dim=1).flatten()
    arrived = torch.roll(sent, delay).view(num, size + prefix)[1:, prefix:]
    y = torch.fft.fft(arrived, norm="ortho")
    useful = (y * x[1:].conj()).mean(0).abs().square().mean()

    class OnePath:
        delays_s, mean_powers = torch.tensor([delay / size]), torch.tensor([1.0])

        def time_covariance(self, num_symbols, symbol_s):
            return torch.ones(num_symbols, num_symbols, dtype=torch.complex128)

    expected = interference_power(OnePath(), 1.0, prefix / size)
    assert expected == pytest.approx(1 - 0.75**2)
    assert 1 - float(useful) == pytest.approx(expected, abs=5 / num**0.5)
