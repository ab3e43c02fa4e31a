"""The harness sees what it is for; a few inputs of every cheap kind, in the default suite."""

from __future__ import annotations

import json
import random
import sys

import pytest

from tests.fuzz import harness, pictures, recordings, streams
from tests.fuzz.mutations import mutated_bytes, mutated_text, mutated_tree


def attempt_of(code):
    def attempt(rng, folder):
        (folder / "input").write_text("x")
        return code(rng)

    return attempt


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (lambda rng: 1 / 0, "ZeroDivisionError"),
        (lambda rng: harness.command("list", "nothing") and [].pop(), "IndexError"),
    ],
)
def test_what_is_not_the_projects_own_error_is_a_failure_and_kept(code, said, tmp_path):
    (tmp_path / "failures").mkdir()
    result = harness.tried(attempt_of(code), "kind", 5, tmp_path / "input", tmp_path)
    assert result["outcome"] == "failed"
    assert said in result["problem"]
    assert (tmp_path / "failures" / "kind-5" / "input").read_text() == "x"


def test_time_and_memory_are_limited(tmp_path, monkeypatch):
    (tmp_path / "failures").mkdir()
    monkeypatch.setattr(harness, "SECONDS", 0)
    assert (
        "took" in harness.tried(attempt_of(lambda rng: "taken"), "k", 1, tmp_path / "i", tmp_path)["problem"]
    )
    monkeypatch.setattr(harness, "SECONDS", 30)
    eat = attempt_of(lambda rng: "taken")
    for before, after, said in (
        (1.0, 3.9, False),
        (1.0, 4.1, True),
        (4.1, 4.1, False),
    ):  # the last: not its own
        peaks = iter((before, after))
        monkeypatch.setattr(harness, "_peak_gigabytes", peaks.__next__)
        assert ("GB" in harness.tried(eat, "k", 2, tmp_path / "i", tmp_path)["problem"]) == said


def test_a_worker_that_dies_is_replaced_and_its_input_named(tmp_path, monkeypatch):
    monkeypatch.setitem(harness.COUNTS, "dies", 3)
    calls = []

    def worker(kind, first, count, out, progress):
        calls.append(first)
        with progress.open("a") as file:
            for number in range(first, first + count):
                file.write(json.dumps({"kind": kind, "input": number, "began": True}) + "\n")
                if number == 1:
                    return "exit code -6"
                line = {"input": number, "outcome": "taken", "problem": "", "seconds": 0.1, "gigabytes": 0.1}
                file.write(json.dumps(line) + "\n")
        return ""

    monkeypatch.setattr(harness, "_worker", worker)
    found = harness.fuzz("dies", 0, 3, tmp_path, lambda line: None)
    assert calls == [0, 2]
    assert found["outcomes"] == {"taken": 2, "died": 1}
    assert found["failures"][0]["input"] == 1


def test_mutations_are_functions_of_their_number_and_change_something():
    tree, text, data = {"a": [1, {"b": "c"}], "d": None}, "a: 1\nb: [c, d]\n", bytes(range(100))
    for change, whole in ((mutated_tree, tree), (mutated_text, text), (mutated_bytes, data)):
        changed = [change(whole, random.Random(i)) for i in range(200)]
        assert str(changed) == str([change(whole, random.Random(i)) for i in range(200)])
        assert sum(c != whole for c in changed) > 150


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
@pytest.mark.parametrize("kind", [pictures, recordings, streams], ids=lambda module: module.__name__)
def test_some_inputs_of_cheap_kinds(kind, tmp_path):
    (tmp_path / "failures").mkdir()
    attempt = kind.prepare(tmp_path)
    name = kind.__name__.rpartition(".")[2]
    results = [harness.tried(attempt, name, 10**6 + i, tmp_path / "input", tmp_path) for i in range(40)]
    assert [r["problem"] for r in results if r["problem"]] == []
    assert {r["outcome"] for r in results} == {"taken", "refused"}
