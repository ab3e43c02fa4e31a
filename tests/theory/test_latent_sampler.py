"""The latent sampler against closed forms: for a Gaussian prior everything it does is linear.

Prior v ~ N(0, C) with unit variances, received y = v + n with a noise level per value: the LMMSE estimator gives
the posterior N(m, P). Values that were not sent have infinite noise.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from linksim.diffusion.latent_sampler import anneal, noised, reliability_of, sample

SIZE = 6
DTYPE = torch.float64


def prior() -> Tensor:
    """A covariance with unit variances and strong dependence."""
    gen = torch.Generator().manual_seed(4)
    root = torch.randn(SIZE, SIZE, generator=gen, dtype=DTYPE) + 0.5
    covariance = root @ root.T + 0.05 * torch.eye(SIZE, dtype=DTYPE)
    scale = covariance.diagonal().rsqrt()
    return covariance * scale[:, None] * scale[None]


PATTERNS = {
    "awgn": [0.7] * SIZE,
    "half unsent": [0.8, 0.8, 0.8, 0.0, 0.0, 0.0],
    "a fade": [0.9, 0.05, 0.9, 0.3, 0.6, 0.9],
    "nearly certain": [0.999, 0.2, 0.0, 0.5, 0.999, 0.7],
    "nothing": [0.0] * SIZE,
}


def estimate_matrix(level: Tensor, covariance: Tensor) -> Tensor:
    """A with E[v | u] = A u at reliabilities ``level`` [SIZE]: u = sqrt(r) v + sqrt(1 - r) n."""
    a = level.sqrt()
    of_u = a[:, None] * covariance * a[None] + torch.diag(1 - level)
    return covariance * a[None] @ torch.linalg.inv(of_u)


def posterior(level: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    matrix = estimate_matrix(level, covariance)
    return matrix, covariance - matrix @ torch.diag(level.sqrt()) @ covariance


def denoise(covariance: Tensor):
    def function(u: Tensor, r: Tensor) -> Tensor:
        matrix = estimate_matrix(r[0].flatten(), covariance)
        return (u.flatten(1) @ matrix.T).view_as(u)

    return function


def as_map(values: Tensor) -> Tensor:
    """[B, SIZE] as a map [B, c, h, w]."""
    return values.view(len(values), 2, 1, SIZE // 2)


def run(pattern: str, steps: int, eta: float, repeats: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples [repeats, SIZE] for one and the same u (but for values that were not sent), with mean and covariance
    of the posterior given what was sent.
    """
    covariance, level = prior(), torch.tensor(PATTERNS[pattern], dtype=DTYPE)
    gen = torch.Generator().manual_seed(5)
    u = torch.randn(SIZE, generator=gen, dtype=DTYPE).expand(repeats, SIZE).clone()
    unsent = level == 0
    u[:, unsent] = torch.randn(repeats, int(unsent.sum()), generator=gen, dtype=DTYPE)
    plan = anneal(as_map(level.expand(repeats, SIZE)), steps)

    def noise(_: int) -> Tensor:
        return as_map(torch.randn(repeats, SIZE, generator=gen, dtype=DTYPE))

    found = sample(denoise(covariance), as_map(u), plan, noise, eta).flatten(1)
    matrix, spread = posterior(level, covariance)
    return found, matrix @ u[0], spread, level


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", [1, 2, 4, 8, 30, 100])
def test_mean_is_that_of_the_lmmse_estimator_for_any_number_of_steps(pattern, steps):
    """20,000 samples: the mean of each value within 5 of its standard errors."""
    found, mean, spread, _ = run(pattern, steps, 1.0, 20000)
    error = 5 * (spread.diagonal() / len(found)).sqrt()
    assert bool(((found.mean(0) - mean).abs() <= error + 1e-9).all())


def sampled_covariance(level: Tensor, steps: int, eta: float, covariance: Tensor) -> Tensor:
    """Covariance of what the sampler returns, by its own recursion on matrices: written without its code."""
    spread = torch.diag((level == 0).to(DTYPE))
    plan = anneal(as_map(level[None]), steps)
    for now, then in zip(plan.levels, plan.levels[1:], strict=False):
        r, q = now.flatten(), then.flatten()
        added = eta**2 * (1 - q) * (1 - r / q) / (1 - r)
        toward = estimate_matrix(r, covariance)
        kept = ((1 - q - added) / (1 - r)).sqrt()
        step = torch.diag(q.sqrt()) @ toward + torch.diag(kept) @ (
            torch.eye(SIZE, dtype=DTYPE) - torch.diag(r.sqrt()) @ toward
        )
        spread = step @ spread @ step.T + torch.diag(added)
    return spread


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("steps", "eta"), [(1, 1.0), (3, 1.0), (8, 0.5), (20, 0.0), (100, 1.0)])
def test_covariance_is_the_closed_form_of_its_steps(pattern, steps, eta):
    """20,000 samples: each entry within 5 standard errors of a sample covariance (at most sqrt(2/N) of the
    variances)."""
    found, _, _, level = run(pattern, steps, eta, 20000)
    expected = sampled_covariance(level.clamp(max=1 - 1e-6), steps, eta, prior())
    got = torch.cov(found.T)
    scale = expected.diagonal().clamp_min(1e-12).sqrt()
    assert bool(((got - expected).abs() <= 5 * (2 / len(found)) ** 0.5 * scale[:, None] * scale + 1e-9).all())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_covariance_tends_to_the_posterior_of_the_lmmse_estimator(pattern):
    """By the closed form of the steps: off by at most 2% of a variance at 400 steps, and less with more steps."""
    level = torch.tensor(PATTERNS[pattern], dtype=DTYPE).clamp(max=1 - 1e-6)
    _, spread = posterior(level, prior())
    errors = [
        float((sampled_covariance(level, steps, 1.0, prior()) - spread).abs().max())
        for steps in (10, 100, 400)
    ]
    assert errors[2] < 0.02
    assert errors[0] > errors[1] > errors[2] or errors[0] < 1e-3


def test_probability_flow_has_the_prior_distribution_and_less_error():
    """Over pictures v ~ prior and their noise, by closed form: with eta = 0 the covariance of the result tends to the
    prior's, with a smaller squared error than samples of the posterior (twice the LMMSE error)."""
    covariance, level = prior(), torch.tensor(PATTERNS["awgn"], dtype=DTYPE)
    gen = torch.Generator().manual_seed(6)
    v = torch.randn(20000, SIZE, generator=gen, dtype=DTYPE) @ torch.linalg.cholesky(covariance).T
    noise = torch.randn(20000, SIZE, generator=gen, dtype=DTYPE)
    levels = as_map(level.expand(20000, SIZE))
    u = noised(as_map(v), levels, as_map(noise))
    found = sample(denoise(covariance), u, anneal(levels, 100)).flatten(1)
    assert float((torch.cov(found.T) - covariance).abs().max()) < 0.05
    error = float((found - v).square().mean())
    _, spread = posterior(level, covariance)
    assert error < 0.95 * 2 * float(spread.diagonal().mean())


def test_one_step_is_the_posterior_mean():
    found, mean, _, _ = run("a fade", 1, 0.0, 3)
    torch.testing.assert_close(found, mean.expand(3, SIZE))


def test_levels_rise_together_and_wait_for_the_worst():
    start = torch.tensor([[0.9, 0.2, 0.0]]).view(1, 3, 1, 1)
    plan = anneal(start, 8)
    assert plan.steps == 8
    stacked = torch.stack(plan.levels).flatten(1)
    assert bool((stacked.diff(dim=0) >= 0).all())
    assert stacked[0].tolist() == start.flatten().tolist()
    assert stacked[-1].tolist() == [1.0, 1.0, 1.0]
    waiting = stacked[:, 2] < 0.2
    assert bool((stacked[waiting][:, 1] == 0.2).all())
    alone = anneal(torch.full((1, 3, 1, 1), 0.5), 4).levels[1]
    assert float(alone.min()) > 0.5, "nothing below what arrived: no step is spent there"


def test_reliability_of_awgn_is_that_of_the_lmmse_weight():
    r = reliability_of(torch.tensor(0.5), torch.tensor([0.05, 0.5, float("inf")]))
    torch.testing.assert_close(r, torch.tensor([0.5 / 0.55, 0.5, 0.0]))


@pytest.mark.parametrize("mutation", ["wrong weight of the estimate", "noise left out"])
def test_a_wrong_step_is_caught(mutation):
    """The checks above fail for samplers that are wrong in one factor."""
    level = torch.tensor(PATTERNS["a fade"], dtype=DTYPE)
    covariance = prior()
    right = sampled_covariance(level, 8, 1.0, covariance)
    if mutation == "noise left out":
        found, _, _, _ = run("a fade", 8, 0.0, 20000)
        assert float((torch.cov(found.T) - right).abs().max()) > 0.1
        return
    gen = torch.Generator().manual_seed(7)
    u = torch.randn(SIZE, generator=gen, dtype=DTYPE).expand(4000, SIZE)
    plan = anneal(as_map(level.expand(4000, SIZE)), 8)
    wrong = denoise(1.3 * covariance)

    def noise(_: int) -> Tensor:
        return as_map(torch.randn(4000, SIZE, generator=gen, dtype=DTYPE))

    found = sample(wrong, as_map(u), plan, noise, 1.0).flatten(1)
    matrix, spread = posterior(level, covariance)
    error = 5 * (spread.diagonal() / len(found)).sqrt()
    assert not bool(((found.mean(0) - matrix @ u[0]).abs() <= error).all())
