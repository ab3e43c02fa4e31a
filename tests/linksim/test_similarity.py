"""Similarity measures of piq and flip-evaluator against their papers written down in NumPy."""

from __future__ import annotations

import sys

import piq
import pytest
import torch

from linksim.kinds import find
from linksim.metrics.base import ImageMetric, MetricUnavailable
from linksim.metrics.similarity import PIQ_METRICS, Flip
from tests.linksim import similarity_references
from tests.linksim.pictures import blurred, compressed, ladders, noisy, photograph

pytest.importorskip("flip_evaluator", reason="needs linksim-wireless[realism]")

X = photograph(height=96, width=128)
MEASURES = (*PIQ_METRICS, "flip")
DAMAGED = {"blur": blurred(X, 1.0), "noise": noisy(X, 0.05), "jpeg": compressed(X, 15)}


def measure(name: str) -> ImageMetric:
    return find("metric", name).make()


def numpy(x: torch.Tensor):
    return x[0].permute(1, 2, 0).double().numpy() * 255


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("name", MEASURES)
def test_similarity_equals_its_paper(name, damage):
    """VIF and FLIP run in float32, hence their tolerance; the constants of FSIM's YIQ have four digits in piq."""
    expected = getattr(similarity_references, name)(numpy(DAMAGED[damage]), numpy(X))
    value = float(measure(name)(DAMAGED[damage], X))
    assert value == pytest.approx(expected, rel=1e-9 if name in ("haarpsi", "gmsd") else 1e-4)


@pytest.mark.parametrize("size", [(96, 128), (95, 128), (96, 127), (16, 17), (31, 16)])
def test_haarpsi_is_that_of_piq_at_odd_sides_too(size):
    damaged, original = (x[..., : size[0], : size[1]].double() for x in (DAMAGED["noise"], X))
    assert original.shape[-2:] == size
    expected = piq.haarpsi(damaged, original, reduction="none")
    assert measure("haarpsi")(damaged, original).tolist() == pytest.approx(expected.tolist(), rel=1e-12)


@pytest.mark.parametrize("name", ["haarpsi", "vif", "fsim", "flip"])
def test_another_constant_is_noticed(name, monkeypatch):
    """The same comparison fails with values that are off by what a wrong scale of the pictures makes."""
    value = float(measure(name)(DAMAGED["noise"], X))
    expected = getattr(similarity_references, name)(numpy(DAMAGED["noise"]) / 255, numpy(X) / 255)
    assert abs(value - expected) > 0.01 * expected


@pytest.mark.parametrize("name", MEASURES)
def test_similarity_falls_with_every_damage(name):
    metric = measure(name)
    x = photograph(height=128, width=160)
    best = 1.0 if metric.info.higher_is_better else 0.0
    assert float(metric(x, x)) == pytest.approx(best, abs=1e-5)
    for kind, versions in ladders(x).items():
        values = [float(metric(v, x)) for v in versions]
        worse = sorted(values, reverse=bool(metric.info.higher_is_better))
        assert values == worse, (kind, values)
        assert len(set(values)) == 3


@pytest.mark.parametrize("name", MEASURES)
def test_similarity_is_finite_for_a_failed_frame_and_per_image(name):
    metric = measure(name)
    grey = torch.full_like(X, 128 / 255)
    batch, originals = torch.cat([grey, DAMAGED["blur"]]), torch.cat([X, X])
    values = metric(batch, originals)
    assert values.shape == (2,)
    assert values.dtype == torch.float64
    assert bool(torch.isfinite(values).all())
    assert float(metric(DAMAGED["blur"], X)) == float(values[1])
    assert bool(torch.isfinite(metric(X, grey)).all())


@pytest.mark.parametrize("name", MEASURES)
def test_smallest_side_is_the_one_said(name):
    metric = measure(name)
    side = metric.info.min_side
    assert bool(torch.isfinite(metric(X[..., :side, :side], X[..., :side, :side])).all())
    with pytest.raises(ValueError, match=f"{name}: image too small"):
        metric(X[..., : side - 1, :], X[..., : side - 1, :])
    with pytest.raises(ValueError, match=f"{name}: wrong shape"):
        metric(X[..., :50, :50], X)


def test_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    with pytest.raises(
        MetricUnavailable,
        match=r"flip: flip-evaluator is not installed .* Install it: pip install 'linksim-wireless\[realism\]\'",
    ):
        Flip()
