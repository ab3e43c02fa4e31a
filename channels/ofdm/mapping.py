"""Symbols of a frame on resource elements, streams and transmit antennas."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from channels import checks
from channels.antennas.transmission import Transmission
from channels.arithmetic import multiply
from channels.ofdm.grid import SlotGrid
from channels.types import ChannelUses

__all__ = ["SymbolMapping"]


class SymbolMapping:
    """Where the symbols of a frame stand.

    Args:
        grid: resource grid of a slot.
        transmission: streams and precoding.

    Raises:
        ValueError: a grid without room for a symbol.
    """

    def __init__(self, grid: SlotGrid, transmission: Transmission) -> None:
        self._grid, self._num_streams = grid, grid.num_streams
        self._is_pair = transmission.is_orthogonal_pair
        if self.symbols_per_slot == 0:
            got, expected = f"{len(grid.data)} data elements per slot", "two for Alamouti's code"
            raise ValueError(checks.complaint("OfdmChannel: resource grid", "too small", got, expected))

    @property
    def symbols_per_slot(self) -> int:
        """Symbols that a slot takes."""
        elements = len(self._grid.data)
        return elements // 2 * 2 if self._is_pair else elements * self._num_streams

    @property
    def symbols_per_use(self) -> int:
        """Symbols to a data element."""
        return 1 if self._is_pair else self._num_streams

    def num_slots(self, num_symbols: int) -> int:
        """S, slots of a frame."""
        return math.ceil(num_symbols / self.symbols_per_slot)

    def uses(self, num_symbols: int) -> ChannelUses:
        """See :meth:`channels.ofdm.link.OfdmChannel.uses`."""
        grid, slots = self._grid, self.num_slots(num_symbols)
        data = math.ceil(num_symbols / self.symbols_per_use)
        pilot = slots * grid.num_pilots
        return ChannelUses(data=data, pilot=pilot, guard=slots * grid.num_samples - data - pilot)

    def to_streams(self, x: Tensor, slots: int) -> Tensor:
        """Filled grids of the streams [B, S, L, T, F] of symbols [B, n]."""
        padded = torch.nn.functional.pad(x, (0, slots * self.symbols_per_slot - x.shape[1]))
        symbols = padded.unflatten(1, (slots, self.symbols_per_slot))
        if self._is_pair:
            first, second = symbols[..., 0::2], symbols[..., 1::2]
            rows = [torch.stack([first, -second.conj()], -1), torch.stack([second, first.conj()], -1)]
            symbols = torch.stack([row.flatten(-2) for row in rows], 2)
            odd = len(self._grid.data) - symbols.shape[-1]
            symbols = torch.nn.functional.pad(symbols, (0, odd))
        else:
            symbols = symbols.unflatten(2, (-1, self._num_streams)).transpose(2, 3)
        return self._grid.fill(symbols)

    def to_antennas(self, streams: Tensor, precoder: Tensor | None) -> Tensor:
        """Grids of the transmit antennas [B, S, A, T, F]; unit power per element over all of them.

        Args:
            streams: [B, S, L, T, F] complex.
            precoder: [B, S, A, L, F] complex; None: every stream has an antenna.
        """
        if self._num_streams > 1:
            streams = streams * (1 / math.sqrt(self._num_streams))
        if precoder is None:
            return streams
        weights = precoder[:, :, :, :, None]  # [B, S, A, L, 1, F]
        total = multiply(weights[:, :, :, 0], streams[:, :, None, 0])
        for i in range(1, self._num_streams):
            total = total + multiply(weights[:, :, :, i], streams[:, :, None, i])
        return total
