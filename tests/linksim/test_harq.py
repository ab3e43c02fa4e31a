"""Retransmissions: combining gains, what is counted, and independence from the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from linksim.coding.mcs import MCS_TABLE_1
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock
from linksim.images.sets import SkimageImages
from linksim.link import run_link
from linksim.schemes.separation import Harq, SeparationScheme
from linksim.source.codec import make_source_codec
from linksim.source.quality_search import QualitySearch
from tests.contracts.schemes import NoCache

SIDE = 64
BUDGET = SIDE * SIDE * 3 // 12
NUM_BLOCKS = 200


def block_error_rate(combining: str | None, snr_db: float, index: int = 14) -> float:
    """Of 200 transport blocks in 600 uses, after one transmission or two; MCS 14 is 16-QAM, rate 553/1024."""
    mcs = MCS_TABLE_1[index]
    block, qam = TransportBlock(600, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(1).integers(0, 2, (NUM_BLOCKS, block.size), dtype=np.uint8)
    rvs = Harq(2 if combining else 1, combining or "ir").rvs
    soft = []
    for attempt, bits in enumerate(block.encode(payload, rvs).reshape(len(rvs), NUM_BLOCKS, -1)):
        seeds = [NUM_BLOCKS * attempt + i for i in range(NUM_BLOCKS)]
        received = AwgnChannel()(qam.modulate(bits), torch.full((NUM_BLOCKS,), snr_db), seeds)
        soft.append(qam.demodulate(received.y, received.csi.no.expand(received.y.shape)))
    decoded = block.decode(np.stack(soft), rvs=rvs)
    assert (decoded.bits[decoded.ok] == payload[decoded.ok]).all()
    return float(1 - decoded.ok.mean())


def test_combining_decodes_where_one_transmission_cannot():
    """4 dB below the threshold of one transmission, two with chase combining (3 dB more energy) still fail
    where two with incremental redundancy (3 dB, and a code of half the rate) do not; 200 blocks each.
    """
    single, chase, ir = (block_error_rate(c, 3.0) for c in (None, "chase", "ir"))
    assert single == 1.0
    assert chase > 0.5
    assert ir < 0.1


def test_chase_combining_gains_three_decibels():
    """Two transmissions at x - 3 dB are one at x: block error rates of 200 blocks within 4 sigma. QPSK, whose
    bits are independent: sums of LLRs are those of added symbols. (16-QAM loses a quarter of a decibel.)
    """
    for snr_db in (1.75, 2.0):
        once = block_error_rate(None, snr_db, index=8)
        twice = block_error_rate("chase", snr_db - 10 * math.log10(2), index=8)
        p = (once + twice) / 2
        assert 0 < p < 1, "the comparison needs errors and successes"
        assert abs(once - twice) < 4 * math.sqrt(2 * p * (1 - p) / NUM_BLOCKS)


def test_gain_is_gone_without_combining():
    """The second transmission alone, in its own redundancy version, is no better than the first alone."""
    mcs = MCS_TABLE_1[14]
    block, qam = TransportBlock(600, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(1).integers(0, 2, (50, block.size), dtype=np.uint8)
    bits = block.encode(payload, (2,))[0]
    received = AwgnChannel()(qam.modulate(bits), torch.full((50,), 3.7), list(range(50)))
    llr = qam.demodulate(received.y, received.csi.no.expand(received.y.shape))
    assert not block.decode(llr[None], rvs=(2,)).ok.any()


def scheme(harq: Harq | None) -> SeparationScheme:
    search = QualitySearch(make_source_codec("bpg", "420"), NoCache())
    return SeparationScheme("bpg", search, MCS_TABLE_1[9], harq=harq)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    images = SkimageImages(["astronaut", "coffee"])
    crops = [images[name][:, 60 : 60 + SIDE, 200 : 200 + SIDE] for name in images.names]
    return torch.stack([crops[i % 2] for i in range(8)]).float() / 255


def link(harq, pictures, seeds, snr_db=4.0):
    snr = torch.full((len(pictures),), snr_db)
    with torch.no_grad():
        return run_link(scheme(harq), FlatFadingChannel(), pictures, snr, seeds, BUDGET)


SEEDS = [1000 + i for i in range(8)]


def test_only_what_failed_is_sent_again(pictures):
    """Slow Rayleigh fading, 8 frames: who was decoded at once is not sent again and keeps its picture."""
    once, again = link(None, pictures, SEEDS), link(Harq(4), pictures, SEEDS)
    ok = [state == "ok" for state in once.reconstruction.states]
    assert 0 < sum(ok) < 8
    for i, good in enumerate(ok):
        assert (again.transmissions[i] == 1) is good
        if good:
            assert torch.equal(once.reconstruction.image[i], again.reconstruction.image[i])
    assert sum(s == "ok" for s in again.reconstruction.states) > sum(ok)
    assert once.transmissions == (1,) * 8
    assert max(again.transmissions) <= 4


def test_result_does_not_depend_on_the_batch(pictures):
    whole = link(Harq(3), pictures, SEEDS)
    parts = [link(Harq(3), pictures[s], SEEDS[s]) for s in (slice(0, 3), slice(3, 8))]
    assert whole.transmissions == parts[0].transmissions + parts[1].transmissions
    assert whole.reconstruction.states == parts[0].reconstruction.states + parts[1].reconstruction.states
    images = torch.cat([p.reconstruction.image for p in parts])
    assert torch.equal(whole.reconstruction.image, images)
    assert whole.reconstruction.bits_hat is not None
    assert len(set(whole.transmissions)) > 1


def test_every_transmission_has_a_fade_of_its_own(pictures):
    """Chase combining over the same fade again would not help a frame in a null: with it, most get through."""
    out = link(Harq(4, "chase"), pictures, SEEDS, snr_db=1.0)
    assert sum(s == "ok" for s in out.reconstruction.states) >= 6


def test_versions_of_the_standard():
    assert Harq(5, "ir").rvs == (0, 2, 3, 1, 0)
    assert Harq(3, "chase").rvs == (0, 0, 0)
    with pytest.raises(ValueError, match="max_transmissions"):
        Harq(0)
