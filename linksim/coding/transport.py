"""Transport blocks: size, CRC, segmentation, LDPC, rate matching, scrambling; and all of it backwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from channels.checks import complaint
from channels.runtime.sionna_seeding import sionna_device, sionna_phy
from linksim.coding.crc import CRC_POLYNOMIALS, append_crc, crc_holds
from linksim.coding.ldpc import MAX_BLOCK, LdpcCode, select_base_graph, select_lifting

__all__ = ["Decoded", "LdpcDecoder", "TransportBlock", "gold_sequence", "transport_block_size"]

Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]
LdpcDecoder = Literal["auto", "layered", "sionna"]
DEFAULT_ITERATIONS = 50


_REGISTER, _DISCARDED = 31, 1600  # bits of a shift register, and those that come before the sequence
_AT_ONCE = 28  # bits that follow from the last 31: the newest tap is the fourth


@lru_cache(maxsize=8)
def _gold_sequence(length: int) -> Bits:
    seed = (1 << 15) + 1
    first, second = np.zeros((2, length + _DISCARDED + _REGISTER + _AT_ONCE), dtype=np.uint8)
    first[0] = 1
    second[:_REGISTER] = [seed >> bit & 1 for bit in range(_REGISTER)]
    for begin in range(0, length + _DISCARDED, _AT_ONCE):
        end, new = begin + _AT_ONCE, slice(begin + _REGISTER, begin + _REGISTER + _AT_ONCE)
        first[new] = first[begin + 3 : end + 3] ^ first[begin:end]
        second[new] = (
            second[begin + 3 : end + 3] ^ second[begin + 2 : end + 2] ^ second[begin + 1 : end + 1]
        ) ^ second[begin:end]
    return (first ^ second)[_DISCARDED : _DISCARDED + length]


def gold_sequence(length: int) -> Bits:
    """Scrambling sequence of TS 38.211 sec. 5.2.1 for n_RNTI = n_ID = 1, [length] uint8.

    A shorter one is the beginning of a longer one; they are made for powers of two and kept.
    """
    return _gold_sequence(1 << max(10, (length - 1).bit_length()))[:length]


# Table 5.1.3.2-1 of TS 38.214: transport block sizes up to 3824 bits.
_SMALL_SIZES = (
    *range(24, 193, 8),
    *range(208, 385, 16),
    *(408, 432, 456, 480, 504, 528, 552, 576, 608, 640, 672, 704, 736, 768, 808, 848, 888, 928, 984),
    *(1032, 1064, 1128, 1160, 1192, 1224, 1256, 1288, 1320, 1352, 1416, 1480, 1544, 1608, 1672, 1736, 1800),
    *(1864, 1928, 2024, 2088, 2152, 2216, 2280, 2408, 2472, 2536, 2600, 2664, 2728, 2792, 2856, 2976, 3104),
    *(3240, 3368, 3496, 3624, 3752, 3824),
)


def transport_block_size(num_uses: int, bits_per_symbol: int, rate: float, num_layers: int = 1) -> int:
    """Payload bits of a transport block in ``num_uses`` resource elements.

    Args:
        num_uses: complex channel uses.
        bits_per_symbol: modulation order Q_m.
        rate: target code rate R.
        num_layers: v.

    Source: 3GPP TS 38.214 V18, sec. 5.1.3.2, steps 2 to 4 with N_RE = ``num_uses``.

    Example:
        >>> transport_block_size(8192, 2, 0.5)
        8192
    """
    target = num_uses * rate * bits_per_symbol * num_layers
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
        num_uses: complex channel uses n (resource elements); every one carries coded bits on every layer.
        bits_per_symbol: Q_m.
        rate: target code rate R; 30/1024 to 948/1024.
        scramble: scramble the coded bits, so that every payload has the mean power of the constellation.
        num_layers: v, layers that the code word is spread over.

    Source: 3GPP TS 38.212 V18, sec. 5.1, 5.2.2, 5.3.2, 5.4.2, 7.2; no limited buffer.

    Example:
        >>> block = TransportBlock(768, 2, 0.5)
        >>> block.size, block.num_code_blocks
        (768, 1)
    """

    num_uses: int
    bits_per_symbol: int
    rate: float
    scramble: bool = True
    num_layers: int = 1

    @property
    def num_coded_bits(self) -> int:
        """G, coded bits of one transmission."""
        return self.num_uses * self.bits_per_symbol * self.num_layers

    @cached_property
    def scrambling(self) -> Bits:
        """Gold sequence [G] of TS 38.211 sec. 7.3.1.1; zeros without scrambling."""
        length = self.num_coded_bits
        return gold_sequence(length) if self.scramble else np.zeros(length, np.uint8)

    @cached_property
    def size(self) -> int:
        """A, payload bits (a multiple of 8)."""
        return transport_block_size(self.num_uses, self.bits_per_symbol, self.rate, self.num_layers)

    @property
    def crc(self) -> str:
        """CRC of the transport block, sec. 7.2.1."""
        return "24A" if self.size > 3824 else "16"

    @property
    def crc_bits(self) -> int:
        """All CRC bits: of the transport block, and of the code blocks if there are several."""
        blocks = self.num_code_blocks
        return CRC_POLYNOMIALS[self.crc][0] + (24 * blocks if blocks > 1 else 0)

    @cached_property
    def total_bits(self) -> int:
        """B, payload and CRC of the transport block."""
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
        blocks, unit = self.num_code_blocks, self.bits_per_symbol * self.num_layers
        larger = self.num_uses % blocks
        small = unit * (self.num_uses // blocks)
        return (small,) * (blocks - larger) + (small + unit,) * larger

    def _interleave(self, length: int) -> NDArray[np.int64]:
        """f[i + j·Q] = e[i·E/Q + j], sec. 5.4.2.2."""
        return np.arange(length).reshape(self.bits_per_symbol, -1).T.reshape(-1)

    # ------------------------------------------------------------------------------------- forwards

    def encode(self, payload: Bits, rvs: Sequence[int] = (0,)) -> Bits:
        """Coded bits of payloads.

        Args:
            payload: [B, A] uint8.
            rvs: redundancy versions, one per transmission.

        Returns:
            [transmissions, B, G] uint8; for the default of one transmission [B, G].

        A payload of zeros only is coded, but no receiver accepts it (see :meth:`decode`).

        Raises:
            ValueError: payload of another size.
        """
        if payload.ndim != 2 or payload.shape[1] != self.size:
            got = f"{payload.shape}"
            raise ValueError(complaint("transport block: payload", "wrong shape", got, f"[B, {self.size}]"))
        blocks = self._segment(append_crc(payload, self.crc))
        words = self.code.encode(blocks.reshape(-1, self.block_bits))
        words = words.reshape(len(payload), self.num_code_blocks, -1)
        sent = np.stack([self._match_rate(words, rv) for rv in rvs])
        return sent[0] if tuple(rvs) == (0,) else sent

    def _match_rate(self, words: Bits, rv: int) -> Bits:
        """Coded bits [B, G] of code words [B, C, N + 2Z] in one redundancy version."""
        parts = []
        for r, length in enumerate(self.sent_bits):
            selected = words[:, r, self.code.selection(length, rv)]
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
        self,
        llr: Floats,
        *,
        decoder: LdpcDecoder = "auto",
        iterations: int = DEFAULT_ITERATIONS,
        rvs: Sequence[int] = (0,),
        device: torch.device | str = "cpu",
    ) -> Decoded:
        """Decode soft bits log(P(0)/P(1)) of one or several transmissions, combined.

        A payload of zeros only counts as failed: it is what a decoder returns that knows nothing, and its CRC
        is zero. So does, from our decoder, a block with a CRC of 16 bits whose parity checks do not hold: by
        chance one in 65,536 wrong words has that CRC.

        Args:
            llr: [B, G], or [transmissions, B, G] with as many ``rvs``. Equal redundancy versions add up
                (chase combining), others fill in further code bits (incremental redundancy).
            decoder: "layered" (ours, on the CPU), "sionna" (flooding, on ``device``), or "auto": Sionna's on
                a GPU where it takes the code and the CRC has 24 bits, else ours.
            iterations: at most.
            rvs: redundancy version of each transmission.
            device: where Sionna's decoder runs.

        Raises:
            ValueError: the Sionna decoder for a code with repetition or for several transmissions.
        """
        stacked = llr[None] if llr.ndim == 2 else llr
        stacked = stacked * (1 - 2 * self.scrambling.astype(np.float32))
        if decoder == "auto":
            on_gpu = torch.device(device).type == "cuda"
            taken = on_gpu and self.crc != "16" and self.sionna_refuses(len(stacked)) is None
            decoder = "sionna" if taken else "layered"
        batch = stacked.shape[1]
        words = np.empty((batch, self.num_code_blocks, self.block_bits), np.uint8)
        satisfied = np.ones(batch, np.bool_)
        for length in sorted(set(self.sent_bits)):
            members = [r for r, e in enumerate(self.sent_bits) if e == length]
            soft = self._deinterleave(stacked, members, length)
            if decoder == "sionna":
                blocks = self._decode_sionna(soft, iterations, torch.device(device))
            else:
                blocks, holds = self._decode_layered(soft, rvs, iterations)
                satisfied &= holds.reshape(batch, -1).all(axis=1)
            words[:, members] = blocks.reshape(batch, len(members), -1)
        return self.checked(words, satisfied | (self.crc != "16"))

    def _deinterleave(self, llr: Floats, members: Sequence[int], length: int) -> Floats:
        """LLRs [transmissions, B·members, E] of code blocks with the same number of sent bits."""
        starts = np.concatenate([[0], np.cumsum(self.sent_bits)])
        order = np.argsort(self._interleave(length))
        parts = [llr[:, :, starts[r] : starts[r] + length][:, :, order] for r in members]
        return np.stack(parts, axis=2).reshape(len(llr), -1, length)

    def _decode_layered(
        self, llr: Floats, rvs: Sequence[int], iterations: int
    ) -> tuple[Bits, NDArray[np.bool_]]:
        prior = None
        for soft, rv in zip(llr, rvs, strict=True):
            prior = self.code.prior(soft, rv, prior)
        assert prior is not None
        bits, satisfied, _ = self.code.decode(prior, iterations)
        return bits, satisfied

    def sionna_refuses(self, num_transmissions: int = 1) -> ValueError | None:
        """Why Sionna's decoder cannot be used for this block; None if it can."""
        cure = "Use decoder: layered."
        lowest, highest = (self.block_bits / e for e in (max(self.sent_bits), min(self.sent_bits)))
        least, shown = (1 / 3, "1/3") if self.graph == 1 else (1 / 5, "1/5")
        if lowest < least or highest > 0.95:
            what, got = "Sionna's decoder does not take this rate", f"{lowest:.3f} to {highest:.3f}"
            expected = f"{shown} to 0.95 (base graph {self.graph})"
            return ValueError(complaint("decoder", what, got, expected, cure))
        if num_transmissions > 1:
            what = "Sionna's decoder is used for single transmissions"
            return ValueError(complaint("decoder", what, num_transmissions, "1", cure))
        return None

    def _decode_sionna(self, llr: Floats, iterations: int, device: torch.device) -> Bits:
        refusal = self.sionna_refuses(len(llr))
        if refusal is not None:
            raise refusal
        name, length = sionna_device(device), llr.shape[2]
        ldpc = sionna_phy().fec.ldpc
        encoder = ldpc.LDPC5GEncoder(
            self.block_bits, length, bg=f"bg{self.graph}", precision="single", device=name
        )
        decode = ldpc.LDPC5GDecoder(encoder, num_iter=iterations, precision="single", device=name)
        with torch.no_grad():
            return decode(torch.from_numpy(-llr[0]).to(device)).cpu().numpy().astype(np.uint8)

    def checked(self, blocks: Bits, credible: NDArray[np.bool_]) -> Decoded:
        batch = len(blocks)
        if self.num_code_blocks > 1:
            flat = blocks.reshape(-1, self.block_bits)
            block_ok = crc_holds(flat, "24B").reshape(batch, -1)
            total = blocks[:, :, :-24].reshape(batch, -1)
        else:
            total = blocks[:, 0]
            block_ok = np.ones((batch, 1), np.bool_)
        # A decoder that knows nothing returns zeros, whose CRC is zero: they are never accepted.
        ok = crc_holds(total, self.crc) & total.any(axis=1) & credible
        if self.num_code_blocks == 1:
            block_ok = ok[:, None].copy()
        return Decoded(total[:, : self.size], ok & block_ok.all(axis=1), block_ok)
