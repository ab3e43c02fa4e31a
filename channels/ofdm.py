"""OFDM over any delay model: resource grid, pilots, mapping, CSI, as n parallel scalar channels.

May import: torch, sionna, channels.{types, checks, seeding, base, estimation, delay_models (protocol)}.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from channels import checks, seeding
from channels.arithmetic import multiply, scale
from channels.base import ChannelOperator, Precision
from channels.delay_models import DelayModel
from channels.estimation import Interpolation, LmmseEstimator, LsEstimator
from channels.types import ChannelUses, Csi, Draw, Received

from sionna.phy.channel import GenerateOFDMChannel
from sionna.phy.ofdm import PilotPattern, ResourceGrid, ResourceGridMapper

__all__ = ["OfdmChannel", "OfdmCsi", "interference_power"]

OfdmCsi = Literal["perfect", "ls", "lmmse"]

# Normal cyclic prefix of NR: 144 of 2048 samples (TS 38.211, sec. 5.3.1), the longer one of every half
# subframe left aside.
NORMAL_PREFIX = 144 / 2048
_MUCH_INTERFERENCE = 0.1
_CPU = torch.device("cpu")
_PILOT_SEED = 38211


def interference_power(model: DelayModel, symbol_s: float, prefix_s: float) -> float:
    """Mean power that a unit-power OFDM signal spills onto other resource elements.

    Doppler: 1 - E|mean gain over the symbol|², for a Jakes spectrum about (2π f_d T)²/24. Paths that come
    later than the prefix by a share δ of the symbol: 1 - (1 - δ)² of their power.

    Args:
        model: delay model.
        symbol_s: OFDM symbol without prefix [s].
        prefix_s: cyclic prefix [s].

    Source: Li & Cimini, "Bounds on the Interchannel Interference of OFDM in Time-Varying Impairments", IEEE
        Trans. Commun. 49 (2001); Speth et al., "Optimum Receiver Design for Wireless Broad-Band Systems Using
        OFDM, Part I", IEEE Trans. Commun. 47 (1999).
    """
    samples = 64
    doppler = 1 - float(model.time_covariance(samples, symbol_s / samples).real.mean())
    late = ((model.delays_s.double() - prefix_s) / symbol_s).clamp(0, 1)
    spilled = float((model.mean_powers.double() * (1 - (1 - late).square())).sum())
    return max(doppler, 0.0) + spilled


@dataclass(frozen=True)
class _OfdmDraw(Draw):
    h: Tensor  # [B, S, T, F] complex
    noise: Tensor  # [B, S, T, F] complex, CN(0, 1)
    num_symbols: int


class OfdmChannel(ChannelOperator):
    r"""OFDM in the frequency domain: y_tf = h_tf·x_tf + w_tf on every resource element.

    An image takes S slots of T OFDM symbols by F subcarriers that follow each other in time over one fading
    process. Whole OFDM symbols of every slot carry pilots (Sionna's Kronecker pattern, unit power, the same
    in every operator); data fill the other elements by time, then frequency.

    What Doppler within an OFDM symbol and paths behind the cyclic prefix spill onto other elements is counted
    as noise: ``interference`` is its mean power (see :func:`interference_power`), added to the noise that is
    drawn and to the noise variance that the receiver is given. The gain keeps E|h|² = 1.

    Args:
        model: delay model, e.g. :class:`channels.delay_models.TdlModel`, of the same precision.
        num_subcarriers: F, the FFT size.
        subcarrier_spacing_hz: spacing [Hz].
        num_ofdm_symbols: T per slot.
        pilot_symbols: OFDM symbols of a slot that carry pilots; may be empty for perfect CSI.
        csi: "perfect" (true gain, err_var 0), "ls" or "lmmse" (from the pilots of the same slot).
        interpolation: of LS estimates.
        cyclic_prefix_length: samples; None = 7.03% of F, rounded up.
        guard_subcarriers: unused subcarriers at the lower and upper edge.
        dc_null: leave the middle subcarrier unused.

    Raises:
        ValueError: arguments out of range, pilots where there are no symbols, no pilots for estimated CSI.

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
        pilot_symbols: Sequence[int] = (2, 11),
        csi: OfdmCsi = "ls",
        interpolation: Interpolation = "linear",
        cyclic_prefix_length: int | None = None,
        guard_subcarriers: tuple[int, int] = (0, 0),
        dc_null: bool = False,
        device: torch.device | str = "cpu",
        precision: Precision = "single",
    ) -> None:
        super().__init__(device=device, precision=precision)
        checks.check_choice("OfdmChannel: csi", csi, ("perfect", "ls", "lmmse"))
        checks.check_at_least("OfdmChannel: num_subcarriers", num_subcarriers, 2)
        checks.check_positive("OfdmChannel: subcarrier_spacing_hz", subcarrier_spacing_hz, "Hz")
        self._check_pilots(pilot_symbols, num_ofdm_symbols, csi)
        if cyclic_prefix_length is None:
            cyclic_prefix_length = math.ceil(NORMAL_PREFIX * num_subcarriers)
        self.csi = csi
        self._model = model
        self._generators: dict[int, GenerateOFDMChannel] = {}
        self._grid_arguments = {
            "fft_size": num_subcarriers,
            "subcarrier_spacing": subcarrier_spacing_hz,
            "cyclic_prefix_length": cyclic_prefix_length,
            "num_guard_carriers": guard_subcarriers,
            "dc_null": dc_null,
            "precision": precision,
        }
        self._grid = self._make_grid(num_ofdm_symbols, pilot_symbols)
        self._mapper = ResourceGridMapper(self._grid, precision=precision, device=self._grid.device)
        kinds = self._grid.build_type_grid().flatten()
        self._data = (kinds == 0).nonzero().flatten().to(self.device)
        mask = self._grid.pilot_pattern.mask.flatten()
        self._data_used = (mask == 0).nonzero().flatten().to(self.device)
        if len(self._data) == 0:
            got = f"guard {guard_subcarriers}"
            raise ValueError(
                checks.complaint("OfdmChannel: resource grid", "no data element", got, "at least one")
            )
        self._ls = self._lmmse = None
        if csi == "ls":
            self._ls = LsEstimator(
                self._grid, *self._covariances(), interpolation, precision=precision, device=self.device
            )
        elif csi == "lmmse":
            self._lmmse = LmmseEstimator(
                self._grid, *self._covariances(), precision=precision, device=self.device
            )
        prefix_s = cyclic_prefix_length / (num_subcarriers * subcarrier_spacing_hz)
        self.interference = interference_power(model, 1 / subcarrier_spacing_hz, prefix_s)
        if self.interference > _MUCH_INTERFERENCE:
            warnings.warn(
                f"OfdmChannel: Doppler and late paths spill {100 * self.interference:.0f}% of the power onto "
                f"other elements. Counting that as Gaussian noise is rough; use another subcarrier spacing.",
                stacklevel=2,
            )

    @staticmethod
    def _check_pilots(pilots: Sequence[int], num_ofdm_symbols: int, csi: str) -> None:
        checks.check_at_least("OfdmChannel: num_ofdm_symbols", num_ofdm_symbols, 1)
        if len(set(pilots)) != len(pilots) or any(not 0 <= p < num_ofdm_symbols for p in pilots):
            expected = f"different indices from 0 to {num_ofdm_symbols - 1}"
            raise ValueError(
                checks.complaint("OfdmChannel: pilot_symbols", "out of range", list(pilots), expected)
            )
        if len(pilots) == num_ofdm_symbols or (csi != "perfect" and not pilots):
            expected = f"1 to {num_ofdm_symbols - 1} OFDM symbols"
            raise ValueError(
                checks.complaint("OfdmChannel: pilot_symbols", "wrong number", len(pilots), expected)
            )

    def _make_grid(
        self, num_ofdm_symbols: int, pilot_symbols: Sequence[int] = (), device: str | None = None
    ) -> ResourceGrid:
        arguments = {"num_ofdm_symbols": num_ofdm_symbols, **self._grid_arguments}
        place = device or seeding.sionna_device(self.device)
        if not pilot_symbols:
            return ResourceGrid(pilot_pattern="empty", device=place, **arguments)
        with seeding.sionna_rng(_PILOT_SEED, _CPU):  # Sionna draws other pilots for every grid
            grid = ResourceGrid(
                pilot_pattern="kronecker",
                pilot_ofdm_symbol_indices=list(pilot_symbols),
                device="cpu",
                **arguments,
            )
        if place == "cpu":
            return grid
        drawn = grid.pilot_pattern
        pattern = PilotPattern(drawn.mask, drawn.pilots, precision=self.precision, device=place)
        return ResourceGrid(pilot_pattern=pattern, device=place, **arguments)

    def _covariances(self) -> tuple[Tensor, Tensor]:
        grid = self._grid
        time = self._model.time_covariance(grid.num_ofdm_symbols, grid.ofdm_symbol_duration)
        return time, self._model.frequency_covariance(grid.fft_size, grid.subcarrier_spacing)

    def noise_variance(self, no: Tensor) -> Tensor:
        """Thermal noise and interference."""
        return no + self.interference

    def _num_slots(self, num_symbols: int) -> int:
        return math.ceil(num_symbols / len(self._data))

    def uses(self, num_symbols: int) -> ChannelUses:
        """Guard counts unused subcarriers, unfilled elements of the last slot, and cyclic prefix samples."""
        grid, slots = self._grid, self._num_slots(num_symbols)
        total = slots * grid.num_ofdm_symbols * (grid.fft_size + grid.cyclic_prefix_length)
        pilot = slots * int((grid.build_type_grid() == 1).sum())
        return ChannelUses(data=num_symbols, pilot=pilot, guard=total - num_symbols - pilot)

    def _generator(self, slots: int) -> GenerateOFDMChannel:
        if slots not in self._generators:
            self._generators[slots] = GenerateOFDMChannel(
                self._model,
                self._make_grid(slots * self._grid.num_ofdm_symbols, device="cpu"),
                normalize_channel=False,
                precision=self.precision,
                device="cpu",
            )
        return self._generators[slots]

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> _OfdmDraw:
        slots = self._num_slots(num_symbols)
        generate = self._generator(slots)
        shape = (len(seeds), slots, self._grid.num_ofdm_symbols, self._grid.fft_size)
        noise = torch.empty(shape, dtype=self.cdtype)
        h = torch.empty(shape, dtype=self.cdtype)
        seeding.fill_normal(noise, seeds)
        with torch.no_grad():
            for i, seed in enumerate(seeds):
                with seeding.sionna_rng(seeding.derived_seed(seed, "fading"), _CPU):
                    h[i] = generate(1).view(shape[1:])
        return _OfdmDraw(h.to(self.device), noise.to(self.device), num_symbols)

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """Received grid [B, S, T, F], pilots included."""
        assert isinstance(draw, _OfdmDraw)
        batch, slots = draw.h.shape[:2]
        filled = torch.nn.functional.pad(x, (0, slots * len(self._data) - x.shape[1]))
        grid = self._mapper(filled.view(batch * slots, 1, 1, -1)).view(draw.h.shape)
        return multiply(draw.h, grid) + scale(draw.noise, self.noise_variance(no).sqrt()[:, :, None, None])

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        assert isinstance(draw, _OfdmDraw)
        num_symbols, no = draw.num_symbols, self.noise_variance(no)
        data = self._pick(y_raw, self._data, num_symbols)
        if self.csi == "perfect":
            csi = Csi(self._pick(draw.h, self._data, num_symbols), no, torch.zeros_like(no))
        else:
            h_hat, err_var = self._estimate(y_raw, no)
            csi = Csi(
                self._pick(h_hat, self._data_used, num_symbols),
                no,
                self._pick(err_var, self._data_used, num_symbols),
            )
        return Received(data, csi, self.uses(num_symbols))

    def _estimate(self, y_raw: Tensor, no: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and error variance [B, S, T, F_used] from the pilots of each slot."""
        batch, slots = y_raw.shape[:2]
        if self._ls is not None:
            h_hat, err_var = self._ls(y_raw.flatten(0, 1), no.expand(batch, slots).reshape(-1))
            return h_hat.view(batch, slots, *h_hat.shape[1:]), err_var.view(batch, slots, *err_var.shape[1:])
        assert self._lmmse is not None
        estimates = [self._lmmse(y, n.expand(slots)) for y, n in zip(y_raw, no, strict=True)]
        return torch.stack([h for h, _ in estimates]), torch.stack([e for _, e in estimates])

    @staticmethod
    def _pick(grid: Tensor, elements: Tensor, num_symbols: int) -> Tensor:
        """[B, n] data elements of a grid [B, S, T, F]."""
        return grid.flatten(2)[:, :, elements].flatten(1)[:, :num_symbols]

    def gain(self, draw: Draw) -> Tensor:
        assert isinstance(draw, _OfdmDraw)
        return self._pick(draw.h, self._data, draw.num_symbols)
