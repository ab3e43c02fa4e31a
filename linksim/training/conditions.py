"""What the pictures of a training go through: channels, rates, SNR, told CSI and realism of their groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from channels.seeding import item_seed
from linksim.build.channels import training_channels
from linksim.jscc.dial import DialCodec
from linksim.scenario.schema import PhaseSpec, TrainScenario
from linksim.training.link import Group

__all__ = ["Conditions", "ValidationPoint"]


@dataclass(frozen=True)
class ValidationPoint:
    """Conditions under which held-out pictures are measured.

    Args:
        label: of the point.
        snr_db: average SNR [dB].
        rate: index of the rate of a dial codec; 0 for others.
        realism: in [0, 1].
    """

    label: str
    snr_db: float
    rate: int
    realism: float


class Conditions:
    """Draws the groups of batches and of validations.

    Args:
        scenario: recipe.
        codec: that is trained.
        crop: largest side of a picture.
        device: of what is drawn.

    Attributes:
        channel_shares: probability of every channel.
    """

    def __init__(self, scenario: TrainScenario, codec: nn.Module, crop: int, device: torch.device) -> None:
        self._seed, self._spec, self._device = scenario.seed, scenario.train, device
        self._rates = codec.config.rates if isinstance(codec, DialCodec) else None
        uses = codec.num_symbols(crop, crop)  # type: ignore[operator]
        self._channels = training_channels(self._spec.channels, device, uses)
        weights = np.array([c.weight for c in self._spec.channels])
        self.channel_shares = weights / weights.sum()

    def groups(self, rng: np.random.Generator, phase: PhaseSpec) -> list[Group]:
        """What the groups of a batch go through."""
        spec, size = self._spec, phase.batch_size // self._spec.groups
        dial, rates = self._rates is not None, len(self._rates or (0,))
        weights = np.array(spec.rate_weights or [1.0] * rates)
        groups = []
        for _ in range(spec.groups):
            snr_db = torch.from_numpy(rng.uniform(spec.snr_db.low, spec.snr_db.high, size)).float()
            seeds = tuple(int(s) for s in rng.integers(0, 2**62, size))
            channel = self._channels[int(rng.choice(len(self._channels), p=self.channel_shares))]
            told = spec.csit if rng.random() >= spec.csit_dropout else "none"
            rate = int(rng.choice(len(weights), p=weights / weights.sum())) if dial else 0
            error_db = torch.from_numpy(rng.normal(0, 1, (2, size))).float() * spec.told_snr_error_db
            realism = self.realism(rng, size, phase) if dial else torch.ones(size)
            snr_db, error_db, realism = (part.to(self._device) for part in (snr_db, error_db, realism))
            groups.append(Group(channel, rate, told, snr_db, error_db, realism, seeds))
        return groups

    @staticmethod
    def realism(rng: np.random.Generator, size: int, phase: PhaseSpec) -> Tensor:
        """Realism of so many pictures, in the shares of a phase."""
        shares = phase.realism
        kind = rng.choice(3, size, p=[shares.fidelity, shares.between, shares.full])
        return torch.from_numpy(np.where(kind == 1, rng.random(size), kind / 2)).float()

    def validation_points(self) -> list[ValidationPoint]:
        """SNRs; of a dial codec at three rates and both ends of realism."""
        snrs, rates = self._spec.validation_snr_db, self._rates
        if rates is None:
            return [ValidationPoint(f"{snr:g}", snr, 0, 1.0) for snr in snrs]
        chosen = sorted({0, len(rates) // 2, len(rates) - 1})
        return [
            ValidationPoint(f"C{rates[r]} {snr:g} dB realism {b:g}", snr, r, b)
            for r in chosen
            for snr in snrs
            for b in (0.0, 1.0)
        ]

    def validation_group(self, point: ValidationPoint, batch: int, size: int) -> Group:
        """A batch of held-out pictures at a point, on the first channel."""
        seeds = tuple(item_seed(self._seed, f"{batch} {j}", 0, "validation") for j in range(size))
        snr_db = torch.full((size,), point.snr_db, device=self._device)
        realism = torch.full((size,), point.realism, device=self._device)
        no_error = torch.zeros(2, size, device=self._device)
        return Group(self._channels[0], point.rate, self._spec.csit, snr_db, no_error, realism, seeds)
