"""Imperfect radios around an OFDM grid, and around channels without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels import checks, seeding
from channels.arithmetic import abs_squared, mean_square, multiply
from channels.base import ChannelOperator, later_seeds
from channels.hardware.effect import HardwareEffect, TurnedCovariance
from channels.hardware.impairments import FrontEnd, Impairment
from channels.hardware.signal_quality import papr_db
from channels.models.base import Covariance
from channels.ofdm.grid import SlotGrid
from channels.ofdm.waveform import OfdmWaveform
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["OVERSAMPLING", "OfdmFrontEnd", "SingleCarrierChannel"]

OVERSAMPLING = 4
_TRIAL_SLOTS, _TRIAL_SEEDS = 2, tuple(range(38104, 38112))
_TRIAL_DIRECTIONS = 2
_TRIAL_SYMBOLS, _TINY = 4096, 1e-12
_ROTATING = ("turns", "shifts")


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
        self._transmitter, self._receiver = _both_sides(impairments)
        self._grid, self._num_tx = grid, num_tx
        self._waveform = OfdmWaveform(grid.num_subcarriers, grid.prefix_length, OVERSAMPLING)
        self._rate_hz = OVERSAMPLING * grid.num_subcarriers * grid.subcarrier_spacing_hz
        self._power = grid.num_used / grid.num_subcarriers
        self._impairments = tuple(impairments)
        heard = [i for i in self._receiver.impairments if i.effect != "interferes"]
        self._uneven = FrontEnd([i for i in heard if i.effect not in _ROTATING])
        self._common = FrontEnd([i for i in heard if i.effect in _ROTATING])

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
        if any(not i.linear for i in self._transmitter.impairments):
            steady = FrontEnd([i for i in self._transmitter.impairments if i.effect not in _ROTATING])
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
        images, grid = len(_TRIAL_SEEDS), self._grid
        shape = (images, _TRIAL_SLOTS, grid.num_streams, len(grid.data))
        signs = torch.randint(0, 2, (2, *shape), generator=seeding.generator(_TRIAL_SEEDS[0])) * 2.0 - 1.0
        symbols = torch.complex(signs[0], signs[1]).to(grid.data.device, grid.known.dtype) / math.sqrt(2)
        wanted = grid.fill(symbols)  # [B, S, L, T, F]
        seeds = list(_TRIAL_SEEDS)
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
        states = _draw_both(transmitter, receiver, sizes, self._rate_hz, seeds, seeds)
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


class SingleCarrierChannel(ChannelOperator):
    r"""A channel without a resource grid between imperfect radios: impairments act on the symbols themselves,
    one sample per symbol.

    By Bussgang's decomposition a Gaussian symbol that meets a gain h of the channel leaves the hardware as
    α h·x + d: the receiver is told the gain α h and the variance δ|α h|² of d, which scales with the fade, in
    err_var. Only a converter, whose gain control follows the frame, adds the same to all symbols: a share of
    all power that comes in, which is counted with the noise. Constellations have lower peaks than Gaussian
    symbols and are distorted less; receivers then count too much.

    Rotations (frequency offset, phase noise) run over the symbols of an image in their order, from phase 0.
    Nobody follows them here (pilots stand in front of blocks without duration), so use k is told the error
    E|e^{jφ_k} - 1|² = 2 - 2 Re E[e^{jφ_k}] on top.

    What a limiter or a mixer does to one symbol is a function of that symbol, no noise: a constellation may
    fit through it whole. Bounds (:meth:`limits`) therefore leave the hardware out.

    Args:
        inner: AWGN, or block fading. With pilots the impairments must be memoryless: pilots stand behind the
            data in what this operator sees, and leave an ideal transmitter.
        impairments: of transmitter and receiver, each side in this order.
        symbol_rate_hz: symbols per second.

    Raises:
        ValueError: offsets, phase noise or timing errors on a channel with pilots.

    Source: Bussgang, see :class:`channels.hardware.effect.HardwareEffect`.
    """

    def __init__(
        self, inner: ChannelOperator, impairments: Sequence[Impairment], *, symbol_rate_hz: float
    ) -> None:
        super().__init__(device=inner.device, precision=inner.precision)
        checks.check_positive("SingleCarrierChannel: symbol_rate_hz", symbol_rate_hz, "Hz")
        self._inner, self._rate_hz = inner, symbol_rate_hz
        self._transmitter, self._receiver = _both_sides(impairments)
        moving = [i for i in impairments if i.effect in _ROTATING]
        self._num_pilots = inner.uses(1).pilot  # of a block
        if moving and self._num_pilots:
            got = f"{type(moving[0]).__name__} with pilots on a channel without a grid"
            expected = "perfect CSI, or an ofdm channel"
            raise ValueError(checks.complaint("impairments", "not supported", got, expected))
        self._turning = [i for i in impairments if i.effect == "turns"]
        known = [i for i in impairments if i not in self._turning and i.effect != "interferes"]
        self._heard = self._effect([i for i in known if i.side == "receiver"])
        sent = self._effect([i for i in known if i.side == "transmitter"])
        self.hardware = HardwareEffect(
            sent.gain,  # what the receiver does not undo by itself
            with_symbol=sent.with_symbol + self._heard.with_symbol,
            noise_gain=self._heard.noise_gain,
            at_antenna=self._heard.at_antenna,
        )

    def _effect(self, impairments: Sequence[Impairment]) -> HardwareEffect:
        """Of one side, on Gaussian symbols of unit power without noise."""
        if not impairments:
            return HardwareEffect()
        chain, gen = FrontEnd(impairments), seeding.generator(_TRIAL_SEEDS[0])
        x = seeding.complex_normal((len(_TRIAL_SEEDS), 1, _TRIAL_SYMBOLS), gen, torch.complex128)
        states = [chain.draw(1, _TRIAL_SYMBOLS, self._rate_hz, seeding.generator(s)) for s in _TRIAL_SEEDS]
        with torch.no_grad():
            y = chain.apply(x, torch.stack(states), self._rate_hz, 1.0)
        energy = x.abs().square().sum()
        gain = complex((y * x.conj()).sum() / energy)
        left = float((y - gain * x).abs().square().sum() / energy)
        kept = max(abs(gain) ** 2, _TINY)
        if any(i.follows_level for i in impairments):  # decides
            return HardwareEffect(gain, noise_gain=kept, at_antenna=left)
        return HardwareEffect(gain, with_symbol=left / kept, noise_gain=kept)

    def uses(self, num_symbols: int) -> ChannelUses:
        return self._inner.uses(num_symbols)

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """That of the inner operator: see :meth:`limits`."""
        return self._inner.noise_variance(no, None if draw is None else self._own(draw).inner)

    @staticmethod
    def _own(draw: Draw) -> _HardwareDraw:
        assert isinstance(draw, _HardwareDraw)
        return draw

    def limits(self, draw: Draw, no: Tensor) -> Csi:
        """Those of the inner operator, without the hardware."""
        return self._inner.limits(self._own(draw).inner, no)

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
        draw = self._own(draw)
        if self._transmitter.impairments:
            x = self._transmitter.apply(x[:, None], draw.sender, self._rate_hz, 1.0)[:, 0]
        y = self._inner.propagate(x, draw.inner, no)
        if self._receiver.impairments:
            y = self._receiver.apply(y[:, None], draw.receiver, self._rate_hz, 1.0)[:, 0]
        return y

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        """The inner operator's, of what the receiver takes its own mean gain off first."""
        heard, distortion = self._heard, torch.zeros_like(no)
        if heard.at_antenna > 0:
            incoming = mean_square(y_raw)[:, None] / (heard.noise_gain + heard.at_antenna)
            distortion = heard.at_antenna / heard.noise_gain * incoming
        y_raw = multiply(y_raw, y_raw.new_tensor(1 / heard.gain if abs(heard.gain) > 0 else 1.0))
        # pilots of a block are alike and distorted alike: their mean is as far off as each of them
        at_pilots = no + max(self._num_pilots, 1) * distortion
        received = self._inner.observe(y_raw, self._own(draw).inner, at_pilots)
        csi, sent = received.csi, self.hardware.gain
        h = multiply(csi.h, csi.h.new_tensor(sent))
        along = self._along(h.shape[1]) + heard.with_symbol * (self._num_pilots > 0)
        err_var = csi.err_var * abs(sent) ** 2 + along * abs_squared(h)
        return Received(received.y, Csi(h, no + distortion, err_var), received.uses)

    def _along(self, num_symbols: int) -> Tensor:
        """Error along the gain of every use over its power, [n] float: distortion, and rotations. Pilots that
        the receiver's hardware distorts carry that into the estimate, all of them alike.
        """
        time = torch.arange(num_symbols, dtype=torch.float64) / self._rate_hz
        phasor = torch.ones_like(time, dtype=torch.complex128)
        for impairment in self._turning:
            phasor = phasor * impairment.mean_phasor(time)
        return (self.hardware.with_symbol + 2 - 2 * phasor.real).to(self.device, self.dtype)

    def instantaneous_snr_db(self, draw: Draw, snr_db: Tensor) -> Tensor:
        """That of the inner operator: the fade, without the hardware, as over a resource grid."""
        return self._inner.instantaneous_snr_db(self._own(draw).inner, snr_db)

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        """That of the inner operator with the transmitter's mean gain."""
        h = self._inner.gain(self._own(draw).inner, no)
        return multiply(h, h.new_tensor(self.hardware.gain))

    def papr_db(self, x: Tensor, draw: Draw) -> Tensor:
        """See :class:`channels.base.ChannelOperator`."""
        sent = self._transmitter.apply(x[:, None], self._own(draw).sender, self._rate_hz, 1.0)
        return papr_db(sent)


@dataclass(frozen=True)
class _HardwareDraw(Draw):
    inner: Draw
    sender: Tensor  # [B, K] float64
    receiver: Tensor  # [B, K'] float64

    def select(self, rows: Tensor) -> _HardwareDraw:
        """See :class:`channels.types.Draw`."""
        return _HardwareDraw(self.inner.select(rows), self.sender[rows], self.receiver[rows])
