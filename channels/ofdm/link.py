"""OFDM over any delay model: resource grid, antennas, fading, hardware, as n parallel scalar channels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding, units
from channels.antennas.transmission import Transmission, apply_precoder, precoders
from channels.arithmetic import abs_squared, multiply, scale
from channels.base import ChannelOperator, Precision, later_seeds
from channels.hardware.effect import HardwareEffect
from channels.hardware.impairment import Impairment
from channels.models.base import Covariance, DelayModel, RobustCovariance
from channels.models.rough import draws_share
from channels.ofdm.air import Air
from channels.ofdm.directions import Directions
from channels.ofdm.draw import OfdmDraw, frame_power, mean_power, stacked
from channels.ofdm.estimators.base import EstimatorFactory, Interpolation
from channels.ofdm.front_end import OfdmFrontEnd
from channels.ofdm.grid import Pilots, SlotGrid
from channels.ofdm.interference import interference_power
from channels.ofdm.mapping import SymbolMapping
from channels.ofdm.receiver import LinkStatistics, NoiseKnowledge, OfdmCsi, OfdmReceiver, check_knowledge
from channels.runtime import sionna_seeding
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["OfdmChannel", "OfdmDraw"]

_MUCH_INTERFERENCE = 0.1
_TWO_SYMBOLS, _ONE_STREAM = Pilots(), Transmission()
_CPU = torch.device("cpu")
_POWER_DRAWS, _POWER_SEED = 64, 38214
_LEAST_BEAM = 1e-6


class OfdmChannel(ChannelOperator):
    r"""OFDM in the frequency domain: y_tf = H_tf x_tf + w_tf on every resource element.

    An image takes S slots of T OFDM symbols by F subcarriers that follow each other in time over one fading
    process. Pilots stand on whole OFDM symbols of every slot; data fill the other elements by time, then
    frequency, L symbols to an element with L streams.

    With several antennas ``observe`` combines (one stream) or detects (several, LMMSE), with the gains that
    the receiver knows, and returns scalar channels whose noise variance is that of one antenna; other
    streams count as noise, in the gain: |h|²/(no + err_var) is the SINR. ``snr_db`` is the mean SNR at one
    receive antenna with all transmit antennas together and without precoding: combining N antennas gains N,
    and what precoding gains comes on top.

    What Doppler within an OFDM symbol and paths behind the cyclic prefix spill onto other elements is counted
    as noise: ``interference`` is its mean power (:func:`channels.ofdm.interference.interference_power`),
    added to the noise that is drawn and to the noise variance that the receiver is given; places with delays
    of their own (cells, snapshots) have an interference of their own. Hardware distorts instead of being
    drawn: see :class:`channels.hardware.effect.HardwareEffect` for what the receiver is told. With perfect
    CSI it knows the gain that the hardware leaves, its mean phase of every OFDM symbol included.

    With ``gain_control`` all this, and the statistics of the estimators, refer to the power of the frame and
    not to that of the ensemble: for models whose draws differ by path loss. A receiver with estimated CSI
    measures it on the pilots.

    Args:
        model: delay model, e.g. :class:`channels.models.tdl.TdlModel`, of the same precision.
        num_subcarriers: F, the FFT size.
        subcarrier_spacing_hz: spacing [Hz].
        num_ofdm_symbols: T per slot.
        pilots: pilot symbols, see :class:`channels.ofdm.grid.Pilots`.
        csi: "perfect" (true gain, err_var 0), "ls" or "lmmse" (from the pilots of the same slot), or
            what makes another estimator of a stream (:data:`channels.ofdm.estimators.base.EstimatorFactory`).
        interpolation: of LS estimates.
        assumed: statistics that the estimator is designed for; "robust": those of
            :class:`channels.models.base.RobustCovariance`, of no channel; None = those of the model.
        noise: "known", or "estimated" from the pilots: all that the receiver is told of the SNR.
        report_delay_slots: age of what a transmitter is told that knows the instantaneous SNR: its report is
            of as many slots, so much earlier; 0: of the frame itself.
        gain_control: see above.
        transmission: streams and precoding.
        impairments: of transmitter and receiver, each side in this order.
        cyclic_prefix_length: samples; None = 7.03% of F, rounded up.
        guard_subcarriers: unused subcarriers at the lower and upper edge.
        dc_null: leave the middle subcarrier unused.

    Raises:
        ValueError: arguments out of range, pilots where there are no symbols, no pilots for estimated CSI,
            antennas that do not fit the transmission.

    Source: 3GPP TS 38.211 sec. 4 and 5.3.1 (numerology); Sionna 2.2 ``GenerateOFDMChannel``,
        ``ResourceGrid``; Weichselberger et al., "A Stochastic MIMO Channel Model with Joint Correlation of
        Both Link Ends", IEEE Trans. Wireless Commun. 5 (2006) (beams and modes of the estimators).

    Example:
        >>> from channels.models.tdl import TdlModel
        >>> channel = OfdmChannel(TdlModel("C", delay_spread_s=100e-9, carrier_hz=3.5e9), csi="ls")
        >>> received = channel(torch.ones(1, 768, dtype=torch.complex64), torch.tensor([10.0]), seeds=[1])
        >>> received.uses
        ChannelUses(data=768, pilot=128, guard=70)
    """

    def __init__(
        self,
        model: DelayModel,
        *,
        num_subcarriers: int = 64,
        subcarrier_spacing_hz: float = 15e3,
        num_ofdm_symbols: int = 14,
        pilots: Pilots = _TWO_SYMBOLS,
        csi: OfdmCsi | EstimatorFactory = "ls",
        interpolation: Interpolation = "linear",
        assumed: Covariance | Literal["robust"] | None = None,
        noise: NoiseKnowledge = "known",
        report_delay_slots: int = 0,
        gain_control: bool = False,
        transmission: Transmission = _ONE_STREAM,
        impairments: Sequence[Impairment] = (),
        cyclic_prefix_length: int | None = None,
        guard_subcarriers: tuple[int, int] = (0, 0),
        dc_null: bool = False,
        device: torch.device | str = "cpu",
        precision: Precision = "single",
    ) -> None:
        super().__init__(device=device, precision=precision)
        check_knowledge(csi, noise, assumed, transmission)
        checks.check_range("OfdmChannel: report_delay_slots", report_delay_slots, 0, 100)
        if isinstance(assumed, str):
            assumed = RobustCovariance(subcarrier_spacing_hz)
        self.csi, self.noise, self.gain_control = csi, noise, gain_control
        self.report_delay_slots = report_delay_slots
        self._model, self._transmission = model, transmission
        self._num_rx, self._num_tx = model.num_rx_antennas, model.num_tx_antennas
        self._num_streams = transmission.streams(self._num_tx, self._num_rx)
        self._grid = SlotGrid(
            num_subcarriers=num_subcarriers,
            subcarrier_spacing_hz=subcarrier_spacing_hz,
            num_ofdm_symbols=num_ofdm_symbols,
            pilots=pilots,
            num_streams=self._num_streams,
            estimated=csi != "perfect" or noise == "estimated",
            cyclic_prefix_length=cyclic_prefix_length,
            guard_subcarriers=guard_subcarriers,
            dc_null=dc_null,
            device=self.device,
            precision=precision,
        )
        self._mapping = SymbolMapping(self._grid, transmission)
        self._air = self._make_air()
        self._front_end = OfdmFrontEnd(impairments, self._grid, self._num_tx) if impairments else None
        self._receiver = OfdmReceiver(
            self._grid,
            transmission,
            self._link_statistics(assumed),
            csi=csi,
            interpolation=interpolation,
            noise=noise,
            gain_control=gain_control,
        )

    def _link_statistics(self, assumed: Covariance | None) -> LinkStatistics:
        """What the receiver knows beforehand; sets what hardware and waveform do on average."""
        model, is_precoded = self._model, self._transmission.kind == "svd"
        self._beam_gain = 1.0  # what precoding gains, which is not known yet
        precoded = self._num_streams if is_precoded else None
        self.hardware = self._front_end.effect(precoded) if self._front_end else HardwareEffect()
        spilled = interference_power(model, 1 / self._grid.subcarrier_spacing_hz, self._air.latest_s)
        self.interference = spilled
        directions = Directions(model, self._num_streams)
        if assumed is None and self.csi != "perfect":
            directions = Directions.of(model, self._num_streams, precoded=is_precoded)
        powers = self._stream_powers(directions)
        self._beam_gain = float(powers.sum(0).mean())
        self.interference = spilled * self._beam_gain
        if spilled > _MUCH_INTERFERENCE:
            warnings.warn(
                f"OfdmChannel: Doppler and late paths spill {100 * spilled:.0f}% of the power onto "
                f"other elements. Counting that as Gaussian noise is rough; use another subcarrier spacing.",
                stacklevel=3,
            )
        return LinkStatistics(
            self._turned(assumed or model),
            directions.seen(self._turned),
            powers * abs(self.hardware.gain) ** 2,
            directions.beams,
            directions.modes,
            self.hardware,
            isinstance(assumed, RobustCovariance),
        )

    def _make_air(self) -> Air:
        """How the waveform fades."""
        return Air(self._model, self._grid, self.cdtype)

    @property
    def model(self) -> DelayModel:
        """The delay model."""
        return self._model

    @property
    def grid(self) -> SlotGrid:
        """The resource grid of a slot."""
        return self._grid

    @property
    def receiver(self) -> OfdmReceiver:
        """What observes the grid, and what it knows of the ensemble."""
        return self._receiver

    @property
    def bandwidth_hz(self) -> float:
        """Of the subcarriers that carry data or pilots [Hz]."""
        return self._grid.num_used * self._grid.subcarrier_spacing_hz

    def instantaneous_snr_db(self, draw: Draw, snr_db: Tensor) -> Tensor:
        """See :class:`channels.base.ChannelOperator`: of the mean power over grid and antennas, without what
        precoding gains, ``report_delay_slots`` old.
        """
        assert isinstance(draw, OfdmDraw)
        power = frame_power(draw) if draw.reported is None else draw.reported
        return (snr_db + units.linear_to_db(power[:, 0].double())).to(snr_db.dtype)

    @property
    def gain_depends_on_noise(self) -> bool:
        """Several streams are detected together, and antennas with unequal noise are combined: the scalar
        gains depend on the noise.
        """
        return self._num_streams > 1 or (self._num_rx > 1 and self.hardware.at_antenna > 0)

    def _turned(self, covariance: Covariance) -> Covariance:
        """A covariance with what oscillators make of it."""
        return self._front_end.covariance(covariance) if self._front_end else covariance

    def _stream_powers(self, directions: Directions) -> Tensor:
        """E|h|² of the gain of every stream or mode in every beam, [L, R] float64; with precoding the mean
        over some draws of its own.
        """
        if self._transmission.kind != "svd":
            return directions.powers().clamp_min(_LEAST_BEAM) / self._num_streams
        draw = self.draw(1, range(_POWER_SEED, _POWER_SEED - (-_POWER_DRAWS // draws_share())))
        h = self._stream_gains(draw).to(torch.complex128)
        if self.gain_control:
            h = h / frame_power(draw).sqrt()[:, :, None, None, None, None]
        beams = directions.beams
        if beams is not None:
            h = torch.einsum("qr,bsqltf->bsrltf", beams.conj(), h)
        powers = h.abs().square().mean((0, 1, 4, 5)).T
        if beams is not None:
            return powers.clamp_min(_LEAST_BEAM)
        return powers.mean(1, keepdim=True).expand(self._num_streams, self._num_rx)

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """Thermal noise, interference of the waveform and distortion that arises at the receive antennas, on
        average over these.
        """
        h = None if draw is None else self._data_gains(draw)
        spilled = self.interference if draw is None else self._spilled(draw)
        return self._receiver.antenna_noise(no + spilled, None, h).mean(1, keepdim=True)

    def _spilled(self, draw: Draw) -> Tensor:
        """Interference of the waveform of every image [B, 1]."""
        assert isinstance(draw, OfdmDraw)
        if draw.spilled is not None:
            return draw.spilled * self._beam_gain
        power = frame_power(draw)
        return self.interference * (power if self.gain_control else torch.ones_like(power))

    def limits(self, draw: Draw, no: Tensor) -> Csi:
        """See :class:`channels.base.ChannelOperator`; distortion of the hardware counts, which the samples of
        many subcarriers make like noise, whatever the symbols are.
        """
        h = self.gain(draw, no)
        return Csi(h, self.noise_variance(no, draw), self.hardware.with_symbol * abs_squared(h))

    def uses(self, num_symbols: int) -> ChannelUses:
        """Data counts resource elements: with L streams, one for L symbols. Guard counts unused subcarriers,
        empty places of pilot symbols, unfilled elements of the last slot, and cyclic prefix samples.
        """
        return self._mapping.uses(num_symbols)

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> OfdmDraw:
        """Fades of whole slots and noise; impulse responses are drawn on the CPU."""
        return self._draw(num_symbols, seeds, seeds, 0.0)

    def draw_again(self, num_symbols: int, seeds: Sequence[int], attempt: int, gap_s: float) -> OfdmDraw:
        """The same fading process later: see :meth:`channels.base.ChannelOperator.draw_again`. Offsets of
        oscillators stay too.
        """
        grid = self._grid
        frame_s = self._mapping.num_slots(num_symbols) * grid.num_ofdm_symbols * grid.symbol_s
        own = later_seeds(seeds, attempt)
        return self._draw(num_symbols, seeds, own, (attempt - 1) * (frame_s + gap_s))

    def _draw(
        self, num_symbols: int, places: Sequence[int], seeds: Sequence[int], start_s: float
    ) -> OfdmDraw:
        """Fading processes of the seeds ``places`` from a time [s] on, everything else of ``seeds``."""
        grid, slots = self._grid, self._mapping.num_slots(num_symbols)
        size = (grid.num_ofdm_symbols, grid.num_subcarriers)
        noise = torch.empty(len(seeds), slots, self._num_rx, *size, dtype=self.cdtype)
        seeding.fill_normal(noise, seeds)
        ages = self._transmission.precoding.delay_slots if self._transmission.kind == "svd" else 0
        lead = max(ages, self.report_delay_slots)  # slots before the frame that someone knows
        begin = lead - self.report_delay_slots
        reports: list[Tensor] = []
        gains: list[Tensor] = []
        known: list[Tensor] = []
        air: list[Tensor] = []
        disturbed: list[float] = []
        with torch.no_grad():
            for place in places:
                with sionna_seeding.sionna_rng(seeding.derived_seed(place, "fading"), _CPU):
                    h, moving, spilled = self._air.draw(slots + lead, start_s)
                gains.append(h[lead:])
                reports.append(mean_power(h[None, begin : begin + slots]))
                if spilled is not None:
                    disturbed.append(spilled)
                if moving is not None:
                    steps = (len(moving) - 1) // (slots + lead)
                    air.append(moving[lead * steps :])
                if self._transmission.kind == "svd":
                    middle = h[lead - ages : lead - ages + slots, :, :, grid.num_ofdm_symbols // 2]
                    known.append(precoders(middle, self._num_streams, self._transmission.precoding))
        precoder = torch.stack(known).to(self.device) if known else None
        sender, receiver = (
            self._front_end.draw(slots, self._num_rx, places, seeds) if self._front_end else (None, None)
        )
        h = torch.stack(gains).to(self.device)
        moving = stacked(air).to(self.device) if air else None
        reported = torch.cat(reports).to(self.device) if self.report_delay_slots else None
        own = torch.tensor(disturbed, dtype=self.dtype, device=self.device)[:, None] if disturbed else None
        return OfdmDraw(
            h, noise.to(self.device), num_symbols, precoder, sender, receiver, moving, reported, own
        )

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """Received grid [B, S, R, T, F], pilots included."""
        assert isinstance(draw, OfdmDraw)
        sent = self._sent(x, draw)
        if self._front_end is None:
            return self._over_the_air(sent, draw, no)
        assert draw.sender is not None
        assert draw.receiver is not None
        received = self._over_the_air(self._front_end.transmit(sent, draw.sender), draw, no)
        return self._front_end.receive(received, draw.receiver)

    def _sent(self, x: Tensor, draw: OfdmDraw) -> Tensor:
        """Grids of the transmit antennas [B, S, A, T, F]."""
        return self._mapping.to_antennas(self._mapping.to_streams(x, draw.h.shape[1]), draw.precoder)

    def _over_the_air(self, sent: Tensor, draw: OfdmDraw, no: Tensor) -> Tensor:
        """Received grids [B, S, R, T, F] of sent ones [B, S, A, T, F], noise included."""
        received = scale(draw.noise, (no + self._spilled(draw)).sqrt()[:, :, None, None, None])
        for antenna in range(self._num_tx):
            received = received + multiply(draw.h[:, :, :, antenna], sent[:, :, None, antenna])
        return received

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        assert isinstance(draw, OfdmDraw)
        n, known, following = draw.num_symbols, None, 0.0
        if self.csi == "perfect":
            known = self._data_gains(draw)
        elif self.gain_control and draw.spilled is None:
            following = self.interference
        if following == 0:
            no = no + self._spilled(draw)
        y, csi = self._receiver(y_raw, no, n, known, frame_power(draw), following)
        return Received(y, csi, self.uses(n))

    def _data_gains(self, draw: Draw) -> Tensor:
        """True gains of the streams at the data elements, hardware included, [B, S, R, L, D]."""
        assert isinstance(draw, OfdmDraw)
        h = self._stream_gains(draw)
        if self._front_end is not None:
            assert draw.sender is not None
            assert draw.receiver is not None
            turn = self._front_end.gain(draw.sender, draw.receiver, h.shape[1], self._num_rx)
            turn = multiply(turn, turn.new_tensor(self.hardware.gain))
            h = multiply(h, turn[:, :, None, None])
        return h.flatten(4)[..., self._grid.data]

    def _stream_gains(self, draw: OfdmDraw) -> Tensor:
        """True gains of the streams [B, S, R, L, T, F]."""
        h = draw.h
        if draw.precoder is not None:
            h = torch.stack([apply_precoder(a, b) for a, b in zip(h, draw.precoder, strict=True)])
        return h * (1 / math.sqrt(self._num_streams)) if self._num_streams > 1 else h

    def papr_db(self, x: Tensor, draw: Draw) -> Tensor:
        """Of the waveform at four times the rate F·Δf, the largest of the antennas, prefixes included."""
        assert isinstance(draw, OfdmDraw)
        sent = self._sent(x, draw)
        front_end = self._front_end or OfdmFrontEnd((), self._grid, self._num_tx)
        empty = torch.empty(len(x), 0, dtype=torch.float64, device=self.device)
        return front_end.papr_db(sent, empty if draw.sender is None else draw.sender)

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, OfdmDraw)
        gain = self._receiver.gain(self._data_gains(draw), no + self._spilled(draw))
        return gain[:, : draw.num_symbols]
