"""Limits on digital schemes: capacity and the normal approximation, for known, fast and slow fading."""

from __future__ import annotations

import math

import torch
from scipy.special import ndtri
from torch import Tensor

from channels.checks import check_range
from channels.types import Csi

__all__ = [
    "block_error_probability",
    "capacity_bits",
    "ergodic_bits",
    "normal_approximation_bits",
    "outage_bits",
]

_LOG2_E = math.log2(math.e)


def capacity_bits(csi: Csi) -> Tensor:
    """Information that n uses of the channel can carry: the sum of log2(1 + gamma) over the uses, in bits.

    With true gains this is the mutual information of Gaussian symbols of equal power given the whole channel
    beforehand: more than any scheme with equal power per use can decode from this realisation.

    Args:
        csi: h [B, n], no [B, 1] or [B, n].

    Returns:
        [B] float64, bits per image.

    Source: Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 5.4.3.
    """
    return torch.log2(1 + csi.gamma.double()).sum(-1)


def _dispersion(gamma: Tensor) -> Tensor:
    """Variance of the information density of a use with complex Gaussian noise [bits²]."""
    return (1 - (1 + gamma).pow(-2)) * _LOG2_E**2


def normal_approximation_bits(csi: Csi, block_error: float) -> Tensor:
    """Information that n uses can carry at a block error rate: the normal approximation.

    log2 M = Σ C_i - sqrt(Σ V_i)·Q^-1(ε) + log2(n)/2 with the dispersion of complex Gaussian noise,
    V = (1 - 1/(1 + gamma)²)·log2(e)². For n of some hundred uses and more the best known codes come within
    a few bits of it; it is an approximation, not a bound, and below capacity for every ε < 1/2 of interest.

    Args:
        csi: h [B, n], no [B, 1] or [B, n]; the gains are known at both ends.
        block_error: ε, between 0 and 1/2.

    Returns:
        [B] float64, bits per image, not below 0.

    Raises:
        ValueError: ε out of range.

    Source: Polyanskiy, Poor & Verdú, "Channel Coding Rate in the Finite Blocklength Regime", IEEE Trans. Inf.
        Theory 56 (2010), theorem 54; for parallel channels their section IV.C.
    """
    check_range("block_error", block_error, 1e-12, 0.5)
    gamma = csi.gamma.double()
    capacity = capacity_bits(csi)
    spread = _dispersion(gamma).sum(-1).sqrt() * -float(ndtri(block_error))  # Q^-1
    bits = capacity - spread + 0.5 * math.log2(gamma.shape[-1])
    return torch.minimum(bits.clamp_min(0.0), capacity)


def block_error_probability(csi: Csi, bits: float) -> Tensor:
    """Block error rate of ``bits`` in n uses by the normal approximation, [B] float64; the inverse of
    :func:`normal_approximation_bits`.

    Args:
        csi: true h [B, n], no [B, 1] or [B, n].
        bits: information bits of a block.
    """
    gamma = csi.gamma.double()
    margin = capacity_bits(csi) + 0.5 * math.log2(gamma.shape[-1]) - bits
    spread = _dispersion(gamma).sum(-1).sqrt().clamp_min(1e-12)
    return 0.5 * torch.erfc(margin / spread / math.sqrt(2))


def ergodic_bits(power: Tensor, no: float, num_uses: int, block_error: float | None = None) -> float:
    """Information that n uses carry if every use has a fade of its own, known to the receiver only.

    n·E[C], or with a block error rate ε the normal approximation n·E[C] - sqrt(n·V)·Q^-1(ε) + log2(n)/2 with
    V = E[V(gamma)] + Var[C(gamma)]. Real frames see fewer fades: on slow fading this is not a limit for a
    single frame but for coding over many.

    Args:
        power: |h|² of any number of fades.
        no: noise variance, linear.
        num_uses: n.
        block_error: ε, or None for capacity.

    Source: Tse & Viswanath 2005, sec. 5.4.5; Polyanskiy & Verdú, "Scalar coherent fading channel: dispersion
        analysis", ISIT 2011.
    """
    gamma = power.double().flatten() / no
    per_use = torch.log2(1 + gamma)
    capacity = num_uses * float(per_use.mean())
    if block_error is None:
        return capacity
    check_range("block_error", block_error, 1e-12, 0.5)
    dispersion = float(_dispersion(gamma).mean() + per_use.var(correction=0))
    spread = math.sqrt(num_uses * dispersion) * -float(ndtri(block_error))  # Q^-1
    return min(max(capacity - spread + 0.5 * math.log2(num_uses), 0.0), capacity)


def outage_bits(
    power: Tensor, no: float, num_uses: int, probability: float, *, finite_blocklength: bool = False
) -> float:
    """Information that n uses carry if the transmitter knows nothing of the fade and may fail sometimes.

    The largest rate R with P(C_h < R) <= ``probability`` over fades h (the outage capacity), or, with finite
    blocklength, with E_h[ε(R, h)] <= ``probability``, ε by the normal approximation of each fade. That is an
    approximation: its term log2(n)/2 lifts short codes over slow fading above the outage capacity, the limit
    of long ones. The smaller of both is returned.

    Args:
        power: [D, m] |h|² of m uses of each of D frames.
        no: noise variance, linear.
        num_uses: n.
        probability: of failure, between 0 and 1.
        finite_blocklength: see above.

    Source: Tse & Viswanath 2005, sec. 5.4.1; Yang, Durisi, Koch & Polyanskiy, "Quasi-Static Multiple-Antenna
        Fading Channels at Finite Blocklength", IEEE Trans. Inf. Theory 60 (2014).
    """
    check_range("outage_probability", probability, 1e-6, 1.0)
    gamma = power.double() / no
    capacity = num_uses * torch.log2(1 + gamma).mean(1)
    allowed = math.floor(probability * len(capacity))  # frames that may fail
    limit = float(capacity.sort().values[min(allowed, len(capacity) - 1)])
    if not finite_blocklength:
        return limit
    spread = (num_uses * _dispersion(gamma).mean(1)).sqrt().clamp_min(1e-12)
    bonus = 0.5 * math.log2(num_uses)
    low, high = 0.0, float(capacity.max()) + bonus
    for _ in range(60):
        rate = (low + high) / 2
        error = float((0.5 * torch.erfc((capacity + bonus - rate) / spread / math.sqrt(2))).mean())
        low, high = (rate, high) if error <= probability else (low, rate)
    return min(low, limit)
