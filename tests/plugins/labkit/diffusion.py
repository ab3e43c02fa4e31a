"""Euler steps of the probability-flow equation."""

from __future__ import annotations

import torch

from linksim.kinds import kind


@kind("sampler", "euler")
def euler(predict, schedule, num_steps, start, noise, guidance, strength):
    """First-order steps in σ = sqrt((1 - ᾱ)/ᾱ), evenly spaced in time."""
    levels = schedule.alphas_cumprod.to(start.device)
    last = round((strength or 1.0) * (schedule.num_train_timesteps - 1))
    times = torch.linspace(last, 0, num_steps + 1).round().long()
    z = start
    if strength is not None:
        first = levels[times[0]]
        z = (first.sqrt() * start + (1 - first).sqrt() * noise(-1)).to(start.dtype)
    for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        a, b = levels[now], levels[then] if then > 0 else torch.ones_like(levels[now])
        eps = predict(z, now)
        x0 = (z - (1 - a).sqrt().to(z.dtype) * eps) / a.sqrt().to(z.dtype)
        if guidance is not None:
            x0 = x0 + guidance.delta(x0)
        z = b.sqrt().to(z.dtype) * x0 + (1 - b).sqrt().to(z.dtype) * eps
    return z
