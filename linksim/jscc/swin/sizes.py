"""Sizes of SwinJSCC; PyTorch is not needed to speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

__all__ = ["Adaptive", "SwinJsccConfig"]

Adaptive = Literal["none", "snr", "rate", "snr_rate"]


@dataclass(frozen=True)
class SwinJsccConfig:
    """Sizes of a :class:`linksim.jscc.swin.codec.SwinJscc`; the authors' "base" by default.

    Args:
        adaptive: what both ends adapt to: "none" (the authors' w/o_SAandRA), "snr" (w/_SA; also WITT), "rate"
            (w/_RA), "snr_rate" (w/_SAandRA).
        rates: latent channels C at 1/2^stages resolution that may be sent, even and rising: one number of
            networks that do not adapt to the rate; of others at most the last of ``widths``.
        widths, depths, heads: channels, blocks and attention heads of the encoder's stages, finest first; the
            decoder mirrors them.
        window: tokens along a side of an attention window.
        mlp_ratio: hidden over outer channels of the MLPs.
        image_size: height and width of the pictures of the training: a stage that is no larger than a window
            there has one window and no shift.
    """

    adaptive: Adaptive = "snr_rate"
    rates: tuple[int, ...] = (32, 64, 96, 128, 192)
    widths: tuple[int, ...] = (128, 192, 256, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 6, 8, 10)
    window: int = 8
    mlp_ratio: float = 4.0
    image_size: tuple[int, int] = (256, 256)

    csi: ClassVar[str] = "snr"

    @property
    def knows_snr(self) -> bool:
        """Whether both ends are told the SNR."""
        return self.adaptive in ("snr", "snr_rate")

    @property
    def has_rates(self) -> bool:
        """Whether it sends a choice of its channels."""
        return self.adaptive in ("rate", "snr_rate")

    @property
    def latent_channels(self) -> int:
        """Channels of the whole latent map."""
        return self.widths[-1] if self.has_rates else self.rates[-1]

    def check(self) -> None:
        """Raise ValueError for sizes that do not fit each other."""
        levels = len(self.widths)
        if levels < 1 or len(self.depths) != levels or len(self.heads) != levels:
            got = f"{len(self.depths)} depths and {len(self.heads)} heads"
            raise ValueError(f"depths, heads: got {got}, expected {levels}, as widths.")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise ValueError(f"widths: got {width} channels for {heads} heads, expected a multiple.")
        rates = self.rates
        if not rates or list(rates) != sorted(set(rates)) or any(c < 2 or c % 2 for c in rates):
            raise ValueError(f"rates: got {list(rates)}, expected even numbers that rise.")
        if self.has_rates and rates[-1] > self.widths[-1]:
            raise ValueError(
                f"rates: got {rates[-1]}, expected at most {self.widths[-1]}, the last of widths."
            )
        if not self.has_rates and len(rates) > 1:
            got = f"{len(rates)} rates of a network that does not adapt to them"
            raise ValueError(f"rates: got {got}, expected one.")

    def windows(self, level: int) -> tuple[int, int]:
        """Window and shift at 1/2^level resolution."""
        side = min(self.image_size) // 2**level
        return (side, 0) if side <= self.window else (self.window, self.window // 2)
