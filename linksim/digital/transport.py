"""Transport blocks: size, CRC, segmentation, LDPC, rate matching, QAM; and all of it backwards.

May import: numpy, torch, sionna (QAM and its own LDPC decoder), channels.{checks, seeding},
linksim.digital.ldpc.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.checks import check_choice, complaint
from channels.seeding import sionna_device
from linksim.digital.ldpc import MAX_BLOCK, LdpcCode, select_base_graph, select_lifting

from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Constellation, Demapper, Mapper
from sionna.phy.nr.utils import generate_prng_seq

__all__ = [
    "CRC_POLYNOMIALS",
    "Decoded",
    "Qam",
    "TransportBlock",
    "append_crc",
    "crc_holds",
    "gold_sequence",
    "transport_block_size",
]

Bits = NDArray[np.uint8]
LdpcDecoder = Literal["auto", "layered", "sionna"]

# TS 38.212 sec. 5.1: generator polynomials, highest power first, without the leading one.
CRC_POLYNOMIALS = {"24A": (24, 0x864CFB), "24B": (24, 0x800063), "16": (16, 0x1021)}


def _crc_matrix(name: str, length: int) -> Bits:
    """Remainder of each single bit, [length, L]: the CRC is linear."""
    degree, polynomial = CRC_POLYNOMIALS[name]
    rows = np.zeros((length, degree), np.uint8)
    register = polynomial
    for i in range(length - 1, -1, -1):
        rows[i] = [register >> (degree - 1 - j) & 1 for j in range(degree)]
        carry = register >> (degree - 1)
        register = (register << 1 & (1 << degree) - 1) ^ (polynomial if carry else 0)
    return rows


@lru_cache(maxsize=32)
def gold_sequence(length: int) -> Bits:
    """Scrambling sequence of TS 38.211 sec. 5.2.1 for n_RNTI = n_ID = 1, [length] uint8."""
    return np.asarray(generate_prng_seq(length, (1 << 15) + 1)).astype(np.uint8)


_CRC_CACHE: dict[tuple[str, int], NDArray[np.float32]] = {}


def _crc(bits: Bits, name: str) -> Bits:
    length = bits.shape[1]
    if (name, length) not in _CRC_CACHE:
        if len(_CRC_CACHE) > 64:
            _CRC_CACHE.clear()
        _CRC_CACHE[name, length] = _crc_matrix(name, length).astype(np.float32)
    sums = bits.astype(np.float32) @ _CRC_CACHE[name, length]  # exact: sums stay below 2^24
    return (sums.astype(np.int64) & 1).astype(np.uint8)


def append_crc(bits: Bits, name: str) -> Bits:
    """Bits [B, A] followed by their CRC, [B, A + L] uint8.

    Source: 3GPP TS 38.212 V18, sec. 5.1.
    """
    return np.concatenate([bits, _crc(bits, name)], axis=1)


def crc_holds(bits: Bits, name: str) -> NDArray[np.bool_]:
    """Whether the last L bits of each row [B, A + L] are the CRC of the others, [B] bool."""
    degree = CRC_POLYNOMIALS[name][0]
    return (_crc(bits[:, :-degree], name) == bits[:, -degree:]).all(axis=1)


# Table 5.1.3.2-1 of TS 38.214: transport block sizes up to 3824 bits.
_SMALL_SIZES = (
    *range(24, 193, 8),
    *range(208, 385, 16),
    *(408, 432, 456, 480, 504, 528, 552, 576, 608, 640, 672, 704, 736, 768, 808, 848, 888, 928, 984),
    *(1032, 1064, 1128, 1160, 1192, 1224, 1256, 1288, 1320, 1352, 1416, 1480, 1544, 1608, 1672, 1736, 1800),
    *(1864, 1928, 2024, 2088, 2152, 2216, 2280, 2408, 2472, 2536, 2600, 2664, 2728, 2792, 2856, 2976, 3104),
    *(3240, 3368, 3496, 3624, 3752, 3824),
)


def transport_block_size(num_uses: int, bits_per_symbol: int, rate: float) -> int:
    """Payload bits of a transport block in ``num_uses`` resource elements, one layer.

    Args:
        num_uses: complex channel uses.
        bits_per_symbol: modulation order Q_m.
        rate: target code rate R.

    Source: 3GPP TS 38.214 V18, sec. 5.1.3.2, steps 2 to 4 with N_RE = ``num_uses``.

    Example:
        >>> transport_block_size(8192, 2, 0.5)
        8192
    """
    target = num_uses * rate * bits_per_symbol
    if target <= 3824:
        n = max(3, math.floor(math.log2(max(target, 1))) - 6)
        quantised = max(24, (1 << n) * math.floor(target / (1 << n)))
        return next(size for size in _SMALL_SIZES if size >= quantised)
    n = math.floor(math.log2(target - 24)) - 5
    quantised = max(3840, (1 << n) * math.floor((target - 24) / (1 << n) + 0.5))
    if rate <= 0.25:
        blocks = math.ceil((quantised + 24) / 3816)
    elif quantised > 8424:
        blocks = math.ceil((quantised + 24) / 8424)
    else:
        blocks = 1
    return 8 * blocks * math.ceil((quantised + 24) / (8 * blocks)) - 24


class Qam:
    """Gray-mapped QAM of TS 38.211 sec. 5.1 with exact LLRs, by Sionna.

    A square QAM is two Gray-mapped PAMs, even bits on the real and odd bits on the imaginary part, so the
    exact LLRs come from 2·sqrt(M) distances instead of M.

    Args:
        bits_per_symbol: 2, 4, 6 or 8.
        device: where it runs.
    """

    def __init__(self, bits_per_symbol: int, device: torch.device | str = "cpu") -> None:
        check_choice("Qam: bits_per_symbol", bits_per_symbol, (2, 4, 6, 8))
        self.bits_per_symbol = bits_per_symbol
        name = sionna_device(torch.device(device))
        points = Constellation("qam", bits_per_symbol, precision="single", device=name)
        self._map = Mapper(constellation=points, device=name)
        levels = Constellation("pam", bits_per_symbol // 2, precision="single", device=name)
        self._demap = Demapper("app", constellation=levels, device=name)
        self._nearest = Demapper("maxlog", constellation=levels, device=name)

    def modulate(self, bits: Tensor) -> Tensor:
        """[B, n] complex symbols, unit mean power over the constellation, of bits [B, n·Q_m]."""
        return self._map(bits.float())

    def demodulate(self, x_hat: Tensor, no_eff: Tensor) -> Tensor:
        """LLRs log(P(0)/P(1)) [B, n·Q_m] of symbols [B, n] with error variance ``no_eff`` [B, n]."""
        return self._soft(self._demap, x_hat, no_eff)

    def decide(self, x_hat: Tensor) -> Tensor:
        """Bits [B, n·Q_m] uint8 of the points nearest to symbols [B, n].

        That is what closed-form error rates of uncoded QAM assume; signs of exact LLRs are a little better
        at low SNR, where the likeliest bit need not be that of the likeliest point.
        """
        return (self._soft(self._nearest, x_hat, torch.ones_like(x_hat.real)) < 0).to(torch.uint8)

    def _soft(self, demap: Demapper, x_hat: Tensor, no_eff: Tensor) -> Tensor:
        parts = torch.view_as_real(x_hat.resolve_conj().to(torch.complex64)) * 2**0.5
        noise = 2 * no_eff.float()
        llr = [demap(torch.complex(part, torch.zeros_like(part)), noise) for part in parts.unbind(-1)]
        pairs = [part.unflatten(1, (-1, self.bits_per_symbol // 2)) for part in llr]
        return -torch.stack(pairs, dim=-1).flatten(1)


@dataclass(frozen=True)
class Decoded:
    """Result of decoding a batch of transport blocks.

    Args:
        bits: [B, A] uint8 payload as decoded.
        ok: [B] bool, the CRC of the transport block and of every code block holds.
        code_block_ok: [B, C] bool.
    """

    bits: Bits
    ok: NDArray[np.bool_]
    code_block_ok: NDArray[np.bool_]


@dataclass(frozen=True)
class TransportBlock:
    """One transport block in a number of channel uses: all sizes, encoder and decoder.

    Args:
        num_uses: complex channel uses n; every one carries coded bits.
        bits_per_symbol: Q_m.
        rate: target code rate R; 30/1024 to 948/1024.
        scramble: scramble the coded bits, so that every payload has the mean power of the constellation.

    Source: 3GPP TS 38.212 V18, sec. 5.1, 5.2.2, 5.3.2, 5.4.2, 7.2 (one layer, redundancy version 0).

    Example:
        >>> block = TransportBlock(768, 2, 0.5)
        >>> block.size, block.num_code_blocks
        (768, 1)
    """

    num_uses: int
    bits_per_symbol: int
    rate: float
    scramble: bool = True

    @cached_property
    def scrambling(self) -> Bits:
        """Gold sequence [n·Q_m] of TS 38.211 sec. 7.3.1.1; zeros without scrambling."""
        length = self.num_uses * self.bits_per_symbol
        return gold_sequence(length) if self.scramble else np.zeros(length, np.uint8)

    @cached_property
    def size(self) -> int:
        """A, payload bits (a multiple of 8)."""
        return transport_block_size(self.num_uses, self.bits_per_symbol, self.rate)

    @property
    def crc(self) -> str:
        """CRC of the transport block, sec. 7.2.1."""
        return "24A" if self.size > 3824 else "16"

    @cached_property
    def total_bits(self) -> int:
        """B, payload and CRC."""
        return self.size + CRC_POLYNOMIALS[self.crc][0]

    @cached_property
    def graph(self) -> int:
        """Base graph."""
        return select_base_graph(self.size, self.rate)

    @cached_property
    def num_code_blocks(self) -> int:
        """C, sec. 5.2.2."""
        limit = MAX_BLOCK[self.graph]
        return 1 if self.total_bits <= limit else math.ceil(self.total_bits / (limit - 24))

    @cached_property
    def block_bits(self) -> int:
        """K', bits of one code block with its CRC."""
        extra = 24 * self.num_code_blocks if self.num_code_blocks > 1 else 0
        whole, rest = divmod(self.total_bits + extra, self.num_code_blocks)
        if rest:
            raise ValueError(
                complaint("transport block", "does not split evenly", self.size, "a size of TS 38.214")
            )
        return whole

    @cached_property
    def code(self) -> LdpcCode:
        """The LDPC code of every code block."""
        return LdpcCode(
            self.graph, select_lifting(self.graph, self.total_bits, self.block_bits), self.block_bits
        )

    @cached_property
    def sent_bits(self) -> tuple[int, ...]:
        """E_r, coded bits of each code block, sec. 5.4.2.1."""
        blocks, order = self.num_code_blocks, self.bits_per_symbol
        larger = self.num_uses % blocks
        small = order * (self.num_uses // blocks)
        return (small,) * (blocks - larger) + (small + order,) * larger

    def _interleave(self, length: int) -> NDArray[np.int64]:
        """f[i + j·Q] = e[i·E/Q + j], sec. 5.4.2.2."""
        return np.arange(length).reshape(self.bits_per_symbol, -1).T.reshape(-1)

    # ------------------------------------------------------------------------------------- forwards

    def encode(self, payload: Bits) -> Bits:
        """Coded bits [B, n·Q_m] uint8 of payloads [B, A] uint8."""
        if payload.ndim != 2 or payload.shape[1] != self.size:
            got = f"{payload.shape}"
            raise ValueError(complaint("transport block: payload", "wrong shape", got, f"[B, {self.size}]"))
        blocks = self._segment(append_crc(payload, self.crc))
        words = self.code.encode(blocks.reshape(-1, self.block_bits))
        words = words.reshape(len(payload), self.num_code_blocks, -1)
        parts = []
        for r, length in enumerate(self.sent_bits):
            selected = words[:, r, self.code.selection(length)]
            parts.append(selected[:, self._interleave(length)])
        return np.concatenate(parts, axis=1) ^ self.scrambling

    def _segment(self, bits: Bits) -> Bits:
        """[B, C, K'] code blocks, each with CRC24B if there are several."""
        if self.num_code_blocks == 1:
            return bits[:, None]
        pieces = bits.reshape(len(bits) * self.num_code_blocks, -1)
        return append_crc(pieces, "24B").reshape(len(bits), self.num_code_blocks, -1)

    # ------------------------------------------------------------------------------------ backwards

    def decode(
        self, llr: NDArray[np.float32], *, decoder: LdpcDecoder = "auto", iterations: int = 20
    ) -> Decoded:
        """Decode LLRs [B, n·Q_m], log(P(0)/P(1)).

        Args:
            llr: soft bits.
            decoder: "layered" (ours, CPU), "sionna" (flooding, rates from 1/5 only), or "auto" (ours).
            iterations: at most.

        Raises:
            ValueError: the Sionna decoder for a code with repetition.
        """
        batch = len(llr)
        words = np.empty((batch, self.num_code_blocks, self.block_bits), np.uint8)
        llr = llr * (1 - 2 * self.scrambling.astype(np.float32))
        decode = self._decode_sionna if decoder == "sionna" else self._decode_layered
        begin, groups = 0, []
        for length in self.sent_bits:
            part = llr[:, begin : begin + length]
            deinterleaved = np.empty_like(part)
            deinterleaved[:, self._interleave(length)] = part
            groups.append(deinterleaved)
            begin += length
        for length in sorted(set(self.sent_bits)):
            members = [r for r, e in enumerate(self.sent_bits) if e == length]
            stacked = np.stack([groups[r] for r in members], axis=1).reshape(-1, length)
            words[:, members] = decode(stacked, iterations).reshape(batch, len(members), -1)
        # Without any information the decoder returns the all-zero word, whose CRC is zero, too.
        informed = (np.nan_to_num(llr) != 0).any(axis=1)
        decoded = self._check(words)
        return replace(decoded, ok=decoded.ok & informed)

    def _decode_layered(self, llr: NDArray[np.float32], iterations: int) -> Bits:
        return self.code.decode(self.code.prior(llr, llr.shape[1]), iterations)[0]

    def _decode_sionna(self, llr: NDArray[np.float32], iterations: int) -> Bits:
        length = llr.shape[1]
        if self.block_bits / length < 1 / 5:
            raise ValueError(
                complaint(
                    "schemes.decoder",
                    "Sionna's decoder does not take this rate",
                    f"{self.block_bits}/{length}",
                    "1/5 or more",
                    "Use decoder: layered.",
                )
            )
        encoder = LDPC5GEncoder(
            self.block_bits, length, bg=f"bg{self.graph}", precision="single", device="cpu"
        )
        decode = LDPC5GDecoder(encoder, num_iter=iterations, precision="single", device="cpu")
        with torch.no_grad():
            return decode(torch.from_numpy(-llr)).numpy().astype(np.uint8)

    def _check(self, blocks: Bits) -> Decoded:
        batch = len(blocks)
        if self.num_code_blocks > 1:
            flat = blocks.reshape(-1, self.block_bits)
            block_ok = crc_holds(flat, "24B").reshape(batch, -1)
            total = blocks[:, :, :-24].reshape(batch, -1)
        else:
            total = blocks[:, 0]
            block_ok = np.ones((batch, 1), np.bool_)
        ok = crc_holds(total, self.crc)
        if self.num_code_blocks == 1:
            block_ok = ok[:, None].copy()
        return Decoded(total[:, : self.size], ok & block_ok.all(axis=1), block_ok)
