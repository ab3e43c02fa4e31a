"""Beams of receive antennas and modes of streams in which the gains of a link are uncorrelated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.models.base import Covariance, DelayModel

__all__ = ["Directions"]

_ALIKE = 1e-6


@dataclass(frozen=True)
class Directions:
    """Of a delay model and streams.

    Args:
        model: of the link.
        num_streams: L.
        beams: [R, R] complex128, unitary, a beam per column; None: the antennas, which are uncorrelated.
        modes: [L, L] complex128, of the streams in the same way.

    Source: Weichselberger et al., "A Stochastic MIMO Channel Model with Joint Correlation of Both Link Ends",
        IEEE Trans. Wireless Commun. 5 (2006).
    """

    model: DelayModel
    num_streams: int
    beams: Tensor | None = None
    modes: Tensor | None = None

    @classmethod
    def of(cls, model: DelayModel, num_streams: int, *, precoded: bool) -> Directions:
        """Those of a model. Precoding knows no modes."""
        pairs = _pairs(model)
        beams = _eigenvectors(torch.einsum("raqa->rq", pairs) / model.num_tx_antennas)
        if precoded or num_streams == 1:
            return cls(model, num_streams, beams)
        modes = _eigenvectors(torch.einsum("rarc->ac", pairs) / model.num_rx_antennas)
        return cls(model, num_streams, beams, modes)

    def seen(self, turned: Callable[[Covariance], Covariance]) -> tuple[tuple[Covariance, ...], ...] | None:
        """Statistics of every stream or mode in every beam, with what oscillators make of them; None: all
        alike.
        """
        if self.beams is None and self.modes is None:
            return None
        u = (
            torch.eye(self.model.num_rx_antennas, dtype=torch.complex128)
            if self.beams is None
            else self.beams
        )
        columns = [None] * self.num_streams if self.modes is None else list(self.modes.T)
        return tuple(tuple(turned(self.model.seen_through(beam, mode)) for beam in u.T) for mode in columns)

    def powers(self) -> Tensor:
        """E|h|² of the gain of every stream or mode in every beam without precoding, [L, R] float64, over all
        streams 1 on average (with both, the coupling matrix of Weichselberger et al.).
        """
        num_rx, num_tx = self.model.num_rx_antennas, self.model.num_tx_antennas
        if self.beams is None and self.modes is None:
            return torch.ones(self.num_streams, num_rx, dtype=torch.float64)  # whatever rounding says
        u = torch.eye(num_rx, dtype=torch.complex128) if self.beams is None else self.beams
        v = torch.eye(num_tx, dtype=torch.complex128) if self.modes is None else self.modes
        return torch.einsum("rb,raqc,qb,am,cm->mb", u.conj(), _pairs(self.model), u, v.conj(), v).real


def _pairs(model: DelayModel) -> Tensor:
    """Spatial covariance of the model, [R, A, R, A] complex128."""
    shape = (model.num_rx_antennas, model.num_tx_antennas) * 2
    return model.spatial_covariance().to(torch.complex128).reshape(shape)


def _eigenvectors(covariance: Tensor) -> Tensor | None:
    """Of a covariance [N, N], one per column; None for that of uncorrelated gains of equal power."""
    if float((covariance - torch.eye(len(covariance))).abs().max()) < _ALIKE:
        return None
    return torch.linalg.eigh(covariance).eigenvectors
