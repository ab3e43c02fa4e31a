r"""Conversions between decibel and linear power, and between SNR definitions.

The only file with ``10 ** (x / 10)``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

from channels.runtime.lazy_torch import is_tensor

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["db_to_linear", "ebno_db_to_snr_db", "linear_to_db", "snr_db_to_ebno_db", "snr_db_to_no"]


@overload
def db_to_linear(x_db: float) -> float: ...
@overload
def db_to_linear(x_db: Tensor) -> Tensor: ...
def db_to_linear(x_db: float | Tensor) -> float | Tensor:
    """Power ratio of a value in dB: 10**(x_db / 10). Any shape.

    Example:
        >>> db_to_linear(20.0)
        100.0
    """
    if is_tensor(x_db):
        powers: Tensor = 10.0 ** (x_db / 10.0)
        return powers
    return float(10.0 ** (x_db / 10.0))


@overload
def linear_to_db(x: float) -> float: ...
@overload
def linear_to_db(x: Tensor) -> Tensor: ...
def linear_to_db(x: float | Tensor) -> float | Tensor:
    """Value in dB of a power ratio: 10·log10(x). Any shape; 0 gives -inf.

    Example:
        >>> linear_to_db(100.0)
        20.0
    """
    if is_tensor(x):
        return 10.0 * x.log10()
    return 10.0 * math.log10(x) if x > 0 else -math.inf


@overload
def snr_db_to_no(snr_db: float) -> float: ...
@overload
def snr_db_to_no(snr_db: Tensor) -> Tensor: ...
def snr_db_to_no(snr_db: float | Tensor) -> float | Tensor:
    """Noise variance per complex use for unit symbol and unit mean channel power.

    Args:
        snr_db: Es/N0 per data use [dB]; any shape.

    Returns:
        no: same shape, linear power.

    Example:
        >>> snr_db_to_no(10.0)
        0.1
    """
    return db_to_linear(-snr_db)


def ebno_db_to_snr_db(ebno_db: float, bits_per_use: float) -> float:
    """Es/N0 [dB] of an Eb/N0 [dB] at a spectral efficiency of ``bits_per_use`` information bits.

    Source: Proakis & Salehi, "Digital Communications", 5th ed., sec. 4.2.

    Example:
        >>> ebno_db_to_snr_db(3.0, 1.0)
        3.0
    """
    return ebno_db + linear_to_db(bits_per_use)


def snr_db_to_ebno_db(snr_db: float, bits_per_use: float) -> float:
    """Eb/N0 [dB] of an Es/N0 [dB]; inverse of :func:`ebno_db_to_snr_db`.

    Example:
        >>> round(snr_db_to_ebno_db(9.0, 4.0), 2)
        2.98
    """
    return snr_db - linear_to_db(bits_per_use)
