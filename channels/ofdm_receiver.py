"""The receiver of OFDM: gain control, estimation, combining and detection, as n parallel scalar channels.

May import: torch, channels.{types, base, arithmetic, grid, transmission, detection, estimation, delay_models
(protocol)}.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from channels.arithmetic import abs_squared, scale
from channels.base import Precision
from channels.delay_models import Covariance
from channels.detection import combine, detect
from channels.estimation import Interpolation, LmmseEstimator, LsEstimator, NoiseEstimator, PilotPower
from channels.grid import SlotGrid
from channels.transmission import Transmission
from channels.types import Csi

__all__ = ["NoiseKnowledge", "OfdmCsi", "OfdmReceiver"]

OfdmCsi = Literal["perfect", "ls", "lmmse"]
NoiseKnowledge = Literal["known", "estimated"]
_TURNS = 4


class OfdmReceiver:
    """What a receiver makes of resource grids: see :class:`channels.ofdm.OfdmChannel`.

    Args:
        grid: resource grid with the pilots of every stream.
        transmission: streams and precoding.
        covariance: statistics that the estimators are designed for, of gains of unit power.
        num_rx: R, receive antennas.
        stream_power: E|h|² of the gain of a stream.
        csi: "perfect", or the estimator.
        interpolation: of LS estimates.
        noise: "known", or "estimated" from the pilots.
        gain_control: scale every frame to the power of the ensemble first.
        added_noise: mean power of interference and of the receiver's distortion, with gains of unit power.
        sent_distortion: mean distortion of the transmitter over the power of its signal.
        device, precision: as the operator's.

    Raises:
        ValueError: pilots that do not suffice.
    """

    def __init__(
        self,
        grid: SlotGrid,
        transmission: Transmission,
        covariance: Covariance,
        *,
        num_rx: int,
        stream_power: float,
        csi: OfdmCsi,
        interpolation: Interpolation,
        noise: NoiseKnowledge,
        gain_control: bool,
        added_noise: float,
        sent_distortion: float,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self._grid, self._transmission, self._num_rx = grid, transmission, num_rx
        self._num_streams, self._stream_power = grid.num_streams, stream_power
        self._added_noise, self._sent_distortion = added_noise, sent_distortion
        self._gain_control = gain_control
        self._estimators: list[LsEstimator] | list[LmmseEstimator] = []
        self._noise_estimator, self._pilot_power = None, None
        kind: dict[str, Any] = {"device": device, "precision": precision}
        if csi != "perfect" or noise == "estimated":
            time = covariance.time_covariance(grid.num_ofdm_symbols, grid.symbol_s)
            frequency = covariance.frequency_covariance(grid.num_subcarriers, grid.subcarrier_spacing_hz)
            frequency = frequency * stream_power
        if csi == "ls":
            self._estimators = [LsEstimator(g, time, frequency, interpolation, **kind) for g in grid.streams]
        elif csi == "lmmse":
            self._estimators = [LmmseEstimator(g, time, frequency, **kind) for g in grid.streams]
        if noise == "estimated":
            self._noise_estimator = NoiseEstimator(grid.streams, frequency, **kind)
        if gain_control and csi != "perfect":
            self._pilot_power = PilotPower(grid.streams, stream_power, **kind)

    def __call__(
        self, y_raw: Tensor, no: Tensor, num_symbols: int, known: Tensor | None, power: Tensor
    ) -> tuple[Tensor, Csi]:
        """Scalar channels of the symbols of a batch.

        Args:
            y_raw: [B, S, R, T, F] complex, received grids.
            no: [B, 1] float, linear, thermal noise per element.
            num_symbols: n, the leading ones that were sent.
            known: [B, S, R, L, D] complex, true gains of the streams at the data elements; None = estimated.
            power: [B, 1] float, mean power of the true gains over grid and antennas, used with known gains or
                a known noise variance.

        Returns:
            [B, n] complex and what is known of it.
        """
        if not self._gain_control:
            y, csi = self._at_nominal_power(y_raw, no + self._added_noise, known)
        elif known is not None and self._noise_estimator is None:
            y, csi = self._at_nominal_power(y_raw, no + self._added_noise * power, known)
        else:
            level = self._measured_power(y_raw, no) if known is None else power
            if known is not None:
                known = known * level.rsqrt()[:, :, None, None, None]
            scaled = scale(y_raw, level.rsqrt()[:, :, None, None, None])
            y, csi = self._at_nominal_power(scaled, no / level + self._added_noise, known)
            root = level.sqrt()
            y = scale(y, root.expand(y.shape))
            csi = Csi(scale(csi.h, root.expand(csi.h.shape)), csi.no * level, csi.err_var * level)
        h, err_var = csi.h[:, :num_symbols], csi.err_var[:, :num_symbols]
        return y[:, :num_symbols], Csi(h, csi.no, err_var)

    def gain(self, h: Tensor, no: Tensor) -> Tensor:
        """Scalar gains [B, n'] of streams with the true gains h [B, S, R, L, D], n' symbols in whole slots.

        Args:
            h: see above.
            no: [B, 1] float, linear, noise variance with all that counts as noise.
        """
        blank = torch.zeros_like(h[:, :, :, 0])
        _, gain, _ = self._to_scalars(blank, h, no, torch.zeros_like(no)[:, :, None])
        return gain.flatten(1)

    def _measured_power(self, y_raw: Tensor, no: Tensor) -> Tensor:
        """Power of every image [B, 1] by its pilots; without the noise variance both are found in turn."""
        assert self._pilot_power is not None
        y = y_raw.movedim(2, 1)
        if self._noise_estimator is None:
            return self._pilot_power(y, no[:, 0])[:, None].to(no.dtype)
        power = self._pilot_power(y, torch.zeros_like(no[:, 0]))
        for _ in range(_TURNS):
            at_unit_power = scale(y, power.rsqrt().to(no.dtype)[:, None, None, None, None])
            power = self._pilot_power(y, self._noise_estimator(at_unit_power) * power)
        return power[:, None].to(no.dtype)

    def _at_nominal_power(self, y_raw: Tensor, no: Tensor, known: Tensor | None) -> tuple[Tensor, Csi]:
        """Of grids whose mean power is that of the ensemble, or has been made so; noise variance [B, 1]."""
        sent_distortion = self._sent_distortion
        if self._noise_estimator is not None:  # all that there is
            no = self._noise_estimator(y_raw.movedim(2, 1)).to(no.dtype)[:, None]
            sent_distortion = 0.0
        if known is None:
            h, err_var = self._estimate(y_raw, no + sent_distortion * self._stream_power * self._num_streams)
        else:
            h, err_var = known, torch.zeros_like(no)[:, :, None]
        y, gain, err_var = self._to_scalars(y_raw.flatten(3)[..., self._grid.data], h, no, err_var)
        gain = gain.flatten(1)
        err_var = torch.zeros_like(no) if known is not None else err_var.flatten(1)
        if sent_distortion > 0:
            err_var = err_var + sent_distortion * abs_squared(gain)
        return y.flatten(1), Csi(gain, no, err_var)

    def _estimate(self, y_raw: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Gains [B, S, R, L, D] and error variance, the sum over the streams, [B, S, D], from the pilots."""
        batch, slots, antennas = y_raw.shape[:3]
        gains, total = [], torch.zeros((), dtype=no.dtype, device=no.device)
        for estimator in self._estimators:
            if isinstance(estimator, LsEstimator):
                each = no[:, :, None].expand(batch, slots, antennas).reshape(-1)
                h, error = estimator(y_raw.flatten(0, 2), each)
            else:
                pairs = [
                    estimator(y.flatten(0, 1), n.expand(slots * antennas))
                    for y, n in zip(y_raw, no, strict=True)
                ]
                h, error = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
            shape = (batch, slots, antennas)
            gains.append(h.flatten(1)[:, self._grid.data_used].unflatten(0, shape))
            error = error.flatten(1)[:, self._grid.data_used].unflatten(0, shape)[:, :, 0]
            total = total + error  # the same at every antenna
        return torch.stack(gains, 3), total

    def _to_scalars(self, y: Tensor, h: Tensor, no: Tensor, err_var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scalar channels of the symbols of every slot, each [B, S, symbols].

        Args:
            y: [B, S, R, D]; h: [B, S, R, L, D]; no: [B, 1]; err_var: [B, S, D] or [B, 1, 1].
        """
        if self._num_streams == 1:
            if self._num_rx == 1:
                return y[:, :, 0], h[:, :, 0, 0], err_var
            combined, norm = combine(y.movedim(2, 0), h[:, :, :, 0].movedim(2, 0))
            return combined, torch.complex(norm, torch.zeros_like(norm)), err_var
        y, h = y.movedim(2, 0), h.movedim((2, 3), (0, 1))  # [R, B, S, D], [R, L, B, S, D]
        if self._transmission.is_orthogonal_pair:
            y, h, err_var = _paired(y, h, err_var)
        total = no[:, :, None] + err_var
        z, a = detect(y, h, total)
        root = total.sqrt()
        z = scale(z, root.expand(z.shape)).movedim(0, -1).flatten(-2)
        a = (a * root).movedim(0, -1).flatten(-2)
        spread = err_var.expand(err_var.shape[0], err_var.shape[1], -1).repeat_interleave(len(h[0]), -1)
        return z, torch.complex(a, torch.zeros_like(a)), spread


def _paired(y: Tensor, h: Tensor, err_var: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Two elements with Alamouti's code as one with twice the antennas: the second one conjugated.

    Args:
        y: [R, B, S, D]; h: [R, 2, B, S, D]; err_var: [B, S, D] or [B, 1, 1].
    """
    even = y.shape[-1] // 2 * 2
    first, second = y[..., 0:even:2], y[..., 1:even:2].conj().resolve_conj()
    h_first, h_second = h[..., 0:even:2], h[..., 1:even:2].conj().resolve_conj()
    crossed = torch.stack([h_second[:, 1], -h_second[:, 0]], 1)
    if err_var.shape[-1] > 1:
        err_var = (err_var[..., 0:even:2] + err_var[..., 1:even:2]) / 2
    return torch.cat([first, second]), torch.cat([h_first, crossed]), err_var
