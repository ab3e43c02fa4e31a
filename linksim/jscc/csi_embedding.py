"""How channel state enters a neural receiver: the only place, with the only dB clipping range."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from channels import units
from channels.checks import complaint
from channels.types import Csi
from linksim.jscc.layout import SymbolLayout

__all__ = [
    "SNR_DB_RANGE",
    "UNKNOWN_SNR_DB",
    "CsiKind",
    "SnrEmbedding",
    "clip_snr_db",
    "csi_kind",
    "csi_vector",
    "effective_snr_db",
    "gamma_map",
]

SNR_DB_RANGE = (-20.0, 40.0)
UNKNOWN_SNR_DB = 7.0  # told to encoders that need a number: the middle of DiffJSCC's training range
CsiKind = Literal["snr", "snr_h"]


def csi_kind(codec: object) -> CsiKind:
    """What a codec wants to be told: ``csi`` of its ``config``; "snr" where it has none."""
    kind: CsiKind = getattr(getattr(codec, "config", None), "csi", "snr")
    return kind


def clip_snr_db(snr_db: Tensor) -> Tensor:
    """Limit an SNR [dB] of any shape to what embeddings are built for."""
    return snr_db.clamp(*SNR_DB_RANGE)


def effective_snr_db(csi: Csi) -> Tensor:
    r"""SNR of the AWGN channel with the same mean mutual information of Gaussian symbols.

    snr_eff = 2^(mean log2(1 + gamma)) - 1. On AWGN this is the SNR itself.

    Args:
        csi: gamma [B, n].

    Returns:
        [B] float, dB, clipped to ``SNR_DB_RANGE``.

    Source: mutual-information effective SNR mapping, e.g. 3GPP2 C.R1002, or Brueninghaus et al., "Link
    Performance Models for System Level Simulations of Broadband Radio Access Systems", PIMRC 2005.
    """
    capacity = torch.log2(1 + csi.gamma).mean(-1)
    return clip_snr_db(units.linear_to_db((torch.pow(2.0, capacity) - 1).clamp_min(1e-6)))


def csi_vector(csi: Csi, kind: CsiKind) -> Tensor:
    """The vector that a network is given: [snr_db] or, on block fading, [snr_db, Re h, Im h].

    Args:
        csi: as known to the receiver (or, with transmitter CSI, to the transmitter).
        kind: "snr" (effective SNR) or "snr_h" (average SNR and the one gain of the image).

    Returns:
        [B, 1] or [B, 3] float.

    Raises:
        ValueError: "snr_h" for a channel with more than one gain per image.
    """
    if kind == "snr":
        return effective_snr_db(csi)[:, None]
    h = csi.h[:, :1]
    if not bool(((csi.h - h).abs() <= 1e-6 * (1 + h.abs())).all()):
        raise ValueError(
            complaint(
                "csi_vector: h",
                "varies within an image",
                "more than one gain",
                "one gain per image (block fading with coherence_symbols = none)",
                "A codec with the CSI vector [snr, Re h, Im h] fits no other channel.",
            )
        )
    average_snr_db = clip_snr_db(-units.linear_to_db(csi.no.mean(-1, keepdim=True)))
    return torch.cat([average_snr_db, h.real, h.imag], dim=1)


def gamma_map(csi: Csi, layout: SymbolLayout) -> Tensor:
    """Effective SNR of every latent position, for networks that are given a map.

    Args:
        csi: gamma [B, n].
        layout: where each symbol lies.

    Returns:
        [B, 1, rows, cols] float, in units of 10 dB; lowest where nothing was sent.

    Source: the effective SNR of :func:`effective_snr_db`, over the pairs of a position.
    """
    rate = layout.to_pair_map(torch.log2(1 + csi.gamma)).mean(1, keepdim=True)
    return clip_snr_db(units.linear_to_db((torch.pow(2.0, rate) - 1).clamp_min(1e-6))) / 10


class SnrEmbedding(nn.Module):
    """MLP of an SNR in dB that may be unknown.

    Args:
        width: size of the embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2, width)
        self.second = nn.Linear(width, width)

    def forward(self, snr_db: Tensor | None, batch: int) -> Tensor:
        """[B, width] of ``snr_db`` [B] (dB), or of "unknown" (None)."""
        weight = self.first.weight
        if snr_db is None:
            told = torch.zeros(batch, 2, dtype=weight.dtype, device=weight.device)
        else:
            value = clip_snr_db(snr_db.to(weight)) / 10
            told = torch.stack([value, torch.ones_like(value)], dim=1)
        return F.silu(self.second(F.silu(self.first(told))))
