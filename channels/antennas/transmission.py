"""How symbols become streams on the transmit antennas: one stream, Alamouti, multiplexing, SVD precoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding
from channels.arithmetic import multiply

__all__ = ["Precoding", "Transmission", "TransmissionKind", "apply_precoder", "precoders"]

TransmissionKind = Literal["single", "alamouti", "multiplexing", "svd"]
_CODEBOOK_SEED = 36211


@dataclass(frozen=True)
class Precoding:
    """What an SVD-precoding transmitter knows of the channel, and how finely it acts on it.

    Args:
        csit: "perfect", or "quantised": the receiver reports the best of 2^bits random unitary matrices.
        bits: of a report, per slot and subband.
        delay_slots: age of what the transmitter knows [slots]; 0: this very slot.
        subband: subcarriers that share a precoder; None: all of them.

    Source: Love & Heath, "Limited Feedback Unitary Precoding for Spatial Multiplexing Systems", IEEE Trans.
        Inf. Theory 51 (2005); random codebooks: Santipach & Honig, IEEE Trans. Inf. Theory 55 (2009).
    """

    csit: Literal["perfect", "quantised"] = "perfect"
    bits: int = 4
    delay_slots: int = 0
    subband: int | None = None

    def __post_init__(self) -> None:
        checks.check_choice("Precoding: csit", self.csit, ("perfect", "quantised"))
        checks.check_range("Precoding: bits", self.bits, 1, 12)
        checks.check_range("Precoding: delay_slots", self.delay_slots, 0, 100)
        if self.subband is not None:
            checks.check_at_least("Precoding: subband", self.subband, 1)


@dataclass(frozen=True)
class Transmission:
    """Streams and antennas.

    Every resource element has unit power over all antennas: L streams share it equally. With L streams an
    element carries L symbols of the scheme and counts as one channel use.

    Args:
        kind: "single": one stream from one antenna; "alamouti": two symbols over two antennas and two
            neighbouring elements; "multiplexing": a stream per antenna; "svd": streams along the strongest
            directions of the channel.
        num_streams: L of "svd"; the others follow from the antennas.
        precoding: of "svd".

    Source: Alamouti, "A Simple Transmit Diversity Technique for Wireless Communications", IEEE J. Sel. Areas
        Commun. 16 (1998); Telatar, "Capacity of Multi-Antenna Gaussian Channels", Eur. Trans. Telecommun. 10
        (1999).
    """

    kind: TransmissionKind = "single"
    num_streams: int | None = None
    precoding: Precoding = Precoding()

    def __post_init__(self) -> None:
        kinds = ("single", "alamouti", "multiplexing", "svd")
        checks.check_choice("Transmission: kind", self.kind, kinds)
        if self.kind == "svd":
            checks.check_at_least("Transmission: num_streams", self.num_streams or 0, 1, "svd names it.")
        elif self.num_streams is not None:
            got, expected = self.num_streams, f"none: {self.kind} has its own number"
            raise ValueError(checks.complaint("Transmission: num_streams", "fixed", got, expected))

    def streams(self, num_tx_antennas: int, num_rx_antennas: int) -> int:
        """L: symbols that leave at a time, each with pilots of its own.

        Raises:
            ValueError: antennas that do not go with the kind.
        """
        needed = {"single": 1, "alamouti": 2}.get(self.kind)
        if needed is not None and num_tx_antennas != needed:
            got = f"{num_tx_antennas} transmit antennas"
            cure = "Use alamouti, multiplexing or svd for more."
            raise ValueError(
                checks.complaint(f"Transmission: {self.kind}", "wrong number of antennas", got, needed, cure)
            )
        if self.kind == "alamouti":
            return 2
        count = {"single": 1, "multiplexing": num_tx_antennas}.get(self.kind, self.num_streams or 1)
        most = min(num_tx_antennas, num_rx_antennas)
        if count > most:
            got = f"{count} streams from {num_tx_antennas} to {num_rx_antennas} antennas"
            raise ValueError(checks.complaint("Transmission: streams", "too many", got, f"at most {most}"))
        return count

    @property
    def is_orthogonal_pair(self) -> bool:
        """Symbols go out in pairs over two elements."""
        return self.kind == "alamouti"


def precoders(h: Tensor, num_streams: int, precoding: Precoding) -> Tensor:
    """Precoders of one image, from the gains that the transmitter knows.

    Args:
        h: [S, R, A, F] complex, gains in the middle of every slot.
        num_streams: L.
        precoding: how.

    Returns:
        [S, A, L, F] complex with orthonormal columns.
    """
    num_subcarriers = h.shape[-1]
    width = precoding.subband or num_subcarriers
    bands = -(-num_subcarriers // width)
    pad = bands * width - num_subcarriers
    padded = torch.cat([h, h[..., -1:].expand(*h.shape[:-1], pad)], -1) if pad else h
    band = padded.unflatten(-1, (bands, width)).movedim(3, 1)  # [S, bands, R, A, width]
    gram = torch.einsum("sbraw,sbrcw->sbac", band.conj(), band).to(torch.complex128)
    if precoding.csit == "perfect":
        directions = _eigenvectors(gram)[..., :num_streams]
    else:
        book = _codebook(h.shape[2], num_streams, precoding.bits)
        carried = torch.einsum("kal,sbac,kcl->sbk", book.conj(), gram, book).real
        directions = book[carried.argmax(-1)]
    columns = directions.movedim(1, 3)[..., None].expand(-1, -1, -1, -1, width)  # [S, A, L, bands, width]
    return columns.flatten(3)[..., :num_subcarriers].to(h.dtype).contiguous()


def _eigenvectors(gram: Tensor) -> Tensor:
    """Eigenvectors [..., A, A] of falling eigenvalues, the first entry of each real and positive."""
    vectors = torch.linalg.eigh(gram).eigenvectors.flip(-1)
    first = vectors[..., :1, :]
    return vectors * torch.where(first.abs() > 0, first.conj() / first.abs().clamp_min(1e-30), 1.0)


def _codebook(num_antennas: int, num_streams: int, bits: int) -> Tensor:
    """[2^bits, A, L] complex128, random matrices with orthonormal columns, the same everywhere."""
    gen = seeding.generator(_CODEBOOK_SEED)
    shape = (2**bits, num_antennas, num_streams)
    return torch.linalg.qr(seeding.complex_normal(shape, gen, torch.complex128)).Q


def apply_precoder(h: Tensor, precoder: Tensor) -> Tensor:
    """Effective gains of the streams.

    Args:
        h: [S, R, A, T, F] complex.
        precoder: [S, A, L, F] complex.

    Returns:
        [S, R, L, T, F] complex.
    """
    total = multiply(h[:, :, 0, None], precoder[:, None, 0, :, None])
    for antenna in range(1, h.shape[2]):
        total = total + multiply(h[:, :, antenna, None], precoder[:, None, antenna, :, None])
    return total
