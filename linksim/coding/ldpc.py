"""5G NR LDPC code: base graphs, encoder and rate matching; the decoder's kernels are in
:mod:`linksim.coding.ldpc_decoder`.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from channels.checks import complaint
from linksim.coding.ldpc_decoder import LIMIT, Edges, decode_words, deposit

__all__ = ["LdpcCode", "Lifting", "base_graph", "select_base_graph", "select_lifting"]

Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]

# TS 38.212 table 5.3.2-1: lifting sizes by set index.
LIFTING_SETS = (
    (2, 4, 8, 16, 32, 64, 128, 256),
    (3, 6, 12, 24, 48, 96, 192, 384),
    (5, 10, 20, 40, 80, 160, 320),
    (7, 14, 28, 56, 112, 224),
    (9, 18, 36, 72, 144, 288),
    (11, 22, 44, 88, 176, 352),
    (13, 26, 52, 104, 208),
    (15, 30, 60, 120, 240),
)
MAX_BLOCK = {1: 8448, 2: 3840}  # sec. 5.2.2, K_cb
_INFO_COLUMNS = {1: 22, 2: 10}
_SHAPE = {1: (46, 68), 2: (42, 52)}
# Table 5.4.2.1-2: numerators of the start of redundancy versions 0 to 3.
_RV_START = {1: (0, 17, 33, 56), 2: (0, 13, 25, 43)}


@dataclass(frozen=True)
class Lifting:
    """Lifting of a base graph: size Z and the index of its set."""

    z: int
    set_index: int


def select_base_graph(info_bits: int, rate: float) -> int:
    """Base graph 1 or 2 of a transport block of ``info_bits`` bits at target code rate ``rate``.

    Source: 3GPP TS 38.212 V18, sec. 7.2.2.
    """
    small = info_bits <= 292 or (info_bits <= 3824 and rate <= 0.67) or rate <= 0.25
    return 2 if small else 1


def select_lifting(graph: int, total_bits: int, block_bits: int) -> Lifting:
    """Smallest lifting size with K_b·Z >= K'.

    Args:
        graph: 1 or 2.
        total_bits: B, transport block with its CRC (K_b of base graph 2 depends on it).
        block_bits: K', bits of one code block with its CRC.

    Raises:
        ValueError: more bits than the largest lifting size holds.

    Source: 3GPP TS 38.212 V18, sec. 5.2.2.
    """
    columns = _INFO_COLUMNS[graph]
    if graph == 2:
        columns = 10 if total_bits > 640 else 9 if total_bits > 560 else 8 if total_bits > 192 else 6
    fits = [(z, i) for i, sizes in enumerate(LIFTING_SETS) for z in sizes if columns * z >= block_bits]
    if not fits:
        limit = MAX_BLOCK[graph]
        raise ValueError(complaint("ldpc: code block", "too long", f"{block_bits} bits", f"at most {limit}"))
    return Lifting(*min(fits))


@lru_cache(maxsize=16)
def base_graph(graph: int, set_index: int) -> NDArray[np.int32]:
    """Shifts V_ij of a base graph for one lifting set, -1 where there is no edge; [46, 68] or [42, 52].

    Raises:
        RuntimeError: the package sionna, which brings the tables, is missing.

    Source: 3GPP TS 38.212 V18, tables 5.3.2-2 and 5.3.2-3, as the data files of the sionna package hold them.
    """
    spec = importlib.util.find_spec("sionna")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "ldpc: the package sionna is missing, expected version 2.2 or newer. pip install sionna-no-rt"
        )
    path = Path(spec.submodule_search_locations[0]) / "phy/fec/ldpc/codes" / f"5G_bg{graph}.csv"
    matrix = np.full(_SHAPE[graph], -1, np.int32)
    row = -1
    for line in path.read_text(encoding="utf-8").splitlines()[2:]:
        cells = line.split(";")
        if cells[0].strip():
            row = int(cells[0])
        matrix[row, int(cells[1])] = int(cells[2 + set_index])
    return matrix


class LdpcCode:
    """A lifted 5G LDPC code with its rate matching.

    Order of a code word: K = 22·Z (or 10·Z) systematic bits, of which the last K - K' are fillers (known
    zeros, never sent) and the first 2·Z are never sent, then the parity bits.

    Args:
        graph: base graph 1 or 2.
        lifting: lifting size.
        block_bits: K', information bits of a block with their CRC.

    Source: 3GPP TS 38.212 V18, sec. 5.3.2 and 5.4.2.

    Example:
        >>> code = LdpcCode(2, select_lifting(2, 500, 500), 500)
        >>> word = code.encode(np.zeros((1, 500), np.uint8))
        >>> int(word.sum()), word.shape[1] == 52 * code.z
        (0, True)
    """

    def __init__(self, graph: int, lifting: Lifting, block_bits: int) -> None:
        self.graph, self.z, self.block_bits = graph, lifting.z, block_bits
        table = base_graph(graph, lifting.set_index)
        self.shifts = np.where(table < 0, -1, table % self.z).astype(np.int32)
        self.info_columns = _INFO_COLUMNS[graph]
        self.info_bits = self.info_columns * self.z
        if block_bits > self.info_bits:
            got = f"{block_bits} bits"
            raise ValueError(complaint("ldpc: code block", "too long", got, f"at most {self.info_bits}"))
        self.length = table.shape[1] * self.z
        rows, columns = np.nonzero(self.shifts >= 0)
        self._edges = Edges(
            np.searchsorted(rows, np.arange(table.shape[0] + 1)).astype(np.int32),
            columns.astype(np.int32),
            self.shifts[rows, columns].astype(np.int32),
            self.z,
            self.info_columns + 4,
        )

    # ----------------------------------------------------------------------------------- encoder

    def encode(self, bits: Bits) -> Bits:
        """Code words [B, N + 2Z] uint8 of blocks [B, K'] uint8, before rate matching."""
        batch, z = bits.shape[0], self.z
        words = np.zeros((batch, self.shifts.shape[1], z), np.uint8)
        info = np.zeros((batch, self.info_bits), np.uint8)
        info[:, : self.block_bits] = bits
        words[:, : self.info_columns] = info.reshape(batch, self.info_columns, z)
        self._encode_core(words)
        for row in range(4, self.shifts.shape[0]):
            words[:, self.info_columns + row] = self.row_sum(words, row, self.info_columns + 4)
        return words.reshape(batch, -1)

    def row_sum(self, words: Bits, row: int, columns: int) -> Bits:
        """Parity [B, Z] of a base row over the first ``columns`` columns."""
        total = np.zeros((words.shape[0], self.z), np.uint8)
        for column in np.nonzero(self.shifts[row, :columns] >= 0)[0]:
            total ^= np.roll(words[:, column], -self.shifts[row, column], axis=1)
        return total

    def _encode_core(self, words: Bits) -> None:
        """The four core parity columns: their sum gives the first, each row the next."""
        k, z = self.info_columns, self.z
        sums = [self.row_sum(words, row, k) for row in range(4)]
        first = self.shifts[:4, k]
        present, counts = np.unique(first[first >= 0], return_counts=True)
        odd = present[counts % 2 == 1]
        assert len(odd) == 1, "base graph with an unknown core"
        total = sums[0] ^ sums[1] ^ sums[2] ^ sums[3]
        words[:, k] = np.roll(total, odd[0], axis=1)
        known = {0}
        while len(known) < 4:
            for row in range(4):
                unknown = [j for j in range(4) if self.shifts[row, k + j] >= 0 and j not in known]
                if len(unknown) == 1:
                    parity = sums[row].copy()
                    for j in known:
                        if self.shifts[row, k + j] >= 0:
                            parity ^= np.roll(words[:, k + j], -self.shifts[row, k + j], axis=1)
                    words[:, k + unknown[0]] = np.roll(parity, self.shifts[row, k + unknown[0]], axis=1) % 2
                    known.add(unknown[0])
        assert z == words.shape[2]

    # ------------------------------------------------------------------------------ rate matching

    def selection(self, num_bits: int, rv: int = 0) -> NDArray[np.int64]:
        """Positions within a code word of the ``num_bits`` bits that are sent, in order.

        The circular buffer is read from the start of redundancy version ``rv``; fillers are skipped; with
        more bits than the buffer has, it is read again (repetition).

        Source: 3GPP TS 38.212 V18, sec. 5.4.2.1, without limited buffer.
        """
        z = self.z
        start = _RV_START[self.graph][rv] * (self.length - 2 * z) // ((_SHAPE[self.graph][1] - 2) * z) * z
        buffer = np.roll(np.arange(2 * z, self.length), -start)
        sent = buffer[(buffer < self.block_bits) | (buffer >= self.info_bits)]
        return np.resize(sent, num_bits)

    def prior(self, llr: Floats, rv: int = 0, earlier: Floats | None = None) -> Floats:
        """LLRs [B, N + 2Z] of all code bits from those of the sent ones; repetitions add up.

        Args:
            llr: [B, E] LLRs of what one transmission brought.
            rv: its redundancy version.
            earlier: result of this method for earlier transmissions, to be added to (soft combining).
        """
        full = np.zeros((llr.shape[0], self.length), np.float32) if earlier is None else earlier.copy()
        deposit(np.ascontiguousarray(llr, np.float32), self.selection(llr.shape[1], rv), full)
        full[:, self.block_bits : self.info_bits] = LIMIT
        return full

    # ----------------------------------------------------------------------------------- decoder

    def decode(
        self, prior: Floats, max_iterations: int = 20, threads: int | None = None
    ) -> tuple[Bits, NDArray[np.bool_], NDArray[np.int32]]:
        """Layered belief propagation with early stop on the parity checks.

        Args:
            prior: [B, N + 2Z] LLRs log(P(0)/P(1)) as :meth:`prior` makes them.
            max_iterations: layered iterations at most.
            threads: worker threads; None = all cores.

        Returns:
            bits: [B, K'] uint8 hard decisions.
            satisfied: [B] bool, all parity checks of the rows in use hold.
            iterations: [B] int32 used.
        """
        words = np.ascontiguousarray(prior, np.float32)
        return decode_words(words, self._edges, self.block_bits, max_iterations, threads)
