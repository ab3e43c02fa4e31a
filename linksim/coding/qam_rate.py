"""What Gray-mapped QAM with bit-wise soft decisions carries on AWGN, in blocks of any length.

Gaussian symbols, of which the bounds speak, carry ever more as the SNR rises; QAM carries its bits and no
more, so that a code of rate 0.93 needs far more SNR than one of rate 0.89. Link adaptation must know that.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from channels.units import db_to_linear

__all__ = ["needed_snr_db", "rate_and_dispersion"]

_GRID_DB = np.arange(-25.0, 50.01, 0.1)
_NODES, _CHUNKS = 48, 30


def _levels(num_bits: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Gray-mapped PAM of TS 38.211 sec. 5.1: levels [M] of unit mean power, and their bits [M, num_bits]."""
    bits = np.arange(2**num_bits)[:, None] >> np.arange(num_bits)[::-1] & 1
    signs = 1 - 2 * bits
    amplitude = signs[:, -1].astype(np.float64)
    for i in range(num_bits - 2, -1, -1):
        amplitude = signs[:, i] * (2 ** (num_bits - 1 - i) - amplitude)
    return amplitude / np.sqrt(np.square(amplitude).mean()), bits


@lru_cache(maxsize=8)
def _table(bits_per_symbol: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rate and dispersion of a use at every SNR of the grid."""
    levels, bits = _levels(bits_per_symbol // 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    sent = np.flatnonzero(levels > 0)  # what is sent below zero is its mirror image
    weights = weights / weights.sum() / len(sent)
    means, squares = [], []
    for some in np.array_split(_GRID_DB, _CHUNKS):
        noise = np.array([db_to_linear(-snr_db) for snr_db in some.tolist()])
        deviation = np.sqrt(noise)[:, None, None]  # beside unit power per dimension
        y = levels[sent, None] + deviation * nodes  # [snr, sent, node]
        distance = -np.square(y[..., None] - levels) / (2 * np.square(deviation[..., None]))  # [..., level]
        distance -= distance.max(-1, keepdims=True)
        likelihood = np.exp(distance)
        ones = likelihood @ bits / likelihood.sum(-1, keepdims=True)  # probability of a 1, bit by bit
        right = np.where(bits[sent, None] == 1, ones, 1 - ones)
        density = bits.shape[1] + np.log2(np.maximum(right, 1e-300)).sum(-1)
        means.append((weights * density).sum((1, 2)))
        squares.append((weights * np.square(density)).sum((1, 2)))
    mean = np.concatenate(means)
    return 2 * mean, 2 * np.maximum(np.concatenate(squares) - np.square(mean), 0.0)


def rate_and_dispersion(snr_db: float, bits_per_symbol: int) -> tuple[float, float]:
    """Mean [bits] and variance [bits²] of the information density of a use, decoded bit by bit.

    i = Σ_b log2(2·P(b sent | y)) over the bits of a symbol, the others of which the demapper does not know:
    what bit-interleaved coded modulation can reach, and how much a block of it varies.

    Args:
        snr_db: Es/N0 of an AWGN channel [dB].
        bits_per_symbol: 2, 4, 6 or 8.

    Source: Caire, Taricco & Biglieri, "Bit-Interleaved Coded Modulation", IEEE Trans. Inf. Theory 44 (1998);
        Martinez & Guillén i Fàbregas, "Saddlepoint approximation of random-coding bounds", ITA 2011.
    """
    rate, dispersion = _table(bits_per_symbol)
    return float(np.interp(snr_db, _GRID_DB, rate)), float(np.interp(snr_db, _GRID_DB, dispersion))


@lru_cache(maxsize=65536)
def needed_snr_db(num_bits: int, num_uses: int, bits_per_symbol: int, block_error: float = 0.1) -> float:
    """Es/N0 [dB] at which QAM of n uses carries ``num_bits`` in one code word with this block error rate on
    AWGN, by the normal approximation; inf for more bits than its uses have.
    """
    rate, dispersion = _table(bits_per_symbol)
    spread = np.sqrt(num_uses * dispersion) * -float(ndtri(block_error))  # Q^-1
    carried = np.minimum(num_uses * rate, num_uses * rate - spread + 0.5 * math.log2(num_uses))
    if num_bits >= carried[-1] or num_bits >= num_uses * bits_per_symbol:
        return math.inf
    return float(np.interp(num_bits, np.maximum.accumulate(carried), _GRID_DB))
