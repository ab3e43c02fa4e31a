r"""The linear analog code: block KLT, water-filled power, LMMSE receiver. Nothing is trained.

A code that any learned analog scheme must beat, and the linear path from which the lean network starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from channels import units
from channels.arithmetic import abs_squared
from channels.checks import check_choice, complaint
from channels.equalization import equalize
from channels.types import Csit, Received
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.layout import SymbolLayout
from linksim.jscc.scale_pilot import checkerboard

__all__ = ["LinearAnalogCodec", "waterfill"]

# The scale of an image (rms of its latent map) as a header: 64 steps of 0.25 dB around the mean, 6 bits,
# each bit as BPSK on 16 symbols of the frame.
SCALE_BITS = 6
SCALE_STEP_DB = 0.25
SCALE_REPEATS = 16
# The blind mode adds a checkerboard that the receiver knows to the weakest coefficient: its share of power.
OFFSET_SHARE = 0.01


def waterfill(variance: Tensor, noise: float, power: float) -> Tensor:
    r"""Powers p_i that minimise the sum of λ_i / (1 + p_i/σ²) subject to mean p_i = ``power``.

    p_i = max(0, sqrt(λ_i σ² / μ) - σ²) with μ set by the power constraint.

    Args:
        variance: [K] float, λ_i > 0 in falling order.
        noise: σ², noise variance of one real value, linear.
        power: mean power of one real value, linear.

    Returns:
        [K] float64.

    Source: Lee & Petersen, "Optimal Linear Coding for Vector Channels", IEEE Trans. Commun. 24 (1976).

    Example:
        >>> waterfill(torch.tensor([4.0, 1.0]), noise=1.0, power=1.0).sum().round(decimals=6)
        tensor(2., dtype=torch.float64)
    """
    root = variance.double().clamp_min(1e-12).sqrt()
    num = len(root)
    active = torch.arange(1, num + 1, dtype=torch.float64)
    level = (num * power + active * noise) / root.cumsum(0)  # sqrt(σ²/μ) with the first k active
    good = level * root - noise > 0
    k = int(good.nonzero().max()) if bool(good.any()) else 0
    return (level[k] * root - noise).clamp_min(0.0)


class LinearAnalogCodec:
    """Block KLT coefficients sent as analog symbols.

    The symbols of an image are scaled to unit mean power, so the receiver needs one scale per image:

    * ``scale="sent"``: 6 bits in 96 of the n symbols, BPSK with 16 repetitions, over the same channel;
    * ``scale="blind"``: estimated from a known checkerboard on the weakest coefficient, 1% of the power.
      Blocks that are neighbours resemble each other, so next to nothing of the picture looks like one.

    Coefficient 2i shares its complex symbols with coefficient 2i + 1, so what a short frame leaves out is
    weakest.

    Args:
        klt: transform fitted on a training set.
        scale: "sent" or "blind".
        design_snr_db: SNR for which power is allocated when the transmitter does not know it [dB].

    Source: Lee & Petersen 1976 (linear coding); Jakubczak & Katabi, "A Cross-Layer Design for Scalable Mobile
    Video" (SoftCast), MobiCom 2011, for the idea applied to pictures.
    """

    def __init__(
        self, klt: BlockKlt, *, scale: Literal["sent", "blind"] = "sent", design_snr_db: float = 7.0
    ) -> None:
        check_choice("linear analog code: scale", scale, ("sent", "blind"))
        self.klt = klt
        self.scale = scale
        self.design_snr_db = design_snr_db

    @property
    def block(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return self.klt.size

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout of an image within ``budget`` channel uses: as many coefficients per block as fit."""
        rows, cols = height // self.block, width // self.block
        header = SCALE_BITS * SCALE_REPEATS if self.scale == "sent" else 0
        channels = 2 * max(1, math.ceil((budget - header) / (rows * cols)))
        if channels > len(self.klt.variance) or budget <= 2 * header:
            most = len(self.klt.variance) // 2 * rows * cols
            raise ValueError(
                complaint(
                    "linear analog code: channel uses per image",
                    "out of range",
                    budget,
                    f"{2 * header + 1} to {most} for {height} x {width} pixels",
                    "Change bandwidth.data_ratio or the image size.",
                )
            )
        return SymbolLayout(channels, rows, cols, num_symbols=budget, num_header=header)

    def gains(self, channels: int, snr_db: Tensor) -> tuple[Tensor, float]:
        """Amplitude gains [B, c, 1, 1] and the amplitude of the checkerboard on the last coefficient."""
        variance = self.klt.variance[:channels]
        share = 1.0 - (OFFSET_SHARE if self.scale == "blind" else 0.0)
        rows = []
        for value in snr_db.tolist():
            power = waterfill(variance, units.snr_db_to_no(value) / 2, 0.5 * share)
            rows.append((power / variance.double()).sqrt())
        gains = torch.stack(rows).to(variance)
        offset = math.sqrt(OFFSET_SHARE * 0.5 * channels) if self.scale == "blind" else 0.0
        return gains[:, :, None, None], offset

    def _snr(self, csit: Csit | None, batch: int) -> Tensor:
        return torch.full((batch,), self.design_snr_db) if csit is None else csit.snr_db.detach().cpu()

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1]; ``csit`` as reported, or None."""
        gains, offset = self.gains(layout.channels, self._snr(csit, image.shape[0]))
        z = self.klt.analyse(image, layout.channels) * gains.to(image)
        z[:, -1] += offset * checkerboard(layout.rows, layout.cols).to(image)
        z = torch.cat([z[:, 0::2], z[:, 1::2]], dim=1)  # the layout pairs channel i with i + c/2
        if self.scale == "blind":
            return layout.to_symbols(z)
        return layout.to_symbols(z, self._header(z, layout))

    def _rms_db(self, z: Tensor, layout: SymbolLayout) -> Tensor:
        real, imag = z.chunk(2, dim=1)
        sent = torch.complex(real.flatten(1), imag.flatten(1))[:, : layout.num_payload]
        return units.linear_to_db(abs_squared(sent).mean(-1).clamp_min(1e-12))

    def _header(self, z: Tensor, layout: SymbolLayout) -> Tensor:
        top = 2**SCALE_BITS - 1
        index = (self._rms_db(z, layout) / SCALE_STEP_DB + (top + 1) / 2).round().clamp(0, top).long()
        bits = (index[:, None] >> torch.arange(SCALE_BITS, device=z.device)) & 1
        return (1.0 - 2.0 * bits.repeat(1, SCALE_REPEATS)).to(torch.complex64)

    def _read_scale(self, received: Received, layout: SymbolLayout) -> Tensor:
        x_hat, no_eff = equalize(received, "zf")
        soft = layout.header(x_hat).real / layout.header(no_eff.to(x_hat.dtype)).real
        bits = (soft.unflatten(1, (SCALE_REPEATS, SCALE_BITS)).sum(1) < 0).long()
        index = (bits << torch.arange(SCALE_BITS, device=bits.device)).sum(-1)
        rms_db = (index - 2 ** (SCALE_BITS - 1)) * SCALE_STEP_DB
        return units.db_to_linear(rms_db.to(no_eff)).sqrt()

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W] in [0, 1]: LMMSE estimate of every coefficient from its own symbol and SNR.

        ``csit`` is what the transmitter used: the gains follow from it at both ends.
        """
        x_hat, no_eff = equalize(received, "zf")
        gains, offset = self.gains(layout.channels, self._snr(csit, x_hat.shape[0]))
        gains = gains.to(no_eff)
        noise = layout.to_pair_map(no_eff, fill=float("inf")).repeat_interleave(2, dim=1) / 2
        latent = torch.stack(layout.to_map(x_hat).chunk(2, dim=1), dim=2).flatten(1, 2)
        board = checkerboard(layout.rows, layout.cols).to(no_eff)
        if self.scale == "sent":
            scale = self._read_scale(received, layout)
        else:
            weight = 1 / noise[:, -1]
            mean = (weight * board * latent[:, -1]).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-12)
            scale = offset / mean.clamp_min(0.05 * offset)
        gains = gains / scale[:, None, None, None]
        latent[:, -1] -= (offset / scale)[:, None, None] * board
        variance = self.klt.variance[: layout.channels].to(no_eff)[:, None, None]
        weight = gains * variance / (gains.square() * variance + noise)
        coefficients = torch.where(torch.isfinite(noise), weight * latent, torch.zeros_like(latent))
        return self.klt.synthesise(coefficients).clamp(0, 1)
