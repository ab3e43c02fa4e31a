"""Streams to scalar channels: maximum-ratio combining and LMMSE detection, element by element.

Written as sums over antennas and streams of elementwise products, so that no result depends on how many
elements stand together (see :mod:`channels.arithmetic`), and gradients flow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from channels.arithmetic import abs_squared, multiply, multiply_conj, scale

__all__ = ["combine", "detect"]

_TINY = 1e-12  # a dead element: |h|² below this


def combine(y: Tensor, h: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    r"""Maximum-ratio combining of R antennas or beams, scaled to their mean noise variance.

    With noise of variance v_r, independent from antenna to antenna, the weights h_r*/v_r reach the SNR
    g = Σ|h_r|²/v_r. The result is y_c = sqrt(v̄ g) x + w', w' ~ CN(0, v̄), v̄ the mean of the v_r; with equal
    ones y_c = h^H y/‖h‖ and the gain is ‖h‖.

    Args:
        y: [R, ...] complex, received.
        h: [R, ...] complex, gain as known to the receiver.
        noise: float, broadcasts to [R, ...]: v, noise variance with the error variance of the gains.

    Returns:
        y_c: [...] complex.
        gain: [...] float, sqrt(v̄ g).

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 3.3.1; unequal noise:
        Brennan, "Linear Diversity Combining Techniques", Proc. IRE 47 (1959).
    """
    noise = noise.expand(h.shape)
    mean = noise.mean(0)
    weight = mean / noise
    power = (abs_squared(h) * weight).sum(0)
    gain = power.clamp_min(_TINY).sqrt()
    matched = scale(multiply_conj(y[0], h[0]), weight[0])
    for antenna in range(1, len(y)):
        matched = matched + scale(multiply_conj(y[antenna], h[antenna]), weight[antenna])
    return scale(matched, 1 / gain), gain


def detect(y: Tensor, h: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
    r"""LMMSE detection of L streams that arrive together at R antennas, as scalar channels of unit noise.

    With A = H^H H + no·I, x_mmse = A^-1 H^H y. The share μ_l = 1 - no·[A^-1]_ll of a stream reaches its own
    output, the rest is noise and the other streams: SINR_l = μ_l / (1 - μ_l). The result is divided by μ_l
    and scaled so that noise and interference together have unit variance.

    Args:
        y: [R, ...] complex, received.
        h: [R, L, ...] complex, gains as known to the receiver.
        no: float, broadcasts to [...]: noise variance with the error variance of the gains, linear.

    Returns:
        z: [L, ...] complex, z_l = a_l·x_l + noise of variance 1.
        a: [L, ...] float, a_l = sqrt(SINR_l).

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 8.3.3.
    """
    num_streams = h.shape[1]
    matched, gram = _products(y, h)
    for stream in range(num_streams):
        gram[stream][stream] = gram[stream][stream] + no
    inverse = _inverse(gram)
    outputs, gains = [], []
    for i in range(num_streams):
        x_hat = multiply(inverse[i][0], matched[0])
        for j in range(1, num_streams):
            x_hat = x_hat + multiply(inverse[i][j], matched[j])
        left = (no * inverse[i][i].real).clamp(_TINY, 1 - _TINY)  # 1 - μ
        gain = ((1 - left) / left).clamp_min(_TINY).sqrt()
        outputs.append(scale(x_hat, gain / (1 - left).clamp_min(_TINY)))
        gains.append(gain)
    return torch.stack(outputs), torch.stack(gains)


def _products(y: Tensor, h: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
    """H^H y [L] and H^H H [L][L], each an elementwise sum over the antennas."""
    num_antennas, num_streams = h.shape[:2]
    matched: list[Tensor] = []
    gram: list[list[Tensor]] = [[] for _ in range(num_streams)]
    for i in range(num_streams):
        terms = [multiply_conj(y[r], h[r, i]) for r in range(num_antennas)]
        matched.append(_total(terms))
        for j in range(num_streams):
            if j < i:
                gram[i].append(gram[j][i].conj().resolve_conj())
            else:
                gram[i].append(_total([multiply_conj(h[r, j], h[r, i]) for r in range(num_antennas)]))
    return matched, gram


def _total(terms: list[Tensor]) -> Tensor:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def _inverse(a: list[list[Tensor]]) -> list[list[Tensor]]:
    """Inverse of Hermitian positive definite matrices, entry by entry: Gauss-Jordan without pivoting."""
    size = len(a)
    left = [row[:] for row in a]
    one, nil = torch.ones_like(a[0][0]), torch.zeros_like(a[0][0])
    right = [[one if i == j else nil for j in range(size)] for i in range(size)]
    for k in range(size):
        pivot = 1 / left[k][k].real
        left[k] = [scale(v, pivot) for v in left[k]]
        right[k] = [scale(v, pivot) for v in right[k]]
        for i in range(size):
            if i != k:
                factor = left[i][k]
                left[i] = [v - multiply(factor, w) for v, w in zip(left[i], left[k], strict=True)]
                right[i] = [v - multiply(factor, w) for v, w in zip(right[i], right[k], strict=True)]
    return right
