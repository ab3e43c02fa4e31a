"""QAM of TS 38.211: bits to symbols, symbols to LLRs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.checks import check_choice
from channels.runtime.sionna_seeding import sionna_device, sionna_phy
from linksim.coding.demapper import soft_bits

__all__ = ["Qam", "qam_points"]

Bits = NDArray[np.uint8]


def qam_points(bits_per_symbol: int) -> NDArray[np.complex64]:
    """Points [2^Q_m] of unit mean power; the label of a point is its place in binary, first bit first.

    Args:
        bits_per_symbol: Q_m, even.

    Source: 3GPP TS 38.211 sec. 5.1; single precision as Sionna's ``Constellation``.
    """
    label = np.arange(1 << bits_per_symbol)
    bits = label[:, None] >> np.arange(bits_per_symbol)[::-1] & 1
    sign = 1 - 2 * bits
    level = np.zeros((len(label), 2), dtype=np.int64)  # the two parts, from the last bit to the first
    for pair in range(bits_per_symbol - 2, -1, -2):
        level = sign[:, pair : pair + 2] * (2 ** ((bits_per_symbol - 2 - pair) // 2) - level)
    power = np.float32((2 << bits_per_symbol) - 2) / 3
    return ((level[:, 0] + 1j * level[:, 1]).astype(np.complex64) / np.sqrt(power)).astype(np.complex64)


class Qam:
    """Gray-mapped QAM of TS 38.211 sec. 5.1 with exact LLRs, on GPUs by Sionna's demapper.

    A square QAM is two Gray-mapped PAMs, even bits on the real and odd bits on the imaginary part, so the
    exact LLRs come from 2·sqrt(M) distances instead of M. On CPUs a compiled demapper does that in a tenth of
    the time (:mod:`linksim.coding.demapper`, equal to Sionna's, see the tests).

    Args:
        bits_per_symbol: 2, 4, 6 or 8.
        device: where it runs.
    """

    def __init__(self, bits_per_symbol: int, device: torch.device | str = "cpu") -> None:
        check_choice("Qam: bits_per_symbol", bits_per_symbol, (2, 4, 6, 8))
        self.bits_per_symbol = bits_per_symbol
        self._device = torch.device(device)
        self._points = torch.from_numpy(qam_points(bits_per_symbol)).to(self._device)

    @cached_property
    def _demap(self) -> Any:
        return self._demapper("app")

    @cached_property
    def _nearest(self) -> Any:
        return self._demapper("maxlog")

    def _demapper(self, method: str) -> Any:
        """Sionna's, of the PAM of one part."""
        mapping, name = sionna_phy().mapping, sionna_device(self._device)
        levels = mapping.Constellation("pam", self.bits_per_symbol // 2, precision="single", device=name)
        return mapping.Demapper(method, constellation=levels, device=name)

    def modulate(self, bits: Bits) -> Tensor:
        """[B, n] complex64 symbols, unit mean power over the constellation, of bits [B, n·Q_m] uint8."""
        labels = np.packbits(bits.reshape(len(bits), -1, self.bits_per_symbol), axis=2)[..., 0]
        index = torch.from_numpy(labels >> (8 - self.bits_per_symbol)).to(self._device)
        return self._points[index.long()]

    def demodulate(self, x_hat: Tensor, no_eff: Tensor) -> NDArray[np.float32]:
        """LLRs log(P(0)/P(1)) [B, n·Q_m] of symbols [B, n] with error variance ``no_eff`` [B, n]."""
        if x_hat.device.type != "cpu":
            return self._soft(self._demap, x_hat, no_eff).cpu().numpy()
        parts = torch.view_as_real(x_hat.detach().resolve_conj().to(torch.complex64)).contiguous()
        no = no_eff.detach().float().expand(x_hat.shape).contiguous()
        llr = soft_bits(parts.view(-1, 2).numpy(), no.view(-1).numpy(), self.bits_per_symbol)
        return llr.reshape(len(x_hat), -1)

    def decide(self, x_hat: Tensor) -> Bits:
        """Bits [B, n·Q_m] uint8 of the points nearest to symbols [B, n].

        That is what closed-form error rates of uncoded QAM assume; signs of exact LLRs are a little better
        at low SNR, where the likeliest bit need not be that of the likeliest point.
        """
        soft = self._soft(self._nearest, x_hat, torch.ones_like(x_hat.real))
        return (soft < 0).to(torch.uint8).cpu().numpy()

    def _soft(self, demap: Any, x_hat: Tensor, no_eff: Tensor) -> Tensor:
        parts = torch.view_as_real(x_hat.resolve_conj().to(torch.complex64)) * 2**0.5
        noise = 2 * no_eff.float()
        llr = [demap(torch.complex(part, torch.zeros_like(part)), noise) for part in parts.unbind(-1)]
        pairs = [part.unflatten(1, (-1, self.bits_per_symbol // 2)) for part in llr]
        return -torch.stack(pairs, dim=-1).flatten(1)
