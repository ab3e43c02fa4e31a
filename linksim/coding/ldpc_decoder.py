"""Layered belief propagation for 5G NR LDPC codes on CPUs: the compiled part of :mod:`linksim.coding.ldpc`.

A base row after the other (the layers), its Z checks as Z lanes of vector loops. Messages are exact up to the
correction term log(1 + e^-x) of the boxplus, which is replaced by max(0, ln 2 - x/4).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from linksim.files.compiled import VECTORISED, compiled

__all__ = ["LIMIT", "Edges", "decode_words", "deposit"]

Bits = NDArray[np.uint8]
Floats = NDArray[np.float32]
LIMIT = np.float32(1000.0)  # of LLRs that go in; what is known for sure has this one
_CHUNK = 8  # words that a thread takes at a time


@dataclass(frozen=True)
class Edges:
    """The lifted graph: edges of base row r are ``row_start[r]`` to ``row_start[r + 1]``.

    Args:
        row_start: [rows + 1] int32.
        column, shift: [edges] int32, base column and rotation of each edge.
        z: lifting size.
        core_columns: columns whose parity is not that of a row of its own (systematic and core parity).
    """

    row_start: NDArray[np.int32]
    column: NDArray[np.int32]
    shift: NDArray[np.int32]
    z: int
    core_columns: int


def decode_words(
    prior: Floats, edges: Edges, num_bits: int, max_iterations: int, threads: int | None
) -> tuple[Bits, NDArray[np.bool_], NDArray[np.int32]]:
    """Decode words [B, columns·Z] of LLRs log(P(0)/P(1)), each on its own.

    Args:
        prior: LLRs; not-a-number counts as 0, and beyond +-1000 they are cut.
        edges: graph.
        num_bits: bits to return, from the first on.
        max_iterations: at most.
        threads: worker threads; None = all cores.

    Returns:
        bits [B, num_bits] uint8, whether all checks in use hold [B] bool, iterations used [B] int32.
    """
    batch = len(prior)
    bits = np.empty((batch, num_bits), np.uint8)
    satisfied = np.zeros(batch, np.bool_)
    iterations = np.zeros(batch, np.int32)
    parts: Iterator[slice] = iter([slice(i, i + _CHUNK) for i in range(0, batch, _CHUNK)])

    def work() -> None:
        for part in parts:  # shared by the threads
            _decode_batch(
                *(prior[part], edges.row_start, edges.column, edges.shift, edges.z, edges.core_columns),
                *(max_iterations, bits[part], satisfied[part], iterations[part]),
            )

    workers = min(threads or os.cpu_count() or 1, -(-batch // _CHUNK))
    if workers <= 1:
        work()
    else:
        with ThreadPoolExecutor(workers - 1) as pool:
            others = [pool.submit(work) for _ in range(workers - 1)]
            work()
            for other in others:
                other.result()
    return bits, satisfied, iterations


@compiled(nogil=True)
def deposit(llr: Floats, positions: NDArray[np.int64], words: Floats) -> None:
    """Add LLRs [B, E] to the code bits [B, N] at ``positions`` [E]; repetitions add up."""
    for b in range(len(llr)):
        for i in range(len(positions)):
            words[b, positions[i]] += llr[b, i]


_LN2 = np.float32(np.log(2.0))
_HALF, _QUARTER = np.float32(0.5), np.float32(0.25)
_MAX_DEGREE = 20
# How these kernels are cut decides how fast they are: LLVM turns a loop over lanes into vector code if
# indices are unsigned (numba then adds no test for negative ones) and if no two arrays of a loop are one.
_U = np.uintp


@numba.njit(inline="always", fastmath=VECTORISED["fastmath"])
def _half_and_correction(x: np.float32) -> np.float32:
    """x/2 + max(0, ln 2 - x/4) of x >= 0."""
    return max(_HALF * x, _QUARTER * x + _LN2)


@compiled(**VECTORISED)
def _combine(a: Floats, b: Floats, out: Floats) -> None:
    """Boxplus of two LLRs on every lane; 0.5·(|a+b| - |a-b|) is sign(a)·sign(b)·min(|a|, |b|)."""
    for lane in range(len(out)):
        total = _half_and_correction(abs(a[lane] + b[lane]))
        out[lane] = total - _half_and_correction(abs(a[lane] - b[lane]))


@compiled(**VECTORISED)
def _copy(a: Floats, out: Floats) -> None:
    for lane in range(len(out)):
        out[lane] = a[lane]


@compiled(**VECTORISED)
def _gather(
    word: Floats,
    message: Floats,
    value: Floats,
    column: NDArray[np.int32],
    shift: NDArray[np.int32],
    z: np.uintp,
    first: np.uintp,
    degree: np.uintp,
) -> None:
    """What the variables of a base row say without its own last messages; the circulants are undone."""
    for e in range(degree):
        edge = first + e
        base, turn = _U(column[edge]) * z, _U(shift[edge])
        split = z - turn
        for lane in range(split):
            value[e, lane] = word[base + turn + lane] - message[edge, lane]
        for lane in range(turn):
            value[e, split + lane] = word[base + lane] - message[edge, split + lane]


@compiled(**VECTORISED)
def _scatter(
    word: Floats,
    message: Floats,
    value: Floats,
    column: NDArray[np.int32],
    shift: NDArray[np.int32],
    z: np.uintp,
    first: np.uintp,
    degree: np.uintp,
) -> None:
    """LLRs of the variables of a base row with its new messages."""
    for e in range(degree):
        edge = first + e
        base, turn = _U(column[edge]) * z, _U(shift[edge])
        split = z - turn
        for lane in range(split):
            word[base + turn + lane] = value[e, lane] + message[edge, lane]
        for lane in range(turn):
            word[base + lane] = value[e, split + lane] + message[edge, split + lane]


@compiled(**VECTORISED)
def _check_nodes(value: Floats, message: Floats, forward: Floats, backward: Floats) -> None:
    """New messages [degree, Z] of the Z checks of a base row: each the boxplus of all values but one."""
    last = len(message) - 1
    _copy(value[0], forward[0])
    _copy(value[last], backward[last])
    for e in range(1, last):
        _combine(forward[e - 1], value[e], forward[e])
    for e in range(last - 1, 0, -1):
        _combine(backward[e + 1], value[e], backward[e])
    for e in range(1, last):
        _combine(forward[e - 1], backward[e + 1], message[e])
    _copy(backward[1], message[0])
    _copy(forward[last - 1], message[last])


@compiled(nogil=True)
def _parity_holds(
    signs: NDArray[np.uint32],
    row_start: NDArray[np.int32],
    column: NDArray[np.int32],
    shift: NDArray[np.int32],
    z: np.uintp,
    parity: NDArray[np.uint32],
) -> bool:
    """Whether the top bits (signs) of a word satisfy every check."""
    for row in range(len(row_start) - 1):
        for lane in range(z):
            parity[lane] = np.uint32(0)
        for edge in range(_U(row_start[row]), _U(row_start[row + 1])):
            base, turn = _U(column[edge]) * z, _U(shift[edge])
            split = z - turn
            for lane in range(split):
                parity[lane] ^= signs[base + turn + lane]
            for lane in range(turn):
                parity[split + lane] ^= signs[base + lane]
        total = np.uint32(0)
        for lane in range(z):
            total |= parity[lane]
        if total >> np.uint32(31):
            return False
    return True


@compiled(nogil=True)
def _load(prior: Floats, word: Floats) -> None:
    for i in range(len(word)):
        value = prior[i]
        word[i] = np.float32(0) if np.isnan(value) else min(max(value, -LIMIT), LIMIT)


@compiled(nogil=True)
def _rows_in_use(word: Floats, rows: int, core_columns: int, z: int) -> int:
    """Base rows up to the last whose own parity column was sent; the others carry no information."""
    for row in range(rows - 1, 3, -1):
        begin = (core_columns + row - 4) * z
        for lane in range(begin, begin + z):
            if word[lane] != 0:
                return row + 1
    return 4


@compiled(nogil=True)
def _decode_batch(  # noqa: PLR0917 (compiled functions take no keywords)
    prior: Floats,
    row_start: NDArray[np.int32],
    column: NDArray[np.int32],
    shift: NDArray[np.int32],
    lifting: int,
    core_columns: int,
    max_iterations: int,
    bits: Bits,
    satisfied: NDArray[np.bool_],
    iterations: NDArray[np.int32],
) -> None:
    z = _U(lifting)
    word = np.empty(prior.shape[1], np.float32)
    signs = word.view(np.uint32)
    message = np.empty((row_start[-1], lifting), np.float32)
    value = np.empty((_MAX_DEGREE, lifting), np.float32)
    forward = np.empty((_MAX_DEGREE, lifting), np.float32)
    backward = np.empty((_MAX_DEGREE, lifting), np.float32)
    parity = np.empty(lifting, np.uint32)
    for b in range(len(prior)):
        _load(prior[b], word)
        rows = _rows_in_use(word, len(row_start) - 1, core_columns, lifting)
        message[: row_start[rows]] = 0
        for iteration in range(max_iterations):
            for row in range(rows - 1, -1, -1):  # sparse rows first: 3 to 7% fewer iterations
                begin, end = row_start[row], row_start[row + 1]
                _gather(word, message, value, column, shift, z, _U(begin), _U(end - begin))
                _check_nodes(value, message[begin:end], forward, backward)
                _scatter(word, message, value, column, shift, z, _U(begin), _U(end - begin))
            iterations[b] = iteration + 1
            if _parity_holds(signs, row_start[: rows + 1], column, shift, z, parity):
                satisfied[b] = True
                break
        for i in range(bits.shape[1]):
            bits[b, i] = signs[i] >> np.uint32(31)
