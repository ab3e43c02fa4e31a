"""Cyclic redundancy checks of TS 38.212."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CRC_POLYNOMIALS", "append_crc", "crc_holds"]

Bits = NDArray[np.uint8]

# TS 38.212 sec. 5.1: generator polynomials, highest power first, without the leading one.
CRC_POLYNOMIALS = {"24A": (24, 0x864CFB), "24B": (24, 0x800063), "16": (16, 0x1021)}


def _crc_matrix(name: str, length: int) -> Bits:
    """Remainder of each single bit, [length, L]: the CRC is linear."""
    degree, polynomial = CRC_POLYNOMIALS[name]
    registers, register = np.zeros(length, np.int64), polynomial
    for i in range(length - 1, -1, -1):
        registers[i] = register
        carry = register >> (degree - 1)
        register = (register << 1 & (1 << degree) - 1) ^ (polynomial if carry else 0)
    return (registers[:, None] >> np.arange(degree)[::-1] & 1).astype(np.uint8)


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
