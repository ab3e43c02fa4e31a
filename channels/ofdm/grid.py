"""The resource grid of a slot: which elements carry data, which pilots of which stream, which nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from channels import checks, seeding, units
from channels.base import Precision
from channels.runtime import sionna_seeding

if TYPE_CHECKING:
    from sionna.phy.ofdm import ResourceGrid

__all__ = ["NORMAL_PREFIX", "Pilots", "SlotGrid", "dmrs_symbols"]

# Normal cyclic prefix of NR: 144 of 2048 samples (TS 38.211, sec. 5.3.1), the longer one of every half
# subframe left aside.
NORMAL_PREFIX = 144 / 2048
_CPU = torch.device("cpu")
_PILOT_SEED = 38211
# PUSCH DM-RS, mapping type A, single symbol, 14 symbols, first one in symbol 2 (TS 38.211 V19,
# table 6.4.1.1.3-3, l0 = 2).
_DMRS = {0: (2,), 1: (2, 11), 2: (2, 7, 11), 3: (2, 5, 8, 11)}


def dmrs_symbols(additional_positions: int) -> tuple[int, ...]:
    """OFDM symbols of a slot of 14 that carry the demodulation reference signal of NR.

    Args:
        additional_positions: dmrs-AdditionalPosition, 0 to 3.

    Source: 3GPP TS 38.211 V19, table 6.4.1.1.3-3, mapping type A, l0 = 2, l_d = 14.

    Example:
        >>> dmrs_symbols(1)
        (2, 11)
    """
    checks.check_choice("dmrs: additional_positions", additional_positions, tuple(_DMRS))
    return _DMRS[additional_positions]


@dataclass(frozen=True)
class Pilots:
    """Known symbols of a slot.

    Args:
        symbols: OFDM symbols that carry them and no data; may be empty for perfect CSI.
        comb: every comb-th used subcarrier of these symbols carries a pilot of one stream; streams stand
            beside each other on the comb, what is left of it stays empty.
        ports: a port of NR for every stream, instead: ports 2g and 2g + 1 share the subcarriers g, g + comb,
            ... (CDM group g); the sign of the second alternates from one to the next (orthogonal cover code).
        boost_db: power of a pilot over that of a data element [dB]. The boost of NR with two CDM groups
            without data is 3 dB: the elements beside the pilot are empty, so the symbol has no more power.
    """

    symbols: tuple[int, ...] = (2, 11)
    comb: int = 1
    boost_db: float = 0.0
    ports: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        checks.check_at_least("Pilots: comb", self.comb, 1)
        checks.check_range("Pilots: boost_db", self.boost_db, -30, 30, "dB")
        ports = self.ports
        if ports is not None:
            few = len(ports) > 0 and len(set(ports)) == len(ports)
            if not few or any(not 0 <= port < 2 * self.comb for port in ports):
                expected = f"different ones from 0 to {2 * self.comb - 1}, two for every place of the comb"
                raise ValueError(checks.complaint("Pilots: ports", "out of range", list(ports), expected))

    def group(self, stream: int) -> int:
        """Place on the comb that a stream has."""
        return stream if self.ports is None else self.ports[stream] // 2

    def alternates(self, stream: int) -> bool:
        """Whether the sign of a stream's pilots alternates along the subcarriers."""
        return self.ports is not None and self.ports[stream] % 2 == 1

    def partner(self, stream: int) -> int | None:
        """The stream that shares the elements of another one; None: it has them alone."""
        same = [
            i for i in range(len(self.ports or ())) if self.group(i) == self.group(stream) and i != stream
        ]
        return same[0] if same else None


class SlotGrid:
    """A slot of T OFDM symbols by F subcarriers for L streams.

    Data fill the elements that are free in all streams, by time, then frequency. With one stream and comb 1
    the pilots are Sionna's Kronecker pattern, else QPSK of the same kind of our own, one stream per element,
    or two under an orthogonal cover code (``Pilots.ports``).

    Args:
        num_subcarriers: F, the FFT size.
        subcarrier_spacing_hz: spacing [Hz].
        num_ofdm_symbols: T.
        pilots: where and how strong.
        num_streams: L.
        estimated: CSI comes from the pilots.
        cyclic_prefix_length: samples; None = 7.03% of F, rounded up.
        guard_subcarriers: unused subcarriers at the lower and upper edge.
        dc_null: leave the middle subcarrier unused.
        device, precision: as the operator's.

    Raises:
        ValueError: pilots where there are no symbols, no pilots for estimated CSI, no element left for data.

    Source: 3GPP TS 38.211 sec. 4, 5.3.1 and 6.4.1.1; Sionna 2.2 ``ResourceGrid``.
    """

    def __init__(
        self,
        *,
        num_subcarriers: int,
        subcarrier_spacing_hz: float,
        num_ofdm_symbols: int,
        pilots: Pilots,
        num_streams: int = 1,
        estimated: bool,
        cyclic_prefix_length: int | None = None,
        guard_subcarriers: tuple[int, int] = (0, 0),
        dc_null: bool = False,
        device: torch.device,
        precision: Precision,
    ) -> None:
        checks.check_at_least("OfdmChannel: num_subcarriers", num_subcarriers, 2)
        checks.check_positive("OfdmChannel: subcarrier_spacing_hz", subcarrier_spacing_hz, "Hz")
        _check_pilots(pilots, num_ofdm_symbols, num_streams, estimated)
        num_used = num_subcarriers - sum(guard_subcarriers) - int(dc_null)
        if 0 < num_used < pilots.comb and pilots.symbols:
            expected = f"at most {num_used}, the subcarriers in use"
            raise ValueError(checks.complaint("OfdmChannel: comb", "too wide", pilots.comb, expected))
        if cyclic_prefix_length is None:
            cyclic_prefix_length = math.ceil(NORMAL_PREFIX * num_subcarriers)
        self.num_subcarriers, self.num_ofdm_symbols = num_subcarriers, num_ofdm_symbols
        self.subcarrier_spacing_hz = subcarrier_spacing_hz
        self.prefix_length = cyclic_prefix_length
        self.num_streams, self.pilots = num_streams, pilots
        self._device, self._precision = device, precision
        self._arguments = {
            "num_ofdm_symbols": num_ofdm_symbols,
            "fft_size": num_subcarriers,
            "subcarrier_spacing": subcarrier_spacing_hz,
            "cyclic_prefix_length": cyclic_prefix_length,
            "num_guard_carriers": guard_subcarriers,
            "dc_null": dc_null,
            "precision": precision,
        }
        self.streams = self._stream_grids()
        used = torch.as_tensor(self.streams[0].effective_subcarrier_ind).long().cpu()
        free = torch.zeros(num_ofdm_symbols, num_subcarriers, dtype=torch.bool)
        free[:, used] = True
        free[list(pilots.symbols)] = False
        self.data = free.flatten().nonzero().flatten().to(device)
        self.data_used = free[:, used].flatten().nonzero().flatten().to(device)
        if len(self.data) == 0:
            got = f"guard {guard_subcarriers}"
            raise ValueError(
                checks.complaint("OfdmChannel: resource grid", "no data element", got, "at least one")
            )
        self.known = self._known_symbols(used)

    @property
    def symbol_s(self) -> float:
        """OFDM symbol with its prefix [s]."""
        return (1 + self.prefix_length / self.num_subcarriers) / self.subcarrier_spacing_hz

    @property
    def prefix_s(self) -> float:
        """Cyclic prefix [s]."""
        return self.prefix_length / (self.num_subcarriers * self.subcarrier_spacing_hz)

    @property
    def num_pilots(self) -> int:
        """Resource elements of a slot with a pilot of any stream."""
        return int((self.known.abs() > 0).any(0).sum())

    @property
    def num_used(self) -> int:
        """Subcarriers that carry data or pilots."""
        return int(self.streams[0].num_effective_subcarriers)

    @property
    def num_samples(self) -> int:
        """Samples of a slot at the rate F·Δf, prefixes included."""
        return self.num_ofdm_symbols * (self.num_subcarriers + self.prefix_length)

    def _stream_grids(self) -> tuple[ResourceGrid, ...]:
        """A grid of Sionna for every stream, with its own pilots and no others, for the estimators."""
        place = sionna_seeding.sionna_device(self._device)
        if not self.pilots.symbols:
            return (self._resource_grid(pilot_pattern="empty", device=place),)
        if self.num_streams == 1 and self.pilots.comb == 1 and self.pilots.ports is None:
            return (self._boosted(self._kronecker()),)
        empty = self._resource_grid(pilot_pattern="empty", device="cpu")
        num_used = int(empty.num_effective_subcarriers)
        return tuple(self._with_pattern(*self._comb(stream, num_used)) for stream in range(self.num_streams))

    def cover(self, stream: int) -> Tensor | None:
        """What the pilots of the stream that shares those of another one are over them, ±1 [pilots]; None:
        it has them alone.
        """
        partner = self.pilots.partner(stream) if self.pilots.symbols else None
        if partner is None:
            return None
        own, other = (self.streams[i].pilot_pattern.pilots.flatten() for i in (stream, partner))
        return (other / own).real.round().to(self._device)

    def _kronecker(self) -> ResourceGrid:
        with sionna_seeding.sionna_rng(_PILOT_SEED, _CPU):  # Sionna draws other pilots for every grid
            return self._resource_grid(
                pilot_pattern="kronecker",
                pilot_ofdm_symbol_indices=list(self.pilots.symbols),
                device="cpu",
            )

    def _boosted(self, grid: ResourceGrid) -> ResourceGrid:
        pattern = grid.pilot_pattern
        return self._with_pattern(pattern.mask, pattern.pilots * self._amplitude)

    @property
    def _amplitude(self) -> float:
        return math.sqrt(units.db_to_linear(self.pilots.boost_db))

    def _comb(self, stream: int, num_used: int) -> tuple[Tensor, Tensor]:
        """Mask [1, 1, T, F_used] and values [1, 1, pilots] of a stream."""
        mask = torch.zeros(1, 1, self.num_ofdm_symbols, num_used, dtype=torch.bool)
        for symbol in self.pilots.symbols:
            mask[0, 0, symbol, self.pilots.group(stream) :: self.pilots.comb] = True
        gen = seeding.generator(_PILOT_SEED + self.pilots.group(stream))
        signs = torch.randint(0, 2, (2, int(mask.sum())), generator=gen, dtype=torch.float64) * 2 - 1
        if self.pilots.alternates(stream):
            signs.view(2, len(self.pilots.symbols), -1)[..., 1::2] *= -1
        # a stream has 1/L of the power of a data element, its pilot all of it
        scale = self._amplitude * math.sqrt(self.num_streams / 2)
        dtype = torch.complex64 if self._precision == "single" else torch.complex128
        return mask, (scale * torch.complex(signs[0], signs[1]))[None, None].to(dtype)

    def _with_pattern(self, mask: Tensor, values: Tensor) -> ResourceGrid:
        place = sionna_seeding.sionna_device(self._device)
        ofdm = sionna_seeding.sionna_phy().ofdm
        pattern = ofdm.PilotPattern(mask, values, precision=self._precision, device=place)
        return self._resource_grid(pilot_pattern=pattern, device=place)

    def _resource_grid(self, **pilots_and_place: Any) -> ResourceGrid:
        return sionna_seeding.sionna_phy().ofdm.ResourceGrid(**pilots_and_place, **self._arguments)

    def _known_symbols(self, used: Tensor) -> Tensor:
        """Pilots of every stream [L, T, F] complex, 0 elsewhere."""
        dtype = torch.complex64 if self._precision == "single" else torch.complex128
        known = torch.zeros(self.num_streams, self.num_ofdm_symbols, self.num_subcarriers, dtype=dtype)
        if self.pilots.symbols:
            for stream, grid in zip(known, self.streams, strict=True):
                at = grid.pilot_pattern.mask[0, 0].bool().cpu().nonzero()
                stream[at[:, 0], used[at[:, 1]]] = grid.pilot_pattern.pilots.flatten().cpu().to(dtype)
        return known.to(self._device)

    def fill(self, symbols: Tensor) -> Tensor:
        """Grids of symbols: data [B, S, L, D] to [B, S, L, T, F], pilots included, D the data elements."""
        grid = self.known.flatten(1).expand(*symbols.shape[:2], -1, -1)
        return grid.index_copy(3, self.data, symbols).unflatten(3, self.known.shape[1:])


def _check_pilots(pilots: Pilots, num_ofdm_symbols: int, num_streams: int, estimated: bool) -> None:
    checks.check_at_least("OfdmChannel: num_ofdm_symbols", num_ofdm_symbols, 1)
    symbols: Sequence[int] = pilots.symbols
    if len(set(symbols)) != len(symbols) or any(not 0 <= p < num_ofdm_symbols for p in symbols):
        expected = f"different indices from 0 to {num_ofdm_symbols - 1}"
        raise ValueError(
            checks.complaint("OfdmChannel: pilot_symbols", "out of range", list(symbols), expected)
        )
    if len(symbols) == num_ofdm_symbols or (estimated and not symbols):
        expected = f"1 to {num_ofdm_symbols - 1} OFDM symbols"
        raise ValueError(
            checks.complaint("OfdmChannel: pilot_symbols", "wrong number", len(symbols), expected)
        )
    if pilots.ports is not None:
        if len(pilots.ports) != num_streams:
            got, expected = f"{list(pilots.ports)} for {num_streams} streams", "a port for every stream"
            raise ValueError(checks.complaint("OfdmChannel: ports", "wrong number", got, expected))
    elif symbols and pilots.comb < num_streams:
        cure = "Every stream needs pilots of its own."
        raise ValueError(
            checks.complaint("OfdmChannel: comb", "too narrow", pilots.comb, f"at least {num_streams}", cure)
        )
