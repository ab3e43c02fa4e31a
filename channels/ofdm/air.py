"""Fading of an OFDM link: gains of one image's elements from the impulse responses of a delay model."""

from __future__ import annotations

import torch
from torch import Tensor

from channels.models.base import DelayModel, frequency_response
from channels.ofdm.grid import SlotGrid
from channels.ofdm.interference import drawn_interference_power

__all__ = ["Air"]


class Air:
    """What a waveform meets on its way, in the frequency domain.

    Args:
        model: delay model.
        grid: resource grid of a slot.
        dtype: complex, of the gains.
    """

    def __init__(self, model: DelayModel, grid: SlotGrid, dtype: torch.dtype) -> None:
        self._model, self._grid, self._dtype = model, grid, dtype
        self._last_response: tuple[Tensor, Tensor] | None = None

    @property
    def latest_s(self) -> float:
        """Delay of the latest path that disturbs nothing [s]."""
        return self._grid.prefix_s

    def draw(self, slots: int, start_s: float) -> tuple[Tensor, Tensor | None, float | None]:
        """Gains of one image [S, R, A, T, F] at the start of every OFDM symbol, what else the waveform needs
        of it, [steps + 1, ...] over all slots, and the interference of a place of its own.

        Args:
            slots: S.
            start_s: when the first one begins [s].
        """
        grid = self._grid
        gains, delays, spilled = self._paths(slots * grid.num_ofdm_symbols, 1 / grid.symbol_s, start_s)
        paths = gains[0, 0, :, 0].to(self._dtype).transpose(-1, -2)  # [R, A, S·T, paths]
        h = paths @ self._response(delays.flatten())
        return h.unflatten(2, (slots, grid.num_ofdm_symbols)).movedim(2, 0), None, spilled

    def _paths(self, steps: int, rate_hz: float, start_s: float) -> tuple[Tensor, Tensor, float | None]:
        """Gains and delays of the model from a time [s] on, and the interference of a place of its own."""
        later = {"start_s": start_s} if start_s else {}  # a model that is only sent over once needs no start
        gains, delays = self._model(1, steps, rate_hz, **later)
        if not self._model.own_profiles:
            return gains, delays, None
        grid, pairs = self._grid, gains[0, 0, :, 0].flatten(0, 1)
        symbol_s = 1 / grid.subcarrier_spacing_hz
        spilled = drawn_interference_power(pairs, delays.flatten(), 1 / rate_hz, symbol_s, self.latest_s)
        return gains, delays, spilled

    def _response(self, delays: Tensor) -> Tensor:
        """:meth:`_new_response`; the last one is kept, as many models have the same delays in every draw."""
        if self._last_response is None or not torch.equal(self._last_response[0], delays):
            self._last_response = delays, self._new_response(delays)
        return self._last_response[1]

    def _new_response(self, delays: Tensor) -> Tensor:
        """What paths with these delays [paths] make at the subcarriers, [paths, F]."""
        grid = self._grid
        response = frequency_response(delays, grid.num_subcarriers, grid.subcarrier_spacing_hz)
        return response.to(self._dtype)
