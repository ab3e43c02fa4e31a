"""Closed-form bit error rates of uncoded QAM, and which results of a run they can be held against."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import ndtr, roots_legendre

from linksim.results.statistics import Row
from linksim.scenario.errors import ScenarioError

if TYPE_CHECKING:
    from linksim.kinds.channels.base import ChannelBase

__all__ = ["awgn", "closed_forms", "qam_error_rate", "rayleigh", "rician"]

log = logging.getLogger("linksim.report.theory")

_NODES = 64
_STEP_DB = 0.5

Fading = Callable[[float, float], float]
"""Mean over fading of Q(sqrt(k·SNR)), of k and the mean SNR."""


def _pam_terms(bits: int) -> list[tuple[float, float]]:
    """Bit error rate of one Gray-mapped PAM of a square QAM as a sum of c·Q(sqrt(k·SNR)).

    Exact, by counting: for every level, every threshold crossing and every bit. Source: Cho & Yoon, "On the
    General BER Expression of One- and Two-Dimensional Amplitude Modulations", IEEE Trans. Commun. 50 (2002).
    """
    size = 2**bits
    levels = np.arange(size) * 2 - (size - 1)
    gray = np.arange(size) ^ (np.arange(size) >> 1)
    weights: dict[int, float] = {}

    def beyond(edge: int, amount: float) -> None:
        """``amount`` times the probability to land above an edge; Q(-x) = 1 - Q(x), and 1 = 2·Q(0)."""
        weights[abs(edge)] = weights.get(abs(edge), 0.0) + (amount if edge >= 0 else -amount)
        if edge < 0:
            weights[0] = weights.get(0, 0.0) + 2 * amount

    for sent in range(size):
        for read in range(size):
            wrong = (int(gray[sent]) ^ int(gray[read])).bit_count() / (size * bits)
            if read > 0:
                beyond(int(levels[read] - 1 - levels[sent]), wrong)
            else:  # everything is above the lowest edge
                weights[0] = weights.get(0, 0.0) + 2 * wrong
            if read < size - 1:
                beyond(int(levels[read] + 1 - levels[sent]), -wrong)
    unit = 3 / (size**2 - 1)  # twice the squared half distance of a QAM of unit energy
    return [(c, unit * edge * edge) for edge, c in weights.items() if abs(c) > 1e-15]


def qam_error_rate(bits_per_symbol: int, snr: float, fading: Fading) -> float:
    """Bit error rate of Gray-mapped square QAM decided symbol by symbol.

    Args:
        bits_per_symbol: 2, 4, 6 or 8.
        snr: mean Es/N0, linear.
        fading: :func:`awgn`, or what :func:`rayleigh` or :func:`rician` give.

    Example:
        >>> round(qam_error_rate(2, 10.0, awgn), 7), round(qam_error_rate(2, 10.0, rayleigh(1)), 5)
        (0.0007827, 0.04356)
    """
    return sum(c * fading(k, snr) for c, k in _pam_terms(bits_per_symbol // 2))


def awgn(k: float, snr: float) -> float:
    """Q(sqrt(k·snr)) without fading."""
    return float(ndtr(-math.sqrt(k * snr)))


def _over_angles(moments: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """Mean of Q(sqrt(g)) from M(s) = E[exp(-s·g)] at s = 1/(2 sin²θ).

    Source: Craig's form of Q; Simon & Alouini, "Digital Communication over Fading Channels", 2005, sec. 5.1.
    """
    nodes, weights = roots_legendre(_NODES)
    angles = (nodes + 1) * np.pi / 4
    return float(weights @ moments(0.5 / np.sin(angles) ** 2) / 4)


def rayleigh(branches: int) -> Fading:
    """Independent Rayleigh fading on ``branches`` of the mean SNR each, combined at their maximum ratio."""
    return lambda k, snr: _over_angles(lambda s: (1 + s * k * snr) ** -branches)


def rician(k_factor: float) -> Fading:
    """Rician fading of a line of sight ``k_factor`` (linear) times as strong as all else."""

    def mean(k: float, snr: float) -> float:
        def moments(s: NDArray[np.float64]) -> NDArray[np.float64]:
            spread = 1 + k_factor + s * k * snr
            return (1 + k_factor) / spread * np.exp(-k_factor * s * k * snr / spread)

        return _over_angles(moments)

    return mean


# ---------------------------------------------------------------------------------------------- runs


def _noise(spec: ChannelBase, snr_db: Sequence[float]) -> list[float]:
    """Noise variance per use with what the waveform adds: Doppler, paths behind the prefix, as Gaussian."""
    import torch

    from channels.units import snr_db_to_no
    from linksim.build.channels import build_channel

    no = snr_db_to_no(torch.tensor(snr_db, dtype=torch.float64)).reshape(-1, 1)
    if not spec.has_grid:
        return [float(v) for v in no]
    channel = build_channel(spec.in_frequency(), torch.device("cpu"))
    return [float(v) for v in channel.noise_variance(no)]


def _may_be_uncoded(kind: str) -> bool:
    """Whether schemes of a kind that is known here say how many bits a symbol of uncoded QAM has."""
    from linksim.kinds import KindError, find
    from linksim.kinds.schemes.base import SchemeBase

    try:
        target = find("scheme", kind).target
    except KindError:
        return False
    return target.bits_per_symbol_uncoded is not SchemeBase.bits_per_symbol_uncoded


def closed_forms(header: Mapping[str, Any], rows: Sequence[Row], x: str) -> list[Row]:
    """Closed-form bit error rates of the uncoded schemes of a run, as rows of the metric "ber": where all
    that the run sends over is known in closed form.

    Args:
        header: contents of run.json.
        rows: of the run.
        x: horizontal axis; over the SNR points lie half a decibel apart.
    """
    measured = [r for r in rows if r.metric == "ber"]
    if not measured or not any(_may_be_uncoded(s["kind"]) for s in header["scenario"]["schemes"]):
        return []
    from linksim.scenario.files import variants
    from linksim.scenario.schema import (  # kinds load PyTorch: for runs that have the form
        Scenario,
        channel_names,
    )

    try:
        scenario = Scenario.model_validate(header["scenario"])
        points = list(variants(scenario))
    except (ValidationError, ScenarioError) as problem:
        log.info("no closed form is drawn: the scenario of run.json is that of another version (%s)", problem)
        return []
    found: list[Row] = []
    for point in points:
        for name, spec in zip(channel_names(scenario), point.scenario.channels, strict=True):
            for scheme in point.scenario.schemes:
                place = (name, scheme.name, point.values)
                own = [r for r in measured if (r.channel, r.scheme, r.point) == place]
                bits = scheme.bits_per_symbol_uncoded
                if own and bits is not None:
                    found += _rows(own, spec, bits, x)
    return found


def _rows(own: Sequence[Row], spec: ChannelBase, bits: int, x: str) -> list[Row]:
    fading = spec.closed_form()
    if fading is None:
        return []
    snrs = sorted({r.snr_db for r in own})
    if x == "snr_db" and len(snrs) > 1:
        snrs = [float(v) for v in np.arange(snrs[0], snrs[-1] + _STEP_DB / 2, _STEP_DB)]
    mean, share = fading
    rates = [qam_error_rate(bits, share / no, mean) for no in _noise(spec, snrs)]
    empty: dict[str, Any] = {"ci_low": math.nan, "ci_high": math.nan, "causes": ()}
    empty |= {"num_failures": 0, "num_arrived": 0}
    return [replace(own[0], snr_db=snr, mean=rate, **empty) for snr, rate in zip(snrs, rates, strict=True)]
