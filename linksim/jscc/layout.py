"""How a latent map becomes channel symbols and back: the only place that pairs, orders and normalises."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from channels.arithmetic import abs_squared
from channels.checks import complaint

__all__ = ["SymbolLayout"]


@dataclass(frozen=True)
class SymbolLayout:
    """Order of a latent map [B, c, h, w] within n complex symbols.

    Complex value i of a position pairs channel i (real part) with channel i + c/2 (imaginary part), the
    convention of DiffJSCC; symbols run over (pair, row, column). Both ends know the layout from the image
    size and the grant of n channel uses; it holds nothing that depends on the picture.

    Args:
        channels: c, even.
        rows: h.
        cols: w.
        num_symbols: n, symbols sent; None = all c/2·h·w. With fewer, the last values are not sent and read
            back as 0.
        num_header: of the n symbols, this many, spread evenly over the frame, carry a header of the scheme
            instead of latent values.

    Raises:
        ValueError: c odd, or more symbols than the map can fill.
    """

    channels: int
    rows: int
    cols: int
    num_symbols: int | None = None
    num_header: int = 0

    def __post_init__(self) -> None:
        if self.channels < 2 or self.channels % 2:
            raise ValueError(complaint("SymbolLayout: channels", "not even", self.channels, "2, 4, 6, ..."))
        if self.num_symbols is None:
            object.__setattr__(self, "num_symbols", self.capacity + self.num_header)
        if not 0 <= self.num_header < self.total:
            raise ValueError(
                complaint(
                    "SymbolLayout: num_header", "out of range", self.num_header, f"0 to {self.total - 1}"
                )
            )
        if self.num_payload > self.capacity:
            raise ValueError(
                complaint(
                    "SymbolLayout: num_symbols",
                    "more than the latent map fills",
                    self.num_payload,
                    f"at most {self.capacity} = {self.channels}/2 x {self.rows} x {self.cols}",
                    "Use a codec with more latent channels.",
                )
            )

    @classmethod
    def filled(cls, channels: int, height: int, width: int, block: int, budget: int) -> SymbolLayout:
        """Layout of a network that sends its whole latent map.

        Args:
            channels: c, even.
            height, width: sides of the picture [pixels], multiples of ``block``.
            block: pixels per latent position, along a side.
            budget: n, complex channel uses granted.

        Raises:
            ValueError: the map fills another number of uses.
        """
        layout = cls(channels, height // block, width // block)
        if layout.total != budget:
            ratio = Fraction(channels, 6 * block**2)
            got = f"{budget} channel uses for {height} x {width} pixels"
            cure = f"Set bandwidth.data_ratio: {ratio}, or take another checkpoint."
            raise ValueError(
                complaint("bandwidth.data_ratio", "does not fit the network", got, layout.total, cure)
            )
        return layout

    @property
    def capacity(self) -> int:
        """Complex values of the whole latent map."""
        return self.channels // 2 * self.rows * self.cols

    @property
    def total(self) -> int:
        """n, symbols per image."""
        assert self.num_symbols is not None
        return self.num_symbols

    @property
    def num_payload(self) -> int:
        """Symbols that carry latent values."""
        return self.total - self.num_header

    def header_positions(self) -> Tensor:
        """[num_header] indices of the header symbols within the frame."""
        step = self.total / max(self.num_header, 1)
        return (torch.arange(self.num_header) * step).long()

    @staticmethod
    def normalize(x: Tensor) -> Tensor:
        """Scale every image's symbols [B, n] to mean |x|² = 1."""
        power = abs_squared(x).mean(-1, keepdim=True)
        return x / power.clamp_min(1e-20).sqrt()

    def to_symbols(self, z: Tensor, header: Tensor | None = None) -> Tensor:
        """Symbols with mean |x|² = 1 per image.

        Args:
            z: [B, c, h, w] float latent map.
            header: [B, num_header] complex with unit power, if the layout has a header.

        Returns:
            [B, n] complex.
        """
        if tuple(z.shape[1:]) != (self.channels, self.rows, self.cols):
            expected = (self.channels, self.rows, self.cols)
            raise ValueError(
                complaint("SymbolLayout: latent map", "wrong shape", tuple(z.shape[1:]), expected)
            )
        real, imag = z.chunk(2, dim=1)
        payload = self.normalize(torch.complex(real.flatten(1), imag.flatten(1))[:, : self.num_payload])
        if not self.num_header:
            return payload
        if header is None or tuple(header.shape) != (z.shape[0], self.num_header):
            got = None if header is None else tuple(header.shape)
            raise ValueError(
                complaint("SymbolLayout: header", "wrong shape", got, (z.shape[0], self.num_header))
            )
        frame = payload.new_zeros(z.shape[0], self.total)
        is_header = self._header_mask(z.device)
        frame[:, ~is_header] = payload
        frame[:, is_header] = header
        return frame

    def _header_mask(self, device: torch.device) -> Tensor:
        mask = torch.zeros(self.total, dtype=torch.bool, device=device)
        mask[self.header_positions().to(device)] = True
        return mask

    def header(self, x_hat: Tensor) -> Tensor:
        """[B, num_header] header symbols of a frame [B, n]."""
        return x_hat[:, self._header_mask(x_hat.device)]

    def _payload(self, values: Tensor, fill: float) -> Tensor:
        if self.num_header:
            values = values[:, ~self._header_mask(values.device)]
        if self.num_payload < self.capacity:
            tail = values.new_full((values.shape[0], self.capacity - self.num_payload), fill)
            values = torch.cat([values, tail], dim=1)
        return values.unflatten(1, (self.channels // 2, self.rows, self.cols))

    def to_map(self, x_hat: Tensor) -> Tensor:
        """Latent map [B, c, h, w] float of complex symbols [B, n]; inverse of pairing and ordering."""
        pairs = self._payload(x_hat, 0.0)
        return torch.cat([pairs.real, pairs.imag], dim=1)

    def to_pair_map(self, per_symbol: Tensor, fill: float = 0.0) -> Tensor:
        """Map [B, c/2, h, w] of one real number per symbol [B, n] (an SNR, a variance)."""
        return self._payload(per_symbol, fill)
