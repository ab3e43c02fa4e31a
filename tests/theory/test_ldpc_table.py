"""The whole printed table of block error rates of the 5G LDPC code, rate 1/2, QPSK, AWGN; marker ``slow``.

    python -m pytest -m slow tests/theory/test_ldpc_table.py      (about 20 minutes on two cores)

The reference values are printed in NVIDIA's tutorial on 5G channel codes (Sionna 1.2.1, belief propagation
with 20 iterations), at Eb/N0. They are taken to rest on some 1000 block errors (3% standard deviation) above
a rate of 1e-3 and on some 20 (22%) below.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from linksim.coding.ldpc import LdpcCode, select_base_graph, select_lifting

from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder

pytestmark = pytest.mark.slow

TABLE = {
    128: {0.75: 0.626, 1.0: 0.492, 1.25: 0.385, 1.5: 0.313, 2.0: 0.147, 2.5: 0.0646, 3.0: 0.0218},
    256: {0.75: 0.662, 1.0: 0.489, 1.25: 0.364, 1.5: 0.234, 2.0: 0.0858, 2.5: 0.0181, 3.0: 0.0030},
    512: {0.75: 0.645, 1.0: 0.444, 1.25: 0.286, 1.5: 0.149, 2.0: 0.0234, 2.5: 0.00215, 3.0: 1.5e-4},
    1000: {0.75: 0.736, 1.0: 0.462, 1.25: 0.220, 1.5: 0.0744, 2.0: 0.00281, 2.5: 8e-5},
    2000: {0.75: 0.834, 1.0: 0.469, 1.25: 0.148, 1.5: 0.0245, 2.0: 2.2e-4},
    2048: {0.636: 0.914, 1.364: 0.07125},
    8000: {0.75: 0.944, 1.0: 0.416, 1.25: 0.0191, 1.5: 1.3e-4},
}
POINTS = [(n, ebno_db, p) for n, column in TABLE.items() for ebno_db, p in column.items()]
BITS_PER_POINT = 6e6  # a minute of Sionna's decoder


def number_of_blocks(n: int, p: float) -> int:
    """Enough for 200 errors, or what a minute allows; at least 500."""
    return max(500, int(min(200 / p, BITS_PER_POINT / (n / 2))))


def tolerance(p: float, blocks: int) -> float:
    """4 sigma of our count and of the printed value together."""
    printed = 0.03 if p > 1e-3 else 0.22
    return 4 * math.sqrt(p * (1 - p) / blocks + (printed * p) ** 2)


@pytest.fixture(scope="module")
def measured() -> dict[tuple[int, float], tuple[int, int, int]]:
    """Blocks, Sionna's errors and ours, at every point, on the same words."""
    return {(n, ebno_db): measure(n, ebno_db, number_of_blocks(n, p)) for n, ebno_db, p in POINTS}


def measure(n: int, ebno_db: float, blocks: int) -> tuple[int, int, int]:
    k = n // 2
    graph = select_base_graph(k, 0.5)
    code = LdpcCode(graph, select_lifting(graph, k, k), k)
    theirs = LDPC5GDecoder(LDPC5GEncoder(k, n, bg=f"bg{graph}"), num_iter=20)
    rng, no = np.random.default_rng([n, round(1000 * ebno_db)]), 10 ** (-ebno_db / 10)
    sent = sionna = ours = 0
    chunk = max(50, 200_000 // k)
    while sent < blocks:
        bits = rng.integers(0, 2, (chunk, k), dtype=np.uint8)
        coded = code.encode(bits)[:, code.selection(n)]
        received = (1 - 2.0 * coded) / 2**0.5 + rng.normal(0, (no / 2) ** 0.5, coded.shape)
        llr = (2 * 2**0.5 * received / no).astype(np.float32)
        with torch.no_grad():
            sionna += int((theirs(torch.from_numpy(-llr)).numpy() != bits).any(axis=1).sum())
        ours += int((code.decode(code.prior(llr))[0] != bits).any(axis=1).sum())
        sent += chunk
    return sent, sionna, ours


@pytest.mark.parametrize(("n", "ebno_db", "p"), POINTS)
def test_sionna_reproduces_the_printed_value(measured, n, ebno_db, p):
    blocks, sionna, _ = measured[n, ebno_db]
    assert abs(sionna / blocks - p) < tolerance(p, blocks), (sionna, blocks)


@pytest.mark.parametrize(("n", "ebno_db", "p"), POINTS)
def test_ours_does_not_exceed_it(measured, n, ebno_db, p):
    blocks, sionna, ours = measured[n, ebno_db]
    assert ours / blocks < p + tolerance(p, blocks)
    assert ours <= sionna + 3 * math.sqrt(sionna), "on the same words"


def test_check_fails_half_a_decibel_off():
    """The waterfall is steep: 0.25 dB less SNR is outside of the tolerance at every length from 256 on."""
    for n in (256, 1000):
        blocks, sionna, _ = measure(n, 1.25, 1000)
        assert abs(sionna / blocks - TABLE[n][1.5]) > tolerance(TABLE[n][1.5], blocks)
