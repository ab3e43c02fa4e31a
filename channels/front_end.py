"""Imperfect radios around an OFDM grid, and around channels without one.

May import: torch, channels.{types, checks, seeding, base, grid, impairments, signal_quality, waveform,
delay_models (protocol)}.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels import checks, seeding
from channels.base import ChannelOperator, later_seeds
from channels.delay_models import Covariance
from channels.grid import SlotGrid
from channels.impairments import (
    CarrierFrequencyOffset,
    FrontEnd,
    Impairment,
    NarrowbandInterferer,
    PhaseNoise,
    TimingOffset,
)
from channels.signal_quality import papr_db, residual_power
from channels.types import ChannelUses, Draw, Received
from channels.waveform import OfdmWaveform

__all__ = ["OVERSAMPLING", "OfdmFrontEnd", "SingleCarrierChannel"]

OVERSAMPLING = 4
_TRIAL_SLOTS, _TRIAL_SEEDS = 2, tuple(range(38104, 38112))
_TRIAL_DIRECTIONS = 2
_WINDOW_STEPS = 1024
_TRIAL_SYMBOLS, _TRIAL_BLOCK = 4096, 64
_ROTATING = (CarrierFrequencyOffset, PhaseNoise, TimingOffset)


def _both_sides(impairments: Sequence[Impairment]) -> tuple[FrontEnd, FrontEnd]:
    """Transmitter and receiver, each with its impairments in their order."""
    return (
        FrontEnd([i for i in impairments if i.side == "transmitter"]),
        FrontEnd([i for i in impairments if i.side == "receiver"]),
    )


def _draw_both(
    transmitter: FrontEnd,
    receiver: FrontEnd,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    rate_hz: float,
    devices: Sequence[int],
    seeds: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Randomness of both sides, [B, K] and [B, K'] float64: of the seeds ``devices`` what lasts, of ``seeds``
    the rest; ``sizes``: antennas and samples of each.
    """

    def drawn(seed: int) -> list[Tensor]:
        gen = seeding.generator(seeding.derived_seed(seed, "hardware"))
        sides = zip((transmitter, receiver), sizes, strict=True)
        return [side.draw(*size, rate_hz, gen) for side, size in sides]

    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    for device, seed in zip(devices, seeds, strict=True):
        states = drawn(seed)
        if device != seed:
            triples = zip((transmitter, receiver), drawn(device), states, sizes, strict=True)
            states = [side.later(old, new, *size) for side, old, new, size in triples]
        for column, state in zip(rows, states, strict=True):
            column.append(state)
    return torch.stack(rows[0]), torch.stack(rows[1])


class OfdmFrontEnd:
    """The radios at both ends of an OFDM link: grids become samples, pass the impairments, and grids again.

    Samples run over all slots of an image, cyclic prefixes included, at four times the rate F·Δf, so that
    phases go on from symbol to symbol and out-of-band distortion is not folded back. The nominal power at a
    transmit antenna is 1/A of a resource element times the share of used subcarriers.

    Args:
        impairments: those of the transmitter act in their order, then those of the receiver in theirs.
        grid: of a slot.
        num_tx: transmit antennas A.
    """

    def __init__(self, impairments: Sequence[Impairment], grid: SlotGrid, num_tx: int) -> None:
        self._transmitter, self._receiver = _both_sides(impairments)
        self._grid, self._num_tx = grid, num_tx
        self._waveform = OfdmWaveform(grid.num_subcarriers, grid.prefix_length, OVERSAMPLING)
        self._rate_hz = OVERSAMPLING * grid.num_subcarriers * grid.subcarrier_spacing_hz
        self._power = grid.num_used / grid.num_subcarriers
        self._impairments = tuple(impairments)
        known = [i for i in impairments if not isinstance(i, NarrowbandInterferer)]
        self._all_known = len(known) == len(impairments)
        self._without_interferer = self if self._all_known else OfdmFrontEnd(known, grid, num_tx)

    def draw(
        self, slots: int, num_rx: int, devices: Sequence[int], seeds: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """All randomness of transmitter [B, K] and receiver [B, K'], float64, one row per image.

        Args:
            slots: of an image.
            num_rx: receive antennas.
            devices: seeds of what the radios keep from transmission to transmission.
            seeds: of everything else; the same as ``devices`` in a first transmission.
        """
        samples = slots * self._grid.num_samples * OVERSAMPLING
        sizes = (self._num_tx, samples), (num_rx, samples)
        sent, received = _draw_both(self._transmitter, self._receiver, sizes, self._rate_hz, devices, seeds)
        device = self._grid.data.device
        return sent.to(device), received.to(device)

    def transmit(self, grid: Tensor, state: Tensor) -> Tensor:
        """What leaves the antennas for grids [B, S, A, T, F]; the same shape."""
        return self._through(self._transmitter, grid, state, self._power / self._num_tx)

    def receive(self, grid: Tensor, state: Tensor) -> Tensor:
        """What the receiver makes of grids [B, S, R, T, F] at its antennas; the same shape."""
        return self._through(self._receiver, grid, state, self._power)

    def _through(self, chain: FrontEnd, grid: Tensor, state: Tensor, power: float) -> Tensor:
        if not chain.impairments:
            return grid
        samples = chain.apply(self._samples(grid), state, self._rate_hz, power)
        return self._waveform.demodulate(samples).unflatten(2, (grid.shape[1], -1)).movedim(2, 1)

    def transmit_samples(self, samples: Tensor, state: Tensor) -> Tensor:
        """What leaves the antennas for samples [B, A, N]."""
        return self._transmitter.apply(samples, state, self._rate_hz, self._power / self._num_tx)

    def receive_samples(self, samples: Tensor, state: Tensor) -> Tensor:
        """What the receiver makes of samples [B, R, N] at its antennas."""
        return self._receiver.apply(samples, state, self._rate_hz, self._power)

    def _samples(self, grid: Tensor) -> Tensor:
        """Samples [B, A, N] of grids [B, S, A, T, F]."""
        return self._waveform.modulate(grid.movedim(1, 2).flatten(2, 3))

    def papr_db(self, grid: Tensor, state: Tensor) -> Tensor:
        """Peak to average power of what leaves the antennas for grids [B, S, A, T, F], [B] float, dB."""
        samples = self._samples(grid)
        if self._transmitter.impairments:
            samples = self._transmitter.apply(samples, state, self._rate_hz, self._power / self._num_tx)
        return papr_db(samples)

    def distortions(self, *, precoded: bool = False) -> tuple[float, float]:
        """Mean power, over that of the wanted part, of what the hardware of the receiver and that of the
        transmitter add to an element over a flat channel without noise. Gain and phase common to an OFDM
        symbol are none of it, nor the phase ramp of a timing offset (estimators follow them, see
        :meth:`covariance`), nor is an interferer, of which the receiver knows nothing.

        Measured with random QPSK on a few slots of fixed seeds.

        Args:
            precoded: one stream in random directions, received along them, in place of equal antennas.
        """
        if not self._all_known:
            return self._without_interferer.distortions(precoded=precoded)
        both, heard = (self._distortion(transmitted, precoded) for transmitted in (True, False))
        return heard, max(both - heard, 0.0)

    def _distortion(self, transmitted: bool, precoded: bool) -> float:
        if precoded:  # one set of trials after the other: all of their antennas at once take memory
            pairs = [self._trial(transmitted, seed) for seed in range(_TRIAL_DIRECTIONS)]
        else:
            pairs = [self._trial(transmitted, None)]
        left, sent = (sum(column) for column in zip(*pairs, strict=True))
        return left / sent

    def _trial(self, transmitted: bool, direction_seed: int | None) -> tuple[float, float]:
        """Power of what is left, and of what was sent, over the data elements."""
        dtype, device = self._grid.known.dtype, self._grid.data.device
        gen = seeding.generator(_TRIAL_SEEDS[0])
        shape = (len(_TRIAL_SEEDS), _TRIAL_SLOTS, self._grid.num_streams, len(self._grid.data))
        signs = torch.randint(0, 2, (2, *shape), generator=gen) * 2.0 - 1.0
        symbols = torch.complex(signs[0], signs[1]).to(device, dtype) / math.sqrt(2)
        direction = torch.full((len(_TRIAL_SEEDS), self._num_tx), 1 / math.sqrt(self._num_tx), dtype=dtype)
        if direction_seed is not None:
            direction = seeding.complex_normal(direction.shape, seeding.generator(direction_seed), dtype)
            direction = direction / direction.abs().square().sum(1, keepdim=True).sqrt()
        direction = direction.to(device)[:, None, :, None, None]
        with torch.no_grad():
            wanted = self._grid.fill(symbols)[:, :, :1]
            sender, receiver = self.draw(_TRIAL_SLOTS, 1, _TRIAL_SEEDS, _TRIAL_SEEDS)
            got = wanted
            if transmitted:
                sent = self.transmit(wanted * direction, sender)
                got = (sent * direction.conj()).sum(2, keepdim=True)
            got = self.receive(got, receiver) * self._ramp().conj()
        left, sent_power = residual_power(got, wanted), wanted.abs().square()
        at_data = [float(p.flatten(3)[..., self._grid.data].mean()) for p in (left, sent_power)]
        return at_data[0], at_data[1]

    def _ramp(self) -> Tensor:
        """The phase ramp of all timing offsets over the subcarriers, [F]."""
        offset_s = sum(i.offset_s for i in self._receiver.impairments if isinstance(i, TimingOffset))
        grid = self._grid
        carrier = torch.arange(grid.num_subcarriers, dtype=torch.float64) - grid.num_subcarriers // 2
        turn = 2 * math.pi * grid.subcarrier_spacing_hz * offset_s * carrier
        return torch.polar(torch.ones_like(turn), turn).to(grid.known)

    def covariance(self, channel: Covariance) -> Covariance:
        """That of the gains as estimators meet them: turned by offsets and phase noise from OFDM symbol to
        symbol, and by a timing offset from subcarrier to subcarrier.
        """
        ramp = self._ramp().to("cpu", torch.complex128)
        return _TurnedCovariance(channel, self._impairments, ramp, 1 / self._grid.subcarrier_spacing_hz)


@dataclass(frozen=True)
class _TurnedCovariance:
    channel: Covariance
    impairments: tuple[Impairment, ...]
    ramp: Tensor  # [F] complex128
    window_s: float  # over which a gain is the mean: an OFDM symbol without its prefix

    def time_covariance(self, num_symbols: int, symbol_s: float) -> Tensor:
        """See :class:`channels.delay_models.Covariance`."""
        steps = torch.arange(num_symbols)
        lag = torch.arange(1 - num_symbols, num_symbols, dtype=torch.float64) * symbol_s
        turn = self._mean_correlation(lag)[num_symbols - 1 + steps[:, None] - steps[None, :]]
        return self.channel.time_covariance(num_symbols, symbol_s).to(torch.complex128) * turn

    def _mean_correlation(self, lag_s: Tensor) -> Tensor:
        """Correlation of the means over two windows: that of instants, weighted with a triangle. What turns
        within a window is lost to the gain, and counted as distortion.
        """
        share = torch.linspace(-1, 1, 2 * _WINDOW_STEPS + 1, dtype=torch.float64)
        weight = 1 - share.abs()
        at = lag_s[:, None] + share * self.window_s
        turn = torch.ones_like(at, dtype=torch.complex128)
        for impairment in self.impairments:
            turn = turn * impairment.phase_correlation(at)
        return (turn * weight).sum(1) / weight.sum()

    def frequency_covariance(self, num_subcarriers: int, subcarrier_spacing_hz: float) -> Tensor:
        """See :class:`channels.delay_models.Covariance`."""
        of_channel = self.channel.frequency_covariance(num_subcarriers, subcarrier_spacing_hz)
        return self.ramp[:, None] * of_channel.to(torch.complex128) * self.ramp.conj()[None, :]


class SingleCarrierChannel(ChannelOperator):
    """A channel without a resource grid between imperfect radios: impairments act on the symbols themselves,
    one sample per symbol.

    Rotations (frequency offset, phase noise) run over the symbols of an image in their order. The receiver is
    told the noise variance of the channel with the mean distortion of the hardware on top. The gain and phase
    of the hardware are part of that here: pilots leave an ideal transmitter, so no receiver learns them.

    Args:
        inner: AWGN, or block fading. With pilots the impairments must be memoryless: pilots stand behind the
            data in what this operator sees.
        impairments: of transmitter and receiver, each side in this order.
        symbol_rate_hz: symbols per second.

    Raises:
        ValueError: offsets, phase noise or timing errors on a channel with pilots.
    """

    def __init__(
        self, inner: ChannelOperator, impairments: Sequence[Impairment], *, symbol_rate_hz: float
    ) -> None:
        super().__init__(device=inner.device, precision=inner.precision)
        checks.check_positive("SingleCarrierChannel: symbol_rate_hz", symbol_rate_hz, "Hz")
        self._inner, self._rate_hz = inner, symbol_rate_hz
        self._transmitter, self._receiver = _both_sides(impairments)
        moving = [i for i in impairments if isinstance(i, _ROTATING)]
        if moving and inner.uses(64).pilot:
            got = f"{type(moving[0]).__name__} with pilots on a channel without a grid"
            expected = "perfect CSI, or an ofdm channel"
            raise ValueError(checks.complaint("impairments", "not supported", got, expected))
        self.distortion = self._measure([i for i in impairments if not isinstance(i, NarrowbandInterferer)])

    def _measure(self, impairments: Sequence[Impairment]) -> float:
        if not impairments:
            return 0.0
        gen = seeding.generator(_TRIAL_SEEDS[0])
        x = seeding.complex_normal((len(_TRIAL_SEEDS), 1, _TRIAL_SYMBOLS), gen, self.cdtype)
        with torch.no_grad():
            y = x
            for chain in _both_sides(impairments):
                states = [
                    chain.draw(1, _TRIAL_SYMBOLS, self._rate_hz, seeding.generator(s)) for s in _TRIAL_SEEDS
                ]
                y = chain.apply(y, torch.stack(states), self._rate_hz, 1.0)
        sent, got = (signal.unflatten(2, (-1, _TRIAL_BLOCK)) for signal in (x, y))
        nominal = sent.abs().square().mean()
        alpha = (got * sent.conj()).sum(-1, keepdim=True) / sent.abs().square().sum(-1, keepdim=True)
        unlearned = ((1 - alpha) * sent).abs().square().mean()
        return float((residual_power(got, sent).mean() + unlearned) / nominal)

    def uses(self, num_symbols: int) -> ChannelUses:
        return self._inner.uses(num_symbols)

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """That of the inner operator, and mean distortion of the hardware."""
        return self._inner.noise_variance(no) + self.distortion

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> Draw:
        """The inner operator's draw, and the randomness of the hardware."""
        return self._with_hardware(self._inner.draw(num_symbols, seeds), num_symbols, seeds, seeds)

    def draw_again(self, num_symbols: int, seeds: Sequence[int], attempt: int, gap_s: float) -> Draw:
        """The inner operator's; offsets of oscillators stay."""
        inner = self._inner.draw_again(num_symbols, seeds, attempt, gap_s)
        return self._with_hardware(inner, num_symbols, seeds, later_seeds(seeds, attempt))

    def _with_hardware(
        self, inner: Draw, num_symbols: int, devices: Sequence[int], seeds: Sequence[int]
    ) -> Draw:
        sizes = (1, num_symbols), (1, num_symbols + self._inner.uses(num_symbols).pilot)
        both = _draw_both(self._transmitter, self._receiver, sizes, self._rate_hz, devices, seeds)
        return _HardwareDraw(inner, *(state.to(self.device) for state in both))

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """The inner operator's output for what the transmitter sends, through the receiver's hardware."""
        assert isinstance(draw, _HardwareDraw)
        if self._transmitter.impairments:
            x = self._transmitter.apply(x[:, None], draw.sender, self._rate_hz, 1.0)[:, 0]
        y = self._inner.propagate(x, draw.inner, no)
        if self._receiver.impairments:
            y = self._receiver.apply(y[:, None], draw.receiver, self._rate_hz, 1.0)[:, 0]
        return y

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        assert isinstance(draw, _HardwareDraw)
        return self._inner.observe(y_raw, draw.inner, no + self.distortion)

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, _HardwareDraw)
        return self._inner.gain(draw.inner, no)

    def papr_db(self, x: Tensor, draw: Draw) -> Tensor:
        """See :class:`channels.base.ChannelOperator`."""
        assert isinstance(draw, _HardwareDraw)
        sent = self._transmitter.apply(x[:, None], draw.sender, self._rate_hz, 1.0)
        return papr_db(sent)


@dataclass(frozen=True)
class _HardwareDraw(Draw):
    inner: Draw
    sender: Tensor  # [B, K] float64
    receiver: Tensor  # [B, K'] float64

    def select(self, rows: Tensor) -> _HardwareDraw:
        """See :class:`channels.types.Draw`."""
        return _HardwareDraw(self.inner.select(rows), self.sender[rows], self.receiver[rows])
