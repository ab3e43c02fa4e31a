"""Modulation and coding schemes of TS 38.214."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALL_MCS", "MCS_TABLES", "MCS_TABLE_1", "Mcs", "in_table"]


@dataclass(frozen=True)
class Mcs:
    """One modulation and coding scheme.

    Args:
        index: row of the table.
        bits_per_symbol: Q_m.
        rate: target code rate R.
        table: 1, 2 or 3: table 5.1.3.1-1, -2 or -3.
    """

    index: int
    bits_per_symbol: int
    rate: float
    table: int = 1

    @property
    def efficiency(self) -> float:
        """Information bits per channel use."""
        return self.bits_per_symbol * self.rate


# TS 38.214 V18 table 5.1.3.1-1 (64QAM): (Q_m, R x 1024) of indices 0 to 28.
_TABLE_1 = (
    *((2, r) for r in (120, 157, 193, 251, 308, 379, 449, 526, 602, 679)),
    *((4, r) for r in (340, 378, 434, 490, 553, 616, 658)),
    *((6, r) for r in (438, 466, 517, 567, 616, 666, 719, 772, 822, 873, 910, 948)),
)
# Table 5.1.3.1-2 (256QAM): indices 0 to 27.
_TABLE_2 = (
    *((2, r) for r in (120, 193, 308, 449, 602)),
    *((4, r) for r in (378, 434, 490, 553, 616, 658)),
    *((6, r) for r in (466, 517, 567, 616, 666, 719, 772, 822, 873)),
    *((8, r) for r in (682.5, 711, 754, 797, 841, 885, 916.5, 948)),
)
# Table 5.1.3.1-3 (64QAM, low spectral efficiency): indices 0 to 28.
_TABLE_3 = (
    *((2, r) for r in (30, 40, 50, 64, 78, 99, 120, 157, 193, 251, 308, 379, 449, 526, 602)),
    *((4, r) for r in (340, 378, 434, 490, 553, 616)),
    *((6, r) for r in (438, 466, 517, 567, 616, 666, 719, 772)),
)
MCS_TABLES: dict[int, tuple[Mcs, ...]] = {
    number: tuple(Mcs(i, q, r / 1024, number) for i, (q, r) in enumerate(rows))
    for number, rows in ((1, _TABLE_1), (2, _TABLE_2), (3, _TABLE_3))
}
MCS_TABLE_1 = MCS_TABLES[1]


def _distinct() -> tuple[Mcs, ...]:
    found: dict[tuple[int, float], Mcs] = {}
    for number in (1, 3, 2):
        for mcs in MCS_TABLES[number]:
            found.setdefault((mcs.bits_per_symbol, mcs.rate), mcs)
    return tuple(sorted(found.values(), key=lambda m: m.efficiency))


# Every pair of modulation and rate once, by the first of tables 1, 3, 2 that has it, in rising efficiency.
ALL_MCS: tuple[Mcs, ...] = _distinct()


def in_table(mcs: Mcs, number: int) -> bool:
    """Whether a table has this modulation and rate."""
    return any((m.bits_per_symbol, m.rate) == (mcs.bits_per_symbol, mcs.rate) for m in MCS_TABLES[number])
