"""Samplers against a distribution whose noise predictor is known in closed form.

Latents z0 ~ N(m, C) with a diagonal C that differs from position to position. At time t, z_t = sqrt(a)·z0 +
sqrt(1-a)·e is normal, and E[e | z_t] = sqrt(1-a)·(z_t - sqrt(a)·m)/(a·C + 1 - a). A sampler that follows the
process must end in N(m, C).
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from channels.seeding import real_normal
from linksim.diffusion.sampler import Guidance, Schedule, ancestral_times, ddim_times, sample

NUM_SAMPLES = 4000
SHAPE = (2, 4, 4)
MEAN = real_normal(SHAPE, 1)
VARIANCE = 0.05 + real_normal(SHAPE, 2).square()
SCHEDULE = Schedule()


def predict(z: torch.Tensor, t: int) -> torch.Tensor:
    a = SCHEDULE.alphas_cumprod[t].float()
    return (1 - a).sqrt() * (z - a.sqrt() * MEAN) / (a * VARIANCE + 1 - a)


def noise(step: int) -> torch.Tensor:
    return real_normal((NUM_SAMPLES, *SHAPE), 1000 + step)


def first() -> torch.Tensor:
    """z_T of the process itself: the schedule leaves it with 0.068·m, which pure noise has not."""
    a = SCHEDULE.alphas_cumprod[-1].float()
    return a.sqrt() * (MEAN + VARIANCE.sqrt() * noise(-3)) + (1 - a).sqrt() * noise(-2)


def moments(kind: str, steps: int, **keywords) -> tuple[float, float]:
    """Largest standardised error of the mean, and of the variance, over the 32 positions."""
    z = sample(kind, predict, SCHEDULE, steps, first(), noise, **keywords)
    mean_error = (z.mean(0) - MEAN).abs() / (VARIANCE / NUM_SAMPLES).sqrt()
    variance_error = (z.var(0) / VARIANCE - 1).abs() / (2 / NUM_SAMPLES) ** 0.5
    return float(mean_error.max()), float(variance_error.max())


# Steps after which the bias of the discretisation is below the noise of 4,000 samples.
ENOUGH = {"ancestral": 500, "ddim": 200, "dpmsolver++": 40, "unipc": 40}


@pytest.mark.parametrize("kind", ENOUGH)
def test_sampler_ends_in_the_distribution(kind):
    """4,000 samples at 32 positions: 4.5 sigma for chance, and one for what discretisation leaves."""
    mean_error, variance_error = moments(kind, ENOUGH[kind])
    assert mean_error < 5.5
    assert variance_error < 5.5


@pytest.mark.parametrize("kind", ENOUGH)
def test_error_falls_with_the_number_of_steps(kind):
    few, more = moments(kind, 5)[1], moments(kind, ENOUGH[kind])[1]
    assert few > 2 * more


@pytest.mark.parametrize("change", ["noise", "predictor"])
def test_check_fails_when_the_effect_is_removed(change, monkeypatch):
    """Ancestral sampling without its noise loses variance; a predictor of another variance is noticed."""
    if change == "noise":
        z = sample(
            "ancestral", predict, SCHEDULE, 500, noise(-2), lambda step: torch.zeros(NUM_SAMPLES, *SHAPE)
        )
        assert float((z.var(0) / VARIANCE).max()) < 0.5
    else:
        monkeypatch.setitem(globals(), "VARIANCE", 1.5 * VARIANCE)
        z = sample("ddim", predict, SCHEDULE, 200, noise(-2), noise)
        monkeypatch.undo()
        assert float(((z.var(0) / VARIANCE - 1).abs() / (2 / NUM_SAMPLES) ** 0.5).max()) > 10


@pytest.mark.parametrize("steps", [7, 10, 30, 50, 61, 150, 400])
def test_mean_of_ddim_is_right_with_few_and_odd_steps(steps):
    """A sampler that tells the network another level than its latent has is off by 0.05 at 10 steps; chance
    leaves 4 / sqrt(4,000) = 0.06 of a deviation of at most 0.3 at the positions of low variance.
    """
    z = sample("ddim", predict, SCHEDULE, steps, first(), noise)
    assert float((z.mean(0) - MEAN)[VARIANCE < 0.1].abs().max()) < 0.02
    if steps >= 50:
        assert float((z.var(0) / VARIANCE).min()) > 0.6


@pytest.mark.parametrize("kind", ENOUGH)
@pytest.mark.parametrize("strength", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("steps", [1, 3, 7, 10, 61])
def test_all_steps_lie_within_the_strength(kind, strength, steps):
    """What the network sees at its first call is the start with the noise of that very time: 4,000 samples."""
    seen = []

    def watch(z, t):
        seen.append((t, float(z.var(0).mean())))
        return predict(z, t)

    start = torch.zeros(NUM_SAMPLES, *SHAPE)
    sample(kind, watch, SCHEDULE, steps, start, noise, strength=strength)
    assert len(seen) == steps
    assert max(t for t, _ in seen) <= strength * 999 + 0.5
    first_time, variance = seen[0]
    assert first_time > strength * 999 - 2
    near = SCHEDULE.alphas_cumprod[[max(0, first_time - 1), min(999, first_time + 1)]]
    low, high = (1 - near).tolist()
    assert low - 0.02 < variance < high + 0.02


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_ddim_equals_diffusers_where_the_steps_divide(steps):
    from diffusers import DDIMScheduler

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    theirs = DDIMScheduler(**betas, clip_sample=False, timestep_spacing="trailing")
    theirs.set_timesteps(steps)
    z = first()[:20]
    for t in theirs.timesteps:
        z = theirs.step(predict(z, int(t)), int(t), z).prev_sample
    ours = sample("ddim", predict, SCHEDULE, steps, first()[:20], noise)
    torch.testing.assert_close(ours, z, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strength", [0.01, 0.15, 0.3, 0.5, 1.0])
def test_times_of_ddim_fall_and_are_as_many_as_asked_for(strength):
    for steps in range(1, 130):
        times = ddim_times(steps, 1000, strength)
        assert times[0] == round(1000 * strength) - 1
        assert len(times) == min(steps, round(1000 * strength))
        assert all(a > b >= 0 for a, b in pairwise(times))


def test_times_of_the_authors():
    assert ancestral_times(5) == [999, 749, 500, 250, 0]
    assert ancestral_times(1) == [999]
    assert ancestral_times(1000) == list(range(999, -1, -1))


def test_schedule_equals_diffusers():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
    torch.testing.assert_close(SCHEDULE.alphas_cumprod.float(), theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ENOUGH)
def test_strength_keeps_what_little_noise_leaves(kind):
    """From a sample of the distribution noised to a fifth of the levels, one ends near it and in N(m, C)."""
    start = MEAN + VARIANCE.sqrt() * noise(7)
    z = sample(kind, predict, SCHEDULE, ENOUGH[kind], start, noise, strength=0.2)
    kept = torch.corrcoef(torch.stack([z.flatten(), start.flatten()]))[0, 1]
    assert float(kept) > 0.9
    assert float((z.mean(0) - MEAN).abs().max()) < 6 * float((VARIANCE / NUM_SAMPLES).sqrt().max())
    full = sample(kind, predict, SCHEDULE, ENOUGH[kind], noise(-2), noise)
    other = torch.corrcoef(torch.stack([(full - MEAN).flatten(), (start - MEAN).flatten()]))[0, 1]
    assert abs(float(other)) < 0.05


@pytest.mark.parametrize("kind", ENOUGH)
def test_guidance_pulls_toward_the_target(kind):
    target = MEAN + 3.0
    free = sample(kind, predict, SCHEDULE, 20, noise(-2), noise)
    pulled = sample(kind, predict, SCHEDULE, 20, noise(-2), noise, Guidance(target.expand_as(free), 8.0))
    assert float((pulled - target).abs().mean()) < 0.8 * float((free - target).abs().mean())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"kind": "euler"}, "ancestral"), ({"num_steps": 0}, "steps"), ({"strength": 0.0}, "strength")],
)
def test_bad_arguments_are_named(keywords, message):
    arguments = {"kind": "ddim", "num_steps": 3, **keywords}
    with pytest.raises(ValueError, match=message):
        sample(predict=predict, schedule=SCHEDULE, start=noise(-2), noise=noise, **arguments)
