"""DiffJSCC as a scheme: a JSCC codec, and a diffusion receiver behind its decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from channels.types import Csit, Received
from linksim.diffusion.receiver import DiffusionReceiver
from linksim.jscc.csi_embedding import csi_kind, csi_vector, gamma_map
from linksim.schemes.base import CsitKind, Frame, Info, Reconstruction
from linksim.schemes.jscc import JsccLayout, JsccScheme

__all__ = ["DiffJsccScheme"]


class DiffJsccScheme:
    """JSCC, then diffusion conditioned on the initial reconstruction, its caption and the SNR.

    Nothing but the symbols is sent: condition and caption are made at the receiver. The control module is
    given the SNR that the codec's CSI vector begins with: the effective SNR of the symbols as the receiver
    estimates it, so that a fade reaches it; the average SNR where the codec is given the gain beside it, as
    the authors do. Models that were trained with a map of the SNR over the picture are given that too.

    Args:
        jscc: transmitter and first receiver.
        diffusion: second receiver.
        control_snr_db: for ablations, what the control module is told whatever the channel [dB].
    """

    def __init__(
        self, jscc: JsccScheme, diffusion: DiffusionReceiver, control_snr_db: float | None = None
    ) -> None:
        self.name = jscc.name
        self.csit: CsitKind = jscc.csit
        self._jscc, self._diffusion, self._control_snr_db = jscc, diffusion, control_snr_db

    def check(self, height: int, width: int, budget: int) -> None:
        """See :class:`linksim.schemes.jscc.JsccScheme`; the diffusion takes any size."""
        self._jscc.check(height, width, budget)

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.Scheme`."""
        return self._jscc.transmit(image, budget, csit)

    def receive(self, received: Received, layout: JsccLayout, seeds: Sequence[int]) -> Reconstruction:
        """See :class:`linksim.schemes.base.Scheme`; ``stages["jscc"]`` is the initial reconstruction."""
        first = self._jscc.receive(received, layout, seeds)
        kind = csi_kind(self._jscc.codec)
        snr_db = csi_vector(received.csi, kind)[:, 0]
        if self._control_snr_db is not None:
            snr_db = torch.full_like(snr_db, self._control_snr_db)
        spread = gamma_map(received.csi, layout.symbols)
        image = self._diffusion(first.image, snr_db, seeds, spread).to(first.image.device)
        marks: list[Info] = [
            {"snr_outside_training": 1} if outside else {}
            for outside in self._diffusion.outside_training(snr_db)
        ]
        return Reconstruction(image, first.states, stages={"jscc": first.image}, info=tuple(marks))
