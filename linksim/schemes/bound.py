"""Bounds: the best picture of a source codec if the channel code were as good as theory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from channels.seeding import uniform
from channels.types import Csi
from linksim.coding.bounds import (
    block_error_probability,
    capacity_bits,
    ergodic_bits,
    normal_approximation_bits,
    outage_bits,
)
from linksim.schemes.base import Info, Reconstruction, State, mean_grey
from linksim.schemes.payload import fit_facts, pixels
from linksim.source.quality_search import QualitySearch, Wish

__all__ = ["BoundRate", "Fading", "SourceBound"]

Fading = Literal["realised", "ergodic", "outage"]
Sinrs = Callable[[int, float], Tensor]


@dataclass(frozen=True)
class BoundRate:
    """How much information a frame carries.

    Args:
        fading: "realised": what the fade of each frame allows, known to the transmitter, so no scheme with
            this codec and equal power can do better; "outage": one rate for all fades, chosen knowing their
            statistics, frames that cannot carry it are lost; "ergodic": one rate, as if every use had a fade
            of its own.
        block_error: None for capacity, else the normal approximation at this block error rate.
        outage_probability: of "outage" at capacity; at finite blocklength it is ``block_error``.
        sinrs: SINR [D, m] of sampled frames of n uses at an average SNR [dB], for "outage" and "ergodic".
    """

    fading: Fading = "realised"
    block_error: float | None = None
    outage_probability: float = 0.1
    sinrs: Sinrs | None = None

    def bits(self, snr_db: Tensor, csi: Csi) -> list[float]:
        """Bits per frame [B] at an average SNR [B], for true gains."""
        if self.fading == "realised":
            if self.block_error is None:
                return capacity_bits(csi).tolist()
            return normal_approximation_bits(csi, self.block_error).tolist()
        assert self.sinrs is not None, "sampled fades"
        num_uses = csi.h.shape[1]
        rates: dict[float, float] = {}
        for snr in set(snr_db.tolist()):
            gamma = self.sinrs(num_uses, snr)
            if self.fading == "ergodic":
                rates[snr] = ergodic_bits(gamma, 1.0, num_uses, self.block_error)
            else:
                target = self.block_error if self.block_error is not None else self.outage_probability
                finite = self.block_error is not None
                rates[snr] = outage_bits(gamma, 1.0, num_uses, target, finite_blocklength=finite)
        return [rates[snr] for snr in snr_db.tolist()]

    def failures(self, csi: Csi, bits: Sequence[float], seeds: Sequence[int]) -> list[bool]:
        """Which frames [B] are lost: those that the fade does not carry, or with the probability of a block
        error that the rate was chosen for.
        """
        if self.fading != "outage":
            rate = self.block_error or 0.0
            return [uniform(seed) < rate for seed in seeds]
        if self.block_error is None:
            reached = [have * (1 + 1e-6) for have in capacity_bits(csi).tolist()]  # rates from float32 gains
            return [have < want for have, want in zip(reached, bits, strict=True)]
        lost = []
        for i, (want, seed) in enumerate(zip(bits, seeds, strict=True)):
            one = Csi(csi.h[i : i + 1], csi.no[i : i + 1], csi.err_var[i : i + 1])
            lost.append(uniform(seed) < float(block_error_probability(one, want)))
        return lost


class SourceBound:
    """The best picture of a source codec within the bits of a bound, with no overhead at all.

    Args:
        name: label.
        search: source codec with its quality search.
        rate: bits per frame.
    """

    codes_ahead = True

    def __init__(self, name: str, search: QualitySearch, rate: BoundRate | None = None) -> None:
        self.name = name
        self._search = search
        self._rate = rate or BoundRate()

    def check(self, height: int, width: int, budget: int) -> None:
        """Raise ValueError for a picture too large for the codec."""
        self._search.check(height, width)

    def prepare(self, image: Tensor, budget: int, snr_db: Tensor, csi: Csi) -> None:
        """See :class:`linksim.schemes.base.PreparingBound`."""
        self._search.begin(self._wishes(image, self._rate.bits(snr_db, csi)))

    def _wishes(self, image: Tensor, bits: Sequence[float]) -> list[Wish]:
        """What is asked of the codec for images that frames of so many bits carry."""
        return [Wish(*pixels(x), int(b // 8)) for x, b in zip(image, bits, strict=True)]

    def reach(
        self, image: Tensor, budget: int, snr_db: Tensor, csi: Csi, seeds: Sequence[int]
    ) -> Reconstruction:
        """See :class:`linksim.schemes.base.Bound`."""
        result = mean_grey(image.shape[0], image.shape[2], image.shape[3], image.device)
        bits = self._rate.bits(snr_db, csi)
        lost = self._rate.failures(csi, bits, seeds)
        states: list[State] = []
        info: list[Info] = []
        for i, fit in enumerate(self._search.best_of(self._wishes(image, bits))):
            info.append({"codec": self._search.name, **fit_facts(fit), "payload_bits": int(bits[i])})
            if lost[i] or fit is None:
                states.append("outage" if lost[i] else "source_unfit")
                continue
            states.append("ok")
            picture = self._search.decode(fit.stream, (image.shape[2], image.shape[3]))
            result[i] = torch.from_numpy(picture).to(image.device).permute(2, 0, 1) / 255
        return Reconstruction(result, tuple(states), info=tuple(info))
