"""Imperfect radios around a channel without a resource grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels import checks, seeding
from channels.arithmetic import abs_squared, mean_square, multiply
from channels.base import ChannelOperator, later_seeds
from channels.hardware.effect import HardwareEffect
from channels.hardware.impairment import FrontEnd, Impairment
from channels.hardware.sides import ROTATING, TRIAL_SEEDS, both_sides, draw_both
from channels.hardware.signal_quality import papr_db
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["SingleCarrierChannel"]

_TRIAL_SYMBOLS, _TINY = 4096, 1e-12


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
        self._transmitter, self._receiver = both_sides(impairments)
        moving = [i for i in impairments if i.effect in ROTATING]
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
        chain, gen = FrontEnd(impairments), seeding.generator(TRIAL_SEEDS[0])
        x = seeding.complex_normal((len(TRIAL_SEEDS), 1, _TRIAL_SYMBOLS), gen, torch.complex128)
        states = [chain.draw(1, _TRIAL_SYMBOLS, self._rate_hz, seeding.generator(s)) for s in TRIAL_SEEDS]
        with torch.no_grad():
            y = chain.apply(x, torch.stack(states), self._rate_hz, 1.0)
        energy = x.abs().square().sum()
        gain = complex((y * x.conj()).sum() / energy)
        left = float((y - gain * x).abs().square().sum() / energy)
        kept = max(abs(gain) ** 2, _TINY)
        # a converter of the receiver decides; one of the transmitter takes the way of the symbol
        if any(i.follows_level and i.side == "receiver" for i in impairments):
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
        both = draw_both(self._transmitter, self._receiver, sizes, self._rate_hz, devices, seeds)
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
