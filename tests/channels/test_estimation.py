"""Our estimators against Sionna's blocks, and their error variances against the truth."""

from __future__ import annotations

import pytest
import torch

from channels.delay_models import TdlModel
from channels.estimation import LmmseEstimator, LsEstimator
from channels.seeding import sionna_rng

from sionna.phy.channel import GenerateOFDMChannel
from sionna.phy.ofdm import LMMSEChannelEstimator, LSChannelEstimator, ResourceGrid

GRIDS = {
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


@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("name", GRIDS)
def test_ls_equals_sionna(name, interpolation, model):
    grid, no = make_grid(name), torch.tensor([0.1, 0.02, 0.5], dtype=torch.float64)
    y, _ = received(grid, model, 3, 0.1)
    kind = {"linear": "lin", "nearest": "nn"}[interpolation]
    reference = LSChannelEstimator(grid, interpolation_type=kind, precision="double", device="cpu")
    h, err = reference(y[:, None, None], no)
    ours, our_err = LsEstimator(grid, interpolation, precision="double")(y, no)
    torch.testing.assert_close(ours, h[:, 0, 0, 0, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(our_err, err[:, 0, 0, 0, 0], rtol=1e-6, atol=1e-9)


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
    h, err = reference(y[:, None, None], variance)
    ours, our_err = LmmseEstimator(grid, time, frequency, precision="double")(y, variance)
    torch.testing.assert_close(ours, h[:, 0, 0, 0, 0], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(our_err, err[:, 0, 0, 0, 0], rtol=1e-5, atol=1e-9)


def test_lmmse_error_is_what_it_reports_and_below_ls(model):
    """400 slots of 308 elements; slots are independent, elements are not: 4 / sqrt(400) relative."""
    grid, no = make_grid("plain"), 0.2
    y, h = received(grid, model, 400, no)
    variance = torch.full((400,), no, dtype=torch.float64)
    time = model.time_covariance(14, grid.ofdm_symbol_duration)
    lmmse, reported = LmmseEstimator(grid, time, model.frequency_covariance(24, 15e3), precision="double")(
        y, variance
    )
    ls, _ = LsEstimator(grid, precision="double")(y, variance)
    error = float((lmmse - h).abs().square().mean())
    assert error == pytest.approx(float(reported.mean()), rel=4 / 400**0.5)
    assert error < 0.5 * float((ls - h).abs().square().mean())
