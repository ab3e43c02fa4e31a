"""Samplers of a latent diffusion: pure functions of a noise predictor, a schedule and noises per image.

``predict(z, t) -> eps`` is the network: z [B, c, h, w] at the integer time t. Everything else is here. Noises
are arguments, one stream per image, so the result of an image does not depend on its batch mates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from channels.checks import check_at_least, check_choice, check_range
from linksim.kinds import find, kind, names

__all__ = [
    "Guidance",
    "Noise",
    "Predict",
    "Sampler",
    "Schedule",
    "ancestral_times",
    "ddim_times",
    "sample",
]

Predict = Callable[[Tensor, int], Tensor]
Noise = Callable[[int], Tensor]  # step number -> [B, c, h, w]


@dataclass(frozen=True)
class Schedule:
    """Noise schedule: ᾱ_t of "scaled_linear" betas, as latent diffusion was trained with.

    Args:
        num_train_timesteps: T.
        beta_start, beta_end: first and last beta; their square roots are linear in t.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.0120

    def __post_init__(self) -> None:
        if not (isinstance(self.num_train_timesteps, int) and 1 < self.num_train_timesteps <= 100_000):
            raise ValueError(f"num_train_timesteps {self.num_train_timesteps!r}, expected 2 to 100000")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(f"beta_start {self.beta_start}, beta_end {self.beta_end}, expected 0 < β < 1")

    @property
    def betas(self) -> Tensor:
        """β [T] float64."""
        ends = (self.beta_start**0.5, self.beta_end**0.5, self.num_train_timesteps)
        return torch.linspace(*ends, dtype=torch.float64).square()

    @property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ [T] float64."""
        return (1 - self.betas).cumprod(0)


@dataclass(frozen=True)
class Guidance:
    """Pull toward the latent of the initial reconstruction.

    After every prediction of x0: delta = weight·(target - x0)/(c·h·w). The authors' sampler adds half of it
    to the mean of the next step; the others are given x0 + delta as the prediction.

    Args:
        target: [B, c, h, w] latent.
        weight: Λ; larger is more faithful and less realistic.

    Source: DiffJSCC, arXiv 2404.17736, sec. III-E.
    """

    target: Tensor
    weight: float

    def delta(self, x0: Tensor) -> Tensor:
        """What is added to a prediction of x0."""
        return self.weight * (self.target - x0) / x0[0].numel()


class Sampler(Protocol):
    """What a sampler is: from noise, or from a noised latent, to latents at time 0."""

    def __call__(
        self,
        predict: Predict,
        schedule: Schedule,
        num_steps: int,
        start: Tensor,
        noise: Noise,
        guidance: Guidance | None,
        strength: float | None,
    ) -> Tensor:
        """Latents [B, c, h, w]; arguments as of :func:`sample`."""
        ...


def ancestral_times(num_steps: int, num_train_timesteps: int = 1000, strength: float = 1.0) -> list[int]:
    """Times from the noisiest on: ``num_steps`` evenly spaced ones, both ends included.

    Example:
        >>> ancestral_times(5)
        [999, 749, 500, 250, 0]
    """
    last = max(1, round(strength * (num_train_timesteps - 1)))
    if num_steps == 1:
        return [last]
    spaced = torch.linspace(0, last, min(num_steps, last + 1), dtype=torch.float64)
    return [int(t) for t in spaced.round().flip(0)]


def sample(
    kind: str,
    predict: Predict,
    schedule: Schedule,
    num_steps: int,
    start: Tensor,
    noise: Noise,
    guidance: Guidance | None = None,
    strength: float | None = None,
) -> Tensor:
    """Latents [B, c, h, w] at time 0.

    Args:
        kind: "ancestral" (the authors'), "ddim", "dpmsolver++" (second order, multistep), "unipc", or
            another one that is registered (:class:`Sampler`).
        predict: noise predictor.
        schedule: noise schedule.
        num_steps: network evaluations.
        start: x_T [B, c, h, w], unit variance; with a strength, the latent to start from, which is noised to
            the level of the first step.
        noise: standard normal noise of a step, from 0; step -1 noises ``start``.
        guidance: pull toward a latent.
        strength: share of the T times within which all steps lie; None to start from noise.

    Raises:
        ValueError: unknown kind, no steps, strength not in (0, 1].

    Source: Ho et al., "Denoising Diffusion Probabilistic Models", 2020 (ancestral, fixed small variance);
        Song et al. 2021 (DDIM); Lu et al. 2022 (DPM-Solver++); Zhao et al. 2023 (UniPC).
    """
    check_choice("sampler", kind, names("sampler"))
    check_at_least("steps", num_steps, 1)
    if strength is not None:
        check_range("strength", strength, 1e-3, 1.0)
    made: Sampler = find("sampler", kind).make
    return made(
        predict=predict,
        schedule=schedule,
        num_steps=num_steps,
        start=start,
        noise=noise,
        guidance=guidance,
        strength=strength,
    )


def _noised(start: Tensor, alpha: Tensor, noise: Noise) -> Tensor:
    return alpha.sqrt().to(start.dtype) * start + (1 - alpha).sqrt().to(start.dtype) * noise(-1)


def _x0(z: Tensor, eps: Tensor, alpha: Tensor) -> Tensor:
    return (z - (1 - alpha).sqrt().to(z.dtype) * eps) / alpha.sqrt().to(z.dtype)


@kind("sampler", "ancestral")
def _ancestral(
    predict: Predict,
    schedule: Schedule,
    num_steps: int,
    start: Tensor,
    noise: Noise,
    guidance: Guidance | None,
    strength: float | None,
) -> Tensor:
    """Ancestral sampling with the fixed small variance, the authors' sampler."""
    times = ancestral_times(num_steps, schedule.num_train_timesteps, strength or 1.0)
    levels = schedule.alphas_cumprod.to(start.device)
    z = start if strength is None else _noised(start, levels[times[0]], noise)
    for step, t in enumerate(times):
        alpha = levels[t]
        before = levels[times[step + 1]] if step + 1 < len(times) else torch.ones_like(alpha)
        x0 = _x0(z, predict(z, t), alpha)
        beta = 1 - alpha / before  # of the spaced process
        own = (beta * before.sqrt() / (1 - alpha)).to(z.dtype)
        old = ((1 - before) * (1 - beta).sqrt() / (1 - alpha)).to(z.dtype)
        z = own * x0 + old * z
        if guidance is not None:
            z = z + 0.5 * guidance.delta(x0)
        if step + 1 < len(times):
            z = z + (beta * (1 - before) / (1 - alpha)).sqrt().to(z.dtype) * noise(step)
    return z


def ddim_times(num_steps: int, num_train_timesteps: int = 1000, strength: float = 1.0) -> list[int]:
    """Times from the noisiest on, in ``num_steps`` equal gaps of which the last ends without noise.

    Example:
        >>> ddim_times(5)
        [999, 799, 599, 399, 199]
    """
    total = max(2, round(strength * num_train_timesteps))
    count = min(num_steps, total)
    return [(total * (count - i) + count // 2) // count - 1 for i in range(count)]


@kind("sampler", "ddim")
def _ddim(
    predict: Predict,
    schedule: Schedule,
    num_steps: int,
    start: Tensor,
    noise: Noise,
    guidance: Guidance | None,
    strength: float | None,
) -> Tensor:
    """Denoising diffusion implicit model, without added noise (η = 0).

    Every step ends at the level of the next listed time; the scheduler of diffusers steps by T // n, which is
    another one where n does not divide T.
    """
    times = ddim_times(num_steps, schedule.num_train_timesteps, strength or 1.0)
    levels = schedule.alphas_cumprod.to(start.device)
    z = start if strength is None else _noised(start, levels[times[0]], noise)
    for step, t in enumerate(times):
        alpha = levels[t]
        before = levels[times[step + 1]] if step + 1 < len(times) else torch.ones_like(alpha)
        x0 = _x0(z, predict(z, t), alpha)
        if guidance is not None:
            x0 = x0 + guidance.delta(x0)
        eps = (z - alpha.sqrt().to(z.dtype) * x0) / (1 - alpha).sqrt().to(z.dtype)
        z = before.sqrt().to(z.dtype) * x0 + (1 - before).sqrt().to(z.dtype) * eps
    return z


def _scheduler(solver: Literal["dpmsolver++", "unipc"], schedule: Schedule, strength: float) -> Any:
    """A scheduler of diffusers over the first ``strength`` of the times: all its steps lie there."""
    from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

    betas = schedule.betas[: max(2, round(strength * schedule.num_train_timesteps))]
    common = {"num_train_timesteps": len(betas), "trained_betas": betas.tolist()}
    # Evenly spaced times leave a sixth of the variance out at 20 steps; evenly spaced log-SNR, or the spacing
    # of Karras et al., a hundredth (tests/theory/test_samplers.py).
    if solver == "dpmsolver++":
        return DPMSolverMultistepScheduler(
            **common, algorithm_type="dpmsolver++", use_lu_lambdas=True, final_sigmas_type="zero"
        )
    return UniPCMultistepScheduler(**common, use_karras_sigmas=True, final_sigmas_type="zero")


@kind("sampler", "dpmsolver++", solver="dpmsolver++")
@kind("sampler", "unipc", solver="unipc")
def _by_scheduler(
    solver: Literal["dpmsolver++", "unipc"],
    predict: Predict,
    schedule: Schedule,
    num_steps: int,
    start: Tensor,
    noise: Noise,
    guidance: Guidance | None,
    strength: float | None,
) -> Tensor:
    """Deterministic samplers of diffusers; guidance changes the prediction of x0 that they are given."""
    scheduler = _scheduler(solver, schedule, strength or 1.0)
    scheduler.set_timesteps(min(num_steps, scheduler.config.num_train_timesteps))
    times = [int(t) for t in scheduler.timesteps]
    alphas = 1 / (1 + scheduler.sigmas[: len(times)].double().square())  # between those of whole times
    alphas = alphas.to(start.device)
    z = start if strength is None else _noised(start, alphas[0], noise)
    for t, alpha in zip(times, alphas, strict=True):
        eps = predict(z, t)
        if guidance is not None:
            x0 = _x0(z, eps, alpha)
            x0 = x0 + guidance.delta(x0)
            eps = (z - alpha.sqrt().to(z.dtype) * x0) / (1 - alpha).sqrt().to(z.dtype)
        z = scheduler.step(eps, t, z, return_dict=False)[0]
    return z
