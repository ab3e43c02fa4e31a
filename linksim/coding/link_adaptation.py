"""Link adaptation: which MCS a transmitter chooses by a frozen table."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from channels.runtime.moved import names_moved
from linksim.coding.calibration import ChannelCalibration, QualityCurve
from linksim.coding.mcs import Mcs, in_table
from linksim.coding.qam_rate import needed_snr_db

__all__ = ["MOST_RATE", "AdaptiveMcs", "sent_rate"]

_SAME_LENGTH, _BLOCK_ERROR = 0.01, 0.1


def _length(channel: ChannelCalibration) -> int:
    return channel.num_uses


# Beyond this rate, CRCs included, receivers of NR need not decode (TS 38.214 V18, sec. 5.1.3).
MOST_RATE = 0.95


def sent_rate(mcs: Mcs, num_uses: int) -> float:
    """Code rate that a block really has: payload and CRCs over coded bits. The steps of transport block sizes
    make it another one than the table's, the more so the shorter the block.
    """
    return _sent(mcs, num_uses)[0]


@lru_cache(maxsize=65536)
def _sent(mcs: Mcs, num_uses: int) -> tuple[float, int]:
    """Code rate of a block, and how many code blocks it is cut into."""
    from linksim.coding.transport import TransportBlock  # needs Sionna

    block = TransportBlock(num_uses, mcs.bits_per_symbol, mcs.rate)
    return (block.size + block.crc_bits) / block.num_coded_bits, block.num_code_blocks


@lru_cache(maxsize=65536)
def _loss_db(mcs: Mcs, num_uses: int, reference: int) -> float:
    """What a block needs more than one of ``reference`` uses of this MCS [dB], at 10% block errors on AWGN,
    each at the rate and in the code blocks that it really has, all of which must arrive; not below 0, inf for
    what no receiver decodes.
    """

    def needed(uses: int) -> float:
        rate, pieces = _sent(mcs, uses)
        bits = math.ceil(rate * uses * mcs.bits_per_symbol / pieces - 1e-6)
        each = 1 - (1 - _BLOCK_ERROR) ** (1 / pieces)
        return needed_snr_db(bits, uses // pieces, mcs.bits_per_symbol, each)

    if sent_rate(mcs, num_uses) > MOST_RATE:
        return math.inf
    loss = needed(num_uses) - needed(reference)
    return loss if loss > 0 else 0.0  # both inf: not told apart


@dataclass(frozen=True)
class AdaptiveMcs:
    """Link adaptation by a frozen table.

    Policies:

    * "best_quality": the MCS with the best expected quality, (1 - p)·Q(rate) + p·Q(failure), in PSNR or
      whatever the picture codec is to be best in;
    * "target_bler": the MCS of highest efficiency whose block error rate is at most ``target_bler``, as
      radios do it (TS 38.214 sec. 5.2.2.1 has 0.1 and 0.00001); the most robust one where none is.

    The threshold of a code moves with the block length, among long blocks by up to 0.3 dB and not
    steadily: the lifting size and the number of fillers decide. At a length that was measured (within 1%)
    its own rates count, at others the worst of the lengths around it (a third to three times, and the
    next ones). Curves are moved by what a shorter block, and the higher rate that rounding to a transport
    block size may give it, cost on AWGN by the normal approximation for QAM; never down. Below the shortest
    length blocks lose more than that, so measure what matters. An MCS whose rate exceeds 0.95 at a length is
    not chosen.

    Args:
        lengths: measured block error rates p of one channel, by block length.
        quality: Q over bits per pixel; None is enough for "target_bler".
        table: choose from this table of TS 38.214 only.
        policy: see above.
        target_bler: of the policy of that name.
    """

    lengths: tuple[ChannelCalibration, ...]
    quality: QualityCurve | None
    table: int | None = None
    policy: Literal["best_quality", "target_bler"] = "best_quality"
    target_bler: float = 0.1

    @property
    def candidates(self) -> list[Mcs]:
        """The MCS that may be chosen."""
        found = (curve.scheme for channel in self.lengths for curve in channel.curves)
        return [m for m in dict.fromkeys(found) if self.table is None or in_table(m, self.table)]

    def block_error_rates(self, snr_db: float, num_uses: int) -> dict[Mcs, float]:
        """P of every MCS that may be chosen, at an average SNR [dB] and a block length."""
        rates: dict[Mcs, float] = {}
        for channel in self._near(num_uses):
            for curve in channel.curves:
                mcs = curve.scheme
                if self.table is not None and not in_table(mcs, self.table):
                    continue
                loss_db = _loss_db(mcs, num_uses, channel.num_uses)
                rates[mcs] = max(rates.get(mcs, 0.0), curve.bler(snr_db - loss_db))
        return rates

    def _near(self, num_uses: int) -> tuple[ChannelCalibration, ...]:
        """The measurement at this length, or those at lengths around it."""
        own = [c for c in self.lengths if abs(c.num_uses / num_uses - 1) <= _SAME_LENGTH]
        if own:
            return tuple(own)
        shorter = [c for c in self.lengths if c.num_uses < num_uses]
        longer = [c for c in self.lengths if c.num_uses > num_uses]
        nearest = [max(shorter, key=_length)] if shorter else []
        nearest += [min(longer, key=_length)] if longer else []
        around = [c for c in self.lengths if 1 / 3 <= c.num_uses / num_uses <= 3 and c not in nearest]
        return (*nearest, *around) if shorter else tuple(nearest)

    def choose(
        self,
        snr_db: float,
        num_uses: int,
        bits_per_pixel: Callable[[Mcs], float],
        usable: Callable[[Mcs], bool] = lambda mcs: True,
    ) -> Mcs:
        """The MCS for an average SNR [dB] that the transmitter was told.

        Args:
            snr_db: average SNR [dB].
            num_uses: channel uses of the transport block.
            bits_per_pixel: what an MCS leaves for the stream of a picture, bits per pixel.
            usable: which MCS the scheme can send; at least one.
        """
        rates = {m: p for m, p in self.block_error_rates(snr_db, num_uses).items() if usable(m)}
        if self.policy == "target_bler":
            good = [mcs for mcs, p in rates.items() if p <= self.target_bler]
            return max(good, key=_efficiency) if good else min(rates, key=_efficiency)
        quality = self.quality
        assert quality is not None, "best_quality needs a quality curve"
        return max(rates, key=lambda mcs: quality.expected(max(bits_per_pixel(mcs), 1e-9), rates[mcs]))


def _efficiency(mcs: Mcs) -> float:
    return mcs.efficiency


_MOVED = ("Calibration", "CalibrationError", "McsCurve", "too_few_blocks")
if not TYPE_CHECKING:  # a checker would take it for any name
    __getattr__ = names_moved(__name__, dict.fromkeys(_MOVED, "linksim.coding.calibration"))
