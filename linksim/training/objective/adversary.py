"""Training of the critics beside a codec."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from linksim.scenario.schema import PhaseSpec
from linksim.training.objective.discriminators import Critics, PatchCritic, ProjectedCritic, hinge
from linksim.training.objective.features import Lite0Features
from linksim.training.objective.losses import Terms

__all__ = ["Adversary"]

_FADE = 0.08  # share of a phase over which the codec begins to listen


class Adversary:
    """The critics of a phase, their optimiser and their schedule.

    Args:
        phase: recipe; ``loss.adversarial`` is true.
        condition_channels: of what the patch critic is told of the received latent.
        lite: features that the other one looks through.
        device: where they live.
    """

    def __init__(
        self, phase: PhaseSpec, condition_channels: int, lite: Lite0Features | None, device: torch.device
    ) -> None:
        self.phase, self.lite = phase, lite
        loss = phase.loss
        patch = PatchCritic(condition_channels, phase.critic_width) if loss.patch_gan else None
        projected = None
        if loss.projected_gan:
            assert lite is not None
            projected = ProjectedCritic(lite.widths[1:])
        self.critics = Critics(patch, projected)
        for module in self.critics.modules():
            module.to(device).to(memory_format=torch.channels_last)
        self.parameters = [p for module in self.critics.modules() for p in module.parameters()]
        self.optimizer = AdamW(self.parameters, lr=phase.critic_rate, betas=(0.5, 0.9), weight_decay=0.0)

    def is_training(self, progress: float) -> bool:
        """Whether the critics learn at this share of the phase."""
        return progress >= self.phase.critic_start

    def share(self, progress: float) -> float:
        """0 to 1: how much the codec listens to them."""
        begin = self.phase.critic_start + self.phase.critic_delay
        return min(1.0, max(0.0, (progress - begin) / _FADE))

    def judge(self, terms: Terms, x_hat: Tensor, condition: Tensor, lite_hat: list[Tensor]) -> None:
        """Write into ``terms`` what the critics say of reconstructions; their own weights get no gradient."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        if self.critics.patch is not None:
            terms.patch = -self.critics.patch(x_hat, condition).float().mean((1, 2, 3))
        if self.critics.projected is not None:
            terms.projected = -self.critics.projected(lite_hat[1:]).mean(1)
        for parameter in self.parameters:
            parameter.requires_grad_(True)

    def step(
        self, x_hat: Tensor, x: Tensor, condition: Tensor, realism: Tensor, rate: float, autocast: Any
    ) -> float:
        """One step of the critics on originals and reconstructions; returns their loss.

        Args:
            x_hat: [B, 3, H, W] reconstructions, without gradient.
            x: [B, 3, H, W] originals.
            condition: [B, c, h, w] of the received latents.
            realism: [B] weights of the pictures.
            rate: factor of the learning rate.
            autocast: context of mixed precision.
        """
        total = x.new_zeros(())
        with autocast:
            if self.critics.patch is not None:
                both = self.critics.patch(torch.cat([x, x_hat]), torch.cat([condition, condition]))
                real, fake = both.chunk(2)
                total = total + hinge(real, fake, realism)
            if self.critics.projected is not None:
                assert self.lite is not None
                with torch.no_grad():
                    seen = self.lite(torch.cat([x, x_hat]))
                real, fake = self.critics.projected(seen[1:]).chunk(2)
                total = total + hinge(real, fake, realism)
        for group in self.optimizer.param_groups:
            group["lr"] = self.phase.critic_rate * rate
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return float(total.detach())

    def state(self) -> dict[str, Any]:
        """What a resumed training needs."""
        return {
            "critics": [module.state_dict() for module in self.critics.modules()],
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        for module, saved in zip(self.critics.modules(), state["critics"], strict=True):
            module.load_state_dict(saved)
        self.optimizer.load_state_dict(state["optimizer"])
