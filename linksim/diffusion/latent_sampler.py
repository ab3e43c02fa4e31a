r"""The channel as the forward process of a diffusion: a received latent is a sent one at known noise levels.

A latent value v with prior variance s² that arrives as v + n, n ~ N(0, σ²), is a diffusion state of
reliability r = s² / (s² + σ²): u = sqrt(r)·v/s + sqrt(1 - r)·n/σ has unit variance. AWGN puts all values at
one level, a fade some of them lower, and a value that was not sent is at r = 0. So every value has a level
of its own, and one denoiser serves every rate, SNR, fade and CSI: start at the levels that the channel left,
raise all of them to r = 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.checks import check_at_least, complaint

__all__ = ["Anneal", "Denoise", "anneal", "noised", "reliability_of", "sample"]

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(state u [B, c, h, w], reliability r [B, c, h, w]) -> estimate of v/s [B, c, h, w]."""

_HIGHEST = 1 - 1e-6  # of a start: what is known exactly needs no sampler
_LOWEST_LOG_SNR, _HIGHEST_LOG_SNR = -4.0, 6.0  # log r/(1 - r) just above pure noise, and before the end


def reliability_of(variance: Tensor, noise_variance: Tensor) -> Tensor:
    """R = s² / (s² + σ²), at most 1 - 1e-6.

    Args:
        variance: s², prior variance of each value, linear; broadcasts.
        noise_variance: σ², of the same values; infinite where nothing was sent.
    """
    return (variance / (variance + noise_variance)).clamp(0.0, _HIGHEST)


def noised(clean: Tensor, reliability: Tensor, noise: Tensor) -> Tensor:
    """The state u of values v/s at given levels."""
    return reliability.sqrt() * clean + (1 - reliability).sqrt() * noise


@dataclass(frozen=True)
class Anneal:
    """Levels of every value on the way from the channel's to certainty.

    Args:
        levels: steps + 1 maps [B, c, h, w]; the first is that of the start, the last is 1.
    """

    levels: tuple[Tensor, ...]

    @property
    def steps(self) -> int:
        """Evaluations of the denoiser."""
        return len(self.levels) - 1


def anneal(start: Tensor, steps: int) -> Anneal:
    """A common level rises from the lowest of an image's levels; what was received better waits for it.

    The common level is spaced evenly in log r/(1 - r); the last step goes to r = 1.

    Args:
        start: [B, c, h, w] reliability of every value as received, 0 where nothing was sent.
        steps: evaluations of the denoiser, at least 1.
    """
    check_at_least("anneal: steps", steps, 1)
    start = start.clamp(0.0, _HIGHEST)
    lowest = torch.logit(start.amin((1, 2, 3), keepdim=True), eps=1e-6)
    lowest = lowest.clamp(_LOWEST_LOG_SNR, _HIGHEST_LOG_SNR)
    levels = [start]
    for k in range(1, steps):
        common = torch.sigmoid(lowest + (_HIGHEST_LOG_SNR - lowest) * (k / steps))
        levels.append(torch.maximum(start, common))
    return Anneal((*levels, torch.ones_like(start)))


def sample(
    denoise: Denoise,
    state: Tensor,
    plan: Anneal,
    noise: Callable[[int], Tensor] | None = None,
    eta: float = 0.0,
) -> Tensor:
    r"""Run a diffusion from received values to clean ones.

    One step takes every value from r to r' >= r:
    u' = sqrt(r')·v̂ + sqrt(1 - r' - q)·ê + sqrt(q)·n, with v̂ = denoise(u, r), ê = (u - sqrt(r)·v̂)/sqrt(1
    - r), q = eta²·(1 - r')(1 - r/r')/(1 - r).

    With ``eta`` = 1 it is the reverse of the channel's noise as a random process: for many steps, the
    result is a sample of the posterior given what was received; its mean is the posterior mean for any
    number of steps when the prior is Gaussian. With ``eta`` = 0 nothing is drawn but the values that were
    not sent: the probability flow, whose error is smaller at the same distribution of the result. One step
    is the posterior mean.

    Args:
        denoise: estimate of the clean values.
        state: [B, c, h, w] u at the first level of ``plan``.
        plan: levels.
        noise: standard normal map [B, c, h, w] of a step, by its index; needed for ``eta`` > 0.
        eta: 0 to 1.

    Returns:
        [B, c, h, w] clean values v/s.

    Raises:
        ValueError: eta out of range, or without noise.

    Source: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", 2021, eq. 12, with a level per value
    as in Chen et al., "Diffusion Forcing", 2024.
    """
    if not 0 <= eta <= 1 or (eta > 0 and noise is None):
        raise ValueError(complaint("sample: eta", "out of range", eta, "0 to 1, above 0 with a noise source"))
    for k in range(plan.steps):
        level, following = plan.levels[k], plan.levels[k + 1]
        clean = denoise(state, level)
        drift = (state - level.sqrt() * clean) / (1 - level).clamp_min(1e-6).sqrt()
        spread = (1 - following) * (1 - level / following.clamp_min(1e-6)) / (1 - level).clamp_min(1e-6)
        added = (eta**2 * spread).clamp_min(0)
        state = following.sqrt() * clean + (1 - following - added).clamp_min(0).sqrt() * drift
        if eta > 0 and noise is not None:
            state = state + added.sqrt() * noise(k)
    return state
