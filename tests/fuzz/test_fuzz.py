"""Hostile inputs by the thousand; see CONTRIBUTING.md for shorter runs, and for one input again."""

from __future__ import annotations

import json
import os

import pytest

from tests.fuzz.harness import COUNTS, GIGABYTES, SECONDS, fuzz

SHARE = float(os.environ.get("LINKSIM_FUZZ_SHARE", "1"))
FIRST = int(os.environ.get("LINKSIM_FUZZ_FIRST", "0"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", COUNTS)
def test_every_input_is_taken_or_refused_in_words(kind, tmp_path):
    """No traceback but the project's own errors, no crash, no hang, bounded time and memory."""
    count = max(1, round(SHARE * COUNTS[kind]))
    found = fuzz(kind, FIRST, count, tmp_path)
    assert sum(found["outcomes"].values()) == count
    lines = [json.dumps(failure) for failure in found["failures"]]
    again = f"python -m tests.fuzz {kind} --first NUMBER --count 1"
    assert not lines, f"{len(lines)} of {count} inputs failed; again: {again}\n" + "\n".join(lines[:20])
    assert found["slowest_s"] <= SECONDS
    assert found["peak_gigabytes"] <= GIGABYTES
    assert found["outcomes"].get("refused", 0) > 0.2 * count, "hardly anything hostile"
    if count >= 100:
        assert found["outcomes"].get("taken", 0) > 0.02 * count, (
            "hardly anything reaches the code behind the checks"
        )
