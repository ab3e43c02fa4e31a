"""OFDM over any delay model: resource grid, antennas, fading, hardware, as n parallel scalar channels.

May import: torch, channels.{types, checks, seeding, sionna_seeding, base, arithmetic, grid, transmission,
estimation (types), front_end, impairments, ofdm_receiver, delay_models}.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding, sionna_seeding, units
from channels.arithmetic import abs_squared, multiply, scale
from channels.base import ChannelOperator, Precision, later_seeds
from channels.delay_models import Covariance, DelayModel, frequency_response, interference_power
from channels.estimation import Interpolation
from channels.front_end import OfdmFrontEnd
from channels.grid import Pilots, SlotGrid
from channels.impairments import Impairment
from channels.ofdm_receiver import NoiseKnowledge, OfdmCsi, OfdmReceiver
from channels.transmission import Transmission, apply_precoder, precoders
from channels.types import ChannelUses, Draw, Received

__all__ = ["OfdmChannel", "OfdmDraw", "ToldSnr"]

ToldSnr = Literal["ensemble", "frame"]
_MUCH_INTERFERENCE = 0.1
_TWO_SYMBOLS, _ONE_STREAM = Pilots(), Transmission()
_CPU = torch.device("cpu")
_POWER_DRAWS, _POWER_SEED = 64, 38214
_LEAST_POWER = 1e-20


@dataclass(frozen=True)
class OfdmDraw(Draw):
    """Randomness of an OFDM link."""

    h: Tensor  # [B, S, R, A, T, F] complex, gain between pairs of antennas
    noise: Tensor  # [B, S, R, T, F] complex, CN(0, 1)
    num_symbols: int
    precoder: Tensor | None = None  # [B, S, A, L, F] complex
    sender: Tensor | None = None  # [B, K] float, randomness of the transmitter's hardware
    receiver: Tensor | None = None  # [B, K'] float, of the receiver's
    air: Tensor | None = None  # [B, ...] complex, what the waveform meets beside h


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
    as noise: ``interference`` is its mean power (:func:`channels.delay_models.interference_power`), added to
    the noise that is drawn and to the noise variance that the receiver is given. So is, to the latter, the
    mean distortion of the receiver's hardware, which is not drawn but happens; that of the transmitter's
    takes the way of the symbol, so that no combining helps against it, and is counted in err_var
    (``sent_distortion``·|h|²). ``distortion`` is the sum of both.

    With ``gain_control`` all this, and the statistics of the estimators, refer to the power of the frame and
    not to that of the ensemble: for models whose draws differ by path loss. A receiver with estimated CSI
    measures it on the pilots.

    Args:
        model: delay model, e.g. :class:`channels.delay_models.TdlModel`, of the same precision.
        num_subcarriers: F, the FFT size.
        subcarrier_spacing_hz: spacing [Hz].
        num_ofdm_symbols: T per slot.
        pilots: pilot symbols, see :class:`channels.grid.Pilots`.
        csi: "perfect" (true gain, err_var 0), "ls" or "lmmse" (from the pilots of the same slot).
        interpolation: of LS estimates.
        assumed: statistics that the estimator is designed for; None = those of the model.
        noise: "known", or "estimated" from the pilots: all that the receiver is told of the SNR.
        told_snr: what a transmitter that knows the average SNR is told: "ensemble", ``snr_db`` itself, or
            "frame", that of this frame's mean power over grid and antennas, as a wideband report gives it.
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
        ``ResourceGrid``.

    Example:
        >>> from channels.delay_models import TdlModel
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
        csi: OfdmCsi = "ls",
        interpolation: Interpolation = "linear",
        assumed: Covariance | None = None,
        noise: NoiseKnowledge = "known",
        told_snr: ToldSnr = "ensemble",
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
        checks.check_choice("OfdmChannel: csi", csi, ("perfect", "ls", "lmmse"))
        checks.check_choice("OfdmChannel: noise", noise, ("known", "estimated"))
        checks.check_choice("OfdmChannel: told_snr", told_snr, ("ensemble", "frame"))
        self.csi, self.noise, self.told_snr, self.gain_control = csi, noise, told_snr, gain_control
        self._model, self._transmission = model, transmission
        self._num_rx, self._num_tx = model.num_rx_antennas, model.num_tx_antennas
        self._num_streams = transmission.streams(self._num_tx, self._num_rx)
        if transmission.kind == "svd" and transmission.precoding.subband is not None and csi != "perfect":
            got, expected = (
                f"{transmission.precoding.subband} subcarriers with csi {csi}",
                "none (all of them)",
            )
            cure = "An estimate is interpolated over subcarriers with one precoder."
            raise ValueError(checks.complaint("Precoding: subband", "too narrow", got, expected, cure))
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
        if self._symbols_per_slot == 0:
            got, expected = f"{len(self._grid.data)} data elements per slot", "two for Alamouti's code"
            raise ValueError(checks.complaint("OfdmChannel: resource grid", "too small", got, expected))
        self._last_response: tuple[Tensor, Tensor] | None = None
        self._front_end = OfdmFrontEnd(impairments, self._grid, self._num_tx) if impairments else None
        precoded = transmission.kind == "svd"
        heard, self._sent_distortion = (
            self._front_end.distortions(precoded=precoded) if self._front_end else (0.0, 0.0)
        )
        self._stream_power = self._mean_stream_power()
        arriving = (
            self._stream_power * self._num_streams
        )  # power at a receive antenna, with what precoding gains
        spilled = interference_power(model, 1 / subcarrier_spacing_hz, self._grid.prefix_s)
        self.interference, self._heard_distortion = spilled * arriving, heard * arriving
        self.distortion = self._heard_distortion + self._sent_distortion
        self._receiver = OfdmReceiver(
            self._grid,
            transmission,
            self._front_end.covariance(assumed or model) if self._front_end else assumed or model,
            num_rx=self._num_rx,
            stream_power=self._stream_power,
            csi=csi,
            interpolation=interpolation,
            noise=noise,
            gain_control=gain_control,
            added_noise=self.interference + self._heard_distortion,
            sent_distortion=self._sent_distortion,
            device=self.device,
            precision=precision,
        )
        if spilled > _MUCH_INTERFERENCE:
            warnings.warn(
                f"OfdmChannel: Doppler and late paths spill {100 * spilled:.0f}% of the power onto "
                f"other elements. Counting that as Gaussian noise is rough; use another subcarrier spacing.",
                stacklevel=2,
            )

    @property
    def model(self) -> DelayModel:
        """The delay model."""
        return self._model

    @property
    def bandwidth_hz(self) -> float:
        """Of the subcarriers that carry data or pilots [Hz]."""
        return self._grid.num_used * self._grid.subcarrier_spacing_hz

    def average_snr_db(self, draw: Draw, snr_db: Tensor) -> Tensor:
        """See :class:`channels.base.ChannelOperator` and ``told_snr``; without precoding."""
        if self.told_snr == "ensemble":
            return snr_db
        return (snr_db + units.linear_to_db(_power(draw)[:, 0].double())).to(snr_db.dtype)

    @property
    def gain_depends_on_noise(self) -> bool:
        """Several streams are detected together: their scalar gains depend on the noise."""
        return self._num_streams > 1

    def _mean_stream_power(self) -> float:
        """Mean power of the gain of a stream: 1/L, and what precoding gains, over some draws of its own."""
        if self._transmission.kind != "svd":
            return 1 / self._num_streams
        draw = self.draw(1, range(_POWER_SEED, _POWER_SEED + _POWER_DRAWS))
        power = abs_squared(self._stream_gains(draw)).flatten(1).mean(1, keepdim=True)
        return float((power / _power(draw) if self.gain_control else power).mean())

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """Thermal noise, interference of the waveform and mean distortion of the receiver's hardware."""
        added = self.interference + self._heard_distortion
        if draw is not None and self.gain_control:
            return no + added * _power(draw)
        return no + added

    @property
    def sent_distortion(self) -> float:
        """See :class:`channels.base.ChannelOperator`."""
        return self._sent_distortion

    # ------------------------------------------------------------------------------------- counting

    @property
    def _symbols_per_slot(self) -> int:
        elements = len(self._grid.data)
        if self._transmission.is_orthogonal_pair:
            return elements // 2 * 2
        return elements * self._num_streams

    @property
    def _symbols_per_use(self) -> int:
        return 1 if self._transmission.is_orthogonal_pair else self._num_streams

    def _num_slots(self, num_symbols: int) -> int:
        return math.ceil(num_symbols / self._symbols_per_slot)

    def uses(self, num_symbols: int) -> ChannelUses:
        """Data counts resource elements: with L streams, one for L symbols. Guard counts unused subcarriers,
        empty places of pilot symbols, unfilled elements of the last slot, and cyclic prefix samples.
        """
        grid, slots = self._grid, self._num_slots(num_symbols)
        data = math.ceil(num_symbols / self._symbols_per_use)
        pilot = slots * grid.num_pilots
        return ChannelUses(data=data, pilot=pilot, guard=slots * grid.num_samples - data - pilot)

    # -------------------------------------------------------------------------------------- drawing

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> OfdmDraw:
        """Fades of whole slots and noise; impulse responses are drawn on the CPU."""
        return self._draw(num_symbols, seeds, seeds, 0.0)

    def draw_again(self, num_symbols: int, seeds: Sequence[int], attempt: int, gap_s: float) -> OfdmDraw:
        """The same fading process later: see :meth:`channels.base.ChannelOperator.draw_again`. Offsets of
        oscillators stay too.
        """
        grid = self._grid
        frame_s = self._num_slots(num_symbols) * grid.num_ofdm_symbols * grid.symbol_s
        own = later_seeds(seeds, attempt)
        return self._draw(num_symbols, seeds, own, (attempt - 1) * (frame_s + gap_s))

    def _draw(
        self, num_symbols: int, places: Sequence[int], seeds: Sequence[int], start_s: float
    ) -> OfdmDraw:
        """Fading processes of the seeds ``places`` from a time [s] on, everything else of ``seeds``."""
        grid, slots = self._grid, self._num_slots(num_symbols)
        size = (grid.num_ofdm_symbols, grid.num_subcarriers)
        noise = torch.empty(len(seeds), slots, self._num_rx, *size, dtype=self.cdtype)
        seeding.fill_normal(noise, seeds)
        ages = self._transmission.precoding.delay_slots if self._transmission.kind == "svd" else 0
        gains: list[Tensor] = []
        known: list[Tensor] = []
        air: list[Tensor] = []
        with torch.no_grad():
            for place in places:
                with sionna_seeding.sionna_rng(seeding.derived_seed(place, "fading"), _CPU):
                    h, moving = self._air(slots + ages, start_s)
                gains.append(h[ages:])
                if moving is not None:
                    steps = (len(moving) - 1) // (slots + ages)
                    air.append(moving[ages * steps :])
                if self._transmission.kind == "svd":
                    middle = h[:slots, :, :, grid.num_ofdm_symbols // 2]
                    known.append(precoders(middle, self._num_streams, self._transmission.precoding))
        precoder = torch.stack(known).to(self.device) if known else None
        sender, receiver = (
            self._front_end.draw(slots, self._num_rx, places, seeds) if self._front_end else (None, None)
        )
        h = torch.stack(gains).to(self.device)
        moving = _stacked(air).to(self.device) if air else None
        return OfdmDraw(h, noise.to(self.device), num_symbols, precoder, sender, receiver, moving)

    def _paths(self, steps: int, rate_hz: float, start_s: float) -> tuple[Tensor, Tensor]:
        """Gains and delays of the model, seen from a time [s] on."""
        later = {"start_s": start_s} if start_s else {}  # a model that is only sent over once needs no start
        return self._model(1, steps, rate_hz, **later)

    def _air(self, slots: int, start_s: float) -> tuple[Tensor, Tensor | None]:
        """Gains of one image [S, R, A, T, F] at the start of every OFDM symbol, and what else the waveform
        needs of it, [steps + 1, ...] over all slots.
        """
        grid = self._grid
        gains, delays = self._paths(slots * grid.num_ofdm_symbols, 1 / grid.symbol_s, start_s)
        paths = gains[0, 0, :, 0].to(self.cdtype).transpose(-1, -2)  # [R, A, S·T, paths]
        h = paths @ self._response(delays.flatten())
        return h.unflatten(2, (slots, grid.num_ofdm_symbols)).movedim(2, 0), None

    def _response(self, delays: Tensor) -> Tensor:
        """:meth:`_new_response`; the last one is kept, as many models have the same delays in every draw."""
        if self._last_response is None or not torch.equal(self._last_response[0], delays):
            self._last_response = delays, self._new_response(delays)
        return self._last_response[1]

    def _new_response(self, delays: Tensor) -> Tensor:
        """What paths with these delays [paths] make at the subcarriers, [paths, F]."""
        grid = self._grid
        response = frequency_response(delays, grid.num_subcarriers, grid.subcarrier_spacing_hz)
        return response.to(self.cdtype)

    # ------------------------------------------------------------------------------------- on the air

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """Received grid [B, S, R, T, F], pilots included."""
        assert isinstance(draw, OfdmDraw)
        sent = self._to_antennas(self._to_streams(x, draw.h.shape[1]), draw)
        if self._front_end is None:
            return self._over_the_air(sent, draw, no)
        assert draw.sender is not None
        assert draw.receiver is not None
        received = self._over_the_air(self._front_end.transmit(sent, draw.sender), draw, no)
        return self._front_end.receive(received, draw.receiver)

    def _to_streams(self, x: Tensor, slots: int) -> Tensor:
        """Filled grids of the streams [B, S, L, T, F]."""
        padded = torch.nn.functional.pad(x, (0, slots * self._symbols_per_slot - x.shape[1]))
        symbols = padded.unflatten(1, (slots, self._symbols_per_slot))
        if self._transmission.is_orthogonal_pair:
            first, second = symbols[..., 0::2], symbols[..., 1::2]
            rows = [torch.stack([first, -second.conj()], -1), torch.stack([second, first.conj()], -1)]
            symbols = torch.stack([row.flatten(-2) for row in rows], 2)
            odd = len(self._grid.data) - symbols.shape[-1]
            symbols = torch.nn.functional.pad(symbols, (0, odd))
        else:
            symbols = symbols.unflatten(2, (-1, self._num_streams)).transpose(2, 3)
        return self._grid.fill(symbols)

    def _to_antennas(self, streams: Tensor, draw: OfdmDraw) -> Tensor:
        """Grids of the transmit antennas [B, S, A, T, F]; unit power per element over all of them."""
        if self._num_streams > 1:
            streams = streams * (1 / math.sqrt(self._num_streams))
        if draw.precoder is None:
            return streams
        weights = draw.precoder[:, :, :, :, None]  # [B, S, A, L, 1, F]
        total = multiply(weights[:, :, :, 0], streams[:, :, None, 0])
        for i in range(1, self._num_streams):
            total = total + multiply(weights[:, :, :, i], streams[:, :, None, i])
        return total

    def _over_the_air(self, sent: Tensor, draw: OfdmDraw, no: Tensor) -> Tensor:
        """Received grids [B, S, R, T, F] of sent ones [B, S, A, T, F], noise included."""
        interference = self.interference * _power(draw) if self.gain_control else self.interference
        received = scale(draw.noise, (no + interference).sqrt()[:, :, None, None, None])
        for antenna in range(self._num_tx):
            received = received + multiply(draw.h[:, :, :, antenna], sent[:, :, None, antenna])
        return received

    # ------------------------------------------------------------------------------------- receiving

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        assert isinstance(draw, OfdmDraw)
        known = self._data_gains(draw) if self.csi == "perfect" else None
        n = draw.num_symbols
        y, csi = self._receiver(y_raw, no, n, known, _power(draw))
        return Received(y, csi, self.uses(n))

    def _data_gains(self, draw: OfdmDraw) -> Tensor:
        """True gains of the streams at the data elements, [B, S, R, L, D]."""
        return self._stream_gains(draw).flatten(4)[..., self._grid.data]

    def _stream_gains(self, draw: OfdmDraw) -> Tensor:
        """True gains of the streams [B, S, R, L, T, F]."""
        h = draw.h
        if draw.precoder is not None:
            h = torch.stack([apply_precoder(a, b) for a, b in zip(h, draw.precoder, strict=True)])
        return h * (1 / math.sqrt(self._num_streams)) if self._num_streams > 1 else h

    def papr_db(self, x: Tensor, draw: Draw) -> Tensor:
        """Of the waveform at four times the rate F·Δf, the largest of the antennas, prefixes included."""
        assert isinstance(draw, OfdmDraw)
        sent = self._to_antennas(self._to_streams(x, draw.h.shape[1]), draw)
        front_end = self._front_end or OfdmFrontEnd((), self._grid, self._num_tx)
        empty = torch.empty(len(x), 0, dtype=torch.float64, device=self.device)
        return front_end.papr_db(sent, empty if draw.sender is None else draw.sender)

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        assert isinstance(draw, OfdmDraw)
        return self._receiver.gain(self._data_gains(draw), self.noise_variance(no, draw))[
            :, : draw.num_symbols
        ]


def _power(draw: Draw) -> Tensor:
    """Mean power of the gains of every image over grid and antennas, [B, 1] float, above 0: a blocked place
    counts as one 200 dB below the ensemble.
    """
    assert isinstance(draw, OfdmDraw)
    power = abs_squared(draw.h).flatten(1).mean(1)[:, None]
    return power.clamp_min(_LEAST_POWER)


def _stacked(rows: Sequence[Tensor]) -> Tensor:
    """Stack, with zeros behind the last dimension of the shorter ones."""
    longest = max(row.shape[-1] for row in rows)
    return torch.stack([torch.nn.functional.pad(row, (0, longest - row.shape[-1])) for row in rows])
