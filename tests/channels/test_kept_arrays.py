"""Statistics that are kept between processes: the same bits, and no harm from files that are not whole."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from channels.models import cdl, cell
from channels.models.cdl import CdlModel
from channels.models.cell import CellModel
from channels.models.panel import Panel
from channels.models.rough import rough_statistics
from channels.runtime.kept_arrays import kept_arrays

SOURCE = Path(__file__)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kind"


class Counted:
    """Arrays and how often they were computed."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.times += 1
        rng = np.random.default_rng(1)
        return {"a": rng.normal(size=(3, 4)).astype(np.complex64), "b": np.asarray(0.1)}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[k].dtype == v.dtype and found[k].tobytes() == v.tobytes() for k, v in expected.items()
    )


def test_computed_once_for_the_same_arguments_and_source(cache, tmp_path):
    compute = Counted()
    first = kept_arrays("kind", [SOURCE], ("C", 1e-7), compute)
    assert same(kept_arrays("kind", [SOURCE], ("C", 1e-7), compute), first)
    assert compute.times == 1
    kept_arrays("kind", [SOURCE], ("C", 2e-7), compute)
    other = tmp_path / "source.py"
    other.write_text("another version")
    kept_arrays("kind", [other], ("C", 1e-7), compute)
    assert compute.times == 3
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"PK", b"no archive", None])
def test_damaged_files_are_made_again(cache, damage):
    compute = Counted()
    first = kept_arrays("kind", [SOURCE], (), compute)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert same(kept_arrays("kind", [SOURCE], (), compute), first)
    assert compute.times == 2
    assert path.read_bytes() == whole


def test_large_ones_and_those_without_a_place_are_not_kept(cache, monkeypatch):
    compute = Counted()
    monkeypatch.setattr("channels.runtime.kept_arrays._LARGEST", 8)
    kept_arrays("kind", [SOURCE], (), compute)
    assert not cache.exists()
    monkeypatch.undo()
    monkeypatch.setenv("LINKSIM_CACHE", "/dev/null/no")
    assert kept_arrays("kind", [SOURCE], (), compute).keys() == {"a", "b"}
    assert compute.times == 2


def test_a_model_from_kept_statistics_draws_the_same_bits(cache, monkeypatch):
    """Its first and its second making, in place of two processes; nothing is measured for the second."""
    monkeypatch.setattr(cdl, "_CDL_DRAWS", 50)

    def made() -> CdlModel:
        cdl.cdl_statistics.cache_clear()
        return CdlModel("C", delay_spread_s=1e-7, carrier_hz=3.5e9, speed_mps=3.0, receiver=Panel(columns=2))

    first = made()
    monkeypatch.setattr(cdl, "measure_statistics", None)
    second = made()
    assert first.mean_power == second.mean_power
    assert torch.equal(first.spatial_covariance(), second.spatial_covariance())
    assert torch.equal(first.frequency_covariance(12, 15e3), second.frequency_covariance(12, 15e3))
    assert torch.equal(first.time_covariance(14, 7e-5), second.time_covariance(14, 7e-5))
    assert not second.spatial_covariance().is_inference()
    cdl.cdl_statistics.cache_clear()  # few draws: not for other tests


def test_rough_statistics_are_not_kept_and_are_no_others(cache):
    """A check before a run: the model of the run is that of a run without a check, and what a run has measured
    is what a check then takes.
    """
    cdl.cdl_statistics.cache_clear()
    arguments = {"delay_spread_s": 1e-7, "carrier_hz": 3.5e9, "speed_mps": 3.0}
    with rough_statistics():
        rough = CdlModel("D", **arguments)
    kept = cache.parent / "channel-statistics"
    assert not kept.exists()
    exact = CdlModel("D", **arguments)
    assert len(list(kept.iterdir())) == 1
    assert rough.mean_power == pytest.approx(exact.mean_power, rel=0.1)
    assert rough.mean_power != exact.mean_power
    cdl.cdl_statistics.cache_clear()
    with rough_statistics():
        assert CdlModel("D", **arguments).mean_power == exact.mean_power
    cdl.cdl_statistics.cache_clear()


def test_the_mean_gain_of_a_cell_with_path_loss_is_never_rough(cache, monkeypatch):
    """The SNR of a link budget follows from it. 20 chunks of drops in place of 200: not for other tests."""
    monkeypatch.setattr(cell, "_LARGE_SCALE_CHUNKS", 20)
    monkeypatch.setattr(cell, "_CELL_DRAWS", 50)
    monkeypatch.setattr(cell, "_ANTENNA_DRAWS", 2000)
    clear = cell.cell_statistics.cache_clear, cell.drop_power.cache_clear
    for lost in (True, False):
        models = []
        for manager in (rough_statistics(), nullcontext()):
            for forget in clear:
                forget()
            with manager:
                models.append(CellModel("umi", carrier_hz=3.5e9, path_loss=lost, shadowing=True))
        assert (models[0].mean_power == models[1].mean_power) == lost
    for forget in clear:
        forget()
