"""Exact LLRs of Gray-mapped QAM on CPUs: two PAM demappers, compiled."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from linksim.files.compiled import compiled

__all__ = ["gray_levels", "soft_bits"]

Floats = NDArray[np.float32]
_PART = 1 << 14  # symbols that a thread takes at a time
_TINY = np.float32(1e-30)


def gray_levels(bits_per_symbol: int) -> Floats:
    """Amplitudes [sqrt(M)] of one component of square QAM, by its bits as a number; E|x|² = 1.

    Source: 3GPP TS 38.211 V18, sec. 5.1.3 to 5.1.6: (1 - 2b0)·(2^(k-1) - (1 - 2b1)·(2^(k-2) - ...)).

    Example:
        >>> (gray_levels(4) * 10**0.5).round().tolist()
        [1.0, 3.0, -1.0, -3.0]
    """
    half = bits_per_symbol // 2
    levels = []
    for label in range(1 << half):
        signs = [1 - 2 * (label >> (half - 1 - i) & 1) for i in range(half)]
        value = 1
        for i in range(half - 1, 0, -1):
            value = (1 << (half - i)) - signs[i] * value
        levels.append(signs[0] * value)
    power = 2 * np.mean(np.square(levels))
    return (np.array(levels) / np.sqrt(power)).astype(np.float32)


def soft_bits(parts: Floats, no: Floats, bits_per_symbol: int) -> Floats:
    """LLRs log(P(0)/P(1)) of symbols with independent errors, exact.

    Args:
        parts: [N, 2] real and imaginary parts of N symbols.
        no: [N] error variance of each complex symbol, linear.
        bits_per_symbol: 2, 4, 6 or 8; even bits on the real, odd bits on the imaginary part.

    Returns:
        [N, bits_per_symbol] float32.
    """
    levels = gray_levels(bits_per_symbol)
    out = np.empty((len(parts), bits_per_symbol), np.float32)
    pieces = [slice(i, i + _PART) for i in range(0, len(parts), _PART)]

    def work(piece: slice) -> None:
        _soft_bits(parts[piece], no[piece], levels, out[piece])

    workers = min(os.cpu_count() or 1, len(pieces))
    if workers <= 1:
        for piece in pieces:
            work(piece)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, pieces))
    return out


@compiled(nogil=True, error_model="numpy")
def _soft_bits(parts: Floats, no: Floats, levels: Floats, out: Floats) -> None:
    """Sums of exponentials relative to the largest; where a sum vanishes, its largest term speaks for it."""
    count, half = len(levels), out.shape[1] // 2
    metric, weight = np.empty(count, np.float32), np.empty(count, np.float32)
    for i in range(len(parts)):
        for part in range(2):
            if count == 2:
                out[i, part] = 4 * parts[i, part] * levels[0] / no[i]
                continue
            top = np.float32(-np.inf)
            for k in range(count):
                d = parts[i, part] - levels[k]
                metric[k] = -d * d / no[i]
                top = max(top, metric[k])
            for k in range(count):
                weight[k] = np.exp(metric[k] - top)
            for bit in range(half):
                sum_0, sum_1 = np.float32(0), np.float32(0)
                best_0, best_1 = np.float32(-np.inf), np.float32(-np.inf)
                for k in range(count):
                    if k >> (half - 1 - bit) & 1:
                        sum_1 += weight[k]
                        best_1 = max(best_1, metric[k] - top)
                    else:
                        sum_0 += weight[k]
                        best_0 = max(best_0, metric[k] - top)
                zero = np.log(sum_0) if sum_0 > _TINY else best_0
                one = np.log(sum_1) if sum_1 > _TINY else best_1
                out[i, 2 * bit + part] = zero - one
