"""Imperfect radios around an OFDM grid, and around channels without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels import seeding
from channels.arithmetic import multiply
from channels.hardware.effect import HardwareEffect, TurnedCovariance
from channels.hardware.impairment import FrontEnd, Impairment
from channels.hardware.sides import ROTATING, TRIAL_SEEDS, both_sides, draw_both
from channels.hardware.signal_quality import papr_db
from channels.models.base import Covariance
from channels.ofdm.grid import SlotGrid
from channels.ofdm.waveform import OfdmWaveform

__all__ = ["OVERSAMPLING", "OfdmFrontEnd"]

OVERSAMPLING = 4
_TRIAL_SLOTS = 2
_TRIAL_DIRECTIONS = 2
_TINY = 1e-12


@dataclass(frozen=True)
class _Trial:
    """What became of elements of unit power, when gain and phase common to an OFDM symbol are taken off
    (estimators follow them, and the phase ramp of a timing offset).

    Args:
        left: power of what is neither gain nor phase.
        kept: mean power of the gain of an OFDM symbol.
        at_pilots: power left at the pilots of a stream, of all streams together, over that of a pilot.
        gain: mean.
    """

    left: float
    kept: float
    at_pilots: float
    gain: complex


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
        self._transmitter, self._receiver = both_sides(impairments)
        self._grid, self._num_tx = grid, num_tx
        self._waveform = OfdmWaveform(grid.num_subcarriers, grid.prefix_length, OVERSAMPLING)
        self._rate_hz = OVERSAMPLING * grid.num_subcarriers * grid.subcarrier_spacing_hz
        self._power = grid.num_used / grid.num_subcarriers
        self._impairments = tuple(impairments)
        heard = [i for i in self._receiver.impairments if i.effect != "interferes"]
        self._uneven = FrontEnd([i for i in heard if i.effect not in ROTATING])
        self._common = FrontEnd([i for i in heard if i.effect in ROTATING])

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
        sent, received = draw_both(self._transmitter, self._receiver, sizes, self._rate_hz, devices, seeds)
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

    def effect(self, streams: int | None = None) -> HardwareEffect:
        """What the hardware makes of symbols on the grid, on average; of an interferer the receiver knows
        nothing.

        Measured with random QPSK on a few slots of fixed seeds over a flat channel without noise.

        Args:
            streams: that many in random orthogonal directions, received along them (precoding), in place of
                one from equal antennas.
        """
        noise_gain, at_antenna, heard = 1.0, 0.0, complex(1.0)
        if self._uneven.impairments:
            trial = self._trials(FrontEnd([]), self._uneven, streams)
            noise_gain, at_antenna, heard = abs(trial.gain) ** 2, trial.left, trial.gain
        sent = complex(1.0)
        if any(i.effect == "distorts" for i in self._transmitter.impairments):
            steady = FrontEnd([i for i in self._transmitter.impairments if i.effect not in ROTATING])
            sent = self._trials(steady, FrontEnd([]), streams).gain
        with_symbol, at_pilots = 0.0, 0.0
        if self._transmitter.impairments or self._common.impairments:
            trial = self._trials(self._transmitter, self._common, streams)
            with_symbol, at_pilots = trial.left / trial.kept, trial.at_pilots / trial.kept
        return HardwareEffect(
            sent * heard,
            with_symbol=with_symbol,
            at_pilots=at_pilots,
            noise_gain=noise_gain,
            at_antenna=at_antenna,
        )

    def _trials(self, transmitter: FrontEnd, receiver: FrontEnd, streams: int | None) -> _Trial:
        """Both sides tried."""
        if streams is None:
            return self._trial(transmitter, receiver, None)
        # one set of trials after the other: all of their antennas at once take memory
        parts = [self._trial(transmitter, receiver, seed) for seed in range(_TRIAL_DIRECTIONS)]
        values = ((part.left, part.kept, part.at_pilots, part.gain) for part in parts)
        left, kept, at_pilots, gain = (sum(column) / len(parts) for column in zip(*values, strict=True))
        return _Trial(left.real, kept.real, at_pilots.real, gain)

    def _trial(self, transmitter: FrontEnd, receiver: FrontEnd, direction_seed: int | None) -> _Trial:
        """Streams together in random directions, or every one alone from equal antennas."""
        images, grid = len(TRIAL_SEEDS), self._grid
        shape = (images, _TRIAL_SLOTS, grid.num_streams, len(grid.data))
        signs = torch.randint(0, 2, (2, *shape), generator=seeding.generator(TRIAL_SEEDS[0])) * 2.0 - 1.0
        symbols = torch.complex(signs[0], signs[1]).to(grid.data.device, grid.known.dtype) / math.sqrt(2)
        wanted = grid.fill(symbols)  # [B, S, L, T, F]
        seeds = list(TRIAL_SEEDS)
        if direction_seed is None:
            wanted = wanted.movedim(2, 1).flatten(0, 1)[:, :, None]
            seeds = [seed for seed in seeds for _ in range(grid.num_streams)]
            directions = torch.full((len(wanted), self._num_tx, 1), 1 / math.sqrt(self._num_tx))
        else:
            size = (images, self._num_tx, grid.num_streams)
            gen = seeding.generator(direction_seed)
            directions = torch.linalg.qr(seeding.complex_normal(size, gen, torch.complex128)).Q
        directions = directions.to(wanted)
        root = math.sqrt(directions.shape[2])
        with torch.no_grad():
            sender, heard = self._trial_states(transmitter, receiver, directions.shape[2], seeds)
            sent = torch.einsum("bal,bsltf->bsatf", directions, wanted) / root
            sent = self._through(transmitter, sent, sender, self._power / self._num_tx)
            got = torch.einsum("bal,bsatf->bsltf", directions.conj(), sent) * root
            got = self._through(receiver, got, heard, self._power)
            if receiver.impairments:
                got = got * self._ramp().conj()
        if direction_seed is None:
            got, wanted = (part[:, :, 0].unflatten(0, (images, -1)).movedim(1, 2) for part in (got, wanted))
        return self._compare(got.to(torch.complex128), wanted.to(torch.complex128))

    def _trial_states(
        self, transmitter: FrontEnd, receiver: FrontEnd, antennas: int, seeds: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        samples = _TRIAL_SLOTS * self._grid.num_samples * OVERSAMPLING
        sizes = (self._num_tx, samples), (antennas, samples)
        states = draw_both(transmitter, receiver, sizes, self._rate_hz, seeds, seeds)
        device = self._grid.data.device
        return states[0].to(device), states[1].to(device)

    def _compare(self, got: Tensor, wanted: Tensor) -> _Trial:
        """Received with sent grids [B, S, L, T, F]."""
        data = self._grid.data
        rows, used = torch.unique(data // wanted.shape[-1]), torch.unique(data % wanted.shape[-1])
        energy, match = wanted.abs().square(), got * wanted.conj()
        gain = match.sum(-1) / energy.sum(-1).clamp_min(_TINY)
        count = (energy > 0).sum(-1, keepdim=True)
        left = (got - gain[..., None] * wanted).abs().square() * (count / (count - 1).clamp_min(1))
        known = self._grid.known.abs().square().double()  # [L, T, F]
        there = left.mean((0, 1)).sum(0) * (known > 0)  # of all streams
        at_pilots = float(there.sum() / known.sum().clamp_min(_TINY))
        left, gain = left[..., rows, :][..., used], gain[..., rows]
        mean = match[..., rows, :].sum() / energy[..., rows, :].sum()
        return _Trial(float(left.mean()), float(gain.abs().square().mean()), at_pilots, complex(mean))

    def gain(self, sender: Tensor, receiver: Tensor, slots: int, num_rx: int) -> Tensor:
        """How far the hardware turns the elements of every image, antennas alike, [B, S, T, F] complex:
        phases of both oscillators on average over the symbol, and the ramp of a timing offset; the mean gain
        of :meth:`effect` is not in it.

        Args:
            sender: [B, K], state of the transmitter.
            receiver: [B, K'], of the receiver.
            slots: S.
            num_rx: receive antennas.
        """
        grid = self._grid
        samples = torch.ones(len(sender), 1, slots * grid.num_samples * OVERSAMPLING, dtype=torch.complex128)
        samples = samples.to(sender.device)
        for chain, state, antennas in (
            (self._transmitter, sender, self._num_tx),
            (self._receiver, receiver, num_rx),
        ):
            samples = chain.turned(samples, state, antennas, self._rate_hz)
        body = samples[:, 0].unflatten(1, (-1, self._waveform.symbol_length))[
            ..., self._waveform.prefix_length :
        ]
        turn = body.mean(-1).unflatten(1, (slots, -1)).to(grid.known.dtype)
        return multiply(turn[..., None], self._ramp())

    def _ramp(self) -> Tensor:
        """The phase ramp of all timing offsets over the subcarriers, [F]."""
        offset_s = sum(i.delay_s for i in self._receiver.impairments)
        grid = self._grid
        carrier = torch.arange(grid.num_subcarriers, dtype=torch.float64) - grid.num_subcarriers // 2
        turn = 2 * math.pi * grid.subcarrier_spacing_hz * offset_s * carrier
        return torch.polar(torch.ones_like(turn), turn).to(grid.known)

    def covariance(self, channel: Covariance) -> TurnedCovariance:
        """That of the gains as estimators meet them: turned by offsets and phase noise from OFDM symbol to
        symbol, and by a timing offset from subcarrier to subcarrier.
        """
        ramp = self._ramp().to("cpu", torch.complex128)
        return TurnedCovariance(channel, self._impairments, ramp, 1 / self._grid.subcarrier_spacing_hz)
