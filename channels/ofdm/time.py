"""OFDM sample by sample: prefix, multipath convolution, and what goes wrong when the prefix is short."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from channels.arithmetic import multiply, scale
from channels.ofdm.air import Air
from channels.ofdm.draw import OfdmDraw
from channels.ofdm.front_end import OVERSAMPLING
from channels.ofdm.link import OfdmChannel
from channels.ofdm.waveform import OfdmWaveform
from channels.types import Draw

__all__ = ["TimeDomainOfdmChannel"]

# Delays between samples are interpolated by a Kaiser window on a sinc; at four times the rate F·Δf this half
# length leaves an error below 3e-4 (-70 dB) in the band.
_HALF_LENGTH = 6
_KAISER_BETA = 7.0
_STEPS_PER_SYMBOL = 8  # at which fading is drawn; it is a straight line in between


class SampledAir(Air):
    """What a waveform meets on its way, sample by sample."""

    @property
    def latest_s(self) -> float:
        """The window opens early by half the interpolation filter."""
        grid = self._grid
        early_s = _HALF_LENGTH / (OVERSAMPLING * grid.num_subcarriers * grid.subcarrier_spacing_hz)
        return max(grid.prefix_s - early_s, 0.0)

    def draw(self, slots: int, start_s: float) -> tuple[Tensor, Tensor, float | None]:
        """Gains [S, R, A, T, F], taps [S·T·8 + 1, R, A, taps] and interference of one image."""
        grid = self._grid
        steps = slots * grid.num_ofdm_symbols * _STEPS_PER_SYMBOL + 1
        gains, delays, spilled = self._paths(steps, _STEPS_PER_SYMBOL / grid.symbol_s, start_s)
        here = gains.abs().sum((0, 1, 2, 3, 4, 6)) > 0  # cells pad with paths of no power and any delay
        if not here.any():  # a blocked place: one path of no power
            here[0] = True
            delays = torch.zeros_like(delays)
        gains, delays = gains[..., here, :], delays[..., here]
        filters = self._response(delays.flatten())
        taps = (gains[0, 0, :, 0].to(self._dtype).transpose(-1, -2) @ filters).movedim(2, 0)
        return self._gains(taps, slots), taps, spilled

    def _new_response(self, delays: Tensor) -> Tensor:
        """What paths with these delays [paths] make at the taps, [paths, taps]."""
        grid = self._grid
        waveform = OfdmWaveform(grid.num_subcarriers, grid.prefix_length, OVERSAMPLING)
        place = delays.double() * waveform.sample_rate_hz(grid.subcarrier_spacing_hz)
        count = int(place.max().ceil()) + 2 * _HALF_LENGTH + 1
        return _delay_filters(place, count).to(self._dtype)

    def _gains(self, taps: Tensor, slots: int) -> Tensor:
        """Mean gain of every element over its symbol, of taps [steps, R, A, taps]."""
        grid = self._grid
        width = OVERSAMPLING * (grid.num_subcarriers + grid.prefix_length)
        window = torch.arange(width - OVERSAMPLING * grid.num_subcarriers, width)
        weight = torch.zeros(_STEPS_PER_SYMBOL + 1, dtype=taps.real.dtype)  # of the line between the steps
        at = window.to(weight.dtype) * _STEPS_PER_SYMBOL / width
        low = at.floor().long()
        weight.index_add_(0, low, 1 - (at - low))
        weight.index_add_(0, low + 1, at - low)
        of_symbol = taps[:-1].unflatten(0, (slots * grid.num_ofdm_symbols, _STEPS_PER_SYMBOL))
        following = torch.cat([of_symbol[1:, :1], taps[-1:][None]])
        points = torch.cat([of_symbol, following], 1)
        mean = torch.einsum("nkrat,k->nrat", points, (weight / len(window)).to(points.dtype))
        carrier = torch.arange(grid.num_subcarriers, dtype=torch.float64) - grid.num_subcarriers // 2
        lag = torch.arange(taps.shape[-1], dtype=torch.float64) - _HALF_LENGTH
        phase = -2 * math.pi * lag[:, None] * carrier / (OVERSAMPLING * grid.num_subcarriers)
        h = mean @ torch.polar(torch.ones_like(phase), phase).to(self._dtype)
        return h.unflatten(0, (slots, grid.num_ofdm_symbols)).movedim(1, 3)


class TimeDomainOfdmChannel(OfdmChannel):
    r"""OFDM over samples: y(n) = Σ_l g_l(n) x(n - l) + w(n), at four times the rate F·Δf.

    The same link as :class:`channels.ofdm.link.OfdmChannel` with the same arguments, draws and definitions,
    but the waveform is made: modulated with its prefix, convolved with the moving impulse response,
    demodulated.
    Paths behind the prefix, Doppler within a symbol and timing errors therefore make the interference that
    they make, instead of Gaussian noise of the same mean power; ``interference`` is only what the receiver is
    told. The gain of an element is that of its symbol on average, not at its start.

    The interpolation filter of the delays takes three samples of the prefix (of rate F·Δf): with a prefix of
    the longest delay and three samples more, both operators agree (see ``tests/theory``).

    Args:
        model: and all other arguments, see :class:`channels.ofdm.link.OfdmChannel`.

    Source: Sionna 2.2 ``cir_to_time_channel``, ``ApplyTimeChannel`` (the same sum; there critically sampled);
        Laakso et al., "Splitting the Unit Delay", IEEE Signal Process. Mag. 13 (1996).
    """

    @cached_property
    def _waveform(self) -> OfdmWaveform:
        return OfdmWaveform(self._grid.num_subcarriers, self._grid.prefix_length, OVERSAMPLING)

    @cached_property
    def _advance(self) -> Tensor:
        """e^(j2π k d / N) [F]: what a window that opens d = half a filter early does to the subcarriers."""
        count = self._grid.num_subcarriers
        carrier = torch.arange(count, dtype=torch.float64) - count // 2
        turn = 2 * math.pi * carrier * _HALF_LENGTH / (OVERSAMPLING * count)
        return torch.polar(torch.ones_like(turn), turn).to(self.device, self.cdtype)

    def _make_air(self) -> SampledAir:
        return SampledAir(self._model, self._grid, self.cdtype)

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """Received grid [B, S, R, T, F], pilots included."""
        assert isinstance(draw, OfdmDraw)
        slots = draw.h.shape[1]
        sent = self._sent(x, draw)
        samples = self._waveform.modulate(sent.movedim(1, 2).flatten(2, 3))
        if self._front_end is not None:
            assert draw.sender is not None
            samples = self._front_end.transmit_samples(samples, draw.sender)
        # the window opens early by half the filter; the noise is turned so that it is the drawn one
        noise = scale(draw.noise, no.sqrt()[:, :, None, None, None]) * self._advance.conj()
        received = self._waveform.modulate(noise.movedim(1, 2).flatten(2, 3))
        received = received + self._convolve(samples, draw)
        if self._front_end is not None:
            assert draw.receiver is not None
            received = self._front_end.receive_samples(received, draw.receiver)
        grid = self._waveform.demodulate(received).unflatten(2, (slots, -1)).movedim(2, 1)
        return multiply(grid, self._advance.expand(grid.shape))

    def _convolve(self, samples: Tensor, draw: OfdmDraw) -> Tensor:
        """Received samples [B, R, N] of sent ones [B, A, N]."""
        assert draw.air is not None
        taps = draw.air  # [B, steps, R, A, taps], padded with zeros to the longest of the batch
        count = samples.shape[-1]
        steps = taps.shape[1] - 1
        at = torch.arange(count, device=samples.device, dtype=torch.float64) * (steps / count)
        low = at.floor().long().clamp_max(steps - 1)
        share = (at - low).to(self.dtype)
        total = torch.zeros(len(samples), self._num_rx, count, dtype=samples.dtype, device=samples.device)
        for lag in range(taps.shape[-1]):
            tap = taps[..., lag].movedim(1, -1)  # [B, R, A, steps + 1]
            line = scale(tap[..., low], 1 - share) + scale(tap[..., low + 1], share)
            late = torch.nn.functional.pad(samples, (lag, 0))[..., :count]
            for antenna in range(self._num_tx):
                total = total + multiply(line[:, :, antenna], late[:, None, antenna])
        return total


def _delay_filters(place: Tensor, count: int) -> Tensor:
    """Taps [paths, count] float64 that delay by ``place`` samples and half the filter more."""
    offset = torch.arange(count, dtype=torch.float64) - _HALF_LENGTH - place[:, None]
    inside = (1 - (offset / (_HALF_LENGTH + 1)).square()).clamp_min(0.0)
    window = torch.special.i0(_KAISER_BETA * inside.sqrt()) / torch.special.i0(
        torch.tensor(_KAISER_BETA, dtype=torch.float64)
    )
    return torch.sinc(offset) * torch.where(offset.abs() < _HALF_LENGTH + 1, window, 0.0)
