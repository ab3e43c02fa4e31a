"""Transmit power, path loss and noise figure against TR 38.901 and thermal noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from channels.link_budget import LinkBudget
from channels.models.cell import CellModel
from channels.models.tdl import TdlModel
from channels.ofdm.link import OfdmChannel
from channels.runtime.sionna_seeding import sionna_rng

CPU = torch.device("cpu")
CARRIER_HZ = 3.5e9


def test_thermal_noise_is_minus_174_dbm_per_hertz():
    assert LinkBudget(0.0, noise_figure_db=0.0).noise_power_dbm(1.0) == pytest.approx(-173.98, abs=0.01)
    cold = LinkBudget(0.0, noise_figure_db=3.0, temperature_k=100.0)  # 100 K and 289 K of the receiver's own
    assert cold.noise_power_dbm(1e6) == pytest.approx(-112.7, abs=0.05)
    assert LinkBudget(0.0, noise_figure_db=5.0).noise_power_dbm(1e6) == pytest.approx(-108.98, abs=0.01)


def test_snr_of_a_link_by_hand():
    """30 dBm over 12 subcarriers of 15 kHz: 19.2 dBm each; 110 dB of loss; -174 + 41.8 + 9 = -123.2 dBm noise."""
    assert LinkBudget(30.0, noise_figure_db=9.0).snr_db(-110.0, 12 * 15e3) == pytest.approx(32.4, abs=0.1)


@pytest.mark.parametrize(
    "wrong", [{"transmit_power_dbm": 200.0}, {"noise_figure_db": -1.0}, {"temperature_k": 0.0}]
)
def test_budget_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: out of range"):
        LinkBudget(**{"transmit_power_dbm": 0.0, **wrong})


def _drops(count: int, path_loss: bool) -> tuple[np.ndarray, np.ndarray]:
    """Power of drops in an urban micro cell with line of sight, and their distances [m]."""
    model = CellModel(
        "umi", carrier_hz=CARRIER_HZ, indoor_share=0.0, line_of_sight="always", path_loss=path_loss
    )
    drop = model.drop
    sionna = drop.model("single")
    with sionna_rng(11, CPU):
        gains, _ = drop.draw(sionna, count, 1, 1.0, "single")
    power = gains.abs().square().double().sum((1, 2, 3, 4, 5, 6)).numpy()
    return power, sionna._scenario.distance_3d.flatten().double().numpy()


def test_drops_lose_the_path_loss_of_the_table():
    """100 drops, the same with and without path loss: each loses that of TR 38.901 table 7.4.1-1, UMi line of
    sight before the breakpoint, and no other.
    """
    power, distance_m = _drops(100, True)
    plain, same_m = _drops(100, False)
    assert np.array_equal(distance_m, same_m)
    assert distance_m.max() < 4 * 9.0 * 0.5 * CARRIER_HZ / 3e8 + 20  # the breakpoint
    loss_db = 32.4 + 21 * np.log10(distance_m) + 20 * math.log10(CARRIER_HZ / 1e9)
    np.testing.assert_allclose(10 * np.log10(plain / power), loss_db, rtol=0, atol=1e-3)


def test_instantaneous_snr_is_that_of_the_frame():
    """Mean power of the gains over frame and antennas, exactly; over 400 draws it averages to ``snr_db``, 5
    sigma."""
    model = TdlModel("A", delay_spread_s=30e-9, carrier_hz=CARRIER_HZ, num_rx_antennas=2)
    told = OfdmChannel(model, num_subcarriers=16, csi="perfect")
    draw = told.draw(100, range(400))
    snr_db = torch.full((400,), 7.0)
    heard = told.instantaneous_snr_db(draw, snr_db)
    power = draw.h.abs().square().flatten(1).mean(1)
    torch.testing.assert_close(heard, snr_db + 10 * torch.log10(power), rtol=0, atol=1e-4)
    linear = 10 ** (heard.double() / 10) / 10**0.7
    assert abs(float(linear.mean()) - 1) < 5 * float(linear.std()) / 20 < 0.25
    assert float(heard.std()) > 1.0


def test_mean_power_of_drops_is_that_of_all_of_them():
    """5,000 drops of an urban macro cell, most of whose mean power comes from a few: 0 dB within three of their
    standard deviations, 0.55 dB each. The mean of 500 drops was 3.7 dB off."""
    model = CellModel("uma", carrier_hz=3.5e9, path_loss=True)
    powers = []
    for seed in range(50):
        with sionna_rng(seed, torch.device("cpu")):
            gains, _ = model(100, 1, 1.0)
        powers.append(gains.abs().square().double().sum(5).mean((1, 2, 3, 4, 5)))
    power = torch.cat(powers)
    deviation = float(power.std() / len(power) ** 0.5)
    assert deviation < 0.2
    assert abs(float(power.mean()) - 1) < 3 * deviation
